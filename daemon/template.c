#include "daemon/template.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "daemon/cgroup.h"
#include "daemon/keeper/table.h"
#include "daemon/line.h"
#include "daemon/procfs.h"
#include "daemon/spawn.h"
#include "lib/clock.h"
#include "lib/rights.h"

#define FDS 4 /* standard input, output and error, and the socket it speaks up through */

/* ---- who waits -------------------------------------------------------------------------------- */

static bool waits(const struct slot *s)
{
	return s->told.state == WIRE_STARTING && !s->told.pid && s->with & WIRE_WITH_TEMPLATE;
}

static bool is_for(const struct slot *s, const struct slot *t)
{
	return waits(s) && s->from == t->told.slot && s->from_run == t->told.run;
}

static struct slot *template_of(const struct slot *s)
{
	struct slot *t = table_slot(s->from);

	return t && t->ask >= 0 && t->told.run == s->from_run && table_is_alive(t) ? t : NULL;
}

/* Usually they come in the order of their slots: each is looked at once. */
static struct slot *take(struct slot *t)
{
	unsigned count = table_used();

	for (unsigned i = 0; t->wanted && i < count; i++) {
		struct slot *s = table_slot((t->cursor + i) % count);

		if (!is_for(s, t) || s->status >= 0 || s->claims)
			continue;
		t->cursor = s->told.slot + 1;
		return s;
	}
	t->wanted = false;
	return NULL;
}

/* The one that was asked for and still waits; NULL: nobody does. */
static struct slot *asked(const struct slot *t)
{
	struct slot *s = t->asked.under_way ? table_slot(t->asked.slot) : NULL;

	return s && s->told.run == t->asked.run && is_for(s, t) ? s : NULL;
}

/* ---- asking ----------------------------------------------------------------------------------- */

struct request {
	size_t size;
	bool full;
	char text[CREW_TEMPLATE_MESSAGE_MAX];
};

/* A string with its NUL. */
static void put(struct request *r, const char *format, const char *value)
{
	size_t room = sizeof(r->text) - r->size;
	int n = snprintf(r->text + r->size, room, format, value);

	r->full |= n < 0 || (size_t)n >= room;
	if (!r->full)
		r->size += (size_t)n + 1;
}

static void put_environment(struct request *r, const struct slot *s, const struct conf *conf,
			    const struct conf_pool *p)
{
	char usec[24];

	for (uint32_t i = 0; i < p->environment.count; i++)
		put(r, "set %s", conf_item(conf, p->environment, i));
	put(r, "set CREW_WORKER=%s", s->name);
	put(r, "set CREW_POOL=%s", conf_text(conf, p->name));
	put(r, "%s", "unset CREW_TEMPLATE_FD");
	if (conf_protocol(p))
		put(r, "set CREW_TASKS=%s", conf_protocol(p));
	if (p->ready == CONF_READY_NOTIFY || p->watchdog)
		put(r, "set NOTIFY_SOCKET=%s", spawn_setup.notify);
	else
		put(r, "%s", "unset NOTIFY_SOCKET");
	snprintf(usec, sizeof(usec), "%lld", (long long)p->watchdog);
	if (p->watchdog)
		put(r, "set WATCHDOG_USEC=%s", usec);
}

static void compose(struct request *r, uint32_t id, const struct slot *s, const struct conf *conf,
		    const struct conf_pool *p)
{
	char number[16];

	r->size = 0;
	r->full = false;
	put(r, "%s", "fork");
	snprintf(number, sizeof(number), "%u", id);
	put(r, "%s", number);
	put(r, "%s", s->name);
	put_environment(r, s, conf, p);
	snprintf(number, sizeof(number), "%04o", (unsigned)p->umask);
	if (p->umask >= 0)
		put(r, "umask %s", number);
	if (p->directory)
		put(r, "chdir %s", conf_text(conf, p->directory));
}

