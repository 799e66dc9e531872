/* How a worker is, told by sd_notify(3)'s protocol. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/notify_send.h"
#include "lib/text.h"
#include "libcrew/api.h"

#define STATUS_MAX 1000

static int notify(const char *text)
{
	int r = notify_send(text);

	if (r >= 0)
		return r;
	return errno == EINVAL ? CREW_INVALID : errno == EAGAIN ? CREW_TIMEOUT : api_code();
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
