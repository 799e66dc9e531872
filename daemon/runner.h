/*
 * A worker of a pool that has tasks, as its tasks see it: what it has in hand, what it is asked and what
 * it answers. Policy only: talks to the worker through channel.h and child.h.
 *
 * In hand are tasks given and not answered, the oldest first. When the worker dies, the oldest one that it
 * has begun to read is the one it died of; the others are given back to the pool, which gives them out
 * again.
 */
#ifndef CREWD_RUNNER_H
#define CREWD_RUNNER_H

#include "daemon/channel.h"
#include "daemon/recycle.h"
#include "daemon/task.h"
#include "daemon/worker.h"

struct taskpool;
struct task_kind;

/* What becomes of the worker as soon as its hand is empty. */
enum runner_then { RUNNER_STAYS, RUNNER_RESTARTS, RUNNER_STOPS };

struct runner {
	struct worker *worker;
	struct taskpool *pool;
	const struct task_kind *kind; /* of the process there is */
	struct channel *channel;      /* NULL: it has none yet, or no more */
	struct list in_hand;
	unsigned count;	  /* in hand */
	struct list room; /* taskpool's: runners with something in hand that can take more */
	unsigned given;	  /* tasks that this process was given ... */
	unsigned done;	  /* ... and has answered */
	bool doomed;	  /* it is being ended for what it did: nothing it says counts any more */
	bool excused;	  /* it did that with a task in hand, which may be why */
	enum runner_then then;
	/* taken over from the manager before: answers to tasks that are lost, to be thrown away */
	bool stale, dirty;
	unsigned owed;
	bool ended;	    /* its process has, and is being taken leave of */
	int64_t head_since; /* since when the oldest in hand is the oldest */
	int64_t idle_since;
	struct loop_timer timer; /* task-timeout of the oldest in hand; grace after `closed` */
	bool closed;
	struct recycle recycle;
	struct buf line; /* begun, not yet ended; exec: all its output */
};

struct runner *runner_new(struct worker *w, struct taskpool *pool); /* NULL: ENOMEM */
void runner_free(struct runner *r);				    /* nothing is in hand */

/* ---- downwards, for taskpool.c ---- */
/* It is idle, or has something in hand and can take more. */
bool runner_may_take(const struct runner *r);
/* Gives it a task that is on no list. 0; -1 with errno: nothing has changed. */
int runner_give(struct runner *r, struct task *t);
/* Ends a task it has in hand: the worker is ended, and replaced. */
void runner_cancel(struct runner *r, struct task *t);
/* As soon as its hand is empty, which may be now. */
void runner_when_idle(struct runner *r, enum runner_then then);
/* The same worker under a task pool's definition of another kind, or none: what it has is given back. */
void runner_abandon(struct runner *r);

/* ---- events of the worker ---- */
void runner_on_pipes(struct runner *r, int in, int out);
/* Its process has ended, the worker does not know yet. Returns how long to wait before it is restarted,
 * if that is not to be held against it; -1: by policy. */
int64_t runner_on_ended(struct runner *r, const struct child_end *end);
void runner_on_changed(struct runner *r);
/* Its pool has another definition. */
void runner_on_defined(struct runner *r);
/* The manager was replaced: what the ledger says of what the worker had in hand; then, once it is known
 * whether it is still there. */
void runner_on_found(struct runner *r, unsigned owed, bool dirty);
void runner_on_recovered(struct runner *r);

/* ---- for the kinds ---- */
struct task *runner_head(const struct runner *r); /* NULL: nothing is in hand */
/* NULL: it was not asked, or not as a whole yet. */
struct task *runner_oldest(const struct runner *r);
struct task *runner_find(const struct runner *r, uint64_t number);
void runner_done(struct runner *r, struct task *t, enum task_state state);
/* Its answers cannot be relied on: the oldest task in hand fails, the worker is killed. */
void runner_distrust(struct runner *r, const char *what);
void runner_ignores(struct runner *r, const char *what);

#endif
