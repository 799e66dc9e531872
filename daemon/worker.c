#include "daemon/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "daemon/wire.h"
#include "daemon/ledger.h"
#include "daemon/pool.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

static const struct worker_observer *observer;
static bool hold_restarts;

static const struct {
	const char *text;
	bool alive;
} states[] = {
#define X(name, t, a) [WORKER_##name] = { .text = t, .alive = a },
	WORKER_STATES(X)
#undef X
};

void worker_observe(const struct worker_observer *o)
{
	observer = o;
}

void worker_hold_restarts(bool hold)
{
	hold_restarts = hold;
}

const char *worker_state_name(enum worker_state s)
{
	return states[s].text;
}

bool worker_is_alive(const struct worker *w)
{
	return states[w->state].alive;
}

static bool succeeded(const struct worker *w)
{
	const struct child_end *e = &w->end;

	return w->has_end && !e->step && e->code == CLD_EXITED &&
	       conf_is_success(w->pool->def, e->status);
}

bool worker_is_per_task(const struct worker *w)
{
	return w->pool->def->tasks == CONF_TASKS_EXEC;
}

bool worker_is_up(const struct worker *w)
{
	if (worker_is_per_task(w) && !w->off && !w->fresh)
		return true;
	return w->state == WORKER_RUNNING || (w->state == WORKER_EXITED && succeeded(w));
}

bool worker_is_settled(const struct worker *w)
{
	if (w->fresh && !hold_restarts && !w->leaving)
		return pool_is_hopeless(w->pool);
	return !worker_is_alive(w) && w->state != WORKER_BACKOFF;
}

/* ---- in words ---------------------------------------------------------------------------------
 */

static const char *const step_texts[] = {
#define X(name, text) [WIRE_STEP_##name] = text,
	WIRE_STEPS(X)
#undef X
};

/* What the step was about, for those where that is worth a word. */
static const char *step_object(const struct worker *w, const struct child_end *e)
{
	const struct conf_pool *d = w->pool->def;

	if (e->step == WIRE_STEP_EXEC && d->command.count)
		return conf_item(w->pool->conf, d->command, 0);
	if (e->step == WIRE_STEP_DIRECTORY)
		return conf_text(w->pool->conf, d->directory);
	if (e->step == WIRE_STEP_USER || e->step == WIRE_STEP_GROUPS)
		return conf_text(w->pool->conf, d->user);
	return NULL;
}

static void why_not_started(const struct worker *w, const struct child_end *e, char *buf,
			    size_t size)
{
	int step = e->step > 0 && e->step < WIRE_STEP_COUNT ? e->step : WIRE_STEP_SPEC;
	const char *object = step_object(w, e);

	if (object && step == WIRE_STEP_EXEC)
		snprintf(buf, size, "cannot run %s: %s", object, strerror(e->err));
	else
		snprintf(buf, size, "cannot %s%s%s%s%s", step_texts[step], object ? " " : "",
			 object ? object : "", e->err ? ": " : "", e->err ? strerror(e->err) : "");
}

static void why_waiting(const struct worker *w, char *buf, size_t size)
{
	const struct pool *missing = NULL;

	if (pool_may_start(w->pool, &missing) || !missing)
		return;
	if (missing->def->is_template && pool_failed_template(missing))
		pool_why_no_template(w->pool, buf, size);
	else if (missing->def->is_template)
		snprintf(buf, size, "waits for template %s, which is not warm", missing->name);
	else
		snprintf(buf, size, "waits for pool %s, which is not running", missing->name);
}

char *worker_describe_end(const struct worker *w, const struct child_end *e, char *buf, size_t size)
{
	if (e->step)
		why_not_started(w, e, buf, size);
	else if (e->code == CLD_EXITED)
		snprintf(buf, size, "exited %d", e->status);
	else
		snprintf(buf, size, "killed by %s%s", text_signal_name(e->status),
			 e->code == CLD_DUMPED ? " (core dumped)"
			 : e->oom	       ? " (out of memory)"
					       : "");
	return buf;
}

