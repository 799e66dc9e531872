/* Where values stand in a text, and that no text makes it read outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/json_slice.h"
#include "lib/message.h"

/* A copy that ends where it is said to, so that a sanitizer sees who reads on. */
static struct json_slice copy(const char *text)
{
	size_t len = strlen(text);
	char *at = malloc(len ? len : 1);

	assert_non_null(at);
	memcpy(at, text, len);
	return (struct json_slice){ at, len };
}

static void drop(struct json_slice s)
{
	free((char *)(uintptr_t)s.text);
}

static void member_is(const char *text, const char *key, const char *expected)
{
	struct json_slice object = copy(text), value;
	bool found = json_slice_member(object, key, &value);

	if (found != (expected != NULL))
		fail_msg("%s in %s: %s", key, text, found ? "found" : "not found");
	if (found) {
		assert_int_equal(value.len, strlen(expected));
		assert_memory_equal(value.text, expected, value.len);
	}
	drop(object);
}

static void test_members(void **state)
{
	(void)state;
	member_is("{\"a\":1,\"b\":2}", "a", "1");
	member_is("{\"a\":1,\"b\":2}", "b", "2");
	member_is("{\"a\":1,\"b\":2}", "c", NULL);
	member_is(" { \"a\" : 0.10 , \"b\" : [ 1 , { } ] } ", "b", "[ 1 , { } ]");
	member_is("{\"b\":{\"a\":1},\"a\":-0}", "a", "-0");
	member_is("{\"b\":\"\\\"a\\\":1\",\"a\":null}", "a", "null");
	member_is("{\"ab\":1,\"\":2}", "a", NULL);
	member_is("{\"ab\":1,\"\":2}", "", "2");
	member_is("{\"x\":\"}{][\\\\\",\"a\":\"\\u0022\"}", "a", "\"\\u0022\"");
	member_is("{}", "a", NULL);
	member_is("[\"a\",1]", "a", NULL);
	member_is("7", "a", NULL);
}

/* A parser makes the same name of it, so it is the same name. */
static void test_keys_with_escapes(void **state)
{
	(void)state;
	member_is("{\"it\\u0065m\":1}", "item", "1");
	member_is("{\"\\u0069\\u0074\\u0065\\u006D\":1}", "item", "1");
	member_is("{\"it\\u0165m\":1}", "item", NULL);
	member_is("{\"it\\u00e5m\":1}", "item", NULL);
	member_is("{\"a\\/b\\\\\\\"\":1}", "a/b\\\"", "1");
	member_is("{\"item\\u0000\":1}", "item", NULL);
	member_is("{\"item\\\\\":1}", "item", NULL);
}

static void elements_are(const char *text, const char *expected)
{
	struct json_slice array = copy(text), element;
	char found[200] = "";
	size_t at = 0;

	while (json_slice_next(array, &at, &element)) {
		strncat(found, element.text, element.len);
		strcat(found, "|");
	}
	assert_string_equal(found, expected);
	drop(array);
}

static void test_elements(void **state)
{
	(void)state;
	elements_are("[]", "");
	elements_are(" [ ] ", "");
	elements_are("[1]", "1|");
	elements_are("[ 1 , \"a,]\" , [2,3] , {\"b\":[4]} , -0.10e-1 ]",
		     "1|\"a,]\"|[2,3]|{\"b\":[4]}|-0.10e-1|");
	elements_are("{\"a\":1}", "");
	elements_are("null", "");
}

static void compact_is(const char *text, const char *expected)
{
	struct json_slice s = copy(text);
	char to[200];

	assert_int_equal(json_slice_compact(s, to), strlen(expected));
	assert_memory_equal(to, expected, strlen(expected));
	drop(s);
}

static void test_compact(void **state)
{
	(void)state;
	compact_is("1.50", "1.50");
	compact_is(" { \"a b\" :\t[ 1 ,\r\n 2 ] } ", "{\"a b\":[1,2]}");
	compact_is("\" \\\" \\\\ \"", "\" \\\" \\\\ \"");
	compact_is("[ \" \\\\\" , \" \" ]", "[\" \\\\\",\" \"]");
	compact_is("", "");
}

