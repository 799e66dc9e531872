#include "ctl/map_lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE 65536

void map_lines_init(struct map_lines *l, int fd)
{
	*l = (struct map_lines){ .fd = fd, .buf.max = MAP_LINE_MAX + 2 * READ_SIZE };
}

void map_lines_free(struct map_lines *l)
{
	buf_free(&l->buf);
}

int map_lines_read(struct map_lines *l)
{
	char *room = buf_room(&l->buf, READ_SIZE);
	ssize_t n = room ? read(l->fd, room, READ_SIZE) : -1;

	if (n < 0)
		return room && (errno == EINTR || errno == EAGAIN) ? 0 : -1;
	l->buf.len += (size_t)n;
	l->eof = n == 0;
	return 0;
}

static void drop(struct map_lines *l, size_t size)
{
	buf_consume(&l->buf, size);
	l->searched = 0;
}

/* Of the first line: where it ends, or 0 bytes beyond what is there. */
static bool newline(struct map_lines *l, size_t *at)
{
	const char *found = NULL;

	if (l->buf.len > l->searched)
		found = memchr(buf_data(&l->buf) + l->searched, '\n', l->buf.len - l->searched);
	l->searched = found ? (size_t)(found - buf_data(&l->buf)) : l->buf.len;
	*at = l->searched;
	return found != NULL;
}

/* True when the rest of a line that was too long is gone. */
static bool skip(struct map_lines *l)
{
	size_t at;
	bool ends;

	if (!l->skipping)
		return true;
	ends = newline(l, &at);
	l->skipped += at + ends;
	drop(l, at + ends);
	l->skipping = !ends && !l->eof;
	return !l->skipping;
}

enum map_line map_lines_first(struct map_lines *l, const char **text, size_t *len)
{
	bool whole = skip(l) && newline(l, len);

	if (l->skipping)
		return MAP_LINE_NONE;
	*text = l->buf.len ? buf_data(&l->buf) : "";
	if (*len > MAP_LINE_MAX)
		return MAP_LINE_LONG;
	if (whole || (l->eof && *len))
		return MAP_LINE;
	return l->eof ? MAP_LINE_END : MAP_LINE_NONE;
}

void map_lines_take(struct map_lines *l, size_t len)
{
	bool ends = l->buf.len > len && buf_data(&l->buf)[len] == '\n';

	drop(l, len + ends);
	l->skipping = !ends && !l->eof;
}
