#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "daemon/cgroup.h"
#include "daemon/slice.h"
#include "daemon/spawn.h"
#include "daemon/keeper/state.h"
#include "daemon/ledger.h"
#include "daemon/listen.h"
#include "daemon/notify.h"
#include "lib/clock.h"
#include "lib/errors.h"
#include "lib/log.h"

#define TICK	  (2 * USEC_PER_SEC)
#define READER_LIMIT (10 * USEC_PER_SEC)
#define SEALS	     (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int fail(const char *what, const char *object)
{
	log_error(NULL, "cannot %s %s: %s", what, object, strerror(errno));
	return CREW_EXIT_FAILED;
}

static int memory(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- the configuration ------------------------------------------------------------------------ */

/* The file is opened and parsed by a process that may crash, hang or be killed without harm. */
static pid_t begin_reader(const char *config, int *block, int *text)
{
	const char *argv[] = { "crewd: reader", "--internal=reader", config, NULL };
	int fds[2] = { memory("crewd-conf", 0), memory("crewd-conf-errors", 0) };
	pid_t pid = fds[0] < 0 || fds[1] < 0 ? -1 : spawn_self(argv, fds, 2, NULL);

	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return -1;
	}
	*block = fds[0];
	*text = fds[1];
	return pid;
}

bool start_take(int block, int serial, struct snapshot *snap)
{
	struct stat st;
	void *p = MAP_FAILED;

	if (fcntl(block, F_ADD_SEALS, SEALS) == 0 && fstat(block, &st) == 0 && st.st_size > 0 &&
	    st.st_size <= CREW_CONF_MAX)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, block, 0);
	if (p != MAP_FAILED && conf_valid(p, (size_t)st.st_size)) {
		*snap = (struct snapshot){ .fd = block, .conf = p, .serial = serial };
		return true;
	}
	if (p != MAP_FAILED)
		munmap(p, (size_t)st.st_size);
	close(block);
	return false;
}

void start_drop(struct snapshot *snap)
{
	if (snap->conf)
		munmap((void *)(uintptr_t)snap->conf, snap->conf->size);
	if (snap->fd >= 0)
		close(snap->fd);
	*snap = (struct snapshot){ .fd = -1 };
}

/* One that cannot be started is answered as one that failed. */
static void begin_read(void)
{
	k.reader.pid = begin_reader(k.config, &k.reader.block, &k.reader.text);
	k.reader.deadline = clock_now() + READER_LIMIT;
	k.reader.again = false;
	if (k.reader.pid > 0)
		return;
	log_error("keeper", "cannot start the reader of %s: %s", k.config, strerror(errno));
	k.reader.text = open("/dev/null", O_RDONLY | O_CLOEXEC);
	k.reader.code = CLD_EXITED;
	k.reader.status = CREW_EXIT_FAILED;
	k.reader.finished = true;
}

void start_forget_read(void)
{
	start_drop(&k.next);
	if (k.reader.finished)
		close(k.reader.text);
	k.reader.finished = false;
}

void start_begin_read(int serial)
{
	start_forget_read();
	k.reader.serial = serial;
	k.reader.again = k.reader.pid > 0;
	if (k.reader.again)
		kill(k.reader.pid, SIGKILL);
	else
		begin_read();
}

void start_read_done(const siginfo_t *si)
{
	waitpid(k.reader.pid, NULL, WNOHANG);
	k.reader.pid = 0;
	if (k.reader.again) {
		close(k.reader.block);
		close(k.reader.text);
		begin_read();
		return;
	}
	k.reader.code = si->si_code;
	k.reader.status = si->si_status;
	k.reader.finished = true;
	if (si->si_code == CLD_EXITED && si->si_status == 0)
		start_take(k.reader.block, k.reader.serial, &k.next);
	else
		close(k.reader.block);
}

/* As log_line() would: but lines of the file's own form, that nothing is cut from or put before otherwise. */
static void print_text(int fd)
{
	int own = lseek(fd, 0, SEEK_SET) == 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	FILE *text = own >= 0 ? fdopen(own, "r") : NULL;
	char *line = NULL;
	size_t size = 0;

	while (text && getline(&line, &size, text) > 0) {
		if (log_is_journal())
			fprintf(stderr, "<%d>",
				strstr(line, ": warning: ") ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR);
		fputs(line, stderr);
	}
	free(line);
	if (text)
		fclose(text);
	else if (own >= 0)
		close(own);
}

/* Only at start, when there is nothing yet that waiting could hold up. */
int start_read(const char *config, struct snapshot *snap)
{
	int block, text, pidfd, status = 0;
	pid_t pid = begin_reader(config, &block, &text);
	struct pollfd p = { .events = POLLIN };

	if (pid < 0)
		return fail("start the reader of", config);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	p.fd = pidfd;
	if (pidfd >= 0 && poll(&p, 1, READER_LIMIT / USEC_PER_MSEC) == 0)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(pidfd);
	print_text(text);
	close(text);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && start_take(block, 1, snap))
		return 0;
	if (WIFSIGNALED(status))
		fprintf(stderr,
			"%s:1: the reader was killed by signal %d: it took too long, or too much\n",
			config, WTERMSIG(status));
	return CREW_EXIT_CONFIG;
}

