#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "daemon/cgroup.h"
#include "daemon/environment.h"
#include "daemon/handed.h"
#include "daemon/sealed.h"
#include "daemon/template.h"

#define STACK_SIZE  (128 * 1024)
#define TEMPLATE_FD "4" /* where a template finds its channel; set_stdio() */

/* A sanitizer takes a borrowed stack for a fault. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

struct spawn_setup spawn_setup;

/* The child's, to which nothing may have been left by the one before: see fork_borrowing(). */
static char *argv_space[CREW_ARGS_MAX + CREW_TASK_ARGS_MAX + 1];
static int status_fd; /* -1: it borrows the keeper's memory, and leaves word here: */
static struct spawn_failure word;

static void __attribute__((noreturn)) fail(enum wire_step step)
{
	struct spawn_failure f = { .step = (int)step, .err = errno };

	word = f;
	_exit(status_fd < 0 || write(status_fd, &f, sizeof(f)) == sizeof(f) ? 127 : 126);
}

/* Without a user of its own a worker is what crewd is: its names then only stand in for what is missing. */
static void set_name(const char *name, const char *value, bool replace)
{
	if (replace || !environment_get(name))
		environment_set(name, value);
}

static void set_identity(const struct conf *conf, const struct conf_identity *id)
{
	bool other = id->uid != CONF_NO_ID;

	if (!id->user)
		return;
	set_name("HOME", conf_text(conf, id->home), other);
	set_name("USER", conf_text(conf, id->user), other);
	set_name("LOGNAME", conf_text(conf, id->user), other);
	set_name("SHELL", conf_text(conf, id->shell), other);
}

static void set_environment(const struct slot *s, const struct conf *conf,
			    const struct conf_pool *p)
{
	char usec[24];
	bool ok = true;

	for (uint32_t i = 0; i < p->environment.count; i++)
		ok = ok && environment_put(conf_item(conf, p->environment, i));
	ok = ok && environment_set("CREW_WORKER", s->name) &&
	     environment_set("CREW_POOL", conf_text(conf, p->name));
	if (conf_protocol(p))
		ok = ok && environment_set("CREW_TASKS", conf_protocol(p));
	if (p->ready == CONF_READY_NOTIFY || p->watchdog)
		ok = ok && environment_set("NOTIFY_SOCKET", spawn_setup.notify);
	if (p->is_template)
		ok = ok && environment_set("CREW_TEMPLATE_FD", TEMPLATE_FD);
	snprintf(usec, sizeof(usec), "%lld", (long long)p->watchdog);
	if (p->watchdog)
		ok = ok && environment_set("WATCHDOG_USEC", usec);
	errno = E2BIG;
	if (!ok)
		fail(WIRE_STEP_EXEC);
}

/* ---- what the process is ---------------------------------------------------------------------- */

static void set_limits(const struct conf *conf, const struct conf_pool *p)
{
	const struct conf_limit *limits = conf_limits(conf, p);

	if (setrlimit(RLIMIT_NOFILE, &spawn_setup.nofile) < 0)
		fail(WIRE_STEP_LIMITS);
	for (uint32_t i = 0; i < p->limit_count; i++) {
		struct rlimit l = { .rlim_cur = limits[i].soft, .rlim_max = limits[i].hard };

		if (setrlimit((__rlimit_resource_t)limits[i].resource, &l) < 0)
			fail(WIRE_STEP_LIMITS);
	}
	errno = 0;
	if (p->nice_given && nice(p->nice) == -1 && errno)
		fail(WIRE_STEP_NICE);
	if (p->umask >= 0)
		umask((mode_t)p->umask);
}

/* In this order: once the user is another, nothing of it would be allowed. */
static void become(const struct conf *conf, const struct conf_identity *id)
{
	uid_t r, e, s;

	if (id->uid != CONF_NO_ID && spawn_setup.root &&
	    setgroups(id->group_count, conf_groups(conf, id)) < 0)
		fail(WIRE_STEP_GROUPS);
	if (id->gid != CONF_NO_ID && setresgid(id->gid, id->gid, id->gid) < 0)
		fail(WIRE_STEP_GROUPS);
	if (id->uid == CONF_NO_ID)
		return;
	if (setresuid(id->uid, id->uid, id->uid) < 0 || getresuid(&r, &e, &s) < 0)
		fail(WIRE_STEP_USER);
	if (r != id->uid || e != id->uid || s != id->uid || (id->uid && setuid(0) == 0)) {
		errno = EPERM;
		fail(WIRE_STEP_USER);
	}
}

struct stdio {
	int in, out, log; /* in, out: -1: the ordinary ones */
	int ask;	  /* -1: it is no template */
};

