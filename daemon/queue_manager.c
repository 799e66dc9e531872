/* Queues of kind "manager": their items are in the manager's memory, and nowhere else. */
#include <stdlib.h>
#include "daemon/queue_memory.h"

static int create(struct queue *q)
{
	struct queue_memory *m = malloc(sizeof(*m));

	if (!m)
		return -1;
	queue_memory_init(m);
	q->impl = m;
	return 0;
}

static void destroy(struct queue *q)
{
	queue_memory_free(q->impl);
	free(q->impl);
}

static enum queue_error put(struct queue *q, struct queue_request *r)
{
	struct queue_memory *m = q->impl;

	while (!list_empty(&r->items)) {
		struct queue_item *item = list_entry(r->items.next, struct queue_item, link);
		enum queue_error e = queue_memory_fits(q, item, &r->why);

		if (e != QUEUE_OK)
			return e;
		list_remove(&item->link);
		m->bytes += item->len;
		queue_memory_append(m, item);
		r->moved++;
	}
	return QUEUE_OK;
}

static bool take(struct queue *q, struct queue_item *item)
{
	queue_memory_enter(q->impl, item);
	queue_memory_append(q->impl, item);
	return true;
}

const struct queue_kind queue_manager = {
	.name = "manager",
	.leases = true,
	.create = create,
	.destroy = destroy,
	.serve = { [QUEUE_PUT] = put,
		   [QUEUE_GET] = queue_memory_get,
		   [QUEUE_JOIN] = queue_memory_join,
		   [QUEUE_SIZE] = queue_memory_size,
		   [QUEUE_TASK_DONE] = queue_memory_task_done },
	.back = queue_memory_back,
	.ack = queue_memory_ack,
	.take = take,
	.stat = queue_memory_stat,
};
