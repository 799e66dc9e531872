#include "daemon/loop.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include "lib/clock.h"
#include "lib/log.h"

#define KEEN	 50   /* usec: whoever calls again within this finds the loop awake ... */
#define KEEN_FOR 16   /* ... once so many in a row have, and twice as many after each time ... */
#define KEEN_MAX 4096 /* ... that it was in vain, up to this */
#define NEVER	 INT64_MAX

struct loop_io {
	struct event event;
	int fd;
	unsigned events;
	loop_io_fn *fn;
	void *arg;
};

static struct event_base *base;
static struct list tasks = LIST_INIT(tasks);
static int64_t turn_now; /* 0: nothing has happened in this turn, and nobody has asked */
static bool stopping;
static unsigned soon;		     /* how often in a row something happened within KEEN ... */
static unsigned keen_for = KEEN_FOR; /* ... and how often it has to */
static bool alone; /* on its processor, the only one: nothing happens while it is awake */

/* Timers of ours: libevent sets its timerfd anew in each turn, whether anything has changed or not. */
static struct {
	struct loop_timer **heap; /* the next one first */
	size_t count, room;
	int fd;
	struct event event;
	int64_t set;   /* what fd is set to: never later than the first one, NEVER if it is not */
	int64_t fired; /* those up to this time are being told, or were */
} timers = { .fd = -1, .set = NEVER };

static void on_timerfd(evutil_socket_t fd, short what, void *arg);

static int watch_timers(void)
{
	timers.set = NEVER;
	timers.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (timers.fd < 0)
		return -1;
	event_assign(&timers.event, base, timers.fd, EV_READ | EV_PERSIST, on_timerfd, NULL);
	return event_add(&timers.event, NULL);
}

int loop_init(void)
{
	struct event_config *config = event_config_new();
	cpu_set_t cpus;

	if (!config)
		return -1;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	base = event_base_new_with_config(config);
	event_config_free(config);
	stopping = false;
	alone = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) == 1;
	return base && watch_timers() == 0 ? 0 : -1;
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

static void dispatch(int flags)
{
	if (event_base_loop(base, EVLOOP_ONCE | flags) < 0) {
		log_error(NULL, "the event loop failed");
		abort();
	}
}

static void in_vain(void)
{
	soon = 0;
	keen_for = keen_for < KEEN_MAX ? 2 * keen_for : KEEN_MAX;
}

/* Awake for KEEN. True: something has happened. Who was held up meanwhile shares the processor with others, and had
 * better leave it to them. */
static bool await_awake(int64_t began)
{
	int64_t now = began;

	while (!turn_now && now - began < KEEN) {
		dispatch(EVLOOP_NONBLOCK);
		now = turn_now ? turn_now : clock_now();
	}
	if (now - began >= KEEN)
		in_vain();
	else if (++soon % KEEN_MAX == 0)
		keen_for = KEEN_FOR;
	return turn_now != 0;
}

/* To be woken takes longer than to answer most calls. So who has been called again and again at once stays awake
 * for a moment; the first time that it was in vain ends that. */
static void await_events(void)
{
	int64_t began = clock_now();

	if (soon >= keen_for && !alone && await_awake(began))
		return;
	dispatch(0);
	soon = turn_now && turn_now - began < KEEN ? soon + 1 : 0;
}

static void set_timerfd(void)
{
	int64_t when = timers.count ? timers.heap[0]->when : NEVER;
	struct itimerspec spec = { 0 };

	if (when >= timers.set)
		return;
	spec.it_value.tv_sec = when / USEC_PER_SEC;
	spec.it_value.tv_nsec = when % USEC_PER_SEC * 1000;
	if (when <= 0)
		spec.it_value.tv_nsec = 1; /* 0 is off */
	if (timerfd_settime(timers.fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0) {
		log_error(NULL, "cannot set a timer");
		abort();
	}
	timers.set = when;
}

void loop_run(void)
{
	while (!stopping) {
		turn_now = 0;
		set_timerfd();
		if (list_empty(&tasks))
			await_events();
		else
			dispatch(EVLOOP_NONBLOCK);
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
	if (timers.fd >= 0) {
		event_del(&timers.event);
		close(timers.fd);
	}
	timers.fd = -1;
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

	loop_now();
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

/* ---- timers ----------------------------------------------------------------------------------- */

static void place(struct loop_timer *t, size_t at)
{
	timers.heap[at] = t;
	t->at = at;
}

/* Puts t where it belongs, from the place `at` that is free, or t's own. */
static void sift(struct loop_timer *t, size_t at)
{
	for (; at && t->when < timers.heap[(at - 1) / 2]->when; at = (at - 1) / 2)
		place(timers.heap[(at - 1) / 2], at);
	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < timers.count &&
		    timers.heap[child + 1]->when < timers.heap[child]->when)
			child++;
		if (child >= timers.count || timers.heap[child]->when >= t->when)
			break;
		place(timers.heap[child], at);
		at = child;
	}
	place(t, at);
}

/* Without its timers the manager cannot keep its word; the keeper starts another one. */
static void room_for_one(void)
{
	size_t room = timers.room ? 2 * timers.room : 64;
	struct loop_timer **heap;

	if (timers.count < timers.room)
		return;
	heap = reallocarray(timers.heap, room, sizeof(struct loop_timer *));
	if (!heap) {
		log_error(NULL, "no memory for a timer");
		abort();
	}
	timers.heap = heap;
	timers.room = room;
}

void loop_timer_at(struct loop_timer *t, int64_t when)
{
	t->when = when > timers.fired ? when : timers.fired + 1; /* not in this turn again */
	if (!t->armed) {
		room_for_one();
		t->at = timers.count++;
		t->armed = true;
	}
	sift(t, t->at);
}

void loop_timer_off(struct loop_timer *t)
{
	struct loop_timer *last;

	if (!t->armed)
		return;
	t->armed = false;
	last = timers.heap[--timers.count];
	if (last != t)
		sift(last, t->at);
	if (timers.count == 0) {
		free(timers.heap);
		timers.heap = NULL;
		timers.room = 0;
	}
}

static void on_timerfd(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	(void)what;
	(void)arg;
	if (read((int)fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_warning(NULL, "cannot read a timerfd");
	timers.set = NEVER;
	timers.fired = clock_now();
	loop_now();
	while (timers.count && timers.heap[0]->when <= timers.fired) {
		struct loop_timer *t = timers.heap[0];

		loop_timer_off(t);
		t->fn(t->arg);
	}
}

/* ---- the end of a turn ------------------------------------------------------------------------ */

void loop_defer(struct loop_task *t)
{
	if (!list_linked(&t->link))
		list_append(&tasks, &t->link);
}

void loop_undefer(struct loop_task *t)
{
	list_remove(&t->link);
}
