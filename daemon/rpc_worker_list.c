/* io.crewd.Worker.List. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/crew.h"
#include "daemon/memory.h"
#include "daemon/procfs.h"
#include "daemon/rpc_manager.h"
#include "daemon/rpc_worker.h"
#include "lib/clock.h"

#define ROWS_A_REPLY 256
#define NAMES_MAX    4096

struct listing {
	struct rpc_targets targets;
	unsigned next;
	/* `sharing`: what was measured, by target; NULL: it was not asked for */
	struct memory *memory;
	struct memory_query query;
	struct rpc_call *call;
};

static void drop_listing(struct rpc_call *call)
{
	struct listing *l = call->state;

	if (l) {
		memory_forget(&l->query);
		rpc_targets_free(&l->targets);
		free(l->memory);
	}
	free(l);
}

/* ---- a row ------------------------------------------------------------------------------------
 */

static void int_or_null(struct json_writer *json, const char *key, bool known, int64_t value)
{
	jw_key(json, key);
	if (known)
		jw_int(json, value);
	else
		jw_null(json);
}

static void seconds_or_null(struct json_writer *json, const char *key, bool known, double seconds)
{
	jw_key(json, key);
	if (known)
		jw_double(json, seconds);
	else
		jw_null(json);
}

static void write_times(struct json_writer *json, const struct worker *w)
{
	int64_t age = clock_now() - w->started;
	bool alive = w->pid != 0;

	seconds_or_null(json, "started", w->started != 0, rpc_wall_time(w->started));
	seconds_or_null(json, "uptime", alive && w->started != 0, (double)age / USEC_PER_SEC);
}

static void write_sharing(struct json_writer *json, const struct memory *m)
{
	int_or_null(json, "pss", m->pss >= 0, m->pss);
	int_or_null(json, "uss", m->uss >= 0, m->uss);
	int_or_null(json, "shared", m->rss >= 0, m->rss - m->uss);
}

/* `m`: what was measured, or NULL. */
static void write_row(struct json_writer *json, const struct worker *w, const struct memory *m)
{
	int64_t memory = m && m->rss >= 0 ? m->rss : w->pid ? procfs_resident(w->pid) : -1;
	char why[RPC_WHY_MAX];

	jw_object(json);
	jw_key(json, "name");
	jw_string(json, w->name);
	jw_key(json, "pool");
	jw_string(json, w->pool->is_run ? NULL : w->pool->name);
	jw_key(json, "template");
	jw_string(json, conf_text(w->pool->conf, w->pool->def->template));
	jw_key(json, "state");
	jw_string(json, worker_state_name(w->state));
	jw_key(json, "alive");
	jw_bool(json, worker_is_alive(w));
	int_or_null(json, "pid", w->pid != 0, w->pid);
	rpc_write_end(json, w->has_end, &w->end);
	jw_key(json, "restarts");
	jw_int(json, w->restarts);
	write_times(json, w);
	int_or_null(json, "memory", memory >= 0, memory);
	if (m)
		write_sharing(json, m);
	jw_key(json, "why");
	jw_string(json, rpc_why(w, why, sizeof(why)));
	jw_end_object(json);
}

/* ---- the answer, in parts with `more` ---------------------------------------------------------
 */

static void write_rows(struct rpc_call *call, struct listing *l, unsigned until)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "workers");
	jw_array(json);
	for (; l->next < until && jw_ok(json); l->next++) {
		const struct worker *w = rpc_target(l->targets.at[l->next]);

		if (w)
			write_row(json, w, l->memory ? &l->memory[l->next] : NULL);
	}
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, until < l->targets.count);
}

static void resume(struct rpc_call *call)
{
	struct listing *l = call->state;
	unsigned left = l->targets.count - l->next;

	if (rpc_is_congested(call))
		return;
	write_rows(call, l, l->next + (left < ROWS_A_REPLY ? left : ROWS_A_REPLY));
	if (!call->done)
		rpc_park(call, RPC_KEY_NEXT, resume);
}

static bool find_all(struct rpc_call *call, struct listing *l, const char **names, unsigned count)
{
	if (!names)
		return rpc_targets_add_all(&l->targets, call);
	for (unsigned i = 0; i < count; i++)
		if (!rpc_targets_add(&l->targets, call, names[i]))
			return false;
	return true;
}

static void answer(struct rpc_call *call, struct listing *l)
{
	if (call->message.more)
		resume(call);
	else
		write_rows(call, l, l->targets.count);
}

/* ---- with what they share ---------------------------------------------------------------------
 */

/* What workers were forked from is told with them. */
static bool add_templates(struct rpc_call *call, struct listing *l)
{
	const char *last = NULL;

	for (unsigned i = 0; i < l->targets.count; i++) {
		const struct worker *w = rpc_target(l->targets.at[i]);
		const char *name = w ? conf_text(w->pool->conf, w->pool->def->template) : NULL;

		if (!name || (last && strcmp(name, last) == 0) || !crew_pool(name))
			continue;
		last = name;
		if (!rpc_targets_add(&l->targets, call, name))
			return false;
	}
	return true;
}

static void measured(struct memory_query *q)
{
	struct listing *l = list_entry(q, struct listing, query);
	struct rpc_call *call = l->call;

	if (call->message.more) {
		rpc_park(call, RPC_KEY_NEXT, resume);
		return;
	}
	answer(call, l);
	if (call->done)
		rpc_end(call);
}

static void never(struct rpc_call *call)
{
	(void)call;
}

static void measure(struct rpc_call *call, struct listing *l)
{
	if (!add_templates(call, l))
		return;
	l->memory = calloc(l->targets.count + 1, sizeof(*l->memory));
	if (!l->memory) {
		rpc_no_memory(call);
		return;
	}
	for (unsigned i = 0; i < l->targets.count; i++)
		l->memory[i].slot = l->targets.at[i].slot;
	l->call = call;
	l->query =
		(struct memory_query){ .of = l->memory, .count = l->targets.count, .done = measured };
	rpc_park(call, RPC_KEY_MEMORY, never);
	if (!call->done)
		memory_ask(&l->query);
}

static void begin(struct rpc_call *call, const char **names, unsigned count, bool sharing)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l) {
		rpc_no_memory(call);
		return;
	}
	call->state = l;
	call->drop = drop_listing;
	if (!find_all(call, l, names, count))
		return;
	if (sharing)
		measure(call, l);
	else
		answer(call, l);
}

void rpc_worker_list(struct rpc_call *call)
{
	const char **names = NULL;
	unsigned count = 0;
	bool sharing = false;

	params_bool(&call->params, "sharing", &sharing);
	params_strings(&call->params, "names", false, NAMES_MAX, &names, &count);
	if (rpc_params_done(call))
		begin(call, names, count, sharing);
	free(names);
}
