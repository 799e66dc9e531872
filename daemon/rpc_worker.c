#include "daemon/rpc_worker.h"

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "daemon/crew.h"
#include "daemon/output.h"
#include "daemon/rpc_manager.h"
#include "lib/bounds.h"
#include "lib/text.h"

_Static_assert(CREW_WORKERS_MAX <= UINT16_MAX + 1, "a slot fits in rpc_target");

/* ---- workers across a wait --------------------------------------------------------------------
 */

#define GRAVES 512 /* workers that left the table, remembered for those who wait for them */

static struct slot_note {
	uint16_t generation; /* counts the workers that the slot has had */
	pid_t pid;	     /* of its last process */
} notes[CREW_WORKERS_MAX];

static struct {
	struct rpc_target target;
	struct rpc_last last;
} graves[GRAVES];
static unsigned next_grave, ends;

static struct rpc_target target_of(const struct worker *w)
{
	return (struct rpc_target){ .slot = (uint16_t)w->slot,
				    .generation = notes[w->slot].generation };
}

struct worker *rpc_target(struct rpc_target t)
{
	return notes[t.slot].generation == t.generation ? crew_slot(t.slot) : NULL;
}

/* The template whose failure is the reason; NULL: none is. */
static const struct worker *to_blame(const struct worker *w)
{
	if (w->pool->def->is_template)
		return w->state == WORKER_FAILED ? w : NULL;
	return w->fresh || w->blame == WORKER_BLAME_TEMPLATE ? pool_failed_template(w->pool) : NULL;
}

char *rpc_why(const struct worker *w, char *buf, size_t size)
{
	const struct worker *t = to_blame(w);
	char words[RPC_WHY_MAX / 2];
	size_t n = strlen(worker_why(w, buf, size));

	if (t && *output_last_words(t, 3, words, sizeof(words)))
		snprintf(buf + n, size - n, "; its last lines: %s", words);
	return buf;
}

static void note_last(const struct worker *w, struct rpc_last *last)
{
	strcpy(last->name, w->name);
	last->state = w->state;
	last->has_end = w->has_end;
	last->end = w->end;
	rpc_why(w, last->why, sizeof(last->why));
}

void rpc_last(struct rpc_target t, struct rpc_last *last)
{
	const struct worker *w = rpc_target(t);

	if (w) {
		note_last(w, last);
		return;
	}
	for (unsigned i = 0; i < GRAVES; i++)
		if (graves[i].last.name[0] && graves[i].target.slot == t.slot &&
		    graves[i].target.generation == t.generation) {
			*last = graves[i].last;
			return;
		}
	*last = (struct rpc_last){ .state = WORKER_STOPPED };
}

pid_t rpc_last_pid(struct rpc_target t)
{
	return notes[t.slot].generation == t.generation ? notes[t.slot].pid : 0;
}

unsigned rpc_ends(void)
{
	return ends;
}

void rpc_worker_changed(struct worker *w, enum worker_state from)
{
	if (w->pid)
		notes[w->slot].pid = w->pid;
	if (!worker_is_alive(w))
		ends++;
	rpc_tell_change(w, from);
	rpc_happened(RPC_KEY_WORKERS);
}

void rpc_worker_gone(struct worker *w)
{
	graves[next_grave].target = target_of(w);
	note_last(w, &graves[next_grave].last);
	next_grave = (next_grave + 1) % GRAVES;
	notes[w->slot].generation++;
	notes[w->slot].pid = 0;
	rpc_happened(RPC_KEY_WORKERS);
	rpc_happened(RPC_KEY_OUTPUT);
}

/* ---- what a name means ------------------------------------------------------------------------
 */

/* Whether it is there already. Targets are gathered one set after the other, within a turn. */
static bool is_among(struct rpc_targets *t, unsigned slot)
{
	static uint32_t last_id, of[CREW_WORKERS_MAX];
	bool is;

	if (!t->id)
		t->id = ++last_id ? last_id : ++last_id;
	is = of[slot] == t->id;
	of[slot] = t->id;
	return is;
}

static bool add(struct worker *w, void *arg)
{
	struct rpc_targets *t = arg;

	if (is_among(t, w->slot))
		return true;
	if (t->count == t->capacity) {
		unsigned capacity = t->capacity ? 2 * t->capacity : 4;
		struct rpc_target *at = realloc(t->at, capacity * sizeof(*at));

		if (!at) {
			t->failed = true;
			return false;
		}
		t->at = at;
		t->capacity = capacity;
	}
	t->at[t->count++] = target_of(w);
	return true;
}

static bool names_a_pool(const char *pattern)
{
	if (strlen(pattern) > CREW_GLOB_MAX)
		return false;
	list_foreach(e, n,
		     crew_pools()) if (fnmatch(pattern, list_entry(e, struct pool, link)->name,
					       0) == 0) return true;
	return false;
}

/* -1: no memory, it has replied; else how many. */
static int add_matching(struct rpc_targets *t, struct rpc_call *call, const char *pattern)
{
	unsigned named = crew_match(pattern, add, t);

	if (!t->failed)
		return (int)named;
	rpc_no_memory(call);
	return -1;
}

bool rpc_targets_add_all(struct rpc_targets *t, struct rpc_call *call)
{
	return add_matching(t, call, "*") >= 0;
}

