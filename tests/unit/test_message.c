/* Calls and replies: what is taken, what is refused, and parameters one by one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/message.h"

static struct message_call call;
static const char *why;

static int read_call(const char *text)
{
	why = NULL;
	return message_read_call(text, strlen(text), &call, &why);
}

static void accept(const char *text)
{
	assert_int_equal(read_call(text), 0);
}

static void refuse(const char *text)
{
	if (read_call(text) == 0)
		fail_msg("was taken: %.100s", text);
	assert_non_null(why);
}

static void test_calls(void **state)
{
	(void)state;
	accept("{\"method\":\"a.b.C\",\"parameters\":{\"x\":1},\"more\":true}");
	assert_string_equal(call.method, "a.b.C");
	assert_non_null(call.params);
	assert_true(call.more && !call.oneway && !call.upgrade);
	message_call_free(&call);
	accept(" {\"method\":\"a.b.C\", \"oneway\":true, \"more\":false, \"parameters\":null}\n");
	assert_null(call.params);
	assert_true(call.oneway && !call.more);
	message_call_free(&call);
}

static void test_what_is_no_call(void **state)
{
	(void)state;
	refuse("");
	refuse("x");
	refuse("[]");
	refuse("1");
	refuse("{");
	refuse("{}");
	refuse("{\"method\":7}");
	refuse("{\"method\":\"a.b.C\"} x");
	refuse("{\"method\":\"a.b.C\",\"method\":\"a.b.D\"}");
	refuse("{\"method\":\"a.b.C\",\"parameters\":[]}");
	refuse("{\"method\":\"a.b.C\",\"more\":1}");
	refuse("{\"method\":\"a.b.C\",\"more\":true,\"oneway\":true}");
	refuse("{\"method\":\"a\xff\"}");
	refuse("{\"method\":\"a.b.C\",\"parameters\":{\"x\":1,\"x\":2}}");
}

static void nested(char *text, unsigned depth)
{
	strcpy(text, "{\"method\":\"a.b.C\",\"parameters\":{\"x\":");
	memset(text + strlen(text) + depth, '\0', 1);
	memset(text + strlen("{\"method\":\"a.b.C\",\"parameters\":{\"x\":"), '[', depth);
	memset(strchr(text, '\0') + depth, '\0', 1);
	memset(strchr(text, '\0'), ']', depth);
	strcat(text, "}}");
}

static void test_nesting(void **state)
{
	static char text[100000];

	(void)state;
	nested(text, CREW_NESTING_MAX - 2);
	accept(text);
	message_call_free(&call);
	memset(text, 0, sizeof(text));
	nested(text, CREW_NESTING_MAX - 1);
	refuse(text);
	memset(text, 0, sizeof(text));
	nested(text, 40000);
	refuse(text);
}

static void test_replies(void **state)
{
	struct message_reply r;
	const char *ok = "{\"parameters\":{\"n\":3,\"d\":2.5,\"s\":\"x\",\"b\":true,\"a\":[1,2]},"
			 "\"continues\":true}";
	const char *bad = "{\"error\":\"a.b.Bad\",\"parameters\":{}}";
	int64_t n;
	double d;
	bool b;

	(void)state;
	assert_int_equal(message_read_reply(ok, strlen(ok), &r, &why), 0);
	assert_true(r.continues && !r.error);
	assert_true(json_get_int(r.params, "n", &n) && n == 3);
	assert_true(json_get_double(r.params, "d", &d) && d == 2.5);
	assert_true(json_get_double(r.params, "n", &d) && d == 3);
	assert_true(json_get_bool(r.params, "b", &b) && b);
	assert_string_equal(json_get_string(r.params, "s"), "x");
	assert_int_equal(json_count(json_get(r.params, "a")), 2);
	assert_false(json_get_int(r.params, "s", &n));
	assert_false(json_get_int(r.params, "missing", &n));
	assert_null(json_get_string(r.params, "n"));
	assert_int_equal(json_count(json_get(r.params, "s")), 0);
	message_reply_free(&r);
	assert_int_equal(message_read_reply(bad, strlen(bad), &r, &why), 0);
	assert_string_equal(r.error, "a.b.Bad");
	message_reply_free(&r);
	assert_int_equal(message_read_reply("{\"error\":1}", 11, &r, &why), -1);
	assert_int_equal(message_read_reply("null", 4, &r, &why), -1);
}

/* ---- the edges of what is taken ------------------------------------------------------------------ */

#define HEAD "{\"method\":\"a.b.C\",\"parameters\":{\"s\":\""

