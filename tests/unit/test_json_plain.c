/* Responses that are read without a tree: what is taken, and what is left to the parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/json_plain.h"
#include "lib/message.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

/* Lies at the end of its memory, so that a look behind it is noticed. */
static char *copy(const char *text, size_t len)
{
	char *data = malloc(len ? len : 1);

	assert_non_null(data);
	memcpy(data, text, len);
	return data;
}

static size_t plain(const char *text, size_t len)
{
	char *data = copy(text, len);
	size_t n = json_plain_value(data, len);

	free(data);
	return n;
}

static void test_values(void **state)
{
	static const char *const values[] = {
		"null",
		"true",
		"false",
		"0",
		"-0",
		"7",
		"-12",
		"0.5",
		"-12.25",
		"\"\"",
		"[]",
		"[ ]",
		"[1]",
		"[ 1 , \"a\" ,null]",
		"[[[]]]",
		"\"a b\"",
		"123456789012345",
		"\"\xe2\x82\xac\"",
		"\"\x7f\"",
		"[0.0]",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		size_t len = strlen(values[i]);
		const char *why;
		struct json_t *value = json_read(values[i], len, 0, &why);

		assert_non_null(value);
		json_free(value);
		assert_int_equal(plain(values[i], len), len);
		for (size_t cut = 0;
		     values[i][0] != '-' && !strpbrk(values[i], "0123456789") && cut < len; cut++)
			assert_int_equal(plain(values[i], cut), 0);
	}
}

static void test_left_to_the_parser(void **state)
{
	static const char *const values[] = {
		"",
		"{}",
		"[{}]",
		"\"\\n\"",
		"\"a",
		"\"\x01\"",
		"\"\xff\"",
		"\"\xc3\"",
		"01",
		"-",
		"-a",
		"1.",
		"1.e5",
		"1e5",
		"1E5",
		"1.5e1",
		"1234567890123456",
		"+1",
		".5",
		"nul",
		"True",
		"[1,]",
		"[,1]",
		"[1 2]",
		"[1",
		"[",
		"[[[[[[[[[[1]]]]]]]]]]",
		"NaN",
		"1.2345678901234567",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++)
		assert_int_equal(plain(values[i], strlen(values[i])), 0);
}

static bool response(const char *text, int64_t *id, char result[64])
{
	size_t len = strlen(text), n;
	char *data = copy(text, len);
	const char *at;
	bool ok = json_plain_response(data, len, id, &at, &n);

	if (ok) {
		assert_in_range(n, 1, 63);
		memcpy(result, at, n);
		result[n] = '\0';
	}
	free(data);
	return ok;
}

static void test_responses(void **state)
{
	static const struct {
		const char *text, *result;
		int64_t id;
	} good[] = {
		{ "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":null}", "null", 7 },
		{ "{\"jsonrpc\": \"2.0\", \"id\": 12, \"result\": [1, \"a\"]}", "[1, \"a\"]", 12 },
		{ " { \"result\" : \"x\" , \"id\" : -3 , \"jsonrpc\" : \"2.0\" } \r", "\"x\"", -3 },
		{ "{\"id\":999999999999999,\"jsonrpc\":\"2.0\",\"result\":-1.5}", "-1.5",
		  999999999999999 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		char result[64];
		int64_t id = 0;

		assert_true(response(good[i].text, &id, result));
		assert_int_equal(id, good[i].id);
		assert_string_equal(result, good[i].result);
	}
}

static void test_other_responses(void **state)
{
	static const char *const others[] = {
		"",
		"{}",
		"[]",
		"{\"jsonrpc\":\"2.0\",\"id\":7}",
		"{\"jsonrpc\":\"2.0\",\"result\":7}",
		"{\"id\":7,\"result\":7}",
		"{\"jsonrpc\":\"1.0\",\"id\":7,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7.5,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7e1,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":\"7\",\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"id\":7,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,\"result\":2}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,\"error\":null}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":1}}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1},",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}x",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,}",
		"{,\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1",
		"{\"jsonrpc\":\"2.0\" \"id\":7,\"result\":1}",
		"{{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(others); i++) {
		char result[64];
		int64_t id;

		assert_false(response(others[i], &id, result));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_left_to_the_parser),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_other_responses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
