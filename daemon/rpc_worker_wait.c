/* Methods of io.crewd.Worker that wait: Start, Terminate, Kill, Restart, Join, Run. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "daemon/crew.h"
#include "daemon/rpc_worker.h"
#include "daemon/taskpool.h"
#include "lib/bounds.h"

enum verdict { WAITS, DONE, FAILED };

/* State of a parked call. Workers before `next` need no more looking at, so that a wait for many
 * costs each of them once, not once an event. */
struct wait {
	struct rpc_targets targets;
	unsigned next;
	unsigned begun; /* Restart: workers before this one have been told to */
	unsigned ends;	/* rpc_ends() when all were looked at last */
	bool all_at_once;
	void (*restart)(struct worker *w); /* Restart: how they are told to */
	int64_t since;
	enum verdict (*judge)(const struct wait *wait, struct rpc_target t);
	void (*finish)(struct rpc_call *call);
	const char *name; /* as the caller put it */
};

static void drop_wait(struct rpc_call *call)
{
	struct wait *wait = call->state;

	if (wait)
		rpc_targets_free(&wait->targets);
	free(wait);
}

/* The wait for all that `name` means; NULL: it has replied. */
static struct wait *wait_new(struct rpc_call *call, const char *name)
{
	struct wait *wait = calloc(1, sizeof(*wait));

	if (!wait) {
		rpc_error_text(call, CREW_ERROR_MANAGER_BUSY, "why",
			       "out of memory or file descriptors");
		return NULL;
	}
	call->state = wait;
	call->drop = drop_wait;
	wait->name = name;
	wait->since = loop_now();
	wait->ends = rpc_ends() - 1; /* look at all the first time */
	wait->finish = rpc_reply_empty;
	return rpc_targets_add(&wait->targets, call, name) ? wait : NULL;
}

static void for_all(const struct wait *wait, void (*tell)(struct worker *w))
{
	for (unsigned i = 0; i < wait->targets.count; i++) {
		struct worker *w = rpc_target(wait->targets.at[i]);

		if (w)
			tell(w);
	}
}

/* What users ask of a whole pool holds for workers it gets later, too. */
static void set_wanted(const char *pattern, bool wanted)
{
	list_foreach(e, n, crew_pools())
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (p->is_run || p->removed || fnmatch(pattern, p->name, 0) != 0)
			continue;
		if (p->tasks && wanted)
			taskpool_open(p->tasks);
		else if (p->tasks)
			taskpool_terminate(p->tasks);
		if (p->wanted == wanted)
			continue;
		p->wanted = wanted;
		pool_save(p);
		pool_mark(p);
	}
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

/* A generation that has failed may be another worker's than the one that was named. */
static const struct worker *failed_template(const struct worker *w)
{
	const struct worker *failed = pool_failed_template(w->pool);

	return failed ? failed : w;
}

/* Those of a module are up still, when what would have replaced them is not. */
static bool is_template_to_blame(const struct worker *w)
{
	return w->pool->def->is_template || (w->pool->def->module && pool_failed_template(w->pool));
}

static void start_failed(struct rpc_call *call, struct rpc_target t)
{
	const struct worker *w = rpc_target(t);
	struct json_writer *json;
	struct rpc_last last;
	char why[512];

	rpc_last(t, &last);
	if (w && is_template_to_blame(w))
		rpc_why(failed_template(w), why, sizeof(why));
	else if (w)
		rpc_why(w, why, sizeof(why));
	else
		strcpy(why, last.why);
	json = rpc_error(call, CREW_ERROR_START_FAILED);
	jw_object(json);
	jw_key(json, "name");
	jw_string(json, last.name);
	jw_key(json, "why");
	jw_string(json, why[0] ? why : "it was told to end meanwhile");
	jw_end_object(json);
	rpc_error_end(call);
}

/* Only a worker that has ended can have failed: unless one has since, none is to be found. */
static bool find_failed(struct rpc_call *call, struct wait *wait, unsigned until)
{
	if (wait->ends == rpc_ends())
		return false;
	wait->ends = rpc_ends();
	for (unsigned i = wait->next; i < until; i++)
		if (wait->judge(wait, wait->targets.at[i]) == FAILED) {
			start_failed(call, wait->targets.at[i]);
			return true;
		}
	return false;
}

static void resume(struct rpc_call *call)
{
	struct wait *wait = call->state;
	unsigned until = wait->targets.count;

	for (; wait->next < until; wait->next++) {
		enum verdict v = wait->judge(wait, wait->targets.at[wait->next]);

		if (v == WAITS)
			break;
		if (v == FAILED) {
			start_failed(call, wait->targets.at[wait->next]);
			return;
		}
	}
	if (wait->next == until)
		wait->finish(call);
	else
		find_failed(call, wait, until);
}