static void test_size_of_a_call(void **state)
{
	char *text = malloc(CREW_MESSAGE_MAX + 2);

	(void)state;
	assert_non_null(text);
	for (size_t size = CREW_MESSAGE_MAX; size <= CREW_MESSAGE_MAX + 1; size++) {
		memset(text, 'x', size);
		memcpy(text, HEAD, strlen(HEAD));
		strcpy(text + size - 3, "\"}}");
		assert_int_equal(strlen(text), size);
		if (size > CREW_MESSAGE_MAX) {
			refuse(text);
			assert_null(call.root);
			continue;
		}
		accept(text);
		assert_int_equal(strlen(json_get_string(call.params, "s")),
				 size - strlen(HEAD) - 3);
		message_call_free(&call);
	}
	free(text);
}

/* Only brackets that are structure count. */
static void test_brackets_in_strings(void **state)
{
	char text[1000] = HEAD "\\\"\\\\";

	(void)state;
	memset(text + strlen(text), '[', 500);
	strcat(text, "\"}}");
	accept(text);
	message_call_free(&call);
	/* and a string that seems to end hides none */
	strcpy(text, HEAD "\\\\\",\"x\":");
	memset(text + strlen(text), '[', CREW_NESTING_MAX);
	refuse(text);
	assert_string_equal(why, "nested too deeply");
}

static void test_side_by_side_is_not_nested(void **state)
{
	char text[2000] = "{\"method\":\"a.b.C\",\"parameters\":{\"x\":[0";

	(void)state;
	for (int i = 0; i < 3 * CREW_NESTING_MAX; i++)
		strcat(text, ",[{}]");
	strcat(text, "]}}");
	accept(text);
	assert_int_equal(json_count(json_get(call.params, "x")), 3 * CREW_NESTING_MAX + 1);
}

static void test_nul_within(void **state)
{
	static const char inside[] = "{\"method\":\"a.b.\0C\"}",
			  behind[] = "{\"method\":\"a.b.C\"}";

	(void)state;
	assert_int_equal(message_read_call(inside, sizeof(inside) - 1, &call, &why), -1);
	assert_int_equal(message_read_call(behind, sizeof(behind), &call, &why), -1);
	assert_int_equal(message_read_call(behind, sizeof(behind) - 1, &call, &why), 0);
	message_call_free(&call);
	refuse("{\"method\":\"a.b.C\\u0000\"}");
	refuse("{\"method\":\"a.b.C\",\"parameters\":{\"x\\u0000\":1}}");
}

static void test_the_length_counts(void **state)
{
	static const char text[] = "{\"method\":\"a.b.C\"}}}}";

	(void)state;
	assert_int_equal(message_read_call(text, strlen(text) - 3, &call, &why), 0);
	message_call_free(&call);
	for (size_t len = 0; len < strlen(text) - 3; len++)
		assert_int_equal(message_read_call(text, len, &call, &why), -1);
}

static void test_broken_text(void **state)
{
	(void)state;
	refuse(HEAD "\xff\"}}");
	refuse(HEAD "\xc0\xaf\"}}");
	refuse(HEAD "\xed\xa0\x80\"}}");
	refuse(HEAD "\xe2\x82\"}}");
	refuse(HEAD "\\ud800\"}}");
	refuse(HEAD "\\x41\"}}");
	refuse(HEAD "\n\"}}");
	refuse("\xef\xbb\xbf{\"method\":\"a.b.C\"}");
	accept(HEAD "\\ud83d\\ude00\\n\\\"\"}}");
	assert_string_equal(json_get_string(call.params, "s"), "\xf0\x9f\x98\x80\n\"");
}

static void test_numbers_out_of_range(void **state)
{
	static const char *const bad[] = { "NaN", "Infinity", "01", "+1", "1.", ".5", "0x10", "-" };
	char text[100];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		strcpy(text, "{\"method\":\"a.b.C\",\"parameters\":{\"n\":");
		strcat(strcat(text, bad[i]), "}}");
		refuse(text);
	}
}

/* The tree cannot hold them: they are strings there, and whoever goes on has to take the text. */
static void test_numbers_too_large(void **state)
{
	static const char *const large[] = { "9223372036854775808",
					     "-9223372036854775809",
					     "123456789012345678901234567890",
					     "1e999",
					     "-1E+999",
					     "12345678901234567890e400" };
	struct json_slice value;
	struct params p;
	char text[150];
	int64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(large) / sizeof(*large); i++) {
		snprintf(text, sizeof(text),
			 "{\"method\":\"a.b.C\",\"parameters\":{\"s\":\"1e999\",\"m\":7,\"n\":%s}}",
			 large[i]);
		accept(text);
		assert_true(call.overflow);
		params_begin(&p, call.params);
		assert_true(params_int(&p, "m", true, 0, 7, &n));
		assert_false(params_int(&p, "n", true, INT64_MIN, INT64_MAX, &n));
		assert_string_equal(p.bad, "n");
		assert_string_equal(json_get_string(call.params, "s"), "1e999");
		assert_true(message_param_text(call.text, "n", &value));
		assert_int_equal(value.len, strlen(large[i]));
		assert_memory_equal(value.text, large[i], value.len);
		message_call_free(&call);
	}
	accept("{\"method\":\"a.b.C\",\"parameters\":{\"n\":9223372036854775807,\"m\":1e-999}}");
	assert_false(call.overflow);
	message_call_free(&call);
}

