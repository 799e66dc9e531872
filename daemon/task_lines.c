/* Kind lines: a task is a line on the worker's standard input, its result a line on its output. */
#include <string.h>
#include "daemon/runner.h"
#include "daemon/task_kind.h"

static int check(const struct task_request *r, const char **parameter, const char **why)
{
	*parameter = r->input ? "input" : r->method ? "method" : r->params ? "params" : "args";
	*why = "left out: the pool's tasks are lines, which take one argument";
	if (r->input || r->method || r->params)
		return -1;
	*why = "one string without a newline: the pool's tasks are lines";
	return r->count == 1 && !strchr(r->args[0], '\n') ? 0 : -1;
}

static size_t size(const struct task_request *r)
{
	return strlen(r->args[0]) + 1;
}

static int fill(const struct task_request *r, char *payload)
{
	size_t len = strlen(r->args[0]);

	memcpy(payload, r->args[0], len);
	payload[len] = '\n';
	return 0;
}

static int ask(const struct task *t, struct buf *out)
{
	return buf_append(out, t->payload, t->size);
}

static void answer(struct runner *r, const char *line, size_t len)
{
	struct task *t = runner_oldest(r);

	if (!t) {
		runner_distrust(r, "has written a line that no task asked for");
		return;
	}
	task_lend_result(t, line, len, TASK_TEXT);
	runner_done(r, t, TASK_SUCCEEDED);
}

const struct task_kind task_lines = {
	.name = "lines",
	.in_order = true,
	.check = check,
	.size = size,
	.fill = fill,
	.ask = ask,
	.answer = answer,
};
