/* Kinds jsonrpc and module: JSON-RPC 2.0, an object a line; answers may come in any order. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/runner.h"
#include "daemon/task_kind.h"
#include "lib/json_writer.h"
#include "lib/message.h"

#define TASK_MODULE_METHOD "run"

static int check(const struct task_request *r, const char **parameter, const char **why)
{
	*parameter = r->input ? "input" : "method";
	*why = r->input ? "left out: the pool's tasks are jsonrpc, which take params"
			: "the name of a method: the pool's tasks are jsonrpc";
	return !r->input && r->method && r->method[0] ? 0 : -1;
}

static void write_args(struct json_writer *json, const struct task_request *r)
{
	jw_array(json);
	for (unsigned i = 0; i < r->count; i++)
		jw_string(json, r->args[i]);
	jw_end_array(json);
}

/* The request from behind its id: `,"method":"m","params":[1]}` and the newline. */
static int compose(const struct task_request *r, struct buf *out)
{
	struct json_writer json = json_writer(out);

	json.comma = true;
	jw_key(&json, "method");
	jw_string(&json, r->method ? r->method : TASK_MODULE_METHOD);
	jw_key(&json, "params"); /* always there: a worker need not ask whether it is */
	if (r->params)
		jw_raw(&json, r->params, r->params_len);
	else
		write_args(&json, r);
	return jw_ok(&json) ? buf_append(out, "}\n", 2) : -1;
}

/* A method may be up to six times as long when it is written as JSON. */
static size_t size(const struct task_request *r)
{
	struct buf text = { .max = SIZE_MAX / 2 };
	size_t len = compose(r, &text) == 0 ? text.len : 0;

	buf_free(&text);
	return len;
}

static int fill(const struct task_request *r, char *payload)
{
	/* as much as size() has found */
	struct buf text = { .data = payload, .cap = SIZE_MAX / 2, .max = SIZE_MAX / 2 };

	return compose(r, &text);
}

static int ask(const struct task *t, struct buf *out)
{
	char head[64];
	int n = snprintf(head, sizeof(head), "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64, t->number);

	return buf_append(out, head, (size_t)n) < 0 ? -1 : buf_append(out, t->payload, t->size);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void take_error(struct task *t, const struct json_t *error)
{
	const char *message = json_get_string(error, "message");
	struct task_failure *f =
		task_note_failure(t, TASK_OWN, message ? message : "an error without a message");
	char *data;

	if (!f)
		return;
	f->has_code = json_get_int(error, "code", &f->code);
	data = json_get(error, "data") ? json_text(json_get(error, "data")) : NULL;
	if (data)
		task_note_data(t, data);
}

static void take_response(struct runner *r, struct task *t, const struct message_response *m)
{
	char *text;

	if (m->plain) {
		task_lend_result(t, m->plain, m->plain_len, TASK_JSON);
		runner_done(r, t, TASK_SUCCEEDED);
		return;
	}
	if (m->error) {
		take_error(t, m->error);
		runner_done(r, t, TASK_FAILED);
		return;
	}
	text = json_text(m->result);
	if (!text) {
		task_note_failure(t, TASK_BAD_ANSWER, "there was no memory to keep its result");
		runner_done(r, t, TASK_FAILED);
		return;
	}
	task_lend_result(t, text, strlen(text), TASK_JSON);
	runner_done(r, t, TASK_SUCCEEDED);
	free(text);
}

static void answer(struct runner *r, const char *line, size_t len)
{
	struct message_response m;
	struct task *t;
	const char *why;

	if (message_read_response(line, len, &m, &why) < 0) {
		char what[160];

		snprintf(what, sizeof(what), "has written what is no JSON-RPC 2.0 response (%s)",
			 why);
		runner_distrust(r, what);
		return;
	}
	t = m.has_id  ? runner_find(r, (uint64_t)m.id)
	    : m.error ? runner_oldest(r) /* it could not read what it was asked */
		      : NULL;
	if (t)
		take_response(r, t, &m);
	else
		runner_ignores(r, "has answered what it was not asked, or a second time");
	message_response_free(&m);
}

const struct task_kind task_jsonrpc = {
	.name = "jsonrpc",
	.json = true,
	.check = check,
	.size = size,
	.fill = fill,
	.ask = ask,
	.answer = answer,
};

/* ---- kind module: the same, with one method that nobody has to name: crew_run() of its module ------- */

static int check_module(const struct task_request *r, const char **parameter, const char **why)
{
	*parameter = r->input ? "input" : "method";
	*why = "left out: the pool's tasks are of a module, which takes args";
	return r->input || r->method ? -1 : 0;
}

const struct task_kind task_module = {
	.name = "module",
	.json = true,
	.bare = true,
	.check = check_module,
	.size = size,
	.fill = fill,
	.ask = ask,
	.answer = answer,
};
