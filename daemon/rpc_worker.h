/*
 * What the methods of io.crewd.Worker share: which workers a name means, remembered across a wait
 * by slot and generation, and what was last known of one that has left the table.
 */
#ifndef CREWD_RPC_WORKER_H
#define CREWD_RPC_WORKER_H

#include "daemon/rpc.h"

#define RPC_WHY_MAX 512

struct rpc_target {
	uint16_t slot, generation;
};

struct rpc_targets {
	unsigned count, capacity, globs;
	uint32_t id;	       /* of what is being gathered */
	bool failed;	       /* no memory */
	struct rpc_target *at; /* owned; each worker once, however often it is named */
};

/* Adds all workers there are. False: it has replied (no memory). */
bool rpc_targets_add_all(struct rpc_targets *t, struct rpc_call *call);
/* Adds all workers that the name means. False: it has replied (NoSuchWorker, or no memory, or more
 * globs than a call may have, as each is held against every worker). */
bool rpc_targets_add(struct rpc_targets *t, struct rpc_call *call, const char *name);
struct worker *rpc_target(struct rpc_target t); /* NULL: it has left the table */
void rpc_targets_free(struct rpc_targets *t);

/* What of a worker is worth knowing after it has ended. */
struct rpc_last {
	char name[CREW_NAME_MAX + 1];
	enum worker_state state;
	bool has_end;
	struct child_end end;
	char why[RPC_WHY_MAX]; /* in words */
};
/* Of one in the table or one that left it not long ago; else "stopped", without a name. */
void rpc_last(struct rpc_target t, struct rpc_last *last);
/* The pid of the last process that got one, 0: none. */
pid_t rpc_last_pid(struct rpc_target t);

/* How many times any worker has ended without having been up: has any since I looked? */
unsigned rpc_ends(void);

/* worker_why(), with the last lines of a template that is to blame. Returns buf. */
char *rpc_why(const struct worker *w, char *buf, size_t size);

/* Members "exitcode" and "signal", null where they do not apply. */
void rpc_write_end(struct json_writer *json, bool has_end, const struct child_end *end);

/* Handlers. */
void rpc_worker_list(struct rpc_call *call);
void rpc_worker_logs(struct rpc_call *call);
void rpc_worker_start(struct rpc_call *call);
void rpc_worker_terminate(struct rpc_call *call);
void rpc_worker_kill(struct rpc_call *call);
void rpc_worker_restart(struct rpc_call *call);
void rpc_worker_join(struct rpc_call *call);
void rpc_worker_run(struct rpc_call *call);

#endif
