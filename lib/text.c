#include "lib/text.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/bounds.h"
#include "lib/clock.h"

bool text_name_ok(const char *s)
{
	size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

	return len >= 1 && len <= CREW_NAME_MAX && s[len] == '\0' && strcmp(s, ".") != 0 &&
	       strcmp(s, "..") != 0;
}

/* The DIGITS of a name that ends in -DIGITS, else NULL. */
static const char *number_of(const char *s)
{
	const char *dash = strrchr(s, '-');

	if (!dash || !dash[1] || dash[1 + strspn(dash + 1, "0123456789")])
		return NULL;
	return dash + 1;
}

bool text_pool_name_ok(const char *s)
{
	return text_name_ok(s) && !number_of(s);
}

bool text_is_worker_of(const char *s, const char *pool)
{
	size_t len = strlen(pool);
	const char *number = number_of(s);

	return number && (size_t)(number - s) == len + 1 && strncmp(s, pool, len) == 0;
}

int text_int(const char *s, int64_t *out)
{
	const char *digits = s + (*s == '-');
	char *end;

	if (!isdigit((unsigned char)*digits)) {
		errno = EINVAL;
		return -1;
	}
	errno = 0;
	*out = strtoll(s, &end, 10);
	if (*end)
		errno = EINVAL;
	return errno ? -1 : 0;
}

/* ---- durations -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int64_t usec;
} units[] = {
	{ "d", 86400 * USEC_PER_SEC }, { "h", 3600 * USEC_PER_SEC }, { "min", 60 * USEC_PER_SEC },
	{ "s", USEC_PER_SEC },	       { "ms", USEC_PER_MSEC },
};
#define UNITS (sizeof(units) / sizeof(*units))

static int64_t unit_of(const char *s, size_t len)
{
	for (size_t i = 0; i < UNITS; i++)
		if (strlen(units[i].name) == len && strncmp(units[i].name, s, len) == 0)
			return units[i].usec;
	return 0;
}

/* Digits with an optional fraction, in `unit`s. */
static int scaled(const char *s, size_t len, int64_t unit, int64_t *out)
{
	int64_t whole = 0, part = 0, scale = unit;
	size_t i = 0;

	for (; i < len && s[i] != '.'; i++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, s[i] - '0', &whole))
			return -1;
	for (i++; i < len; i++) {
		scale /= 10;
		part += (s[i] - '0') * scale;
	}
	if (__builtin_mul_overflow(whole, unit, &whole) || __builtin_add_overflow(whole, part, out))
		return -1;
	return 0;
}

static size_t number_length(const char *s)
{
	size_t n = strspn(s, "0123456789");

	if (n && s[n] == '.' && isdigit((unsigned char)s[n + 1]))
		n += 1 + strspn(s + n + 1, "0123456789");
	return n;
}

int text_duration(const char *s, int64_t *usec)
{
	int64_t sum = 0, one;

	errno = EINVAL;
	s += strspn(s, " ");
	if (strcmp(s, "0") == 0)
		return *usec = 0;
	if (!*s)
		return -1;
	while (*s) {
		size_t digits = number_length(s), letters, space = strspn(s + digits, " ");
		int64_t unit;

		letters = strspn(s + digits + space, "abcdefghijklmnopqrstuvwxyz");
		unit = unit_of(s + digits + space, letters);
		if (!digits || !unit)
			return -1;
		if (scaled(s, digits, unit, &one) < 0 || __builtin_add_overflow(sum, one, &sum)) {
			errno = ERANGE;
			return -1;
		}
		s += digits + space + letters;
		s += strspn(s, " ");
	}
	*usec = sum;
	return 0;
}

char *text_duration_show(char *buf, size_t size, int64_t usec)
{
	size_t used = 0;
	int parts = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < UNITS && parts < 2 && used < size; i++) {
		int64_t n = usec / units[i].usec;

		if (!n && !parts)
			continue;
		usec -= n * units[i].usec;
		parts++;
		if (n && (parts == 1 || units[i].usec >= USEC_PER_SEC))
			used += (size_t)snprintf(buf + used, size - used, "%s%lld%s",
						 used ? " " : "", (long long)n, units[i].name);
	}
	if (!used)
		snprintf(buf, size, "0ms");
	return buf;
}

char *text_duration_print(char *buf, size_t size, int64_t usec)
{
	for (size_t i = 0; i < UNITS; i++)
		if (usec && usec % units[i].usec == 0) {
			snprintf(buf, size, "%lld%s", (long long)(usec / units[i].usec),
				 units[i].name);
			return buf;
		}
	if (usec)
		snprintf(buf, size, "%lld.%03lldms", (long long)(usec / USEC_PER_MSEC),
			 (long long)(usec % USEC_PER_MSEC));
	else
		snprintf(buf, size, "0");
	return buf;
}