/* A number that is too large hides nothing that is wrong in it, or beside it. */
static void test_what_is_wrong_beside_large_numbers(void **state)
{
	static const char *const bad[] = { "1e999,01e999",
					   "1e999,-",
					   "1e999,1.e999",
					   "1e999,99999999999999999999x",
					   "1e999,99999999999999999999\xff",
					   "1e999,00099999999999999999999",
					   "1e999,1e+",
					   "1e999,1e9999-",
					   "1e999,.1e999",
					   "1e999,+99999999999999999999",
					   "1e999,1e9991e999 1",
					   "1e999,\"\xff\"" };
	char text[120];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(text, sizeof(text), "{\"method\":\"a.b.C\",\"parameters\":{\"n\":[%s]}}",
			 bad[i]);
		refuse(text);
	}
}

/* U+0000 is for the readers of parameters to refuse, where they do. */
static void test_nul_in_a_string(void **state)
{
	const char *s;
	struct params p;

	(void)state;
	accept("{\"method\":\"a.b.C\",\"parameters\":{\"s\":\"a\\u0000b\"}}");
	params_begin(&p, call.params);
	assert_false(params_string(&p, "s", true, &s));
	assert_string_equal(p.bad, "s");
	message_call_free(&call);
}

static void test_values_whatever_their_numbers(void **state)
{
	const char *reason;
	struct json_t *value;

	(void)state;
	assert_true(json_valid("[1e999,2]", 9, 2, &reason));
	assert_true(json_valid("\"a\\u0000\"", 9, 2, &reason));
	assert_null(json_read("[1e999,2]", 9, 2, &reason));
	assert_string_equal(reason, "not JSON: a number is too large");
	assert_false(json_valid("[1e999,2", 8, 2, &reason));
	assert_false(json_valid("[1e999] 2", 9, 2, &reason));
	assert_false(json_valid("", 0, 2, &reason));
	value = json_read("[1e99,2]", 8, 2, &reason);
	assert_non_null(value);
	json_free(value);
}

static void test_members_of_a_call(void **state)
{
	(void)state;
	accept("{\"method\":\"a.b.C\",\"com.example.trace\":{\"id\":1}}");
	assert_null(call.params);
	message_call_free(&call);
	accept("{\"method\":\"a.b.C\",\"upgrade\":true,\"more\":null,\"oneway\":false}");
	assert_true(call.upgrade && !call.more && !call.oneway);
	message_call_free(&call);
	accept("{\"method\":\"a.b.C\",\"parameters\":{}}");
	assert_null(call.params);
	message_call_free(&call);
	refuse("{\"method\":\"a.b.C\",\"params\":{}}");
	refuse("{\"method\":\"a.b.C\",\"continues\":true}");
	refuse("{\"method\":\"a.b.C\",\"More\":true}");
	refuse("{\"method\":\"a.b.C\",\"oneway\":\"true\"}");
	refuse("{\"method\":\"a.b.C\",\"upgrade\":true,\"oneway\":true}");
	refuse("{\"method\":\"a.b.C\",\"parameters\":\"x\"}");
	refuse("{\"method\":\"NoInterface\"}");
	refuse("{\"method\":\"\"}");
	refuse("{\"method\":null}");
	refuse("{\"parameters\":{}}");
}

static void test_nothing_is_left_of_a_refused_one(void **state)
{
	(void)state;
	refuse("{\"method\":\"a.b.C\",\"parameters\":{\"x\":1},\"more\":7}");
	assert_null(call.root);
	assert_null(call.method);
	assert_null(call.params);
	message_call_free(&call);
}

/* ---- replies ------------------------------------------------------------------------------------ */

static void check_reply(const char *text, bool taken)
{
	struct message_reply r;

	why = NULL;
	if ((message_read_reply(text, strlen(text), &r, &why) == 0) != taken)
		fail_msg("%s: %s", taken ? "was refused" : "was taken", text);
	if (taken) {
		message_reply_free(&r);
	} else {
		assert_non_null(why);
		assert_null(r.root);
	}
}

static void test_what_is_no_reply(void **state)
{
	(void)state;
	check_reply("{}", true);
	check_reply("{\"parameters\":null,\"continues\":null}", true);
	check_reply("{\"com.example.more\":1}", true);
	check_reply("", false);
	check_reply("[]", false);
	check_reply("\"error\"", false);
	check_reply("{\"parameters\":[]}", false);
	check_reply("{\"parameters\":1}", false);
	check_reply("{\"error\":{}}", false);
	check_reply("{\"error\":\"a.B\",\"error\":\"a.B\"}", false);
	check_reply("{\"error\":\"a.\xff\"}", false);
	check_reply("{} {}", false);
}

