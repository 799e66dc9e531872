#include "ctl/map_order.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int map_order_init(struct map_order *o, unsigned count, size_t held_max)
{
	*o = (struct map_order){ .count = count, .held_max = held_max, .file = -1 };
	o->slots = calloc(count, sizeof(*o->slots));
	return o->slots ? 0 : -1;
}

void map_order_free(struct map_order *o)
{
	for (unsigned i = 0; o->slots && i < o->count; i++)
		if (o->slots[i].state == SLOT_HELD)
			free(o->slots[i].text);
	free(o->slots);
	o->slots = NULL;
	if (o->file >= 0)
		close(o->file);
	o->file = -1;
}

void map_order_expect(struct map_order *o)
{
	assert(o->next - o->first < o->count);
	o->slots[o->next++ % o->count] = (struct map_slot){ .state = SLOT_WAITS };
}

/* ---- the file --------------------------------------------------------------------------------- */

static int open_file(void)
{
	const char *dir = getenv("TMPDIR") ?: "/tmp";
	char path[PATH_MAX];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	if (snprintf(path, sizeof(path), "%s/crewctl-XXXXXX", dir) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static int write_at(int fd, const char *text, size_t size, off_t at)
{
	while (size) {
		ssize_t n = pwrite(fd, text, size, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		text += n;
		size -= (size_t)n;
		at += n;
	}
	return 0;
}

static int file_it(struct map_order *o, struct map_slot *s, const char *text)
{
	if (o->file < 0)
		o->file = open_file();
	if (o->file < 0 || write_at(o->file, text, s->size, o->end) < 0)
		return -1;
	s->state = SLOT_FILED;
	s->at = o->end;
	o->end += s->size;
	o->filed += s->size;
	return 0;
}

static int read_back(struct map_order *o, const struct map_slot *s, struct buf *out)
{
	char *room = buf_room(out, s->size);
	size_t done = 0;

	while (room && done < s->size) {
		ssize_t n = pread(o->file, room + done, s->size - done, s->at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	if (!room)
		return -1;
	out->len += s->size;
	o->filed -= s->size;
	/* Its room is given back when nothing in it is of use any more. */
	if (o->filed == 0 && ftruncate(o->file, 0) == 0)
		o->end = 0;
	return 0;
}

/* ---- results ---------------------------------------------------------------------------------- */

int map_order_put(struct map_order *o, uint64_t line, const char *text, size_t size)
{
	struct map_slot *s = &o->slots[line % o->count];

	assert(line >= o->first && line < o->next && s->state == SLOT_WAITS && size <= UINT32_MAX);
	s->size = (uint32_t)size;
	if (size && line != o->first && o->held + size > o->held_max)
		return file_it(o, s, text);
	s->text = malloc(size ? size : 1);
	if (!s->text)
		return -1;
	if (size)
		memcpy(s->text, text, size);
	s->state = SLOT_HELD;
	o->held += size;
	return 0;
}

int map_order_take(struct map_order *o, struct buf *out)
{
	struct map_slot *s = &o->slots[o->first % o->count];
	int r = 0;

	if (o->first == o->next || s->state == SLOT_WAITS)
		return 0;
	if (s->state == SLOT_FILED)
		r = read_back(o, s, out);
	else
		r = buf_append(out, s->text, s->size);
	if (r < 0)
		return -1;
	if (s->state == SLOT_HELD) {
		free(s->text);
		o->held -= s->size;
	}
	s->state = SLOT_WAITS;
	o->first++;
	return 1;
}
