/*
 * What the files of a store share: journal_open.c (lock, reading), journal_segment.c (the last segment
 * and its room) and journal_store.c (batches).
 */
#ifndef CREWD_JOURNAL_STATE_H
#define CREWD_JOURNAL_STATE_H

#include <sys/types.h>
#include "daemon/journal_store.h"
#include "lib/buf.h"
#include "lib/list.h"

#define STORE_COPIES_MAX (4 * JF_RECORD_MAX)

struct store {
	struct list link; /* of `opened` */
	dev_t dev;	  /* of the lock's file */
	ino_t ino;
	int dir, lock, fd;
	char name[CREW_NAME_MAX + 1];
	uint64_t least; /* size of a segment */
	struct journal_index ix;

	/* the last segment */
	uint64_t number, salt;
	uint64_t used;	   /* bytes that are written and synced */
	uint64_t capacity; /* bytes that the file system has promised */

	/* the oldest one, being emptied */
	struct js_reader reader;
	uint64_t from, from_salt;
	struct ji_item *moving; /* by id */
	size_t move_count, move_next;
	struct buf copies;

	bool salvage, removed;
	int err;
	char why[JS_TEXT];
};

/* Notes errno and what could not be done; -1. From then on the store has failed. */
int store_fail(struct store *s, const char *what);
void store_file(char out[JS_FILE_NAME], const struct store *s, const char *what); /* NAME.what */
int store_sync_dir(struct store *s);
/* All of it: 0, or -1 with errno. */
int store_write_at(int fd, const unsigned char *p, size_t len, uint64_t at);
/* For reading, with its salt. 0, or -1 with errno. */
int store_open_segment(struct store *s, struct js_reader *r, uint64_t number, uint64_t *salt);
/* When all that was there before has been moved or put aside, the repair is over. */
int store_end_salvage(struct store *s);

#endif
