/*
 * The whole crew: all pools and workers, found by name or slot; reload and shutdown. The face of
 * policy towards rpc, notify and output. Everything runs in the loop's thread.
 */
#ifndef CREWD_CREW_H
#define CREWD_CREW_H

#include "daemon/pool.h"

/* Upward talk; set once at start. */
struct crew_events {
	void (*worker_changed)(struct worker *w,
			       enum worker_state from); /* from == state: it is new */
	void (*worker_gone)(struct worker *w);		/* about to leave the table */
	void (*shut_down)(void);		   /* everything has ended after crew_shutdown() */
	void (*output)(struct worker *w, int fd);  /* a hand-over's: read it from now on */
	void (*pool_defined)(struct pool *p);	   /* new, or by a reload: its log may be another */
	void (*pool_gone)(struct pool *p);	   /* about to be dropped */
	void (*reloaded)(const struct conf *conf); /* another configuration is in force */
};

struct crew_setup {
	bool root;    /* crewd was started by root */
	bool journal; /* what `log` means for `run` workers */
	const struct crew_events *events;
};
/* `block` is the sealed memfd of the configuration in force; takes over what the ledger and the
 * keeper know from the manager before. child_init() and ledger_init() come first. 0, or -1 with
 * errno. */
int crew_init(const struct crew_setup *setup, int block);
/* Forgets everything; processes and the ledger stay as they are. */
void crew_close(void);
const struct conf *crew_conf(void); /* in force; valid until the next reload */

struct worker *crew_worker(const char *name);	 /* NULL: none */
struct worker *crew_slot(unsigned slot);	 /* NULL: free */
struct worker *crew_pid(pid_t pid);		 /* by main process; NULL: none */
struct pool *crew_pool(const char *name);	 /* a configured pool (not of `run`); NULL: none */
struct pool *crew_pool_by_index(uint32_t index); /* of the configuration in force; NULL: none */
struct list *crew_pools(void); /* of struct pool.link, configured ones in order, then `run` ones */
/* Calls `each` for every worker that `pattern` names: a worker, a pool (all its workers), or a
 * shell glob of either; stops when it returns false. Returns how many were named. `each` must not
 * free workers. */
unsigned crew_match(const char *pattern, bool (*each)(struct worker *w, void *arg), void *arg);

unsigned crew_running(void); /* workers alive */
unsigned crew_total(void); /* workers that should be: in the table and not told to stop, or alive */
unsigned crew_room(void);  /* how many workers more the table has room for */

struct crew_run {
	const char *name; /* NULL: run-N, the first free */
	const char *const *command;
	unsigned command_count; /* at least one */
	const char *const *environment;
	unsigned environment_count; /* KEY=VALUE */
	const char *directory;	    /* absolute, or NULL */
	enum conf_restart restart;
};
enum crew_run_error {
	CREW_RUN_OK,
	CREW_RUN_BAD_NAME,
	CREW_RUN_EXISTS,
	CREW_RUN_NO_USER,
	CREW_RUN_TOO_MANY,
	CREW_RUN_TOO_BIG,
	CREW_RUN_FAILED,
	CREW_RUN_SHUTTING_DOWN
};
/* Starts a worker outside the configuration. A finished one of the same name makes room. */
enum crew_run_error crew_run(const struct crew_run *run, struct worker **out);
/* Drops a finished `run` worker. 0; -1 with errno EBUSY (alive or to be restarted), EPERM (it is in
 * the configuration). */
int crew_forget(struct worker *w);

/* Reload: asks the keeper to read the file, then plans and (unless dry_run) commits. `done` is
 * called once, later; `plan` is NULL when the file was bad, then `errors` says why. One at a time:
 * -1 with errno EBUSY. */
struct crew_plan_row {
	enum { CREW_ADDED, CREW_CHANGED, CREW_REMOVED, CREW_UNCHANGED } kind;
	bool queue;	  /* it is about a queue */
	const char *pool; /* "" for keys outside any pool or queue */
	const char *const *keys;
	unsigned key_count; /* CREW_CHANGED */
	bool replaces;	    /* its workers are replaced, one after the other */
	bool needs_restart; /* a key that only a restart of crewd brings is among them */
};
struct crew_plan {
	unsigned count;
	const struct crew_plan_row *rows;
};
typedef void crew_reload_fn(const struct crew_plan *plan, const char *errors, void *arg);
int crew_reload(bool dry_run, crew_reload_fn *done, void *arg);

/* Ends all workers in reverse `after` order, then tells `shut_down`. With `join`: first waits until
 * every worker has ended by itself. A second call without join does not wait any more than
 * stop-timeouts. */
void crew_shutdown(bool join);
/* SIGKILL to everything now. */
void crew_shutdown_now(void);
bool crew_is_shutting_down(void);
/* Shutting down, and something may have ended: looks again at the end of the turn. */
void crew_look_at_end(void);
/* Shutting down, and not only waiting for all to end by itself. */
bool crew_is_ending(void);

/* For reload.c. */
struct pool *crew_make_pool(const char *name); /* at the end of the list; NULL: no memory */
/* Maps and checks a block; closes fd. NULL with errno. */
const struct conf *crew_map(int fd, size_t max);
void crew_put_in_force(const struct conf *conf);
void crew_note_pool_defined(struct pool *p);

#endif
