/* Words, numbers and units as users write them. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "lib/text.h"

static void test_names(void **state)
{
	char longest[66];

	(void)state;
	memset(longest, 'a', 65);
	longest[64] = '\0';
	assert_true(text_name_ok("web-1"));
	assert_true(text_name_ok("A_b.c-9"));
	assert_true(text_name_ok(longest));
	longest[64] = 'a';
	longest[65] = '\0';
	assert_false(text_name_ok(longest));
	assert_false(text_name_ok(""));
	assert_false(text_name_ok("."));
	assert_false(text_name_ok(".."));
	assert_false(text_name_ok("a/b"));
	assert_false(text_name_ok("a b"));
	assert_false(text_name_ok("\xc3\xa4"));
	assert_true(text_pool_name_ok("web"));
	assert_true(text_pool_name_ok("web-1a"));
	assert_true(text_pool_name_ok("web-"));
	assert_true(text_pool_name_ok("7"));
	assert_false(text_pool_name_ok("web-1"));
	assert_false(text_pool_name_ok("-1"));
}

static void test_worker_of(void **state)
{
	(void)state;
	assert_true(text_is_worker_of("web-1", "web"));
	assert_true(text_is_worker_of("web-10", "web"));
	assert_false(text_is_worker_of("web", "web"));
	assert_false(text_is_worker_of("web-", "web"));
	assert_false(text_is_worker_of("web-x", "web"));
	assert_false(text_is_worker_of("webs-1", "web"));
	assert_false(text_is_worker_of("we-1", "web"));
}

static void check_int(const char *s, int64_t value)
{
	int64_t out;

	assert_int_equal(text_int(s, &out), 0);
	assert_int_equal(out, value);
}

static void refuse_int(const char *s, int err)
{
	int64_t out;

	errno = 0;
	assert_int_equal(text_int(s, &out), -1);
	assert_int_equal(errno, err);
}

static void test_integers(void **state)
{
	(void)state;
	check_int("0", 0);
	check_int("-5", -5);
	check_int("010", 10);
	check_int("9223372036854775807", INT64_MAX);
	check_int("-9223372036854775808", INT64_MIN);
	refuse_int("9223372036854775808", ERANGE);
	refuse_int("", EINVAL);
	refuse_int("-", EINVAL);
	refuse_int("+1", EINVAL);
	refuse_int(" 1", EINVAL);
	refuse_int("1 ", EINVAL);
	refuse_int("0x10", EINVAL);
	refuse_int("1.5", EINVAL);
}

static void check_duration(const char *s, int64_t usec)
{
	int64_t out = -1;

	assert_int_equal(text_duration(s, &out), 0);
	assert_int_equal(out, usec);
}

static void test_durations(void **state)
{
	static const char *const bad[] = { "",
					   "10",
					   "s",
					   "-1s",
					   "1x",
					   "1s1",
					   "1 2s",
					   "1e3s",
					   "10s,",
					   "1m",
					   "99999999999999999999d" };
	int64_t out;

	(void)state;
	check_duration("0", 0);
	check_duration("500ms", 500 * USEC_PER_MSEC);
	check_duration("10s", 10 * USEC_PER_SEC);
	check_duration("1min 30s", 90 * USEC_PER_SEC);
	check_duration("1min30s", 90 * USEC_PER_SEC);
	check_duration("2h", 7200 * USEC_PER_SEC);
	check_duration("1d", 86400 * USEC_PER_SEC);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (text_duration(bad[i], &out) == 0)
			fail_msg("\"%s\" was taken for %lld us", bad[i], (long long)out);
}

static void test_durations_shown(void **state)
{
	static const int64_t exact[] = { 0,
					 USEC_PER_MSEC,
					 1500 * USEC_PER_MSEC,
					 90 * USEC_PER_SEC,
					 3601 * USEC_PER_SEC,
					 86400 * USEC_PER_SEC,
					 100000 * USEC_PER_SEC + 7 * USEC_PER_MSEC };
	char buf[64];

	(void)state;
	assert_string_equal(text_duration_show(buf, sizeof(buf), 400 * USEC_PER_MSEC), "400ms");
	assert_string_equal(text_duration_show(buf, sizeof(buf), 123 * USEC_PER_SEC), "2min 3s");
	assert_string_equal(
		text_duration_show(buf, sizeof(buf), (3 * 24 + 4) * 3600 * USEC_PER_SEC + 5),
		"3d 4h");
	for (size_t i = 0; i < sizeof(exact) / sizeof(*exact); i++)
		check_duration(text_duration_print(buf, sizeof(buf), exact[i]), exact[i]);
}

static void check_size(const char *s, uint64_t bytes)
{
	uint64_t out = 1;

	assert_int_equal(text_size(s, &out), 0);
	assert_true(out == bytes);
}

static void test_sizes(void **state)
{
	static const char *const bad[] = { "",
					   "K",
					   "-1",
					   "1Q",
					   "1.5M",
					   "1 M",
					   "1KK",
					   "18446744073709551616",
					   "18014398509481984K" };
	static const uint64_t exact[] = { 0, 1, 1000, 1024, 65536, 1536, 1ull << 40, UINT64_MAX };
	uint64_t out;
	char buf[64];

	(void)state;
	check_size("0", 0);
	check_size("17", 17);
	check_size("64K", 65536);
	check_size("512M", 512ull << 20);
	check_size("2G", 2ull << 30);
	check_size("1T", 1ull << 40);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (text_size(bad[i], &out) == 0)
			fail_msg("\"%s\" was taken for %llu", bad[i], (unsigned long long)out);
	for (size_t i = 0; i < sizeof(exact) / sizeof(*exact); i++)
		check_size(text_size_print(buf, sizeof(buf), exact[i]), exact[i]);
	assert_string_equal(text_size_show(buf, sizeof(buf), 17), "17B");
	assert_string_equal(text_size_show(buf, sizeof(buf), 512 * 1024), "512K");
	assert_string_equal(text_size_show(buf, sizeof(buf), 3565158), "3.4M");
}

static void test_signals(void **state)
{
	(void)state;
	assert_int_equal(text_signal("TERM"), 15);
	assert_int_equal(text_signal("SIGTERM"), 15);
	assert_int_equal(text_signal("9"), 9);
	assert_int_equal(text_signal("64"), 64);
	assert_int_equal(text_signal("RTMIN+3"), text_signal("RTMIN") + 3);
	assert_int_equal(text_signal("NO"), -1);
	assert_int_equal(text_signal("0"), -1);
	assert_int_equal(text_signal("65"), -1);
	assert_int_equal(text_signal(""), -1);
	assert_int_equal(text_signal("SIG"), -1);
	assert_int_equal(text_signal("RTMIN+99"), -1);
	for (int i = 1; i <= 64; i++) {
		if (i == 32 || i == 33) /* the C library's own */
			continue;
		assert_int_equal(text_signal(text_signal_name(i)), i);
	}
	assert_non_null(text_signal_name(-1));
	assert_non_null(text_signal_name(1000));
}

