/* The redis kind's operations: what is asked of redis, for whom, and what its answer means for them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/queue_redis.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/message.h"

#define HOLD	    USEC_PER_SEC
#define STALE	    "60000" /* milliseconds */
#define WORDS	    1100
#define ENTRIES	    500
#define LEASES	    1000
#define BYTES	    (256 * 1024) /* of items, in one script; one item may be longer */
#define FIXED	    3		 /* numbers that every answer begins with */
#define NESTING_OUT 2		 /* a reply has an item two levels deep */

/* The command that is being put together: a loop has one thread. */
static struct {
	const char *words[WORDS];
	size_t lens[WORDS];
	size_t count;
	char numbers[ENTRIES + 8][24];
	unsigned number_count;
} out;

static void say_bytes(const char *text, size_t len)
{
	out.words[out.count] = text;
	out.lens[out.count++] = len;
}

static void say(const char *text)
{
	say_bytes(text, strlen(text));
}

static void say_number(uint64_t n)
{
	char *text = out.numbers[out.number_count++];

	snprintf(text, sizeof(out.numbers[0]), "%llu", (unsigned long long)n);
	say(text);
}

/* The script itself comes with the operation: queue_redis_send(). */
static void begin(const struct queue_redis *s)
{
	out.count = 0;
	out.number_count = 0;
	say("EVAL");
	say("");
	say("4");
	say(s->stream);
	say(s->state);
	say(s->freed);
	say(s->op);
}

void queue_redis_send(struct queue_redis *s, enum redis_op op)
{
	static char text[8192];
	int n = snprintf(text, sizeof(text), "%s%s", redis_script_head, redis_scripts[op]);

	if (op == REDIS_ERASE)
		begin(s);
	out.words[1] = text;
	out.lens[1] = (size_t)n;
	if (op != REDIS_ERASE)
		s->busy = (int)op;
	redis_send(s->link, out.count, out.words, out.lens);
}

/* ---- entries: acknowledged, given back, held --------------------------------------------------- */

static bool say_entries(struct queue_redis *s, const struct list *entries, bool deliveries)
{
	s->sent = 0;
	for (const struct list *e = entries->next; e != entries && s->sent < ENTRIES; e = e->next) {
		const struct redis_entry *entry = list_entry(e, const struct redis_entry, link);

		if (deliveries)
			say_number(entry->deliveries);
		else
			say(entry->done ? "1" : "0");
		say(entry->id);
		s->sent++;
	}
	return s->sent > 0;
}

static void forget_sent(struct queue_redis *s, struct list *entries)
{
	for (; s->sent; s->sent--) {
		queue_discharge(sizeof(struct redis_entry));
		free(list_entry(list_pop(entries), struct redis_entry, link));
	}
}

static bool build_ack(struct queue_redis *s)
{
	return say_entries(s, &s->acks, false);
}

static bool on_ack(struct queue_redis *s, const struct redis_reply *reply)
{
	(void)reply;
	forget_sent(s, &s->acks);
	s->ready[QUEUE_PUT] = s->ready[QUEUE_JOIN] = true;
	return true;
}

static bool build_release(struct queue_redis *s)
{
	say(s->consumer);
	return say_entries(s, &s->releases, true);
}

static bool on_release(struct queue_redis *s, const struct redis_reply *reply)
{
	(void)reply;
	forget_sent(s, &s->releases);
	s->ready[QUEUE_GET] = true;
	return true;
}

struct naming {
	size_t skip, named;
};

static void say_lease(const struct queue_item *item, void *arg)
{
	struct naming *n = arg;

	if (n->skip)
		n->skip--;
	else if (n->named < LEASES) {
		say(queue_redis_id(item));
		n->named++;
	}
}

/* With more leases than can be named, the clock finds what was lost. */
static bool build_recover(struct queue_redis *s)
{
	struct naming n = { 0 };

	if (!s->recover || !list_empty(&s->acks) || !list_empty(&s->releases))
		return false;
	s->recover = false;
	if (s->queue->leased > LEASES)
		return false;
	say(s->consumer);
	queue_leases_each(s->queue, say_lease, &n);
	return true;
}

static bool on_recover(struct queue_redis *s, const struct redis_reply *reply)
{
	(void)reply;
	s->ready[QUEUE_GET] = true;
	return true;
}

static bool build_tick(struct queue_redis *s)
{
	struct naming n = { .skip = s->touched };

	if (!s->tick)
		return false;
	say(s->consumer);
	say(STALE);
	queue_leases_each(s->queue, say_lease, &n);
	s->touched = n.named == LEASES ? s->touched + LEASES : 0;
	s->tick = s->touched > 0; /* the round goes on */
	return true;
}

