/*
 * One worker: its states and events. Policy only: calls child.h, ledger.h and loop.h, nothing else
 * outside.
 *
 *            start        running     ready     ended         stop       timer
 * stopped    starting     -           -         -             -          -
 * starting   -            running (1) running   by policy     stopping   KILL; its end is a failure
 * running    -            -           -         by policy     stopping   ABRT; its end is a failure
 * stopping   stays (2)    -           -         stopped (3)   -          KILL to everything
 * backoff    starting     -           -         -             stopped    starting
 * exited     starting     -           -         -             -          -
 * failed     starting     -           -         -             -          -
 *
 * "running": exec has succeeded. (1) or it waits for ready; the timer is start-timeout. (2) and is
 * started when it is gone. (3) by policy if a time-out is what stopped it. The timer of running is
 * the watchdog, of stopping the stop-timeout, of backoff the delay.
 *
 * By policy: starting at once or backoff (with a growing delay), exited (not to be restarted),
 * failed (over the limit, or it could not be started and is not to be restarted). The limit counts
 * restarts inside restart-window of the worker's own running time: the time it waits in backoff
 * does not count, as else a worker that dies at once could never reach the limit with long delays.
 */
#ifndef CREWD_WORKER_H
#define CREWD_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "daemon/child.h"
#include "daemon/conf.h"
#include "daemon/loop.h"
#include "lib/bounds.h"
#include "lib/list.h"

/* enum name, text in the protocol, is there a process */
#define WORKER_STATES(X)                                                                           \
	X(STARTING, "starting", true)                                                              \
	X(RUNNING, "running", true)                                                                \
	X(STOPPING, "stopping", true)                                                              \
	X(BACKOFF, "backoff", false)                                                               \
	X(STOPPED, "stopped", false)                                                               \
	X(EXITED, "exited", false)                                                                 \
	X(FAILED, "failed", false)
enum worker_state {
#define X(name, text, alive) WORKER_##name,
	WORKER_STATES(X)
#undef X
		WORKER_STATE_COUNT
};

/* Why a worker has failed, or its process was ended. */
enum worker_blame {
	WORKER_BLAME_NONE,
	WORKER_BLAME_LATE,     /* it was not ready within its start-timeout */
	WORKER_BLAME_SILENT,   /* it was silent for longer than its watchdog allows */
	WORKER_BLAME_THREADS,  /* a template, and has more than one thread */
	WORKER_BLAME_TEMPLATE, /* its template has failed */
};

struct pool;
struct runner;

struct worker {
	unsigned slot;	 /* index everywhere: keeper, ledger, log ring */
	unsigned number; /* N of POOL-N, from 1; 0 for a `run` worker */
	char name[CREW_NAME_MAX + 1];
	struct pool *pool; /* never NULL: a `run` worker has a pool of its own, pool->is_run */
	struct list by_name, by_pid; /* hash chains, crew.c */
	void *user;		     /* the output reader's, output.c */
	struct runner *runner;	     /* of a pool that has tasks; taskpool.c's */

	enum worker_state state;
	pid_t pid;	   /* 0 when there is no process */
	unsigned restarts; /* restarts by policy since it was last started by hand or reload */
	int64_t started;   /* of the process there is or was last, loop clock; 0: never */
	int64_t changed;   /* when the state last changed */
	bool has_end;	   /* `end` tells of the last process */
	struct child_end end;
	uint64_t process_hash; /* conf_process_hash() it was started with */

	/* the state machine's own */
	bool off;	       /* exec: told to end by hand, it gets no task until it is started */
	bool fresh;	       /* not alive, and to be started as soon as its pool may */
	bool start_again;      /* stopping, and to be started when gone */
	bool leaving;	       /* to be dropped from the table when gone */
	bool unready;	       /* starting: READY=1 has not come */
	bool failing;	       /* stopping because of a time-out: its end counts as a failure */
	bool forced;	       /* SIGKILL has been sent */
	uint8_t blame;	       /* enum worker_blame: why it failed, where its end does not tell */
	bool signalled;	       /* stopping: the signal has been given to the keeper */
	unsigned failures;     /* delays in a row, for the back-off */
	unsigned window_count; /* restarts in the window */
	int64_t window_ran;    /* how long it ran in the window */
	int64_t due;	       /* when the timer comes, 0: off */
	struct loop_timer timer; /* what for: by state */
};

