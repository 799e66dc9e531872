#include "daemon/keeper/keeper.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "daemon/cgroup.h"
#include "daemon/line.h"
#include "daemon/spawn.h"
#include "daemon/template.h"
#include "daemon/keeper/state.h"
#include "daemon/notify.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

#define EVENTS	  64
#define HOLD	  2 /* ms */
#define EXECS_MAX 128 /* on their way to exec at a time; more wait in line */

struct keeper k = { .lock = -1, .link = -1, .listener = -1 };

static unsigned execs; /* status pipes that are open */

void keeper_watch(int fd, uint32_t events, uint64_t what, bool is_new)
{
	struct epoll_event e = { .events = events, .data.u64 = what };

	if (epoll_ctl(k.epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e) < 0)
		log_error("keeper", "cannot watch a descriptor: %s", strerror(errno));
}

/* ---- spawning --------------------------------------------------------------------------------- */

/* A byte: the child has taken its descriptors. End of file: exec is done. A record: what failed, and its
 * death comes soon. `dead`: nothing more can come, though another child may have a copy of the other end. */
static void read_status(struct slot *s, bool dead)
{
	struct spawn_failure f;
	char byte;
	ssize_t n;

	if (s->status_in >= 0) {
		if (read(s->status, &byte, 1) != 1)
			return;
		slot_unshared(s);
	}
	n = read(s->status, &f, sizeof(f));
	if (n < 0 && !dead && (errno == EAGAIN || errno == EINTR))
		return;
	close(s->status);
	s->status = -1;
	execs--;
	if (n == sizeof(f)) {
		s->told.step = f.step;
		s->told.err = f.err;
	} else if (s->told.state == WIRE_STARTING) {
		s->told.state = WIRE_RUNNING;
		table_began(s);
	}
}

static void fork_now(struct slot *s, const struct wire_tail *tail)
{
	struct spawn_failure f;

	s->told.started = clock_now();
	s->fds_told = false; /* a manager may have come while it was in line */
	if (spawn_worker(s, k.now.conf, s->pool, tail, &f) < 0) {
		line_fail(s, f.step, f.err);
		return;
	}
	if (s->status >= 0) {
		execs++;
		keeper_watch(s->status, EPOLLIN, s->told.slot, true);
	}
	table_began(s);
}

void keeper_spawn(struct slot *s, uint32_t pool, const struct wire_tail *tail)
{
	s->told = (struct wire_child){ .slot = s->told.slot,
				       .run = s->told.run,
				       .state = WIRE_STARTING };
	s->pool = pool;
	if (s->with & WIRE_WITH_TEMPLATE) {
		template_want(s);
	} else if (execs < EXECS_MAX || line_is_full()) {
		fork_now(s, tail);
	} else {
		slot_keep_tail(s, tail);
		line_put(s);
	}
}

static void fork_line(void)
{
	struct slot *s;

	while (execs < EXECS_MAX && (s = line_take()))
		fork_now(s, NULL);
}

static void hear_child(struct slot *s)
{
	template_heard(s); /* if it is one that waits for a template */
	if (s->status >= 0 && !(s->with & WIRE_WITH_TEMPLATE))
		read_status(s, false);
}

/* ---- reaping ---------------------------------------------------------------------------------- */

static void worker_died(struct slot *s, const siginfo_t *si)
{
	struct rusage u;

	if (s->ask >= 0)
		template_end(s); /* while what it has forked can still be told from what it leaves behind */
	if (s->may_begin)
		template_begin(s);
	cgroup_kill(s->name); /* what it left behind; its pid is still its own */
	kill(-s->told.pid, SIGKILL);
	if (s->status >= 0)
		read_status(s, true);
	if (s->status_in >= 0) { /* it died before all else */
		slot_unshared(s);
		read_status(s, true);
	}
	wait4(s->told.pid, NULL, WNOHANG, &u);
	table_reaped(s);
	s->told.code = si->si_code;
	s->told.status = si->si_status;
	if (si->si_code != CLD_EXITED && si->si_status == SIGKILL) {
		unsigned kills = cgroup_oom_kills(s->name);

		s->told.oom = kills > s->oom_kills;
		s->oom_kills = kills;
	}
	s->told.ended = clock_now();
	s->told.cpu = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC + u.ru_utime.tv_usec +
		      u.ru_stime.tv_usec;
	s->told.maxrss = u.ru_maxrss * 1024;
	s->told.state = WIRE_GONE;
	table_mark(s);
}

