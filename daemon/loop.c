#include "daemon/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include "daemon/timers.h"
#include "lib/clock.h"
#include "lib/log.h"

#define WATCH_AGAIN (100 * USEC_PER_MSEC)

struct loop_io {
	struct event event;
	struct list link; /* on `unwatched` */
	int fd;
	unsigned events;
	bool watched;
	bool late; /* it could not be watched, and that has been said */
	loop_io_fn *fn;
	void *arg;
};

static struct event_base *base;
static struct list tasks = LIST_INIT(tasks);
static struct list unwatched = LIST_INIT(unwatched); /* to be watched from the next turn on */
static int64_t turn_now; /* 0: not asked in this turn */
static bool stopping;
static struct event alarm_event;
static int alarm_fd = -1;
static int64_t alarm_at; /* what the kernel's timer is set to, 0: it is not */
static int64_t telling;	 /* due timers are being told: those due then */

static void on_alarm(evutil_socket_t fd, short what, void *arg);

static int begin_alarm(void)
{
	alarm_at = telling = 0;
	alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (alarm_fd < 0)
		return -1;
	event_assign(&alarm_event, base, alarm_fd, EV_READ | EV_PERSIST, on_alarm, NULL);
	return event_add(&alarm_event, NULL);
}

int loop_init(void)
{
	struct event_config *config = event_config_new();

	if (!config)
		return -1;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	base = event_base_new_with_config(config);
	event_config_free(config);
	stopping = false;
	return base ? begin_alarm() : -1;
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
	timers_forget();
	close(alarm_fd);
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

/* The kernel may have no room for one (fs.epoll.max_user_watches): that is tried again. */
static void watch_later(struct loop_io *io)
{
	static struct loop_timer again = { .fn = on_watch_again };

	if (!io->late)
		log_error(NULL, "cannot watch descriptor %d: %s", io->fd, strerror(errno));
	io->late = true;
	list_append(&unwatched, &io->link);
	loop_timer_at(&again, clock_now() + WATCH_AGAIN);
}

static void watch_all(void)
{
	struct list due = LIST_INIT(due), *e;

	while ((e = list_pop(&unwatched)))
		list_append(&due, e);
	while ((e = list_pop(&due))) {
		struct loop_io *io = list_entry(e, struct loop_io, link);

		if (!watch(io))
			watch_later(io);
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

void loop_timer_at(struct loop_timer *t, int64_t when)
{
	/* One that is set for the past while due ones are told is for the next turn. */
	if (timers_put(t, when > telling ? when : telling + 1) == 0)
		return;
	/* Without its timers the manager cannot keep its word; the keeper starts another one. */
	log_error(NULL, "no memory for a timer");
	abort();
}

void loop_timer_off(struct loop_timer *t)
{
	timers_remove(t);
}

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
	uint64_t times;

	(void)what;
	(void)arg;
	if (read(fd, &times, sizeof(times)) > 0)
		alarm_at = 0;
}

/* The kernel's timer is only set to be earlier: most timers are moved on, or stopped, long before they are due. One
 * that rings for nobody costs less than to set it in each turn. */
static void set_alarm(void)
{
	const struct loop_timer *first = timers_first();
	struct itimerspec t = { 0 };

	if (!first || (alarm_at && alarm_at <= first->when))
		return;
	alarm_at = first->when;
	t.it_value.tv_sec = alarm_at / USEC_PER_SEC;
	t.it_value.tv_nsec = alarm_at % USEC_PER_SEC * 1000;
	if (timerfd_settime(alarm_fd, TFD_TIMER_ABSTIME, &t, NULL) == 0)
		return;
	log_error(NULL, "cannot set a timer: %s", strerror(errno));
	abort();
}

static bool is_due(void)
{
	const struct loop_timer *first = timers_first();

	return first && first->when <= clock_now();
}

static void run_due(void)
{
	struct loop_timer *t;

	if (!is_due())
		return;
	turn_now = telling = clock_now();
	while ((t = timers_take_due(telling)))
		t->fn(t->arg);
	telling = 0;
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

/* One turn: what there is to be heard, then the timers, then what was put off to its end. */
static void turn(void)
{
	bool waits = list_empty(&tasks) && !is_due();

	watch_all();
	if (waits)
		set_alarm();
	turn_now = 0;
	if (event_base_loop(base, EVLOOP_ONCE | (waits ? 0 : EVLOOP_NONBLOCK)) < 0) {
		log_error(NULL, "the event loop failed");
		abort();
	}
	run_due();
	run_tasks();
}

void loop_run(void)
{
	while (!stopping)
		turn();
	stopping = false;
}
