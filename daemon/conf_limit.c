#include "daemon/conf_limit.h"

#include <string.h>
#include <sys/resource.h>

#include "lib/text.h"

/* Names of setrlimit(2), in small letters. `bytes`: sizes such as 512M are taken. */
static const struct {
	const char *name;
	int resource;
	bool bytes;
} rows[] = {
	{ "as", RLIMIT_AS, true },
	{ "core", RLIMIT_CORE, true },
	{ "cpu", RLIMIT_CPU, false },
	{ "data", RLIMIT_DATA, true },
	{ "fsize", RLIMIT_FSIZE, true },
	{ "locks", RLIMIT_LOCKS, false },
	{ "memlock", RLIMIT_MEMLOCK, true },
	{ "msgqueue", RLIMIT_MSGQUEUE, true },
	{ "nice", RLIMIT_NICE, false },
	{ "nofile", RLIMIT_NOFILE, false },
	{ "nproc", RLIMIT_NPROC, false },
	{ "rss", RLIMIT_RSS, true },
	{ "rtprio", RLIMIT_RTPRIO, false },
	{ "rttime", RLIMIT_RTTIME, false },
	{ "sigpending", RLIMIT_SIGPENDING, false },
	{ "stack", RLIMIT_STACK, true },
};

const char *conf_limit_names(void)
{
	return "as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, "
	       "rtprio, rttime, sigpending, stack";
}

static int read_amount(const char *text, bool bytes, uint64_t *out)
{
	int64_t n;

	if (strcmp(text, "unlimited") == 0 || strcmp(text, "infinity") == 0) {
		*out = RLIM_INFINITY;
		return 0;
	}
	if (bytes)
		return text_size(text, out);
	if (text_int(text, &n) < 0 || n < 0)
		return -1;
	*out = (uint64_t)n;
	return 0;
}

/* SOFT or SOFT:HARD */
static int read_pair(const char *text, bool bytes, struct conf_limit *out)
{
	size_t soft = strcspn(text, ":");
	char first[32];

	if (soft >= sizeof(first))
		return -1;
	memcpy(first, text, soft);
	first[soft] = '\0';
	if (read_amount(first, bytes, &out->soft) < 0)
		return -1;
	out->hard = out->soft;
	if (text[soft] && read_amount(text + soft + 1, bytes, &out->hard) < 0)
		return -1;
	return out->soft <= out->hard ? 0 : -1;
}

int conf_limit_read(const char *text, struct conf_limit *out)
{
	size_t length = strcspn(text, "=");

	if (!text[length])
		return -1;
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (strlen(rows[i].name) == length && memcmp(rows[i].name, text, length) == 0) {
			out->resource = rows[i].resource;
			return read_pair(text + length + 1, rows[i].bytes, out);
		}
	}
	return -1;
}
