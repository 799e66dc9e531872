/* JSON as it is written. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/json_writer.h"

static struct buf out;
static struct json_writer w;

static int reset(void **state)
{
	(void)state;
	buf_free(&out);
	out.max = 1000;
	w = json_writer(&out);
	return 0;
}

static void expect(const char *text)
{
	assert_true(jw_ok(&w));
	assert_int_equal(buf_append(&out, "", 1), 0);
	assert_string_equal(buf_data(&out), text);
}

static void test_structure(void **state)
{
	(void)state;
	jw_object(&w);
	jw_key(&w, "empty");
	jw_object(&w);
	jw_end_object(&w);
	jw_key(&w, "list");
	jw_array(&w);
	jw_int(&w, 1);
	jw_array(&w);
	jw_end_array(&w);
	jw_null(&w);
	jw_bool(&w, true);
	jw_end_array(&w);
	jw_key(&w, "raw");
	jw_raw(&w, "[1,2]", 5);
	jw_key(&w, "no");
	jw_bool(&w, false);
	jw_end_object(&w);
	expect("{\"empty\":{},\"list\":[1,[],null,true],\"raw\":[1,2],\"no\":false}");
}

static void test_strings(void **state)
{
	(void)state;
	jw_array(&w);
	jw_string(&w, "\"\\/\b\f\n\r\t\x01\x1f");
	jw_string(&w, NULL);
	jw_string_n(&w, "a\0b", 3);
	jw_string(&w, "\xe2\x82\xac");
	jw_string(&w, "x\xff\xc3y");
	jw_end_array(&w);
	expect("[\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\",null,\"a\\u0000b\",\"\xe2\x82\xac\","
	       "\"x\xef\xbf\xbd\xef\xbf\xbdy\"]");
}

static void test_numbers(void **state)
{
	(void)state;
	jw_array(&w);
	jw_int(&w, INT64_MIN);
	jw_int(&w, INT64_MAX);
	jw_double(&w, NAN);
	jw_double(&w, -INFINITY);
	jw_end_array(&w);
	expect("[-9223372036854775808,9223372036854775807,null,null]");
}

static void test_doubles_keep_microseconds(void **state)
{
	static const double values[] = { 0, 0.5, 1764000000.123456, -2.25, 1e-6 };

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		double back;

		reset(NULL);
		jw_double(&w, values[i]);
		assert_int_equal(buf_append(&out, "", 1), 0);
		assert_int_equal(sscanf(buf_data(&out), "%lf", &back), 1);
		assert_true(fabs(back - values[i]) < 5e-7);
	}
}

static void test_seconds(void **state)
{
	(void)state;
	jw_array(&w);
	jw_seconds(&w, 0);
	jw_seconds(&w, 1);
	jw_seconds(&w, -1);
	jw_seconds(&w, 1764000000123456);
	jw_seconds(&w, -2250000);
	jw_seconds(&w, INT64_MAX);
	jw_seconds(&w, INT64_MIN);
	jw_end_array(&w);
	expect("[0.000000,0.000001,-0.000001,1764000000.123456,-2.250000,9223372036854.775807,"
	       "-9223372036854.775808]");
}

static void test_no_room(void **state)
{
	(void)state;
	out.max = 10;
	jw_array(&w);
	jw_string(&w, "longer than there is room for");
	jw_end_array(&w);
	assert_false(jw_ok(&w));
	assert_true(out.len <= 10);
}

static void test_value_alone(void **state)
{
	(void)state;
	jw_string(&w, "");
	expect("\"\"");
}

static void test_behind_what_is_there(void **state)
{
	(void)state;
	assert_int_equal(buf_append(&out, "before", 6), 0);
	jw_array(&w);
	jw_int(&w, -1);
	jw_int(&w, 0);
	jw_end_array(&w);
	expect("before[-1,0]");
}

static void test_keys_are_escaped(void **state)
{
	(void)state;
	jw_object(&w);
	jw_key(&w, "a\"b\n");
	jw_int(&w, 1);
	jw_key(&w, "\xff");
	jw_null(&w);
	jw_end_object(&w);
	expect("{\"a\\\"b\\n\":1,\"\xef\xbf\xbd\":null}");
}

static void test_no_control_character_stays(void **state)
{
	(void)state;
	for (int c = 0; c < 0x20; c++) {
		char byte = (char)c;

		reset(NULL);
		jw_string_n(&w, &byte, 1);
		assert_true(jw_ok(&w));
		assert_true(out.len >= 4);
		for (size_t i = 0; i < out.len; i++)
			assert_true((unsigned char)buf_data(&out)[i] >= 0x20);
	}
	reset(NULL);
	jw_string(&w, "\x7f/"); /* need no escape */
	expect("\"\x7f/\"");
}

