#include "libcrew/task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/json_plain.h"
#include "lib/json_writer.h"
#include "lib/text.h"
#include "libcrew/answers.h"
#include "libcrew/api.h"

void task_say(const char *what, const char *more)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "libcrew: %s%s%s\n", what, more ? ": " : "",
			 more ? more : "");

	if (n >= (int)sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	while (write(STDERR_FILENO, line, (size_t)n) < 0 && errno == EINTR)
		;
}

/* ---- requests --------------------------------------------------------------------------------- */

static bool is_string(struct json_slice value)
{
	return value.len >= 2 && value.text[0] == '"';
}

/* What is in a string; any other value as it is. False: no memory. */
static bool text_of(struct json_slice value, struct task_text *out)
{
	struct json_t *tree;
	const char *bytes = value.text;

	out->len = value.len;
	if (!is_string(value)) {
		out->text = api_copy(bytes, value.len);
		return out->text != NULL;
	}
	if (!memchr(value.text, '\\', value.len)) {
		out->len -= 2;
		out->text = api_copy(bytes + 1, out->len);
		return out->text != NULL;
	}
	tree = json_read_back(value.text, value.len);
	bytes = json_as_bytes(tree, &out->len);
	out->text = bytes ? api_copy(bytes, out->len) : NULL;
	json_free(tree);
	if (!out->text)
		errno = ENOMEM;
	return out->text != NULL;
}

static bool refuse(struct crew_task *t, int code, const char *message)
{
	crew_fail(t, code, message);
	return false;
}

static bool take_request(struct crew_task *t)
{
	struct json_slice method;
	const char *why;

	if (!json_valid(t->line.text, t->line.len, 0, &why))
		return refuse(t, TASK_NO_JSON, why);
	if (!json_slice_member(t->line, "id", &t->id))
		t->silent = *t->line.text == '{';
	if (!json_slice_member(t->line, "method", &method) || !is_string(method)) {
		t->silent = false;
		return refuse(t, TASK_NO_REQUEST, "not a JSON-RPC 2.0 request: no method");
	}
	if (json_slice_member(t->line, "params", &t->params) && *t->params.text != '[' &&
	    *t->params.text != '{')
		return refuse(t, TASK_NO_REQUEST, "params is no array and no object");
	if (!text_of(method, &t->method))
		return refuse(t, TASK_NO_ANSWER, "out of memory");
	return true;
}

bool task_take(struct crew_task *t, char *line, size_t len)
{
	t->line = (struct json_slice){ line, len };
	return !t->json || take_request(t);
}

void task_let_go(struct crew_task *t)
{
	for (size_t i = 0; t->args && i < t->count; i++)
		free(t->args[i].text);
	free(t->args);
	free(t->method.text);
	free(t->all.text);
	t->args = NULL;
	t->method = t->all = (struct task_text){ 0 };
	t->line = t->params = t->id = (struct json_slice){ 0 };
	t->silent = t->answered = false;
	t->answer.len = 0;
}

/* ---- what it is given ------------------------------------------------------------------------- */

const char *crew_task_method(const struct crew_task *t)
{
	return t->method.text;
}

size_t crew_task_count(const struct crew_task *t)
{
	struct json_slice element;
	size_t at = 0, n = 0;

	if (!t->json)
		return 1;
	if (t->args)
		return t->count;
	while (t->params.len && json_slice_next(t->params, &at, &element))
		n++;
	return n;
}

static bool read_args(struct crew_task *t)
{
	struct json_slice element;
	size_t count = crew_task_count(t), at = 0;
	bool ok = true;

	t->args = calloc(count, sizeof(*t->args));
	if (!t->args)
		return false;
	t->count = count;
	for (size_t i = 0; ok && i < count; i++)
		ok = json_slice_next(t->params, &at, &element) && text_of(element, &t->args[i]);
	return ok;
}

const char *crew_task_arg(struct crew_task *t, size_t index, size_t *len)
{
	struct task_text whole = { (char *)(uintptr_t)t->line.text, t->line.len }, *arg = &whole;

	errno = 0;
	if (index >= crew_task_count(t))
		return NULL;
	if (t->json) {
		if (!t->args && !read_args(t))
			return NULL;
		arg = &t->args[index];
	}
	if (!arg->text)
		errno = ENOMEM;
	else if (len)
		*len = arg->len;
	return arg->text;
}

