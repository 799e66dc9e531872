#include "daemon/handed.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/sealed.h"

static char text[CREW_TASK_ARGS_SIZE]; /* only what is written to takes memory */
static size_t size;
static unsigned count;

static int read_all(int fd, size_t want)
{
	while (size < want) {
		ssize_t n = pread(fd, text + size, want - size, (off_t)size);

		if (n <= 0)
			return errno = EINVAL, -1;
		size += (size_t)n;
	}
	return 0;
}

/* As many strings as were promised, and each has its end. */
static bool strings_ok(unsigned promised)
{
	unsigned found = 0;

	for (const char *at = text; at < text + size; found++) {
		const char *end = memchr(at, '\0', (size_t)(text + size - at));

		if (!end)
			return false;
		at = end + 1;
	}
	return found == promised;
}

static int load_args(const struct slot *s)
{
	struct stat st;

	errno = EINVAL;
	if (!sealed_is(s->args) || fstat(s->args, &st) < 0 || st.st_size < 0)
		return -1;
	if ((size_t)st.st_size > sizeof(text) || s->arg_count > CREW_TASK_ARGS_MAX)
		return errno = E2BIG, -1;
	if (read_all(s->args, (size_t)st.st_size) < 0 || !strings_ok(s->arg_count))
		return errno = EINVAL, -1;
	count = s->arg_count;
	return 0;
}

static int load_tail(const struct slot *s, const struct wire_tail *tail)
{
	if (!tail || s->with & WIRE_WITH_ARGS)
		return errno = EINVAL, -1;
	memcpy(text, tail->data, tail->len);
	size = tail->len;
	if (!strings_ok(s->arg_count))
		return errno = EINVAL, -1;
	count = s->arg_count;
	return 0;
}

int handed_load(const struct slot *s, const struct wire_tail *tail)
{
	size = count = 0;
	if ((s->with & WIRE_WITH_ARGS && s->args < 0) ||
	    (s->with & WIRE_WITH_INPUT && s->input < 0))
		return errno = EMFILE, -1;
	if (s->input >= 0 && !sealed_is(s->input))
		return errno = EINVAL, -1;
	if (s->with & WIRE_WITH_TAIL)
		return load_tail(s, tail);
	return s->args >= 0 ? load_args(s) : 0;
}

unsigned handed_append(char **vector, unsigned n)
{
	char *at = text;

	for (unsigned i = 0; i < count; i++) {
		vector[n++] = at;
		at += strlen(at) + 1;
	}
	return n;
}
