/* Frames out of a stream of bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/bounds.h"
#include "lib/frame.h"

static struct buf in;
static size_t searched;

static int reset(void **state)
{
	(void)state;
	buf_free(&in);
	in.max = CREW_MESSAGE_MAX + 65536;
	searched = 0;
	return 0;
}

static void expect(const char *want)
{
	const char *text;
	size_t len;

	assert_int_equal(frame_next(&in, &searched, &text, &len), 1);
	assert_int_equal(len, strlen(want));
	assert_string_equal(text, want);
	buf_consume(&in, len + 1);
	searched = 0;
}

static void expect_none(void)
{
	const char *text;
	size_t len;

	assert_int_equal(frame_next(&in, &searched, &text, &len), 0);
}

static void test_byte_by_byte(void **state)
{
	static const char bytes[] = "{\"a\":1}";

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		expect_none();
		assert_int_equal(buf_append(&in, bytes + i, 1), 0);
	}
	expect("{\"a\":1}");
	expect_none();
}

static void test_several_at_once(void **state)
{
	(void)state;
	buf_append(&in, "one\0two\0\0thr", 12);
	expect("one");
	expect("two");
	expect("");
	expect_none();
	buf_append(&in, "ee", 3);
	expect("three");
}

static void test_longest(void **state)
{
	char *text = malloc(CREW_MESSAGE_MAX);
	const char *found;
	size_t len;

	(void)state;
	assert_non_null(text);
	memset(text, ' ', CREW_MESSAGE_MAX);
	assert_int_equal(buf_append(&in, text, CREW_MESSAGE_MAX), 0);
	expect_none();
	assert_int_equal(buf_append(&in, "", 1), 0);
	assert_int_equal(frame_next(&in, &searched, &found, &len), 1);
	assert_int_equal(len, CREW_MESSAGE_MAX);
	free(text);
}

static void test_too_long(void **state)
{
	char *text = calloc(1, CREW_MESSAGE_MAX + 2);
	const char *found;
	size_t len;

	(void)state;
	assert_non_null(text);
	memset(text, ' ', CREW_MESSAGE_MAX + 1);
	/* said as soon as it is clear, not when its end comes; and with its end, too */
	for (int with_end = 0; with_end <= 1; with_end++) {
		reset(NULL);
		assert_int_equal(buf_append(&in, text, CREW_MESSAGE_MAX + 1 + (size_t)with_end), 0);
		errno = 0;
		assert_int_equal(frame_next(&in, &searched, &found, &len), -1);
		assert_int_equal(errno, EMSGSIZE);
	}
	free(text);
}

/* Wherever a read ends, the same frames come out. */
static void test_every_cut(void **state)
{
	static const char bytes[] = "{\"a\":1}\0\xff\xc3\0\0{}";

	(void)state;
	for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
		static const char *const frames[] = { "{\"a\":1}", "\xff\xc3", "", "{}" };
		const char *text;
		size_t len, got = 0;

		reset(NULL);
		for (int part = 0; part < 2; part++) {
			size_t size = part ? sizeof(bytes) - cut : cut;

			assert_int_equal(buf_append(&in, bytes + (part ? cut : 0), size), 0);
			while (frame_next(&in, &searched, &text, &len) == 1) {
				assert_true(got < 4);
				assert_string_equal(text, frames[got]);
				assert_int_equal(len, strlen(frames[got++]));
				buf_consume(&in, len + 1);
				searched = 0;
			}
		}
		assert_int_equal(got, 4);
		assert_int_equal(in.len, 0);
	}
}

static void test_nothing_is_searched_twice(void **state)
{
	(void)state;
	buf_append(&in, "abc", 3);
	expect_none();
	assert_int_equal(searched, 3);
	in.data[in.start] = '\0'; /* where it has looked already */
	expect_none();
	buf_append(&in, "defgh", 5);
	expect_none();
	in.data[in.start] = 'a';
	buf_append(&in, "", 1);
	expect("abcdefgh");
}

static void test_looking_takes_nothing(void **state)
{
	const char *text;
	size_t len;

	(void)state;
	buf_append(&in, "one\0two", 8);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(frame_next(&in, &searched, &text, &len), 1);
		assert_string_equal(text, "one");
		assert_int_equal(in.len, 8);
	}
	expect("one");
	expect("two");
}

static void test_longest_and_the_next(void **state)
{
	char *text = malloc(CREW_MESSAGE_MAX + 1);
	const char *found;
	size_t len;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', CREW_MESSAGE_MAX);
	text[CREW_MESSAGE_MAX] = '\0';
	assert_int_equal(buf_append(&in, text, CREW_MESSAGE_MAX + 1), 0);
	assert_int_equal(buf_append(&in, "next", 5), 0);
	assert_int_equal(frame_next(&in, &searched, &found, &len), 1);
	assert_int_equal(len, CREW_MESSAGE_MAX);
	buf_consume(&in, len + 1);
	searched = 0;
	expect("next");
	expect_none();
	free(text);
}

/* One that is too long spoils nothing of what came before it, and stays refused. */
static void test_too_long_at_its_turn(void **state)
{
	char *text = malloc(CREW_MESSAGE_MAX + 1);
	const char *found;
	size_t len;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', CREW_MESSAGE_MAX + 1);
	assert_int_equal(buf_append(&in, "good", 5), 0);
	assert_int_equal(buf_append(&in, text, CREW_MESSAGE_MAX + 1), 0);
	expect("good");
	for (int i = 0; i < 2; i++) {
		errno = 0;
		assert_int_equal(frame_next(&in, &searched, &found, &len), -1);
		assert_int_equal(errno, EMSGSIZE);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_byte_by_byte, reset, reset),
		cmocka_unit_test_setup_teardown(test_several_at_once, reset, reset),
		cmocka_unit_test_setup_teardown(test_longest, reset, reset),
		cmocka_unit_test_setup_teardown(test_too_long, reset, reset),
		cmocka_unit_test_setup_teardown(test_every_cut, reset, reset),
		cmocka_unit_test_setup_teardown(test_nothing_is_searched_twice, reset, reset),
		cmocka_unit_test_setup_teardown(test_looking_takes_nothing, reset, reset),
		cmocka_unit_test_setup_teardown(test_longest_and_the_next, reset, reset),
		cmocka_unit_test_setup_teardown(test_too_long_at_its_turn, reset, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
