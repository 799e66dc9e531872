#include "daemon/queue_durable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/journal.h"
#include "daemon/queue_memory.h"
#include "lib/clock.h"
#include "lib/log.h"

#define OPEN_AGAIN (20 * USEC_PER_MSEC) /* files that are in use: of one that is being closed */

struct durable {
	struct queue_memory m; /* first */
	struct list link;      /* of `all` */
	struct queue *queue;   /* NULL: gone, and its journal is being closed */
	struct journal *journal;
	char name[CREW_NAME_MAX + 1];
	const char *trouble; /* NULL: all is well; else in `why`, or static */
	char why[1024];
	struct loop_timer open_again;

	bool partial;	    /* a put waits for room between its items: nobody gets in between */
	struct list coming; /* items that are not on disk yet, by ticket */
	/* Items that are gone: just now, since a turn, and to be noted. */
	struct list gone, settled;
	struct loop_task note;
	bool clogged;	   /* the journal takes no more for now */
	struct list late;  /* dead letters the journal has no room for yet; counted in `m.coming` */
	struct list moved; /* struct move: items of others that are dead letters here */
};

/* A dead letter: it stays with the queue from where it comes until it is on disk where it goes. */
struct move {
	struct list link;
	struct durable *from;
	const struct queue_item *late; /* where it goes it is one of those: no ticket yet */
	uint64_t id, ticket;
};

static struct {
	int dir;
	void (*gone)(void);
	struct list all;
} durables = { .dir = -1, .all = LIST_INIT(durables.all) };

static const char no_dir[] =
	"there is no state-dir that the manager can use; crewd's log says why, from its start";

void queue_durable_init(int dir, void (*gone)(void))
{
	durables.dir = dir;
	durables.gone = gone;
}

const char *queue_durable_refusal(void)
{
	return durables.dir < 0 ? no_dir : NULL;
}

const char *queue_durable_trouble(const struct queue *q)
{
	return ((const struct durable *)q->impl)->trouble;
}

bool queue_durable_removing(const char *name)
{
	list_foreach(e, n, &durables.all)
	{
		const struct durable *d = list_entry(e, struct durable, link);

		if (!d->queue && strcmp(d->name, name) == 0)
			return true;
	}
	return false;
}

/* ---- items that are gone ----------------------------------------------------------------------- */

/* What could not be noted, as the journal has failed, comes back: the journal's log line says so. */
static void note_settled(struct durable *d)
{
	d->clogged = false;
	while (!list_empty(&d->settled)) {
		struct queue_item *item = list_entry(d->settled.next, struct queue_item, link);

		if (d->journal && journal_take(d->journal, item->id) < 0 && errno == ENOBUFS) {
			d->clogged = true;
			return;
		}
		list_remove(&item->link);
		free(item);
	}
}

static void settle_gone(struct durable *d)
{
	struct list *e;

	while ((e = list_pop(&d->gone)))
		list_append(&d->settled, e);
}

/* At the end of a turn answers are sent, before or after this: what is gone since the last turn was noted as
 * settled is safe with its client. */
static void note(void *arg)
{
	struct durable *d = arg;

	note_settled(d);
	if (list_empty(&d->gone))
		return;
	settle_gone(d);
	loop_defer(&d->note);
}

static void got(struct queue *q, struct queue_item *item)
{
	struct durable *d = q->impl;

	list_append(&d->gone, &item->link);
	loop_defer(&d->note);
}

/* ---- dead letters ------------------------------------------------------------------------------ */

static void end_move(struct move *m)
{
	struct queue_item *mark = m->from ? queue_item_new(0) : NULL;

	if (mark) {
		mark->id = m->id;
		list_append(&m->from->settled, &mark->link);
		loop_defer(&m->from->note);
	}
	list_remove(&m->link);
	free(m);
}

static void end_moves(struct durable *to, uint64_t upto)
{
	list_foreach(e, n, &to->moved)
	{
		struct move *m = list_entry(e, struct move, link);

		if (m->ticket <= upto)
			end_move(m);
	}
}

/* The items among them that were late have their tickets now. */
static void item_written(struct durable *to, const struct queue_item *item)
{
	list_foreach(e, n, &to->moved)
	{
		struct move *m = list_entry(e, struct move, link);

		if (m->late != item)
			continue;
		m->late = NULL;
		m->ticket = item->ticket;
	}
}

