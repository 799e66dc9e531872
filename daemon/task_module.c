/* Kind module: what jsonrpc is to a worker, with one method that nobody has to name: crew_run() of its module. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "daemon/task_kind.h"
#include "lib/json_writer.h"

static int check(const struct task_request *r, const char **parameter, const char **why)
{
	*parameter = r->input ? "input" : "method";
	*why = "left out: the pool's tasks are of a module, which takes args";
	return r->input || r->method ? -1 : 0;
}

/* The request from behind its id. */
static int compose(const struct task_request *r, struct buf *out)
{
	struct json_writer json = json_writer(out);

	json.comma = true;
	jw_key(&json, "method");
	jw_string(&json, "run");
	jw_key(&json, "params");
	if (r->params)
		jw_raw(&json, r->params, r->params_len);
	else {
		jw_array(&json);
		for (unsigned i = 0; i < r->count; i++)
			jw_string(&json, r->args[i]);
		jw_end_array(&json);
	}
	return jw_ok(&json) ? buf_append(out, "}\n", 2) : -1;
}

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
	return task_jsonrpc.ask(t, out);
}

static void answer(struct runner *r, const char *line, size_t len)
{
	task_jsonrpc.answer(r, line, len);
}

const struct task_kind task_module = {
	.name = "module",
	.json = true,
	.bare = true,
	.check = check,
	.size = size,
	.fill = fill,
	.ask = ask,
	.answer = answer,
};