static void test_nesting_of_replies(void **state)
{
	char text[300];

	(void)state;
	/* One more than a call: what was its item may be one of a reply's items. */
	for (int depth = CREW_NESTING_MAX; depth <= CREW_NESTING_MAX + 2; depth++) {
		strcpy(text, "{\"parameters\":{\"x\":");
		memset(text + strlen(text) + depth - 2, '\0', 1);
		memset(strchr(text, '\0'), '[', (size_t)depth - 2);
		strcat(text, "1");
		memset(text + strlen(text) + depth - 2, '\0', 1);
		memset(strchr(text, '\0'), ']', (size_t)depth - 2);
		strcat(text, "}}");
		check_reply(text, depth <= CREW_NESTING_MAX + 1);
	}
}

/* A list of all workers may be longer than any call. */
static void test_reply_longer_than_a_call(void **state)
{
	static const char head[] = "{\"parameters\":{\"s\":\"";
	size_t size = 3 * CREW_MESSAGE_MAX;
	char *text = malloc(size + 1);
	struct message_reply r;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', size);
	memcpy(text, head, strlen(head));
	strcpy(text + size - 3, "\"}}");
	assert_int_equal(message_read_reply(text, size, &r, &why), 0);
	assert_int_equal(strlen(json_get_string(r.params, "s")), size - strlen(head) - 3);
	message_reply_free(&r);
	free(text);
}

static void test_members_of_another_type(void **state)
{
	const char *text = "{\"parameters\":{\"n\":3,\"d\":3.0,\"s\":\"3\",\"b\":true,\"z\":null}}";
	struct message_reply r;
	int64_t n = -7;
	double d = -7;
	bool b = false;

	(void)state;
	assert_int_equal(message_read_reply(text, strlen(text), &r, &why), 0);
	assert_false(json_get_int(r.params, "d", &n)); /* 3.0 is no integer */
	assert_false(json_get_int(r.params, "b", &n));
	assert_false(json_get_int(r.params, "z", &n));
	assert_false(json_get_double(r.params, "s", &d));
	assert_false(json_get_double(r.params, "missing", &d));
	assert_false(json_get_bool(r.params, "n", &b));
	assert_false(json_get_bool(r.params, "z", &b));
	assert_int_equal(n, -7);
	assert_true(d == -7 && !b);
	assert_null(json_get_string(r.params, "z"));
	assert_null(json_get(r.params, "missing"));
	assert_null(json_get(NULL, "n"));
	assert_null(json_get(json_get(r.params, "s"), "n"));
	message_reply_free(&r);
}

static void test_lists_and_text(void **state)
{
	const char *text = "{\"parameters\":{\"a\" : [ \"x\\n\", 2, 1.5, {\"k\":[]} ]}}";
	struct message_reply r;
	struct json_t *a;
	char *shown;

	(void)state;
	assert_int_equal(message_read_reply(text, strlen(text), &r, &why), 0);
	a = json_get(r.params, "a");
	assert_int_equal(json_count(a), 4);
	assert_string_equal(json_as_string(json_at(a, 0)), "x\n");
	assert_null(json_as_string(json_at(a, 1)));
	assert_null(json_at(a, 4));
	assert_null(json_at(a, SIZE_MAX));
	assert_null(json_at(r.params, 0));
	assert_int_equal(json_count(NULL), 0);
	shown = json_text(a);
	assert_string_equal(shown, "[\"x\\n\",2,1.5,{\"k\":[]}]");
	free(shown);
	shown = json_text(json_at(a, 0)); /* any value, not only objects and arrays */
	assert_string_equal(shown, "\"x\\n\"");
	free(shown);
	message_reply_free(&r);
}

/* ---- parameters --------------------------------------------------------------------------------- */

static struct params p;

static void with(const char *params)
{
	char text[1000] = "{\"method\":\"a.b.C\",\"parameters\":";

	strcat(strcat(text, params), "}");
	message_call_free(&call);
	accept(text);
	params_begin(&p, call.params);
}

static int free_call(void **state)
{
	(void)state;
	message_call_free(&call);
	memset(&call, 0, sizeof(call));
	return 0;
}

