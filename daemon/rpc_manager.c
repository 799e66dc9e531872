#include "daemon/rpc_manager.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "daemon/control.h"
#include "daemon/crew.h"
#include "daemon/ledger.h"
#include "daemon/manager.h"
#include "daemon/rpc_task.h"
#include "daemon/rpc_worker.h"
#include "lib/bounds.h"
#include "lib/clock.h"

/* ---- time -------------------------------------------------------------------------------------
 */

#define CLOCK_SET (100 * USEC_PER_MSEC) /* further off than that, somebody has set the clock */
#define SAMPLES	  8

/* Whatever comes between the two readings makes it smaller: the largest is the best. */
static int64_t read_offset(int samples)
{
	int64_t best = INT64_MIN;

	for (int i = 0; i < samples; i++) {
		int64_t wall = clock_wall(), offset = wall - clock_now();

		best = offset > best ? offset : best;
	}
	return best;
}

double rpc_wall_time(int64_t moment)
{
	int64_t offset = ledger_wall_offset();

	if (llabs(read_offset(1) - offset) > CLOCK_SET) {
		offset = read_offset(SAMPLES);
		ledger_set_wall_offset(offset);
	}
	return (double)(offset + moment) / USEC_PER_SEC;
}

/* ---- GetStatus --------------------------------------------------------------------------------
 */

static const char *pool_state(const struct pool *p)
{
	static const enum worker_state order[] = { WORKER_STARTING, WORKER_BACKOFF, WORKER_STOPPING,
						   WORKER_FAILED,   WORKER_RUNNING, WORKER_EXITED };

	if (p->removed)
		return worker_state_name(WORKER_STOPPING);
	if (pool_is_up(p) && p->in_state[WORKER_RUNNING])
		return worker_state_name(WORKER_RUNNING);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (p->in_state[order[i]])
			return worker_state_name(order[i]);
	return worker_state_name(WORKER_STOPPED);
}

void rpc_write_pool(struct json_writer *json, const struct pool *p)
{
	jw_key(json, "name");
	jw_string(json, p->name);
	jw_key(json, "workers");
	jw_int(json, pool_size(p));
	jw_key(json, "running");
	jw_int(json, p->in_state[WORKER_RUNNING]);
	jw_key(json, "state");
	jw_string(json, pool_state(p));
}

static void write_pools(struct json_writer *json)
{
	jw_key(json, "pools");
	jw_array(json);
	list_foreach(e, n, crew_pools())
	{
		const struct pool *p = list_entry(e, struct pool, link);

		if (p->is_run)
			continue;
		jw_object(json);
		rpc_write_pool(json, p);
		jw_end_object(json);
	}
	jw_end_array(json);
}

static void write_ages(struct json_writer *json, int64_t started)
{
	int64_t age = clock_now() - started;

	jw_key(json, "started");
	jw_double(json, rpc_wall_time(started));
	jw_key(json, "uptime");
	jw_seconds(json, age);
}

static void get_status(struct rpc_call *call)
{
	struct json_writer *json;

	if (!rpc_params_done(call))
		return;
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "version");
	jw_string(json, PACKAGE_VERSION);
	jw_key(json, "pid");
	jw_int(json, manager_info()->keeper);
	jw_key(json, "manager");
	jw_int(json, getpid());
	write_ages(json, manager_info()->started);
	jw_key(json, "running");
	jw_int(json, crew_running());
	jw_key(json, "total");
	jw_int(json, crew_total());
	jw_key(json, "connections");
	jw_int(json, control_connections());
	write_pools(json);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

/* ---- Reload -----------------------------------------------------------------------------------
 */

/* There is one reload at a time, so there is one call at most that waits for it; NULL when its
 * client has left. */
static struct rpc_call *reloader;
static bool reload_quietly;

static void forget_reloader(struct rpc_call *call)
{
	(void)call;
	reloader = NULL;
}

static void write_names(struct json_writer *json, const char *key, const struct crew_plan *plan,
			int kind, bool queue)
{
	jw_key(json, key);
	jw_array(json);
	for (unsigned i = 0; i < plan->count; i++)
		if ((int)plan->rows[i].kind == kind && plan->rows[i].queue == queue)
			jw_string(json, plan->rows[i].pool);
	jw_end_array(json);
}

static void write_change(struct json_writer *json, const struct crew_plan_row *row)
{
	jw_object(json);
	jw_key(json, row->queue ? "queue" : "pool");
	jw_string(json, row->pool);
	jw_key(json, "keys");
	jw_array(json);
	for (unsigned i = 0; i < row->key_count; i++)
		jw_string(json, row->keys[i]);
	jw_end_array(json);
	jw_key(json, "restart");
	jw_bool(json, row->replaces || row->needs_restart);
	jw_end_object(json);
}

/* The members about pools, or about queues. */
static void write_plan(struct json_writer *json, const struct crew_plan *plan, bool queue)
{
	write_names(json, "added", plan, CREW_ADDED, queue);
	jw_key(json, "changed");
	jw_array(json);
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->rows[i].kind == CREW_CHANGED && plan->rows[i].queue == queue)
			write_change(json, &plan->rows[i]);
	jw_end_array(json);
	write_names(json, "removed", plan, CREW_REMOVED, queue);
	write_names(json, "unchanged", plan, CREW_UNCHANGED, queue);
}

static bool has_queues(const struct crew_plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->rows[i].queue)
			return true;
	return false;
}

