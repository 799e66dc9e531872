#include "lib/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST 256

static int grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : FIRST;
	char *bigger;

	while (cap < need)
		cap *= 2;
	if (cap > b->max)
		cap = b->max;
	bigger = realloc(b->data, cap);
	if (!bigger)
		return -1;
	b->data = bigger;
	b->cap = cap;
	return 0;
}

char *buf_room(struct buf *b, size_t size)
{
	if (size > b->max || b->len > b->max - size) {
		errno = ENOBUFS;
		return NULL;
	}
	if (b->start && b->start + b->len + size > b->cap) {
		memmove(b->data, b->data + b->start, b->len);
		b->start = 0;
	}
	if (b->start + b->len + size > b->cap && grow(b, b->len + size) < 0) {
		errno = ENOMEM;
		return NULL;
	}
	return b->data + b->start + b->len;
}

int buf_append(struct buf *b, const void *data, size_t size)
{
	char *room;

	if (size == 0)
		return 0;
	room = buf_room(b, size);
	if (!room)
		return -1;
	memcpy(room, data, size);
	b->len += size;
	return 0;
}

void buf_consume(struct buf *b, size_t size)
{
	b->start += size;
	b->len -= size;
	if (b->len == 0)
		buf_free(b);
}

void buf_free(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->start = b->len = b->cap = 0;
}