static void test_right_parameters(void **state)
{
	const char *s, **list;
	unsigned count;
	int64_t n, usec;
	bool b = false;

	(void)state;
	with("{\"s\":\"x\",\"n\":5,\"t\":1.5,\"b\":true,\"l\":[\"a\",\"b\"],\"o\":null}");
	assert_true(params_string(&p, "s", true, &s));
	assert_string_equal(s, "x");
	assert_true(params_int(&p, "n", true, 0, 5, &n));
	assert_int_equal(n, 5);
	assert_true(params_seconds(&p, "t", &usec));
	assert_int_equal(usec, 1500 * USEC_PER_MSEC);
	assert_true(params_bool(&p, "b", &b) && b);
	assert_true(params_strings(&p, "l", true, 2, &list, &count));
	assert_int_equal(count, 2);
	assert_string_equal(list[1], "b");
	free(list);
	assert_false(params_string(&p, "o", false, &s));
	assert_false(params_int(&p, "absent", false, 0, 1, &n));
	assert_true(params_done(&p));
}

static void test_missing_and_unknown(void **state)
{
	const char *s;

	(void)state;
	with("{}");
	assert_false(params_string(&p, "name", true, &s));
	assert_string_equal(p.bad, "name");
	assert_false(params_done(&p));
	with("{\"name\":\"x\",\"nmae\":1}");
	assert_true(params_string(&p, "name", true, &s));
	assert_false(params_done(&p));
	assert_string_equal(p.bad, "nmae");
	with("{\"nmae\":1,\"name\":\"x\"}"); /* wherever it stands */
	assert_true(params_string(&p, "name", true, &s));
	assert_false(params_done(&p));
	assert_string_equal(p.bad, "nmae");
}

static void test_first_wrong_one_counts(void **state)
{
	int64_t n;
	bool b;

	(void)state;
	with("{\"n\":11,\"b\":1}");
	assert_false(params_int(&p, "n", false, 0, 10, &n));
	assert_string_equal(p.bad, "n");
	assert_non_null(strstr(p.bad_why, "0 to 10"));
	assert_false(params_bool(&p, "b", &b));
	assert_string_equal(p.bad, "n");
}

static void test_wrong_types(void **state)
{
	static const char *const wrong[] = { "{\"x\":1.5}", "{\"x\":\"1\"}", "{\"x\":-1}",
					     "{\"x\":[]}" };
	const char *s, **list;
	unsigned count;
	int64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		with(wrong[i]);
		assert_false(params_int(&p, "x", true, 0, 10, &n));
		assert_string_equal(p.bad, "x");
	}
	with("{\"x\":-0.5}");
	assert_false(params_seconds(&p, "x", &n));
	assert_string_equal(p.bad, "x");
	with("{\"x\":1e300}");
	assert_true(params_seconds(&p, "x", &n));
	assert_true(n > 1ll << 52 && n <= 1ll << 53);
	with("{\"x\":[\"a\",7]}");
	assert_false(params_strings(&p, "x", true, 5, &list, &count));
	assert_string_equal(p.bad, "x");
	with("{\"x\":[\"a\",\"b\",\"c\"]}");
	assert_false(params_strings(&p, "x", true, 2, &list, &count));
	assert_string_equal(p.bad, "x");
	with("{\"x\":7}");
	assert_false(params_string(&p, "x", false, &s));
	assert_string_equal(p.bad, "x");
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void test_written_messages(void **state)
{
	struct buf out = { .max = 1000 };
	struct message_write m;

	(void)state;
	assert_int_equal(message_write_call(&out, "a.b.C", "{\"x\":1}", 7, MESSAGE_MORE), 0);
	accept(buf_data(&out));
	assert_true(call.more && call.params);
	assert_int_equal(buf_data(&out)[out.len - 1], '\0');
	buf_consume(&out, out.len);
	message_write_reply(&m, &out);
	jw_object(&m.json);
	jw_end_object(&m.json);
	assert_int_equal(message_write_reply_end(&m, false), 0);
	message_write_error(&m, &out, "a.b.Bad");
	jw_object(&m.json);
	jw_end_object(&m.json);
	assert_int_equal(message_write_error_end(&m), 0);
	assert_string_equal(buf_data(&out), "{\"parameters\":{}}");
	assert_string_equal(buf_data(&out) + strlen(buf_data(&out)) + 1,
			    "{\"error\":\"a.b.Bad\",\"parameters\":{}}");
	buf_free(&out);
}

static void test_no_room_takes_back(void **state)
{
	struct buf out = { .max = 60 };
	struct message_write m;
	size_t before;

	(void)state;
	message_write_reply(&m, &out);
	jw_object(&m.json);
	jw_end_object(&m.json);
	assert_int_equal(message_write_reply_end(&m, false), 0);
	before = out.len;
	message_write_reply(&m, &out);
	jw_object(&m.json);
	jw_key(&m.json, "long");
	jw_string(&m.json, "longer than what is left of the room that there was");
	jw_end_object(&m.json);
	assert_int_equal(message_write_reply_end(&m, false), -1);
	assert_int_equal(out.len, before);
	buf_free(&out);
}

/* ---- parameters at their bounds ----------------------------------------------------------------- */

