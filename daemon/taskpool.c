#include "daemon/taskpool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/crew.h"
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/log.h"

#define AGAIN (100 * USEC_PER_MSEC)

static const struct taskpool_events *events;

static const char *const gates[] = {
#define X(name, text) [TASKPOOL_##name] = text,
	TASKPOOL_GATES(X)
#undef X
};

void taskpool_observe(const struct taskpool_events *e)
{
	events = e;
}

const char *taskpool_gate_name(enum taskpool_gate gate)
{
	return gates[gate];
}

static const struct conf_pool *def(const struct taskpool *tp)
{
	return tp->pool->def;
}

/* ---- how many workers -------------------------------------------------------------------------
 */

static unsigned most(const struct taskpool *tp)
{
	const struct pool *p = tp->pool;

	return p->scale >= 0 ? (unsigned)p->scale : p->def->workers;
}

static unsigned least(const struct taskpool *tp)
{
	unsigned max = most(tp), min = def(tp)->min_workers;

	return tp->kind->per_task || min > max ? max : min;
}

static unsigned clamped(const struct taskpool *tp, unsigned size)
{
	if (size < least(tp))
		return least(tp);
	return size < most(tp) ? size : most(tp);
}

unsigned taskpool_size(const struct taskpool *tp)
{
	if (tp->pool->removed)
		return tp->queued || tp->in_hand ? tp->pool->count : 0;
	return clamped(tp, tp->size) + tp->surge;
}

static void resize(struct taskpool *tp, unsigned size)
{
	tp->size = size;
	tp->pool->resize = true;
	pool_mark(tp->pool);
}

/* Workers that are on their way to take tasks. */
static unsigned coming(const struct taskpool *tp)
{
	return tp->pool->in_state[WORKER_STARTING] + tp->pool->fresh;
}

static void grow(struct taskpool *tp)
{
	unsigned size = clamped(tp, tp->size), more;

	if (tp->kind->per_task || !tp->queued || size >= most(tp))
		return;
	more = tp->queued + taskpool_feed_waiting(tp);
	if (coming(tp) >= more)
		return;
	more -= coming(tp);
	resize(tp, more < most(tp) - size ? size + more : most(tp));
}

static struct runner *runner_of(const struct taskpool *tp, unsigned number)
{
	return number && number <= tp->pool->count ? tp->pool->workers[number - 1]->runner : NULL;
}

static void shrink_later(struct taskpool *tp);

static void on_shrink(void *arg)
{
	struct taskpool *tp = arg;
	const struct runner *last = runner_of(tp, clamped(tp, tp->size));

	if (!tp->surge && !tp->queued && last && !last->count &&
	    clamped(tp, tp->size) > least(tp) &&
	    loop_now() >= last->idle_since + def(tp)->idle_timeout)
		resize(tp, clamped(tp, tp->size) - 1);
	shrink_later(tp);
}

/* The last worker goes when it was idle for long enough; then the one before it, if it was, too. */
static void shrink_later(struct taskpool *tp)
{
	const struct runner *last = runner_of(tp, clamped(tp, tp->size));

	if (!last || last->count || tp->surge || tp->queued || clamped(tp, tp->size) <= least(tp)) {
		if (tp->shrink.armed)
			loop_timer_off(&tp->shrink);
		return;
	}
	tp->shrink.fn = on_shrink;
	tp->shrink.arg = tp;
	loop_timer_at(&tp->shrink, last->idle_since + def(tp)->idle_timeout);
}

/* ---- who gets the next ------------------------------------------------------------------------
 */

static bool may_give(const struct taskpool *tp)
{
	if (!tp->pool || !tp->pool->wanted || crew_is_ending() || tp->again.armed)
		return false;
	return !tp->pool->removed || !tp->kind->per_task; /* no process can be started any more */
}

static void set_idle(struct taskpool *tp, unsigned number, bool idle)
{
	uint64_t bit = UINT64_C(1) << (number - 1) % 64;
	unsigned word = (number - 1) / 64;

	if (word >= tp->idle_words)
		return;
	if (idle)
		tp->idle[word] |= bit;
	else
		tp->idle[word] &= ~bit;
}

