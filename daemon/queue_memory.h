/*
 * Items in the manager's memory, and the books about them: what the kinds "manager" share, that whose items are
 * nowhere else (queue_manager.c) and that which has them on disk as well (queue_durable.c).
 *
 * It is the first member of what such a kind keeps, so that these functions are its operations.
 */
#ifndef CREWD_QUEUE_MEMORY_H
#define CREWD_QUEUE_MEMORY_H

#include "daemon/queue_kind.h"

struct queue_memory {
	struct list items; /* those that can be got */
	uint64_t count;	   /* of them */
	uint64_t coming;   /* accepted, and not to be got yet */
	uint64_t bytes;	   /* of text: those that can be got, come, or are leased */
	uint64_t unfinished;
};

void queue_memory_init(struct queue_memory *m);
void queue_memory_free(struct queue_memory *m); /* its items */
/* Whether there is room for one more; if so its memory has been charged. */
enum queue_error queue_memory_fits(const struct queue *q, const struct queue_item *item,
				   const char **why);
/* On the books, off them, with the memory: of one that was not charged yet, or is not in any list. */
void queue_memory_enter(struct queue_memory *m, const struct queue_item *item);
void queue_memory_leave(struct queue_memory *m, const struct queue_item *item);
/* At the tail, to be got; it is on the books. */
void queue_memory_append(struct queue_memory *m, struct queue_item *item);

/* Operations of queue_kind.h. */
enum queue_error queue_memory_get(struct queue *q, struct queue_request *r);
enum queue_error queue_memory_size(struct queue *q, struct queue_request *r);
enum queue_error queue_memory_task_done(struct queue *q, struct queue_request *r);
enum queue_error queue_memory_join(struct queue *q, struct queue_request *r);
void queue_memory_back(struct queue *q, struct queue_item *item);
void queue_memory_ack(struct queue *q, struct queue_item *item);
void queue_memory_stat(const struct queue *q, struct queue_stat *st);

#endif