static void test_integers_at_their_bounds(void **state)
{
	static const struct {
		const char *text;
		bool right;
	} cases[] = {
		{ "{\"x\":-5}", true },	  { "{\"x\":5}", true },     { "{\"x\":-0}", true },
		{ "{\"x\":-6}", false },  { "{\"x\":6}", false },    { "{\"x\":5.0}", false },
		{ "{\"x\":5e0}", false }, { "{\"x\":true}", false }, { "{\"x\":{}}", false },
	};
	int64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		with(cases[i].text);
		n = 99;
		if (params_int(&p, "x", false, -5, 5, &n) != cases[i].right)
			fail_msg("%s", cases[i].text);
		assert_int_equal(n == 99, !cases[i].right);
		assert_int_equal(params_done(&p), cases[i].right);
	}
}

static void test_widest_integers(void **state)
{
	int64_t low, high;

	(void)state;
	with("{\"low\":-9223372036854775808,\"high\":9223372036854775807}");
	assert_true(params_int(&p, "low", true, INT64_MIN, INT64_MAX, &low));
	assert_true(params_int(&p, "high", true, INT64_MIN, INT64_MAX, &high));
	assert_int_equal(low, INT64_MIN);
	assert_int_equal(high, INT64_MAX);
	assert_true(params_done(&p));
	with("{}");
	assert_false(params_int(&p, "x", true, INT64_MIN, INT64_MAX, &low));
	assert_string_equal(p.bad_why,
			    "an integer from -9223372036854775808 to 9223372036854775807");
}

static void test_seconds(void **state)
{
	static const struct {
		const char *text;
		int64_t usec;
	} right[] = {
		{ "{\"t\":0}", 0 },
		{ "{\"t\":-0.0}", 0 },
		{ "{\"t\":3}", 3 * USEC_PER_SEC },
		{ "{\"t\":0.25}", 250 * USEC_PER_MSEC },
		{ "{\"t\":1e-9}", 0 },
		{ "{\"t\":9223372036854775807}", INT64_C(9007199254000000) },
	};
	static const char *const wrong[] = { "{\"t\":-1}", "{\"t\":-1e-300}", "{\"t\":\"1s\"}",
					     "{\"t\":true}", "{\"t\":[1]}" };
	int64_t usec;

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++) {
		with(right[i].text);
		assert_true(params_seconds(&p, "t", &usec));
		assert_int_equal(usec, right[i].usec);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		with(wrong[i]);
		if (params_seconds(&p, "t", &usec))
			fail_msg("was taken: %s", wrong[i]);
		assert_string_equal(p.bad, "t");
		assert_non_null(p.bad_why);
	}
	with("{\"t\":null}");
	assert_false(params_seconds(&p, "t", &usec));
	assert_true(params_done(&p));
}

static void test_booleans(void **state)
{
	static const char *const wrong[] = { "{\"b\":0}", "{\"b\":1}", "{\"b\":\"true\"}",
					     "{\"b\":[]}" };
	bool b = true;

	(void)state;
	with("{\"b\":false}");
	assert_true(params_bool(&p, "b", &b));
	assert_false(b);
	with("{\"b\":null}");
	b = true; /* what was there stays when nothing is said */
	assert_false(params_bool(&p, "b", &b));
	assert_true(b && params_done(&p));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		with(wrong[i]);
		assert_false(params_bool(&p, "b", &b));
		assert_string_equal(p.bad, "b");
	}
}

static void test_lists_at_their_bounds(void **state)
{
	static const char *const wrong[] = { "{\"l\":\"a\"}", "{\"l\":{\"a\":\"b\"}}",
					     "{\"l\":[null]}", "{\"l\":[[\"a\"]]}", "{\"l\":7}" };
	const char **list = NULL;
	unsigned count = 99;

	(void)state;
	with("{\"l\":[]}");
	assert_true(params_strings(&p, "l", true, 0, &list, &count));
	assert_int_equal(count, 0);
	assert_non_null(list);
	assert_null(list[0]); /* as execve(2) wants it */
	free(list);
	with("{\"l\":[\"\",\"b\",\"b\"]}");
	assert_true(params_strings(&p, "l", true, 3, &list, &count));
	assert_int_equal(count, 3);
	assert_string_equal(list[0], "");
	assert_null(list[3]);
	free(list);
	list = NULL;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		with(wrong[i]);
		assert_false(params_strings(&p, "l", false, 9, &list, &count));
		assert_string_equal(p.bad, "l");
		assert_null(list);
	}
	with("{}");
	assert_false(params_strings(&p, "l", false, 9, &list, &count));
	assert_true(params_done(&p));
	assert_false(params_strings(&p, "l", true, 9, &list, &count));
	assert_string_equal(p.bad, "l");
}

