/*
 * What keeps a queue's items: a table of operations. The front (queue.c) calls them in the order in which those
 * who ask have come; a kind makes nobody wait, it says QUEUE_NOT_YET, and queue_stirred() when that may have
 * changed for another reason than a call of the front. A kind that has to ask somebody else answers
 * QUEUE_LATER, and queue_complete() when it knows.
 *
 * Adding a kind is adding a file and a row in queue_kind.c.
 */
#ifndef CREWD_QUEUE_KIND_H
#define CREWD_QUEUE_KIND_H

#include "daemon/conf.h"
#include "daemon/queue.h"

#define QUEUE_ITEM_KEEP 64 /* bytes of memory that an item takes beside its text */

struct queue_stat { /* as far as it is known without asking anybody */
	uint64_t size, bytes, unfinished;
};

struct queue_kind {
	const char *name;
	bool leases;
	bool needs_backend; /* only the configuration can make such a queue */
	/* Processes put and get by themselves: nobody waits here (refused as QUEUE_WRONG_KIND), as what was got
	 * could not be given back, and what there is changes without a word. */
	bool direct;
	/* 0; or -1: no memory, with errno ENOSPC: as many of this kind as may be. It may put into q->set what is so
	 * already. */
	int (*create)(struct queue *q);
	void (*destroy)(struct queue *q);
	/* The settings are others; NULL: it looks at them each time. */
	void (*changed)(struct queue *q);
	/* A verb that is NULL is one that the kind cannot serve: QUEUE_WRONG_KIND.
	 * PUT moves items off r->items, as many as fit, and counts them in r->moved; QUEUE_OK when none is left.
	 * GET appends to r->items; those that r->lease asks for stay on its books. SIZE fills in size and full. */
	enum queue_error (*serve[QUEUE_VERBS])(struct queue *q, struct queue_request *r);
	/* Takes a request back that was answered QUEUE_LATER. False: it is too late for that. */
	bool (*cancel)(struct queue *q, struct queue_request *r);
	/* The items of an answered get are on their way to whoever asked: they do not come back. NULL: no matter. */
	void (*told)(struct queue *q, struct queue_request *r);
	/* What to say to one whose time is over, or who does not wait; r->why may be set. QUEUE_OK, NULL: what is usual. */
	enum queue_error (*over)(const struct queue *q, struct queue_request *r);
	/* The queue is being deleted with all that is in it, wherever that is; destroy() follows. NULL: all is here. */
	void (*erase)(struct queue *q);
	/* An item that was got is back, at the head: it was leased, or nobody heard of it. */
	void (*back)(struct queue *q, struct queue_item *item);
	/* One that was got, and not leased, has been handed on; it is the kind's. NULL: free() will do. */
	void (*got)(struct queue *q, struct queue_item *item);
	/* It has been leased once more; NULL: nothing to do. */
	void (*lent)(struct queue *q, struct queue_item *item);
	/* A leased item is done: off the books. It is the front's then. */
	void (*ack)(struct queue *q, struct queue_item *item);
	/* A leased item has gone to another queue, whose take() was the last thing that happened to it. NULL: as
	 * ack(). */
	void (*moved)(struct queue *q, struct queue_item *item, const struct queue *dead);
	/* An item from elsewhere, at the tail, whatever the bounds. False: it cannot be taken now, and is the
	 * caller's. NULL: the kind cannot be a dead letter box. */
	bool (*take)(struct queue *q, struct queue_item *item);
	void (*stat)(const struct queue *q, struct queue_stat *stat);
	/* What who wants to take part by himself is given (not his to close); -1: not now. NULL: nobody can. */
	int (*descriptor)(struct queue *q);
};

extern const struct queue_kind queue_manager, queue_durable, queue_shared, queue_redis;
/* NULL: that kind is not built in. */
const struct queue_kind *queue_kind_of(enum conf_queue_kind kind, bool durable);
/* False: no kind of that name is built in. */
bool queue_kind_named(const char *name, enum conf_queue_kind *kind);

/* Memory that items take, of all queues together. False: there is no more to be had; who waits to put is asked
 * again when there is. */
bool queue_charge(size_t bytes);
void queue_charge_anyway(size_t bytes);
void queue_discharge(size_t bytes);
void queue_stirred(struct queue *q);
/* A request that is still pending; NULL: it is not asked for any more. */
struct queue_request *queue_pending(uint64_t id);
/* Its answer. One that nobody waits for any more is dealt with. */
void queue_complete(uint64_t id, enum queue_error error, const char *why);
/* Whether it may not wait, or no longer. */
bool queue_is_over(const struct queue_request *r);
/* The kind could not serve it now: it waits again, in its place among the others, until queue_stirred(); or it is
 * answered, if it may not wait any longer. For verbs that wait. */
void queue_wait_again(uint64_t id, const char *why);
/* Calls `each` for every item on loan. */
void queue_leases_each(const struct queue *q,
		       void (*each)(const struct queue_item *item, void *arg), void *arg);

/* Between queue.c and queue_lease.c: items that were got return to where they were, the last one first (`q` NULL:
 * they are gone); all leases of a queue end with it; the beginning. */
void queue_give_back(struct queue *q, struct list *items);
void queue_leases_end(struct queue *q);
void queue_leases_init(uint32_t seed);

#endif
