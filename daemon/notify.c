#include "daemon/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <systemd/sd-daemon.h>
#include "daemon/child.h"
#include "daemon/crew.h"
#include "daemon/procfs.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/rights.h"

#define MESSAGES_A_TURN 64
#define MESSAGE_MAX	4096
#define EARLY_MAX	64
#define EARLY_KEPT	(10 * USEC_PER_SEC)

static struct loop_io *io;

/* A worker may be quicker than the keeper's word that it exists: what it says is kept for a moment. Not
 * longer, as that may not have been a worker, and its process ID be a worker's later. */
static struct {
	pid_t pid, session;
	int64_t until; /* numbers come again: not for ever */
} early[EARLY_MAX];
static unsigned early_next;

/* ---- what workers say ------------------------------------------------------------------------- */

/* A fork has only the thread that forks; what others have locked stays locked there. */
static void on_ready(struct worker *w)
{
	if (w->pool->def->is_template && procfs_threads(w->pid) > 1)
		worker_refuse(w, WORKER_BLAME_THREADS);
	else
		worker_on_ready(w);
}

static void apply(struct worker *w, const char *text)
{
	for (const char *line = text; line;
	     line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		size_t len = strcspn(line, "\n");

		if (len == 7 && strncmp(line, "READY=1", len) == 0)
			on_ready(w);
		else if (len == 10 && strncmp(line, "WATCHDOG=1", len) == 0)
			worker_on_watchdog(w);
		else if (len == 10 && strncmp(line, "STOPPING=1", len) == 0)
			worker_on_stopping(w);
	}
}

/* By its main process, or as a process of its session: `systemd-notify` in a script is one. */
static struct worker *known(pid_t pid, pid_t session)
{
	struct worker *w = crew_pid(pid);

	return !w && session > 0 ? crew_pid(session) : w;
}

static struct worker *sender(pid_t pid, pid_t session)
{
	struct worker *w = known(pid, session);

	if (w)
		return w;
	child_catch_up();
	return known(pid, session);
}

static void keep_early(pid_t pid, pid_t session, const char *text)
{
	if (!strstr(text, "READY=1"))
		return;
	early[early_next].pid = pid;
	early[early_next].session = session;
	early[early_next].until = loop_now() + EARLY_KEPT;
	early_next = (early_next + 1) % EARLY_MAX;
}

void notify_forked(struct worker *w, pid_t pid)
{
	for (unsigned i = 0; i < EARLY_MAX; i++)
		if (early[i].until > loop_now() &&
		    (early[i].pid == pid || early[i].session == pid)) {
			early[i].until = 0;
			on_ready(w);
		}
}

static bool receive(int fd)
{
	char text[MESSAGE_MAX + 1];
	union {
		char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = text, .iov_len = MESSAGE_MAX };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	pid_t pid, session;
	struct worker *w;

	if (n < 0)
		return false;
	text[n] = '\0';
	pid = rights_sender(&msg); /* descriptors come with BARRIER=1: to close them is the answer */
	session = pid > 0 ? getsid(pid) : -1;
	w = pid > 0 ? sender(pid, session) : NULL;
	if (w)
		apply(w, text);
	else if (pid > 0)
		keep_early(pid, session, text);
	return true;
}

static void on_readable(int fd, unsigned events, void *arg)
{
	(void)events;
	(void)arg;
	for (int i = 0; i < MESSAGES_A_TURN && receive(fd); i++)
		;
}

int notify_init(int fd)
{
	io = loop_io_new(fd, LOOP_READ, on_readable, NULL);
	return io ? 0 : -1;
}

void notify_close(void)
{
	loop_io_free(io);
	io = NULL;
}

/* ---- what the keeper says to systemd ---------------------------------------------------------- */

void notify_systemd(const char *state)
{
	sd_notify(0, state);
}

int64_t notify_watchdog_interval(void)
{
	static int64_t interval = -1;
	uint64_t usec;

	if (interval < 0)
		interval = sd_watchdog_enabled(0, &usec) > 0 ? (int64_t)usec : 0;
	return interval;
}

static int prepare(int fd)
{
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

int notify_listen_fd(void)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names), best = -1;

	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		bool usable = sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0;

		if (usable && (best < 0 || strcmp(names[i], "varlink") == 0))
			best = fd;
		else if (!usable)
			log_warning(NULL,
				    "descriptor %d from systemd is no listening UNIX stream socket",
				    fd);
	}
	for (int i = 0; names && i < n; i++)
		free(names[i]);
	free(names);
	return best < 0 ? -1 : prepare(best);
}
