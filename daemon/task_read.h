/*
 * Requests for tasks as they stand in messages and in the items of queues: from JSON to struct task_request.
 */
#ifndef CREWD_TASK_READ_H
#define CREWD_TASK_READ_H

#include "daemon/task_kind.h"

struct json_t;

/* A request; zero-initialised, and freed whatever came of it. It refers to the JSON that it was read from. */
struct task_read {
	struct task_request r;
	struct json_t *root; /* owned; NULL: the JSON is somebody else's */
	const char **args;   /* owned */
	const char *only;    /* instead of a list of one */
	char *params;	     /* owned */
	struct json_t *given_args, *given_params;
	const char *parameter, *why; /* what is wrong with it, and what would be right (static) */
};
/* From what was given, for tasks of that kind. With `dry` only checked. False: it is none, the parameter and
 * why are set. */
bool task_read_given(struct task_read *q, const struct task_kind *kind, bool dry);
/* One element of Map's tasks: a string, a list, or an object. */
bool task_read_element(struct task_read *q, const struct task_kind *kind,
		       const struct json_t *element, bool dry);
/* The same, as text. */
bool task_read_text(struct task_read *q, const struct task_kind *kind, const char *text,
		    size_t len);
void task_read_free(struct task_read *q);

#endif