static const char *const blames[] = {
	[WORKER_BLAME_LATE] = "not ready within its start-timeout",
	[WORKER_BLAME_SILENT] = "silent for longer than its watchdog allows",
	[WORKER_BLAME_THREADS] = "it has more than one thread, of which a fork copies only one; "
				 "start threads in the workers",
};

char *worker_why(const struct worker *w, char *buf, size_t size)
{
	size_t len;

	buf[0] = '\0';
	if (w->blame == WORKER_BLAME_TEMPLATE) {
		pool_why_no_template(w->pool, buf, size);
		return buf;
	}
	if (w->fresh)
		why_waiting(w, buf, size);
	else if (w->has_end && w->state != WORKER_RUNNING)
		worker_describe_end(w, &w->end, buf, size);
	len = strlen(buf);
	if (len && w->blame && !w->fresh && !w->end.step && !worker_is_alive(w))
		snprintf(buf + len, size - len, ": %s", blames[w->blame]);
	return buf;
}

/* The whole story of an end in one line, what comes next included. */
static void log_end(const struct worker *w, pid_t pid, const char *next)
{
	char object[CREW_NAME_MAX + 24], why[512], ran[32];
	enum log_level level =
		succeeded(w) || w->state == WORKER_STOPPED ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;

	snprintf(object, sizeof(object), pid ? "%s[%d]" : "%s", w->name, pid);
	worker_why(w, why, sizeof(why));
	if (w->end.step)
		log_line(LOG_LEVEL_WARNING, object, "%s%s", why, next);
	else
		log_line(level, object, "%s after %s%s", why,
			 text_duration_show(ran, sizeof(ran), w->end.ended - w->end.started), next);
}

/* ---- state ------------------------------------------------------------------------------------
 */

void worker_save(struct worker *w)
{
	struct ledger_worker r = {
		.is_run = w->pool->is_run,
		.state = (uint8_t)w->state,
		.has_end = w->has_end,
		.off = w->off,
		.fresh = w->fresh,
		.start_again = w->start_again,
		.leaving = w->leaving,
		.unready = w->unready,
		.failing = w->failing,
		.forced = w->forced,
		.signalled = w->signalled,
		.blame = w->blame,
		.number = w->number,
		.restarts = w->restarts,
		.failures = w->failures,
		.window_count = w->window_count,
		.window_ran = w->window_ran,
		.started = w->started,
		.changed = w->changed,
		.due = w->due,
		.process_hash = w->process_hash,
		.end = w->end,
	};

	strcpy(r.name, w->name);
	strcpy(r.pool, w->pool->name);
	ledger_save_worker(w->slot, &r);
}

static void on_timer(void *arg);

static void timer_at(struct worker *w, int64_t when)
{
	w->due = when;
	w->timer.fn = on_timer;
	w->timer.arg = w;
	loop_timer_at(&w->timer, when);
}

static void timer_off(struct worker *w)
{
	w->due = 0;
	loop_timer_off(&w->timer);
}

static void set_pid(struct worker *w, pid_t pid)
{
	pid_t was = w->pid;

	if (pid == was)
		return;
	w->pid = pid;
	observer->pid(w, was);
}

static void count(struct worker *w, int by)
{
	struct pool *p = w->pool;

	p->in_state[w->state] += by;
	if (w->state == WORKER_EXITED && succeeded(w))
		p->exited_well += by;
	if (w->fresh)
		p->fresh += by;
}

static void set_fresh(struct worker *w, bool fresh)
{
	if (w->fresh == fresh)
		return;
	w->fresh = fresh;
	w->pool->fresh += fresh ? 1 : -1;
}

static void save_able(struct worker *w)
{
	worker_save(w);
	observer->able(w);
}

/* The one place where a state changes. `end`: of the process that has ended, if one has. */
static void set_state(struct worker *w, enum worker_state to, const struct child_end *end)
{
	enum worker_state from = w->state;

	count(w, -1);
	if (end) {
		w->end = *end;
		w->has_end = true;
	}
	w->state = to;
	count(w, 1);
	w->changed = loop_now();
	worker_save(w);
	pool_mark(w->pool);
	observer->changed(w, from);
}

void worker_enter(struct worker *w)
{
	count(w, 1);
	w->changed = loop_now();
	worker_save(w);
}

