/* libcrew's pure parts: what a task is given, and what becomes of its answer, byte by byte; JSON text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "libcrew/answers.h"
#include "libcrew/task.h"

static struct crew_task t;
static char written[4096], *line;
static size_t written_len;
static bool held;
static int refuse; /* a code that answers are refused with */

/* Instead of libcrew/answers.c. */
int answers_add(const char *data, size_t len, bool hold)
{
	if (refuse)
		return refuse;
	if (written_len + len < sizeof(written)) {
		memcpy(written + written_len, data, len);
		written_len += len;
		written[written_len] = '\0';
	}
	held = hold;
	return 0;
}

int answers_flush(void)
{
	return 0;
}

static int begin_lines(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	written_len = 0;
	written[0] = '\0';
	refuse = 0;
	return 0;
}

static int begin_jsonrpc(void **state)
{
	begin_lines(state);
	t.json = true;
	return 0;
}

static int end(void **state)
{
	(void)state;
	task_let_go(&t);
	buf_free(&t.answer);
	free(line);
	line = NULL;
	return 0;
}

/* A copy that ends where it is said to, as crew_serve() gives it: with a NUL behind it. */
static bool take(const char *text)
{
	task_let_go(&t);
	free(line);
	line = strdup(text);
	assert_non_null(line);
	written_len = 0;
	written[0] = '\0';
	return task_take(&t, line, strlen(line));
}

static void arg_is(size_t index, const char *expected)
{
	size_t len = 99;
	const char *arg = crew_task_arg(&t, index, &len);

	if (!expected) {
		assert_null(arg);
		assert_int_equal(errno, 0);
		return;
	}
	assert_string_equal(arg, expected);
	assert_int_equal(len, strlen(expected));
}

/* ---- lines -------------------------------------------------------------------------------------- */

static void test_a_line(void **state)
{
	(void)state;
	assert_true(take("a \"b\""));
	assert_null(crew_task_method(&t));
	assert_int_equal(crew_task_count(&t), 1);
	arg_is(0, "a \"b\"");
	arg_is(1, NULL);
	assert_string_equal(crew_task_params(&t), "[\"a \\\"b\\\"\"]");
	assert_int_equal(crew_return(&t, "x", 1), 0);
	assert_string_equal(written, "x\n");
	assert_true(take(""));
	assert_int_equal(crew_return(&t, NULL, 0), 0);
	assert_string_equal(written, "\n");
}

static void test_a_line_that_is_no_text(void **state)
{
	(void)state;
	assert_true(take("\xff"));
	arg_is(0, "\xff");
	assert_null(crew_task_params(&t));
	assert_int_equal(crew_return(&t, "\xfe", 1), 0);
	assert_string_equal(written, "\xfe\n");
}

static void test_lines_have_no_newline(void **state)
{
	(void)state;
	assert_true(take("a"));
	assert_int_equal(crew_return(&t, "a\nb", 3), CREW_INVALID);
	assert_int_equal(written_len, 0);
	assert_false(t.answered);
	assert_int_equal(crew_return_json(&t, "[1,\n 2]"), 0);
	assert_string_equal(written, "[1,2]\n");
	assert_int_equal(crew_return(&t, "x", 1), CREW_INVALID);
	assert_int_equal(crew_fail(&t, 1, "x"), CREW_INVALID);
	assert_string_equal(written, "[1,2]\n");
}

static void test_lines_fail_without_an_answer(void **state)
{
	(void)state;
	assert_true(take("a"));
	assert_int_equal(crew_fail(&t, 1, "on purpose"), 0);
	assert_true(t.failed);
	assert_int_equal(written_len, 0);
	assert_int_equal(crew_return(&t, "x", 1), CREW_INVALID);
}

