#include "daemon/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include "lib/clock.h"
#include "lib/log.h"

#define WATCH_AGAIN (100 * USEC_PER_MSEC)

struct loop_io {
	struct event event;
	struct list link; /* on `unwatched` */
	int fd;
	unsigned events;
	bool watched;
	loop_io_fn *fn;
	void *arg;
};

static struct event_base *base;
static struct list tasks = LIST_INIT(tasks);
static struct list unwatched = LIST_INIT(unwatched); /* to be watched from the next turn on */
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

static void watch_all(void);

void loop_run(void)
{
	while (!stopping) {
		int flags = EVLOOP_ONCE | (list_empty(&tasks) ? 0 : EVLOOP_NONBLOCK);

		watch_all();
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

static bool watch(struct loop_io *io)
{
	short what = (short)((io->events & LOOP_READ ? EV_READ : 0) |
			     (io->events & LOOP_WRITE ? EV_WRITE : 0));

	event_assign(&io->event, base, io->fd, (short)(what | EV_PERSIST), on_io, io);
	io->watched = event_add(&io->event, NULL) == 0;
	return io->watched;
}

static void unwatch(struct loop_io *io)
{
	list_remove(&io->link);
	if (io->watched)
		event_del(&io->event);
	io->watched = false;
}

static void on_watch_again(void *arg)
{
	(void)arg; /* that there is a turn is all it takes */
}

/* The kernel may have no room for one (fs.epoll.max_user_watches): it is tried again. */
static void watch_all(void)
{
	static struct loop_timer again = { .fn = on_watch_again };

	while (!list_empty(&unwatched)) {
		struct loop_io *io = list_entry(unwatched.next, struct loop_io, link);

		if (!watch(io)) {
			if (!again.armed)
				log_error(NULL, "cannot watch descriptor %d: %s", io->fd,
					  strerror(errno));
			loop_timer_at(&again, clock_now() + WATCH_AGAIN);
			return;
		}
		list_remove(&io->link);
	}
}

struct loop_io *loop_io_new(int fd, unsigned events, loop_io_fn *fn, void *arg)
{
	struct loop_io *io = calloc(1, sizeof(*io));

	if (!io)
		return NULL;
	*io = (struct loop_io){ .fd = fd, .fn = fn, .arg = arg };
	loop_io_set(io, events);
	return io;
}

void loop_io_set(struct loop_io *io, unsigned events)
{
	if (io->events == events)
		return;
	unwatch(io);
	io->events = events;
	if (events)
		list_append(&unwatched, &io->link);
}

void loop_io_free(struct loop_io *io)
{
	if (!io)
		return;
	unwatch(io);
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
