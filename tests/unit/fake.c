#include "tests/unit/fake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/wire.h"
#include "daemon/ledger.h"
#include "daemon/loop.h"
#include "daemon/memory.h"
#include "daemon/taskpool.h"
#include "daemon/queue.h"

struct fake_slot fake_slots[CREW_WORKERS_MAX];
unsigned fake_shut_down, fake_changes;
int fake_task_errno;
unsigned fake_task_changes, fake_awaited_ended, fake_rooms, fake_drained;

static int64_t now = 1000000;
static struct list tasks = LIST_INIT(tasks);
#define FAKE_FD 1000000 /* of pipes: no such descriptor is ever open */
#define TIMERS	4096
static struct {
	struct loop_timer *timer;
	int64_t when;
} timers[TIMERS];
static int next_block = -1;
static child_config_fn *config_done;
static pid_t next_pid = 1000;
static uint32_t incarnation;
static unsigned used; /* no slot from here on has ever been spoken of */

/* ---- loop.h on a virtual clock ------------------------------------------------------------------
 */

int64_t loop_now(void)
{
	return now;
}

void loop_defer(struct loop_task *t)
{
	if (!list_linked(&t->link))
		list_append(&tasks, &t->link);
}

void loop_undefer(struct loop_task *t)
{
	list_remove(&t->link);
}

/* Nobody under test here watches descriptors: there is none to be had. */
struct loop_io *loop_io_new(int fd, unsigned events, loop_io_fn *fn, void *arg)
{
	(void)fd;
	(void)events;
	(void)fn;
	(void)arg;
	return NULL;
}

void loop_io_set(struct loop_io *io, unsigned events)
{
	(void)io;
	(void)events;
}

void loop_io_free(struct loop_io *io)
{
	assert_null(io);
}

void loop_timer_off(struct loop_timer *t)
{
	for (int i = 0; i < TIMERS; i++)
		if (timers[i].timer == t)
			timers[i].timer = NULL;
	t->armed = false;
}

void loop_timer_at(struct loop_timer *t, int64_t when)
{
	loop_timer_off(t);
	for (int i = 0; i < TIMERS; i++)
		if (!timers[i].timer) {
			timers[i].timer = t;
			timers[i].when = when;
			t->armed = true;
			return;
		}
	fail_msg("too many timers");
}

static int earliest(int64_t until)
{
	int best = -1;

	for (int i = 0; i < TIMERS; i++)
		if (timers[i].timer && timers[i].when <= until &&
		    (best < 0 || timers[i].when < timers[best].when))
			best = i;
	return best;
}

void fake_turn(void)
{
	struct list *e;

	for (int guard = 0; (e = list_pop(&tasks)); guard++) {
		struct loop_task *t = list_entry(e, struct loop_task, link);

		assert_true(guard < 100000); /* steps are idempotent: they come to rest */
		t->fn(t->arg);
	}
}

void fake_advance(int64_t usec)
{
	int64_t until = now + usec;
	int i;

	fake_turn();
	while ((i = earliest(until)) >= 0) {
		struct loop_timer *t = timers[i].timer;

		if (timers[i].when > now)
			now = timers[i].when;
		loop_timer_off(t);
		t->fn(t->arg);
		fake_turn();
	}
	now = until;
}

/* ---- child.h without a keeper -------------------------------------------------------------------
 */

static struct fake_slot *at(unsigned slot)
{
	if (slot >= used)
		used = slot + 1;
	return &fake_slots[slot];
}

static void spawn(unsigned slot)
{
	struct fake_slot *s = at(slot);

	assert_false(s->alive);
	s->spawns++;
	s->alive = true;
	s->pid = 0;
	s->pipes = false;
	s->run = ledger_run(slot) + 1;
	ledger_set_run(slot, s->run);
}

void child_spawn(unsigned slot, const char *name, uint32_t pool, int run_block)
{
	(void)name;
	(void)pool;
	(void)run_block;
	spawn(slot);
}

static struct list memory_questions = LIST_INIT(memory_questions);

void memory_ask(struct memory_query *q)
{
	list_append(&memory_questions, &q->link);
}

void memory_forget(struct memory_query *q)
{
	list_remove(&q->link);
}

bool fake_memory(int64_t uss)
{
	struct list *e = list_pop(&memory_questions);
	struct memory_query *q = e ? list_entry(e, struct memory_query, link) : NULL;

	if (!q)
		return false;
	for (unsigned i = 0; i < q->count; i++)
		q->of[i].uss = uss;
	q->done(q);
	return true;
}