static int send_request(const struct slot *t, const struct slot *s, struct request *r)
{
	const int fds[FDS] = { s->child_in >= 0 ? s->child_in : spawn_setup.null,
			       s->child_out >= 0 ? s->child_out : s->log_in, s->log_in,
			       s->status_in };
	union {
		char space[CMSG_SPACE(sizeof(fds))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { r->text, r->size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space };

	rights_put(&msg, fds, FDS);
	return sendmsg(t->ask, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static bool is_pool_of(const struct slot *t, const struct conf *conf, uint32_t pool)
{
	const struct conf_pool *p = pool < conf->pool_count ? conf_pool_at(conf, pool) : NULL;

	return p && p->template && strcmp(conf_text(conf, p->template), t->of) == 0;
}

/* False: it has failed. */
static bool ask(struct slot *t, struct slot *s)
{
	const struct conf *conf = *spawn_setup.conf;
	static struct request r;
	struct spawn_failure f;

	if (procfs_threads(t->told.pid) > 1) {
		line_fail(s, WIRE_STEP_THREADS, 0);
		return false;
	}
	if (!is_pool_of(t, conf, s->pool)) { /* it went, or has another one by now */
		line_fail(s, WIRE_STEP_SPEC, ECANCELED);
		return false;
	}
	if (spawn_prepare(s, conf, s->pool, NULL, &f) < 0) {
		line_fail(s, f.step, f.err);
		return false;
	}
	s->fds_told = false; /* a manager may have come while it was in line */
	s->told.started = clock_now();
	cgroup_make(s->name);
	compose(&r, ++t->asked.id, s, conf, conf_pool_at(conf, s->pool));
	if (r.full || send_request(t, s, &r) < 0) {
		line_fail(s, WIRE_STEP_TEMPLATE, r.full ? E2BIG : errno);
		return false;
	}
	slot_unshared(s);
	t->asked.under_way = true;
	t->asked.slot = s->told.slot;
	t->asked.run = s->told.run;
	return true;
}

/* One at a time. */
static void ask_next(struct slot *t)
{
	struct slot *s;

	while (t->ask >= 0 && !t->asked.under_way && (s = take(t)))
		if (ask(t, s))
			spawn_setup.watch(s->status, EPOLLIN, s->told.slot, true);
}

void template_want(struct slot *s)
{
	struct slot *t = template_of(s);

	if (!t) {
		line_fail(s, WIRE_STEP_TEMPLATE, ECONNRESET);
		return;
	}
	t->wanted = true;
	ask_next(t);
}

/* ---- the worker ------------------------------------------------------------------------------- */

/* Alive or not yet waited for, so that its pid cannot be another's. */
static bool is_new_child(pid_t pid)
{
	siginfo_t si = { 0 };

	return pid > 0 && !table_pid(pid) &&
	       waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* What its template is not, and another process may set. */
static int set_up(const struct slot *s)
{
	const struct conf *conf = *spawn_setup.conf;
	const struct conf_limit *limits;
	const struct conf_pool *p;
	pid_t pid = s->told.pid;

	errno = ECANCELED;
	if (s->pool >= conf->pool_count)
		return WIRE_STEP_SPEC;
	p = conf_pool_at(conf, s->pool);
	limits = conf_limits(conf, p);
	for (uint32_t i = 0; i < p->limit_count; i++) {
		struct rlimit l = { .rlim_cur = limits[i].soft, .rlim_max = limits[i].hard };

		if (prlimit(pid, (__rlimit_resource_t)limits[i].resource, &l, NULL) < 0)
			return WIRE_STEP_LIMITS;
	}
	if (p->nice_given &&
	    setpriority(PRIO_PROCESS, (id_t)pid, getpriority(PRIO_PROCESS, 0) + p->nice) < 0)
		return WIRE_STEP_NICE;
	return WIRE_STEP_NONE;
}

/* Until it is let go it would end with the keeper; then only a manager that knows it could end it. */
void template_begin(struct slot *s)
{
	s->may_begin = false;
	if (send(s->status, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
		s->told.state = WIRE_RUNNING;
	close(s->status);
	s->status = -1;
	table_mark(s);
}

/* Takes it into the table, and lets it begin once it is told, if all is as it should be. False: it is not the keeper's
 * child, or not yet, as the process between has not ended. */
static bool admit(struct slot *s)
{
	int step;

	if (!is_new_child(s->claims))
		return false;
	table_forked(s, s->claims);
	fcntl(s->log, F_SETOWN, -s->told.pid);
	cgroup_move(s->name, s->told.pid);
	step = getpgid(s->told.pid) == s->told.pid ? set_up(s) : WIRE_STEP_SESSION;
	if (step != WIRE_STEP_NONE) { /* its end is told with what was wrong */
		s->told.step = step;
		s->told.err = step == WIRE_STEP_SESSION ? EPERM : errno;
		kill(s->told.pid, SIGKILL);
	}
	s->may_begin = step == WIRE_STEP_NONE && s->status >= 0;
	if (s->may_begin) { /* it has nothing more to say, only to hear */
		spawn_setup.watch(s->status, EPOLLONESHOT, s->told.slot, false);
	} else if (s->status >= 0) {
		close(s->status);
		s->status = -1;
	}
	table_mark(s);
	return true;
}

/* Its pid, which the kernel has put beside its word; 0: nothing has come; -1: nobody holds the other end any more. */
static pid_t hear(const struct slot *s)
{
	union {
		char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(s->status, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	pid_t pid;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	pid = rights_sender(&msg); /* nobody asked for descriptors */
	return n == 0 ? -1 : pid;
}

static bool is_under_way(const struct slot *s)
{
	const struct slot *t = template_of(s);

	return t && asked(t) == s;
}

/* It has said nothing and will not: what becomes of it the template's answer tells, or its end. */
#define SAID_NOTHING (-1)

void template_heard(struct slot *s)
{
	pid_t pid = waits(s) && s->status >= 0 ? hear(s) : 0;

	if (pid == 0)
		return;
	if (pid > 0 && !s->claims)
		s->claims = pid;
	if (admit(s))
		return;
	if (!is_under_way(s)) {
		line_fail(s, WIRE_STEP_TEMPLATE, ECHILD);
	} else if (pid < 0) {
		close(s->status);
		s->status = -1;
		s->claims = s->claims ? s->claims : SAID_NOTHING;
	}
}

/* ---- the template ----------------------------------------------------------------------------- */

/* The strings of an answer: what, id, and why not. False: it is none. */
struct answer {
	const char *what;
	unsigned long id, err;
};

static bool parse(const char *text, size_t size, struct answer *a)
{
	const char *at[3] = { NULL };
	unsigned count = 0;

	for (size_t i = 0; i < size && count < 3; i += strlen(text + i) + 1)
		at[count++] = text + i;
	if (count < 2)
		return false;
	*a = (struct answer){ at[0], strtoul(at[1], NULL, 10), count > 2 ? strtoul(at[2], NULL, 10) : 0 };
	return true;
}

/* What it forked, or could not. */
static bool take_answer(struct slot *t, const struct answer *a)
{
	struct slot *s = asked(t);

	if (!t->asked.under_way || a->id != t->asked.id)
		return false;
	if (strcmp(a->what, "failed") != 0 && strcmp(a->what, "forked") != 0)
		return false;
	t->asked.under_way = false;
	if (s && a->what[1] == 'a')
		line_fail(s, WIRE_STEP_FORK, a->err <= 4095 && a->err ? (int)a->err : EPROTO);
	else if (s && s->claims && !admit(s)) /* its parent is what it will stay */
		line_fail(s, WIRE_STEP_TEMPLATE, ECHILD);
	return true;
}

/* False: it is of no use any more. */
static bool read_answer(struct slot *t)
{
	char text[256];
	struct answer a;
	ssize_t n = recv(t->ask, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	text[n] = '\0';
	return parse(text, (size_t)n, &a) && take_answer(t, &a);
}

void template_io(struct slot *t)
{
	if (t->ask < 0)
		return;
	if (read_answer(t)) {
		ask_next(t);
		return;
	}
	template_end(t);
	cgroup_kill(t->name);
	kill(-t->told.pid, SIGKILL);
	kill(t->told.pid, SIGKILL); /* not reaped yet, so nobody else's */
}

struct slot *template_find(pid_t pid)
{
	for (unsigned i = 0; i < table_used(); i++) {
		struct slot *s = table_slot(i);

		template_heard(s);
		if (waits(s) && s->claims == pid)
			admit(s);
	}
	return table_pid(pid);
}

/* What it forked, and was not told to begin, reads the end of its socket and ends. */
void template_end(struct slot *t)
{
	for (unsigned i = 0; i < table_used(); i++) {
		struct slot *s = table_slot(i);

		if (!is_for(s, t))
			continue;
		template_heard(s);
		if (waits(s) && !admit(s))
			line_fail(s, WIRE_STEP_TEMPLATE, ECONNRESET);
	}
	close(t->ask);
	t->ask = -1;
}