static void manager_died(const siginfo_t *si)
{
	waitpid(k.manager, NULL, WNOHANG);
	k.manager = 0;
	link_io(true); /* its last words */
	if (!k.finishing)
		log_error("keeper", "the manager ended (%s %d), starting another",
			  si->si_code == CLD_EXITED ? "exit code" : "signal", si->si_status);
	link_lost(si->si_code == CLD_KILLED && si->si_status == SIGKILL);
}

static void reap(void)
{
	siginfo_t si = { 0 };

	while (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid) {
		struct slot *s = table_pid(si.si_pid);

		if (!s && si.si_pid != k.manager && si.si_pid != k.reader.pid)
			s = template_find(si.si_pid);
		if (s)
			worker_died(s, &si);
		else if (si.si_pid == k.manager)
			manager_died(&si);
		else if (si.si_pid == k.reader.pid)
			start_read_done(&si);
		else /* opened a log file, or came to us when its parent died */
			waitpid(si.si_pid, NULL, WNOHANG);
		si.si_pid = 0;
	}
}

/* ---- ending ----------------------------------------------------------------------------------- */

void keeper_kill(const struct slot *s, int sig)
{
	if (sig == SIGKILL)
		cgroup_kill(s->name);
	kill(-s->told.pid, sig);
	kill(s->told.pid, sig); /* not reaped yet, so nobody else's */
}

void keeper_kill_all(void)
{
	line_clear();
	for (unsigned i = 0; i < table_used(); i++) {
		struct slot *s = table_slot(i);

		if (s->told.pid && table_is_alive(s))
			keeper_kill(s, SIGKILL);
	}
}

static void on_stop(int sig)
{
	if (!k.stopping) {
		k.stopping = sig;
		notify_systemd("STOPPING=1");
		k.untold |= 1u << sig;
		return;
	}
	log_warning("keeper", "%s again, not waiting any longer", text_signal_name(sig));
	k.finishing = true;
	keeper_kill_all();
	if (k.manager > 0)
		kill(k.manager, SIGKILL);
}

static void read_signals(void)
{
	struct signalfd_siginfo si[16];
	ssize_t n = read(k.signals, si, sizeof(si));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(*si); i++)
		if (si[i].ssi_signo == SIGTERM || si[i].ssi_signo == SIGINT)
			on_stop((int)si[i].ssi_signo);
		else if (si[i].ssi_signo == SIGHUP)
			k.untold |= 1u << SIGHUP;
	reap();
}

/* ---- the loop --------------------------------------------------------------------------------- */

static void tick(void)
{
	uint64_t count;
	int64_t now = clock_now();

	if (read(k.tick, &count, sizeof(count)) < 0)
		return;
	link_tick(now);
	if (k.reader.pid > 0 && now > k.reader.deadline)
		kill(k.reader.pid, SIGKILL);
	if (notify_watchdog_interval())
		notify_systemd("WATCHDOG=1");
	if (k.finishing)
		keeper_kill_all();
}

static void dispatch(const struct epoll_event *e)
{
	if (e->data.u64 == WATCH_SIGNALS)
		read_signals();
	else if (e->data.u64 == WATCH_TICK)
		tick();
	else if (e->data.u64 == WATCH_LINK)
		link_io(false);
	else if (e->data.u64 & TEMPLATE_WATCH)
		template_io(table_slot((unsigned)e->data.u64));
	else
		hear_child(table_slot((unsigned)e->data.u64));
}

static bool is_over(void)
{
	return k.finishing && table_alive() == 0 && !k.manager;
}

static void loop(int64_t interval)
{
	int64_t ticking = 0;

	while (!is_over()) {
		struct epoll_event events[EVENTS];
		int64_t want = k.begin_at || k.finishing || k.retry ? 50 * USEC_PER_MSEC : interval;
		int n;

		if (want != ticking)
			start_tick(ticking = want); /* faster while there is something to be tried again */
		k.retry = false;
		n = epoll_wait(k.epoll, events, EVENTS, table_holds() ? HOLD : -1);
		for (int i = 0; i < n; i++)
			dispatch(&events[i]);
		fork_line();
		if (table_holds())
			table_release(clock_now() - HOLD * USEC_PER_MSEC);
		link_talk();
	}
}

int keeper_main(const struct keeper_options *options)
{
	int r;

	log_init();
	k.config = options->config;
	k.started = clock_now();
	r = start_all(options->config, options->socket);
	if (r) {
		start_undo();
		return r;
	}
	keeper_watch(k.signals, EPOLLIN, WATCH_SIGNALS, true);
	keeper_watch(k.tick, EPOLLIN, WATCH_TICK, true);
	log_info(NULL, "running, control socket %s", k.socket);
	link_begin();
	loop(start_tick_interval());
	log_info(NULL, "ended");
	start_undo();
	return k.exitcode;
}