void child_fork(unsigned slot, const char *name, uint32_t pool, unsigned from)
{
	(void)name;
	(void)pool;
	spawn(slot);
	fake_slots[slot].from = (int)from;
}

static void note_task(struct fake_slot *s, const struct child_task *task)
{
	size_t len = 0;

	s->task_args = task->count;
	s->args[0] = '\0';
	for (const char *a = task->args; a < task->args + task->args_size; a += strlen(a) + 1)
		len += (size_t)snprintf(s->args + len, sizeof(s->args) - len, "%s ", a);
	assert_true(task->input_size < sizeof(s->input));
	memcpy(s->input, task->input, task->input_size);
	s->input[task->input_size] = '\0';
}

int child_spawn_task(unsigned slot, const char *name, uint32_t pool, const struct child_task *task)
{
	(void)name;
	if (fake_task_errno)
		return errno = fake_task_errno, -1;
	spawn(slot);
	fake_slots[slot].task_pool = pool;
	note_task(&fake_slots[slot], task);
	return 0;
}

void child_close_input(unsigned slot)
{
	at(slot)->inputs_closed++;
}

void child_signal(unsigned slot, int sig, bool all)
{
	struct fake_slot *s = at(slot);

	s->last_signal = sig;
	s->last_all = all;
	s->signals++;
}

void child_forget(unsigned slot)
{
	assert_false(fake_slots[slot].alive);
	at(slot)->forgets++;
}

void child_noted(unsigned slot)
{
	(void)slot;
}

void child_found(unsigned slot, struct child_found *found)
{
	const struct fake_slot *s = &fake_slots[slot];

	*found = (struct child_found){ .run = s->run,
				       .alive = s->alive,
				       .executed = s->pid > 0,
				       .pid = s->pid,
				       .end = s->end,
				       .output = -1,
				       .block = -1,
				       .task_in = s->alive && s->pipes ? FAKE_FD : -1,
				       .task_out = s->pipes ? FAKE_FD : -1 };
}

int child_read_config(child_config_fn *done)
{
	config_done = done;
	return 0;
}

void child_commit(uint32_t serial)
{
	(void)serial;
}

static int memfd_of(struct conf *block, size_t size)
{
	int fd = memfd_create("block", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, block, size), (ssize_t)size);
	free(block);
	return fd;
}

void fake_next_config(struct conf *block, size_t size)
{
	child_config_fn *done = config_done;

	assert_non_null(done);
	config_done = NULL;
	next_block = block ? memfd_of(block, size) : -1;
	done(next_block, 2, block ? "" : "crewd.conf:3: no such key\n");
	fake_turn();
}

/* ---- the keeper's answers -----------------------------------------------------------------------
 */

void fake_exec(struct worker *w)
{
	struct fake_slot *s = &fake_slots[w->slot];

	assert_true(s->alive);
	s->pid = ++next_pid;
	if (w->runner) {
		s->pipes = true;
		runner_on_pipes(w->runner, worker_is_per_task(w) ? -1 : FAKE_FD, FAKE_FD);
	}
	worker_on_running(w, s->pid, now);
	fake_turn();
}

static void end(struct worker *w, struct child_end e)
{
	struct fake_slot *s = &fake_slots[w->slot];

	assert_true(s->alive);
	s->alive = false;
	e.run = s->run;
	e.started = w->started;
	e.ended = now;
	worker_on_ended(w, &e);
	fake_turn();
}

void fake_killed_unseen(struct worker *w, int sig)
{
	struct fake_slot *s = &fake_slots[w->slot];

	assert_true(s->alive);
	s->alive = false;
	s->end = (struct child_end){ .code = CLD_KILLED,
				     .status = sig,
				     .run = s->run,
				     .started = w->started,
				     .ended = now };
}

void fake_exec_fails(struct worker *w, int err)
{
	end(w, (struct child_end){ .step = WIRE_STEP_EXEC, .err = err });
}

void fake_exit(struct worker *w, int status)
{
	end(w, (struct child_end){ .code = CLD_EXITED, .status = status });
}

void fake_killed(struct worker *w, int sig)
{
	end(w, (struct child_end){ .code = CLD_KILLED, .status = sig });
}

/* ---- the crew
 * ------------------------------------------------------------------------------------ */

static void on_changed(struct worker *w, enum worker_state from)
{
	(void)w;
	(void)from;
	fake_changes++;
}

