/*
 * A pool: how many workers, which, when again. Level-triggered: pool_step() compares what is with
 * what should be; it is idempotent and runs at the end of a turn in which the pool was marked.
 */
#ifndef CREWD_POOL_H
#define CREWD_POOL_H

#include "daemon/worker.h"

struct taskpool;

struct pool {
	unsigned id;		      /* unique in this manager's life */
	char name[CREW_NAME_MAX + 1]; /* of a `run` worker's pool: the worker's name */
	const struct conf *conf;      /* block that `def` lies in */
	const struct conf_pool *def;
	uint32_t index; /* in the configuration in force; UINT32_MAX for a `run` pool */
	bool is_run;
	bool removed;		 /* no longer in the configuration: drained, then dropped */
	bool wanted;		 /* its workers are to be started: autostart, or by hand */
	int scale;		 /* workers by `scale`, -1: as configured */
	unsigned count;		 /* workers in the array */
	struct worker **workers; /* by number - 1; owned */
	struct loop_task step;
	struct list link;	/* crew's list, in the configuration's order */
	int run_block;		/* memfd of a `run` pool's block, else -1; owned */
	void *user;		/* output.c's */
	struct taskpool *tasks; /* NULL: it has none */

	/* pool_step()'s own */
	uint64_t process_hash;		       /* of def */
	unsigned in_state[WORKER_STATE_COUNT]; /* how many workers are */
	unsigned exited_well;		       /* of those exited: with success */
	unsigned fresh;			       /* workers that wait to be started */
	bool resize;			       /* count may differ from what should be */
	bool roll;			       /* there may be workers of an older process_hash */
	unsigned roll_next;		       /* index before which none is */
	bool was_up;
	/* Of a template; of a pool whose workers are forked from one. */
	uint32_t generation;   /* how often it was to be made anew by hand */
	uint64_t spoilt;       /* a process_hash that did not get warm, 0: none */
	bool spare;	       /* a template has a second worker, for the time of a change */
	uint64_t conf_hash;    /* of def alone */
	uint64_t template_was; /* what its template's process_hash was when last told */
	unsigned stop_mark; /* shutdown: it has been told */
	uint32_t asked;	    /* pool_is_hopeless(): the question that it was looked at for */
};

unsigned pool_size(const struct pool *p); /* how many workers there should be */
bool pool_is_alive(const struct pool *p); /* any of its workers is */
bool pool_is_up(const struct pool *p);	  /* all of its workers are up: what `after` waits for */
void pool_mark(struct pool *p);
/* By hand: whether it is to be running; remembered. Its workers are the caller's to start or stop.
 */
void pool_want(struct pool *p, bool wanted);
void pool_scale(struct pool *p, unsigned workers);
/* Its workers may start: every pool of `after` is up. With `why`: the first one that is not. */
bool pool_may_start(const struct pool *p, const struct pool **why);
/* The template's worker that this pool's are forked from; of a template: its own. NULL: none is warm. */
struct worker *pool_template(const struct pool *p);
/* Why there is none, in words. */
char *pool_why_no_template(const struct pool *p, char *buf, size_t size);
/* The worker of that template which has failed; NULL: none has. */
const struct worker *pool_failed_template(const struct pool *p);
/* A template: another generation is to be made; the one there is stays until that is warm. */
void pool_renew(struct pool *p);
/* What its workers will be started with once it has noticed which template is the newest; of one that has a template. */
uint64_t pool_template_hash_now(const struct pool *p);
/* The pool of the template that it is forked from; NULL: none, or that is not there. */
struct pool *pool_template_pool(const struct pool *p);
/* How far that has come: 1, it is warm; -1, it is not and will not be; 0: it may yet be. */
int pool_renewed(const struct pool *p);
/* Nothing is under way that could bring it up. */
bool pool_is_hopeless(struct pool *p);

/* For crew.c. */
struct pool_events {
	struct worker *(*add_worker)(struct pool *p, unsigned number); /* NULL: no slot is free */
	void (*drop_worker)(struct worker *w);			       /* frees it */
	void (*drop_pool)(struct pool *p);  /* removed, and the last worker is gone */
	void (*up_changed)(struct pool *p); /* pools that come after it are to look again */
};
void pool_observe(const struct pool_events *events);
void pool_init(struct pool *p, const char *name);
/* `def` is in force now; workers that run under another process_hash are to be replaced. */
void pool_define(struct pool *p, const struct conf *conf, const struct conf_pool *def,
		 uint32_t index);
void pool_remove(struct pool *p);
void pool_save(const struct pool *p);

#endif
