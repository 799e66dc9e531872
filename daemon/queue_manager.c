/* Queues of kind "manager": their items are in the manager's memory. */
#include <stdlib.h>
#include "daemon/queue_kind.h"

struct store {
	struct list items;
	uint64_t count, bytes; /* bytes of text: those that wait, and those that are leased */
	uint64_t unfinished;   /* put, and not yet said to be done */
};

static int create(struct queue *q)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	list_init(&s->items);
	q->impl = s;
	return 0;
}

/* What an item takes is given back when it leaves the books, those of leased ones by the front's ack(). */
static void off_the_books(struct store *s, const struct queue_item *item)
{
	s->bytes -= item->len;
	queue_discharge(item->len + QUEUE_ITEM_KEEP);
}

static void destroy(struct queue *q)
{
	struct store *s = q->impl;

	list_foreach(e, n, &s->items) off_the_books(s, list_entry(e, struct queue_item, link));
	queue_items_free(&s->items);
	free(s);
}

static enum queue_error fits(const struct queue *q, const struct store *s,
			     const struct queue_item *item, const char **why)
{
	*why = NULL;
	if (item->len > q->set.max_bytes)
		return QUEUE_TOO_BIG;
	if (q->set.maxsize && s->count >= q->set.maxsize)
		return QUEUE_NOT_YET;
	*why = "max-bytes are reached";
	if (s->bytes + item->len > q->set.max_bytes)
		return QUEUE_NOT_YET;
	*why = "all queues together have as much as may be";
	return queue_charge(item->len + QUEUE_ITEM_KEEP) ? QUEUE_OK : QUEUE_NOT_YET;
}

static enum queue_error put(struct queue *q, struct queue_request *r)
{
	struct store *s = q->impl;

	while (!list_empty(&r->items)) {
		struct queue_item *item = list_entry(r->items.next, struct queue_item, link);
		enum queue_error e = fits(q, s, item, &r->why);

		if (e != QUEUE_OK)
			return e;
		list_remove(&item->link);
		list_append(&s->items, &item->link);
		s->count++;
		s->bytes += item->len;
		s->unfinished++;
		r->moved++;
	}
	r->why = NULL;
	return QUEUE_OK;
}

static enum queue_error get(struct queue *q, struct queue_request *r)
{
	struct store *s = q->impl;
	size_t size = 0;

	if (!s->count)
		return QUEUE_NOT_YET;
	for (unsigned n = 0; s->count && n < r->max; n++) {
		struct queue_item *item = list_entry(s->items.next, struct queue_item, link);

		size += item->len;
		if (n && size > r->max_bytes)
			break;
		list_remove(&item->link);
		list_append(&r->items, &item->link);
		s->count--;
		item->leased = r->lease;
		if (!item->leased)
			off_the_books(s, item);
	}
	return QUEUE_OK;
}

static enum queue_error size(struct queue *q, struct queue_request *r)
{
	const struct store *s = q->impl;

	r->size = s->count;
	r->full = (q->set.maxsize && s->count >= q->set.maxsize) || s->bytes >= q->set.max_bytes;
	return QUEUE_OK;
}

static enum queue_error task_done(struct queue *q, struct queue_request *r)
{
	struct store *s = q->impl;

	(void)r;
	if (!s->unfinished)
		return QUEUE_TOO_MANY_DONE;
	s->unfinished--;
	return QUEUE_OK;
}

static enum queue_error join(struct queue *q, struct queue_request *r)
{
	const struct store *s = q->impl;

	(void)r;
	return s->unfinished ? QUEUE_NOT_YET : QUEUE_OK;
}

static void on_the_books(struct store *s, struct queue_item *item)
{
	s->bytes += item->len;
	queue_charge_anyway(item->len + QUEUE_ITEM_KEEP);
}

static void back(struct queue *q, struct queue_item *item)
{
	struct store *s = q->impl;

	if (!item->leased)
		on_the_books(s, item);
	item->leased = false;
	list_append(s->items.next, &item->link); /* before the first */
	s->count++;
}

static void ack(struct queue *q, struct queue_item *item)
{
	struct store *s = q->impl;

	off_the_books(s, item);
	item->leased = false;
	if (s->unfinished) /* somebody may have said so already, by task_done */
		s->unfinished--;
}

static void take(struct queue *q, struct queue_item *item)
{
	struct store *s = q->impl;

	on_the_books(s, item);
	list_append(&s->items, &item->link);
	s->count++;
	s->unfinished++;
}

static void look(const struct queue *q, struct queue_stat *st)
{
	const struct store *s = q->impl;

	*st = (struct queue_stat){ .size = s->count,
				   .bytes = s->bytes,
				   .unfinished = s->unfinished };
}

const struct queue_kind queue_manager = {
	.name = "manager",
	.leases = true,
	.create = create,
	.destroy = destroy,
	.serve = { [QUEUE_PUT] = put,
		   [QUEUE_GET] = get,
		   [QUEUE_JOIN] = join,
		   [QUEUE_SIZE] = size,
		   [QUEUE_TASK_DONE] = task_done },
	.back = back,
	.ack = ack,
	.take = take,
	.stat = look,
};
