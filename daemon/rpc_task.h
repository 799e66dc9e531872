/*
 * What the methods of io.crewd.Pool that deal with tasks share: finding the pool, writing a task.
 */
#ifndef CREWD_RPC_TASK_H
#define CREWD_RPC_TASK_H

#include "daemon/rpc.h"
#include "daemon/task_read.h"
#include "daemon/taskpool.h"

/* The pool of that name if it has tasks; NULL: it has replied (NoSuchPool). */
struct taskpool *rpc_taskpool(struct rpc_call *call, const char *name);

/* Replies the error for what submitting has answered. */
void rpc_refused(struct rpc_call *call, const char *pool, enum taskpool_error error,
		 const char *why);

/* The members that say which task it is. */
void rpc_write_task_id(struct json_writer *json, const struct task *t);
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
