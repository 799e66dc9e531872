/* What lies in a shared queue's memory, and what each process keeps of it. For lib/shared_queue*.c only. */
#ifndef CREW_SHARED_QUEUE_MEMORY_H
#define CREW_SHARED_QUEUE_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/shared_lock.h"
#include "lib/shared_queue.h"
#include "lib/shared_watch.h"
#include "lib/shared_word.h"

#define UNIT	    sizeof(uint64_t)
#define HEAD_SIZE   4096
#define LEAST_UNITS 2 /* of a record */

/*
 * The memory. The ring is of 8-byte units; a record is a unit {count of the put: 32, size: 32} and then the
 * bytes. tail is {place of the next record, puts}, head {place of the first record, gets}, done {moments
 * without tasks, task_done}: a put, a get and a task_done are committed by one compare-and-swap of theirs.
 * What changes at different hands lies on different cache lines (two each: processors fetch pairs).
 */
struct layout {
	uint64_t magic;
	uint32_t version, maxsize;
	uint64_t max_bytes;
	_Alignas(128) shared_word lock; /* the producers' */
	_Alignas(128) shared_word tail;
	_Alignas(128) shared_word head;
	_Alignas(128) shared_word done;
	_Alignas(HEAD_SIZE) shared_word ring[];
};
_Static_assert(offsetof(struct layout, ring) == HEAD_SIZE, "the layout is the same everywhere");

/* This process's own: of what others can write, nothing that was checked is read a second time. It is
 * wiped in a child made by fork, which has not the mapping either. */
struct shared_queue {
	struct layout *memory; /* NULL: wiped */
	size_t mapped;
	uint64_t capacity; /* units of the ring */
	uint64_t limit;	   /* items */
	uint64_t max_bytes;
	uint32_t maxsize;
	int fd;
	struct shared_seat seat;
	struct shared_watch items, room;
	struct word_patience items_spin, room_spin, done_spin;
	_Alignas(128) _Atomic uint64_t tail_seen; /* by consumers: at least so much has been put */
	_Alignas(
		128) uint64_t tail_mine; /* under the lock: as this handle's last put left it ... */
	uint64_t head_seen;		 /* ... and a head from before that */
	bool has_put;
};

static inline int fail(int error)
{
	errno = error;
	return -1;
}

#endif
