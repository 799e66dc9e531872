#include "daemon/runner.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "daemon/ledger.h"
#include "daemon/pool.h"
#include "daemon/task_kind.h"
#include "daemon/taskpool.h"
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

#define WAITING_MARK                                                                               \
	CREW_MESSAGE_MAX   /* requests that a worker does not read: it is given no more */
#define GRACE USEC_PER_SEC /* between the end of a worker's output and its own */

static const struct channel_events channel_events;

static const struct conf_pool *def(const struct runner *r)
{
	return r->worker->pool->def;
}

struct runner *runner_new(struct worker *w, struct taskpool *pool)
{
	struct runner *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->worker = w;
	r->pool = pool;
	r->kind = task_kind_of(w->pool->def);
	r->line.max = CREW_RESULT_MAX + 1;
	r->idle_since = loop_now();
	list_init(&r->in_hand);
	return r;
}

static void close_channel(struct runner *r)
{
	channel_free(r->channel);
	r->channel = NULL;
	buf_free(&r->line);
}

void runner_free(struct runner *r)
{
	loop_timer_off(&r->timer);
	recycle_forget(r);
	close_channel(r);
	list_remove(&r->room);
	free(r);
}

/* ---- what it has in hand ----------------------------------------------------------------------
 */

struct task *runner_head(const struct runner *r)
{
	return list_empty(&r->in_hand) ? NULL : list_entry(r->in_hand.next, struct task, link);
}

/* What was not sent as a whole cannot have been answered. */
static struct task *if_asked(const struct runner *r, struct task *t)
{
	return t && r->channel && t->end <= channel_written(r->channel) ? t : NULL;
}

struct task *runner_oldest(const struct runner *r)
{
	return if_asked(r, runner_head(r));
}

struct task *runner_find(const struct runner *r, uint64_t number)
{
	struct task *t = task_by_number(number);

	if (!t || t->state != TASK_RUNNING || t->pool != r->pool || t->worker != r->worker->number)
		return NULL;
	return if_asked(r, t);
}

static void on_timer(void *arg);
static void limit_stale(struct runner *r);

static void set_timer(struct runner *r)
{
	const struct task *head = runner_head(r);
	int64_t limit = def(r)->task_timeout;

	if (r->stale || (r->closed && !r->doomed))
		return;
	if (!head || !limit || r->doomed) {
		if (r->timer.armed)
			loop_timer_off(&r->timer);
		return;
	}
	r->timer.fn = on_timer;
	r->timer.arg = r;
	loop_timer_at(&r->timer, (r->kind->in_order ? r->head_since : head->started) + limit);
}

/* Takes one off the hand, wherever it goes. */
static void let_go(struct runner *r, struct task *t)
{
	bool head = t == runner_head(r);

	list_remove(&t->link);
	r->count--;
	if (head)
		r->head_since = loop_now();
	if (!r->count)
		r->idle_since = loop_now();
	set_timer(r);
}

void runner_done(struct runner *r, struct task *t, enum task_state state)
{
	r->done++;
	recycle_after_task(r);
	let_go(r, t);
	taskpool_end_task(t, state);
}

/* ---- giving -----------------------------------------------------------------------------------
 */

static bool is_used_up(const struct runner *r)
{
	unsigned limit = def(r)->max_tasks_per_worker;

	return limit && r->given >= limit && !r->worker->pool->removed;
}

bool runner_may_take(const struct runner *r)
{
	const struct worker *w = r->worker;

	if (r->doomed || r->then != RUNNER_STAYS || w->leaving)
		return false;
	if (worker_is_per_task(r->worker))
		return w->state == WORKER_STOPPED && !w->off && !w->fresh && !r->count;
	return w->state == WORKER_RUNNING && r->channel && !r->closed && !r->stale &&
	       r->kind == task_kind_of(def(r)) && r->count < def(r)->prefetch && !is_used_up(r) &&
	       channel_waiting(r->channel) < WAITING_MARK;
}

static void take_in_hand(struct runner *r, struct task *t)
{
	if (!r->count)
		r->head_since = loop_now();
	list_append(&r->in_hand, &t->link);
	r->count++;
	r->given++;
	t->attempts++;
	t->worker = r->worker->number;
	task_set_state(t, TASK_RUNNING);
	if (r->count == 1)
		set_timer(r);
}

