#include "tests/unit/fake_loop.h"

#include <poll.h>
#include <stdlib.h>
#include "daemon/loop.h"

struct loop_io {
	int fd;
	unsigned events;
	loop_io_fn *fn;
	void *arg;
};

#define IOS    2048
#define TIMERS 2048
#define TURNS  20

static struct loop_io *ios[IOS];
static struct {
	struct loop_timer *timer;
	int64_t when;
} timers[TIMERS];
static struct list tasks = LIST_INIT(tasks);
static int64_t now = 1000000;

int64_t loop_now(void)
{
	return now;
}

struct loop_io *loop_io_new(int fd, unsigned events, loop_io_fn *fn, void *arg)
{
	struct loop_io *io = calloc(1, sizeof(*io));

	*io = (struct loop_io){ .fd = fd, .events = events, .fn = fn, .arg = arg };
	for (int i = 0; i < IOS; i++)
		if (!ios[i]) {
			ios[i] = io;
			return io;
		}
	abort();
}

void loop_io_set(struct loop_io *io, unsigned events)
{
	io->events = events;
}

void loop_io_free(struct loop_io *io)
{
	for (int i = 0; i < IOS; i++)
		if (io && ios[i] == io)
			ios[i] = NULL;
	free(io);
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
	abort();
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

static void run_ios(void)
{
	for (int i = 0; i < IOS; i++) {
		struct loop_io *io = ios[i];
		struct pollfd p = { 0 };
		unsigned events = 0;

		if (!io || !io->events)
			continue;
		p.fd = io->fd;
		p.events = (short)((io->events & LOOP_READ ? POLLIN : 0) |
				   (io->events & LOOP_WRITE ? POLLOUT : 0));
		if (poll(&p, 1, 0) != 1)
			continue;
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			events |= io->events & LOOP_READ;
		if (p.revents & (POLLOUT | POLLHUP | POLLERR))
			events |= io->events & LOOP_WRITE;
		if (events)
			io->fn(io->fd, events, io->arg);
	}
}

static void run_timers(void)
{
	for (int i = 0; i < TIMERS; i++) {
		struct loop_timer *t = timers[i].timer;

		if (!t || timers[i].when > now)
			continue;
		loop_timer_off(t);
		t->fn(t->arg);
	}
}

static void run_tasks(void)
{
	struct list due = LIST_INIT(due), *e;

	while ((e = list_pop(&tasks)))
		list_append(&due, e);
	while ((e = list_pop(&due))) {
		struct loop_task *t = list_entry(e, struct loop_task, link);

		t->fn(t->arg);
	}
}

void fake_loop_turn(void)
{
	for (int i = 0; i < TURNS; i++) {
		run_ios();
		run_timers();
		run_tasks();
	}
}

void fake_loop_advance(int64_t usec)
{
	now += usec;
	fake_loop_turn();
}