static void reply_plan(struct rpc_call *call, const struct crew_plan *plan)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	write_plan(json, plan, false);
	if (has_queues(plan)) {
		jw_key(json, "queues");
		jw_object(json);
		write_plan(json, plan, true);
		jw_end_object(json);
	}
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void on_reloaded(const struct crew_plan *plan, const char *errors, void *arg)
{
	struct rpc_call *call = reloader;

	(void)arg;
	if (!call)
		return;
	if (!plan)
		rpc_error_text(call, CREW_ERROR_BAD_CONFIG, "errors", errors);
	else if (reload_quietly)
		rpc_reply_empty(call);
	else
		reply_plan(call, plan);
	rpc_end(call);
}

void rpc_manager_reload(struct rpc_call *call, bool dry_run, bool quiet)
{
	if (crew_is_shutting_down()) {
		rpc_error_text(call, CREW_ERROR_SHUTTING_DOWN, NULL, NULL);
		return;
	}
	if (crew_reload(dry_run, on_reloaded, NULL) < 0) {
		rpc_error_text(call, CREW_ERROR_MANAGER_BUSY, "why",
			       errno == EBUSY ? "another reload is under way"
					      : "the configuration cannot be read now");
		return;
	}
	reloader = call;
	reload_quietly = quiet;
	call->drop = forget_reloader;
	rpc_park(call, RPC_KEY_RELOAD, NULL);
}

static void reload(struct rpc_call *call)
{
	bool dry_run = false;

	params_bool(&call->params, "dryRun", &dry_run);
	if (rpc_params_done(call))
		rpc_manager_reload(call, dry_run, false);
}

static void shut_down(struct rpc_call *call)
{
	bool join = false;

	params_bool(&call->params, "join", &join);
	if (!rpc_params_done(call))
		return;
	rpc_reply_empty(call);
	crew_shutdown(join);
}

/* ---- Subscribe --------------------------------------------------------------------------------
 */

/* Room that is left for the word that events were lost. */
#define EVENTS_MAX (CREW_OUTPUT_MAX - 65536)

struct subscriber {
	uint64_t lost; /* events since the client has fallen behind */
};

static struct json_writer *begin_event(struct rpc_call *call, const char *event)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "event");
	jw_string(json, event);
	jw_key(json, "time");
	jw_seconds(json, clock_wall());
	return json;
}

static void end_event(struct rpc_call *call, struct json_writer *json)
{
	jw_end_object(json);
	rpc_reply_end(call, true);
}

static void tell_lost(struct rpc_call *call)
{
	struct subscriber *s = call->state;
	struct json_writer *json;

	if (!s->lost)
		return;
	json = begin_event(call, "lost");
	jw_key(json, "count");
	jw_int(json, (int64_t)s->lost);
	end_event(call, json);
	s->lost = 0;
}

/* False: the client is too slow, the event is lost to it. */
static bool has_room(struct rpc_call *call)
{
	struct subscriber *s = call->state;

	if (!s->lost && call->conn->out.len < EVENTS_MAX)
		return true;
	s->lost++;
	return false;
}

struct change {
	struct worker *worker;
	enum worker_state from;
};

static void tell_one(struct rpc_call *call, void *arg)
{
	const struct change *c = arg;
	const struct worker *w = c->worker;
	struct json_writer *json;
	char why[512];

	if (!has_room(call))
		return;
	json = begin_event(call, "state");
	jw_key(json, "worker");
	jw_string(json, w->name);
	jw_key(json, "pool");
	jw_string(json, w->pool->is_run ? NULL : w->pool->name);
	jw_key(json, "state");
	jw_string(json, worker_state_name(w->state));
	jw_key(json, "was");
	jw_string(json, worker_state_name(c->from));
	jw_key(json, "pid");
	if (w->pid)
		jw_int(json, w->pid);
	else
		jw_null(json);
	rpc_write_end(json, w->has_end && !worker_is_alive(w), &w->end);
	jw_key(json, "why");
	jw_string(json, worker_why(w, why, sizeof(why)));
	end_event(call, json);
}

void rpc_tell_change(struct worker *w, enum worker_state from)
{
	struct change c = { .worker = w, .from = from };

	if (w->state != from) /* else it is only new in the table */
		rpc_each(RPC_KEY_EVENTS, tell_one, &c);
}

static void tell_task(struct rpc_call *call, void *arg)
{
	const struct task *t = arg;
	struct json_writer *json;

	if (!has_room(call))
		return;
	json = begin_event(call, "task");
	rpc_write_task_event(json, t);
	end_event(call, json);
}

void rpc_tell_task(const struct task *t)
{
	rpc_each(RPC_KEY_EVENTS, tell_task, (void *)(uintptr_t)t);
}

static void tell_reload(struct rpc_call *call, void *arg)
{
	(void)arg;
	if (has_room(call))
		end_event(call, begin_event(call, "reload"));
}

void rpc_reloaded(void)
{
	rpc_each(RPC_KEY_EVENTS, tell_reload, NULL);
}

static void subscribe(struct rpc_call *call)
{
	if (!rpc_params_done(call))
		return;
	call->state = calloc(1, sizeof(struct subscriber));
	if (!call->state) {
		rpc_no_memory(call);
		return;
	}
	end_event(call, begin_event(call, "subscribed"));
	rpc_park(call, RPC_KEY_EVENTS, tell_lost);
}

const struct rpc_method rpc_manager_methods[] = {
	{ .name = "io.crewd.Manager.GetStatus", .handle = get_status },
	{ .name = "io.crewd.Manager.Reload", .handle = reload, .writes = true },
	{ .name = "io.crewd.Manager.Shutdown", .handle = shut_down, .writes = true },
	{ .name = "io.crewd.Manager.Subscribe", .handle = subscribe, .needs_more = true },
	{ .name = NULL },
};
