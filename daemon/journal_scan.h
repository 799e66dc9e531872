/*
 * Reads a journal's segments, trusting no byte of them: finds what is live, where the last write was
 * torn, and what is damaged. Changes nothing.
 */
#ifndef CREWD_JOURNAL_SCAN_H
#define CREWD_JOURNAL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "daemon/journal_index.h"
#include "lib/bounds.h"

#define JS_FILE_NAME (CREW_NAME_MAX + 32) /* of any file of a journal, with its NUL */
#define JS_TEXT	     768

/* NAME.0000000000000001.journal, told from other queues' files by its fixed end. */
void js_segment_name(char out[JS_FILE_NAME], const char *name, uint64_t number);
/* Its number, 0: it is not one of this queue's. */
uint64_t js_segment_number(const char *name, const char *file);

/* A file being read, a window of it at a time. */
struct js_reader {
	int fd;
	uint64_t size, at;
	unsigned char *window; /* bytes [at, at + len) */
	size_t len, room;
};
/* At most `most` bytes at `offset`: as many as *len says. NULL: cannot be read (errno). */
const unsigned char *js_peek(struct js_reader *r, uint64_t offset, size_t most, size_t *len);
/* Opens a file of the journal for reading, that is an ordinary one: 0, or -1 with errno. */
int js_open(struct js_reader *r, int dir, const char *file);
void js_close(struct js_reader *r);
/* The item that stands there, checked once more. 0, or -1 with errno (EBADMSG: it is damaged). */
int js_item(struct js_reader *r, uint64_t salt, const struct ji_item *item, struct jf_record *out);

struct js_segment {
	struct jf_header header;
	uint64_t number, size;
	uint64_t end;	  /* of its records */
	uint64_t damaged; /* where that begins; 0: nowhere */
	uint64_t unread;  /* bytes that are lost by it */
	const char *why;
	bool no_header; /* shorter than one: an unfinished file */
};

struct js_scan {
	int dir;
	const char *name;
	bool salvage; /* go on where something is damaged or missing */
	struct journal_index *ix;
	struct js_segment *segments; /* all files that are there, by number */
	size_t count;
	uint64_t torn;	    /* bytes of writes that nobody was answered */
	uint64_t unread;    /* salvage: bytes that were passed over */
	unsigned missing;   /* salvage: segments that are not there */
	char text[JS_TEXT]; /* why it failed */
};

/* Only finds the files. 0, or -1 with errno; js_free() in either case. */
int js_list(struct js_scan *s);
/* 0, or -1 with errno and a text (EBADMSG: damaged). js_free() in either case. */
int js_scan(struct js_scan *s);
void js_free(struct js_scan *s);

#endif