/* A line is the one argument that it stands for. */
static char *line_as_array(const struct crew_task *t)
{
	struct buf out = { .max = SIZE_MAX / 2 };
	char *quoted = crew_json_quote(t->line.text, t->line.len);

	if (quoted &&
	    (buf_append(&out, "[", 1) < 0 || buf_append(&out, quoted, strlen(quoted)) < 0 ||
	     buf_append(&out, "]", 2) < 0))
		buf_free(&out);
	free(quoted);
	return out.data;
}

const char *crew_task_params(struct crew_task *t)
{
	if (!t->all.text)
		t->all.text = !t->json	      ? line_as_array(t)
			      : t->params.len ? api_copy(t->params.text, t->params.len)
					      : api_copy("[]", 2);
	return t->all.text;
}

/* ---- answers ---------------------------------------------------------------------------------- */

static struct json_writer begin(struct crew_task *t)
{
	struct json_writer json = json_writer(&t->answer);

	t->answer.len = 0;
	t->answer.max = TASK_LINE_MAX + 1;
	if (!t->json)
		return json;
	jw_object(&json);
	jw_key(&json, "jsonrpc");
	jw_string(&json, "2.0");
	jw_key(&json, "id");
	if (t->id.len)
		jw_raw(&json, t->id.text, t->id.len);
	else
		jw_null(&json);
	return json;
}

/* The line is written, but for its newline. */
static int end(struct crew_task *t, struct json_writer *json)
{
	int code;

	if (t->json)
		jw_end_object(json);
	if (!jw_ok(json) || t->answer.len > TASK_LINE_MAX)
		return CREW_TOO_BIG;
	if (buf_append(&t->answer, "\n", 1) < 0)
		return CREW_SYSTEM;
	t->answered = true;
	code = t->silent ? 0 : answers_add(buf_data(&t->answer), t->answer.len, t->more);
	if (code)
		t->lost = code;
	return code;
}

static void put_result(struct json_writer *json, const char *data, size_t len)
{
	jw_key(json, "result");
	if (!len || text_utf8_ok(data, len)) {
		jw_string_n(json, data, len);
		return;
	}
	jw_object(json);
	jw_key(json, "base64");
	jw_base64(json, data, len);
	jw_end_object(json);
}

int crew_return(struct crew_task *t, const char *data, size_t len)
{
	struct json_writer json;

	if (t->answered || t->failed)
		return CREW_INVALID;
	if (len > TASK_LINE_MAX)
		return CREW_TOO_BIG;
	if (!t->json && len && memchr(data, '\n', len))
		return CREW_INVALID;
	json = begin(t);
	if (t->json)
		put_result(&json, data, len);
	else if (len && buf_append(&t->answer, data, len) < 0)
		return CREW_SYSTEM;
	return end(t, &json);
}

/* On one line, whatever it looks like now. */
static int put_json(struct crew_task *t, struct json_writer *json, const char *text, size_t len)
{
	char *room;

	if (t->json)
		jw_key(json, "result");
	room = jw_ok(json) ? buf_room(&t->answer, len) : NULL;
	if (!room)
		return errno == ENOMEM ? CREW_SYSTEM : CREW_TOO_BIG;
	t->answer.len += json_slice_compact((struct json_slice){ text, len }, room);
	return 0;
}

/* A value that the pool can read: it takes a worker for mad that answers with what is none. */
static bool is_result(const char *text, size_t len)
{
	struct json_t *value;
	const char *why;

	if (len && json_plain_value(text, len) == len)
		return true;
	value = json_read(text, len, 1, &why);
	json_free(value);
	return value != NULL;
}

int crew_return_json(struct crew_task *t, const char *text)
{
	size_t len = strlen(text);
	struct json_writer json;
	int code;

	if (t->answered || t->failed)
		return CREW_INVALID;
	if (len > TASK_LINE_MAX)
		return CREW_TOO_BIG;
	if (!is_result(text, len))
		return CREW_INVALID;
	json = begin(t);
	code = put_json(t, &json, text, len);
	return code ? code : end(t, &json);
}

int crew_fail(struct crew_task *t, int code, const char *message)
{
	struct json_writer json;

	if (t->answered || t->failed)
		return CREW_INVALID;
	if (!t->json) {
		t->failed = true;
		task_say("a task failed", message);
		return 0;
	}
	json = begin(t);
	jw_key(&json, "error");
	jw_object(&json);
	jw_key(&json, "code");
	jw_int(&json, code);
	jw_key(&json, "message");
	jw_string(&json, message ? message : "failed");
	jw_end_object(&json);
	return end(t, &json);
}

int crew_flush(struct crew_task *t)
{
	return t->lost ? t->lost : answers_flush();
}
