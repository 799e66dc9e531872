/*
 * What the methods of io.crewd.Pool that deal with tasks share: reading a request, writing a task.
 */
#ifndef CREWD_RPC_TASK_H
#define CREWD_RPC_TASK_H

#include "daemon/rpc.h"
#include "daemon/taskpool.h"

/* The pool of that name if it has tasks; NULL: it has replied (NoSuchPool). */
struct taskpool *rpc_taskpool(struct rpc_call *call, const char *name);

/* A request as it stands in a message, which it refers to. */
struct rpc_request {
	struct task_request r;
	const char **args; /* owned */
	const char *only;  /* instead of a list of one */
	char *params;	   /* owned */
	struct json_t *given_args, *given_params;
	const char *parameter, *why; /* what is wrong with it */
};
/* From what was given, for tasks of that kind. With `dry` only checked. False: it is none, the parameter and
 * why are set. Freed in either case. */
bool rpc_request_make(struct rpc_request *q, const struct task_kind *kind, bool dry);
void rpc_request_free(struct rpc_request *q);
/* One element of Map's tasks: a string, a list, or an object. */
bool rpc_request_element(struct rpc_request *q, const struct task_kind *kind,
			 const struct json_t *element, bool dry);
/* Replies the error for what submitting has answered. */
void rpc_refused(struct rpc_call *call, const struct taskpool *tp, enum taskpool_error error,
		 const char *why);

/* One value: the task as an object. */
void rpc_write_task(struct json_writer *json, const struct task *t, bool with_result);
/* The members of an event of it. */
void rpc_write_task_event(struct json_writer *json, const struct task *t);
/* The answer to Apply and Result: the task, or the error that it failed with. */
void rpc_reply_task(struct rpc_call *call, const struct task *t);

/* Handlers. */
void rpc_task_map(struct rpc_call *call);
void rpc_task_tasks(struct rpc_call *call);

/* For rpc_manager.c's subscribers. */
void rpc_tell_task(const struct task *t);

#endif