static void test_utf8(void **state)
{
	(void)state;
	assert_true(text_utf8_ok("", 0));
	assert_true(text_utf8_ok("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 10));
	assert_false(text_utf8_ok("a\0b", 3));
	assert_false(text_utf8_ok("\xc3", 1));
	assert_false(text_utf8_ok("\xc0\xaf", 2));	   /* overlong */
	assert_false(text_utf8_ok("\xe0\x80\xaf", 3));	   /* overlong */
	assert_false(text_utf8_ok("\xed\xa0\x80", 3));	   /* a surrogate */
	assert_false(text_utf8_ok("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
	assert_false(text_utf8_ok("\xff", 1));
	assert_int_equal(text_utf8_sequence("\xe2\x82\xac", 3), 3);
	assert_int_equal(text_utf8_sequence("\xe2\x82\xac", 2), 0);
	assert_int_equal(text_utf8_sequence("a", 1), 1);
	assert_int_equal(text_utf8_sequence("\x80", 1), 0);
}

/* ---- names ------------------------------------------------------------------------------------ */

static void test_bytes_of_names(void **state)
{
	unsigned good = 0;

	(void)state;
	for (int c = 1; c < 256; c++) {
		const char name[] = { 'a', (char)c, '\0' };

		good += text_name_ok(name);
	}
	assert_int_equal(good, 26 + 26 + 10 + 3);
	assert_true(text_name_ok("..."));
	assert_true(text_name_ok("-"));
	assert_false(text_name_ok("a\n"));
	assert_false(text_pool_name_ok(".."));
	assert_false(text_pool_name_ok("a/b"));
}

static void test_worker_of_pools_with_dashes(void **state)
{
	(void)state;
	assert_true(text_is_worker_of("web-a-1", "web-a"));
	assert_false(text_is_worker_of("web-a-1", "web"));
	assert_false(text_is_worker_of("web-1-2", "web"));
	assert_false(text_is_worker_of("web-1 ", "web"));
	assert_false(text_is_worker_of("web--1", "web"));
	assert_false(text_is_worker_of("", "web"));
}

/* ---- integers --------------------------------------------------------------------------------- */

static void test_integers_over_the_edge(void **state)
{
	(void)state;
	check_int("-0", 0);
	check_int("00000000000000000000000000000001", 1);
	refuse_int("-9223372036854775809", ERANGE);
	refuse_int("99999999999999999999999999", ERANGE);
	refuse_int("--5", EINVAL);
	refuse_int("-+5", EINVAL);
	refuse_int("- 5", EINVAL);
	refuse_int("5\n", EINVAL);
	refuse_int("1e3", EINVAL);
	refuse_int("\xd9\xa1", EINVAL); /* a digit, but of another script */
}

/* ---- durations -------------------------------------------------------------------------------- */

static void refuse_duration(const char *s, int err)
{
	int64_t out = -7;

	errno = 0;
	if (text_duration(s, &out) == 0)
		fail_msg("\"%s\" was taken for %lld us", s, (long long)out);
	assert_int_equal(errno, err);
	assert_int_equal(out, -7);
}

static void test_fractions(void **state)
{
	(void)state;
	check_duration("1.5s", 1500 * USEC_PER_MSEC);
	check_duration("0.25min", 15 * USEC_PER_SEC);
	check_duration("1.5ms", 1500);
	check_duration("0.001ms", 1);
	check_duration("1.0s", USEC_PER_SEC);
	check_duration("0.0009ms", 0); /* finer than what is counted: cut */
	check_duration("1.00000000000000000000000000009s", USEC_PER_SEC);
	refuse_duration("1.s", EINVAL);
	refuse_duration(".5s", EINVAL);
	refuse_duration("1.5.5s", EINVAL);
	refuse_duration("1,5s", EINVAL);
	refuse_duration("1.5", EINVAL);
	refuse_duration("-0.5s", EINVAL);
}

static void test_sums_of_durations(void **state)
{
	(void)state;
	check_duration("1d 1h 1min 1s 1ms", INT64_C(90061001000));
	check_duration("1d1h1min1s1ms", INT64_C(90061001000));
	check_duration("1ms 1s", 1001 * USEC_PER_MSEC);
	check_duration("1s 1s", 2 * USEC_PER_SEC);
	check_duration("  10   s  ", 10 * USEC_PER_SEC);
	check_duration("0s", 0);
	refuse_duration("1s 2", EINVAL);
	refuse_duration("1s, 2s", EINVAL);
	refuse_duration("1 s2", EINVAL);
	refuse_duration("   ", EINVAL);
	refuse_duration("00", EINVAL);
}

static void test_units_of_durations(void **state)
{
	static const char *const none[] = { "1S",  "1MS",   "1sec", "1m", "1us",
					    "1mi", "1min_", "1hd",  "1w", "1\ts" };

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		refuse_duration(none[i], EINVAL);
}

static void test_longest_duration(void **state)
{
	(void)state;
	check_duration("106751991d", INT64_C(106751991) * 86400 * USEC_PER_SEC);
	check_duration("9223372036854775.807ms", INT64_MAX);
	refuse_duration("106751992d", ERANGE);
	refuse_duration("9223372036854775.808ms", ERANGE);
	refuse_duration("9223372036854775.807ms 0.001ms", ERANGE);
	refuse_duration("106751991d 1d", ERANGE);
	refuse_duration("9223372036854775808ms", ERANGE);
}

static void test_durations_for_people(void **state)
{
	static const struct {
		int64_t usec;
		const char *text;
	} want[] = {
		{ 0, "0ms" },
		{ 999, "0ms" },
		{ USEC_PER_MSEC, "1ms" },
		{ 999999, "999ms" },
		{ 1500 * USEC_PER_MSEC, "1s" }, /* above a second nobody asks */
		{ 60 * USEC_PER_SEC, "1min" },
		{ 3600 * USEC_PER_SEC - 1, "59min 59s" },
		{ 3605 * USEC_PER_SEC, "1h" }, /* two units next to one another, not any two */
		{ 25 * 3600 * USEC_PER_SEC, "1d 1h" },
		{ INT64_MAX, "106751991d 4h" },
	};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		assert_string_equal(text_duration_show(buf, sizeof(buf), want[i].usec),
				    want[i].text);
}

static void test_durations_printed(void **state)
{
	static const struct {
		int64_t usec;
		const char *text;
	} want[] = {
		{ 0, "0" },
		{ 1, "0.001ms" },
		{ 1500, "1.500ms" },
		{ 90 * USEC_PER_SEC, "90s" },
		{ 120 * USEC_PER_SEC, "2min" },
		{ 25 * 3600 * USEC_PER_SEC, "25h" },
		{ 48 * 3600 * USEC_PER_SEC, "2d" },
		{ INT64_MAX, "9223372036854775.807ms" },
	};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		assert_string_equal(text_duration_print(buf, sizeof(buf), want[i].usec),
				    want[i].text);
}

/* Over the whole range, printed text reads back as the same value. */
static void test_what_is_printed_reads_back(void **state)
{
	char buf[64];
	uint64_t size;

	(void)state;
	for (uint64_t v = 1; v < UINT64_MAX / 3; v = v * 3 / 2 + 1) {
		int64_t usec = (int64_t)(v >> 1);

		check_duration(text_duration_print(buf, sizeof(buf), usec), usec);
		for (unsigned shift = 0; shift <= 40; shift += 10) {
			size = v << shift;
			check_size(text_size_print(buf, sizeof(buf), size), size);
		}
	}
}

/* Too little space cuts the text, and nothing is written behind it. */
static void test_little_space(void **state)
{
	(void)state;
	for (size_t size = 1; size < 8; size++) {
		char buf[9];

		memset(buf, '#', sizeof(buf));
		text_duration_show(buf, size, INT64_C(123456789) * USEC_PER_SEC);
		assert_memory_equal(buf, "1428d 21h", size - 1);
		assert_int_equal(buf[size - 1], '\0');
		assert_int_equal(buf[size], '#');
		memset(buf, '#', sizeof(buf));
		text_size_print(buf, size, 12345678);
		assert_memory_equal(buf, "12345678", size - 1);
		assert_int_equal(buf[size - 1], '\0');
		assert_int_equal(buf[size], '#');
	}
}

/* ---- sizes ------------------------------------------------------------------------------------ */

static void refuse_size(const char *s, int err)
{
	uint64_t out;

	errno = 0;
	if (text_size(s, &out) == 0)
		fail_msg("\"%s\" was taken for %llu", s, (unsigned long long)out);
	assert_int_equal(errno, err);
}

static void test_largest_sizes(void **state)
{
	(void)state;
	check_size("18446744073709551615", UINT64_MAX);
	check_size("18014398509481983K", UINT64_MAX - 1023);
	check_size("16777215T", UINT64_C(16777215) << 40);
	refuse_size("18446744073709551616", ERANGE);
	refuse_size("18014398509481984K", ERANGE);
	refuse_size("16777216T", ERANGE);
	refuse_size("99999999999999999999999G", ERANGE);
}

static void test_sizes_as_they_are_not_written(void **state)
{
	static const char *const none[] = {
		" 1", "1 ", "1k", "1KB", "1P", "+1", "0x10", "1K1", "\n"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		refuse_size(none[i], EINVAL);
}

static void test_sizes_printed(void **state)
{
	char buf[64];

	(void)state;
	assert_string_equal(text_size_print(buf, sizeof(buf), 0), "0");
	assert_string_equal(text_size_print(buf, sizeof(buf), 1000), "1000");
	assert_string_equal(text_size_print(buf, sizeof(buf), 65536), "64K");
	assert_string_equal(text_size_print(buf, sizeof(buf), 65537), "65537");
	assert_string_equal(text_size_print(buf, sizeof(buf), 3u << 20), "3M");
	assert_string_equal(text_size_print(buf, sizeof(buf), UINT64_C(1) << 50), "1024T");
}

static void test_sizes_for_people(void **state)
{
	char buf[64];

	(void)state;
	assert_string_equal(text_size_show(buf, sizeof(buf), 0), "0B");
	assert_string_equal(text_size_show(buf, sizeof(buf), 1023), "1023B");
	assert_string_equal(text_size_show(buf, sizeof(buf), 1024), "1.0K");
	assert_string_equal(text_size_show(buf, sizeof(buf), 1536), "1.5K");
	assert_string_equal(text_size_show(buf, sizeof(buf), 10240 + 256), "10K");
	assert_string_equal(text_size_show(buf, sizeof(buf), 5ull << 30), "5.0G");
	assert_string_equal(text_size_show(buf, sizeof(buf), 2000ull << 40), "2000T");
}

/* ---- signals ---------------------------------------------------------------------------------- */

static void test_realtime_signals(void **state)
{
	static const char *const none[] = {
		"RTMIN-1", "RTMAX+1",  "RTMIN+", "RTMIN+-1", "RTMIN+ 1",
		"RTMIN3",  "RTMAX-99", "RTMINX", "RT",	     "RTMIN+1x"
	};

	(void)state;
	assert_int_equal(text_signal("RTMIN"), SIGRTMIN);
	assert_int_equal(text_signal("RTMIN+0"), SIGRTMIN);
	assert_int_equal(text_signal("SIGRTMIN+3"), SIGRTMIN + 3);
	assert_int_equal(text_signal("RTMAX"), SIGRTMAX);
	assert_int_equal(text_signal("SIGRTMAX-2"), SIGRTMAX - 2);
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		assert_int_equal(text_signal(none[i]), -1);
	assert_string_equal(text_signal_name(SIGRTMIN), "SIGRTMIN");
	assert_string_equal(text_signal_name(SIGRTMIN + 3), "SIGRTMIN+3");
}

static void test_what_is_no_signal(void **state)
{
	static const char *const none[] = {
		"term", "SIGSIGTERM", "SIG15", "-1",   "+15",
		"15x",	"TERM ",      " 15",   "15.0", "99999999999999999999"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		assert_int_equal(text_signal(none[i]), -1);
}

static void test_signal_names(void **state)
{
	(void)state;
	assert_string_equal(text_signal_name(SIGTERM), "SIGTERM");
	assert_string_equal(text_signal_name(SIGKILL), "SIGKILL");
	assert_string_equal(text_signal_name(0), "signal 0");
	assert_string_equal(text_signal_name(SIGRTMAX + 1), "signal 65");
}

/* ---- UTF-8 ------------------------------------------------------------------------------------ */

static size_t encode(uint32_t c, char *s)
{
	if (c < 0x80) {
		s[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		s[0] = (char)(0xc0 | c >> 6);
		s[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		s[0] = (char)(0xe0 | c >> 12);
		s[1] = (char)(0x80 | (c >> 6 & 0x3f));
		s[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	s[0] = (char)(0xf0 | c >> 18);
	s[1] = (char)(0x80 | (c >> 12 & 0x3f));
	s[2] = (char)(0x80 | (c >> 6 & 0x3f));
	s[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static void test_every_character(void **state)
{
	(void)state;
	for (uint32_t c = 1; c < 0x1fffff; c++) {
		bool right = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
		char s[4];
		size_t n = encode(c, s);

		if (text_utf8_sequence(s, n) != (right ? n : 0))
			fail_msg("U+%04X", (unsigned)c);
		if (n > 1 && text_utf8_sequence(s, n - 1) != 0)
			fail_msg("half of U+%04X", (unsigned)c);
	}
}

/* Of all texts of three bytes, as many are right as UTF-8 has: so nothing else is let through. */
static void test_every_text_of_three_bytes(void **state)
{
	const unsigned one = 0x7f, two = 0x800 - 0x80, three = 0x10000 - 0x800 - 0x800;
	unsigned right = 0;

	(void)state;
	for (unsigned i = 0; i < 1 << 24; i++) {
		const char s[] = { (char)(i >> 16), (char)(i >> 8), (char)i };

		right += text_utf8_ok(s, 3);
	}
	assert_int_equal(right, one * one * one + 2 * one * two + three);
}

static void test_no_sequence(void **state)
{
	(void)state;
	assert_int_equal(text_utf8_sequence("a", 0), 0);
	assert_int_equal(text_utf8_sequence("", 1), 0);
	assert_int_equal(text_utf8_sequence("\xe2\x82z", 3), 0);
	assert_int_equal(text_utf8_sequence("\xf0\x9f\x98z", 4), 0);
	assert_int_equal(text_utf8_sequence("\xf8\x88\x80\x80\x80", 5), 0);
	assert_int_equal(text_utf8_sequence("\xc3\xa4\xff", 3),
			 2); /* what follows is not its own */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_worker_of),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_durations_shown),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_bytes_of_names),
		cmocka_unit_test(test_worker_of_pools_with_dashes),
		cmocka_unit_test(test_integers_over_the_edge),
		cmocka_unit_test(test_fractions),
		cmocka_unit_test(test_sums_of_durations),
		cmocka_unit_test(test_units_of_durations),
		cmocka_unit_test(test_longest_duration),
		cmocka_unit_test(test_durations_for_people),
		cmocka_unit_test(test_durations_printed),
		cmocka_unit_test(test_what_is_printed_reads_back),
		cmocka_unit_test(test_little_space),
		cmocka_unit_test(test_largest_sizes),
		cmocka_unit_test(test_sizes_as_they_are_not_written),
		cmocka_unit_test(test_sizes_printed),
		cmocka_unit_test(test_sizes_for_people),
		cmocka_unit_test(test_realtime_signals),
		cmocka_unit_test(test_what_is_no_signal),
		cmocka_unit_test(test_signal_names),
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_every_text_of_three_bytes),
		cmocka_unit_test(test_no_sequence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