/* Nothing more will be told of these: they are found in both places after the next start. */
static void forget_moves(struct durable *to)
{
	struct list *e;

	while ((e = list_pop(&to->moved)))
		free(list_entry(e, struct move, link));
}

static void forget_moves_from(const struct durable *from)
{
	list_foreach(e, n, &durables.all)
	{
		struct durable *to = list_entry(e, struct durable, link);

		list_foreach(p, next, &to->moved)
		{
			struct move *m = list_entry(p, struct move, link);

			if (m->from == from)
				m->from = NULL;
		}
	}
}

/* No memory: it is found in both places after the next start. */
static void moved(struct queue *q, struct queue_item *item, const struct queue *dead)
{
	struct durable *d = q->impl, *to = dead->impl;
	struct move *m = calloc(1, sizeof(*m));

	queue_memory_ack(q, item);
	if (!m)
		return;
	m->from = d;
	m->id = item->id;
	if (dead->kind != &queue_durable) {
		end_move(m);
		return;
	}
	if (list_empty(&to->late)) {
		m->ticket = journal_last(to->journal);
	} else {
		m->late = list_entry(to->late.prev, struct queue_item, link);
		m->ticket = UINT64_MAX;
	}
	list_append(&to->moved, &m->link);
}

/* An item that may come: to the disk, and to be got when it is there. */
static bool write_down(struct durable *d, struct queue_item *item)
{
	uint64_t id = journal_next_id(d->journal);
	int64_t ticket = journal_put(d->journal, id, item->text, item->len);

	if (ticket < 0)
		return false;
	item->id = id;
	item->ticket = (uint64_t)ticket;
	list_remove(&item->link);
	list_append(&d->coming, &item->link);
	d->m.coming++;
	return true;
}

/* What the disk is too full for stays late. */
static void write_late(struct durable *d)
{
	while (!list_empty(&d->late)) {
		struct queue_item *item = list_entry(d->late.next, struct queue_item, link);

		if (!write_down(d, item))
			return;
		d->m.coming--; /* it was one before */
		item_written(d, item);
	}
}

/* The journal may be as yet without room, or hold as much as may wait: no reason to refuse a dead letter, which
 * has nowhere else to go. */
static bool take(struct queue *q, struct queue_item *item)
{
	struct durable *d = q->impl;

	if (!d->journal || d->trouble)
		return false;
	if (!list_empty(&d->late) || !write_down(d, item)) {
		if (list_empty(&d->late) && errno != ENOBUFS)
			return false;
		list_append(&d->late, &item->link);
		d->m.coming++;
	}
	queue_memory_enter(&d->m, item);
	return true;
}

/* ---- what the journal says --------------------------------------------------------------------- */

static int on_item(void *arg, uint64_t id, uint32_t deliveries, const void *data, size_t len)
{
	struct durable *d = arg;
	struct queue_item *item = queue_item_new(len);

	if (!item)
		return -1;
	memcpy(item->text, data, len);
	item->id = id;
	item->deliveries = deliveries;
	queue_memory_enter(&d->m, item);
	queue_memory_append(&d->m, item);
	return 0;
}

/* Puts in the order in which they were accepted. */
static void complete(struct durable *d, uint64_t upto, const char *failure)
{
	while (d->queue && !list_empty(&d->queue->pending)) {
		struct queue_request *r =
			list_entry(d->queue->pending.next, struct queue_request, link);

		if (!failure && r->ticket > upto)
			return;
		if (r->then == QUEUE_NOT_YET)
			d->partial = false;
		if (failure)
			r->moved = (unsigned)r->size;
		if (failure)
			queue_complete(r->id, QUEUE_UNAVAILABLE, failure);
		else
			queue_complete(r->id, r->then, r->why);
	}
}

static void on_done(void *arg, uint64_t ticket)
{
	struct durable *d = arg;

	while (!list_empty(&d->coming)) {
		struct queue_item *item = list_entry(d->coming.next, struct queue_item, link);

		if (item->ticket > ticket)
			break;
		list_remove(&item->link);
		d->m.coming--;
		queue_memory_append(&d->m, item);
	}
	end_moves(d, ticket);
	complete(d, ticket, NULL);
	if (d->queue)
		queue_stirred(d->queue);
}