static void test_bounds(void **state)
{
	size_t most = TASK_LINE_MAX;
	char *much = malloc(most + 1);

	(void)state;
	assert_non_null(much);
	memset(much, 'x', most + 1);
	assert_true(take("a"));
	assert_int_equal(crew_return(&t, much, most + 1), CREW_TOO_BIG);
	assert_false(t.answered);
	assert_int_equal(crew_return(&t, much, most), 0);
	t.json = true;
	assert_true(take("{\"id\":1,\"method\":\"m\"}"));
	assert_int_equal(crew_return(&t, much, most), CREW_TOO_BIG); /* what is around it counts */
	assert_false(t.answered);
	assert_int_equal(crew_return(&t, much, most - 100), 0);
	free(much);
}

/* ---- jsonrpc ------------------------------------------------------------------------------------ */

static void test_a_request(void **state)
{
	(void)state;
	assert_true(take("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\\u00e9\",\"params\":"
			 "[\"a\", \"b\\n\\\"\" , 1.50, {\"c\": [2]}, null, \"\"]}"));
	assert_string_equal(crew_task_method(&t), "m\u00e9");
	assert_int_equal(crew_task_count(&t), 6);
	arg_is(5, "");
	arg_is(0, "a");
	arg_is(1, "b\n\"");
	arg_is(2, "1.50");
	arg_is(3, "{\"c\": [2]}");
	arg_is(4, "null");
	arg_is(6, NULL);
	assert_int_equal(crew_return(&t, "\"\n", 2), 0);
	assert_string_equal(written, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"\\\"\\n\"}\n");
}

