/* Any bytes as what a worker writes, who has tasks of lines or jsonrpc or is one of exec: the first byte says
 * which, and how the rest is cut. What must hold whatever it writes: no task is told of twice, and when all has
 * ended none is left. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "lib/log.h"
#include "tests/unit/fake_tasks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALLERS 6
#define TURNS	40

static struct caller callers[CALLERS];

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void ended(struct task *t, struct task_owner *owner)
{
	struct caller *c = (struct caller *)(void *)owner;

	must(c->task == t && task_has_ended(t));
	must(t->state != TASK_FAILED || t->failure);
	must(t->state != TASK_SUCCEEDED || t->result);
	c->task = NULL;
	taskpool_fetched(t);
}

static void give(void)
{
	static const char *const arg = "work";
	struct task_request r = { .args = &arg, .count = 1 };
	const char *why;

	if (the_pool()->kind->json)
		r = (struct task_request){ .method = "work" };
	for (unsigned i = 0; i < CALLERS; i++) {
		struct caller *c = &callers[i];

		if (c->task)
			continue;
		c->owner.ended = ended;
		if (taskpool_submit(the_pool(), &r, &c->owner, i, &c->task, &why) != TASKPOOL_OK)
			c->task = NULL;
	}
	fake_turn();
}

/* The keeper does what it is told. */
static void tend(struct worker *w)
{
	if (w->state == WORKER_STARTING)
		fake_exec(w);
	else if (w->state == WORKER_STOPPING)
		fake_killed(w, fake_slots[w->slot].last_signal);
	else if (!worker_is_alive(w))
		fake_advance(1000000);
}

/* A few bytes with the highest bit set are what the worker does instead of writing. */
static void act(struct worker *w, uint8_t what)
{
	struct channel *c = w->runner->channel;

	switch (what & 7) {
	case 0:
		fake_has_read_all(c);
		break;
	case 1:
		fake_closes(c);
		break;
	case 2:
		fake_exit(w, what >> 3 & 3);
		break;
	case 3:
		fake_killed(w, SIGSEGV);
		break;
	case 4:
		if (callers[0].task)
			taskpool_cancel(callers[0].task);
		fake_turn();
		break;
	case 5:
		fake_room(c, what >> 3);
		break;
	case 6:
		fake_advance(700000);
		break;
	default:
		if (callers[1].task)
			taskpool_disown(callers[1].task);
		callers[1].task = NULL;
		fake_turn();
	}
}

static void live(const uint8_t *data, size_t size, size_t piece)
{
	for (unsigned turn = 0; turn < TURNS && size; turn++) {
		struct worker *w = w_of(1);
		size_t n = size < piece ? size : piece;

		give();
		tend(w);
		if (w->state != WORKER_RUNNING || !w->runner->channel)
			continue;
		if (*data >= 0xf0) {
			n = 1;
			act(w, *data);
		} else {
			fake_says_bytes(w->runner->channel, (const char *)data, n);
		}
		data += n;
		size -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum conf_tasks kinds[] = { CONF_TASKS_LINES, CONF_TASKS_JSONRPC,
						 CONF_TASKS_EXEC, CONF_TASKS_JSONRPC };

	if (!size)
		return 0;
	log_set_level(LOG_LEVEL_ERROR);
	memset(callers, 0, sizeof(callers));
	usual(kinds[*data & 3], 1);
	setup.prefetch = 1 + (*data >> 2 & 3);
	setup.retries = *data >> 4 & 1;
	setup.task_timeout = 500000;
	setup.restart_limit = 0;
	start_pool();
	live(data + 1, size - 1, *data >> 5 ? (size_t)1 << (*data >> 5) : SIZE_MAX);
	taskpool_terminate(the_pool());
	for (unsigned i = 0; i < CALLERS; i++)
		must(!callers[i].task);
	fake_manager_dies();
	must(task_count() == 0 && fake_channels == 0);
	return 0;
}