static void on_worker(struct worker *w)
{
	(void)w;
}

static void on_shut_down(void)
{
	fake_shut_down++;
}

static void on_output(struct worker *w, int fd)
{
	(void)w;
	close(fd);
}

static void on_pool(struct pool *p)
{
	(void)p;
}

static void on_reloaded(const struct conf *conf)
{
	(void)conf;
}

/* Results that are kept outlive the crew: their time is over now. */
static void expire_results(void)
{
	int64_t was = now;
	int i;

	while ((i = earliest(INT64_MAX)) >= 0) {
		struct loop_timer *t = timers[i].timer;

		if (timers[i].when > now)
			now = timers[i].when;
		loop_timer_off(t);
		t->fn(t->arg);
	}
	now = was;
}

static void tell_nobody(struct list *hand)
{
	list_foreach(e, next, hand)
	{
		struct task *t = list_entry(e, struct task, link);

		/* of a pool without a queue, who owned it may be gone: a test that is over */
		if (t->pool->pool->def->queue &&
		    taskpool_feed_owns(t)) /* crewd's own: goes with the pool */
			continue;
		t->owner = NULL;
		t->unwanted = true;
		t->awaited = 0;
	}
}

/* Those who wait for tasks are not told either. */
static void forget_callers(void)
{
	list_foreach(e, next, crew_pools())
	{
		struct pool *p = list_entry(e, struct pool, link);

		for (unsigned i = 0; p->tasks && i < p->count; i++)
			if (p->workers[i]->runner)
				tell_nobody(&p->workers[i]->runner->in_hand);
		if (p->tasks)
			tell_nobody(&p->tasks->queue);
	}
}

/* The ledger stays as it was at that moment, whatever the crew does when it is closed. */
void fake_manager_dies(void)
{
	static uint32_t owed[CREW_WORKERS_MAX];
	bool dirty = false, began = crew_conf() != NULL;

	for (unsigned i = 0; i < used; i++) {
		owed[i] = ledger_owed(i, &dirty) * 2;
		owed[i] += dirty;
	}
	if (began)
		forget_callers();
	crew_close();
	if (began)
		queue_close();
	for (unsigned i = 0; i < used; i++)
		ledger_set_owed(i, owed[i] / 2, owed[i] & 1);
	expire_results();
	list_init(&tasks);
	assert_int_equal(task_count(), 0);
}

void fake_reset(void)
{
	fake_manager_dies();
	memset(fake_slots, 0, used * sizeof(fake_slots[0]));
	used = 0;
	fake_shut_down = fake_changes = 0;
	fake_task_changes = fake_awaited_ended = fake_rooms = fake_drained = 0;
	fake_task_errno = 0;
	ledger_close();
	assert_int_equal(ledger_init(-1), 0);
}

static void on_task_changed(const struct task *t)
{
	(void)t;
	fake_task_changes++;
}

static void on_awaited_ended(struct task *t)
{
	assert_true(task_has_ended(t));
	fake_awaited_ended++;
}

static void on_room(void)
{
	fake_rooms++;
}

static void on_drained(struct taskpool *tp)
{
	(void)tp;
	fake_drained++;
}

static void on_has_room(struct taskpool *tp)
{
	(void)tp;
	fake_rooms++;
}

static void observe_tasks(void)
{
	static const struct task_observer observer = { on_task_changed, on_awaited_ended, on_room };
	static const struct taskpool_events pool_events = { on_drained, on_has_room };

	task_observe(&observer);
	taskpool_observe(&pool_events);
	task_init(0xfeed, ++incarnation);
}

void fake_crew(struct conf *block, size_t size)
{
	static const struct crew_events events = {
		.worker_changed = on_changed,
		.worker_gone = on_worker,
		.shut_down = on_shut_down,
		.output = on_output,
		.pool_defined = on_pool,
		.pool_gone = on_pool,
		.reloaded = on_reloaded,
	};
	struct crew_setup setup = { .events = &events };

	observe_tasks();
	queue_init(1);
	assert_int_equal(crew_init(&setup, memfd_of(block, size)), 0);
	fake_turn();
}

struct conf *fake_block(uint32_t pools, void (*describe)(struct conf_build *b), size_t *size)
{
	struct conf_build *b = conf_build_new(pools, 0);
	struct conf *block;

	assert_non_null(b);
	describe(b);
	block = conf_build_finish(b, size);
	assert_non_null(block);
	return block;
}
