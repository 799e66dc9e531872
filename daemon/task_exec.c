/* Kind exec: a process for each task, the pool's command with the task's arguments. */
#include <string.h>
#include "daemon/task_kind.h"

struct head {
	size_t args_size;
	unsigned count;
};

static int check(const struct task_request *r, const char **parameter, const char **why)
{
	if (!r->method && !r->params)
		return 0;
	*parameter = r->method ? "method" : "params";
	*why = "left out: the pool's tasks are exec, which take args and input";
	return -1;
}

static size_t args_size(const struct task_request *r)
{
	size_t size = 0;

	for (unsigned i = 0; i < r->count; i++)
		size += strlen(r->args[i]) + 1;
	return size;
}

static size_t size(const struct task_request *r)
{
	return sizeof(struct head) + args_size(r) + r->input_len;
}

static int fill(const struct task_request *r, char *payload)
{
	struct head head = { .args_size = args_size(r), .count = r->count };
	char *at = payload + sizeof(head);

	memcpy(payload, &head, sizeof(head));
	for (unsigned i = 0; i < r->count; i++) {
		size_t n = strlen(r->args[i]) + 1;

		memcpy(at, r->args[i], n);
		at += n;
	}
	if (r->input_len)
		memcpy(at, r->input, r->input_len);
	return 0;
}

void task_exec_view(const struct task *t, struct task_exec_view *v)
{
	struct head head;

	memcpy(&head, t->payload, sizeof(head));
	v->args = t->payload + sizeof(head);
	v->args_size = head.args_size;
	v->count = head.count;
	v->input = v->args + head.args_size;
	v->input_size = t->size - sizeof(head) - head.args_size;
}

const struct task_kind task_exec = {
	.name = "exec",
	.per_task = true,
	.check = check,
	.size = size,
	.fill = fill,
};