void worker_leave(struct worker *w)
{
	timer_off(w);
	count(w, -1);
}

void worker_set_fresh(struct worker *w)
{
	set_fresh(w, true);
	save_able(w);
	pool_mark(w->pool);
}

/* ---- starting ---------------------------------------------------------------------------------
 */

static void begin_process(struct worker *w)
{
	const struct conf_pool *d = w->pool->def;

	timer_off(w);
	set_fresh(w, false);
	w->start_again = w->failing = w->forced = w->signalled = false;
	w->blame = WORKER_BLAME_NONE;
	w->unready = d->ready == CONF_READY_NOTIFY;
	w->process_hash = w->pool->process_hash;
	w->started = loop_now();
	if (w->unready || d->template)
		timer_at(w, loop_now() + d->start_timeout);
	set_state(w, WORKER_STARTING, NULL);
}

/* One of exec waits for its next task instead. */
static void become_idle(struct worker *w)
{
	set_fresh(w, false);
	if (w->state == WORKER_STOPPED)
		save_able(w);
	else
		set_state(w, WORKER_STOPPED, NULL);
}

/* Until its template is there it waits as one does whose pool comes after another. */
static void wait_for_template(struct worker *w)
{
	timer_off(w);
	if (w->state == WORKER_BACKOFF || w->state == WORKER_STARTING)
		set_state(w, WORKER_STOPPED, NULL);
	worker_set_fresh(w);
}

static void fork_from_template(struct worker *w)
{
	const struct worker *template = pool_template(w->pool);

	if (!template) {
		wait_for_template(w);
		return;
	}
	begin_process(w);
	child_fork(w->slot, w->name, w->pool->index, template->slot);
}

void worker_start_now(struct worker *w)
{
	if (worker_is_per_task(w)) {
		become_idle(w);
		return;
	}
	if (w->pool->def->template) {
		fork_from_template(w);
		return;
	}
	begin_process(w);
	child_spawn(w->slot, w->name, w->pool->is_run ? UINT32_MAX : w->pool->index,
		    w->pool->is_run ? w->pool->run_block : -1);
}

int worker_start_task(struct worker *w, const struct child_task *task)
{
	if (child_spawn_task(w->slot, w->name, w->pool->index, task) < 0)
		return -1;
	begin_process(w);
	return 0;
}

static void begin_anew(struct worker *w)
{
	w->off = false;
	w->blame = WORKER_BLAME_NONE;
	w->restarts = w->failures = w->window_count = 0;
	w->window_ran = 0;
}

void worker_start(struct worker *w)
{
	if (w->leaving || hold_restarts || (worker_is_alive(w) && w->state != WORKER_STOPPING))
		return;
	begin_anew(w);
	if (w->state == WORKER_STOPPING) {
		w->start_again = true;
		worker_save(w);
	} else if (pool_may_start(w->pool, NULL)) {
		worker_start_now(w);
	} else {
		timer_off(w);
		if (w->state == WORKER_BACKOFF)
			set_state(w, WORKER_STOPPED, NULL);
		worker_set_fresh(w);
	}
}

static void now_running(struct worker *w)
{
	const struct conf_pool *d = w->pool->def;
	char object[CREW_NAME_MAX + 24];

	w->unready = false;
	timer_off(w);
	if (d->watchdog)
		timer_at(w, loop_now() + d->watchdog);
	snprintf(object, sizeof(object), "%s[%d]", w->name, w->pid);
	set_state(w, WORKER_RUNNING, NULL);
	if (worker_is_per_task(w)) /* one for each task would bury all else */
		log_debug(object, "running");
	else
		log_info(object, "running");
}

void worker_on_forked(struct worker *w, pid_t pid)
{
	set_pid(w, pid);
}

void worker_on_running(struct worker *w, pid_t pid, int64_t started)
{
	set_pid(w, pid);
	w->started = started;
	if (w->state == WORKER_STARTING && !w->unready)
		now_running(w);
	else
		worker_save(w);
}

void worker_on_ready(struct worker *w)
{
	if (w->state == WORKER_STARTING && w->unready)
		now_running(w);
}