static void on_room(void *arg)
{
	struct durable *d = arg;

	write_late(d);
	note_settled(d);
	if (d->queue)
		queue_stirred(d->queue);
}

static void drop_coming(struct durable *d)
{
	struct list *late;

	while ((late = list_pop(&d->late)))
		list_append(&d->coming, late);
	list_foreach(e, n, &d->coming)
		queue_memory_leave(&d->m, list_entry(e, struct queue_item, link));
	queue_items_free(&d->coming);
	d->m.coming = 0;
}

/* Whether what was on its way is on disk is not known: nobody gets it now, and nobody is told it is there. */
static void on_failed(void *arg, int err, const char *why)
{
	struct durable *d = arg;

	(void)err;
	snprintf(d->why, sizeof(d->why), "%s", why);
	d->trouble = d->why;
	drop_coming(d);
	forget_moves(d);
	complete(d, 0, d->why);
	note_settled(d);
	if (d->queue)
		queue_stirred(d->queue);
}

static void bury(struct durable *d)
{
	list_remove(&d->link);
	free(d);
}

static void on_closed(void *arg)
{
	bury(arg);
	if (durables.gone)
		durables.gone();
}

static const struct journal_calls calls = {
	.item = on_item, .done = on_done, .room = on_room, .failed = on_failed, .closed = on_closed
};

/* ---- a queue comes and goes -------------------------------------------------------------------- */

static void open_journal(struct durable *d)
{
	const struct journal_limits limits = { 0 };
	struct journal_found found;

	d->journal = journal_open(durables.dir, d->name, &limits, &calls, d, &found);
	if (d->journal) {
		if (d->trouble)
			log_info(d->name, "the queue's files are free, and open");
		d->trouble = NULL;
		return;
	}
	queue_memory_free(&d->m);
	d->m.unfinished = 0;
	if (errno == EBUSY)
		loop_timer_at(&d->open_again, loop_now() + OPEN_AGAIN);
	if (d->trouble)
		return; /* it has been said */
	snprintf(d->why, sizeof(d->why), "%s", found.text);
	d->trouble = d->why;
	log_error(d->name, "cannot open the durable queue: %s", d->why);
}

static void open_again(void *arg)
{
	struct durable *d = arg;

	open_journal(d);
	if (d->queue)
		queue_stirred(d->queue);
}

static int create(struct queue *q)
{
	struct durable *d = calloc(1, sizeof(*d));

	if (!d)
		return -1;
	queue_memory_init(&d->m);
	list_init(&d->coming);
	list_init(&d->late);
	list_init(&d->gone);
	list_init(&d->settled);
	list_init(&d->moved);
	list_append(&durables.all, &d->link);
	strcpy(d->name, q->name);
	d->queue = q;
	d->note = (struct loop_task){ .fn = note, .arg = d };
	d->open_again = (struct loop_timer){ .fn = open_again, .arg = d };
	q->impl = d;
	d->trouble = queue_durable_refusal();
	if (d->trouble)
		log_error(d->name, "the durable queue cannot be used: %s", d->trouble);
	else
		open_journal(d);
	return 0;
}

static void destroy(struct queue *q)
{
	struct durable *d = q->impl;

	d->queue = NULL;
	settle_gone(d);
	note_settled(d);
	queue_items_free(&d->settled); /* those that could not be noted come back */
	drop_coming(d);
	queue_memory_free(&d->m);
	if (q->keep)
		forget_moves(d);
	else
		end_moves(d, UINT64_MAX); /* they are deleted as the rest is */
	forget_moves_from(d);
	loop_undefer(&d->note);
	loop_timer_off(&d->open_again);
	if (d->journal) {
		journal_close(d->journal, !q->keep);
		return;
	}
	if (!q->keep)
		log_warning(d->name, "deleted, but files that it may have in state-dir stay: %s",
			    d->trouble);
	bury(d);
}

bool queue_durable_wait(int64_t usec)
{
	struct durable *d;

	if (list_empty(&durables.all))
		return true;
	d = list_entry(durables.all.next, struct durable, link);
	return journal_wait(d->journal, usec) && list_empty(&durables.all);
}