static void wait_for(struct rpc_call *call, struct wait *wait,
		     enum verdict (*judge)(const struct wait *, struct rpc_target))
{
	wait->judge = judge;
	rpc_park(call, RPC_KEY_WORKERS, resume);
	if (!call->done)
		resume(call);
}

/* ---- Start, Restart ---------------------------------------------------------------------------
 */

/* With ready = "exec" a worker whose program was executed has been running, however short. */
static bool has_been_up(const struct worker *w)
{
	return w->has_end && !w->end.step && w->pool->def->ready == CONF_READY_EXEC;
}

static enum verdict template_is_up(const struct pool *p)
{
	int renewed = pool_renewed(p);

	return renewed > 0 ? DONE : renewed < 0 ? FAILED : WAITS;
}

static enum verdict is_up(const struct wait *wait, struct rpc_target t)
{
	const struct worker *w = rpc_target(t);

	(void)wait;
	if (!w)
		return FAILED;
	if (w->pool->def->is_template)
		return template_is_up(w->pool);
	if (w->runner && w->runner->then == RUNNER_RESTARTS)
		return WAITS; /* it has a task to finish first */
	if (worker_is_up(w))
		return DONE;
	if (w->state == WORKER_BACKOFF || w->state == WORKER_EXITED || w->state == WORKER_FAILED)
		return has_been_up(w) ? DONE : FAILED;
	return worker_is_settled(w) ? FAILED : WAITS;
}

/* Of a pool that has been made smaller meanwhile, no more is wanted. */
static enum verdict is_up_or_left(const struct wait *wait, struct rpc_target t)
{
	return rpc_target(t) ? is_up(wait, t) : DONE;
}

static bool may_start(struct rpc_call *call)
{
	if (!crew_is_shutting_down())
		return true;
	rpc_error_text(call, CREW_ERROR_SHUTTING_DOWN, NULL, NULL);
	return false;
}

void rpc_worker_start(struct rpc_call *call)
{
	const char *name = NULL;
	struct wait *wait;

	params_string(&call->params, "name", true, &name);
	if (!rpc_params_done(call) || !may_start(call))
		return;
	wait = wait_new(call, name);
	if (!wait)
		return;
	set_wanted(name, true);
	for_all(wait, worker_start);
	wait_for(call, wait, is_up_or_left);
}

/* A template stays until the next one is warm. */
static void restart(struct worker *w)
{
	if (w->pool->def->is_template) {
		const struct worker *now = pool_template(w->pool);

		if (now == w)
			pool_renew(w->pool);
		else if (!now)
			worker_restart(w);
		return;
	}
	taskpool_release(w, RUNNER_RESTARTS);
}

/* ---- Restart of pools with a module --------------------------------------------------------------
 *
 * It is their template that is made anew: the workers follow once it is warm. One worker that is named is only
 * forked again.
 */

static bool has_module(const struct pool *p)
{
	return p->def && p->def->module && !p->def->is_template && !p->is_run && !p->removed;
}

static bool renew_modules(const char *pattern)
{
	bool any = false;

	list_foreach(e, n, crew_pools())
	{
		const struct pool *p = list_entry(e, struct pool, link);
		struct pool *t = has_module(p) && fnmatch(pattern, p->name, 0) == 0
					 ? pool_template_pool(p)
					 : NULL;

		for (unsigned i = 0; t && i < t->count; i++)
			restart(t->workers[i]);
		any |= t != NULL;
	}
	return any;
}

/* The template's new generation is warm, and this worker was forked from it. */
static enum verdict has_followed(const struct wait *wait, struct rpc_target t)
{
	const struct worker *w = rpc_target(t);
	const struct pool *template = w && has_module(w->pool) ? pool_template_pool(w->pool) : NULL;
	enum verdict renewed = template ? template_is_up(template) : DONE;

	if (renewed != DONE)
		return renewed;
	if (template && w->process_hash != pool_template_hash_now(w->pool) && !worker_is_settled(w))
		return WAITS;
	return is_up_or_left(wait, t);
}

/* All that are no module's: of those the templates have been told. */
static void restart_others(struct worker *w)
{
	if (!w->pool->def || !w->pool->def->module)
		restart(w);
	else if (has_module(w->pool) && !worker_is_alive(w))
		worker_start(w);
}