void worker_on_watchdog(struct worker *w)
{
	if (w->state == WORKER_RUNNING && w->pool->def->watchdog)
		timer_at(w, loop_now() + w->pool->def->watchdog);
}

void worker_on_stopping(struct worker *w)
{
	log_debug(w->name, "says that it is ending");
}

/* ---- ending -----------------------------------------------------------------------------------
 */

/* SIGKILL was asked for and the process is still there: only the kernel can be holding it. */
#define ASK_AGAIN (5 * USEC_PER_SEC)

static void enter_stopping(struct worker *w, int sig, bool all)
{
	bool kill = sig == SIGKILL;

	w->forced = kill;
	w->signalled = false;
	w->unready = false;
	timer_at(w, loop_now() + (kill ? ASK_AGAIN : w->pool->def->stop_timeout));
	set_state(w, WORKER_STOPPING, NULL);
	child_signal(w->slot, sig, all);
	w->signalled = true;
	worker_save(w);
}

static void stop_waiting(struct worker *w)
{
	timer_off(w);
	set_fresh(w, false);
	if (w->state == WORKER_BACKOFF)
		set_state(w, WORKER_STOPPED, NULL);
	else
		save_able(w);
}

static void stop_with(struct worker *w, int sig, bool all)
{
	w->start_again = w->failing = false;
	if (worker_is_alive(w))
		w->blame = WORKER_BLAME_NONE;
	w->off = worker_is_per_task(w);
	switch (w->state) {
	case WORKER_STARTING:
	case WORKER_RUNNING:
		enter_stopping(w, sig, all);
		break;
	case WORKER_STOPPING:
		if (sig == SIGKILL)
			enter_stopping(w, sig, all);
		else
			worker_save(w);
		break;
	case WORKER_BACKOFF:
	case WORKER_STOPPED:
	case WORKER_EXITED:
	case WORKER_FAILED:
	case WORKER_STATE_COUNT:
		stop_waiting(w);
		break;
	}
}

void worker_stop(struct worker *w)
{
	stop_with(w, w->pool->def->stop_signal, false);
}

void worker_kill(struct worker *w)
{
	stop_with(w, SIGKILL, true);
}

void worker_signal(struct worker *w, int sig)
{
	if (worker_is_alive(w))
		child_signal(w->slot, sig, false);
}

void worker_restart(struct worker *w)
{
	if (!worker_is_alive(w)) {
		worker_start(w);
		return;
	}
	if (w->state != WORKER_STOPPING)
		worker_stop(w);
	w->start_again = !w->leaving;
	w->failing = w->off = false;
	worker_save(w);
}

static void fail_slowly(struct worker *w, const char *what, int sig)
{
	log_warning(w->name, "%s, sending %s", what, text_signal_name(sig));
	w->failing = true;
	enter_stopping(w, sig, sig == SIGKILL);
}

void worker_replace(struct worker *w, int sig)
{
	if (!worker_is_alive(w))
		return;
	if (w->state != WORKER_STOPPING) {
		w->start_again = !w->leaving;
		w->failing = false;
		enter_stopping(w, sig, sig == SIGKILL);
	} else if (sig == SIGKILL && !w->forced) {
		enter_stopping(w, sig, true);
	}
}

void worker_refuse(struct worker *w, enum worker_blame blame)
{
	if (w->state != WORKER_STARTING)
		return;
	w->blame = (uint8_t)blame;
	fail_slowly(w, "it has more than one thread", SIGKILL);
}

void worker_lose_template(struct worker *w)
{
	set_fresh(w, false);
	w->blame = WORKER_BLAME_TEMPLATE;
	set_state(w, WORKER_FAILED, NULL);
	log_end(w, 0, "");
}

void worker_distrust(struct worker *w, const char *what)
{
	if (w->state == WORKER_STARTING || w->state == WORKER_RUNNING)
		fail_slowly(w, what, SIGKILL);
}

static void start_after_delay(struct worker *w)
{
	w->restarts++;
	worker_start_now(w);
}