static int start_process(struct runner *r, struct task *t)
{
	struct task_exec_view v;

	task_exec_view(t, &v);
	if (worker_start_task(r->worker, &(struct child_task){ .args = v.args,
							       .args_size = v.args_size,
							       .count = v.count,
							       .input = v.input,
							       .input_size = v.input_size }) < 0)
		return -1;
	take_in_hand(r, t);
	return 0;
}

int runner_give(struct runner *r, struct task *t)
{
	struct buf *out;
	size_t before;

	if (worker_is_per_task(r->worker))
		return start_process(r, t);
	out = channel_out(r->channel);
	before = out->len;
	if (r->kind->ask(t, out) < 0) {
		out->len = before;
		return -1;
	}
	t->begin = channel_written(r->channel) + before;
	t->end = channel_written(r->channel) + out->len;
	take_in_hand(r, t);
	channel_send(r->channel);
	return 0;
}

/* ---- leaving ----------------------------------------------------------------------------------
 */

static void leave_if_idle(struct runner *r)
{
	enum runner_then then = r->then;

	if (r->count || r->stale)
		return;
	if (then == RUNNER_STAYS && worker_is_alive(r->worker) &&
	    (worker_is_per_task(r->worker) ? !r->kind->per_task : is_used_up(r)))
		then = RUNNER_RESTARTS;
	if (then == RUNNER_STAYS)
		return;
	r->then = RUNNER_STAYS;
	if (then == RUNNER_STOPS)
		worker_stop(r->worker);
	else if (worker_is_alive(r->worker))
		worker_restart(r->worker);
}

void runner_when_idle(struct runner *r, enum runner_then then)
{
	r->then = then;
	leave_if_idle(r);
	taskpool_look_at(r);
}

/* First of all: what follows must not find it able to take another task. */
static void doom(struct runner *r)
{
	r->doomed = true;
	set_timer(r);
	taskpool_hide(r);
}

/* The worker is ended for what a task of it did, not by its own fault. */
static void end_with_worker(struct runner *r, struct task *t, enum task_state state, int sig)
{
	doom(r);
	let_go(r, t);
	taskpool_end_task(t, state);
	if (!r->ended)
		worker_replace(r->worker, sig);
}

void runner_cancel(struct runner *r, struct task *t)
{
	end_with_worker(r, t, TASK_CANCELLED, def(r)->stop_signal);
}

static void on_overdue(struct runner *r)
{
	struct task *t = runner_head(r);
	char span[32], why[96];

	snprintf(why, sizeof(why), "it took longer than its task-timeout of %s",
		 text_duration_show(span, sizeof(span), def(r)->task_timeout));
	task_note_failure(t, TASK_TIMED_OUT, why);
	end_with_worker(r, t, TASK_FAILED, SIGKILL);
}

static void on_timer(void *arg)
{
	struct runner *r = arg;

	if (r->closed)
		worker_distrust(r->worker, "has closed its standard input or output");
	else if (r->stale)
		worker_replace(r->worker, SIGKILL);
	else if (runner_head(r))
		on_overdue(r);
}

void runner_ignores(struct runner *r, const char *what)
{
	log_warning(r->worker->name, "%s; that is ignored", what);
}

