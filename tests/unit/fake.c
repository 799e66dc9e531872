#include "tests/unit/fake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/wire.h"
#include "daemon/ledger.h"
#include "daemon/loop.h"
#include "daemon/queue.h"

struct fake_slot fake_slots[CREW_WORKERS_MAX];
unsigned fake_shut_down, fake_changes;
int fake_spawn_task_error;
void (*fake_on_pipes)(unsigned slot, int in, int out);

static int64_t now = 1000000;
static struct list tasks = LIST_INIT(tasks);
#define TIMERS 4096
static struct {
	struct loop_timer *timer;
	int64_t when;
} timers[TIMERS];
static int next_block = -1;
static child_config_fn *config_done;
static pid_t next_pid = 1000;

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

static void begin(unsigned slot)
{
	assert_false(fake_slots[slot].alive);
	fake_slots[slot].spawns++;
	fake_slots[slot].alive = true;
	fake_slots[slot].pid = 0;
	fake_slots[slot].run = ledger_run(slot) + 1;
	ledger_set_run(slot, fake_slots[slot].run);
}

void child_spawn(unsigned slot, const char *name, uint32_t pool, int run_block)
{
	(void)name;
	(void)pool;
	(void)run_block;
	begin(slot);
}

static void forget_task(struct fake_slot *s)
{
	free(s->args);
	free(s->input);
	s->args = s->input = NULL;
}

static char *copy(const char *bytes, size_t size)
{
	char *to = malloc(size + 1);

	assert_non_null(to);
	if (size)
		memcpy(to, bytes, size);
	to[size] = '\0';
	return to;
}

int child_spawn_task(unsigned slot, const char *name, uint32_t pool, const struct child_task *task)
{
	struct fake_slot *s = &fake_slots[slot];

	(void)name;
	(void)pool;
	if (fake_spawn_task_error)
		return errno = fake_spawn_task_error, -1;
	begin(slot);
	forget_task(s);
	s->task_spawns++;
	s->arg_count = task->count;
	s->args = copy(task->args, task->args_size);
	s->args_size = task->args_size;
	s->input = copy(task->input, task->input_size);
	s->input_size = task->input_size;
	return 0;
}

void child_close_input(unsigned slot)
{
	fake_slots[slot].inputs_closed++;
}

void child_signal(unsigned slot, int sig, bool all)
{
	fake_slots[slot].last_signal = sig;
	fake_slots[slot].last_all = all;
	fake_slots[slot].signals++;
}

void child_forget(unsigned slot)
{
	assert_false(fake_slots[slot].alive);
	fake_slots[slot].forgets++;
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
				       .output = -1,
				       .block = -1,
				       .task_in = s->has_pipes ? s->task_in : -1,
				       .task_out = s->has_pipes ? s->task_out : -1 };
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
	worker_on_running(w, s->pid, now);
	fake_turn();
}

void fake_pipes(struct worker *w, int in, int out)
{
	assert_true(fake_slots[w->slot].alive);
	assert_non_null(fake_on_pipes);
	fake_on_pipes(w->slot, in, out);
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

void fake_manager_dies(void)
{
	crew_close();
	memset(timers, 0, sizeof(timers));
	list_init(&tasks);
}

void fake_reset(void)
{
	fake_manager_dies();
	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++)
		forget_task(&fake_slots[i]);
	memset(fake_slots, 0, sizeof(fake_slots));
	fake_spawn_task_error = 0;
	fake_on_pipes = NULL;
	fake_shut_down = fake_changes = 0;
	ledger_close();
	assert_int_equal(ledger_init(-1), 0);
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
