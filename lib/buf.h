/* A growing byte buffer with a bound. Zero-initialised is empty; `max` must be set before use. */
#ifndef CREW_BUF_H
#define CREW_BUF_H

#include <stddef.h>

struct buf {
	char *data;		/* owned */
	size_t start, len, cap; /* bytes [start, start+len) are in use */
	size_t max;
};

/* Room for `size` more bytes at the end: pointer to it, or NULL with errno ENOBUFS or ENOMEM. */
char *buf_room(struct buf *b, size_t size);
int buf_append(struct buf *b, const void *data, size_t size); /* 0, or -1 with errno as above */
void buf_consume(struct buf *b,
		 size_t size); /* takes off at the front; gives memory back when empty */
void buf_free(struct buf *b);  /* back to empty; keeps max */

static inline const char *buf_data(const struct buf *b)
{
	return b->data + b->start;
}

#endif
