/* Queues of kind "redis": their items are in Redis or Valkey, and other crewds may have the same queue. */
#include "daemon/queue_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/clock.h"
#include "lib/log.h"

#define TICK (5 * USEC_PER_SEC)

/* ---- what became of items ---------------------------------------------------------------------- */

const char *queue_redis_id(const struct queue_item *item)
{
	return item->text + item->len;
}

static void note_entry(struct queue_redis *s, struct list *to, const char *id, uint32_t deliveries,
		       bool done)
{
	struct redis_entry *e = calloc(1, sizeof(*e));

	if (!e) /* nobody says any more that it is held: it is given out again */
		return;
	snprintf(e->id, sizeof(e->id), "%s", id);
	e->deliveries = deliveries;
	e->done = done;
	queue_charge_anyway(sizeof(*e));
	list_append(to, &e->link);
	queue_redis_work(s);
}

void queue_redis_ack(struct queue_redis *s, const char *id, bool done)
{
	note_entry(s, &s->acks, id, 0, done);
}

void queue_redis_release(struct queue_redis *s, const char *id, uint32_t deliveries)
{
	note_entry(s, &s->releases, id, deliveries, false);
}

static void off_the_books(struct queue_item *item)
{
	if (item->leased)
		queue_discharge(item->len + QUEUE_ITEM_KEEP);
	item->leased = false;
}

static void told(struct queue *q, struct queue_request *r)
{
	list_foreach(e, n, &r->items)
	{
		const struct queue_item *item = list_entry(e, struct queue_item, link);

		if (!item->leased)
			queue_redis_ack(q->impl, queue_redis_id(item), false);
	}
}

static void back(struct queue *q, struct queue_item *item)
{
	queue_redis_release(q->impl, queue_redis_id(item), item->deliveries);
	off_the_books(item);
	free(item);
}

static void ack(struct queue *q, struct queue_item *item)
{
	queue_redis_ack(q->impl, queue_redis_id(item), true);
	off_the_books(item);
}

/* ---- who is served ----------------------------------------------------------------------------- */

static const enum redis_op op_of[QUEUE_VERBS] = {
	[QUEUE_PUT] = REDIS_PUT,   [QUEUE_GET] = REDIS_GET,	   [QUEUE_JOIN] = REDIS_LOOK,
	[QUEUE_SIZE] = REDIS_LOOK, [QUEUE_TASK_DONE] = REDIS_DONE,
};

const char *queue_redis_trouble(const struct queue_redis *s, enum queue_verb verb)
{
	const char *why = redis_why(s->link);

	return why ? why : s->held[op_of[verb]];
}

/* Those who may wait: the one who asks stands first in the line. */
static enum queue_error serve_waiting(struct queue *q, struct queue_request *r)
{
	struct queue_redis *s = q->impl;

	if (queue_redis_trouble(s, r->verb) || (!s->ready[r->verb] && r->id <= s->tried[r->verb]))
		return QUEUE_NOT_YET;
	if (r->id > s->tried[r->verb])
		s->tried[r->verb] = r->id;
	queue_redis_work(s);
	return QUEUE_LATER;
}

static enum queue_error put(struct queue *q, struct queue_request *r)
{
	const struct queue_item *first = list_entry(r->items.next, const struct queue_item, link);

	if (list_empty(&r->items)) /* of PutMany */
		return QUEUE_OK;
	return first->len > q->set.max_bytes ? QUEUE_TOO_BIG : serve_waiting(q, r);
}

static enum queue_error serve_now(struct queue *q, struct queue_request *r)
{
	struct queue_redis *s = q->impl;

	r->why = queue_redis_trouble(s, r->verb);
	if (r->why)
		return QUEUE_UNAVAILABLE;
	queue_redis_work(s);
	return QUEUE_LATER;
}

static enum queue_error over(const struct queue *q, struct queue_request *r)
{
	const char *why = queue_redis_trouble(q->impl, r->verb);

	if (!why)
		return QUEUE_OK;
	r->why = why;
	return QUEUE_UNAVAILABLE;
}

