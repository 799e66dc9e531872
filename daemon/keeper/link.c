/* The keeper's side of the channel: starts managers, tells them everything, does what they ask for. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "daemon/cgroup.h"
#include "daemon/held.h"
#include "daemon/line.h"
#include "daemon/measure.h"
#include "daemon/spawn.h"
#include "daemon/template.h"
#include "daemon/keeper/state.h"
#include "daemon/notify.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

#define PING_LIMIT  (10 * USEC_PER_SEC)
#define DELAY_FIRST (50 * USEC_PER_MSEC)
#define DELAY_MAX   (5 * USEC_PER_SEC)
#define DELAY_READY (400 * USEC_PER_MSEC) /* most after one that was ready, or that was killed */
#define LONG_LIFE   (5 * USEC_PER_SEC)	  /* the next one after it is started at once */
#define A_TURN	    64

/* ---- a manager begins and ends ---------------------------------------------------------------- */

static void hello(void)
{
	const int fds[WIRE_FD_MAX] = { k.listener, k.notify, k.ledger, k.logs,
				       k.now.fd,   k.cgroup, k.state };
	struct wire w = { .type = WIRE_HELLO };
	int given[WIRE_FD_MAX];
	unsigned count = 0;

	w.hello = (struct wire_hello){ .keeper = getpid(),
				       .incarnation = k.incarnation,
				       .root = k.root,
				       .journal = log_is_journal(),
				       .uid = geteuid(),
				       .stopping = k.stopping,
				       .started = k.started,
				       .serial = (uint32_t)k.now.serial };
	for (int i = 0; i < WIRE_FD_MAX; i++)
		if (fds[i] >= 0) {
			w.hello.fds |= 1u << i;
			given[count++] = fds[i];
		}
	wire_send(k.link, &w, given, count);
}

void link_begin(void)
{
	static const char *const argv[] = { "crewd: manager", "--internal=manager", NULL };
	int pair[2];

	k.begin_at = 0;
	k.begun = k.heard = clock_now();
	if (k.finishing || k.manager)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0) {
		k.manager = spawn_self(argv, &pair[1], 1, k.root ? &k.as : NULL);
		close(pair[1]);
		k.link = pair[0];
	}
	if (k.link < 0 || k.manager < 0) {
		k.manager = 0;
		link_lost(false);
		return;
	}
	k.incarnation++;
	k.hello_over = false;
	start_forget_read();
	hello();
	table_mark_all();
	held_tell_again();
	keeper_watch(k.link, EPOLLIN | EPOLLOUT, WATCH_LINK, true);
	k.saying = true;
}

/* A child may still hold a copy of the descriptor, so closing it alone does not stop the watching. */
static void close_link(void)
{
	if (k.link < 0)
		return;
	epoll_ctl(k.epoll, EPOLL_CTL_DEL, k.link, NULL);
	close(k.link);
	k.link = -1;
}

void link_lost(bool killed)
{
	int64_t now = clock_now(), most = k.ready || killed ? DELAY_READY : DELAY_MAX;

	close_link();
	if (k.finishing)
		return;
	k.delay = k.delay ? k.delay * 2 : DELAY_FIRST;
	if (k.delay > most)
		k.delay = most;
	if (k.ready && now - k.begun > LONG_LIFE)
		k.delay = 0;
	k.ready = false;
	k.begin_at = now + k.delay;
	if (!k.delay)
		link_begin();
}

void link_tick(int64_t now)
{
	struct wire w = { .type = WIRE_PING };

	if (k.begin_at && now >= k.begin_at)
		link_begin();
	if (!k.manager)
		return;
	if (now - k.heard > PING_LIMIT) {
		log_error("keeper", "the manager (pid %d) does not answer, replacing it",
			  k.manager);
		kill(k.manager, SIGKILL);
		k.heard = now;
	}
	if (k.link >= 0 && k.hello_over)
		wire_send(k.link, &w, NULL, 0);
}