/* Puts a runner where it is found when a task comes. */
static void place(struct taskpool *tp, struct runner *r)
{
	bool may = runner_may_take(r);

	set_idle(tp, r->worker->number, may && !r->count);
	if (!may || !r->count)
		list_remove(&r->room);
	else if (!list_linked(&r->room))
		list_append(&tp->room, &r->room);
}

static struct runner *next_runner(struct taskpool *tp)
{
	for (unsigned i = 0; i < tp->idle_words; i++)
		if (tp->idle[i])
			return runner_of(tp, i * 64 + (unsigned)__builtin_ctzll(tp->idle[i]) + 1);
	return list_empty(&tp->room) ? NULL : list_entry(tp->room.next, struct runner, room);
}

/* Counted until there are enough. */
static unsigned hands(const struct taskpool *tp, unsigned enough)
{
	unsigned n = 0, ahead = tp->kind->per_task ? 1 : def(tp)->prefetch;

	for (unsigned i = 0; i < tp->idle_words && n < enough; i++)
		n += (unsigned)__builtin_popcountll(tp->idle[i]) * ahead;
	for (const struct list *e = tp->room.next; e != &tp->room && n < enough; e = e->next) {
		unsigned count = list_entry(e, const struct runner, room)->count;

		n += count < ahead ? ahead - count : 0;
	}
	return n;
}

static bool may_grow(const struct taskpool *tp)
{
	return !tp->kind->per_task && clamped(tp, tp->size) < most(tp) &&
	       pool_may_start(tp->pool, NULL);
}

unsigned taskpool_room(const struct taskpool *tp, unsigned enough, bool grow)
{
	const char *why;
	unsigned n;

	if (taskpool_accepts(tp, &why) != TASKPOOL_OK || !may_give(tp))
		return 0;
	n = hands(tp, tp->queued + enough);
	if (n > tp->queued)
		return n - tp->queued < enough ? n - tp->queued : enough;
	return grow && !tp->queued && may_grow(tp);
}

bool taskpool_is_halted(const struct taskpool *tp)
{
	return tp->gate == TASKPOOL_OPEN && !tp->pool->removed &&
	       (!tp->pool->wanted || most(tp) == 0);
}

/* Those are found again when something else has ended. */
static bool is_passing(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM || err == EAGAIN;
}

static void on_again(void *arg)
{
	struct taskpool *tp = arg;

	pool_mark(tp->pool);
}

static void give_later(struct taskpool *tp)
{
	if (!tp->starved)
		log_warning(tp->name, "cannot hand out tasks now: %s", strerror(errno));
	tp->starved = true;
	tp->again.fn = on_again;
	tp->again.arg = tp;
	loop_timer_at(&tp->again, loop_now() + AGAIN);
}

static void fail_to_give(struct task *t, int err)
{
	char why[128];

	snprintf(why, sizeof(why), "cannot hand it to a worker: %s", strerror(err));
	task_note_failure(t, TASK_BAD_ANSWER, why);
	t->pool->in_hand++;
	taskpool_end_task(t, TASK_FAILED);
}

/* False: nobody can take it now. */
static bool give(struct taskpool *tp, struct task *t)
{
	struct runner *r = may_give(tp) ? next_runner(tp) : NULL;
	bool queued = list_linked(&t->link);
	int err;

	while (r && !runner_may_take(r)) {
		place(tp, r);
		r = next_runner(tp);
	}
	if (!r)
		return false;
	list_remove(&t->link);
	err = runner_give(r, t) < 0 ? errno : 0;
	if (is_passing(err)) {
		give_later(tp);
		if (queued)
			list_append(tp->queue.next, &t->link);
		return false;
	}
	tp->queued -= queued;
	if (err) {
		fail_to_give(t, err);
		return true;
	}
	tp->starved = false;
	tp->in_hand++;
	list_remove(&r->room); /* to its end, if it has room for more */
	place(tp, r);
	return true;
}

/* Once for all that it has refused. */
static void tell_room(struct taskpool *tp)
{
	if (!tp->refused || tp->queued >= def(tp)->backlog)
		return;
	tp->refused = false;
	events->has_room(tp);
}

static void give_all(struct taskpool *tp)
{
	if (tp->giving)
		return;
	tp->giving = true;
	while (!list_empty(&tp->queue) && give(tp, list_entry(tp->queue.next, struct task, link)))
		;
	tp->giving = false;
	tell_room(tp);
}

