/* Methods of io.crewd.Pool for one task: Apply, ApplyAsync, Result, Cancel. */
#include "daemon/rpc_task.h"

#include <stdlib.h>
#include "daemon/crew.h"

struct taskpool *rpc_taskpool(struct rpc_call *call, const char *name)
{
	struct pool *p = crew_pool(name);
	struct json_writer *json;

	if (p && p->tasks)
		return p->tasks;
	json = rpc_error(call, CREW_ERROR_NO_SUCH_POOL);
	jw_object(json);
	jw_key(json, "name");
	jw_string(json, name);
	if (p) {
		jw_key(json, "why");
		jw_string(json, "it has no tasks");
	}
	jw_end_object(json);
	rpc_error_end(call);
	return NULL;
}

void rpc_refused(struct rpc_call *call, const char *pool, enum taskpool_error error,
		 const char *why)
{
	static const enum crew_error errors[] = {
		[TASKPOOL_SHUT] = CREW_ERROR_POOL_CLOSED,
		[TASKPOOL_FULL] = CREW_ERROR_POOL_FULL,
		[TASKPOOL_NO_MEMORY] = CREW_ERROR_MANAGER_BUSY,
	};
	struct json_writer *json = rpc_error(call, errors[error]);

	jw_object(json);
	if (error != TASKPOOL_NO_MEMORY) {
		jw_key(json, "pool");
		jw_string(json, pool);
	}
	jw_key(json, "why");
	jw_string(json, why);
	jw_end_object(json);
	rpc_error_end(call);
}

/* ---- Apply, ApplyAsync ------------------------------------------------------------------------
 */

/* What Apply and ApplyAsync take. False: it has replied. */
static bool read_request(struct rpc_call *call, struct task_read *q, struct taskpool **tp,
			 int64_t *timeout, bool *limited)
{
	struct params *p = &call->params;
	const char *name = NULL;

	params_string(p, "pool", true, &name);
	params_array(p, "args", false, &q->given_args);
	params_bytes(p, "input", &q->r.input, &q->r.input_len);
	params_string(p, "method", false, &q->r.method);
	params_value(p, "params", false, &q->given_params);
	if (timeout)
		*limited = params_seconds(p, "timeout", timeout);
	if (!rpc_params_done(call))
		return false;
	*tp = rpc_taskpool(call, name);
	if (!*tp)
		return false;
	if (task_read_given(q, (*tp)->kind, false))
		return true;
	rpc_invalid(call, q->parameter, q->why);
	return false;
}

static void reply_timed_out(struct rpc_call *call, const struct task *t)
{
	struct json_writer *json = rpc_error(call, CREW_ERROR_POOL_TIMED_OUT);

	jw_object(json);
	rpc_write_task_id(json, t);
	jw_end_object(json);
	rpc_error_end(call);
}

/* State of a call that waits for a task of its own. */
struct applied {
	struct task_owner owner;
	struct rpc_call *call;
	struct task *task; /* NULL: it has ended */
	bool parked;
};

static void on_applied(struct task *t, struct task_owner *owner)
{
	struct applied *a = (struct applied *)(void *)owner;
	struct rpc_call *call = a->call;

	a->task = NULL;
	rpc_reply_task(call, t);
	taskpool_fetched(t);
	if (a->parked)
		rpc_end(call);
}

static void drop_applied(struct rpc_call *call)
{
	struct applied *a = call->state;

	if (a && a->task)
		taskpool_disown(a->task);
	free(a);
}

static void apply_expired(struct rpc_call *call)
{
	const struct applied *a = call->state;

	reply_timed_out(call, a->task);
}

static struct applied *applied_new(struct rpc_call *call)
{
	struct applied *a = calloc(1, sizeof(*a));

	if (!a) {
		rpc_no_memory(call);
		return NULL;
	}
	a->owner.ended = on_applied;
	a->call = call;
	call->state = a;
	call->drop = drop_applied;
	return a;
}

/* It may have ended already: then the call has been replied to. */
static void wait_for_own(struct rpc_call *call, struct taskpool *tp, const struct task_read *q,
			 bool limited, int64_t timeout)
{
	struct applied *a = applied_new(call);
	struct task *t = NULL;
	enum taskpool_error e;
	const char *why;

	if (!a)
		return;
	e = taskpool_submit(tp, &q->r, &a->owner, 0, &t, &why);
	if (e != TASKPOOL_OK) {
		rpc_refused(call, tp->name, e, why);
		return;
	}
	if (call->done)
		return;
	a->task = t;
	a->parked = true;
	rpc_park(call, RPC_KEY_TASKS, NULL);
	if (limited)
		rpc_deadline(call, timeout, apply_expired);
}

/* Nobody waits for it, nobody can ask for it. */
static void submit_for_nobody(struct taskpool *tp, const struct task_read *q)
{
	struct task *t;
	const char *why;

	if (taskpool_submit(tp, &q->r, NULL, 0, &t, &why) == TASKPOOL_OK && !task_has_ended(t))
		t->unwanted = true;
}

