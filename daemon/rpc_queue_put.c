/* Methods of io.crewd.Queue that put items. They take them by their text, not from the tree. */
#include <stdlib.h>
#include "daemon/rpc_queue.h"

static bool add_item(struct queue_request *r, struct json_slice slice)
{
	struct queue_item *item = queue_item_new(slice.len), *smaller;
	size_t len;

	if (!item)
		return false;
	len = json_slice_compact(slice, item->text);
	item->len = (uint32_t)len;
	smaller = len < slice.len ? realloc(item, sizeof(*item) + len) : NULL;
	if (smaller)
		item = smaller;
	list_append(&r->items, &item->link);
	return true;
}

static void reply_put(struct rpc_call *call, struct queue_request *r)
{
	(void)r;
	rpc_reply_empty(call);
}

void rpc_queue_put(struct rpc_call *call)
{
	struct json_slice text;
	struct json_t *item;
	const char *name = NULL;
	struct queue_request *r;
	struct queue *q;
	int64_t timeout;
	bool block, there;

	params_string(&call->params, "name", true, &name);
	there = message_param_text(call->message.text, "item", &text);
	params_value(&call->params, "item", !there, &item); /* null is an item */
	rpc_queue_read_wait(call, &block, &timeout);
	if (!rpc_params_done(call))
		return;
	q = rpc_queue(call, name);
	r = q ? rpc_queue_request(call, QUEUE_PUT, NULL) : NULL;
	if (!r)
		return;
	r->block = block;
	r->timeout = timeout;
	params_forget(&call->params, "item");
	if (add_item(r, text)) {
		rpc_queue_ask(call, q, r, reply_put);
		return;
	}
	queue_request_free(r);
	rpc_no_memory(call);
}

static void reply_put_many(struct rpc_call *call, struct queue_request *r)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "put");
	jw_int(json, r->moved);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

/* The call has been checked: there is a list. */
static bool add_items(struct rpc_call *call, struct queue_request *r)
{
	struct json_slice list, element;
	size_t at = 0;

	if (!message_param_text(call->message.text, "items", &list))
		return false;
	while (json_slice_next(list, &at, &element))
		if (!add_item(r, element))
			return false;
	return true;
}

void rpc_queue_put_many(struct rpc_call *call)
{
	struct json_t *items = NULL;
	const char *name = NULL;
	struct queue_request *r;
	struct queue *q;
	int64_t timeout;
	bool block;

	params_string(&call->params, "name", true, &name);
	params_array(&call->params, "items", true, &items);
	rpc_queue_read_wait(call, &block, &timeout);
	if (!rpc_params_done(call))
		return;
	if (json_count(items) > CREW_QUEUE_MANY_MAX) {
		rpc_invalid(call, "items", "at most 10000 items");
		return;
	}
	q = rpc_queue(call, name);
	r = q ? rpc_queue_request(call, QUEUE_PUT, NULL) : NULL;
	if (!r)
		return;
	r->block = block;
	r->timeout = timeout;
	params_forget(&call->params, "items");
	if (add_items(call, r)) {
		rpc_queue_ask(call, q, r, reply_put_many);
		return;
	}
	queue_request_free(r);
	rpc_no_memory(call);
}
