#include "lib/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/bounds.h"
#include "lib/clock.h"

#define READ_SIZE     65536
#define SYSTEM_SOCKET "/run/crewd/control"

struct client {
	int fd;
	struct buf in, out;
	size_t searched;
	int came; /* the descriptor that came last, -1: none */
};

const char *client_default_path(char path[CLIENT_PATH_MAX])
{
	const char *dir = getenv("XDG_RUNTIME_DIR"), *own = NULL;

	if (dir && *dir &&
	    (size_t)snprintf(path, CLIENT_PATH_MAX, "%s/crewd/control", dir) < CLIENT_PATH_MAX)
		own = path;
	if (geteuid() == 0)
		return SYSTEM_SOCKET;
	return (own && access(own, F_OK) == 0) || access(SYSTEM_SOCKET, F_OK) < 0 ? own
										  : SYSTEM_SOCKET;
}

const char *client_default_socket(void)
{
	static char path[CLIENT_PATH_MAX];

	return client_default_path(path);
}

static struct timeval time_left(int64_t deadline)
{
	int64_t left = deadline - clock_now();

	if (left < 1)
		left = 1; /* 0 would mean for ever */
	return (struct timeval){ .tv_sec = (time_t)(left / USEC_PER_SEC),
				 .tv_usec = (suseconds_t)(left % USEC_PER_SEC) };
}

/* 0, or -1 with errno; a full backlog is waited for until then. */
static int connect_until(int fd, const struct sockaddr_un *a, int64_t deadline)
{
	int r;

	do {
		struct timeval left = time_left(deadline);

		if (deadline != INT64_MAX &&
		    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof(left)) < 0)
			return -1;
		r = connect(fd, (const struct sockaddr *)a, sizeof(*a));
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN && deadline != INT64_MAX)
		errno = ETIMEDOUT;
	return r;
}

static int dial(const char *path, int flags, int64_t deadline)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0 || connect_until(fd, &a, deadline) == 0)
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

int client_dial(const char *path, bool nonblock)
{
	return dial(path, nonblock ? SOCK_NONBLOCK : 0, INT64_MAX);
}

struct client *client_connect_until(const char *path, int64_t deadline)
{
	struct client *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return NULL;
	c->in.max = CREW_OUTPUT_MAX + READ_SIZE;
	c->out.max = CREW_MESSAGE_MAX + 1;
	c->came = -1;
	c->fd = dial(path, 0, deadline);
	if (c->fd >= 0)
		return c;
	err = errno;
	client_close(c);
	errno = err;
	return NULL;
}

struct client *client_connect(const char *path)
{
	return client_connect_until(path, INT64_MAX);
}

void client_close(struct client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	if (c->came >= 0)
		close(c->came);
	buf_free(&c->in);
	buf_free(&c->out);
	free(c);
}

int client_fd(const struct client *c)
{
	return c->fd;
}

int client_take_fd(struct client *c)
{
	int fd = c->came;

	c->came = -1;
	return fd;
}

static int wait_until(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = deadline == INT64_MAX ? -1 : deadline - clock_now();
	int r;

	if (deadline != INT64_MAX && left < 0)
		left = 0;
	/* rounded up, so as not to come back a moment too early; long waits in parts */
	r = poll(&p, 1,
		 left < 0		      ? -1
		 : left > 3600 * USEC_PER_SEC ? 3600000
					      : (int)((left + 999) / 1000));
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (clock_now() < deadline)
		return 0;
	errno = ETIMEDOUT;
	return -1;
}

/* What is left of a call has to follow, whatever signals come meanwhile. */
static int send_some(struct client *c, int64_t deadline)
{
	ssize_t n = send(c->fd, buf_data(&c->out), c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0) {
		buf_consume(&c->out, (size_t)n);
		return 0;
	}
	if (errno == EAGAIN && wait_until(c->fd, POLLOUT, deadline) == 0)
		return 0;
	if (errno == ECONNRESET)
		errno = EPIPE;
	return errno == EINTR ? 0 : -1;
}

int client_send_until(struct client *c, const char *method, const char *params, size_t len,
		      unsigned flags, int64_t deadline)
{
	if (message_write_call(&c->out, method, params, len, flags) < 0) {
		if (errno == ENOBUFS)
			errno = EMSGSIZE;
		return -1;
	}
	while (c->out.len)
		if (send_some(c, deadline) < 0) {
			buf_free(&c->out);
			return -1;
		}
	return 0;
}

int client_send(struct client *c, const char *method, const char *params, size_t len,
		unsigned flags)
{
	return client_send_until(c, method, params, len, flags, INT64_MAX);
}

/* Where a whole frame ends, its NUL included; 0: none yet. Replies may be longer than calls. */
static size_t whole_frame(struct client *c)
{
	const char *end;

	if (c->searched >= c->in.len)
		return 0;
	end = memchr(buf_data(&c->in) + c->searched, '\0', c->in.len - c->searched);
	if (end)
		return (size_t)(end - buf_data(&c->in)) + 1;
	c->searched = c->in.len;
	return 0;
}

/* More than one in a piece is nothing that a daemon sends: the kernel drops what has no room. */
static void take_descriptor(struct client *c, struct msghdr *msg)
{
	struct cmsghdr *h = msg->msg_controllen ? CMSG_FIRSTHDR(msg) : NULL;

	if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
	    h->cmsg_len < CMSG_LEN(sizeof(int)))
		return;
	if (c->came >= 0)
		close(c->came);
	memcpy(&c->came, CMSG_DATA(h), sizeof(int));
}

static ssize_t receive_into(struct client *c, char *room)
{
	union {
		char space[CMSG_LEN(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = room, .iov_len = READ_SIZE };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n > 0)
		take_descriptor(c, &msg);
	return n;
}

static int read_some(struct client *c, int64_t deadline)
{
	char *room;
	ssize_t n;

	if (wait_until(c->fd, POLLIN, deadline) < 0)
		return -1;
	room = buf_room(&c->in, READ_SIZE);
	if (!room) {
		errno = EPROTO;
		return -1;
	}
	n = receive_into(c, room);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		errno = EPIPE;
	if (n <= 0)
		return -1;
	c->in.len += (size_t)n;
	return 0;
}

int client_receive(struct client *c, struct message_reply *reply, int64_t deadline)
{
	const char *why;
	size_t size;
	int r;

	while ((size = whole_frame(c)) == 0)
		if (read_some(c, deadline) < 0)
			return -1;
	r = message_read_reply(buf_data(&c->in), size - 1, reply, &why);
	buf_consume(&c->in, size);
	c->searched = 0;
	if (r < 0)
		errno = EPROTO;
	return r;
}