static void test_null_is_absent(void **state)
{
	const char *s;

	(void)state;
	with("{\"s\":null}");
	assert_false(params_string(&p, "s", false, &s));
	assert_true(params_done(&p));
	with("{\"s\":null}");
	assert_false(params_string(&p, "s", true, &s));
	assert_string_equal(p.bad, "s");
	assert_false(params_done(&p));
}

static void test_no_parameters_at_all(void **state)
{
	const char *s, **list;
	unsigned count;
	int64_t n;
	bool b;

	(void)state;
	params_begin(&p, NULL);
	assert_false(params_string(&p, "s", false, &s));
	assert_false(params_int(&p, "n", false, 0, 1, &n));
	assert_false(params_bool(&p, "b", &b));
	assert_false(params_seconds(&p, "t", &n));
	assert_false(params_strings(&p, "l", false, 1, &list, &count));
	assert_true(params_done(&p));
	assert_null(p.bad);
}

static void test_nothing_is_read_after_a_wrong_one(void **state)
{
	const char *s = "untouched", **list = NULL;
	unsigned count;
	int64_t n = -7;
	bool b = false;

	(void)state;
	with("{\"bad\":1,\"s\":\"x\",\"n\":1,\"b\":true,\"t\":1,\"l\":[]}");
	assert_false(params_string(&p, "bad", true, &s));
	assert_false(params_string(&p, "s", true, &s));
	assert_false(params_int(&p, "n", true, 0, 9, &n));
	assert_false(params_bool(&p, "b", &b));
	assert_false(params_seconds(&p, "t", &n));
	assert_false(params_strings(&p, "l", true, 9, &list, &count));
	assert_string_equal(p.bad, "bad");
	assert_string_equal(p.bad_why, "a string without NUL");
	assert_string_equal(s, "untouched");
	assert_true(n == -7 && !b && !list);
}

/* ---- writing at the bound ----------------------------------------------------------------------- */

static void expect_frame(struct buf *out, const char *text)
{
	assert_int_equal(out->len, strlen(text) + 1);
	assert_string_equal(buf_data(out), text);
	buf_consume(out, out->len);
}

static void test_texts_that_are_written(void **state)
{
	struct buf out = { .max = 1000 };
	struct message_write m;

	(void)state;
	assert_int_equal(message_write_call(&out, "a.b.C", NULL, 0, 0), 0);
	expect_frame(&out, "{\"method\":\"a.b.C\"}");
	assert_int_equal(message_write_call(&out, "a.b.C", "{}", 2, MESSAGE_ONEWAY), 0);
	expect_frame(&out, "{\"method\":\"a.b.C\",\"parameters\":{},\"oneway\":true}");
	message_write_reply(&m, &out);
	jw_object(&m.json);
	jw_key(&m.json, "n");
	jw_int(&m.json, 1);
	jw_end_object(&m.json);
	assert_int_equal(message_write_reply_end(&m, true), 0);
	expect_frame(&out, "{\"parameters\":{\"n\":1},\"continues\":true}");
}

/* What does not fit leaves no trace, whichever byte is the first without room. */
static void test_every_bound(void **state)
{
	struct buf out = { .max = 1000 };
	size_t whole;

	(void)state;
	assert_int_equal(message_write_call(&out, "a.b.C", "{\"x\":1}", 7, MESSAGE_MORE), 0);
	whole = out.len;
	buf_consume(&out, whole);
	for (size_t room = 0; room <= whole; room++) {
		int r;

		assert_int_equal(buf_append(&out, "kept", 5), 0);
		out.max = 5 + room;
		errno = 0;
		r = message_write_call(&out, "a.b.C", "{\"x\":1}", 7, MESSAGE_MORE);
		assert_int_equal(r, room < whole ? -1 : 0);
		if (r < 0)
			assert_int_equal(errno, ENOBUFS);
		assert_int_equal(out.len, r < 0 ? 5 : 5 + whole);
		assert_string_equal(buf_data(&out), "kept");
		buf_consume(&out, out.len);
	}
}

static void test_no_room_for_an_error(void **state)
{
	struct buf out = { .max = 30 };
	struct message_write m;

	(void)state;
	assert_int_equal(buf_append(&out, "kept", 5), 0);
	errno = 0;
	message_write_error(&m, &out, "a.b.LongerThanThereIsRoomFor");
	jw_object(&m.json);
	jw_end_object(&m.json);
	assert_int_equal(message_write_error_end(&m), -1);
	assert_int_equal(errno, ENOBUFS);
	assert_int_equal(out.len, 5);
	assert_string_equal(buf_data(&out), "kept");
	buf_free(&out);
}