void taskpool_hide(struct runner *r)
{
	place(r->pool, r);
}

void taskpool_look_at(struct runner *r)
{
	struct taskpool *tp = r->pool;

	place(tp, r);
	give_all(tp);
	pool_mark(tp->pool);
}

/* ---- a task's end -----------------------------------------------------------------------------
 */

static void free_if_unused(struct taskpool *tp)
{
	if (tp->pool || tp->tasks)
		return;
	loop_timer_off(&tp->expire);
	taskpool_feed_free(tp);
	free(tp->idle);
	free(tp);
}

static void drop_task(struct task *t)
{
	struct taskpool *tp = t->pool;

	task_free(t);
	tp->tasks--;
	free_if_unused(tp);
}

static void on_expire(void *arg)
{
	struct taskpool *tp = arg;
	int64_t now = loop_now();

	tp->tasks++; /* it must not go before the end of this */
	while (!list_empty(&tp->results)) {
		struct task *t = list_entry(tp->results.next, struct task, link);

		if (t->finished + tp->result_ttl > now) {
			loop_timer_at(&tp->expire, t->finished + tp->result_ttl);
			break;
		}
		taskpool_fetched(t);
	}
	tp->tasks--;
	free_if_unused(tp);
}

static void set_ttl(struct taskpool *tp, int64_t ttl)
{
	tp->result_ttl = ttl;
	if (!list_empty(&tp->results))
		loop_timer_at(&tp->expire,
			      list_entry(tp->results.next, struct task, link)->finished + ttl);
}

static void keep(struct taskpool *tp, struct task *t)
{
	list_append(&tp->results, &t->link);
	tp->expire.fn = on_expire;
	tp->expire.arg = tp;
	if (!tp->expire.armed)
		loop_timer_at(&tp->expire, loop_now() + tp->result_ttl);
}

static void count_end(struct taskpool *tp, enum task_state state)
{
	if (state == TASK_SUCCEEDED)
		tp->succeeded++;
	else if (state == TASK_FAILED)
		tp->failed++;
	else
		tp->cancelled++;
}

/* Off any list by now; its result may only be lent. */
static void finish(struct task *t, enum task_state state)
{
	struct taskpool *tp = t->pool;

	t->state = (uint8_t)state;
	if (t->awaited || (!t->owner && !t->unwanted))
		task_keep_result(t); /* it has failed if there is no memory for that */
	count_end(tp, t->state);
	task_set_state(t, t->state);
	if (tp->pool)
		pool_mark(tp->pool);
	if (t->awaited)
		task_tell_awaited(t);
	if (t->owner)
		t->owner->ended(t, t->owner);
	else if (t->unwanted && !t->awaited)
		drop_task(t);
	else
		keep(tp, t);
}

void taskpool_end_task(struct task *t, enum task_state state)
{
	t->pool->in_hand--;
	finish(t, state);
}

void taskpool_give_back(struct task *t)
{
	struct taskpool *tp = t->pool;

	tp->in_hand--;
	if (t->unwanted || tp->gate == TASKPOOL_TERMINATED || t->kind != tp->kind) {
		finish(t, TASK_CANCELLED);
		return;
	}
	task_set_state(t, TASK_QUEUED);
	list_append(tp->queue.next, &t->link); /* before the first */
	tp->queued++;
	pool_mark(tp->pool);
}

static void end_queued(struct task *t, enum task_state state)
{
	list_remove(&t->link);
	t->pool->queued--;
	if (t->pool->pool)
		tell_room(t->pool);
	finish(t, state);
}

static void end_all_queued(struct taskpool *tp, enum task_state state, const char *why)
{
	struct list due = LIST_INIT(due), *e;

	while ((e = list_pop(&tp->queue)))
		list_append(&due, e);
	while ((e = list_pop(&due))) {
		struct task *t = list_entry(e, struct task, link);

		if (why)
			task_note_failure(t, TASK_WORKER_DIED, why);
		tp->queued--;
		finish(t, state);
	}
}

/* ---- what callers ask -------------------------------------------------------------------------
 */

