/* The growing buffer and its bound. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "lib/buf.h"

static void test_append_and_consume(void **state)
{
	struct buf b = { .max = 100 };

	(void)state;
	assert_int_equal(buf_append(&b, "hello ", 6), 0);
	assert_int_equal(buf_append(&b, "world", 5), 0);
	assert_int_equal(b.len, 11);
	assert_memory_equal(buf_data(&b), "hello world", 11);
	buf_consume(&b, 6);
	assert_int_equal(b.len, 5);
	assert_memory_equal(buf_data(&b), "world", 5);
	assert_int_equal(buf_append(&b, "!", 1), 0);
	assert_memory_equal(buf_data(&b), "world!", 6);
	buf_consume(&b, 6);
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

static void test_bound(void **state)
{
	struct buf b = { .max = 10 };

	(void)state;
	assert_int_equal(buf_append(&b, "0123456789", 10), 0);
	errno = 0;
	assert_int_equal(buf_append(&b, "x", 1), -1);
	assert_int_equal(errno, ENOBUFS);
	assert_memory_equal(buf_data(&b), "0123456789", 10);
	assert_int_equal(b.len, 10);
	buf_consume(&b, 3); /* what was taken off makes room again */
	assert_int_equal(buf_append(&b, "abc", 3), 0);
	assert_memory_equal(buf_data(&b), "3456789abc", 10);
	assert_null(buf_room(&b, SIZE_MAX));
	assert_int_equal(errno, ENOBUFS);
	buf_free(&b);
}

static void test_room(void **state)
{
	struct buf b = { .max = 1 << 20 };
	char *room = buf_room(&b, 1000);

	(void)state;
	assert_non_null(room);
	assert_int_equal(b.len, 0);
	memset(room, 'x', 1000);
	b.len += 600; /* less than was asked for */
	assert_ptr_equal(buf_room(&b, 400), buf_data(&b) + 600);
	buf_free(&b);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.max, 1 << 20);
	assert_int_equal(buf_append(&b, "again", 5), 0);
	buf_free(&b);
}

/* A stream through a small buffer: what is written is read, in order, whatever the sizes. */
static void test_stream(void **state)
{
	struct buf b = { .max = 4096 };
	unsigned in = 0, out = 0;

	(void)state;
	for (unsigned turn = 0; turn < 20000; turn++) {
		unsigned char part[97];
		size_t size = turn * 7 % sizeof(part);

		for (size_t i = 0; i < size; i++)
			part[i] = (unsigned char)(in + i);
		if (buf_append(&b, part, size) == 0)
			in += (unsigned)size;
		for (size_t left = turn * 11 % 101; left && b.len; left--) {
			assert_int_equal((unsigned char)*buf_data(&b), (unsigned char)out++);
			buf_consume(&b, 1);
		}
		assert_true(b.len == in - out && b.cap <= b.max);
	}
	assert_true(out > 100000);
	buf_free(&b);
}

static void test_bytes_of_any_value(void **state)
{
	struct buf b = { .max = 100 };

	(void)state;
	assert_int_equal(buf_append(&b, "a\0\xff\0", 4), 0);
	assert_int_equal(buf_append(&b, "\0b", 2), 0);
	assert_int_equal(b.len, 6);
	assert_memory_equal(buf_data(&b), "a\0\xff\0\0b", 6);
	buf_free(&b);
}

/* Growing keeps what is there, and never asks for more memory than the bound. */
static void test_growth_stays_below_the_bound(void **state)
{
	struct buf b = { .max = 1000 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		char c = (char)(i * 31);

		assert_int_equal(buf_append(&b, &c, 1), 0);
		assert_true(b.cap <= b.max);
	}
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(buf_data(&b)[i], (char)(i * 31));
	buf_free(&b);
}

static void test_room_at_the_front_is_used_again(void **state)
{
	struct buf b = { .max = 1 << 20 };
	char part[200];
	size_t cap;

	(void)state;
	memset(part, 'x', sizeof(part));
	assert_int_equal(buf_append(&b, part, sizeof(part)), 0);
	cap = b.cap;
	for (int i = 0; i < 100; i++) {
		buf_consume(&b, 150);
		assert_int_equal(buf_append(&b, part, 150), 0);
		assert_int_equal(b.cap, cap);
		assert_int_equal(b.len, sizeof(part));
	}
	assert_memory_equal(buf_data(&b), part, sizeof(part));
	buf_free(&b);
}

static void test_empty_keeps_no_memory(void **state)
{
	struct buf b = { .max = 100 };

	(void)state;
	assert_int_equal(buf_append(&b, "", 0), 0);
	assert_null(b.data);
	assert_int_equal(buf_append(&b, "hello", 5), 0);
	assert_non_null(b.data);
	buf_consume(&b, 5);
	assert_null(b.data);
	assert_int_equal(b.cap, 0);
	assert_int_equal(b.max, 100);
	buf_free(&b); /* of an empty one: nothing happens */
}

static void test_no_room_at_all(void **state)
{
	struct buf b = { .max = 0 };

	(void)state;
	errno = 0;
	assert_int_equal(buf_append(&b, "x", 1), -1);
	assert_int_equal(errno, ENOBUFS);
	assert_int_equal(buf_append(&b, "", 0), 0);
	assert_null(b.data);
}

/* The linker sends buf.c's realloc() here (-Wl,--wrap): memory is short when the test says so. */
static bool no_memory;
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
	return no_memory ? NULL : __real_realloc(p, size);
}

static void test_no_memory(void **state)
{
	struct buf b = { .max = SIZE_MAX / 2 };

	(void)state;
	assert_int_equal(buf_append(&b, "kept", 4), 0);
	no_memory = true;
	errno = 0;
	assert_null(buf_room(&b, b.cap));
	no_memory = false;
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(b.len, 4);
	assert_memory_equal(buf_data(&b), "kept", 4);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_and_consume),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_bytes_of_any_value),
		cmocka_unit_test(test_growth_stays_below_the_bound),
		cmocka_unit_test(test_room_at_the_front_is_used_again),
		cmocka_unit_test(test_empty_keeps_no_memory),
		cmocka_unit_test(test_no_room_at_all),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
