/* Methods of io.crewd.Queue: about queues as a whole, and what all of them share. */
#include "daemon/rpc_queue.h"

#include <stdlib.h>
#include <string.h>
#include "daemon/control.h"
#include "daemon/queue_conf.h"
#include "daemon/queue_durable.h"
#include "daemon/queue_kind.h"
#include "lib/shared_queue.h"
#include "lib/text.h"

#define MAX_BYTES      (64 * 1024 * 1024)
#define MAX_DELIVERIES 5

static const char *name_param(const struct rpc_call *call)
{
	return json_get_string(call->message.params, "name");
}

struct queue *rpc_queue(struct rpc_call *call, const char *name)
{
	struct queue *q = queue_find(name);

	if (!q)
		rpc_error_text(call, CREW_ERROR_NO_SUCH_QUEUE, "name", name);
	return q;
}

void rpc_queue_read_wait(struct rpc_call *call, bool *block, int64_t *timeout)
{
	*block = true;
	*timeout = -1;
	params_bool(&call->params, "block", block);
	params_seconds(&call->params, "timeout", timeout);
}

/* ---- errors ----------------------------------------------------------------------------------- */

static void write_text(struct json_writer *json, const char *key, const char *text)
{
	jw_key(json, key);
	jw_string(json, text);
}

void rpc_queue_error(struct rpc_call *call, const struct queue_request *r)
{
	static const enum crew_error errors[QUEUE_ERRORS] = {
		[QUEUE_FULL] = CREW_ERROR_QUEUE_FULL,
		[QUEUE_EMPTY] = CREW_ERROR_QUEUE_EMPTY,
		[QUEUE_TIMED_OUT] = CREW_ERROR_QUEUE_TIMED_OUT,
		[QUEUE_NO_QUEUE] = CREW_ERROR_NO_SUCH_QUEUE,
		[QUEUE_WRONG_KIND] = CREW_ERROR_QUEUE_WRONG_KIND,
		[QUEUE_TOO_MANY_DONE] = CREW_ERROR_QUEUE_TOO_MANY_DONE,
		[QUEUE_UNAVAILABLE] = CREW_ERROR_QUEUE_UNAVAILABLE,
	};
	struct json_writer *json;

	if (r->error == QUEUE_NO_MEMORY) {
		rpc_no_memory(call);
		return;
	}
	if (r->error == QUEUE_TOO_BIG) {
		rpc_invalid(call, call->method->handle == rpc_queue_put_many ? "items" : "item",
			    "no item longer than the queue's max-bytes");
		return;
	}
	json = rpc_error(call, errors[r->error]);
	jw_object(json);
	write_text(json, "name", name_param(call));
	if (r->error == QUEUE_WRONG_KIND)
		write_text(json, "kind", r->kind->name);
	if (r->why && r->error != QUEUE_EMPTY && r->error != QUEUE_TIMED_OUT)
		write_text(json, "why", r->why);
	if ((r->error == QUEUE_FULL || r->error == QUEUE_UNAVAILABLE) && r->moved) {
		jw_key(json, "put");
		jw_int(json, r->moved);
	}
	jw_end_object(json);
	rpc_error_end(call);
}

/* ---- asking ----------------------------------------------------------------------------------- */

/* A call that waits: it knows its request by number, and the request knows it until it is dropped. */
struct wait {
	uint64_t id; /* 0: answered */
	void (*reply)(struct rpc_call *call, struct queue_request *r);
};

static void drop_wait(struct rpc_call *call)
{
	struct wait *w = call->state;

	if (w && w->id)
		queue_drop(w->id);
	free(w);
}

bool rpc_queue_is_unheard(struct rpc_call *call, struct queue_request *r)
{
	if (r->verb != QUEUE_GET || r->error != QUEUE_OK || !control_is_hung_up(call->conn))
		return false;
	queue_untaken(r);
	call->conn->closing = true;
	call->done = true;
	return true;
}

static void finish(struct rpc_call *call, struct queue_request *r,
		   void (*reply)(struct rpc_call *call, struct queue_request *r))
{
	if (r->error != QUEUE_OK)
		rpc_queue_error(call, r);
	else if (!rpc_queue_is_unheard(call, r))
		reply(call, r);
	queue_request_free(r);
}

