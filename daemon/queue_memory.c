#include "daemon/queue_memory.h"

void queue_memory_init(struct queue_memory *m)
{
	*m = (struct queue_memory){ 0 };
	list_init(&m->items);
}

/* What an item takes is given back when it leaves the books, those of leased ones by the front's ack(). */
void queue_memory_leave(struct queue_memory *m, const struct queue_item *item)
{
	m->bytes -= item->len;
	queue_discharge(item->len + QUEUE_ITEM_KEEP);
}

void queue_memory_enter(struct queue_memory *m, const struct queue_item *item)
{
	m->bytes += item->len;
	queue_charge_anyway(item->len + QUEUE_ITEM_KEEP);
}

void queue_memory_free(struct queue_memory *m)
{
	list_foreach(e, n, &m->items) queue_memory_leave(m, list_entry(e, struct queue_item, link));
	queue_items_free(&m->items);
	m->count = 0;
}

enum queue_error queue_memory_fits(const struct queue *q, const struct queue_item *item,
				   const char **why)
{
	const struct queue_memory *m = q->impl;

	*why = NULL;
	if (item->len > q->set.max_bytes)
		return QUEUE_TOO_BIG;
	if (q->set.maxsize && m->count + m->coming >= q->set.maxsize)
		return QUEUE_NOT_YET;
	*why = "max-bytes are reached";
	if (m->bytes + item->len > q->set.max_bytes)
		return QUEUE_NOT_YET;
	*why = "all queues together have as much as may be";
	if (!queue_charge(item->len + QUEUE_ITEM_KEEP))
		return QUEUE_NOT_YET;
	*why = NULL;
	return QUEUE_OK;
}

void queue_memory_append(struct queue_memory *m, struct queue_item *item)
{
	list_append(&m->items, &item->link);
	m->count++;
	m->unfinished++;
}

enum queue_error queue_memory_get(struct queue *q, struct queue_request *r)
{
	struct queue_memory *m = q->impl;
	size_t size = 0;

	if (!m->count)
		return QUEUE_NOT_YET;
	for (unsigned n = 0; m->count && n < r->max; n++) {
		struct queue_item *item = list_entry(m->items.next, struct queue_item, link);

		size += item->len;
		if (n && size > r->max_bytes)
			break;
		list_remove(&item->link);
		list_append(&r->items, &item->link);
		m->count--;
		item->leased = r->lease;
		if (!item->leased)
			queue_memory_leave(m, item);
	}
	return QUEUE_OK;
}

enum queue_error queue_memory_size(struct queue *q, struct queue_request *r)
{
	const struct queue_memory *m = q->impl;

	r->size = m->count;
	r->full = (q->set.maxsize && m->count + m->coming >= q->set.maxsize) ||
		  m->bytes >= q->set.max_bytes;
	return QUEUE_OK;
}

enum queue_error queue_memory_task_done(struct queue *q, struct queue_request *r)
{
	struct queue_memory *m = q->impl;

	(void)r;
	if (!m->unfinished)
		return QUEUE_TOO_MANY_DONE;
	m->unfinished--;
	return QUEUE_OK;
}

enum queue_error queue_memory_join(struct queue *q, struct queue_request *r)
{
	const struct queue_memory *m = q->impl;

	(void)r;
	return m->unfinished || m->coming ? QUEUE_NOT_YET : QUEUE_OK;
}

void queue_memory_back(struct queue *q, struct queue_item *item)
{
	struct queue_memory *m = q->impl;

	if (!item->leased)
		queue_memory_enter(m, item);
	item->leased = false;
	list_append(m->items.next, &item->link); /* before the first */
	m->count++;
}

void queue_memory_ack(struct queue *q, struct queue_item *item)
{
	struct queue_memory *m = q->impl;

	queue_memory_leave(m, item);
	item->leased = false;
	if (m->unfinished) /* somebody may have said so already, by task_done */
		m->unfinished--;
}

void queue_memory_stat(const struct queue *q, struct queue_stat *st)
{
	const struct queue_memory *m = q->impl;

	*st = (struct queue_stat){ .size = m->count,
				   .bytes = m->bytes,
				   .unfinished = m->unfinished };
}
