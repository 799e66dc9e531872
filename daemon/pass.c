#include "daemon/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "lib/rights.h"

bool pass_add(struct passing *p, int fd, size_t before)
{
	int copy;

	if (p->count == PASS_MAX)
		return errno = ENOSPC, false;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return false;
	p->at[p->count].fd = copy;
	p->at[p->count++].before = before;
	return true;
}

static void sent_first(struct passing *p)
{
	close(p->at[0].fd);
	memmove(&p->at[0], &p->at[1], --p->count * sizeof(p->at[0]));
}

static ssize_t send_with(int socket, const char *data, size_t len, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space };

	rights_put(&msg, &fd, 1);
	return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t pass_send(struct passing *p, int socket, const char *data, size_t len)
{
	bool with = p->count && p->at[0].before == 0;
	unsigned next = with;
	ssize_t n;

	if (next < p->count && p->at[next].before && p->at[next].before < len)
		len = p->at[next].before;
	n = with ? send_with(socket, data, len, p->at[0].fd)
		 : send(socket, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return n;
	if (with)
		sent_first(p);
	for (unsigned i = 0; i < p->count; i++)
		p->at[i].before -= p->at[i].before < (size_t)n ? p->at[i].before : (size_t)n;
	return n;
}

void pass_drop(struct passing *p)
{
	while (p->count)
		close(p->at[--p->count].fd);
}