static void apply(struct rpc_call *call)
{
	struct task_read q = { 0 };
	struct taskpool *tp;
	int64_t timeout = 0;
	bool limited = false;

	if (read_request(call, &q, &tp, &timeout, &limited)) {
		if (call->message.oneway) {
			submit_for_nobody(tp, &q);
			rpc_reply_empty(call);
		} else {
			wait_for_own(call, tp, &q, limited, timeout);
		}
	}
	task_read_free(&q);
}

static void reply_id(struct rpc_call *call, const struct task *t)
{
	struct json_writer *json = rpc_reply(call);
	char id[TASK_ID_SIZE];

	jw_object(json);
	jw_key(json, "id");
	jw_string(json, task_id(t, id));
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void apply_async(struct rpc_call *call)
{
	struct task_read q = { 0 };
	enum taskpool_error e;
	struct taskpool *tp;
	struct task *t;
	const char *why;

	if (read_request(call, &q, &tp, NULL, NULL)) {
		e = taskpool_submit(tp, &q.r, NULL, 0, &t, &why);
		if (e == TASKPOOL_OK)
			reply_id(call, t);
		else
			rpc_refused(call, tp->name, e, why);
	}
	task_read_free(&q);
}

/* ---- Result, Cancel ---------------------------------------------------------------------------
 */

/* The task that the parameter `id` names; NULL: it has replied. */
static struct task *named_task(struct rpc_call *call, const char *id)
{
	struct task *t = NULL;

	switch (task_find(id, &t)) {
	case TASK_FOUND:
		if (!t->fetched)
			return t;
		rpc_error_text(call, CREW_ERROR_NO_SUCH_TASK, "id", id);
		break;
	case TASK_UNKNOWN:
		rpc_error_text(call, CREW_ERROR_NO_SUCH_TASK, "id", id);
		break;
	case TASK_OF_ANOTHER_MANAGER:
		rpc_error_text(call, CREW_ERROR_TASK_LOST, "id", id);
		break;
	}
	return NULL;
}

static void drop_awaited(struct rpc_call *call)
{
	taskpool_unawait(call->state);
}

static void resume_result(struct rpc_call *call)
{
	struct task *t = call->state;

	if (!task_has_ended(t))
		return;
	rpc_reply_task(call, t);
	taskpool_told(t); /* it goes with the last that awaits it, which may be this one */
}

static void result_expired(struct rpc_call *call)
{
	reply_timed_out(call, call->state);
}

static void result(struct rpc_call *call)
{
	const char *id = NULL;
	int64_t timeout = 0;
	struct task *t;
	bool limited;

	params_string(&call->params, "id", true, &id);
	limited = params_seconds(&call->params, "timeout", &timeout);
	if (!rpc_params_done(call))
		return;
	t = named_task(call, id);
	if (!t)
		return;
	if (task_has_ended(t)) {
		rpc_reply_task(call, t);
		taskpool_told(t);
		return;
	}
	call->state = t;
	call->drop = drop_awaited;
	taskpool_await(t);
	rpc_park(call, RPC_KEY_TASKS, resume_result);
	if (limited)
		rpc_deadline(call, timeout, result_expired);
}

static void cancel(struct rpc_call *call)
{
	const char *id = NULL;
	struct task *t;

	params_string(&call->params, "id", true, &id);
	if (!rpc_params_done(call))
		return;
	t = named_task(call, id);
	if (!t)
		return;
	taskpool_cancel(t);
	rpc_reply_empty(call);
}

/* ---- what tasks tell --------------------------------------------------------------------------
 */

static void on_awaited_ended(struct task *t)
{
	(void)t;
	rpc_happened(RPC_KEY_TASKS);
}

static void on_drained(struct taskpool *tp)
{
	(void)tp;
	rpc_happened(RPC_KEY_WORKERS);
}

static void on_room(void)
{
	rpc_happened(RPC_KEY_TASKS);
}

static void on_has_room(struct taskpool *tp)
{
	(void)tp;
	rpc_happened(RPC_KEY_TASKS);
}

void rpc_task_init(void)
{
	static const struct task_observer observer = { .changed = rpc_tell_task,
						       .awaited_ended = on_awaited_ended,
						       .has_room = on_room };
	static const struct taskpool_events events = { .drained = on_drained,
						       .has_room = on_has_room };

	task_observe(&observer);
	taskpool_observe(&events);
}

const struct rpc_method rpc_task_methods[] = {
	{ .name = "io.crewd.Pool.Apply", .handle = apply, .writes = true },
	{ .name = "io.crewd.Pool.ApplyAsync", .handle = apply_async, .writes = true },
	{ .name = "io.crewd.Pool.Map", .handle = rpc_task_map, .writes = true, .needs_more = true },
	{ .name = "io.crewd.Pool.Result", .handle = result, .writes = true },
	{ .name = "io.crewd.Pool.Tasks", .handle = rpc_task_tasks },
	{ .name = "io.crewd.Pool.Cancel", .handle = cancel, .writes = true },
	{ .name = NULL },
};