/* All other descriptors are closed here and not by exec, which may be long in coming when a file system
 * hangs: among them may be the ends of other workers' pipes, where somebody waits for the end of file. */
static void set_stdio(const struct stdio *io)
{
	int in = io->in >= 0 ? io->in : spawn_setup.null, out = io->out >= 0 ? io->out : io->log;
	int ask = -1;

	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(io->log, 2) < 0)
		fail(WIRE_STEP_STDIO);
	if (io->ask >= 0 && (ask = fcntl(io->ask, F_DUPFD, 5)) < 0) /* out of the way of the other */
		fail(WIRE_STEP_STDIO);
	if (status_fd >= 0 && status_fd != 3 && dup3(status_fd, 3, O_CLOEXEC) < 0)
		fail(WIRE_STEP_STDIO);
	status_fd = status_fd >= 0 ? 3 : -1;
	if (ask >= 0 && dup2(ask, 4) < 0)
		fail(WIRE_STEP_STDIO);
	if (ask >= 0 && status_fd < 0)
		close(3);
	close_range(ask >= 0 ? 5 : status_fd < 0 ? 3 : 4, ~0u, 0);
}

/*
 * The kernel is asked directly: the C library refuses its own two, which may have been inherited as ignored.
 * All of the kernel's struct being zero means the default, on every architecture. What is handled (by a sanitizer)
 * is not touched: exec does that.
 */
void spawn_unignore_signals(void)
{
	static const unsigned long standard[8];
	struct sigaction now;

	for (int i = 1; i < _NSIG; i++)
		if (sigaction(i, NULL, &now) < 0 || now.sa_handler == SIG_IGN)
			syscall(SYS_rt_sigaction, i, standard, NULL, (size_t)_NSIG / 8);
}

/* What came meanwhile is not lost, and ends the child. */
static void unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* As execvp(3), but along the PATH of the environment the worker gets. */
static void exec_along_path(char *const *argv)
{
	const char *path = strchr(argv[0], '/') ? NULL : environment_get("PATH");
	char file[4096];
	int err = ENOENT;

	if (!path)
		execve(argv[0], argv, environment_vector());
	while (path) {
		size_t len = strcspn(path, ":");

		if (snprintf(file, sizeof(file), "%.*s%s%s", (int)len, path, len ? "/" : "./",
			     argv[0]) < (int)sizeof(file))
			execve(file, argv, environment_vector());
		if (errno == EACCES && access(file, F_OK) < 0)
			errno = ENOENT; /* what cannot be looked into has it not, as for a shell */
		if (errno != ENOENT && errno != ENOTDIR)
			err = errno;
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			break;
		path = path[len] ? path + len + 1 : NULL;
		errno = err;
	}
	fail(WIRE_STEP_EXEC);
}

/* What `run` asked for came by way of the manager: it is checked here, and runs as the configuration
 * says. Without its seals it could change once it is checked. NULL if it will not do. */
static const struct conf *map_own_block(int fd, size_t *size)
{
	struct stat st;
	void *block;

	if (!sealed_is(fd) || fstat(fd, &st) < 0 || st.st_size <= 0 ||
	    st.st_size > CREW_RUN_SPEC_MAX)
		return NULL;
	*size = (size_t)st.st_size;
	block = mmap(NULL, *size, PROT_READ, MAP_SHARED, fd, 0);
	return block == MAP_FAILED ? NULL : block;
}

/* From here on the child has descriptors of its own, which the keeper waits to hear. */
static void take_descriptors(const struct slot *s)
{
	status_fd = s->status_in;
	if (close_range(SLOT_LOW, ~0u, CLOSE_RANGE_UNSHARE) < 0 && unshare(CLONE_FILES) < 0)
		_exit(126);
	if (status_fd >= 0 && write(status_fd, "", 1) != 1)
		_exit(126);
}

/* Whom it is to run as; conf: the configuration in force, mine: what it runs, of pool p. */
static const struct conf_identity *identity_of(const struct conf *conf, const struct conf *mine,
					       const struct conf_pool *p)
{
	if (mine == conf)
		return &p->identity;
	if (spawn_setup.root && conf->run.uid == CONF_NO_ID) {
		errno = EPERM;
		fail(WIRE_STEP_USER);
	}
	return &conf->run;
}

/* What is run is the configuration's; a task adds its arguments. */
static void set_command(const struct conf *conf, const struct conf_pool *p)
{
	unsigned n = 0;

	for (; n < p->command.count && n < CREW_ARGS_MAX; n++)
		argv_space[n] = (char *)(uintptr_t)conf_item(conf, p->command, n);
	n = handed_append(argv_space, n);
	argv_space[n] = NULL; /* a child on the borrowed stack may have left more there */
}