/* Output of workers is cut at any byte: half a character must not make the whole text wrong. */
static void test_text_cut_within_a_character(void **state)
{
	(void)state;
	jw_array(&w);
	jw_string_n(&w, "a\xe2\x82\xac", 3);
	jw_string_n(&w, "\xf0\x9f\x98\x80", 4);
	jw_string_n(&w, "\x82\xac z", 4);
	jw_end_array(&w);
#define BAD "\xef\xbf\xbd"
	expect("[\"a" BAD BAD "\",\"\xf0\x9f\x98\x80\",\"" BAD BAD " z\"]");
}

static void test_no_utf8(void **state)
{
	(void)state;
	jw_array(&w);
	jw_string(&w, "\xc0\xaf");	   /* overlong */
	jw_string(&w, "\xed\xa0\x80");	   /* a surrogate */
	jw_string(&w, "\xf4\x90\x80\x80"); /* above U+10FFFF */
	jw_string(&w, "\xfe\"\n");	   /* what follows is escaped all the same */
	jw_end_array(&w);
	expect("[\"" BAD BAD "\",\"" BAD BAD BAD "\",\"" BAD BAD BAD BAD "\",\"" BAD "\\\"\\n\"]");
#undef BAD
}

static void test_largest_double(void **state)
{
	static const double values[] = { DBL_MAX, -DBL_MAX };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char *rest;

		reset(NULL);
		jw_double(&w, values[i]);
		assert_true(jw_ok(&w));
		assert_int_equal(buf_append(&out, "", 1), 0);
		assert_true(strtod(buf_data(&out), &rest) == values[i]);
		assert_int_equal(*rest, '\0');
	}
}

static void test_failure_sticks(void **state)
{
	(void)state;
	out.max = 4;
	jw_array(&w);
	jw_int(&w, 12345);
	assert_false(jw_ok(&w));
	out.max = 1000; /* room that comes later makes no valid text of it */
	jw_int(&w, 1);
	jw_end_array(&w);
	assert_false(jw_ok(&w));
	assert_int_equal(out.len, 1);
}

static void test_room_to_the_last_byte(void **state)
{
	(void)state;
	for (size_t max = 0; max <= 9; max++) {
		reset(NULL);
		out.max = max;
		jw_object(&w);
		jw_key(&w, "a");
		jw_string(&w, "b");
		jw_end_object(&w);
		assert_int_equal(jw_ok(&w), max == 9);
		assert_true(out.len <= max);
	}
	assert_memory_equal(buf_data(&out), "{\"a\":\"b\"}", 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_structure, reset, reset),
		cmocka_unit_test_setup_teardown(test_strings, reset, reset),
		cmocka_unit_test_setup_teardown(test_numbers, reset, reset),
		cmocka_unit_test_setup_teardown(test_seconds, reset, reset),
		cmocka_unit_test_setup_teardown(test_doubles_keep_microseconds, reset, reset),
		cmocka_unit_test_setup_teardown(test_no_room, reset, reset),
		cmocka_unit_test_setup_teardown(test_value_alone, reset, reset),
		cmocka_unit_test_setup_teardown(test_behind_what_is_there, reset, reset),
		cmocka_unit_test_setup_teardown(test_keys_are_escaped, reset, reset),
		cmocka_unit_test_setup_teardown(test_no_control_character_stays, reset, reset),
		cmocka_unit_test_setup_teardown(test_text_cut_within_a_character, reset, reset),
		cmocka_unit_test_setup_teardown(test_no_utf8, reset, reset),
		cmocka_unit_test_setup_teardown(test_largest_double, reset, reset),
		cmocka_unit_test_setup_teardown(test_failure_sticks, reset, reset),
		cmocka_unit_test_setup_teardown(test_room_to_the_last_byte, reset, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
