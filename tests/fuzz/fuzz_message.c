/*
 * Any bytes as a stream of frames, each read as a call and as a reply: bounds hold, what was read can be
 * written again and then reads the same, and it does not matter in which parts the bytes arrive.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "lib/bounds.h"
#include "lib/frame.h"
#include "lib/json_plain.h"
#include "lib/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Of text that the library has written, so that only quotes that end strings stand alone. */
static int nesting(const char *text)
{
	int depth = 0, most = 0;
	bool in_string = false;

	for (; *text; text++) {
		if (in_string && *text == '\\')
			text++;
		else if (*text == '"')
			in_string = !in_string;
		else if (!in_string && (*text == '{' || *text == '['))
			most = ++depth > most ? depth : most;
		else if (!in_string && (*text == '}' || *text == ']'))
			depth--;
	}
	must(depth == 0 && !in_string);
	return most;
}

static char *text_within_bounds(const struct json_t *root, int most)
{
	char *text = json_text(root);

	must(text && nesting(text) <= most);
	return text;
}

static void read_parameters(struct json_t *object)
{
	struct params p;
	const char *s, **list = NULL;
	unsigned count;
	int64_t n;
	bool b;

	params_begin(&p, object);
	if (params_int(&p, "n", false, -5, 5, &n))
		must(n >= -5 && n <= 5);
	if (params_seconds(&p, "t", &n))
		must(n >= 0 && n <= 1ll << 53);
	params_string(&p, "s", false, &s);
	params_bool(&p, "b", &b);
	if (params_strings(&p, "l", false, 3, &list, &count))
		must(count <= 3 && !list[count]);
	free(list);
	if (!params_done(&p))
		must(p.bad && p.bad_why);
}

/* The text of each member reads as the member itself, with and without its white space. */
static void take_slice(const struct message_call *call, const char *name)
{
	const struct json_t *value = json_get(call->params, name);
	struct json_slice slice;
	char *compact, *text, *again;
	struct json_t *read;
	const char *why;
	size_t len;

	must(message_param_text(call->text, name, &slice) == (value != NULL));
	if (!value)
		return;
	compact = malloc(slice.len + 1);
	must(compact && slice.text >= call->text.text &&
	     slice.text + slice.len <= call->text.text + call->text.len);
	len = json_slice_compact(slice, compact);
	must(len <= slice.len && json_valid(slice.text, slice.len, 0, &why) &&
	     json_valid(compact, len, 0, &why));
	/* A tree that text with U+0000, or with numbers too large, is read from by no other way. */
	read = call->overflow ? NULL : json_read(compact, len, 0, &why);
	text = json_text(value);
	again = read ? json_text(read) : NULL;
	must(!again || strcmp(text, again) == 0);
	free(again);
	free(text);
	json_free(read);
	free(compact);
}

static void take_slices(const struct message_call *call)
{
	static const char *const names[] = { "n", "t", "s", "b", "l", "item", "items", "name" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		take_slice(call, names[i]);
}

/* Numbers may be longer than they were when they are written again: then it may be too long for a call. */
static void write_again(const struct message_call *call, const char *params)
{
	struct buf again = { .max = 32 * CREW_MESSAGE_MAX };
	struct message_call second;
	const char *why = NULL;
	char *text = NULL;

	must(message_write_call(&again, call->method, params, params ? strlen(params) : 0,
				call->more     ? MESSAGE_MORE
				: call->oneway ? MESSAGE_ONEWAY
					       : 0) == 0);
	if (again.len - 1 <= CREW_MESSAGE_MAX) {
		must(message_read_call(buf_data(&again), again.len - 1, &second, &why) == 0);
		must(strcmp(call->method, second.method) == 0);
		must(call->more == second.more && call->oneway == second.oneway);
		must(!params == !second.params);
		text = second.params ? json_text(second.params) : NULL;
		must(!params || strcmp(params, text) == 0);
		message_call_free(&second);
	}
	free(text);
	buf_free(&again);
}

static void as_call(const char *text, size_t len)
{
	struct message_call call;
	const char *why = NULL;
	char *params;

	if (message_read_call(text, len, &call, &why) < 0) {
		must(why && !call.root);
		return;
	}
	must(len <= CREW_MESSAGE_MAX);
	must(call.method && call.more + call.oneway + call.upgrade <= 1);
	free(text_within_bounds(call.root, CREW_NESTING_MAX));
	take_slices(&call);
	read_parameters(call.params);
	params = call.params ? json_text(call.params) : NULL;
	write_again(&call, params);
	message_call_free(&call);
	free(params);
}

static void as_reply(const char *text, size_t len)
{
	struct message_reply reply, second;
	const char *why = NULL;
	char *again, *third;

	if (message_read_reply(text, len, &reply, &why) < 0) {
		must(why && !reply.root);
		return;
	}
	again = text_within_bounds(reply.root, CREW_NESTING_MAX + 1);
	must(message_read_reply(again, strlen(again), &second, &why) == 0);
	must(!reply.error == !second.error && reply.continues == second.continues);
	must(!reply.error || strcmp(reply.error, second.error) == 0);
	must(!reply.params == !second.params);
	third = json_text(second.root);
	must(third && strcmp(again, third) == 0);
	free(third);
	free(again);
	message_reply_free(&second);
	message_reply_free(&reply);
}

/* What is read without a tree is what the tree would have been. */
static void as_response(const char *text, size_t len)
{
	const char *result, *why = NULL;
	struct json_t *root, *value;
	char *one, *other;
	size_t result_len;
	int64_t id, same;

	if (!json_plain_response(text, len, &id, &result, &result_len))
		return;
	must(result >= text && result + result_len <= text + len);
	root = json_read(text, len, 0, &why);
	value = json_read(result, result_len, 0, &why);
	must(root && value && json_size(root) == 3);
	must(json_get_int(root, "id", &same) && same == id);
	must(strcmp(json_get_string(root, "jsonrpc"), "2.0") == 0);
	one = json_text(json_get(root, "result"));
	other = json_text(value);
	must(strcmp(one, other) == 0);
	free(one);
	free(other);
	json_free(root);
	json_free(value);
}

/* The same bytes in parts whose sizes they say themselves. */
static void in_parts(const uint8_t *data, size_t size, const struct buf *whole)
{
	struct buf in = { .max = 2 * CREW_MESSAGE_MAX };
	size_t searched = 0, len, at = 0, taken = 0;
	const char *text;

	while (at < size) {
		size_t part = data[at] % 16 + 1u;

		if (part > size - at)
			part = size - at;
		must(buf_append(&in, data + at, part) == 0);
		at += part;
		while (frame_next(&in, &searched, &text, &len) == 1) {
			must(taken + len + 1 <= size && memcmp(text, data + taken, len + 1) == 0);
			taken += len + 1;
			buf_consume(&in, len + 1);
			searched = 0;
		}
	}
	must(in.len == whole->len);
	must(!in.len || memcmp(buf_data(&in), buf_data(whole), in.len) == 0);
	buf_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf in = { .max = 2 * CREW_MESSAGE_MAX };
	size_t searched = 0, len;
	const char *text;

	if (buf_append(&in, data, size) < 0)
		return 0;
	while (in.len && frame_next(&in, &searched, &text, &len) == 1) {
		must(len <= CREW_MESSAGE_MAX && strlen(text) == len);
		as_call(text, len);
		as_reply(text, len);
		as_response(text, len);
		buf_consume(&in, len + 1);
		searched = 0;
	}
	if (in.len <= CREW_MESSAGE_MAX)
		in_parts(data, size, &in);
	buf_free(&in);
	return 0;
}