/* For one that the manager does not know yet, and so could not end should the keeper be killed now: see tell_before(). */
static void end_with_keeper(int sig)
{
	prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0);
	if (getppid() != spawn_setup.keeper)
		_exit(126);
}

static void __attribute__((noreturn))
child(const struct slot *s, const struct conf *conf, uint32_t index)
{
	bool own = index == UINT32_MAX;
	size_t size = 0;
	const struct conf *mine = own ? map_own_block(s->block, &size) : conf;
	const struct conf_identity *id;
	const struct conf_pool *p;
	/* the slot is the keeper's, which clears these soon */
	const struct stdio io = { s->child_in, s->child_out, s->log_in, s->child_ask };

	/* Should the keeper die, the manager can have this group signalled through the pipe, see orphan.h. It cannot see
	 * the keeper's end before set_stdio() has closed what is still shared here: so it finds the group there. */
	fcntl(s->log, F_SETOWN, -getpid());
	take_descriptors(s);
	errno = EINVAL;
	if (own && (!mine || !conf_valid(mine, size) || mine->pool_count != 1))
		fail(WIRE_STEP_SPEC);
	p = conf_pool_at(mine, own ? 0 : index);
	id = identity_of(conf, mine, p);
	if (setsid() < 0)
		fail(WIRE_STEP_SESSION);
	cgroup_enter(s->name);
	set_stdio(&io);
	set_limits(mine, p);
	environment_begin(p->clean_environment);
	set_identity(conf, id);
	set_environment(s, mine, p);
	become(conf, id);
	if (p->directory && chdir(conf_text(mine, p->directory)) < 0)
		fail(WIRE_STEP_DIRECTORY);
	set_command(mine, p);
	if (!s->fds_told)
		end_with_keeper(p->stop_signal);
	unblock_signals();
	exec_along_path(argv_space);
	_exit(127);
}

/* ---- the keeper's side ------------------------------------------------------------------------ */

/* As fork(2), but the table of descriptors is still shared: child() begins by taking its part of it. */
static pid_t fork_sharing(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
}

/* What child() is called with, on the other stack. */
struct start {
	const struct slot *slot;
	const struct conf *conf;
	uint32_t pool;
};

static int child_start(void *arg)
{
	const struct start *start = arg;

	child(start->slot, start->conf, start->pool);
}

/*
 * As vfork(2), but on a stack of its own: the child borrows the keeper's memory, and the keeper waits until exec
 * is done. That takes half the time of a copy. What the child writes on its way stays there: each child sets
 * all of it anew.
 */
static pid_t fork_borrowing(struct start *start)
{
	static char stack[STACK_SIZE] __attribute__((aligned(64)));

	return clone(child_start, stack + sizeof(stack),
		     CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, start);
}

/* Nothing may hold up a child that the keeper waits for: no file system that hangs, no other user, who could stop
 * it before its exec. And one that maps a block (`run`) would do so in the keeper. */
static bool may_borrow(const struct conf *conf, uint32_t pool)
{
	const struct conf_pool *p;

	if (SANITIZED || pool == UINT32_MAX)
		return false;
	p = conf_pool_at(conf, pool);
	return p->identity.uid == CONF_NO_ID && !p->may_hang;
}

static pid_t start_child(const struct slot *s, const struct conf *conf, uint32_t pool)
{
	struct start start = { s, conf, pool };
	pid_t pid;

	if (s->status < 0)
		return fork_borrowing(&start);
	pid = fork_sharing();
	if (pid == 0)
		child(s, conf, pool);
	return pid;
}

static int fail_to(struct spawn_failure *f, enum wire_step step)
{
	*f = (struct spawn_failure){ .step = (int)step, .err = errno };
	return -1;
}

static int give_pipes(const struct slot *s, const struct conf_pool *p)
{
	if (fchown(s->log, spawn_setup.manager_uid, spawn_setup.manager_gid) < 0)
		return -1;
	if (!p || !spawn_setup.root || p->identity.uid == CONF_NO_ID)
		return 0;
	return slot_give_pipes(s, p->identity.uid, p->identity.gid);
}

static int make_ask(struct slot *s, const struct conf *conf, const struct conf_pool *p)
{
	if (!p || !p->is_template)
		return 0;
	snprintf(s->of, sizeof(s->of), "%s", conf_text(conf, p->name));
	s->asked.under_way = false;
	if (slot_make_ask(s) < 0)
		return -1;
	spawn_setup.watch(s->ask, EPOLLIN, TEMPLATE_WATCH | s->told.slot, true);
	return 0;
}

