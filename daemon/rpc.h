/*
 * Calls: the table of methods, permission, and parked calls. A file a noun holds the handlers
 * (rpc_manager.c, rpc_worker.c, rpc_pool.c). control.c delivers calls and takes replies.
 *
 * A handler either replies at once or parks the call under keys; when something about a key
 * happens, the call is resumed at the end of the turn. A client that left takes its parked calls
 * along.
 */
#ifndef CREWD_RPC_H
#define CREWD_RPC_H

#include <stdbool.h>
#include <stdint.h>
#include "daemon/loop.h"
#include "daemon/worker.h"
#include "lib/errors.h"
#include "lib/message.h"

struct conn; /* control.h */

struct rpc_call {
	struct conn *conn; /* lives at least as long as the call */
	const struct rpc_method *method;
	struct message_call message; /* owned; strings in it live as long as the call */
	struct params params;
	bool may_write; /* the caller may change things */
	bool done;	/* the last reply has been sent */

	/* parked calls */
	struct list link; /* of its key's list */
	struct loop_timer deadline;
	void (*resume)(struct rpc_call *call);	/* something happened: reply, or stay parked */
	void (*expired)(struct rpc_call *call); /* the deadline came: must reply */
	void (*drop)(struct rpc_call *call);	/* frees `state`; NULL: free() */
	void *state;				/* the handler's, owned */
};

struct rpc_method {
	const char *name; /* "io.crewd.Worker.Join" */
	void (*handle)(struct rpc_call *call);
	bool writes;	 /* needs permission */
	bool needs_more; /* ExpectedMore without `more` */
	bool by_text;	 /* takes values by their text, numbers of any size among them */
};

/* Tables of the nouns, each ended by a row with name NULL. */
extern const struct rpc_method rpc_service_methods[], rpc_manager_methods[], rpc_worker_methods[],
	rpc_pool_methods[], rpc_task_methods[], rpc_queue_methods[];

/* What parked calls wait for. */
enum rpc_key {
	RPC_KEY_WORKERS, /* any change of any worker or pool */
	RPC_KEY_TASKS,	 /* an awaited task has ended, or a pool has room for more */
	RPC_KEY_OUTPUT,	 /* anything printed */
	RPC_KEY_EVENTS,	 /* nothing: events are written as they come */
	RPC_KEY_NEXT,	 /* the next turn: a long answer goes out in parts */
	RPC_KEY_RELOAD,	 /* nothing: the reload's end replies */
	RPC_KEY_QUEUES,	 /* nothing: the queue's answer replies */
	RPC_KEY_MEMORY,	 /* nothing: the measure's end replies */
	RPC_KEY_LEASES,	 /* a lease has ended */
	RPC_KEY_FILES,	 /* those of a durable queue are made, or gone */
	RPC_KEY_COUNT
};
/* A call with `oneway` is over here instead. `state` and `drop` are set before. */
void rpc_park(struct rpc_call *call, enum rpc_key key, void (*resume)(struct rpc_call *));
void rpc_deadline(struct rpc_call *call, int64_t usec_from_now, void (*expired)(struct rpc_call *));
void rpc_happened(
	enum rpc_key key); /* parked calls are resumed at the end of this turn, many events once */

/* Calls `each` for every call parked under `key`; it may reply, but not end the call. */
void rpc_each(enum rpc_key key, void (*each)(struct rpc_call *call, void *arg), void *arg);
/* A parked call has been replied to from outside resume and expired: it is freed. */
void rpc_end(struct rpc_call *call);

/* Replies; between begin and end write one object with the writer returned. `continues`: more come.
 */
struct json_writer *rpc_reply(struct rpc_call *call);
void rpc_reply_end(struct rpc_call *call, bool continues);
struct json_writer *rpc_error(struct rpc_call *call, enum crew_error e);
void rpc_error_end(struct rpc_call *call);
void rpc_reply_empty(struct rpc_call *call);
void rpc_error_text(struct rpc_call *call, enum crew_error e, const char *key,
		    const char *text); /* one string parameter */
void rpc_no_memory(struct rpc_call *call);
void rpc_invalid(struct rpc_call *call, const char *parameter, const char *would_be_right);
/* params_done(), else replies InvalidParameter: if (!rpc_params_done(call)) return; */
bool rpc_params_done(struct rpc_call *call);
/* True while a stream should wait because the client is slow to read; it is resumed when it has
 * caught up. */
bool rpc_is_congested(const struct rpc_call *call);

/* For the manager: what policy tells. */
void rpc_worker_changed(struct worker *w, enum worker_state from);
void rpc_worker_gone(struct worker *w);
void rpc_reloaded(void);
void rpc_task_init(void); /* observes tasks */
void rpc_queue_changed(void);

/* For control.c: takes over one whole frame. False: the connection is to be closed. */
bool rpc_dispatch(struct conn *conn, const char *text, size_t len);
/* For control.c: the client is gone, or has caught up. */
void rpc_conn_gone(struct conn *conn);
void rpc_conn_drained(struct conn *conn);

#endif