static bool on_tick(struct queue_redis *s, const struct redis_reply *reply)
{
	(void)s;
	(void)reply;
	return true;
}

/* ---- put --------------------------------------------------------------------------------------- */

/* The items of one request that fit into the script. */
static unsigned say_items(const struct queue *q, const struct queue_request *r, size_t *bytes)
{
	unsigned n = 0;

	list_foreach(e, next, &r->items)
	{
		const struct queue_item *item = list_entry(e, const struct queue_item, link);

		if (item->len > q->set.max_bytes || out.count == WORDS ||
		    (*bytes && *bytes + item->len > BYTES))
			break;
		say_bytes(item->text, item->len);
		*bytes += item->len;
		n++;
	}
	return n;
}

static bool build_put(struct queue_redis *s)
{
	const struct queue *q = s->queue;
	size_t bytes = 0;

	if (s->unresolved)
		return false;
	s->ready[QUEUE_PUT] = false;
	say_number(s->number + 1);
	say_number(q->set.maxsize);
	say_number(q->set.max_bytes);
	list_foreach(e, n, &q->pending)
	{
		const struct queue_request *r = list_entry(e, const struct queue_request, link);
		unsigned items = r->verb == QUEUE_PUT && s->batch_count < REDIS_BATCH
					 ? say_items(q, r, &bytes)
					 : 0;

		if (r->verb != QUEUE_PUT)
			continue;
		if (!items)
			break;
		s->batch[s->batch_count] = r->id;
		s->batch_items[s->batch_count++] = items;
	}
	s->number += s->batch_count > 0;
	return s->batch_count > 0;
}

/* One of the batch: `put` of its items are there. */
static void settle_put(struct queue_redis *s, struct queue_request *r, unsigned put, bool full,
		       const char *why)
{
	const struct queue_item *first;

	for (unsigned i = 0; i < put; i++, r->moved++)
		free(list_entry(list_pop(&r->items), struct queue_item, link));
	if (list_empty(&r->items)) {
		queue_complete(r->id, QUEUE_OK, NULL);
		return;
	}
	first = list_entry(r->items.next, const struct queue_item, link);
	if (first->len > s->queue->set.max_bytes)
		queue_complete(r->id, QUEUE_TOO_BIG, NULL);
	else if (full)
		queue_wait_again(r->id, why);
}

/* The batch's first `put` items are there. */
static void settle_batch(struct queue_redis *s, unsigned put, bool full, const char *why)
{
	for (unsigned i = 0; i < s->batch_count; i++) {
		struct queue_request *r = queue_pending(s->batch[i]);
		unsigned mine = put < s->batch_items[i] ? put : s->batch_items[i];

		put -= mine;
		if (r)
			settle_put(s, r, mine, full && mine < s->batch_items[i], why);
	}
	s->batch_count = 0;
	/* those who came later stand behind one who waits */
	if (full)
		queue_redis_give_up(s, QUEUE_PUT, why);
}

static bool on_put(struct queue_redis *s, const struct redis_reply *reply)
{
	int64_t put, why;

	if (!redis_number(reply, FIXED, &put) || !redis_number(reply, FIXED + 1, &why) || put < 0 ||
	    why < 0 || why > 2)
		return false;
	s->ready[QUEUE_GET] = s->ready[QUEUE_GET] || put > 0;
	settle_batch(s, (unsigned)put, why != 0, why == 2 ? "max-bytes are reached" : NULL);
	return true;
}

static bool build_check(struct queue_redis *s)
{
	say_number(s->number);
	return s->unresolved;
}

static bool on_check(struct queue_redis *s, const struct redis_reply *reply)
{
	int64_t put;

	if (!redis_number(reply, FIXED, &put))
		return false;
	s->unresolved = false;
	s->ready[QUEUE_PUT] = true;
	settle_batch(s, put > 0 ? (unsigned)put : 0, false, NULL);
	return true;
}

/* ---- get --------------------------------------------------------------------------------------- */

/* Several who want one each, or one who wants many. */
static unsigned choose_gets(struct queue_redis *s)
{
	unsigned want = 0;

	list_foreach(e, n, &s->queue->pending)
	{
		const struct queue_request *r = list_entry(e, const struct queue_request, link);

		if (r->verb != QUEUE_GET)
			continue;
		if (s->batch_count && (r->max > 1 || s->batch_count == REDIS_BATCH))
			break;
		want += r->max < ENTRIES ? r->max : ENTRIES;
		s->batch[s->batch_count] = r->id;
		s->batch_items[s->batch_count++] = r->max;
		if (r->max > 1)
			break;
	}
	return want;
}

static bool build_get(struct queue_redis *s)
{
	unsigned want = choose_gets(s);

	s->ready[QUEUE_GET] = false;
	say(s->consumer);
	say_number(want);
	say_number(BYTES);
	say_number(CREW_MESSAGE_MAX);
	return want > 0;
}