/* ---- what there is to say --------------------------------------------------------------------- */

static bool tell_slot(struct slot *s)
{
	if (slot_tell(s, k.link) < 0)
		return false;
	table_told(s);
	if (s->may_begin)
		template_begin(s);
	return true;
}

static bool tell_config(void)
{
	struct wire w = { .type = WIRE_CONFIG };
	int fds[2];
	unsigned count = 0;

	w.config.serial = (uint32_t)k.reader.serial;
	w.config.code = k.reader.code;
	w.config.status = k.reader.status;
	w.config.ok = k.next.conf != NULL;
	if (w.config.ok)
		fds[count++] = k.next.fd;
	fds[count++] = k.reader.text;
	if (wire_send(k.link, &w, fds, count) < 0)
		return false;
	close(k.reader.text);
	k.reader.finished = false;
	return true;
}

static bool tell_signal(int sig)
{
	struct wire w = { .type = WIRE_SIGNALLED, .value = sig };

	if (wire_send(k.link, &w, NULL, 0) < 0)
		return false;
	k.untold &= ~(1u << sig);
	return true;
}

/* False when the manager takes no more for now. */
static bool say_all(void)
{
	struct wire over = { .type = WIRE_HELLO_END };
	struct slot *s;

	if (!held_tell(k.link))
		return false;
	while ((s = table_news()))
		if (!tell_slot(s))
			return false;
	if (!k.hello_over && wire_send(k.link, &over, NULL, 0) < 0)
		return false;
	k.hello_over = true;
	if (k.reader.finished && !tell_config())
		return false;
	for (int sig = 1; sig < 32; sig++)
		if (k.untold & 1u << sig && !tell_signal(sig))
			return false;
	return true;
}

void link_talk(void)
{
	bool wait;

	if (k.link < 0)
		return;
	wait = !say_all();
	if (wait && errno != EAGAIN) { /* ETOOMANYREFS, ENOMEM: to be writable would not tell */
		k.retry = true;
		wait = false;
	}
	if (wait == k.saying)
		return;
	k.saying = wait;
	keeper_watch(k.link, EPOLLIN | (wait ? EPOLLOUT : 0), WATCH_LINK, false);
}

/* ---- what it asks for ------------------------------------------------------------------------- */

static struct {
	int fds[WIRE_FDS_MAX];
	unsigned count;
	struct wire_tail tail;
} carried; /* what came with the request; descriptors that are not taken are closed */

/* The slot, if the word is about the run it is in. */
static struct slot *about(const struct wire *w)
{
	struct slot *s = table_slot(w->about.slot);

	return s && s->told.run == w->about.run ? s : NULL;
}

static void on_spawn(const struct wire *w)
{
	const struct wire_spawn *q = &w->spawn;
	struct slot *s = table_slot(q->slot);

	if (!s || q->run <= s->told.run || table_is_alive(s) ||
	    !memchr(q->name, 0, sizeof(q->name)) || !text_name_ok(q->name)) {
		log_error("keeper", "the manager asked for what cannot be (slot %u)", q->slot);
		return;
	}
	slot_take_request(s, q, carried.fds, carried.count);
	carried.count = 0;
	s->told.run = q->run;
	memcpy(s->name, q->name, sizeof(s->name));
	keeper_spawn(s, q->pool, &carried.tail);
}

static void on_signal(const struct wire *w)
{
	struct slot *s = about(w);

	if (!s || w->value < 1 || w->value > 64 || !table_is_alive(s))
		return;
	if (!s->told.pid) { /* it is still in line to be forked */
		line_drop(s);
		s->told.code = CLD_KILLED;
		s->told.status = w->value;
		return;
	}
	if (w->about.whom == WIRE_ALL)
		keeper_kill(s, w->value);
	else
		kill(s->told.pid, w->value);
}