/* Whoever has not been sent may leave, and so may all as soon as redis is away. */
static bool cancel(struct queue *q, struct queue_request *r)
{
	const struct queue_redis *s = q->impl;

	for (unsigned i = 0; i < s->batch_count; i++)
		if (s->batch[i] == r->id)
			return !redis_is_up(s->link);
	return true;
}

static void give_up(struct queue_request *r, const char *why)
{
	if (r->verb < QUEUE_WAITS_OF)
		queue_wait_again(r->id, why);
	else
		queue_complete(r->id, QUEUE_UNAVAILABLE, why);
}

void queue_redis_give_up(struct queue_redis *s, enum queue_verb verb, const char *why)
{
	struct list *e = s->queue->pending.next;

	while (e != &s->queue->pending) {
		struct queue_request *r = list_entry(e, struct queue_request, link);

		e = e->next;
		if (r->verb != verb)
			continue;
		give_up(r, why);
		/* others may have moved in the meantime */
		e = s->queue->pending.next;
	}
}

/* ---- redis comes and goes ---------------------------------------------------------------------- */

static void everybody_again(struct queue_redis *s)
{
	for (int v = 0; v < QUEUE_WAITS_OF; v++)
		s->ready[v] = true;
	queue_stirred(s->queue);
	queue_redis_work(s);
}

static void on_up(void *arg)
{
	struct queue_redis *s = arg;

	s->busy = -1;
	s->last = REDIS_OPS - 1;
	s->recover = true;
	memset(s->held, 0, sizeof(s->held));
	everybody_again(s);
}

void queue_redis_keep_unresolved(struct queue_redis *s, const char *why)
{
	for (unsigned i = 0; i < s->batch_count; i++) {
		struct queue_request *r = queue_pending(s->batch[i]);

		if (r && (queue_is_over(r) || !r->answered))
			queue_wait_again(r->id, why);
	}
	s->unresolved = true;
}

static bool in_batch(const struct queue_redis *s, uint64_t id)
{
	for (unsigned i = 0; s->unresolved && i < s->batch_count; i++)
		if (s->batch[i] == id)
			return true;
	return false;
}

static void on_down(const char *why, void *arg)
{
	struct queue_redis *s = arg;
	int busy = s->busy;
	bool moved;

	s->busy = -1;
	s->sent = 0;
	if (busy == REDIS_PUT)
		queue_redis_keep_unresolved(s, why);
	if (!s->unresolved)
		s->batch_count = 0;
	do {
		moved = false;
		list_foreach(e, n, &s->queue->pending)
		{
			struct queue_request *r = list_entry(e, struct queue_request, link);

			if (in_batch(s, r->id))
				continue;
			moved = true;
			give_up(r, why);
			break;
		}
	} while (moved);
}

static void on_bell_up(void *arg)
{
	struct queue_redis *s = arg;
	const char *words[] = { "SUBSCRIBE", s->stream };

	redis_send(s->bell, 2, words, NULL);
}

static void on_bell_down(const char *why, void *arg)
{
	(void)why;
	(void)arg;
}

/* It is listening, or alive. What came before that was not heard. */
static void on_bell_answer(const struct redis_reply *reply, void *arg)
{
	(void)reply;
	everybody_again(arg);
}

/* "i": there is an item; "r": there is room, or all is done. */
static void on_bell(const struct redis_reply *list, void *arg)
{
	struct queue_redis *s = arg;
	size_t len;
	const char *what = redis_text(list, 2, &len);
	bool item = what && len && *what == 'i';

	s->ready[QUEUE_GET] = s->ready[QUEUE_GET] || item;
	s->ready[QUEUE_PUT] = s->ready[QUEUE_PUT] || !item;
	s->ready[QUEUE_JOIN] = s->ready[QUEUE_JOIN] || !item;
	queue_stirred(s->queue);
}

static const struct redis_events link_events = { .up = on_up,
						 .down = on_down,
						 .answer = queue_redis_on_answer };
static const struct redis_events bell_events = {
	.up = on_bell_up, .down = on_bell_down, .answer = on_bell_answer, .message = on_bell
};

void queue_redis_listen(struct queue_redis *s)
{
	struct redis_login login = { s->user, s->password_file };

	if (!s->bell) /* without it, the clock must do */
		s->bell = redis_new(NULL, &s->where, &login, &bell_events, s);
}