void runner_distrust(struct runner *r, const char *what)
{
	struct task *t = runner_head(r);
	char why[192];

	doom(r);
	if (t) {
		r->excused = true;
		snprintf(why, sizeof(why), "its worker %s", what);
		task_note_failure(t, TASK_BAD_ANSWER, why);
		let_go(r, t);
		taskpool_end_task(t, TASK_FAILED);
	}
	if (!r->ended)
		worker_distrust(r->worker, what);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void too_big(struct runner *r)
{
	struct task *t = runner_head(r);

	if (t) {
		task_note_failure(t, TASK_TOO_BIG, "its result is larger than 1 MiB");
		end_with_worker(r, t, TASK_FAILED, SIGKILL);
	} else if (r->stale) { /* asked by the manager before */
		doom(r);
		if (!r->ended)
			worker_replace(r->worker, SIGKILL);
	} else {
		runner_distrust(r, "has written more than 1 MiB that no task asked for");
	}
}

/* An answer to a task of the manager before: nobody waits for it. */
static void throw_away(struct runner *r)
{
	if (r->owed)
		r->owed--;
	ledger_set_owed(r->worker->slot, r->owed, r->dirty);
	limit_stale(r);
	if (!r->owed && !r->ended)
		worker_replace(r->worker, def(r)->stop_signal);
}

static void on_line(struct runner *r, const char *line, size_t len)
{
	if (r->stale)
		throw_away(r);
	else
		r->kind->answer(r, line, len);
}

/* Whole lines straight from what was read; only one that is cut in two is copied. */
static void on_lines(struct runner *r, const char *data, size_t len)
{
	while (len && !r->doomed) {
		const char *newline = memchr(data, '\n', len);
		size_t n = newline ? (size_t)(newline - data) : len;

		if (r->line.len + n > CREW_RESULT_MAX ||
		    (!newline || r->line.len ? buf_append(&r->line, data, n) < 0 : false)) {
			too_big(r);
			return;
		}
		if (!newline)
			return;
		if (r->line.len || n == 0)
			on_line(r, r->line.len ? buf_data(&r->line) : "", r->line.len);
		else
			on_line(r, data, n);
		buf_free(&r->line);
		data = newline + 1;
		len -= n + 1;
	}
}

static void on_data(void *arg, const char *data, size_t len)
{
	struct runner *r = arg;

	if (r->doomed)
		return;
	if (!r->kind->per_task)
		on_lines(r, data, len);
	else if (r->stale)
		return;
	else if (r->line.len + len > CREW_RESULT_MAX || buf_append(&r->line, data, len) < 0)
		too_big(r);
}

static void note_owed(const struct runner *r, bool dirty)
{
	uint64_t sent = channel_written(r->channel);
	unsigned whole = r->count;

	/* In the order they were given: those that were not sent are the last. */
	for (const struct list *e = r->in_hand.prev; e != &r->in_hand; e = e->prev) {
		if (list_entry(e, const struct task, link)->end <= sent)
			break;
		whole--;
	}
	ledger_set_owed(r->worker->slot, whole, dirty);
}

/* Only now may it get more: a second answer to the same task would else pass for one to the next. */
static void on_told(void *arg)
{
	struct runner *r = arg;

	if (!r->stale && r->channel)
		note_owed(r, channel_waiting(r->channel) > 0);
	leave_if_idle(r);
	taskpool_look_at(r);
}

static void on_writing(void *arg)
{
	const struct runner *r = arg;

	note_owed(r, true);
}

static void on_written(void *arg)
{
	struct runner *r = arg;

	note_owed(r, channel_waiting(r->channel) > 0);
	taskpool_look_at(r);
}

/* Most often it is about to be told that it has ended. If not, it can never answer. */
static void on_closed(void *arg)
{
	struct runner *r = arg;

	if (r->kind->per_task)
		return; /* it may go on without; its end is what counts */
	r->closed = true;
	taskpool_hide(r);
	if (r->doomed)
		return;
	r->timer.fn = on_timer;
	r->timer.arg = r;
	loop_timer_at(&r->timer, loop_now() + GRACE);
}

static const struct channel_events channel_events = {
	.data = on_data,
	.told = on_told,
	.writing = on_writing,
	.written = on_written,
	.closed = on_closed,
};

/* ---- events of the worker ---------------------------------------------------------------------
 */

void runner_on_pipes(struct runner *r, int in, int out)
{
	close_channel(r);
	r->channel = channel_new(in, out, &channel_events, r);
	if (!r->channel) {
		worker_distrust(r->worker, "cannot be given tasks: no memory for its pipes");
		return;
	}
	r->closed = false;
	taskpool_look_at(r);
}

static void how_it_died(struct task *t, const struct worker *w, const struct child_end *end)
{
	struct task_failure *f;
	char why[512];

	worker_describe_end(w, end, why, sizeof(why));
	f = task_note_failure(t, TASK_WORKER_DIED, why);
	if (!f || end->step)
		return;
	if (end->code == CLD_EXITED)
		f->exitcode = end->status;
	else
		f->signal = end->status;
}

/* A process of exec has ended by itself: that is the task's end. */
static void process_ended(struct runner *r, struct task *t, const struct child_end *end)
{
	bool success = conf_is_success(def(r), end->status);
	struct task_failure *f;
	char why[64];

	t->exitcode = end->status;
	if (success && !r->channel) {
		task_note_failure(t, TASK_BAD_ANSWER, "there was no descriptor to read its result");
		success = false;
	} else if (!success) {
		snprintf(why, sizeof(why), "exited %d", end->status);
		f = task_note_failure(t, TASK_OWN, why);
		if (f)
			f->exitcode = end->status;
	}
	task_lend_result(t, r->line.len ? buf_data(&r->line) : "", r->line.len, TASK_TEXT);
	let_go(r, t);
	taskpool_end_task(t, success ? TASK_SUCCEEDED : TASK_FAILED);
}

/* The oldest one that it has begun to read is the one it died of; false: it has begun none. */
static bool has_begun(const struct runner *r, const struct task *t)
{
	return r->kind->per_task || (r->channel && channel_read_by_worker(r->channel) > t->begin);
}

static void died_of(struct runner *r, struct task *t, const struct child_end *end)
{
	let_go(r, t);
	if (t->attempts <= def(r)->retries && !end->step) {
		taskpool_give_back(t);
		return;
	}
	how_it_died(t, r->worker, end);
	taskpool_end_task(t, TASK_FAILED);
}

/* The others, in their order, to the head of the queue. */
static void give_back_rest(struct runner *r)
{
	while (!list_empty(&r->in_hand)) {
		struct task *t = list_entry(r->in_hand.prev, struct task, link);

		let_go(r, t);
		t->attempts--;
		taskpool_give_back(t);
	}
}

static void forget_process(struct runner *r)
{
	close_channel(r);
	r->closed = r->doomed = r->excused = r->stale = r->dirty = r->ended = false;
	r->owed = r->given = r->done = 0;
	loop_timer_off(&r->timer);
	ledger_set_owed(r->worker->slot, 0, false);
}

int64_t runner_on_ended(struct runner *r, const struct child_end *end)
{
	int64_t delay;
	struct task *head;

	r->ended = true;
	if (r->channel)
		channel_drain(r->channel);
	/* One that has done its work may go when it likes; the next is needed at once. */
	delay = r->stale || r->done ? 0 : -1;
	head = runner_head(r);
	if (r->stale || r->doomed) {
		/* nothing it has in hand is its fault */
		if (r->excused && !r->done)
			delay = def(r)->restart_delay;
	} else if (head && r->kind->per_task && !end->step && end->code == CLD_EXITED) {
		delay = 0;
		process_ended(r, head, end);
	} else if (head && has_begun(r, head)) {
		if (!r->done)
			delay = def(r)->restart_delay;
		died_of(r, head, end);
	}
	give_back_rest(r);
	forget_process(r);
	return delay;
}

/* What it is told and what it says is of the kind that was in force when it was started. */
static void process_begins(struct runner *r)
{
	r->kind = task_kind_of(def(r));
	r->given = r->done = 0;
}

void runner_on_changed(struct runner *r)
{
	if (r->worker->state == WORKER_STARTING)
		process_begins(r);
	leave_if_idle(r);
	taskpool_look_at(r);
}

void runner_on_defined(struct runner *r)
{
	set_timer(r);
	if (worker_is_per_task(r->worker) && worker_is_alive(r->worker) &&
	    r->worker->state != WORKER_STOPPING && !r->count && !r->stale)
		runner_when_idle(r, RUNNER_RESTARTS); /* begun as something else */
	else
		taskpool_look_at(r);
}

void runner_on_found(struct runner *r, unsigned owed, bool dirty)
{
	r->stale = owed || dirty || r->kind->per_task;
	r->owed = owed;
	r->dirty = dirty;
	taskpool_hide(r);
}

/* Its task may hang: it has as long for it as if it began now. */
static void limit_stale(struct runner *r)
{
	r->timer.fn = on_timer;
	r->timer.arg = r;
	if (def(r)->task_timeout)
		loop_timer_at(&r->timer, loop_now() + def(r)->task_timeout);
}

void runner_on_recovered(struct runner *r)
{
	if (!worker_is_alive(r->worker))
		forget_process(r);
	if (!r->stale)
		return;
	limit_stale(r);
	if (r->kind->per_task)
		return;
	/* What it was asked as a whole it goes on with; the end of its input tells it to end then. */
	if (!r->owed || !r->channel)
		worker_replace(r->worker, def(r)->stop_signal);
	else if (!r->dirty) {
		channel_close_input(r->channel);
		child_close_input(r->worker->slot);
	}
}

void runner_abandon(struct runner *r)
{
	give_back_rest(r);
	forget_process(r);
}
