#include "lib/template.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "lib/notify_send.h"
#include "lib/rights.h"

enum { IN, OUT, ERR, SPEAK, FDS };

struct request {
	char text[CREW_TEMPLATE_MESSAGE_MAX + 1];
	size_t size;
	int fds[FDS];
	unsigned fd_count;
	const char *id, *name, *rest; /* rest: further strings, up to text + size */
};

/* ---- requests --------------------------------------------------------------------------------- */

static void drop_fds(struct request *r)
{
	while (r->fd_count)
		close(r->fds[--r->fd_count]);
}

/* 1; 0 at the end; -1 with errno. */
static int receive(int channel, struct request *r)
{
	union {
		char space[CMSG_SPACE(FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { r->text, sizeof(r->text) - 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n;

	do
		n = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 && errno != ECONNRESET ? -1 : 0;
	r->size = (size_t)n;
	r->text[n] = '\0';
	r->fd_count = rights_take(&msg, r->fds, FDS);
	return 1;
}

static const char *next_string(const struct request *r, const char *at)
{
	const char *end = r->text + r->size, *next = at + strlen(at) + 1;

	return next < end ? next : NULL;
}

static bool parse(struct request *r)
{
	if (strcmp(r->text, "fork") != 0 || r->fd_count != FDS)
		return false;
	r->id = next_string(r, r->text);
	r->name = r->id ? next_string(r, r->id) : NULL;
	r->rest = r->name ? next_string(r, r->name) : NULL;
	return r->name != NULL;
}

/* ---- the worker ------------------------------------------------------------------------------- */

static int set_variable(const char *pair)
{
	const char *equals = strchr(pair, '=');
	char name[256];

	if (!equals || (size_t)(equals - pair) >= sizeof(name))
		return errno = EINVAL, -1;
	memcpy(name, pair, (size_t)(equals - pair));
	name[equals - pair] = '\0';
	return setenv(name, equals + 1, 1);
}

/* A word that is not known is left alone: there may be more of them one day. */
static int obey(const char *item)
{
	if (strncmp(item, "set ", 4) == 0)
		return set_variable(item + 4);
	if (strncmp(item, "unset ", 6) == 0)
		return unsetenv(item + 6);
	if (strncmp(item, "umask ", 6) == 0)
		umask((mode_t)strtoul(item + 6, NULL, 8));
	else if (strncmp(item, "chdir ", 6) == 0)
		return chdir(item + 6);
	return 0;
}

static void default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < _NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "cannot be a worker: %s: %s\n", what, strerror(errno));
	_exit(127);
}

/* Output first, so that what goes wrong can be said. Then crewd is told who this is, and says when to begin: not
 * before it knows the process as its own. */
static void become_worker(struct request *r, int channel)
{
	char byte = 0;

	close(channel);
	default_signals();
	if (dup2(r->fds[OUT], 1) < 0 || dup2(r->fds[ERR], 2) < 0 || dup2(r->fds[IN], 0) < 0)
		_exit(126);
	if (setsid() < 0)
		give_up("setsid");
	for (const char *item = r->rest; item; item = next_string(r, item))
		if (obey(item) < 0)
			give_up(item);
	if (send(r->fds[SPEAK], &byte, 1, MSG_NOSIGNAL) != 1 ||
	    recv(r->fds[SPEAK], &byte, 1, 0) != 1)
		_exit(0); /* nobody wants it any more */
	drop_fds(r);
}

/* A sibling of this process: crewd's own child. */
static pid_t fork_sibling(void)
{
	struct clone_args args = { .flags = CLONE_PARENT };

	fflush(NULL); /* or what is in a buffer would be printed once more by each worker */
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* ---- the template ----------------------------------------------------------------------------- */

static int answer(int channel, const char *what, const char *id, int err)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "%s%c%.32s%c%d", what, 0, id, 0, err);

	return send(channel, text, (size_t)n + 1, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* 1 in the worker, 0 in the template, -1 with errno. */
static int serve_one(int channel, struct request *r, struct template_worker *worker)
{
	pid_t pid;
	int err;

	if (!parse(r)) {
		drop_fds(r);
		return errno = EPROTO, -1;
	}
	pid = fork_sibling();
	if (pid == 0) {
		become_worker(r, channel);
		snprintf(worker->name, sizeof(worker->name), "%s", r->name);
		return 1;
	}
	err = errno;
	drop_fds(r);
	return answer(channel, pid < 0 ? "failed" : "forked", r->id, pid < 0 ? err : 0);
}

static int channel_of(void)
{
	const char *text = getenv("CREW_TEMPLATE_FD");
	int fd = text ? atoi(text) : -1;

	if (fd < 3 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return errno = EINVAL, -1;
	return fd;
}

int template_serve(struct template_worker *worker)
{
	static struct request r; /* large, and there is one thread */
	int channel = channel_of(), n;

	if (channel < 0)
		return -1;
	n = notify_send("READY=1");
	if (n == 0)
		errno = EINVAL; /* whoever starts a template wants to hear */
	if (n <= 0)
		return -1;
	while ((n = receive(channel, &r)) > 0) {
		n = serve_one(channel, &r, worker);
		if (n != 0)
			break;
	}
	return n;
}