static void on_clock(void *arg)
{
	struct queue_redis *s = arg;
	const char *ping[] = { "PING" };

	loop_timer_at(&s->clock, loop_now() + TICK);
	if (s->bell)
		redis_send(s->bell, 1, ping, NULL);
	s->tick = true;
	everybody_again(s);
}

static void on_hold_over(void *arg)
{
	struct queue_redis *s = arg;

	memset(s->held, 0, sizeof(s->held));
	everybody_again(s);
}

/* ---- queues come and go ------------------------------------------------------------------------ */

static bool copy(const char *text, char **to)
{
	*to = text ? strdup(text) : NULL;
	return !text || *to;
}

static void drop(struct queue_redis *s)
{
	loop_timer_off(&s->clock);
	loop_timer_off(&s->hold);
	loop_undefer(&s->work);
	free(s->user);
	free(s->password_file);
	free(s);
}

static void name_keys(struct queue_redis *s, const char *name)
{
	snprintf(s->consumer, sizeof(s->consumer), "%016llx", (unsigned long long)redis_unique());
	snprintf(s->stream, sizeof(s->stream), "crewd:{%s}", name);
	snprintf(s->state, sizeof(s->state), "%s:state", s->stream);
	snprintf(s->freed, sizeof(s->freed), "%s:free", s->stream);
	snprintf(s->op, sizeof(s->op), "%s:op:%s", s->stream, s->consumer);
}

static int create(struct queue *q)
{
	const struct queue_backend *b = q->set.backend;
	struct queue_redis *s = calloc(1, sizeof(*s));
	struct redis_login login;

	if (!s)
		return -1;
	s->queue = q;
	s->busy = -1;
	list_init(&s->acks);
	list_init(&s->releases);
	s->clock = (struct loop_timer){ .fn = on_clock, .arg = s };
	s->hold = (struct loop_timer){ .fn = on_hold_over, .arg = s };
	s->work = (struct loop_task){ .fn = queue_redis_run, .arg = s };
	name_keys(s, q->name);
	if (!b || !b->url || redis_where_read(b->url, &s->where) || !copy(b->user, &s->user) ||
	    !copy(b->password_file, &s->password_file)) {
		drop(s);
		return -1;
	}
	login = (struct redis_login){ s->user, s->password_file };
	s->link = redis_new(q->name, &s->where, &login, &link_events, s);
	if (!s->link) {
		drop(s);
		return -1;
	}
	q->impl = s;
	loop_timer_at(&s->clock, loop_now() + TICK);
	return 0;
}

static void forget_entries(struct list *entries)
{
	struct list *e;

	while ((e = list_pop(entries))) {
		queue_discharge(sizeof(struct redis_entry));
		free(list_entry(e, struct redis_entry, link));
	}
}

static void erase(struct queue *q)
{
	struct queue_redis *s = q->impl;

	if (redis_is_up(s->link))
		queue_redis_send(s, REDIS_ERASE);
	else
		log_warning(q->name, "deleted, but redis is away: its items are still there");
}

/* What was not told is there for others. */
static void destroy(struct queue *q)
{
	struct queue_redis *s = q->impl;

	redis_finish(s->link);
	redis_free(s->bell);
	forget_entries(&s->acks);
	forget_entries(&s->releases);
	drop(s);
}

/* A queue that leaves is empty for us: its items stay where they are. */
static void look(const struct queue *q, struct queue_stat *st)
{
	const struct queue_redis *s = q->impl;

	*st = s->stat;
	if (q->leaving)
		st->size = st->bytes = 0;
}

static void changed(struct queue *q)
{
	everybody_again(q->impl);
}

const struct queue_kind queue_redis = {
	.name = "redis",
	.leases = true,
	.needs_backend = true,
	.create = create,
	.destroy = destroy,
	.changed = changed,
	.serve = { [QUEUE_PUT] = put,
		   [QUEUE_GET] = serve_waiting,
		   [QUEUE_JOIN] = serve_waiting,
		   [QUEUE_SIZE] = serve_now,
		   [QUEUE_TASK_DONE] = serve_now },
	.cancel = cancel,
	.told = told,
	.over = over,
	.erase = erase,
	.back = back,
	.ack = ack,
	.stat = look,
};
