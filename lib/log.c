#include "lib/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048 /* within PIPE_BUF: a pipe that is writable takes it without waiting */

static bool prefixed;
static enum log_level max_level = LOG_LEVEL_INFO;
static unsigned dropped;

void log_init(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	tzset(); /* reads its file now, not at the first line */
	prefixed = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
		   fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

bool log_is_journal(void)
{
	return prefixed;
}

void log_set_level(enum log_level level)
{
	max_level = level;
}

/* A socket (the journal) says by itself that it would wait; a pipe, a file or a terminal is asked. */
static bool write_now(const char *line, size_t len)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n = send(STDERR_FILENO, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK && poll(&p, 1, 0) == 1 && !(p.revents & POLLERR))
		n = write(STDERR_FILENO, line, len);
	return n >= 0;
}

static size_t prefix(char *line, size_t size, enum log_level level)
{
	struct timespec t;
	struct tm tm;
	size_t n;

	if (prefixed)
		return (size_t)snprintf(line, size, "<%d>", level);
	clock_gettime(CLOCK_REALTIME, &t);
	localtime_r(&t.tv_sec, &tm);
	n = strftime(line, size, "%Y-%m-%d %H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, size - n, ".%03ld ", t.tv_nsec / 1000000);
	if (level <= LOG_LEVEL_WARNING)
		n += (size_t)snprintf(line + n, size - n,
				      level <= LOG_LEVEL_ERROR ? "error: " : "warning: ");
	return n;
}

static void tell_dropped(void)
{
	char line[128];
	size_t n;

	if (!dropped)
		return;
	n = prefix(line, sizeof(line), LOG_LEVEL_WARNING);
	n += (size_t)snprintf(line + n, sizeof(line) - n, "%u log lines were dropped\n", dropped);
	if (write_now(line, n))
		dropped = 0;
}

/* One message is one line, whatever a file name or an error text contains. */
static void flatten(char *line, size_t len)
{
	while (len && line[len - 1] == '\n')
		line[--len] = '\0';
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20)
			line[i] = line[i] == '\n' ? ';' : ' ';
}

void log_line(enum log_level level, const char *object, const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	size_t n, start;
	va_list args;

	if (level > max_level)
		return;
	tell_dropped();
	n = prefix(line, sizeof(line), level);
	if (object)
		n += (size_t)snprintf(line + n, sizeof(line) - n - 1, "%s: ", object);
	start = n;
	va_start(args, format);
	vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	va_end(args);
	flatten(line + start, strlen(line + start));
	n = strlen(line);
	line[n++] = '\n';
	if (!write_now(line, n))
		dropped++;
}