bool rpc_targets_add(struct rpc_targets *t, struct rpc_call *call, const char *name)
{
	int named;

	if (strpbrk(name, "*?[") && ++t->globs > CREW_GLOBS_MAX) {
		rpc_invalid(call, "names", "fewer names with wildcards");
		return false;
	}
	named = add_matching(t, call, name);
	if (named < 0)
		return false;
	if (named || names_a_pool(name))
		return true;
	rpc_error_text(call, CREW_ERROR_NO_SUCH_WORKER, "name", name);
	return false;
}

void rpc_targets_free(struct rpc_targets *t)
{
	free(t->at);
	*t = (struct rpc_targets){ 0 };
}

void rpc_write_end(struct json_writer *json, bool has_end, const struct child_end *end)
{
	bool ran = has_end && !end->step;

	jw_key(json, "exitcode");
	if (ran && end->code == CLD_EXITED)
		jw_int(json, end->status);
	else
		jw_null(json);
	jw_key(json, "signal");
	if (ran && end->code != CLD_EXITED)
		jw_int(json, end->status);
	else
		jw_null(json);
}

/* ---- methods that do not wait -----------------------------------------------------------------
 */

static bool any_alive(struct worker *w, void *arg)
{
	bool *alive = arg;

	*alive = worker_is_alive(w);
	return !*alive;
}

/* False: nothing has that name. */
static bool look_up_alive(const char *name, bool *alive)
{
	const struct worker *w = crew_worker(name);

	*alive = w && worker_is_alive(w);
	return w || crew_match(name, any_alive, alive) || names_a_pool(name);
}

static void is_alive(struct rpc_call *call)
{
	const char *name = NULL;
	struct json_writer *json;
	bool alive;

	params_string(&call->params, "name", true, &name);
	if (!rpc_params_done(call))
		return;
	if (!look_up_alive(name, &alive)) {
		rpc_error_text(call, CREW_ERROR_NO_SUCH_WORKER, "name", name);
		return;
	}
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "alive");
	jw_bool(json, alive);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

/* "TERM", "SIGTERM", "15", or a number. */
static bool read_signal(struct rpc_call *call, int *sig)
{
	struct params *p = &call->params;
	const char *text = NULL;
	int64_t number = 0;

	if (!json_get_string(call->message.params, "signal")) {
		params_int(p, "signal", true, 1, SIGRTMAX, &number);
		*sig = (int)number;
		return rpc_params_done(call);
	}
	params_string(p, "signal", true, &text);
	if (!rpc_params_done(call))
		return false;
	*sig = text_signal(text);
	if (*sig < 0)
		rpc_invalid(call, "signal", "a signal's name, such as TERM or HUP, or its number");
	return *sig >= 0;
}

static unsigned signal_all(const struct rpc_targets *t, int sig)
{
	unsigned count = 0;

	for (unsigned i = 0; i < t->count; i++) {
		struct worker *w = rpc_target(t->at[i]);

		if (!w || !worker_is_alive(w))
			continue;
		worker_signal(w, sig);
		count++;
	}
	return count;
}

static void send_signal(struct rpc_call *call)
{
	struct rpc_targets t = { 0 };
	const char *name = NULL;
	int sig;

	params_string(&call->params, "name", true, &name);
	if (!read_signal(call, &sig))
		return;
	if (!rpc_targets_add(&t, call, name))
		goto out;
	if (signal_all(&t, sig))
		rpc_reply_empty(call);
	else
		rpc_error_text(call, CREW_ERROR_WORKER_NOT_ALIVE, "name", name);
out:
	rpc_targets_free(&t);
}

/* 0, or what crew_forget() says of the first that cannot be; *name is its. */
static int forget_all(const struct rpc_targets *t, const char **name)
{
	for (unsigned i = 0; i < t->count; i++) {
		struct worker *w = rpc_target(t->at[i]);

		if (!w || crew_forget(w) == 0)
			continue;
		*name = w->name;
		return errno;
	}
	return 0;
}

static void forget(struct rpc_call *call)
{
	struct rpc_targets t = { 0 };
	const char *name = NULL;
	int err;

	params_string(&call->params, "name", true, &name);
	if (!rpc_params_done(call))
		return;
	if (!rpc_targets_add(&t, call, name))
		goto out;
	err = forget_all(&t, &name);
	if (!err)
		rpc_reply_empty(call);
	else if (err == EBUSY)
		rpc_error_text(call, CREW_ERROR_WORKER_STILL_ALIVE, "name", name);
	else
		rpc_invalid(call, "name",
			    "a worker that `run` has started: this one is in the configuration");
out:
	rpc_targets_free(&t);
}

const struct rpc_method rpc_worker_methods[] = {
	{ .name = "io.crewd.Worker.List", .handle = rpc_worker_list },
	{ .name = "io.crewd.Worker.IsAlive", .handle = is_alive },
	{ .name = "io.crewd.Worker.Start", .handle = rpc_worker_start, .writes = true },
	{ .name = "io.crewd.Worker.Terminate", .handle = rpc_worker_terminate, .writes = true },
	{ .name = "io.crewd.Worker.Kill", .handle = rpc_worker_kill, .writes = true },
	{ .name = "io.crewd.Worker.Signal", .handle = send_signal, .writes = true },
	{ .name = "io.crewd.Worker.Restart", .handle = rpc_worker_restart, .writes = true },
	{ .name = "io.crewd.Worker.Join", .handle = rpc_worker_join },
	{ .name = "io.crewd.Worker.Run", .handle = rpc_worker_run, .writes = true },
	{ .name = "io.crewd.Worker.Forget", .handle = forget, .writes = true },
	{ .name = "io.crewd.Worker.Logs", .handle = rpc_worker_logs },
	{ .name = NULL },
};