static void on_answered(struct queue_request *r)
{
	struct rpc_call *call = r->arg;
	struct wait *w = call->state;

	w->id = 0;
	finish(call, r, w->reply);
	rpc_end(call);
}

struct queue_request *rpc_queue_request(struct rpc_call *call, enum queue_verb verb,
					void (*answered)(struct queue_request *r))
{
	struct queue_request *r = queue_request_new(verb, answered ? answered : on_answered, call);

	if (!r)
		rpc_no_memory(call);
	return r;
}

void rpc_queue_ask(struct rpc_call *call, struct queue *q, struct queue_request *r,
		   void (*reply)(struct rpc_call *call, struct queue_request *r))
{
	struct wait *w;

	if (queue_ask(q, r)) {
		finish(call, r, reply);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		queue_drop(r->id);
		rpc_no_memory(call);
		return;
	}
	w->id = r->id;
	w->reply = reply;
	call->state = w;
	call->drop = drop_wait;
	rpc_park(call, RPC_KEY_QUEUES, NULL);
}

/* ---- Qsize, IsEmpty, IsFull, TaskDone, Join --------------------------------------------------- */

static void reply_qsize(struct rpc_call *call, struct queue_request *r)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "qsize");
	jw_int(json, (int64_t)r->size);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void reply_flag(struct rpc_call *call, const char *key, bool value)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, key);
	jw_bool(json, value);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void reply_empty_flag(struct rpc_call *call, struct queue_request *r)
{
	reply_flag(call, "empty", r->size == 0);
}

static void reply_full_flag(struct rpc_call *call, struct queue_request *r)
{
	reply_flag(call, "full", r->full);
}

static void reply_nothing(struct rpc_call *call, struct queue_request *r)
{
	(void)r;
	rpc_reply_empty(call);
}

static void ask_plainly(struct rpc_call *call, enum queue_verb verb,
			void (*reply)(struct rpc_call *call, struct queue_request *r))
{
	const char *name = NULL;
	int64_t timeout = -1;
	struct queue_request *r;
	struct queue *q;

	params_string(&call->params, "name", true, &name);
	if (verb == QUEUE_JOIN)
		params_seconds(&call->params, "timeout", &timeout);
	if (!rpc_params_done(call))
		return;
	q = rpc_queue(call, name);
	r = q ? rpc_queue_request(call, verb, NULL) : NULL;
	if (!r)
		return;
	r->timeout = timeout;
	rpc_queue_ask(call, q, r, reply);
}

static void qsize(struct rpc_call *call)
{
	ask_plainly(call, QUEUE_SIZE, reply_qsize);
}

static void is_empty(struct rpc_call *call)
{
	ask_plainly(call, QUEUE_SIZE, reply_empty_flag);
}

static void is_full(struct rpc_call *call)
{
	ask_plainly(call, QUEUE_SIZE, reply_full_flag);
}

static void task_done(struct rpc_call *call)
{
	ask_plainly(call, QUEUE_TASK_DONE, reply_nothing);
}

static void join(struct rpc_call *call)
{
	ask_plainly(call, QUEUE_JOIN, reply_nothing);
}

/* ---- Create ----------------------------------------------------------------------------------- */

struct creation {
	const char *name, *kind_name, *dead;
	enum conf_queue_kind kind;
	struct queue_settings set;
	bool deliveries; /* are given */
};

static bool read_creation(struct rpc_call *call, struct creation *c)
{
	int64_t maxsize = 0, max_bytes = MAX_BYTES, deliveries = MAX_DELIVERIES;

	params_string(&call->params, "name", true, &c->name);
	params_string(&call->params, "kind", false, &c->kind_name);
	params_int(&call->params, "maxsize", false, 0, CREW_QUEUE_ITEMS_MAX, &maxsize);
	params_bool(&call->params, "durable", &c->set.durable);
	params_int(&call->params, "maxBytes", false, 1, CREW_QUEUE_BYTES_MAX, &max_bytes);
	c->deliveries = params_int(&call->params, "maxDeliveries", false, 1, CREW_DELIVERIES_MAX,
				   &deliveries);
	params_string(&call->params, "dead", false, &c->dead);
	c->set.maxsize = (uint32_t)maxsize;
	c->set.max_bytes = (uint64_t)max_bytes;
	c->set.max_deliveries = (uint32_t)deliveries;
	return rpc_params_done(call);
}