static void hollow_is(const char *text, const char *expected)
{
	struct json_slice s = copy(text);
	char to[200];
	size_t len = json_slice_hollow(s, "item", 4, to);

	assert_int_equal(len, strlen(expected));
	assert_memory_equal(to, expected, len);
	drop(s);
}

static void test_hollow(void **state)
{
	(void)state;
	hollow_is("[\"12345\",\"1234\" , \"123456\"]", "[\"\",\"1234\" , \"\"]");
	hollow_is("{\"item\" : \"12345\",\"other\":\"12345\"}",
		  "{\"item\" : \"\",\"other\":\"12345\"}");
	hollow_is("{\"item\":{\"longer\":\"12345\",\"longest\" :1}}",
		  "{\"item\":{\"longer\":\"12345\",\"longest\" :1}}");
	hollow_is("[\"1234\\n\",\"1234\x80\",\"1234\t\"]", "[\"1234\\n\",\"1234\x80\",\"1234\t\"]");
	hollow_is("\"12345\"", "\"12345\"");
	hollow_is("", "");
}

/* Cut anywhere, and with any byte in any place: the copy is right if and only if the text is. */
static void test_hollow_is_as_right_as_the_text(void **state)
{
	static const char text[] = "{\"a\":[\"12345\",\"x\\ny\"],\"item\":\"12345\",\"12345\":"
				   "\"67890\",\"123\":[1,\"67890\"]}";
	static const char bytes[] = "{}[]\",:\\u0 -1\x80\t";
	char to[sizeof(text)];
	const char *why;

	(void)state;
	for (size_t len = 1; len < sizeof(text); len++) {
		for (size_t change = 0; change < len * sizeof(bytes); change++) {
			struct json_slice s = copy(text);
			size_t hollow;

			((char *)(uintptr_t)s.text)[change / sizeof(bytes)] =
				bytes[change % sizeof(bytes)];
			s.len = len;
			hollow = json_slice_hollow(s, "item", 4, to);
			assert_true(hollow <= len);
			assert_int_equal(json_valid(to, hollow, 0, &why),
					 json_valid(s.text, len, 0, &why));
			drop(s);
		}
	}
}

static void note(size_t at, size_t len, void *arg)
{
	char *said = arg;

	sprintf(said + strlen(said), "%zu+%zu ", at, len);
}

static void test_numbers(void **state)
{
	struct json_slice s = copy("{\"1\":[2,-3.5e+7],\"x\\\"4\":\"5\",\"y\":6}");
	char said[100] = "";

	(void)state;
	json_slice_numbers(s, note, said);
	assert_string_equal(said, "6+1 8+7 32+1 ");
	drop(s);
}

/* Cut anywhere, and with any byte in any place: it ends, inside. */
static void test_no_text_makes_it_read_outside(void **state)
{
	static const char text[] =
		"{\"a\\u0062\": [1, {\"c\":\"d\\\"\"}, -2.5e3], \"e\": \"\\\\\"}";
	static const char bytes[] = "{}[]\",:\\u0 -1\x80";
	char to[sizeof(text)], said[500];

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		for (size_t change = 0; change < len * sizeof(bytes); change++) {
			struct json_slice s = copy(text), value;
			size_t at = 0;

			((char *)(uintptr_t)s.text)[change / sizeof(bytes)] =
				bytes[change % sizeof(bytes)];
			s.len = len;
			s.text = realloc((char *)(uintptr_t)s.text, len);
			json_slice_member(s, "ab", &value);
			json_slice_member(s, "e", &value);
			while (json_slice_next(s, &at, &value))
				assert_true(value.text + value.len <= s.text + s.len);
			assert_true(json_slice_compact(s, to) <= len);
			said[0] = '\0';
			json_slice_numbers(s, note, said);
			drop(s);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_keys_with_escapes),
		cmocka_unit_test(test_elements),
		cmocka_unit_test(test_compact),
		cmocka_unit_test(test_hollow),
		cmocka_unit_test(test_hollow_is_as_right_as_the_text),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_no_text_makes_it_read_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