/* Upward talk; set once, all given. */
struct worker_observer {
	void (*changed)(struct worker *w, enum worker_state from); /* also when from == state */
	void (*pid)(struct worker *w, pid_t was);		   /* w->pid has another value */
	/* Its process has ended, its state is still the old one. How long to wait before it is restarted, if
	 * the end is not to be held against it; -1: by policy. */
	int64_t (*ending)(struct worker *w, const struct child_end *end);
	/* Its state is as it was, but not whether it may be given a task. */
	void (*able)(struct worker *w);
};
void worker_observe(const struct worker_observer *o);
/* While true no worker is restarted by policy (shutdown). */
void worker_hold_restarts(bool hold);

const char *worker_state_name(enum worker_state s);
bool worker_is_alive(const struct worker *w); /* starting, running, stopping */
/* Ended for good: stopped, exited or failed, and nothing is going to start it by itself. */
bool worker_is_settled(const struct worker *w);
/* Up as far as anyone waits for it: running, or exited with success. */
bool worker_is_up(const struct worker *w);
/* Why it is not running, in words: "cannot run /x: No such file or directory", "exited 3", "killed
 * by SIGKILL", "killed by SIGKILL: not ready within its start-timeout", "". Written to buf, returned. */
char *worker_why(const struct worker *w, char *buf, size_t size);
/* The same of one end. */
char *worker_describe_end(const struct worker *w, const struct child_end *end, char *buf,
			  size_t size);

/* Commands; each takes effect at once and is remembered across a restart of the manager. */
void worker_start(
	struct worker *w); /* alive and not stopping: nothing. By hand: restart counts begin anew */
void worker_stop(
	struct worker *w); /* stop-signal, then SIGKILL after stop-timeout; not restarted */
void worker_kill(struct worker *w);	       /* SIGKILL to everything now; not restarted */
void worker_signal(struct worker *w, int sig); /* policy applies to what follows */
void worker_restart(struct worker *w);	       /* stop, then start; a dead one is started */
/* For tasks. A process of exec for one task: 0, or -1 with errno, then nothing has changed. Ended with a
 * signal and started again at once, by no fault of its own. Killed, as it does what it must not: by policy
 * then. */
int worker_start_task(struct worker *w, const struct child_task *task);
void worker_replace(struct worker *w, int sig);
void worker_distrust(struct worker *w, const char *what);
/* A template that cannot be one: killed, and failed for good. */
void worker_refuse(struct worker *w, enum worker_blame blame);
/* It waits to be started and never will be, as its template has failed; and may be now. */
void worker_lose_template(struct worker *w);
/* exec: it has a process only while it has a task. */
bool worker_is_per_task(const struct worker *w);

/* Events. */
void worker_on_forked(struct worker *w, pid_t pid);
void worker_on_running(struct worker *w, pid_t pid, int64_t started);
void worker_on_ended(struct worker *w, const struct child_end *end);
void worker_on_ready(struct worker *w);
void worker_on_watchdog(struct worker *w);
void worker_on_stopping(struct worker *w); /* it said STOPPING=1: only noted */

/* For crew.c: the pool's counters take in a new worker, or let go of one that is dead (its timer
 * too). */
void worker_enter(struct worker *w);
void worker_leave(struct worker *w);
/* For pool.c and crew.c: sets `fresh` and tells; starts now; writes the ledger's record; takes over
 * a record, with what the keeper found, after the manager was replaced. */
void worker_set_fresh(struct worker *w);
void worker_start_now(struct worker *w);
void worker_save(struct worker *w);
void worker_recover(struct worker *w, const struct child_found *found);

#endif