static void test_a_text_with_nul(void **state)
{
	size_t len;
	const char *arg;

	(void)state;
	assert_true(take("{\"id\":1,\"method\":\"m\",\"params\":[\"a\\u0000b\"]}"));
	arg = crew_task_arg(&t, 0, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(arg, "a\0b", 4);
	assert_int_equal(crew_return(&t, "a\0b", 3), 0);
	assert_non_null(strstr(written, "\"base64\":\"YQBi\""));
}

static void test_names(void **state)
{
	(void)state;
	assert_true(take("{\"id\":\"x\",\"method\":\"m\",\"params\":{\"a\":1}}"));
	assert_int_equal(crew_task_count(&t), 0);
	arg_is(0, NULL);
	assert_string_equal(crew_task_params(&t), "{\"a\":1}");
	assert_int_equal(crew_return_json(&t, " { \"b\" :\n[ 1.0 , \"\\n\" ] } "), 0);
	assert_string_equal(
		written, "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{\"b\":[1.0,\"\\n\"]}}\n");
	assert_true(take("{\"id\":2,\"method\":\"m\"}"));
	assert_string_equal(crew_task_params(&t), "[]");
	assert_int_equal(crew_task_count(&t), 0);
}

static void test_wrong_answers(void **state)
{
	static const char *const wrong[] = { "",     "{",	   "1 2",     "nothing",    "\"a",
					     "[1,]", "{\"a\":1}}", "[1e400]", "\"\\u0000\"" };

	(void)state;
	assert_true(take("{\"id\":1,\"method\":\"m\"}"));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(crew_return_json(&t, wrong[i]), CREW_INVALID);
	assert_int_equal(written_len, 0);
	assert_int_equal(crew_fail(&t, -5, NULL), 0);
	assert_string_equal(written, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-5,"
				     "\"message\":\"failed\"}}\n");
}

static void test_what_is_no_request(void **state)
{
	static const struct {
		const char *text, *answer;
	} wrong[] = {
		{ "x", "\"id\":null,\"error\":{\"code\":-32700" },
		{ "", "\"id\":null,\"error\":{\"code\":-32700" },
		{ "{\"id\":1,\"id\":2}", "\"id\":null,\"error\":{\"code\":-32700" },
		{ "[]", "\"id\":null,\"error\":{\"code\":-32600" },
		{ "{}", "\"id\":null,\"error\":{\"code\":-32600" },
		{ "{\"id\":3,\"method\":1}", "\"id\":3,\"error\":{\"code\":-32600" },
		{ "{\"id\":4,\"method\":\"m\",\"params\":\"p\"}",
		  "\"id\":4,\"error\":{\"code\":-32600" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_false(take(wrong[i].text));
		assert_true(t.answered);
		assert_non_null(strstr(written, wrong[i].answer));
	}
}

static void test_nobody_wants_an_answer(void **state)
{
	(void)state;
	assert_true(take("{\"method\":\"m\",\"params\":[1]}"));
	assert_int_equal(crew_return(&t, "x", 1), 0);
	assert_int_equal(written_len, 0);
	assert_true(t.answered);
}

static void test_nobody_reads(void **state)
{
	(void)state;
	assert_true(take("{\"id\":1,\"method\":\"m\"}"));
	refuse = CREW_LOST;
	assert_int_equal(crew_return(&t, "x", 1), CREW_LOST);
	assert_int_equal(t.lost, CREW_LOST);
	assert_int_equal(crew_flush(&t), CREW_LOST);
}

static void test_held_when_others_wait(void **state)
{
	(void)state;
	assert_true(take("{\"id\":1,\"method\":\"m\"}"));
	t.more = true;
	crew_return(&t, "x", 1);
	assert_true(held);
	assert_true(take("{\"id\":2,\"method\":\"m\"}"));
	t.more = false;
	crew_return(&t, "x", 1);
	assert_false(held);
}

/* ---- JSON text ---------------------------------------------------------------------------------- */

static void is(char *text, const char *expected)
{
	if (expected)
		assert_string_equal(text, expected);
	else
		assert_null(text);
	free(text);
}

static void test_json(void **state)
{
	size_t len = 0;
	char *text;

	(void)state;
	is(crew_json_quote("", 0), "\"\"");
	is(crew_json_quote("a\"\\\n\x01", 5), "\"a\\\"\\\\\\n\\u0001\"");
	is(crew_json_quote("a\0b", 3), "\"a\\u0000b\"");
	is(crew_json_quote("\xc3", 1), NULL);
	assert_int_equal(errno, EILSEQ);
	is(crew_json_get("{\"a\":{\"b\":1.50}}", "a"), "{\"b\":1.50}");
	is(crew_json_get("[]", "a"), NULL);
	assert_int_equal(errno, 0);
	is(crew_json_get("{\"a", "a"), NULL);
	is(crew_json_at("[1, [2, 3]]", 1), "[2, 3]");
	is(crew_json_at("[1, [2, 3]]", 2), NULL);
	is(crew_json_at("[", 0), NULL);
	is(crew_json_string("1", NULL), NULL);
	is(crew_json_string("\"a", NULL), NULL);
	text = crew_json_string("\"a\\u0000\\u00e9\"", &len);
	assert_int_equal(len, 4);
	assert_memory_equal(text, "a\0\xc3\xa9", 5);
	free(text);
}

static void test_codes(void **state)
{
	(void)state;
	assert_string_equal(crew_strerror(0), "no error");
	assert_string_equal(crew_strerror(17), "no error");
	assert_string_equal(crew_strerror(-1000), "unknown error");
	for (int code = CREW_FULL; code >= CREW_SYSTEM; code--) {
		assert_non_null(crew_strerror(code));
		assert_string_not_equal(crew_strerror(code), "unknown error");
	}
}

#define LINES(test)   cmocka_unit_test_setup_teardown(test, begin_lines, end)
#define JSONRPC(test) cmocka_unit_test_setup_teardown(test, begin_jsonrpc, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LINES(test_a_line),
		LINES(test_a_line_that_is_no_text),
		LINES(test_lines_have_no_newline),
		LINES(test_lines_fail_without_an_answer),
		LINES(test_bounds),
		JSONRPC(test_a_request),
		JSONRPC(test_a_text_with_nul),
		JSONRPC(test_names),
		JSONRPC(test_wrong_answers),
		JSONRPC(test_what_is_no_request),
		JSONRPC(test_nobody_wants_an_answer),
		JSONRPC(test_nobody_reads),
		JSONRPC(test_held_when_others_wait),
		LINES(test_json),
		LINES(test_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