static void on_ack(const struct wire *w)
{
	struct slot *s = about(w);

	if (!s || table_is_alive(s))
		return;
	slot_clear(s);
	s->told.state = WIRE_FREE;
	if (w->value != 1)
		return;
	close(s->block);
	s->block = -1;
	cgroup_remove(s->name);
	s->oom_kills = 0;
}

static void on_close_input(const struct wire *w)
{
	struct slot *s = about(w);

	if (s)
		slot_close_input(s);
}

static void on_again(const struct wire *w)
{
	struct slot *s = about(w);

	if (!s)
		return;
	s->fds_told = false;
	table_mark(s);
}

static void on_read_config(const struct wire *w)
{
	start_begin_read(w->value);
}

static void on_commit(const struct wire *w)
{
	if (!k.next.conf || k.next.serial != w->value)
		return;
	line_renumber(k.now.conf, k.next.conf);
	start_drop(&k.now);
	k.now = k.next;
	k.next = (struct snapshot){ .fd = -1 };
}

static void on_open_log(const struct wire *w)
{
	struct wire answer = { .type = WIRE_LOG };
	uint32_t pool = (uint32_t)w->value;

	if (pool >= k.now.conf->pool_count || !conf_pool_at(k.now.conf, pool)->log_file)
		return;
	answer.log.pool = pool;
	answer.log.serial = (uint32_t)k.now.serial;
	spawn_opener(k.link, conf_text(k.now.conf, conf_pool_at(k.now.conf, pool)->log_file),
		     &answer);
}

static void on_status(const struct wire *w)
{
	char text[sizeof(w->text) + 8];

	snprintf(text, sizeof(text), "STATUS=%.*s", (int)strnlen(w->text, sizeof(w->text)),
		 w->text);
	notify_systemd(text);
}

static void on_ready(const struct wire *w)
{
	char text[64];

	k.ready = true;
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_now());
	notify_systemd(w->value ? text : "READY=1");
}

static void on_done(const struct wire *w)
{
	k.finishing = true;
	k.exitcode = w->value;
	keeper_kill_all();
}

static void on_hold(const struct wire *w)
{
	held_take(w, carried.fds, &carried.count);
}

static void on_measure(const struct wire *w)
{
	measure_begin(k.link, w, carried.fds, carried.count);
}

static void on_pong(const struct wire *w)
{
	(void)w;
	k.heard = clock_now();
}

static void (*const requests[])(const struct wire *w) = {
	[WIRE_PONG] = on_pong,	   [WIRE_SPAWN] = on_spawn,
	[WIRE_SIGNAL] = on_signal, [WIRE_ACK] = on_ack,
	[WIRE_AGAIN] = on_again,   [WIRE_READ_CONFIG] = on_read_config,
	[WIRE_COMMIT] = on_commit, [WIRE_OPEN_LOG] = on_open_log,
	[WIRE_STATUS] = on_status, [WIRE_READY] = on_ready,
	[WIRE_DONE] = on_done,	   [WIRE_CLOSE_INPUT] = on_close_input,
	[WIRE_HOLD] = on_hold,	   [WIRE_MEASURE] = on_measure,
};

/* A manager whose channel has ended is of no use any more; its death does the rest. */
static void on_channel_end(void)
{
	close_link();
	if (k.manager > 0 && !k.finishing)
		kill(k.manager, SIGKILL);
}

void link_io(bool to_the_end)
{
	for (int i = 0; (to_the_end || i < A_TURN) && k.link >= 0; i++) {
		struct wire w;
		int n = wire_receive_tail(k.link, &w, &carried.tail, carried.fds, &carried.count);

		if (n < 0 && (errno == EAGAIN || errno == EPROTO))
			return;
		if (n == 0 ||
		    (n < 0 && errno != EMFILE)) { /* EMFILE: answered without its descriptor */
			on_channel_end();
			return;
		}
		if (w.type < sizeof(requests) / sizeof(*requests) && requests[w.type])
			requests[w.type](&w);
		while (carried.count)
			close(carried.fds[--carried.count]);
	}
}