static const char *check_shared(const struct creation *c, const char **right)
{
	*right = "false for a queue of kind \"shared\", which is never on disk";
	if (c->set.durable)
		return "durable";
	*right = "64 at least for a queue of kind \"shared\"";
	if (c->set.max_bytes < SHARED_QUEUE_BYTES_MIN)
		return "maxBytes";
	*right = "left out for a queue of kind \"shared\", which lends nothing";
	if (c->dead)
		return "dead";
	return c->deliveries ? "maxDeliveries" : NULL;
}

/* NULL, or the parameter that is wrong and what would be right. */
static const char *check_creation(struct creation *c, const char **right)
{
	const struct queue *dead = c->dead ? queue_find(c->dead) : NULL;

	*right = "1 to 64 of A-Z a-z 0-9 _ . -";
	if (!text_name_ok(c->name))
		return "name";
	*right = "\"manager\" or \"shared\"; this crewd has no other kind";
	if (!queue_kind_named(c->kind_name, &c->kind))
		return "kind";
	if (c->kind == CONF_QUEUE_SHARED)
		return check_shared(c, right);
	*right = "\"manager\"; a queue of this kind needs a url, which only the configuration has";
	if (queue_kind_of(c->kind, false)->needs_backend)
		return "kind";
	*right = "the name of another queue, which has to be there, and of kind \"manager\"";
	if (c->dead && (!dead || !dead->kind->take || strcmp(c->dead, c->name) == 0))
		return "dead";
	if (c->dead)
		strcpy(c->set.dead, c->dead);
	return NULL;
}

static void await_files(struct rpc_call *call, void (*look)(struct rpc_call *call))
{
	look(call);
	if (!call->done)
		rpc_park(call, RPC_KEY_FILES, look);
}

static void reply_unavailable(struct rpc_call *call, const char *name, const char *why)
{
	struct json_writer *json = rpc_error(call, CREW_ERROR_QUEUE_UNAVAILABLE);

	jw_object(json);
	write_text(json, "name", name);
	write_text(json, "why", why);
	jw_end_object(json);
	rpc_error_end(call);
}

/* Answered when it will be there after a restart; not made where that cannot be. */
static void look_created(struct rpc_call *call)
{
	const char *name = name_param(call);
	struct queue *q = queue_find(name);
	const char *trouble = q ? queue_conf_trouble(q) : NULL;

	if (!q) {
		rpc_error_text(call, CREW_ERROR_NO_SUCH_QUEUE, "name", name);
	} else if (trouble) {
		reply_unavailable(call, name, trouble);
		q->keep = !queue_is_empty(q); /* it was there before */
		queue_conf_delete(q);
	} else if (queue_conf_created(name)) {
		rpc_reply_empty(call);
	}
}

static void create(struct rpc_call *call)
{
	struct creation c = { .kind_name = queue_manager.name };
	const char *wrong, *right;

	if (!read_creation(call, &c))
		return;
	wrong = check_creation(&c, &right);
	if (wrong) {
		rpc_invalid(call, wrong, right);
		return;
	}
	if (c.set.durable && queue_durable_refusal()) {
		reply_unavailable(call, c.name, queue_durable_refusal());
		return;
	}
	switch (queue_conf_create(c.name, c.kind, &c.set)) {
	case QUEUE_OK:
		if (c.set.durable)
			await_files(call, look_created);
		else
			rpc_reply_empty(call);
		break;
	case QUEUE_EXISTS:
		rpc_error_text(call, CREW_ERROR_QUEUE_EXISTS, "name", c.name);
		break;
	case QUEUE_TOO_MANY:
		rpc_error_text(call, CREW_ERROR_MANAGER_BUSY, "why",
			       "there are as many queues as may be");
		break;
	default:
		rpc_no_memory(call);
	}
}

