/*
 * Tasks out of a queue, for pools that say `queue = NAME`. Policy only.
 *
 * While the pool takes tasks and its workers have room in their hands, somebody waits at the queue for the next
 * item, and no more are taken than there is room for: the rest is for others. An item is a task as an element of
 * Map is. It is on loan until its task has ended: done, it is said to be; failed, it goes to the queue's dead
 * ones, or is dropped; if nobody had a chance to do it (the pool is terminated, stopped, gone or of another
 * kind), it is back at the head. Should the manager die, what its loans come to is the kind's business: those of
 * a queue that outlives it give them out again.
 */
#ifndef CREWD_TASKPOOL_QUEUE_H
#define CREWD_TASKPOOL_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include "daemon/loop.h"
#include "lib/bounds.h"
#include "lib/list.h"

struct task;
struct taskpool;
struct queue_owner;

/* Lies inside the pool; zero-initialised, then feed_init(). */
struct taskpool_feed {
	char queue[CREW_NAME_MAX + 1]; /* "": it has none */
	uint64_t asked;		       /* number of the request that waits there; 0: none does */
	struct queue_owner *loans;     /* NULL: there was none so far */
	uint64_t taken;		       /* items, ever: their order */
	struct list returning;	       /* items to be handed back, in their order */
	bool withdrawing;	       /* tasks that are cancelled now were not to blame */
	bool troubled;		       /* that has been said */
	bool hopeless;		       /* the trouble is that no worker could be started */
	struct loop_timer again;       /* armed: there was trouble, it is looked at later */
};

void taskpool_feed_init(struct taskpool *tp);
/* What the pool's definition says may have changed. */
void taskpool_feed_define(struct taskpool *tp);
/* Takes what there is room for, or stops waiting for it; hands back what has to be. */
void taskpool_feed_step(struct taskpool *tp);
/* Items that are there for the taking, as far as that is known. */
unsigned taskpool_feed_waiting(const struct taskpool *tp);
/* Whether it has come from a queue. */
bool taskpool_feed_owns(const struct task *t);
/* The pool is no more. Tasks of it may be left. */
void taskpool_feed_gone(struct taskpool *tp);
/* Neither pool nor tasks are left. */
void taskpool_feed_free(struct taskpool *tp);

#endif