/* ---- sizes ------------------------------------------------------------------------------------ */

static const char size_letters[] = "KMGT";

int text_size(const char *s, uint64_t *bytes)
{
	size_t digits = strspn(s, "0123456789");
	const char *letter = s[digits] ? strchr(size_letters, s[digits]) : NULL;
	unsigned shift = letter ? 10 * (unsigned)(letter - size_letters + 1) : 0;
	char *end;

	errno = EINVAL;
	if (!digits || (s[digits] && (!letter || s[digits + 1])))
		return -1;
	errno = 0;
	*bytes = strtoull(s, &end, 10);
	if (errno || *bytes > UINT64_MAX >> shift) {
		errno = ERANGE;
		return -1;
	}
	*bytes <<= shift;
	return 0;
}

char *text_size_print(char *buf, size_t size, uint64_t bytes)
{
	int unit = 0;

	while (bytes && bytes % 1024 == 0 && unit < 4) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, size, "%llu%.*s", (unsigned long long)bytes, unit ? 1 : 0,
		 size_letters + (unit ? unit - 1 : 0));
	return buf;
}

char *text_size_show(char *buf, size_t size, uint64_t bytes)
{
	double value = (double)bytes;
	int unit = -1;

	while (value >= 1024 && unit < 3) {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(buf, size, "%lluB", (unsigned long long)bytes);
	else
		snprintf(buf, size, value < 10 ? "%.1f%c" : "%.0f%c", value, size_letters[unit]);
	return buf;
}

/* ---- signals ---------------------------------------------------------------------------------- */

static int signal_number(const char *s)
{
	int64_t n;

	if (text_int(s, &n) < 0 || n < 1 || n > 64)
		return -1;
	return (int)n;
}

static int realtime_signal(const char *s)
{
	bool max = strncmp(s, "RTMAX", 5) == 0;
	int64_t offset = 0;

	if (!max && strncmp(s, "RTMIN", 5) != 0)
		return -1;
	s += 5;
	if (*s && (*s != (max ? '-' : '+') || text_int(s + 1, &offset) < 0))
		return -1;
	if (offset < 0 || offset > SIGRTMAX - SIGRTMIN)
		return -1;
	return max ? SIGRTMAX - (int)offset : SIGRTMIN + (int)offset;
}

int text_signal(const char *s)
{
	if (isdigit((unsigned char)*s))
		return signal_number(s);
	if (strncmp(s, "SIG", 3) == 0)
		s += 3;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *name = sigabbrev_np(i);

		if (name && strcmp(name, s) == 0)
			return i;
	}
	return realtime_signal(s);
}

const char *text_signal_name(int sig)
{
	static char name[32];
	const char *known = sigabbrev_np(sig);

	if (known)
		snprintf(name, sizeof(name), "SIG%s", known);
	else if (sig == SIGRTMIN)
		snprintf(name, sizeof(name), "SIGRTMIN");
	else if (sig > SIGRTMIN && sig <= SIGRTMAX)
		snprintf(name, sizeof(name), "SIGRTMIN+%d", sig - SIGRTMIN);
	else
		snprintf(name, sizeof(name), "signal %d", sig);
	return name;
}

/* ---- UTF-8 ------------------------------------------------------------------------------------ */

static size_t sequence_length(unsigned char c)
{
	if (c >= 0x01 && c < 0x80)
		return 1;
	if (c >= 0xc2 && c < 0xe0)
		return 2;
	if (c >= 0xe0 && c < 0xf0)
		return 3;
	return c >= 0xf0 && c < 0xf5 ? 4 : 0;
}

/* Of a byte that begins a sequence: which second bytes are right. */
static bool second_ok(unsigned char first, unsigned char second)
{
	unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

	return second >= low && second <= high;
}

size_t text_digits(char *out, uint64_t v)
{
	char reverse[TEXT_DIGITS];
	size_t n = 0;

	do
		reverse[n++] = (char)('0' + v % 10);
	while (v /= 10);
	for (size_t i = 0; i < n; i++)
		out[i] = reverse[n - 1 - i];
	return n;
}

size_t text_utf8_sequence(const char *text, size_t left)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = left ? sequence_length(s[0]) : 0;

	if (n > left || (n > 1 && !second_ok(s[0], s[1])))
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool text_utf8_ok(const char *s, size_t len)
{
	while (len) {
		size_t n = (signed char)*s > 0 ? 1 : text_utf8_sequence(s, len);

		if (!n)
			return false;
		s += n;
		len -= n;
	}
	return true;
}
