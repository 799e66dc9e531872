/*
 * What a journal's segments hold, as far as numbers go: which items are live and where they stand, and
 * which segments are worth what. Policy of a journal: when a segment is full, when the oldest one is to
 * be emptied, how much room must be kept. Knows no file.
 */
#ifndef CREWD_JOURNAL_INDEX_H
#define CREWD_JOURNAL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "daemon/journal_format.h"

struct ji_item {
	uint64_t id; /* 0: an empty place in the table */
	uint64_t segment;
	uint32_t offset, len, deliveries;
};

struct ji_segment {
	uint64_t number;
	uint64_t used; /* bytes up to the end of its last record */
	uint64_t live; /* bytes of its records that hold live items */
	uint64_t items;
	bool damaged; /* opened in spite of it: kept aside, not removed */
};

struct journal_index {
	struct ji_item *table; /* open addressing; a power of two */
	size_t size, count;
	struct ji_segment *segments; /* by number; the last one is being written */
	size_t segment_count, segment_size;
	uint64_t live;	  /* bytes of the records of all live items */
	uint64_t used;	  /* bytes of all segments */
	uint64_t next_id; /* above every id ever seen */
	uint64_t first;	  /* segments before it are not needed */
	uint64_t rewrite; /* segments before it are emptied whatever they hold */
};

void ji_free(struct journal_index *ix);

/* Room for `items` more items and one more segment, so that what follows cannot fail: 0, or -1 with
 * errno ENOMEM. */
int ji_reserve(struct journal_index *ix, size_t items);
/* The next segment; numbers only rise. Then what was found or written in it, in order. */
void ji_add_segment(struct journal_index *ix, uint64_t number, uint64_t first, uint64_t next_id);
void ji_apply(struct journal_index *ix, const struct jf_record *r, uint64_t segment,
	      uint64_t offset);
/* The segment's records end there. */
void ji_used(struct journal_index *ix, uint64_t number, uint64_t end);
/* Forgets segments before `ix->first`, and whatever is still said to stand in them. */
void ji_drop(struct journal_index *ix);

struct ji_item *ji_find(const struct journal_index *ix, uint64_t id);
struct ji_segment *ji_segment(const struct journal_index *ix, uint64_t number);
/* Items by id; with `segment` not 0 only those that stand in it. An array to be freed, NULL: ENOMEM. */
struct ji_item *ji_sorted(const struct journal_index *ix, uint64_t segment, size_t *count);

/* At which size a segment is left for the next one. */
uint64_t ji_segment_full(const struct journal_index *ix, uint64_t least);
/* Whether the oldest segment is to be emptied: what is dead takes more than half of what is live, and
 * two segments more; or it costs nothing. */
bool ji_wants_rewrite(const struct journal_index *ix, uint64_t least);
/* Bytes that the last segment must have free, so that all that is live can be taken out, a record of
 * `biggest` bytes moved and the journal closed. */
uint64_t ji_kept_free(const struct journal_index *ix, uint64_t biggest);

#endif
