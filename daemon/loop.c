#include "daemon/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include "lib/clock.h"
#include "lib/log.h"

struct loop_io {
	struct event event;
	int fd;
	unsigned events;
	loop_io_fn *fn;
	void *arg;
};

static struct event_base *base;
static struct list tasks = LIST_INIT(tasks);
static int64_t turn_now; /* 0: not asked in this turn */
static bool stopping;

int loop_init(void)
{
	struct event_config *config = event_config_new();

	if (!config)
		return -1;
	event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NOLOCK);
	base = event_base_new_with_config(config);
	event_config_free(config);
	stopping = false;
	return base ? 0 : -1;
}

/* A task may ask to be run again: that is for the next turn, so that a turn always ends. */
static void run_tasks(void)
{
	struct list due = LIST_INIT(due);
	struct list *e;

	while ((e = list_pop(&tasks)))
		list_append(&due, e);
	while ((e = list_pop(&due))) {
		struct loop_task *t = list_entry(e, struct loop_task, link);

		t->fn(t->arg);
	}
}

void loop_run(void)
{
	while (!stopping) {
		int flags = EVLOOP_ONCE | (list_empty(&tasks) ? 0 : EVLOOP_NONBLOCK);

		turn_now = 0;
		if (event_base_loop(base, flags) < 0) {
			log_error(NULL, "the event loop failed");
			abort();
		}
		run_tasks();
	}
	stopping = false;
}

void loop_stop(void)
{
	stopping = true;
}

void loop_close(void)
{
	if (base)
		event_base_free(base);
	base = NULL;
	libevent_global_shutdown();
}

int64_t loop_now(void)
{
	if (!turn_now)
		turn_now = clock_now();
	return turn_now;
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct loop_io *io = arg;
	unsigned events = (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0);

	io->fn(fd, events, io->arg);
}

static int watch(struct loop_io *io)
{
	short what = (short)((io->events & LOOP_READ ? EV_READ : 0) |
			     (io->events & LOOP_WRITE ? EV_WRITE : 0));

	if (!what)
		return 0;
	event_assign(&io->event, base, io->fd, (short)(what | EV_PERSIST), on_io, io);
	return event_add(&io->event, NULL);
}

struct loop_io *loop_io_new(int fd, unsigned events, loop_io_fn *fn, void *arg)
{
	struct loop_io *io = calloc(1, sizeof(*io));

	if (!io)
		return NULL;
	*io = (struct loop_io){ .fd = fd, .events = events, .fn = fn, .arg = arg };
	if (watch(io) < 0) {
		free(io);
		return NULL;
	}
	return io;
}

void loop_io_set(struct loop_io *io, unsigned events)
{
	if (io->events == events)
		return;
	if (io->events)
		event_del(&io->event);
	io->events = events;
	if (watch(io) < 0) {
		log_error(NULL, "cannot watch descriptor %d", io->fd);
		abort();
	}
}

void loop_io_free(struct loop_io *io)
{
	if (!io)
		return;
	if (io->events)
		event_del(&io->event);
	free(io);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	loop_timer_off(t);
	t->fn(t->arg);
}

/* Without its timers the manager cannot keep its word; the keeper starts another one. */
static struct event *timer_event(struct loop_timer *t)
{
	if (!t->impl)
		t->impl = event_new(base, -1, 0, on_timer, t);
	if (!t->impl) {
		log_error(NULL, "no memory for a timer");
		abort();
	}
	return t->impl;
}

void loop_timer_at(struct loop_timer *t, int64_t when)
{
	int64_t left = when - clock_now();
	struct timeval span;

	if (left < 0)
		left = 0;
	span.tv_sec = left / USEC_PER_SEC;
	span.tv_usec = left % USEC_PER_SEC;
	if (event_add(timer_event(t), &span) < 0) {
		log_error(NULL, "cannot set a timer");
		abort();
	}
	t->armed = true;
}

void loop_timer_off(struct loop_timer *t)
{
	if (t->impl)
		event_free(t->impl);
	t->impl = NULL;
	t->armed = false;
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