/* ---- operations -------------------------------------------------------------------------------- */

/* Others have its files, for a moment or longer. */
static enum queue_error unavailable(const struct durable *d, struct queue_request *r)
{
	r->why = d->trouble;
	return d->open_again.armed && r->block ? QUEUE_NOT_YET : QUEUE_UNAVAILABLE;
}

static enum queue_error refusal(const struct durable *d, struct queue_request *r)
{
	switch (errno) {
	case ENOSPC:
		r->why = "no space left for it in state-dir";
		return QUEUE_UNAVAILABLE;
	case ENOBUFS: /* not a lack of room: it will have its turn, however little it wants to wait */
		r->patient = true;
		return QUEUE_NOT_YET;
	case EMSGSIZE:
		return QUEUE_TOO_BIG;
	case ENOMEM:
		return QUEUE_NO_MEMORY;
	default:
		r->why = d->trouble ? d->trouble : "its journal has failed";
		return QUEUE_UNAVAILABLE;
	}
}

static enum queue_error put_one(struct queue *q, struct queue_request *r)
{
	struct durable *d = q->impl;
	struct queue_item *item = list_entry(r->items.next, struct queue_item, link);
	enum queue_error e = queue_memory_fits(q, item, &r->why);

	if (e != QUEUE_OK)
		return e;
	d->m.bytes += item->len;
	if (write_down(d, item))
		return QUEUE_OK;
	e = refusal(d, r);
	queue_memory_leave(&d->m, item);
	return e;
}

static enum queue_error put(struct queue *q, struct queue_request *r)
{
	struct durable *d = q->impl;
	unsigned before = r->moved;
	enum queue_error e = QUEUE_OK;

	if (!d->journal || d->trouble)
		return unavailable(d, r);
	if (d->partial)
		return QUEUE_NOT_YET;
	note_settled(d); /* what was gone before it is so on disk when it is there */
	r->patient = false;
	while (e == QUEUE_OK && !list_empty(&r->items)) {
		e = put_one(q, r);
		r->moved += e == QUEUE_OK;
	}
	if (r->moved == before)
		return e;
	r->size = before; /* those are on disk */
	r->ticket = journal_last(d->journal);
	r->then = e;
	d->partial = e == QUEUE_NOT_YET;
	return QUEUE_LATER;
}

/* Where the journal takes no more for now, what is gone could not be noted. */
static enum queue_error get(struct queue *q, struct queue_request *r)
{
	struct durable *d = q->impl;

	if (!d->journal)
		return unavailable(d, r);
	r->patient = d->clogged;
	return d->clogged ? QUEUE_NOT_YET : queue_memory_get(q, r);
}

static enum queue_error size(struct queue *q, struct queue_request *r)
{
	const struct durable *d = q->impl;

	r->why = d->trouble;
	return d->journal ? queue_memory_size(q, r) : QUEUE_UNAVAILABLE;
}

/* That it was lent is noted as far as it goes: when it is not, an item may be lent more often than it may be. */
static void lent(struct queue *q, struct queue_item *item)
{
	const struct durable *d = q->impl;

	journal_deliver(d->journal, item->id, item->deliveries);
}

/* Whoever says that it is done has had it: that can be noted at once, and is before what it puts next. */
static void ack(struct queue *q, struct queue_item *item)
{
	struct durable *d = q->impl;
	struct queue_item *mark = queue_item_new(0);

	queue_memory_ack(q, item);
	if (!mark)
		return; /* it comes back after the next start */
	mark->id = item->id;
	list_append(&d->settled, &mark->link);
	note_settled(d);
}

const struct queue_kind queue_durable = {
	.name = "manager",
	.leases = true,
	.create = create,
	.destroy = destroy,
	.serve = { [QUEUE_PUT] = put,
		   [QUEUE_GET] = get,
		   [QUEUE_JOIN] = queue_memory_join,
		   [QUEUE_SIZE] = size,
		   [QUEUE_TASK_DONE] = queue_memory_task_done },
	.back = queue_memory_back,
	.got = got,
	.lent = lent,
	.ack = ack,
	.moved = moved,
	.take = take,
	.stat = queue_memory_stat,
};
