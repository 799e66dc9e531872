#include "daemon/pool.h"

#include <string.h>
#include "daemon/conf_plan.h"
#include "daemon/crew.h"
#include "daemon/ledger.h"
#include "daemon/pool_template.h"
#include "daemon/taskpool.h"

static const struct pool_events *events;

void pool_observe(const struct pool_events *e)
{
	events = e;
}

unsigned pool_size(const struct pool *p)
{
	if (p->tasks)
		return taskpool_size(p->tasks);
	if (p->removed)
		return 0;
	if (p->is_run)
		return 1;
	if (p->def->is_template)
		return 1 + p->spare;
	return p->scale >= 0 ? (unsigned)p->scale : p->def->workers;
}

bool pool_is_alive(const struct pool *p)
{
	return p->in_state[WORKER_STARTING] || p->in_state[WORKER_RUNNING] ||
	       p->in_state[WORKER_STOPPING];
}

bool pool_is_up(const struct pool *p)
{
	if (p->def->is_template)
		return p->wanted && pool_template(p);
	if (p->tasks && p->tasks->kind->per_task)
		return p->wanted && !p->fresh;
	return p->wanted && p->count >= pool_size(p) &&
	       p->in_state[WORKER_RUNNING] + p->exited_well >= pool_size(p);
}

static struct pool *after(const struct pool *p, uint32_t i)
{
	return crew_pool(conf_item(p->conf, p->def->after, i));
}

bool pool_may_start(const struct pool *p, const struct pool **why)
{
	if (p->removed)
		return false;
	for (uint32_t i = 0; i < p->def->after.count; i++) {
		const struct pool *before = after(p, i);

		if (!before || pool_is_up(before))
			continue;
		if (why)
			*why = before;
		return false;
	}
	if (!p->def->template || pool_template(p))
		return true;
	if (why)
		*why = pool_template_pool(p);
	return false;
}

/* Each question looks at a pool once, however many ways lead to it. */
static uint32_t question;

static bool any_before_cannot(struct pool *p);

/* Cannot come up by itself: not wanted, or all that could has settled. `after` has no cycles. One
 * that was looked at before can: else the question would have had its answer. */
static bool cannot_come_up(struct pool *p)
{
	unsigned moving = p->in_state[WORKER_STARTING] + p->in_state[WORKER_STOPPING] +
			  p->in_state[WORKER_BACKOFF];

	if (p->asked == question || pool_is_up(p) || moving || p->resize)
		return false;
	p->asked = question;
	return !p->fresh || any_before_cannot(p);
}

static bool any_before_cannot(struct pool *p)
{
	struct pool *template;

	for (uint32_t i = 0; i < p->def->after.count; i++) {
		struct pool *before = after(p, i);

		if (before && cannot_come_up(before))
			return true;
	}
	template = pool_template_pool(p);
	return template && cannot_come_up(template);
}

bool pool_is_hopeless(struct pool *p)
{
	if (++question == 0) /* what a new pool has */
		question = 1;
	return any_before_cannot(p);
}

void pool_save(const struct pool *p)
{
	struct ledger_pool r = { .wanted = p->wanted,
				 .scale = p->scale,
				 .generation = p->generation };

	if (p->tasks)
		r.gate = (uint8_t)p->tasks->gate;
	if (p->is_run)
		return;
	strcpy(r.name, p->name);
	ledger_save_pool(&r);
}

void pool_mark(struct pool *p)
{
	loop_defer(&p->step);
}

void pool_want(struct pool *p, bool wanted)
{
	p->wanted = wanted;
	pool_save(p);
	pool_mark(p);
}

void pool_scale(struct pool *p, unsigned workers)
{
	p->scale = (int)workers;
	p->resize = true;
	pool_save(p);
	pool_mark(p);
}

/* ---- the step ---------------------------------------------------------------------------------
 */

static bool hold_new(const struct pool *p)
{
	return !p->wanted || crew_is_shutting_down();
}

static void add_missing(struct pool *p)
{
	while (p->count < pool_size(p)) {
		struct worker *w = events->add_worker(p, p->count + 1);

		if (!w)
			return;
		if (!hold_new(p))
			worker_set_fresh(w);
	}
}

/* From the end, so that the numbers of those that stay have no gap. */
static void drop_surplus(struct pool *p)
{
	unsigned size = pool_size(p);

	for (unsigned n = p->count; n > size; n--) {
		struct worker *w = p->workers[n - 1];

		if (!w->leaving) {
			w->leaving = true;
			taskpool_release(w, RUNNER_STOPS);
		}
	}
	while (p->count > size && !worker_is_alive(p->workers[p->count - 1]))
		events->drop_worker(p->workers[p->count - 1]);
}

/* It may not have been told to end yet, as it has a task in hand. */
static void stay(struct worker *w)
{
	if (w->runner && worker_is_alive(w) && w->state != WORKER_STOPPING)
		taskpool_release(w, RUNNER_STAYS);
	else
		worker_restart(w);
}