/* One after the other: the next is told to when the one before is up, or has failed. */
static void resume_restart(struct rpc_call *call)
{
	struct wait *wait = call->state;

	while (wait->begun < wait->targets.count) {
		struct worker *w;

		if (wait->begun && wait->judge(wait, wait->targets.at[wait->begun - 1]) == WAITS)
			return;
		w = rpc_target(wait->targets.at[wait->begun++]);
		if (w)
			wait->restart(w);
	}
	resume(call);
}

void rpc_worker_restart(struct rpc_call *call)
{
	const char *name = NULL;
	bool all_at_once = false;
	struct wait *wait;

	params_string(&call->params, "name", true, &name);
	params_bool(&call->params, "allAtOnce", &all_at_once);
	if (!rpc_params_done(call) || !may_start(call))
		return;
	wait = wait_new(call, name);
	if (!wait)
		return;
	set_wanted(name, true);
	wait->restart = restart;
	wait->judge = is_up_or_left;
	if (renew_modules(name)) {
		wait->restart = restart_others;
		wait->judge = has_followed;
	}
	if (all_at_once || call->message.oneway) {
		for_all(wait, wait->restart);
		wait_for(call, wait, wait->judge);
		return;
	}
	rpc_park(call, RPC_KEY_WORKERS, resume_restart);
	resume_restart(call);
}

/* ---- Terminate, Kill --------------------------------------------------------------------------
 */

/* One that somebody else has started again meanwhile was gone in between. */
static enum verdict is_gone(const struct wait *wait, struct rpc_target t)
{
	const struct worker *w = rpc_target(t);

	if (!w || (!worker_is_alive(w) && w->state != WORKER_BACKOFF))
		return DONE;
	return w->state != WORKER_STOPPING && w->started > wait->since ? DONE : WAITS;
}

static void end_all(struct rpc_call *call, void (*tell)(struct worker *w), bool may_not_wait)
{
	const char *name = NULL;
	bool waits = true;
	struct wait *wait;

	params_string(&call->params, "name", true, &name);
	if (may_not_wait)
		params_bool(&call->params, "wait", &waits);
	if (!rpc_params_done(call))
		return;
	wait = wait_new(call, name);
	if (!wait)
		return;
	set_wanted(name, false);
	for_all(wait, tell);
	if (waits)
		wait_for(call, wait, is_gone);
	else
		rpc_reply_empty(call);
}

void rpc_worker_terminate(struct rpc_call *call)
{
	end_all(call, worker_stop, true);
}

void rpc_worker_kill(struct rpc_call *call)
{
	end_all(call, worker_kill, false);
}

/* ---- Join -------------------------------------------------------------------------------------
 */

static enum verdict has_settled(const struct wait *wait, struct rpc_target t)
{
	const struct worker *w = rpc_target(t);

	(void)wait;
	if (w && w->pool->tasks && !taskpool_is_drained(w->pool->tasks))
		return WAITS;
	return !w || worker_is_settled(w) ? DONE : WAITS;
}

static void write_last(struct json_writer *json, struct rpc_target t)
{
	struct rpc_last last;

	rpc_last(t, &last);
	jw_object(json);
	jw_key(json, "name");
	jw_string(json, last.name);
	jw_key(json, "state");
	jw_string(json, worker_state_name(last.state));
	rpc_write_end(json, last.has_end, &last.end);
	jw_key(json, "why");
	jw_string(json, last.why);
	jw_end_object(json);
}