/* All that can be known to be wrong before there is a child. */
int spawn_prepare(struct slot *s, const struct conf *conf, uint32_t pool,
		  const struct wire_tail *tail, struct spawn_failure *f)
{
	const struct conf_pool *p = NULL;
	enum conf_tasks tasks = CONF_TASKS_NONE;
	bool for_task = s->with & WIRE_WITH_TASK;

	errno = ECANCELED;
	if (pool != UINT32_MAX && pool >= conf->pool_count) /* it went while this one was in line */
		return fail_to(f, WIRE_STEP_SPEC);
	if (pool != UINT32_MAX) {
		p = conf_pool_at(conf, pool);
		tasks = p->tasks;
	}
	if (for_task != (tasks == CONF_TASKS_EXEC) || /* or it became another kind */
	    !(s->with & WIRE_WITH_TEMPLATE) != !(p && p->template))
		return fail_to(f, WIRE_STEP_SPEC);
	if (handed_load(s, tail) < 0)
		return fail_to(f, WIRE_STEP_SPEC);
	if (slot_make_pipes(s, tasks,
			    s->with & WIRE_WITH_TEMPLATE || !may_borrow(conf, pool)) < 0)
		return fail_to(f, WIRE_STEP_PIPE);
	if (give_pipes(s, p) == 0 && make_ask(s, conf, p) == 0)
		return 0;
	fail_to(f, WIRE_STEP_PIPE);
	slot_drop_pipes(s);
	return -1;
}

/*
 * The manager gets the pipe, by which it can end a worker, before there is a process: at no moment does one run that
 * nobody would end should the keeper be killed. It wakes the manager once more; a task's process, of which there are
 * thousands a second, is spared that, as is one told to a manager that takes no more for now. See end_with_keeper().
 */
static void tell_before(struct slot *s)
{
	if (!(s->with & WIRE_WITH_TASK) && slot_tell(s, *spawn_setup.link) < 0)
		s->fds_told = false;
}

int spawn_worker(struct slot *s, const struct conf *conf, uint32_t pool,
		 const struct wire_tail *tail, struct spawn_failure *f)
{
	int r = spawn_prepare(s, conf, pool, tail, f);
	pid_t pid;

	slot_drop_request(s);
	if (r < 0)
		return -1;
	cgroup_make(s->name);
	tell_before(s);
	word = (struct spawn_failure){ 0 };
	pid = start_child(s, conf, pool);
	if (pid < 0) {
		fail_to(f, WIRE_STEP_FORK);
		slot_drop_pipes(s);
		return -1;
	}
	table_forked(s, pid);
	if (s->status >= 0)
		return 0;
	slot_unshared(s);
	s->told.step = word.step;
	s->told.err = word.err;
	if (!word.step)
		s->told.state = WIRE_RUNNING;
	return 0;
}

static void __attribute__((noreturn))
self(const char *const *argv, const int *fds, unsigned count, const struct conf_identity *as)
{
	unsigned above = 3 + count;
	int high[WIRE_FDS_MAX];

	setsid();
	for (unsigned i = 0; i < count; i++)
		high[i] = fcntl(fds[i], F_DUPFD, (int)above);
	for (unsigned i = 0; i < count; i++)
		if (high[i] < 0 || dup2(high[i], 3 + (int)i) < 0)
			_exit(1);
	status_fd = -1;
	if (as) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (setgroups(0, NULL) < 0 || setresgid(as->gid, as->gid, as->gid) < 0 ||
		    setresuid(as->uid, as->uid, as->uid) < 0)
			_exit(1);
	}
	close_range(above, ~0u, 0);
	unblock_signals();
	execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	_exit(1);
}

pid_t spawn_self(const char *const *argv, const int *fds, unsigned count,
		 const struct conf_identity *as)
{
	pid_t pid = fork();

	if (pid == 0)
		self(argv, fds, count, as);
	return pid;
}

/* Others' pipes are among what it must not keep: held by one that hangs, they would keep those others from being seen
 * to have started. */
pid_t spawn_aside(int a, int b)
{
	int low = a < b ? a : b, high = a < b ? b : a;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	unblock_signals();
	if (low > 3)
		close_range(3, (unsigned)low - 1, 0);
	if (high > low + 1)
		close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	close_range((unsigned)high + 1, ~0u, 0);
	return 0;
}

/* Opening may wait for as long as the file system likes: here it holds up nobody. */
pid_t spawn_opener(int channel, const char *path, const struct wire *answer)
{
	struct wire w = *answer;
	pid_t pid = spawn_aside(channel, channel);
	int fd;

	if (pid != 0)
		return pid;
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	w.log.err = fd < 0 ? errno : 0;
	while (wire_send(channel, &w, &fd, fd >= 0) < 0 && errno == EAGAIN)
		usleep(10000);
	_exit(0);
}
