/*
 * The tasks of a pool: which wait, who gets the next, how many workers that takes, and whether the pool
 * takes any at all. Policy only.
 *
 * A task goes to the idle worker with the lowest number at once; when none is idle to one that has room
 * for more (`prefetch`), each in turn; else it waits. The pool grows when tasks wait at the end of a turn,
 * and shrinks from its highest number when that one was idle for idle-timeout.
 *
 * open -> closed (close: what it has is done, then the workers end) -> open (start)
 *      -> terminated (terminate: what it has is cancelled, the workers end at once) -> open (start)
 */
#ifndef CREWD_TASKPOOL_H
#define CREWD_TASKPOOL_H

#include "daemon/pool.h"
#include "daemon/runner.h"
#include "daemon/task.h"
#include "daemon/task_kind.h"
#include "daemon/taskpool_queue.h"

/* enum name, text in the protocol */
#define TASKPOOL_GATES(X)                                                                          \
	X(OPEN, "open")                                                                            \
	X(CLOSED, "closed")                                                                        \
	X(TERMINATED, "terminated")
enum taskpool_gate {
#define X(name, text) TASKPOOL_##name,
	TASKPOOL_GATES(X)
#undef X
		TASKPOOL_GATE_COUNT
};

struct taskpool {
	char name[CREW_NAME_MAX + 1];
	struct pool *pool; /* NULL: gone; only results are left */
	const struct task_kind *kind;
	enum taskpool_gate gate;
	bool refused; /* a task, as too many waited */
	bool giving; /* what waits is being given out: a worker's change of state need not begin it again */
	bool ended; /* not open, all is done, and its workers have been told to end */
	struct list queue;
	unsigned queued, in_hand;
	uint64_t accepted, succeeded, failed, cancelled;
	unsigned size;	     /* how many workers it has grown to */
	bool surge;	     /* one more for the time of a roll */
	struct list room;    /* runners with something in hand that can take more, the next first */
	uint64_t *idle;	     /* a bit for each worker that can take a task and has none */
	unsigned idle_words; /* of `idle` */
	struct list results; /* ended, not yet fetched; the oldest first */
	int64_t result_ttl;
	unsigned tasks; /* that refer to it */
	struct loop_timer expire, shrink;
	bool starved; /* that has been said */
	struct loop_timer
		again; /* armed: a task could not be given, for want of memory or descriptors */
	struct taskpool_feed feed;
};

/* Upward talk; set once. */
struct taskpool_events {
	void (*drained)(struct taskpool *
				tp); /* it may be that nothing is left of a pool that is not open */
	void (*has_room)(struct taskpool *tp); /* it has refused a task, and may not now */
};
void taskpool_observe(const struct taskpool_events *events);

/* ---- for rpc ---- */
const char *taskpool_gate_name(enum taskpool_gate gate);
enum taskpool_error { TASKPOOL_OK, TASKPOOL_SHUT, TASKPOOL_FULL, TASKPOOL_NO_MEMORY };
/* What submitting would answer now; *why in words (static) unless it is OK. */
enum taskpool_error taskpool_accepts(const struct taskpool *tp, const char **why);
/* A request that has been checked. With owner NULL the result is kept. */
enum taskpool_error taskpool_submit(struct taskpool *tp, const struct task_request *r,
				    struct task_owner *owner, uint32_t index, struct task **out,
				    const char **why);
/* The owner leaves: what waits is taken back, what runs goes on for nobody. The task is no longer its. */
void taskpool_disown(struct task *t);
/* Takes it back, or ends the worker that has it. Nothing if it has ended. */
void taskpool_cancel(struct task *t);
/* It has ended and its result is kept no longer: by its owner, or as its time is over. It is freed, or by
 * the last of those who await it. */
void taskpool_fetched(struct task *t);
/* It has ended and somebody who asked has been told its result: the same, unless it has an owner. */
void taskpool_told(struct task *t);
/* Somebody waits for its end, without owning it; and no more. */
void taskpool_await(struct task *t);
void taskpool_unawait(struct task *t);
void taskpool_close(struct taskpool *tp);
void taskpool_terminate(struct taskpool *tp);
void taskpool_open(struct taskpool *tp);
/* Closed or terminated, nothing is left to do, and its workers have ended. */
bool taskpool_is_drained(const struct taskpool *tp);

/* ---- for pool.c and crew.c ---- */
/* The pool has a definition, or another: makes, changes or ends what it has for tasks. */
void taskpool_define(struct pool *p);
void taskpool_gone(struct pool *p);
unsigned taskpool_size(const struct taskpool *tp); /* how many workers there should be now */
/* A worker came or goes; NULL pool->tasks is fine for both. */
void taskpool_enter(struct worker *w);
void taskpool_leave(struct worker *w);
void taskpool_step(struct taskpool *tp);
/* Replaces workers of an older definition, a new one first. True: there is more to do. */
bool taskpool_roll(struct taskpool *tp);
/* After another manager: the gate; and, once its workers are known, how far it had grown. */
void taskpool_restore(struct taskpool *tp, enum taskpool_gate gate);
void taskpool_recovered(struct taskpool *tp);
/* Stops or restarts a worker when it has nothing in hand. */
void taskpool_release(struct worker *w, enum runner_then then);

/* ---- for taskpool_queue.c ---- */
/* How many tasks from elsewhere its workers could begin now, up to `enough`; with `grow`, or one, when that is what
 * makes it grow. */
unsigned taskpool_room(const struct taskpool *tp, unsigned enough, bool grow);
/* Nobody is to work on what waits for now, though the pool is open. */
bool taskpool_is_halted(const struct taskpool *tp);

/* ---- for runner.c ---- */
void taskpool_end_task(struct task *t, enum task_state state);
void taskpool_give_back(struct task *t); /* to the head of the queue */
void taskpool_look_at(struct runner *r); /* whether it can take a task may have changed */
void taskpool_hide(struct runner *r);	 /* it can take none any more */

#endif
