/*
 * Lines of standard input, as they come: read(2) is called when poll(2) has said that there is something, so a
 * terminal or a pipe is neither blocked on nor made non-blocking for others.
 */
#ifndef CREW_CTL_MAP_LINES_H
#define CREW_CTL_MAP_LINES_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/bounds.h"
#include "lib/buf.h"

#define MAP_LINE_MAX (CREW_MESSAGE_MAX - 1024) /* bytes: a call has to hold one */

struct map_lines {
	int fd;
	struct buf buf;
	size_t searched; /* no newline before */
	bool eof;
	bool skipping;	  /* the rest of a line that was too long */
	uint64_t skipped; /* bytes of such rests */
};

enum map_line {
	MAP_LINE,      /* there is one: *text and *len, without its newline, until the next call */
	MAP_LINE_LONG, /* there is one that is too long; *text and *len are its beginning */
	MAP_LINE_NONE, /* not yet */
	MAP_LINE_END,  /* there are no more */
};

void map_lines_init(struct map_lines *l, int fd);
void map_lines_free(struct map_lines *l);
/* Reads once. 0, or -1 with errno. */
int map_lines_read(struct map_lines *l);
/* The line that comes first; it stays until it is taken. */
enum map_line map_lines_first(struct map_lines *l, const char **text, size_t *len);
void map_lines_take(struct map_lines *l, size_t len);

#endif
