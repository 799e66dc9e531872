#include "daemon/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/rights.h"

union control {
	char space[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int wire_send_tail(int fd, const struct wire *w, const char *tail, size_t len, const int *fds,
		   unsigned count)
{
	struct iovec iov[2] = { { .iov_base = (void *)(uintptr_t)w, .iov_len = sizeof(*w) },
				{ .iov_base = (void *)(uintptr_t)tail, .iov_len = len } };
	union control control = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
	ssize_t n;

	if (count > WIRE_FDS_MAX || len > WIRE_TAIL_MAX)
		return errno = EINVAL, -1;
	if (count) {
		msg.msg_control = control.space;
		rights_put(&msg, fds, count);
	}
	do
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -1 : 0;
}

int wire_send(int fd, const struct wire *w, const int *fds, unsigned count)
{
	return wire_send_tail(fd, w, NULL, 0, fds, count);
}

/* Of a packet whose struct is whole; what follows is the tail, where there may be one. */
static bool size_ok(size_t n, struct wire_tail *tail)
{
	if (n < sizeof(struct wire))
		return false;
	if (tail)
		tail->len = n - sizeof(struct wire);
	return tail || n == sizeof(struct wire);
}

int wire_receive_tail(int fd, struct wire *w, struct wire_tail *tail, int fds[WIRE_FDS_MAX],
		      unsigned *count)
{
	struct iovec iov[2] = { { .iov_base = w, .iov_len = sizeof(*w) },
				{ .iov_base = tail ? tail->data : NULL,
				  .iov_len = WIRE_TAIL_MAX } };
	union control control;
	struct msghdr msg = { .msg_iov = iov,
			      .msg_iovlen = tail ? 2 : 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n;

	*count = 0;
	do
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	/* The other side left without having read everything: that is told once, before its last words. */
	if (n < 0)
		return -1;
	if (n == 0)
		return 0;
	*count = rights_take(&msg, fds, WIRE_FDS_MAX);
	if (!size_ok((size_t)n, tail) || msg.msg_flags & MSG_TRUNC) {
		while (*count)
			close(fds[--*count]);
		return errno = EPROTO, -1;
	}
	if (msg.msg_flags & MSG_CTRUNC)
		return errno = EMFILE, -1;
	return 1;
}

int wire_receive(int fd, struct wire *w, int fds[WIRE_FDS_MAX], unsigned *count)
{
	return wire_receive_tail(fd, w, NULL, fds, count);
}
