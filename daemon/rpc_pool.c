#include "daemon/crew.h"
#include "daemon/rpc.h"
#include "daemon/rpc_manager.h"
#include "daemon/rpc_task.h"
#include "lib/bounds.h"

static void write_count(struct json_writer *json, const char *key, uint64_t count)
{
	jw_key(json, key);
	jw_int(json, (int64_t)count);
}

static void write_tasks(struct json_writer *json, const struct taskpool *tp)
{
	jw_key(json, "tasks");
	jw_string(json, tp->kind->name);
	jw_key(json, "gate");
	jw_string(json, taskpool_gate_name(tp->gate));
	if (*tp->feed.queue) {
		jw_key(json, "queue");
		jw_string(json, tp->feed.queue);
	}
	write_count(json, "queued", tp->queued);
	write_count(json, "inHand", tp->in_hand);
	write_count(json, "accepted", tp->accepted);
	write_count(json, "succeeded", tp->succeeded);
	write_count(json, "failed", tp->failed);
	write_count(json, "cancelled", tp->cancelled);
}

static void write_row(struct json_writer *json, const struct pool *p)
{
	jw_object(json);
	rpc_write_pool(json, p);
	jw_key(json, "wanted");
	jw_bool(json, p->wanted);
	jw_key(json, "scaled");
	jw_bool(json, p->scale >= 0);
	if (p->tasks)
		write_tasks(json, p->tasks);
	jw_end_object(json);
}

static void list(struct rpc_call *call)
{
	struct json_writer *json;

	if (!rpc_params_done(call))
		return;
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "pools");
	jw_array(json);
	list_foreach(e, n, crew_pools())
	{
		const struct pool *p = list_entry(e, struct pool, link);

		if (!p->is_run)
			write_row(json, p);
	}
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void scale(struct rpc_call *call)
{
	const char *name = NULL;
	int64_t workers = 0;
	struct pool *p;

	params_string(&call->params, "name", true, &name);
	params_int(&call->params, "workers", true, 0, CREW_WORKERS_MAX, &workers);
	if (!rpc_params_done(call))
		return;
	p = crew_pool(name);
	if (!p || p->removed || p->def->is_template) {
		rpc_error_text(call, CREW_ERROR_NO_SUCH_POOL, "name", name);
		return;
	}
	if (workers > p->count && workers - p->count > crew_room()) {
		rpc_error_text(call, CREW_ERROR_TOO_MANY, NULL, NULL);
		return;
	}
	pool_scale(p, (unsigned)workers);
	rpc_reply_empty(call);
}

/* ---- Close, Join, Terminate -------------------------------------------------------------------
 */

/* The pool that the parameter `name` names, if it has tasks; NULL: it has replied. */
static struct taskpool *named_taskpool(struct rpc_call *call, const char **name, int64_t *timeout,
				       bool *limited)
{
	params_string(&call->params, "name", true, name);
	if (timeout)
		*limited = params_seconds(&call->params, "timeout", timeout);
	return rpc_params_done(call) ? rpc_taskpool(call, *name) : NULL;
}

static void close_pool(struct rpc_call *call)
{
	const char *name = NULL;
	struct taskpool *tp = named_taskpool(call, &name, NULL, NULL);

	if (!tp)
		return;
	taskpool_close(tp);
	rpc_reply_empty(call);
}

/* The name stays in the call's message. A pool that is no more has done everything, too. */
static void resume_join(struct rpc_call *call)
{
	const struct pool *p = crew_pool(json_get_string(call->message.params, "name"));

	if (p && p->tasks && p->tasks->gate == TASKPOOL_OPEN)
		rpc_error_text(call, CREW_ERROR_POOL_STILL_RUNNING, "pool", p->name);
	else if (!p || !p->tasks || taskpool_is_drained(p->tasks))
		rpc_reply_empty(call);
}

static void join_expired(struct rpc_call *call)
{
	rpc_error_text(call, CREW_ERROR_POOL_TIMED_OUT, "pool",
		       json_get_string(call->message.params, "name"));
}

static void join(struct rpc_call *call)
{
	const char *name = NULL;
	int64_t timeout = 0;
	bool limited = false;

	if (!named_taskpool(call, &name, &timeout, &limited))
		return;
	rpc_park(call, RPC_KEY_WORKERS, resume_join);
	if (!call->done)
		resume_join(call);
	if (limited && !call->done)
		rpc_deadline(call, timeout, join_expired);
}

/* Somebody may have opened it again meanwhile: then its workers had ended in between. */
static void resume_terminate(struct rpc_call *call)
{
	const struct pool *p = crew_pool(json_get_string(call->message.params, "name"));

	if (!p || !p->tasks || p->tasks->gate == TASKPOOL_OPEN || taskpool_is_drained(p->tasks))
		rpc_reply_empty(call);
}

static void terminate(struct rpc_call *call)
{
	const char *name = NULL;
	struct taskpool *tp = named_taskpool(call, &name, NULL, NULL);

	if (!tp)
		return;
	taskpool_terminate(tp);
	rpc_park(call, RPC_KEY_WORKERS, resume_terminate);
	if (!call->done)
		resume_terminate(call);
}

const struct rpc_method rpc_pool_methods[] = {
	{ .name = "io.crewd.Pool.List", .handle = list },
	{ .name = "io.crewd.Pool.Scale", .handle = scale, .writes = true },
	{ .name = "io.crewd.Pool.Close", .handle = close_pool, .writes = true },
	{ .name = "io.crewd.Pool.Join", .handle = join },
	{ .name = "io.crewd.Pool.Terminate", .handle = terminate, .writes = true },
	{ .name = NULL },
};