enum taskpool_error taskpool_accepts(const struct taskpool *tp, const char **why)
{
	*why = NULL;
	if (tp->gate != TASKPOOL_OPEN)
		*why = gates[tp->gate];
	else if (!tp->pool || tp->pool->removed)
		*why = "removed from the configuration";
	else if (crew_is_shutting_down())
		*why = "crewd is shutting down";
	else if (!tp->pool->wanted)
		*why = "not started";
	if (*why)
		return TASKPOOL_SHUT;
	if (tp->queued < def(tp)->backlog)
		return TASKPOOL_OK;
	*why = "as many tasks wait as its backlog allows";
	return TASKPOOL_FULL;
}

/* NULL with errno; a payload is never empty. */
static struct task *make_task(struct taskpool *tp, const struct task_request *r)
{
	size_t size = tp->kind->size(r);
	struct task *t;

	errno = ENOMEM;
	t = size ? task_new(tp, size) : NULL;
	if (!t)
		return NULL;
	t->kind = tp->kind;
	if (t->kind->fill(r, t->payload) == 0)
		return t;
	task_free(t);
	errno = ENOMEM;
	return NULL;
}

enum taskpool_error taskpool_submit(struct taskpool *tp, const struct task_request *r,
				    struct task_owner *owner, uint32_t index, struct task **out,
				    const char **why)
{
	enum taskpool_error error = taskpool_accepts(tp, why);
	struct task *t;

	tp->refused |= error == TASKPOOL_FULL;
	if (error != TASKPOOL_OK)
		return error;
	t = make_task(tp, r);
	if (!t) {
		*why = errno == ENOBUFS ? "crewd keeps as many tasks and results as it may"
					: "out of memory";
		return errno == ENOBUFS ? TASKPOOL_FULL : TASKPOOL_NO_MEMORY;
	}
	t->owner = owner;
	t->index = index;
	tp->tasks++;
	tp->accepted++;
	*out = t;
	if (!list_empty(&tp->queue) || !give(tp, t)) {
		list_append(&tp->queue, &t->link);
		tp->queued++;
		pool_mark(tp->pool);
	}
	return TASKPOOL_OK;
}

void taskpool_disown(struct task *t)
{
	t->unwanted = true;
	if (task_has_ended(t)) {
		taskpool_fetched(t);
		return;
	}
	t->owner = NULL;
	if (t->state == TASK_QUEUED)
		end_queued(t, TASK_CANCELLED);
}

void taskpool_cancel(struct task *t)
{
	if (t->state == TASK_QUEUED)
		end_queued(t, TASK_CANCELLED);
	else if (t->state == TASK_RUNNING)
		runner_cancel(runner_of(t->pool, t->worker), t);
}

void taskpool_fetched(struct task *t)
{
	t->owner = NULL;
	list_remove(&t->link);
	t->fetched = true;
	if (!t->awaited)
		drop_task(t);
}

void taskpool_told(struct task *t)
{
	if (!t->owner)
		taskpool_fetched(t);
}

void taskpool_await(struct task *t)
{
	t->awaited++;
}

void taskpool_unawait(struct task *t)
{
	if (--t->awaited == 0 && t->fetched)
		drop_task(t);
}

/* ---- open, closed, terminated -----------------------------------------------------------------
 */

static void set_gate(struct taskpool *tp, enum taskpool_gate gate)
{
	tp->gate = gate;
	tp->ended = false;
	pool_save(tp->pool);
	pool_mark(tp->pool);
}

void taskpool_open(struct taskpool *tp)
{
	if (tp->gate != TASKPOOL_OPEN)
		set_gate(tp, TASKPOOL_OPEN);
}

void taskpool_close(struct taskpool *tp)
{
	if (tp->gate == TASKPOOL_OPEN)
		set_gate(tp, TASKPOOL_CLOSED);
}

static void cancel_in_hand(struct taskpool *tp)
{
	for (unsigned i = 0; i < tp->pool->count; i++) {
		struct runner *r = tp->pool->workers[i]->runner;
		struct task *t;

		while (r && (t = runner_head(r)))
			runner_cancel(r, t);
	}
}

void taskpool_terminate(struct taskpool *tp)
{
	set_gate(tp, TASKPOOL_TERMINATED);
	tp->pool->wanted = false;
	pool_save(tp->pool);
	end_all_queued(tp, TASK_CANCELLED, NULL);
	cancel_in_hand(tp);
}

bool taskpool_is_drained(const struct taskpool *tp)
{
	return tp->gate != TASKPOOL_OPEN && !tp->queued && !tp->in_hand &&
	       (!tp->pool ||
		(tp->ended && !pool_is_alive(tp->pool) && !tp->pool->in_state[WORKER_BACKOFF]));
}