/* One without a pid waits for its template, which then hangs: nobody else will be forked from it either. */
static void late(struct worker *w)
{
	struct worker *template = w->pool->def->template && !w->pid ? pool_template(w->pool) : NULL;

	w->blame = WORKER_BLAME_LATE;
	fail_slowly(w, blames[w->blame], SIGKILL);
	if (template && template->started <= w->started)
		worker_distrust(template, "has not forked a worker within its start-timeout");
}

static void on_timer(void *arg)
{
	struct worker *w = arg;

	w->due = 0;
	switch (w->state) {
	case WORKER_STARTING:
		late(w);
		break;
	case WORKER_RUNNING:
		w->blame = WORKER_BLAME_SILENT;
		fail_slowly(w, blames[w->blame], SIGABRT);
		break;
	case WORKER_STOPPING:
		if (!w->forced)
			log_warning(w->name,
				    "has not ended within its stop-timeout, sending SIGKILL");
		enter_stopping(w, SIGKILL, true);
		break;
	case WORKER_BACKOFF:
		start_after_delay(w);
		break;
	case WORKER_STOPPED:
	case WORKER_EXITED:
	case WORKER_FAILED:
	case WORKER_STATE_COUNT:
		break;
	}
}

/* ---- restart policy ---------------------------------------------------------------------------
 */

static bool wants_restart(const struct worker *w, bool success)
{
	if (hold_restarts || w->leaving || w->pool->removed || w->blame == WORKER_BLAME_THREADS)
		return false;
	switch ((enum conf_restart)w->pool->def->restart) {
	case CONF_RESTART_ALWAYS:
		return true;
	case CONF_RESTART_ON_FAILURE:
		return !success;
	case CONF_RESTART_NEVER:
		break;
	}
	return false;
}

/* Counts the restart that is about to be; false when it would be one too many. */
static bool within_limit(struct worker *w, int64_t ran)
{
	const struct conf_pool *d = w->pool->def;

	w->window_ran += ran;
	if (w->window_ran > d->restart_window) {
		w->window_ran = 0;
		w->window_count = 0;
	}
	if (d->restart_limit && w->window_count >= d->restart_limit)
		return false;
	w->window_count++;
	return true;
}

static int64_t next_delay(struct worker *w, int64_t ran)
{
	const struct conf_pool *d = w->pool->def;
	int64_t delay = d->restart_delay;

	if (ran >= d->restart_window)
		w->failures = 0;
	for (unsigned i = 0; i < w->failures && delay < d->restart_delay_max; i++)
		delay *= 2;
	w->failures++;
	return delay < d->restart_delay_max ? delay : d->restart_delay_max;
}

/* It died of a task, which is told to who gave it; the worker only has to be there again. One that had done its
 * work has shown that it can: the deaths before it count no more. */
static void restart_excused(struct worker *w, const struct child_end *end, pid_t pid, int64_t delay)
{
	if (delay == 0) {
		w->failures = w->window_count = 0;
		w->window_ran = 0;
	}
	timer_at(w, loop_now() + delay);
	set_state(w, WORKER_BACKOFF, end);
	log_end(w, pid, ", starting again");
	if (delay == 0 && w->state == WORKER_BACKOFF) /* who was told may have stopped it */
		start_after_delay(w);
}

static void restart_later(struct worker *w, const struct child_end *end, pid_t pid)
{
	const struct conf_pool *d = w->pool->def;
	int64_t ran = end->step ? 0 : end->ended - end->started, delay;
	char next[96], span[32];

	if (!within_limit(w, ran)) {
		set_state(w, WORKER_FAILED, end);
		log_end(w, pid, ", given up: too many restarts");
		return;
	}
	delay = next_delay(w, ran);
	timer_at(w, loop_now() + delay);
	set_state(w, WORKER_BACKOFF, end);
	text_duration_show(span, sizeof(span), delay);
	if (d->restart_limit)
		snprintf(next, sizeof(next), ", restart in %s (%u of %u)", span, w->window_count,
			 d->restart_limit);
	else
		snprintf(next, sizeof(next), ", restart in %s", span);
	log_end(w, pid, next);
	if (delay == 0 && w->state == WORKER_BACKOFF)
		start_after_delay(w);
}