static void look_gone(struct rpc_call *call)
{
	const char *name = name_param(call), *trouble = queue_conf_undeletable(name);

	if (trouble)
		reply_unavailable(call, name, trouble);
	else if (queue_conf_gone(name))
		rpc_reply_empty(call);
}

static void delete (struct rpc_call *call)
{
	const char *name = NULL;
	struct queue *q;

	params_string(&call->params, "name", true, &name);
	if (!rpc_params_done(call))
		return;
	q = rpc_queue(call, name);
	if (!q)
		return;
	queue_conf_delete(q);
	rpc_happened(RPC_KEY_LEASES);
	await_files(call, look_gone);
}

void rpc_queue_changed(void)
{
	rpc_happened(RPC_KEY_FILES);
}

/* ---- List ------------------------------------------------------------------------------------- */

static void write_count(struct json_writer *json, const char *key, uint64_t count)
{
	jw_key(json, key);
	jw_int(json, (int64_t)count);
}

static void write_flag(struct json_writer *json, const char *key, bool value)
{
	jw_key(json, key);
	jw_bool(json, value);
}

static void write_queue(struct json_writer *json, const struct queue *q)
{
	struct queue_stat stat;

	q->kind->stat(q, &stat);
	jw_object(json);
	write_text(json, "name", q->name);
	write_text(json, "kind", q->kind->name);
	write_count(json, "qsize", stat.size);
	write_count(json, "maxsize", q->set.maxsize);
	write_count(json, "bytes", stat.bytes);
	write_count(json, "maxBytes", q->set.max_bytes);
	write_flag(json, "durable", q->set.durable);
	write_count(json, "leased", q->leased);
	write_count(json, "unfinished", stat.unfinished);
	write_count(json, "waitingPut", q->waiting_count[QUEUE_PUT]);
	write_count(json, "waitingGet", q->waiting_count[QUEUE_GET]);
	write_count(json, "waitingJoin", q->waiting_count[QUEUE_JOIN]);
	write_count(json, "maxDeliveries", q->set.max_deliveries);
	write_text(json, "dead", *q->set.dead ? q->set.dead : NULL);
	write_flag(json, "configured", q->configured);
	write_flag(json, "leaving", q->leaving);
	jw_end_object(json);
}

static void list(struct rpc_call *call)
{
	struct json_writer *json;

	if (!rpc_params_done(call))
		return;
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "queues");
	jw_array(json);
	list_foreach(e, n, queue_all()) write_queue(json, list_entry(e, struct queue, link));
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

const struct rpc_method rpc_queue_methods[] = {
	{ .name = "io.crewd.Queue.Create", .handle = create, .writes = true },
	{ .name = "io.crewd.Queue.Delete", .handle = delete, .writes = true },
	{ .name = "io.crewd.Queue.List", .handle = list },
	{ .name = "io.crewd.Queue.Put", .handle = rpc_queue_put, .writes = true, .by_text = true },
	{ .name = "io.crewd.Queue.PutMany",
	  .handle = rpc_queue_put_many,
	  .writes = true,
	  .by_text = true },
	{ .name = "io.crewd.Queue.Get", .handle = rpc_queue_get, .writes = true },
	{ .name = "io.crewd.Queue.GetMany", .handle = rpc_queue_get_many, .writes = true },
	{ .name = "io.crewd.Queue.Attach", .handle = rpc_queue_attach, .writes = true },
	{ .name = "io.crewd.Queue.Done", .handle = rpc_queue_done, .writes = true },
	{ .name = "io.crewd.Queue.Qsize", .handle = qsize },
	{ .name = "io.crewd.Queue.IsEmpty", .handle = is_empty },
	{ .name = "io.crewd.Queue.IsFull", .handle = is_full },
	{ .name = "io.crewd.Queue.TaskDone", .handle = task_done, .writes = true },
	{ .name = "io.crewd.Queue.Join", .handle = join },
	{ .name = NULL },
};