static void reply_joined(struct rpc_call *call)
{
	const struct wait *wait = call->state;
	struct rpc_last last = { 0 };
	struct json_writer *json = rpc_reply(call);

	if (wait->targets.count == 1)
		rpc_last(wait->targets.at[0], &last);
	jw_object(json);
	rpc_write_end(json, last.has_end, &last.end);
	jw_key(json, "workers");
	jw_array(json);
	for (unsigned i = 0; i < wait->targets.count; i++)
		write_last(json, wait->targets.at[i]);
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void join_expired(struct rpc_call *call)
{
	const struct wait *wait = call->state;

	rpc_error_text(call, CREW_ERROR_WORKER_TIMED_OUT, "name", wait->name);
}

/* A pool that takes tasks has no end before it is closed. */
static bool may_join(struct rpc_call *call, const char *name)
{
	const struct pool *p = crew_pool(name);

	if (!p || !p->tasks || p->tasks->gate != TASKPOOL_OPEN)
		return true;
	rpc_error_text(call, CREW_ERROR_POOL_STILL_RUNNING, "pool", name);
	return false;
}

void rpc_worker_join(struct rpc_call *call)
{
	const char *name = NULL;
	int64_t timeout = 0;
	struct wait *wait;
	bool limited;

	params_string(&call->params, "name", true, &name);
	limited = params_seconds(&call->params, "timeout", &timeout);
	if (!rpc_params_done(call) || !may_join(call, name))
		return;
	wait = wait_new(call, name);
	if (!wait)
		return;
	wait->finish = reply_joined;
	wait_for(call, wait, has_settled);
	if (limited && !call->done)
		rpc_deadline(call, timeout, join_expired);
}

/* ---- Run --------------------------------------------------------------------------------------
 */

static const char *const restarts[] = { [CONF_RESTART_ALWAYS] = "always",
					[CONF_RESTART_ON_FAILURE] = "on-failure",
					[CONF_RESTART_NEVER] = "never" };

static bool read_restart(struct rpc_call *call, enum conf_restart *out)
{
	const char *text = NULL;

	*out = CONF_RESTART_NEVER;
	if (!params_string(&call->params, "restart", false, &text))
		return true;
	for (int i = 0; i <= CONF_RESTART_NEVER; i++)
		if (strcmp(restarts[i], text) == 0) {
			*out = (enum conf_restart)i;
			return true;
		}
	rpc_invalid(call, "restart", "\"always\", \"on-failure\" or \"never\"");
	return false;
}

static bool check_run(struct rpc_call *call, const struct crew_run *run)
{
	if (run->command_count == 0 || !run->command[0][0]) {
		rpc_invalid(call, "command", "a program and its arguments");
		return false;
	}
	for (unsigned i = 0; i < run->environment_count; i++)
		if (!strchr(run->environment[i], '=') || run->environment[i][0] == '=') {
			rpc_invalid(call, "environment", "KEY=VALUE, each");
			return false;
		}
	if (run->directory && run->directory[0] != '/') {
		rpc_invalid(call, "directory", "an absolute path");
		return false;
	}
	return true;
}

/* False: it has replied. */
static bool read_run(struct rpc_call *call, struct crew_run *run)
{
	struct params *p = &call->params;

	if (!read_restart(call, &run->restart))
		return false;
	params_strings(p, "command", true, CREW_ARGS_MAX, (const char ***)&run->command,
		       &run->command_count);
	params_strings(p, "environment", false, CREW_ARGS_MAX, (const char ***)&run->environment,
		       &run->environment_count);
	params_string(p, "name", false, &run->name);
	params_string(p, "directory", false, &run->directory);
	return rpc_params_done(call) && check_run(call, run);
}

static void reply_running(struct rpc_call *call)
{
	const struct wait *wait = call->state;
	struct rpc_target t = wait->targets.at[0];
	struct json_writer *json;
	struct rpc_last last;

	rpc_last(t, &last);
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "name");
	jw_string(json, last.name);
	jw_key(json, "pid");
	jw_int(json, rpc_last_pid(t));
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void run_failed(struct rpc_call *call, enum crew_run_error e, const char *name)
{
	switch (e) {
	case CREW_RUN_OK:
		break;
	case CREW_RUN_BAD_NAME:
		rpc_invalid(call, "name",
			    "1 to 64 of A-Z a-z 0-9 _ . - that are no other pool's or worker's");
		break;
	case CREW_RUN_EXISTS:
		rpc_error_text(call, CREW_ERROR_WORKER_EXISTS, "name", name);
		break;
	case CREW_RUN_NO_USER:
		rpc_error_text(call, CREW_ERROR_NO_RUN_USER, NULL, NULL);
		break;
	case CREW_RUN_TOO_MANY:
		rpc_error_text(call, CREW_ERROR_TOO_MANY, NULL, NULL);
		break;
	case CREW_RUN_TOO_BIG:
		rpc_invalid(call, "command", "shorter, with its environment");
		break;
	case CREW_RUN_FAILED:
		rpc_error_text(call, CREW_ERROR_MANAGER_BUSY, "why",
			       "out of memory or file descriptors");
		break;
	case CREW_RUN_SHUTTING_DOWN:
		rpc_error_text(call, CREW_ERROR_SHUTTING_DOWN, NULL, NULL);
		break;
	}
}

static void wait_for_run(struct rpc_call *call, const struct worker *w)
{
	struct wait *wait = wait_new(call, w->name);

	if (!wait)
		return;
	wait->finish = reply_running;
	wait_for(call, wait, is_up);
}

void rpc_worker_run(struct rpc_call *call)
{
	struct crew_run run = { 0 };
	struct worker *w = NULL;

	if (read_run(call, &run)) {
		enum crew_run_error e = crew_run(&run, &w);

		if (e == CREW_RUN_OK)
			wait_for_run(call, w);
		else
			run_failed(call, e, run.name);
	}
	free((void *)run.command);
	free((void *)run.environment);
}
