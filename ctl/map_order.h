/*
 * Puts results into the order of their lines. A ring of as many slots as lines may be outstanding; what comes
 * early is held in memory up to a bound, and beyond it in a file without a name, so that a first line which takes
 * long costs no memory, and the replies of others never have to wait for it.
 */
#ifndef CREW_CTL_MAP_ORDER_H
#define CREW_CTL_MAP_ORDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/buf.h"

struct map_slot {
	enum { SLOT_WAITS, SLOT_HELD, SLOT_FILED } state;
	uint32_t size;
	char *text; /* held: owned */
	off_t at;   /* filed: where */
};

struct map_order {
	struct map_slot *slots;
	unsigned count; /* of slots */
	uint64_t first,
		next; /* lines: the one that is to be printed, the one that comes after all */
	size_t held, held_max;
	uint64_t filed; /* bytes in the file that are still to be printed */
	off_t end;	/* of the file */
	int file;	/* -1: none yet */
};

int map_order_init(struct map_order *o, unsigned count, size_t held_max); /* 0, or -1: no memory */
void map_order_free(struct map_order *o);
/* Makes room for the line o->next; the ring must not be full. */
void map_order_expect(struct map_order *o);
/* The result of an expected line, which it has once. 0, or -1 with errno. */
int map_order_put(struct map_order *o, uint64_t line, const char *text, size_t size);
/* Appends the first result to `out`. 1; 0: it is not there yet; -1 with errno. */
int map_order_take(struct map_order *o, struct buf *out);

#endif
