/*
 * What the manager has to say to the keeper: sent at once where that is possible, else kept in order until
 * the channel takes more. Nothing that was accepted is lost while the manager lives.
 */
#ifndef CREWD_OUTBOX_H
#define CREWD_OUTBOX_H

#include <stdbool.h>
#include "daemon/wire.h"

/* Much smaller than a packet, as thousands may wait. */
struct outbox_item {
	uint8_t type; /* enum wire_type */
	uint8_t whom; /* enum wire_whom */
	uint8_t with; /* enum wire_with */
	int value;
	uint32_t slot, run, pool, args;
	int fds[2]; /* the outbox's from then on, -1: none */
	const char *tail; /* of a WIRE_SPAWN; copied if it has to wait */
	size_t tail_len;
	const char
		*name; /* of a WIRE_SPAWN, a WIRE_HOLD; lives as long as the slot is used for it */
};

struct outbox { /* a ring; begins as zeros */
	struct outbox_item *items;
	unsigned head, count, cap;
};

/* channel < 0: there is nobody to say it to any more. */
void outbox_put(struct outbox *o, int channel, const struct outbox_item *item);
void outbox_flush(struct outbox *o, int channel);
bool outbox_waits(const struct outbox *o);
void outbox_free(struct outbox *o);

#endif
