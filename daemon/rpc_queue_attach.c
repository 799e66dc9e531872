/* io.crewd.Queue.Attach: hands over what a client takes part in a queue with by itself. */
#include <errno.h>
#include "daemon/control.h"
#include "daemon/queue_kind.h"
#include "daemon/rpc_queue.h"

static void reply_attached(struct rpc_call *call, const struct queue *q, bool continues)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "maxsize");
	jw_int(json, q->set.maxsize);
	jw_key(json, "maxBytes");
	jw_int(json, (int64_t)q->set.max_bytes);
	jw_key(json, "leaving");
	jw_bool(json, q->leaving);
	jw_end_object(json);
	rpc_reply_end(call, continues);
}

static void refuse(struct rpc_call *call, const struct queue *q, enum queue_error error,
		   const char *why)
{
	struct queue_request r = { .error = error, .kind = q->kind, .why = why };

	rpc_queue_error(call, &r);
}

/* False: it has replied. */
static bool hand_over(struct rpc_call *call, struct queue *q)
{
	int fd = q->kind->descriptor ? q->kind->descriptor(q) : -1;

	if (!q->kind->descriptor)
		refuse(call, q, QUEUE_WRONG_KIND,
		       "only queues in shared memory can be attached to");
	else if (fd < 0)
		refuse(call, q, QUEUE_UNAVAILABLE, "the keeper does not have its memory yet");
	else if (call->message.oneway)
		rpc_reply_empty(call);
	else if (!control_pass(call->conn, fd))
		rpc_error_text(call, CREW_ERROR_MANAGER_BUSY, "why",
			       errno == ENOSPC ? "as many descriptors wait for this client as may"
					       : "out of file descriptors");
	else
		return true;
	return false;
}

/* Never called: the only answer is the queue's end. */
static void reply_end(struct rpc_call *call, struct queue_request *r)
{
	(void)r;
	rpc_reply_empty(call);
}

void rpc_queue_attach(struct rpc_call *call)
{
	const char *name = NULL;
	struct queue_request *r = NULL;
	struct queue *q;

	params_string(&call->params, "name", true, &name);
	if (!rpc_params_done(call))
		return;
	q = rpc_queue(call, name);
	if (!q)
		return;
	if (call->message.more && !call->message.oneway) {
		r = rpc_queue_request(call, QUEUE_END, NULL);
		if (!r)
			return;
	}
	if (!hand_over(call, q)) {
		queue_request_free(r);
		return;
	}
	reply_attached(call, q, r != NULL);
	if (call->done)
		queue_request_free(r);
	else
		rpc_queue_ask(call, q, r, reply_end);
}
