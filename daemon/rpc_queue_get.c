/* Methods of io.crewd.Queue that get items: one, many, a stream, on loan. */
#include <stdlib.h>
#include "daemon/control.h"
#include "daemon/rpc_queue.h"
#include "lib/bounds.h"

#define MANY_BYTES (1024 * 1024) /* text of one answer to GetMany */

static const struct queue_item *first(const struct list *items)
{
	return list_entry(items->next, const struct queue_item, link);
}

/* ---- one item --------------------------------------------------------------------------------- */

static void reply_item(struct rpc_call *call, const struct queue_item *item,
		       const struct queue_lease *lease, bool continues)
{
	struct json_writer *json = rpc_reply(call);
	char name[QUEUE_LEASE_NAME];

	jw_object(json);
	jw_key(json, "item");
	jw_raw(json, item->text, item->len);
	if (lease) {
		jw_key(json, "lease");
		jw_string(json, queue_lease_name(lease, name));
		jw_key(json, "deliveries");
		jw_int(json, item->deliveries);
	}
	jw_end_object(json);
	rpc_reply_end(call, continues);
}

static const struct queue_lease *lease_for(struct rpc_call *call, struct queue_request *r)
{
	struct conn *conn = call->conn;

	if (!conn->leases)
		conn->leases = queue_owner_new();
	return queue_lease_new(conn->leases, r);
}

/* The item of an answered request. */
static void reply_got(struct rpc_call *call, struct queue_request *r, bool continues)
{
	const struct queue_lease *lease;

	if (!r->lease) {
		reply_item(call, first(&r->items), NULL, continues);
		queue_got(r);
		return;
	}
	lease = lease_for(call, r);
	if (lease)
		reply_item(call, queue_lease_item(lease), lease, continues);
	else
		rpc_no_memory(call);
}

static void reply_one(struct rpc_call *call, struct queue_request *r)
{
	reply_got(call, r, false);
}

/* ---- many items ------------------------------------------------------------------------------- */

static void reply_items(struct rpc_call *call, struct queue_request *r, bool continues)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "items");
	jw_array(json);
	list_foreach(e, n, &r->items)
	{
		const struct queue_item *item = list_entry(e, struct queue_item, link);

		jw_raw(json, item->text, item->len);
	}
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, continues);
	queue_got(r);
}

static void reply_many(struct rpc_call *call, struct queue_request *r)
{
	reply_items(call, r, false);
}

/* ---- a stream --------------------------------------------------------------------------------- */

/* Its request is asked again and again; between two times, and while the client does not read, it is ours. */
struct stream {
	struct queue_request *r;
	uint64_t id;	  /* of the request, while the queue has it; else 0 */
	const char *name; /* in the call's message */
	unsigned credit;  /* leases that its connection may hold; 0: any number */
	void (*reply)(struct rpc_call *call, struct queue_request *r, bool continues);
};

static void drop_stream(struct rpc_call *call)
{
	struct stream *s = call->state;

	if (!s)
		return;
	if (s->id)
		queue_drop(s->id);
	else
		queue_request_free(s->r);
	free(s);
}

/* The next item, if the client has room for it. */
static void go_on(struct rpc_call *call)
{
	struct stream *s = call->state;
	struct queue *q;

	if (s->id || rpc_is_congested(call))
		return;
	q = rpc_queue(call, s->name);
	if (!q)
		return;
	if (s->credit && call->conn->leases && call->conn->leases->count >= s->credit) {
		rpc_park(call, RPC_KEY_LEASES, go_on);
		return;
	}
	rpc_park(call, RPC_KEY_QUEUES, go_on);
	queue_ask_again(q, s->r);
	s->id = s->r->id;
}

static void on_answered(struct queue_request *r)
{
	struct rpc_call *call = r->arg;
	struct stream *s = call->state;

	s->id = 0;
	if (r->error != QUEUE_OK)
		rpc_queue_error(call, r);
	else if (!rpc_queue_is_unheard(call, r))
		s->reply(call, r, true);
	if (!call->done)
		go_on(call);
	if (call->done)
		rpc_end(call);
}

static void
begin_stream(struct rpc_call *call, struct queue_request *r, const char *name, unsigned credit,
	     void (*reply)(struct rpc_call *call, struct queue_request *r, bool continues))
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		queue_request_free(r);
		rpc_no_memory(call);
		return;
	}
	s->r = r;
	s->name = name;
	s->credit = credit;
	s->reply = reply;
	call->state = s;
	call->drop = drop_stream;
	rpc_park(call, RPC_KEY_QUEUES, go_on);
	go_on(call);
}

/* A oneway call would lose what it takes. */
static bool is_pointless(struct rpc_call *call)
{
	if (call->message.oneway)
		rpc_reply_empty(call);
	return call->message.oneway;
}

void rpc_queue_get(struct rpc_call *call)
{
	const char *name = NULL;
	struct queue_request *r;
	struct queue *q;
	int64_t timeout, credit = 0;
	bool block, lease = false;

	params_string(&call->params, "name", true, &name);
	rpc_queue_read_wait(call, &block, &timeout);
	params_bool(&call->params, "lease", &lease);
	params_int(&call->params, "credit", false, 1, CREW_QUEUE_MANY_MAX, &credit);
	if (!rpc_params_done(call) || is_pointless(call))
		return;
	if (credit && !(lease && call->message.more)) {
		rpc_invalid(call, "credit", "left out without lease and more");
		return;
	}
	q = rpc_queue(call, name);
	r = q ? rpc_queue_request(call, QUEUE_GET, call->message.more ? on_answered : NULL) : NULL;
	if (!r)
		return;
	r->block = block;
	r->timeout = timeout;
	r->lease = lease;
	r->stream = call->message.more;
	if (call->message.more)
		begin_stream(call, r, name, (unsigned)credit, reply_got);
	else
		rpc_queue_ask(call, q, r, reply_one);
}

void rpc_queue_get_many(struct rpc_call *call)
{
	const char *name = NULL;
	struct queue_request *r;
	struct queue *q;
	int64_t timeout, max = 1;
	bool block;

	params_string(&call->params, "name", true, &name);
	params_int(&call->params, "max", true, 1, CREW_QUEUE_MANY_MAX, &max);
	rpc_queue_read_wait(call, &block, &timeout);
	if (!rpc_params_done(call) || is_pointless(call))
		return;
	q = rpc_queue(call, name);
	r = q ? rpc_queue_request(call, QUEUE_GET, call->message.more ? on_answered : NULL) : NULL;
	if (!r)
		return;
	r->block = block;
	r->timeout = timeout;
	r->stream = call->message.more;
	r->max = (unsigned)max;
	r->max_bytes = MANY_BYTES;
	if (call->message.more)
		begin_stream(call, r, name, 0, reply_items);
	else
		rpc_queue_ask(call, q, r, reply_many);
}

/* ---- Done ------------------------------------------------------------------------------------- */

void rpc_queue_done(struct rpc_call *call)
{
	const char *lease = NULL;

	params_string(&call->params, "lease", true, &lease);
	if (!rpc_params_done(call))
		return;
	if (!queue_done(lease)) {
		rpc_error_text(call, CREW_ERROR_NO_SUCH_LEASE, "lease", lease);
		return;
	}
	rpc_happened(RPC_KEY_LEASES);
	rpc_reply_empty(call);
}