/* The end of a task is not the end of its worker, which waits for the next. */
static void end_of_task(struct worker *w, const struct child_end *end, pid_t pid)
{
	w->failing = w->start_again = false;
	set_state(w, WORKER_STOPPED, end);
	if (end->step || end->code != CLD_EXITED)
		log_end(w, pid, "");
}

static void end_by_policy(struct worker *w, const struct child_end *end, pid_t pid, int64_t excused)
{
	bool success = !w->failing && !end->step && end->code == CLD_EXITED &&
		       conf_is_success(w->pool->def, end->status);
	bool failed = end->step || w->failing;

	w->failing = false;
	if (wants_restart(w, success)) {
		if (excused >= 0)
			restart_excused(w, end, pid, excused);
		else
			restart_later(w, end, pid);
		return;
	}
	set_state(w, failed ? WORKER_FAILED : WORKER_EXITED, end);
	log_end(w, pid, "");
}

static void end_as_told(struct worker *w, const struct child_end *end, pid_t pid)
{
	bool again = w->start_again && !w->leaving && !hold_restarts && !w->pool->removed;

	w->start_again = false;
	set_state(w, WORKER_STOPPED, end);
	log_end(w, pid, again ? ", starting again" : ", as it was told to");
	if (again && pool_may_start(w->pool, NULL))
		worker_start_now(w);
	else if (again)
		worker_set_fresh(w);
}

/* The template ended before it could be forked: that is not held against it. */
static void end_unborn(struct worker *w, const struct child_end *end)
{
	set_state(w, WORKER_STOPPED, end);
	if (hold_restarts || w->leaving || w->pool->removed)
		return;
	log_end(w, 0, ", waiting for another");
	worker_set_fresh(w);
}

void worker_on_ended(struct worker *w, const struct child_end *end)
{
	int64_t excused = observer->ending(w, end);
	pid_t pid = w->pid;

	timer_off(w);
	set_pid(w, 0);
	w->forced = w->unready = false;
	if (end->step == WIRE_STEP_TEMPLATE && end->err == ECONNRESET && w->state == WORKER_STARTING)
		end_unborn(w, end);
	else if (worker_is_per_task(w))
		end_of_task(w, end, pid);
	else if (w->state == WORKER_STOPPING && !w->failing)
		end_as_told(w, end, pid);
	else
		end_by_policy(w, end, pid, excused);
}

/* ---- after the manager was replaced ------------------------------------------------------------
 */

static void recover_timer(struct worker *w)
{
	const struct conf_pool *d = w->pool->def;

	/* A watchdog starts anew: what the worker said meanwhile may have been lost. */
	if (w->state == WORKER_RUNNING && d->watchdog)
		timer_at(w, loop_now() + d->watchdog);
	else if (w->due && (worker_is_alive(w) || w->state == WORKER_BACKOFF))
		timer_at(w, w->due);
	if (w->state == WORKER_STOPPING && !w->signalled) {
		child_signal(w->slot, w->forced ? SIGKILL : d->stop_signal, w->forced);
		w->signalled = true;
	}
}

/* The request to fork, or its answer, died with the old manager: there is no process. */
static void recover_lost(struct worker *w)
{
	if (w->state == WORKER_STOPPING && !worker_is_per_task(w))
		end_as_told(w, &w->end, 0);
	else
		worker_start_now(w);
}

void worker_recover(struct worker *w, const struct child_found *found)
{
	bool current = found->run && found->run == ledger_run(w->slot);
	bool noted = w->has_end && w->end.run == ledger_run(w->slot);

	count(w, 1);
	if (!worker_is_alive(w) && current && found->alive) {
		/* Of exec: it was begun, and there was no time to note that. */
		set_pid(w, found->pid);
		enter_stopping(w, SIGKILL, true);
		return;
	}
	if (!worker_is_alive(w)) {
		recover_timer(w);
		return;
	}
	if (noted || !current) {
		recover_lost(w);
		return;
	}
	if (!found->alive) {
		set_pid(w, found->pid);
		worker_on_ended(w, &found->end);
		return;
	}
	set_pid(w, found->pid);
	recover_timer(w);
	if (found->executed && w->state == WORKER_STARTING && !w->unready)
		worker_on_running(w, found->pid, w->started);
}
