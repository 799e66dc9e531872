/* What crewctl map keeps: lines that come in pieces, and results that come in any order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "ctl/map_lines.h"
#include "ctl/map_order.h"

/* ---- lines ------------------------------------------------------------------------------------ */

static struct map_lines lines;
static int end; /* that lines are written to */

static int begin(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	map_lines_init(&lines, ends[0]);
	end = ends[1];
	return 0;
}

static int finish(void **state)
{
	(void)state;
	close(lines.fd);
	if (end >= 0)
		close(end);
	map_lines_free(&lines);
	return 0;
}

static void come(const char *text)
{
	assert_int_equal(write(end, text, strlen(text)), strlen(text));
	assert_int_equal(map_lines_read(&lines), 0);
}

static void come_to_an_end(void)
{
	close(end);
	end = -1;
	assert_int_equal(map_lines_read(&lines), 0);
	assert_true(lines.eof);
}

static void expect(enum map_line kind, const char *text)
{
	const char *line = NULL;
	size_t len = 0;

	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(map_lines_first(&lines, &line, &len), kind);
		if (!text)
			return;
		assert_int_equal(len, strlen(text));
		assert_memory_equal(line, text, len);
	}
	map_lines_take(&lines, len);
}

static void test_lines_in_pieces(void **state)
{
	(void)state;
	expect(MAP_LINE_NONE, NULL);
	come("on");
	expect(MAP_LINE_NONE, NULL);
	come("e\n\ntw");
	expect(MAP_LINE, "one");
	expect(MAP_LINE, "");
	expect(MAP_LINE_NONE, NULL);
	come("o\nthree");
	expect(MAP_LINE, "two");
	come_to_an_end();
	expect(MAP_LINE, "three");
	expect(MAP_LINE_END, NULL);
}

static void test_no_lines(void **state)
{
	(void)state;
	come_to_an_end();
	expect(MAP_LINE_END, NULL);
}

/* `size` bytes without a newline. */
static void come_many(size_t size)
{
	char block[32768];

	memset(block, 'x', sizeof(block));
	while (size) {
		size_t part = size < sizeof(block) ? size : sizeof(block);

		assert_int_equal(write(end, block, part), part);
		assert_int_equal(map_lines_read(&lines), 0);
		size -= part;
	}
}

static void expect_long(void)
{
	const char *text;
	size_t len;

	assert_int_equal(map_lines_first(&lines, &text, &len), MAP_LINE_LONG);
	map_lines_take(&lines, len);
}

static void test_longest_line(void **state)
{
	const char *text;
	size_t len;

	(void)state;
	come_many(MAP_LINE_MAX);
	expect(MAP_LINE_NONE, NULL);
	come("\n");
	assert_int_equal(map_lines_first(&lines, &text, &len), MAP_LINE);
	assert_int_equal(len, MAP_LINE_MAX);
	map_lines_take(&lines, len);
	come("next\n");
	expect(MAP_LINE, "next");
}

static void test_line_too_long(void **state)
{
	(void)state;
	come_many(MAP_LINE_MAX + 1);
	expect_long();
	for (int i = 0; i < 100; i++) { /* its rest needs no room */
		come_many(32768);
		expect(MAP_LINE_NONE, NULL);
		assert_true(lines.buf.len == 0);
	}
	come("rest\nnext\n");
	expect(MAP_LINE, "next");
	assert_int_equal(lines.skipped, 100 * 32768 + 5);
	come_many(MAP_LINE_MAX + 1);
	expect_long();
	come_to_an_end();
	expect(MAP_LINE_END, NULL);
}

static void test_line_too_long_that_ends_at_once(void **state)
{
	(void)state;
	come_many(MAP_LINE_MAX + 1);
	come("\nnext\n");
	expect_long();
	expect(MAP_LINE, "next");
}

/* ---- order ------------------------------------------------------------------------------------ */

#define COUNT 64

static struct map_order order;
static struct buf out = { .max = 1 << 20 };

static int order_end(void **state)
{
	(void)state;
	map_order_free(&order);
	buf_free(&out);
	return 0;
}

static void put(uint64_t line)
{
	char text[32];
	int size = snprintf(text, sizeof(text), "<%llu>", (unsigned long long)line);

	assert_int_equal(map_order_put(&order, line, text, line % 7 ? (size_t)size : 0), 0);
}

static void expect_out(uint64_t from, uint64_t to)
{
	char text[32 * COUNT] = "", *at = text;

	for (uint64_t i = from; i < to; i++) {
		assert_int_equal(map_order_take(&order, &out), 1);
		if (i % 7)
			at += sprintf(at, "<%llu>", (unsigned long long)i);
	}
	assert_int_equal(out.len, strlen(text));
	if (out.len)
		assert_memory_equal(buf_data(&out), text, out.len);
	buf_free(&out);
}

/* Rounds of a full ring, in random order, with memory for some, for all or for none of the results. */
static void test_any_order(void **state)
{
	(void)state;
	for (size_t held = 0; held <= 256; held += 64) {
		unsigned seed = 17;
		uint64_t line = 0;

		assert_int_equal(map_order_init(&order, COUNT, held), 0);
		for (int round = 0; round < 20; round++, line += COUNT) {
			uint64_t left[COUNT];

			for (int i = 0; i < COUNT; i++) {
				left[i] = line + (uint64_t)i;
				map_order_expect(&order);
			}
			for (int i = COUNT; i > 0; i--) {
				int pick = rand_r(&seed) % i;

				put(left[pick]);
				left[pick] = left[i - 1];
				assert_true(order.held <= held + 32);
			}
			expect_out(line, line + COUNT);
			assert_int_equal(map_order_take(&order, &out), 0);
			assert_true(order.held == 0 && order.filed == 0 && order.end == 0);
		}
		map_order_free(&order);
	}
}

static void test_waits_for_the_first(void **state)
{
	(void)state;
	assert_int_equal(map_order_init(&order, COUNT, 1000), 0);
	assert_int_equal(map_order_take(&order, &out), 0);
	for (int i = 0; i < 3; i++)
		map_order_expect(&order);
	put(2);
	put(1);
	assert_int_equal(map_order_take(&order, &out), 0);
	put(0);
	expect_out(0, 3);
}

static void test_no_place_for_the_file(void **state)
{
	(void)state;
	assert_int_equal(map_order_init(&order, COUNT, 2), 0);
	setenv("TMPDIR", "/nonexistent", 1);
	map_order_expect(&order);
	map_order_expect(&order);
	errno = 0;
	assert_int_equal(map_order_put(&order, 1, "abc", 3), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(map_order_put(&order, 0, "abc", 3), 0); /* the first never needs it */
	unsetenv("TMPDIR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines_in_pieces, begin, finish),
		cmocka_unit_test_setup_teardown(test_no_lines, begin, finish),
		cmocka_unit_test_setup_teardown(test_longest_line, begin, finish),
		cmocka_unit_test_setup_teardown(test_line_too_long, begin, finish),
		cmocka_unit_test_setup_teardown(test_line_too_long_that_ends_at_once, begin,
						finish),
		cmocka_unit_test_teardown(test_any_order, order_end),
		cmocka_unit_test_teardown(test_waits_for_the_first, order_end),
		cmocka_unit_test_teardown(test_no_place_for_the_file, order_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