/* What one side writes the other reads, whatever bytes a worker is named after or prints. */
static void test_any_bytes_arrive(void **state)
{
	struct buf out = { .max = 100000 };
	struct message_write m;
	struct message_reply r;

	(void)state;
	for (unsigned first = 1; first < 256; first++)
		for (unsigned second = 1; second < 256; second += 7) {
			const char text[] = { (char)first, (char)second, '\0' };
			const char *back;

			message_write_reply(&m, &out);
			jw_object(&m.json);
			jw_key(&m.json, "s");
			jw_string(&m.json, text);
			jw_end_object(&m.json);
			assert_int_equal(message_write_reply_end(&m, false), 0);
			assert_int_equal(message_read_reply(buf_data(&out), out.len - 1, &r, &why),
					 0);
			back = json_get_string(r.params, "s");
			assert_non_null(back);
			if (first < 0x80 && second < 0x80)
				assert_string_equal(back, text);
			message_reply_free(&r);
			buf_consume(&out, out.len);
		}
}

static void expect_kind(const char *text, char kind)
{
	struct json_t *value = json_read(text, strlen(text), 4, &why);

	assert_non_null(value);
	assert_int_equal(json_kind(value), kind);
	json_free(value);
}

static void test_values_of_users(void **state)
{
	char deep[200];

	(void)state;
	expect_kind("{\"a\":1}", '{');
	expect_kind(" [] ", '[');
	expect_kind("\"x\"", '"');
	expect_kind("-1", '0');
	expect_kind("1.5", '0');
	expect_kind("true", 't');
	expect_kind("false", 'f');
	expect_kind("null", 'n');
	assert_int_equal(json_kind(NULL), 'n');
	for (const char *const *bad = (const char *const[]){ "", "{", "[1]x", "{\"a\":1,\"a\":2}",
							     "\"\xff\"", "nul", NULL };
	     *bad; bad++) {
		why = NULL;
		assert_null(json_read(*bad, strlen(*bad), 4, &why));
		assert_non_null(strstr(why, "not JSON"));
	}
	memset(deep, '[', CREW_NESTING_MAX);
	memset(deep + CREW_NESTING_MAX - 4, ']', CREW_NESTING_MAX);
	json_free(json_read(deep, 2 * (CREW_NESTING_MAX - 4), 4, &why));
	assert_null(json_read(deep, 2 * (CREW_NESTING_MAX - 4), 5, &why));
	assert_string_equal(why, "nested too deeply");
}

static void test_bytes_of_a_reply(void **state)
{
	static const char text[] = "{\"parameters\":{\"s\":\"a\\u0000b\",\"n\":1}}";
	struct message_reply reply;
	const char *bytes;
	size_t len;

	(void)state;
	assert_int_equal(message_read_reply(text, strlen(text), &reply, &why), 0);
	bytes = json_as_bytes(json_get(reply.params, "s"), &len);
	assert_int_equal(len, 3);
	assert_memory_equal(bytes, "a\0b", 3);
	assert_null(json_as_bytes(json_get(reply.params, "n"), &len));
	assert_null(json_as_bytes(NULL, &len));
	message_reply_free(&reply);
}

#define CALL(test) cmocka_unit_test_teardown(test, free_call)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CALL(test_calls),
		CALL(test_what_is_no_call),
		CALL(test_nesting),
		CALL(test_replies),
		CALL(test_right_parameters),
		CALL(test_missing_and_unknown),
		CALL(test_first_wrong_one_counts),
		CALL(test_wrong_types),
		CALL(test_written_messages),
		CALL(test_no_room_takes_back),
		CALL(test_size_of_a_call),
		CALL(test_brackets_in_strings),
		CALL(test_side_by_side_is_not_nested),
		CALL(test_nul_within),
		CALL(test_the_length_counts),
		CALL(test_broken_text),
		CALL(test_numbers_out_of_range),
		CALL(test_numbers_too_large),
		CALL(test_what_is_wrong_beside_large_numbers),
		CALL(test_nul_in_a_string),
		CALL(test_values_whatever_their_numbers),
		CALL(test_members_of_a_call),
		CALL(test_nothing_is_left_of_a_refused_one),
		CALL(test_what_is_no_reply),
		CALL(test_nesting_of_replies),
		CALL(test_reply_longer_than_a_call),
		CALL(test_members_of_another_type),
		CALL(test_values_of_users),
		CALL(test_bytes_of_a_reply),
		CALL(test_lists_and_text),
		CALL(test_integers_at_their_bounds),
		CALL(test_widest_integers),
		CALL(test_seconds),
		CALL(test_booleans),
		CALL(test_lists_at_their_bounds),
		CALL(test_null_is_absent),
		CALL(test_no_parameters_at_all),
		CALL(test_nothing_is_read_after_a_wrong_one),
		CALL(test_texts_that_are_written),
		CALL(test_every_bound),
		CALL(test_no_room_for_an_error),
		CALL(test_any_bytes_arrive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