/* ---- all the rest ----------------------------------------------------------------------------- */

static int choose_socket(const char *option)
{
	const char *path = option ? option : conf_text(k.now.conf, k.now.conf->socket);

	if (!path) {
		log_error(NULL,
			  "no control socket: set XDG_RUNTIME_DIR, or socket in %s, or use -s PATH",
			  k.config);
		return CREW_EXIT_FAILED;
	}
	snprintf(k.socket, sizeof(k.socket), "%s", path);
	return 0;
}

static int open_socket(void)
{
	pid_t holder = 0;

	k.listener = notify_listen_fd();
	k.activated = k.listener >= 0;
	listen_make_directory(k.socket);
	k.lock = listen_lock(k.socket, &holder);
	if (k.lock < 0 && errno == EWOULDBLOCK) {
		log_error(NULL, "already running, pid %d (on %s)", holder, k.socket);
		return CREW_EXIT_FAILED;
	}
	if (k.lock < 0)
		return fail("lock the socket", k.socket);
	if (!k.activated)
		k.listener = listen_unix(k.socket, k.now.conf->socket_mode, k.now.conf->socket_gid);
	return k.listener < 0 ? fail("listen on", k.socket) : 0;
}

/* Workers get the soft limit crewd was started with; crewd itself needs many descriptors. */
static void raise_limit(void)
{
	struct rlimit l;

	getrlimit(RLIMIT_NOFILE, &spawn_setup.nofile);
	l = spawn_setup.nofile;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

static void make_parents(const char *path)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(dir, 0755);
		*slash = '/';
	}
}

/* One that is there already is the administrator's, and stays as it is. O_PATH: the keeper may lack the
 * capability to read what is another user's, and the manager uses its own rights. */
static void open_state_dir(void)
{
	const char *dir = conf_text(k.now.conf, k.now.conf->state_dir);
	bool made = false;

	k.state = -1;
	if (!dir)
		return;
	make_parents(dir);
	made = mkdir(dir, 0700) == 0;
	k.state = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (k.state < 0)
		log_warning(NULL, "cannot open state-dir %s: %s; no queue can be durable", dir,
			    strerror(errno));
	else if (made && k.root &&
		 fchownat(k.state, "", k.now.conf->manager.uid, k.now.conf->manager.gid,
			  AT_EMPTY_PATH) < 0)
		log_warning(NULL, "cannot give %s to the manager's user: %s", dir, strerror(errno));
}

static int make_descriptors(const sigset_t *signals)
{
	static char name[64];

	k.epoll = epoll_create1(EPOLL_CLOEXEC);
	k.signals = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	k.tick = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	k.notify = listen_notify(name, sizeof(name));
	spawn_setup.notify = name;
	spawn_setup.null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	k.ledger = memory("crewd-ledger", ledger_size());
	k.logs = memory("crewd-logs", (size_t)CREW_WORKERS_MAX * CREW_LOG_RING);
	if (k.epoll < 0 || k.signals < 0 || k.tick < 0 || k.notify < 0 || spawn_setup.null < 0 ||
	    k.ledger < 0 || k.logs < 0 || table_init() < 0)
		return fail("set up", "memory and sockets");
	return 0;
}

int64_t start_tick_interval(void)
{
	int64_t systemd = notify_watchdog_interval() / 2;

	return systemd && systemd < TICK ? systemd : TICK;
}

void start_tick(int64_t interval)
{
	struct itimerspec t = { 0 };

	t.it_interval.tv_sec = interval / USEC_PER_SEC;
	t.it_interval.tv_nsec = interval % USEC_PER_SEC * 1000;
	t.it_value = t.it_interval;
	timerfd_settime(k.tick, 0, &t, NULL);
}

int start_all(const char *config, const char *socket)
{
	sigset_t signals;
	int r;

	sigfillset(&signals);	      /* they are read, not handled */
	sigdelset(&signals, SIGABRT); /* of the watchdog of systemd: it ends a keeper that hangs */
	sigprocmask(SIG_SETMASK, &signals, NULL);
	spawn_unignore_signals();
	slice_make_short();
	r = start_read(config, &k.now);
	k.root = geteuid() == 0;
	k.next.fd = -1;
	if (r == 0)
		r = choose_socket(socket);
	if (r == 0)
		r = open_socket();
	if (r)
		return r;
	raise_limit();
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	spawn_setup.root = k.root;
	spawn_setup.conf = &k.now.conf;
	spawn_setup.link = &k.link;
	spawn_setup.watch = keeper_watch;
	spawn_setup.keeper = getpid();
	k.as = k.now.conf->manager;
	spawn_setup.manager_uid = k.root ? k.as.uid : geteuid();
	spawn_setup.manager_gid = k.root ? k.as.gid : getegid();
	open_state_dir();
	k.cgroup = cgroup_init();
	return make_descriptors(&signals);
}

void start_undo(void)
{
	char lock[PATH_MAX + 8];

	if (k.lock < 0)
		return;
	if (!k.activated && k.listener >= 0)
		unlink(k.socket);
	snprintf(lock, sizeof(lock), "%s.lock", k.socket);
	unlink(lock);
}