/* What is no JSON was put there by somebody else, and would break every client. */
static struct queue_item *read_item(const struct queue_redis *s, const char *id, const char *text,
				    size_t len)
{
	struct queue_item *item;
	const char *why;

	if (!json_valid(text, len, NESTING_OUT, &why)) {
		log_error(s->queue->name, "entry %.48s of %s is no item, and dropped: %s", id,
			  s->stream, why);
		return NULL;
	}
	item = queue_item_new(len + REDIS_ID);
	if (!item)
		return NULL;
	item->len = (uint32_t)json_slice_compact((struct json_slice){ text, len }, item->text);
	snprintf(item->text + item->len, REDIS_ID, "%s", id);
	return item;
}

/* The i-th of the answer; NULL: there is none, or it is of no use. */
static struct queue_item *take_item(struct queue_redis *s, const struct redis_reply *reply,
				    size_t at)
{
	size_t id_len, len;
	const char *id = redis_text(reply, at, &id_len), *text = redis_text(reply, at + 2, &len);
	struct queue_item *item;
	int64_t times;

	if (!id || !text || id_len >= REDIS_ID || !redis_number(reply, at + 1, &times))
		return NULL;
	item = read_item(s, id, text, len);
	if (!item)
		queue_redis_ack(s, id, true);
	else
		item->deliveries = times > 0 && times < UINT32_MAX ? (uint32_t)times - 1 : 0;
	return item;
}

/* Who of the batch gets the next item. */
static struct queue_request *taker(struct queue_redis *s, unsigned *i, unsigned *given)
{
	for (; *i < s->batch_count; ++*i, *given = 0) {
		struct queue_request *r = queue_pending(s->batch[*i]);

		if (r && *given < s->batch_items[*i])
			return r;
	}
	return NULL;
}

/* False: there was none of use. */
static bool give_items(struct queue_redis *s, const struct redis_reply *reply)
{
	unsigned i = 0, given = 0;
	bool any = false;

	for (size_t at = FIXED; at + 2 < redis_count(reply); at += 3) {
		struct queue_item *item = take_item(s, reply, at);
		struct queue_request *r = item ? taker(s, &i, &given) : NULL;

		if (!item)
			continue;
		if (!r) {
			queue_redis_release(s, queue_redis_id(item), item->deliveries);
			free(item);
			continue;
		}
		item->leased = r->lease;
		if (item->leased)
			queue_charge_anyway(item->len + QUEUE_ITEM_KEEP);
		list_append(&r->items, &item->link);
		given++;
		any = true;
	}
	return any;
}

static bool on_get(struct queue_redis *s, const struct redis_reply *reply)
{
	/* what did not fit into one answer */
	bool more = s->stat.size > 0 && redis_count(reply) > FIXED;
	/* without any progress, nobody stays longer than his time */
	bool stay = give_items(s, reply) && more;

	for (unsigned i = 0; i < s->batch_count; i++) {
		struct queue_request *r = queue_pending(s->batch[i]);

		if (r && !list_empty(&r->items))
			queue_complete(r->id, QUEUE_OK, NULL);
		else if (r && !stay)
			queue_wait_again(r->id, NULL);
	}
	s->batch_count = 0;
	s->ready[QUEUE_PUT] = true;
	s->ready[QUEUE_GET] = s->ready[QUEUE_GET] || more;
	return true;
}

/* ---- how many, and done ------------------------------------------------------------------------ */

static bool choose(struct queue_redis *s, enum queue_verb verb)
{
	list_foreach(e, n, &s->queue->pending)
	{
		const struct queue_request *r = list_entry(e, const struct queue_request, link);

		if (r->verb == verb && s->batch_count < REDIS_BATCH)
			s->batch[s->batch_count++] = r->id;
	}
	return s->batch_count > 0;
}

static bool build_look(struct queue_redis *s)
{
	s->ready[QUEUE_JOIN] = false;
	choose(s, QUEUE_SIZE);
	choose(s, QUEUE_JOIN);
	return s->batch_count > 0;
}

static bool on_look(struct queue_redis *s, const struct redis_reply *reply)
{
	const struct queue_settings *set = &s->queue->set;

	(void)reply;
	for (unsigned i = 0; i < s->batch_count; i++) {
		struct queue_request *r = queue_pending(s->batch[i]);

		if (!r)
			continue;
		r->size = s->stat.size;
		r->full = (set->maxsize && s->stat.size >= set->maxsize) ||
			  s->stat.bytes >= set->max_bytes;
		if (r->verb == QUEUE_JOIN && s->stat.unfinished)
			queue_wait_again(r->id, NULL);
		else
			queue_complete(r->id, QUEUE_OK, NULL);
	}
	s->batch_count = 0;
	return true;
}

