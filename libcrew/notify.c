/* How a worker is, told by sd_notify(3)'s protocol. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/text.h"
#include "libcrew/api.h"

#define STATUS_MAX   1000
#define PATIENCE_SEC 5

/* The length of the address, or CREW_INVALID. */
static int address(const char *name, struct sockaddr_un *a)
{
	size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(a->sun_path))
		return CREW_INVALID;
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, name, len + 1);
	if (name[0] == '@')
		a->sun_path[0] = '\0'; /* abstract: as long as it is said to be, no NUL behind */
	return (int)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
}

static int send_to(const struct sockaddr_un *a, int size, const char *text)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SEC };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), code;
	ssize_t n = -1;

	if (fd < 0)
		return CREW_SYSTEM;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0)
		do
			n = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)a,
				   (socklen_t)size);
		while (n < 0 && errno == EINTR);
	code = n >= 0 ? 1 : errno == EAGAIN ? CREW_TIMEOUT : api_code();
	close(fd);
	return code;
}

static int notify(const char *text)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a;
	int size;

	if (!name || !*name)
		return 0;
	size = address(name, &a);
	return size < 0 ? size : send_to(&a, size, text);
}

int crew_ready(void)
{
	return notify("READY=1");
}

int crew_stopping(void)
{
	return notify("STOPPING=1");
}

int crew_watchdog(void)
{
	return notify("WATCHDOG=1");
}

int crew_status(const char *text)
{
	char line[STATUS_MAX + 8] = "STATUS=";
	size_t at = strlen(line);

	for (size_t i = 0; text[i] && i < STATUS_MAX; i++)
		line[at++] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
	line[at] = '\0';
	return notify(line);
}

int crew_watchdog_enabled(double *interval)
{
	const char *text = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	int64_t usec, who;

	if (!text || !*text)
		return 0;
	if (text_int(text, &usec) < 0 || usec <= 0)
		return CREW_INVALID;
	if (pid && *pid && (text_int(pid, &who) < 0 || who != getpid()))
		return 0;
	if (interval)
		*interval = (double)usec / USEC_PER_SEC;
	return 1;
}
