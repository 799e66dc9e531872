/* What the methods of io.crewd.Queue share: asking a queue, and answering when it has answered. */
#ifndef CREWD_RPC_QUEUE_H
#define CREWD_RPC_QUEUE_H

#include "daemon/queue.h"
#include "daemon/rpc.h"

/* The queue of that name; NULL: it has replied (NoSuchQueue). */
struct queue *rpc_queue(struct rpc_call *call, const char *name);
/* NULL: it has replied (Busy). `answered` NULL: rpc_queue_ask() will tell. */
struct queue_request *rpc_queue_request(struct rpc_call *call, enum queue_verb verb,
					void (*answered)(struct queue_request *r));
/* The parameters block and timeout. */
void rpc_queue_read_wait(struct rpc_call *call, bool *block, int64_t *timeout);
/* Asks, and replies: `reply` when it went well, else the error; now, or parked until then. Takes r over. */
void rpc_queue_ask(struct rpc_call *call, struct queue *q, struct queue_request *r,
		   void (*reply)(struct rpc_call *call, struct queue_request *r));
/* What was got is back in its queue, as its client has gone: the call is done. */
bool rpc_queue_is_unheard(struct rpc_call *call, struct queue_request *r);
/* Replies the error. */
void rpc_queue_error(struct rpc_call *call, const struct queue_request *r);

/* Handlers. */
void rpc_queue_put(struct rpc_call *call);
void rpc_queue_put_many(struct rpc_call *call);
void rpc_queue_get(struct rpc_call *call);
void rpc_queue_get_many(struct rpc_call *call);
void rpc_queue_done(struct rpc_call *call);
void rpc_queue_attach(struct rpc_call *call);

#endif