/* Not open any more, and all is done: the workers end, once. */
static void end_when_done(struct taskpool *tp)
{
	if (tp->gate == TASKPOOL_OPEN || tp->queued || tp->in_hand)
		return;
	if (!tp->ended) {
		tp->ended = true;
		tp->pool->wanted = false;
		pool_save(tp->pool);
		for (unsigned i = 0; i < tp->pool->count && !tp->kind->per_task; i++)
			worker_stop(tp->pool->workers[i]);
	}
	if (taskpool_is_drained(tp))
		events->drained(tp);
}

/* ---- workers ----------------------------------------------------------------------------------
 */

static void make_room(struct taskpool *tp, unsigned number)
{
	unsigned words = (number + 63) / 64;
	uint64_t *bigger;

	if (words <= tp->idle_words)
		return;
	bigger = realloc(tp->idle, words * sizeof(*bigger));
	if (!bigger)
		return; /* such a worker is given nothing */
	memset(bigger + tp->idle_words, 0, (words - tp->idle_words) * sizeof(*bigger));
	tp->idle = bigger;
	tp->idle_words = words;
}

void taskpool_enter(struct worker *w)
{
	struct taskpool *tp = w->pool->tasks;

	if (!tp || w->runner)
		return;
	make_room(tp, w->number);
	w->runner = runner_new(w, tp);
	if (!w->runner)
		log_error(w->name, "no memory to give it tasks");
	else
		place(tp, w->runner);
}

void taskpool_leave(struct worker *w)
{
	struct runner *r = w->runner;

	if (!r)
		return;
	runner_abandon(r);
	set_idle(r->pool, w->number, false);
	runner_free(r);
	w->runner = NULL;
}

void taskpool_release(struct worker *w, enum runner_then then)
{
	/* One that is dead has nothing to finish. */
	if (w->runner && (worker_is_alive(w) || then == RUNNER_STAYS))
		runner_when_idle(w->runner, then);
	else if (then == RUNNER_STOPS)
		worker_stop(w);
	else
		worker_restart(w);
}

/* ---- the step ---------------------------------------------------------------------------------
 */

/* Nothing is left that could take a task, and nothing is under way. */
static bool is_dead(const struct taskpool *tp)
{
	const struct pool *p = tp->pool;

	if (p->removed && tp->kind->per_task)
		return true;
	if (pool_is_alive(p) || p->in_state[WORKER_BACKOFF] || tp->again.armed)
		return false;
	if (crew_is_shutting_down() || p->removed) /* none is started any more */
		return true;
	return !tp->kind->per_task && p->count && p->in_state[WORKER_FAILED] == p->count &&
	       !p->fresh && !p->resize;
}

static void fail_queued(struct taskpool *tp)
{
	char why[600], how[512] = "crewd is shutting down";

	if (tp->pool->removed)
		strcpy(how, "the pool was removed from the configuration");
	else if (tp->pool->count && !crew_is_shutting_down())
		worker_why(tp->pool->workers[0], how, sizeof(how));
	snprintf(why, sizeof(why), "no worker of %s is left: %s", tp->name, how);
	log_warning(tp->name, "%u tasks fail: no worker is left", tp->queued);
	end_all_queued(tp, TASK_FAILED, why);
}

void taskpool_step(struct taskpool *tp)
{
	give_all(tp);
	grow(tp);
	if (tp->queued && is_dead(tp))
		fail_queued(tp);
	taskpool_feed_step(tp);
	end_when_done(tp);
	if (tp->pool->removed)
		tp->pool->resize = true;
	if (crew_is_shutting_down())
		crew_look_at_end();
	shrink_later(tp);
}

/* ---- replacing workers of an older definition -------------------------------------------------
 */

static bool is_old(const struct worker *w)
{
	return worker_is_alive(w) && w->process_hash != w->pool->process_hash;
}

static struct worker *first_old(const struct taskpool *tp)
{
	for (unsigned i = 0; i < tp->pool->count; i++)
		if (is_old(tp->pool->workers[i]))
			return tp->pool->workers[i];
	return NULL;
}

static void end_surge(struct taskpool *tp)
{
	if (!tp->surge)
		return;
	tp->surge = false;
	resize(tp, tp->size);
}

