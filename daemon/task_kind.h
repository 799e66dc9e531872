/*
 * What `tasks` may be: how a task becomes a request to a worker, and what the worker writes an answer. A
 * kind per file, but for module, which is jsonrpc to its workers; a table of operations each. Adding one is adding a
 * file and a row in task_kind.c.
 */
#ifndef CREWD_TASK_KIND_H
#define CREWD_TASK_KIND_H

#include <stdbool.h>
#include <stddef.h>
#include "daemon/conf.h"
#include "daemon/task.h"
#include "lib/buf.h"

struct runner;

/* What a caller has asked for; all borrowed. */
struct task_request {
	const char *const *args; /* `count` strings (exec, lines, and module without params) */
	unsigned count;
	const char *input; /* exec; NULL: none */
	size_t input_len;
	const char *method; /* jsonrpc; NULL: not given */
	const char *params; /* jsonrpc, module: JSON text of an array or object; NULL: not given */
	size_t params_len;
};

struct task_kind {
	const char *name;
	bool per_task; /* a process for each task; else workers stay, and answer line by line */
	bool in_order; /* answers come in the order of the requests */
	bool json;     /* args are any values, not strings only */
	bool bare;     /* a string by itself is a task with this one argument, for json too */
	/* 0; -1 when it is no task of this kind: the parameter, and what would be right (static). */
	int (*check)(const struct task_request *r, const char **parameter, const char **why);
	size_t (*size)(
		const struct task_request *r); /* of the payload of one that has been checked */
	int (*fill)(const struct task_request *r, char *payload); /* 0, or -1 with errno */
	/* Appends the request for a worker that stays. 0, or -1 with errno. */
	int (*ask)(const struct task *t, struct buf *out);
	/* One line that such a worker has written, without its newline. */
	void (*answer)(struct runner *r, const char *line, size_t len);
};

extern const struct task_kind task_exec, task_lines, task_jsonrpc, task_module;
/* NULL for CONF_TASKS_NONE. */
const struct task_kind *task_kind_of(const struct conf_pool *def);

/* What is in the payload of an exec task. */
struct task_exec_view {
	const char *args; /* `count` strings, each with its NUL */
	size_t args_size;
	unsigned count;
	const char *input;
	size_t input_size;
};
void task_exec_view(const struct task *t, struct task_exec_view *v);

#endif
