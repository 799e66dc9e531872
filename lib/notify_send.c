#include "lib/notify_send.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_SEC 5

/* The length of the address; 0: it is none. */
static socklen_t address(const char *name, struct sockaddr_un *a)
{
	size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(a->sun_path))
		return 0;
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, name, len + 1);
	if (name[0] == '@')
		a->sun_path[0] = '\0'; /* abstract: as long as it is said to be, no NUL behind */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
}

static int send_to(const struct sockaddr_un *a, socklen_t size, const char *text)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SEC };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), error;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0)
		do
			n = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)a,
				   size);
		while (n < 0 && errno == EINTR);
	error = errno;
	close(fd);
	errno = error;
	return n < 0 ? -1 : 1;
}

int notify_send(const char *text)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a;
	socklen_t size;

	if (!name || !*name)
		return 0;
	size = address(name, &a);
	if (size == 0) {
		errno = EINVAL;
		return -1;
	}
	return send_to(&a, size, text);
}