/* A worker on its way out is wanted again: it stays, and starts anew when it is gone. */
static void keep_leaving(struct pool *p)
{
	unsigned size = pool_size(p);

	for (unsigned n = 0; n < p->count && n < size; n++)
		if (p->workers[n]->leaving) {
			p->workers[n]->leaving = false;
			stay(p->workers[n]);
		}
}

static void start_fresh(struct pool *p)
{
	if (!p->fresh || crew_is_shutting_down() || !pool_may_start(p, NULL))
		return;
	for (unsigned i = 0; i < p->count && p->fresh; i++)
		if (p->workers[i]->fresh)
			worker_start_now(p->workers[i]);
}

/* One at a time: the next worker is replaced when all others are up or have settled. */
static void roll_one(struct pool *p)
{
	if (p->def->is_template || (p->def->template && !pool_template(p)))
		return;
	if (p->roll && p->tasks) {
		p->roll = taskpool_roll(p->tasks);
		return;
	}
	if (!p->roll || p->in_state[WORKER_STARTING] || p->in_state[WORKER_STOPPING])
		return;
	for (; p->roll_next < p->count; p->roll_next++) {
		struct worker *w = p->workers[p->roll_next];

		if (w->process_hash == p->process_hash || !worker_is_alive(w))
			continue;
		worker_restart(w);
		return;
	}
	p->roll = false;
}

static void tell_up(struct pool *p)
{
	bool up = pool_is_up(p);

	if (up == p->was_up && !p->def->is_template) /* of a template more than that matters */
		return;
	p->was_up = up;
	events->up_changed(p);
}

static void pool_step(void *arg)
{
	struct pool *p = arg;

	if (p->tasks)
		taskpool_step(p->tasks);
	pool_template_step(p);
	if (p->resize && !p->is_run) {
		keep_leaving(p);
		add_missing(p);
		drop_surplus(p);
		p->resize = p->count != pool_size(p);
	}
	if (p->removed && p->count == 0) {
		events->drop_pool(p);
		return;
	}
	roll_one(p);
	start_fresh(p);
	tell_up(p);
}

/* ---- made and changed -------------------------------------------------------------------------
 */

void pool_init(struct pool *p, const char *name)
{
	strcpy(p->name, name);
	p->scale = -1;
	p->run_block = -1;
	p->step.fn = pool_step;
	p->step.arg = p;
}

/* What could not be started may well start with what the new definition says; and workers of task pools
 * do not stay where they have ended. */
static void retry_failed(struct pool *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct worker *w = p->workers[i];

		if (w->state == WORKER_FAILED ||
		    (w->state == WORKER_EXITED && p->def->tasks && p->wanted))
			worker_start(w);
	}
}

/* The pool was on its way out and is not any more. */
static void start_stopped(struct pool *p)
{
	for (unsigned i = 0; i < p->count && p->wanted; i++)
		if (!worker_is_alive(p->workers[i]))
			worker_start(p->workers[i]);
}

/* Those of exec that waited for a task without a process have to have one now. */
static void start_waiting(struct pool *p)
{
	for (unsigned i = 0; i < p->count && p->wanted; i++) {
		struct worker *w = p->workers[i];

		if (w->state == WORKER_STOPPED && !w->off && !w->leaving)
			worker_set_fresh(w);
	}
}

void pool_define(struct pool *p, const struct conf *conf, const struct conf_pool *def,
		 uint32_t index)
{
	bool first = !p->def;
	uint64_t hash = conf_process_hash(conf, def);
	bool changed = !first && hash != p->conf_hash;
	bool was_exec = !first && p->def->tasks == CONF_TASKS_EXEC;
	bool back = p->removed;

	p->conf = conf;
	p->def = def;
	p->index = index;
	p->conf_hash = hash;
	p->process_hash = pool_template_hash(p);
	p->removed = false;
	p->resize = true;
	p->roll = true; /* cheap when there is nothing to do */
	p->roll_next = 0;
	if (!p->is_run)
		taskpool_define(p); /* before any worker may be given what waits */
	if (changed)
		retry_failed(p);
	if (back)
		start_stopped(p);
	if (was_exec && def->tasks != CONF_TASKS_EXEC)
		start_waiting(p);
	pool_mark(p);
}

/* The keeper starts what the configuration in force says, which is nothing of this pool: what is not alive
 * now will not be. Those that are go on with tasks that wait. */
void pool_remove(struct pool *p)
{
	p->removed = p->resize = true;
	for (unsigned i = 0; i < p->count; i++)
		if (!worker_is_alive(p->workers[i]))
			worker_stop(p->workers[i]);
		else if (p->workers[i]->runner) /* it is not replaced after so many any more */
			taskpool_look_at(p->workers[i]->runner);
	pool_mark(p);
}