/* The one that came first shows whether the new definition works; until it does the old ones stay. */
static bool surge_is_up(struct taskpool *tp, bool *failed)
{
	const struct pool *p = tp->pool;
	const struct worker *extra = p->count ? p->workers[p->count - 1] : NULL;

	*failed = extra && p->count == taskpool_size(tp) && extra->state == WORKER_FAILED;
	return extra && p->count == taskpool_size(tp) && extra->state == WORKER_RUNNING &&
	       !is_old(extra);
}

bool taskpool_roll(struct taskpool *tp)
{
	struct worker *old = tp->kind->per_task || !tp->pool->wanted ? NULL : first_old(tp);
	bool failed;

	if (!old) {
		end_surge(tp);
		return false;
	}
	if (!tp->surge) {
		tp->surge = true;
		resize(tp, clamped(tp, tp->size));
		return true;
	}
	if (surge_is_up(tp, &failed)) {
		if (!tp->pool->in_state[WORKER_STARTING] && !tp->pool->in_state[WORKER_STOPPING] &&
		    !(old->runner && old->runner->then == RUNNER_RESTARTS))
			taskpool_release(old, RUNNER_RESTARTS);
	} else if (failed) {
		log_warning(tp->name, "the first worker of the new definition has failed: those of "
				      "the old one stay");
		end_surge(tp);
		return false;
	}
	return true;
}

/* ---- defined, and gone ------------------------------------------------------------------------
 */

static struct taskpool *taskpool_new(struct pool *p)
{
	struct taskpool *tp = calloc(1, sizeof(*tp));

	if (!tp) {
		log_error(p->name, "no memory: it takes no tasks");
		return NULL;
	}
	strcpy(tp->name, p->name);
	tp->pool = p;
	list_init(&tp->queue);
	list_init(&tp->room);
	list_init(&tp->results);
	taskpool_feed_init(tp);
	return tp;
}

static void abandon_all(struct pool *p)
{
	for (unsigned i = 0; i < p->count; i++)
		if (p->workers[i])
			taskpool_leave(p->workers[i]);
}

void taskpool_gone(struct pool *p)
{
	struct taskpool *tp = p->tasks;

	if (!tp)
		return;
	tp->gate = TASKPOOL_TERMINATED;
	abandon_all(p);
	end_all_queued(tp, TASK_CANCELLED, NULL);
	taskpool_feed_gone(tp);
	loop_timer_off(&tp->shrink);
	loop_timer_off(&tp->again);
	p->tasks = NULL;
	tp->pool = NULL;
	events->drained(tp);
	free_if_unused(tp);
}

/* What waits was checked against the kind before. */
static void change_kind(struct taskpool *tp, const struct task_kind *kind)
{
	bool first = !tp->kind;

	if (!first && tp->queued)
		log_warning(tp->name, "its tasks are %s now: %u that wait are cancelled",
			    kind->name, tp->queued);
	tp->kind = kind;
	if (!first)
		end_all_queued(tp, TASK_CANCELLED, NULL);
}

void taskpool_define(struct pool *p)
{
	const struct task_kind *kind = task_kind_of(p->def);

	if (!kind) {
		taskpool_gone(p);
		return;
	}
	if (!p->tasks)
		p->tasks = taskpool_new(p);
	if (!p->tasks)
		return;
	set_ttl(p->tasks, p->def->result_ttl);
	if (p->tasks->kind != kind)
		change_kind(p->tasks, kind);
	taskpool_feed_define(p->tasks);
	for (unsigned i = 0; i < p->count; i++) {
		if (!p->workers[i])
			continue;
		taskpool_enter(p->workers[i]);
		if (p->workers[i]->runner)
			runner_on_defined(p->workers[i]->runner);
	}
}

void taskpool_restore(struct taskpool *tp, enum taskpool_gate gate)
{
	tp->gate = gate < TASKPOOL_GATE_COUNT ? gate : TASKPOOL_OPEN;
	tp->ended = tp->gate != TASKPOOL_OPEN && !tp->pool->wanted;
}

void taskpool_recovered(struct taskpool *tp)
{
	unsigned size = tp->pool->count;

	while (size && tp->pool->workers[size - 1]->leaving)
		size--;
	resize(tp, size);
}