static bool build_done(struct queue_redis *s)
{
	bool any = choose(s, QUEUE_TASK_DONE);

	say_number(s->batch_count);
	return any;
}

static bool on_done(struct queue_redis *s, const struct redis_reply *reply)
{
	int64_t done;

	if (!redis_number(reply, FIXED, &done))
		return false;
	for (unsigned i = 0; i < s->batch_count; i++)
		queue_complete(s->batch[i], i < done ? QUEUE_OK : QUEUE_TOO_MANY_DONE, NULL);
	s->batch_count = 0;
	s->ready[QUEUE_JOIN] = true;
	return true;
}

/* ---- one after the other ----------------------------------------------------------------------- */

static const struct {
	bool (*build)(struct queue_redis *s); /* false: nothing to do */
	bool (*answer)(struct queue_redis *s,
		       const struct redis_reply *reply); /* false: nonsense */
	enum queue_verb serves[2];
	unsigned serves_count;
} rows[REDIS_OPS] = {
	[REDIS_CHECK] = { build_check, on_check, { 0 }, 0 },
	[REDIS_ACK] = { build_ack, on_ack, { 0 }, 0 },
	[REDIS_RELEASE] = { build_release, on_release, { 0 }, 0 },
	[REDIS_RECOVER] = { build_recover, on_recover, { 0 }, 0 },
	[REDIS_TICK] = { build_tick, on_tick, { 0 }, 0 },
	[REDIS_PUT] = { build_put, on_put, { QUEUE_PUT }, 1 },
	[REDIS_GET] = { build_get, on_get, { QUEUE_GET }, 1 },
	[REDIS_DONE] = { build_done, on_done, { QUEUE_TASK_DONE }, 1 },
	[REDIS_LOOK] = { build_look, on_look, { QUEUE_SIZE, QUEUE_JOIN }, 2 },
};

void queue_redis_work(struct queue_redis *s)
{
	if (s->busy < 0 && redis_is_up(s->link))
		loop_defer(&s->work);
}

/* Each has its turn. */
void queue_redis_run(void *arg)
{
	struct queue_redis *s = arg;

	if (s->busy >= 0 || !redis_is_up(s->link))
		return;
	for (int i = 0; i < REDIS_OPS; i++) {
		enum redis_op op = (s->last + 1 + i) % REDIS_OPS;

		if (s->held[op] || (s->unresolved && rows[op].serves_count))
			continue;
		if (!s->unresolved)
			s->batch_count = 0;
		begin(s);
		if (!rows[op].build(s))
			continue;
		s->last = op;
		queue_redis_send(s, op);
		return;
	}
}

static bool read_stat(struct queue_redis *s, const struct redis_reply *reply)
{
	int64_t n[FIXED];

	for (int i = 0; i < FIXED; i++)
		if (!redis_number(reply, i, &n[i]) || n[i] < 0)
			return false;
	s->stat = (struct queue_stat){ .size = (uint64_t)n[0],
				       .bytes = (uint64_t)n[1],
				       .unfinished = (uint64_t)n[2] };
	return true;
}

/* The operation failed as a whole. It is tried again, others go on. */
static void hold(struct queue_redis *s, enum redis_op op, const char *why, const char *detail)
{
	if (s->complaint != why)
		log_warning(s->queue->name, "%s%s%.200s", why, *detail ? ": " : "", detail);
	s->complaint = why;
	s->complained_of = op;
	s->held[op] = why;
	if (op == REDIS_CHECK)
		s->held[REDIS_PUT] = why;
	loop_timer_at(&s->hold, loop_now() + HOLD);
	s->recover = s->recover || op == REDIS_RECOVER;
	s->sent = 0;
	if (s->unresolved)
		queue_redis_keep_unresolved(s, why);
	else
		s->batch_count = 0;
	for (unsigned i = 0; i < rows[op].serves_count; i++)
		queue_redis_give_up(s, rows[op].serves[i], why);
}

void queue_redis_on_answer(const struct redis_reply *reply, void *arg)
{
	struct queue_redis *s = arg;
	const char *error = redis_error(reply);
	enum redis_op op = (enum redis_op)s->busy;

	if (s->busy < 0)
		return;
	s->busy = -1;
	if (error)
		hold(s, op, redis_meaning(error), error);
	else if (!read_stat(s, reply) || !rows[op].answer(s, reply))
		hold(s, op, "redis answers something that makes no sense", "");
	else if (s->complained_of == op)
		s->complaint = NULL;
	queue_stirred(s->queue);
	for (int v = 0; v < QUEUE_WAITS_OF; v++)
		if (s->queue->waiting_count[v])
			queue_redis_listen(s);
	queue_redis_work(s);
}
