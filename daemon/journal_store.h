/*
 * A journal on disk, without loop or threads: opened once, then written in batches. What starts, grows,
 * writes, ends and removes waits for the disk.
 *
 * Files, all in the directory given: NAME.lock (a lock of the process, so that a child that was forked
 * does not keep it), NAME.<number>.journal (segments), NAME.new (one being made), and, when a person
 * asks for it, NAME.salvage. Only the last segment is ever written. A segment is made under another
 * name, synced, and then renamed, so that one with its right name has its header. Its head says where
 * the one before ends, and a JF_DROP record that those before it are not needed: so a segment that was
 * removed by a stranger is missed. Only the oldest one is ever removed: what was taken out is written
 * behind what was put in, and must not go first.
 */
#ifndef CREWD_JOURNAL_STORE_H
#define CREWD_JOURNAL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "daemon/journal_index.h"
#include "daemon/journal_scan.h"
#include "lib/buf.h"

struct store; /* one thread at a time */

struct store_found {
	uint64_t items;	  /* that are live */
	uint64_t torn;	  /* bytes cut off at the end: a write that nobody was answered */
	uint64_t unread;  /* bytes passed over because a person asked for it */
	unsigned missing; /* and segments */
	bool salvaged;
	char text[JS_TEXT]; /* why it failed */
};

/* Takes the lock and reads; writes nothing but the lock's file. `segment` is the least size at which a
 * segment is full. NULL with errno and a text: EBADMSG (damaged), EBUSY (in use), … */
struct store *store_open(int dir, const char *name, uint64_t segment, struct store_found *found);
/* Each live item, by id. It stops when fn returns -1. 0, or -1 with errno and a text. */
typedef int store_item_fn(void *arg, uint64_t id, uint32_t deliveries, const void *data,
			  size_t len);
int store_tell(struct store *s, store_item_fn *fn, void *arg, struct store_found *found);
uint64_t store_next_id(const struct store *s);
uint64_t store_biggest(const struct store *s); /* the largest record that is live */
uint64_t store_items(const struct store *s);
uint64_t store_live(const struct store *s); /* bytes of their records */
uint64_t store_disk(const struct store *s); /* bytes of the segments, with what is kept free */

/* Syncs what was read, and makes a new segment; where the disk is too full for that, goes on in the last
 * one. `biggest`: of a record that may come. */
int store_start(struct store *s, uint64_t biggest);

/* The room of the last segment beside what must be kept free; may be below zero. */
int64_t store_room(const struct store *s, uint64_t biggest);
/* Makes it `room` at least, by a new segment if this one is full. -1 ENOSPC: nothing has changed. */
int store_grow(struct store *s, uint64_t room, uint64_t biggest);
bool store_is_full(const struct store *s); /* the segment, so that store_grow() makes a new one */

/* Whether store_write() has something to move or to remove; how many bytes that takes in all. */
bool store_wants_rewrite(const struct store *s);
uint64_t store_oldest_live(const struct store *s);
uint64_t store_oldest(const struct store *s); /* its number */
/* Writes and syncs drafts (jf_draft; they are changed), leaving out what is about items that are not
 * there. With `rewrite` not 0 at most so many bytes more are moved from the oldest segment, which is
 * removed when it is empty. Once this or store_start() has failed, all that follows fails. */
int store_write(struct store *s, unsigned char *drafts, size_t len, uint64_t rewrite);
/* Says on disk that all is written, and gives back room that is not needed. */
int store_end(struct store *s, uint64_t biggest);
/* Removes every file of it, but the lock's; store_close() then removes that. */
int store_remove(struct store *s);
void store_close(struct store *s); /* NULL is fine */

/* Of the failure: errno, 0: none; and a sentence. */
int store_failed(const struct store *s, const char **why);

#endif
