/* Items on loan: who has which, and where they go when he is gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/queue_kind.h"
#include "lib/log.h"

#define BUCKETS 1024 /* a power of two */

struct queue_lease {
	struct list by_id, of_owner, of_queue;
	uint64_t number;
	struct queue *queue;
	struct queue_item *item;
	struct queue_owner *owner;
};

static struct {
	struct list by_number[BUCKETS];
	uint64_t last;
	uint32_t seed;
} held;

struct queue_owner *queue_owner_new(void)
{
	struct queue_owner *o = calloc(1, sizeof(*o));

	if (o)
		list_init(&o->leases);
	return o;
}

const struct queue_lease *queue_lease_new(struct queue_owner *o, struct queue_request *r)
{
	struct queue_lease *l = o ? calloc(1, sizeof(*l)) : NULL;
	struct queue *q = r->queue;

	if (!l) {
		queue_give_back(q, &r->items);
		queue_stirred(q);
		return NULL;
	}
	l->number = ++held.last;
	l->queue = q;
	l->item = list_entry(list_pop(&r->items), struct queue_item, link);
	l->item->deliveries++;
	q->leased++;
	list_append(&held.by_number[l->number % BUCKETS], &l->by_id);
	list_append(&o->leases, &l->of_owner);
	o->count++;
	l->owner = o;
	queue_charge_anyway(sizeof(*l));
	list_append(&q->leases, &l->of_queue);
	if (q->kind->lent)
		q->kind->lent(q, l->item);
	return l;
}

char *queue_lease_name(const struct queue_lease *l, char buf[QUEUE_LEASE_NAME])
{
	snprintf(buf, QUEUE_LEASE_NAME, "%x-%llu", held.seed, (unsigned long long)l->number);
	return buf;
}

const struct queue_item *queue_lease_item(const struct queue_lease *l)
{
	return l->item;
}

static struct queue_item *lease_end(struct queue_lease *l)
{
	struct queue_item *item = l->item;

	l->queue->leased--;
	l->owner->count--;
	list_remove(&l->by_id);
	list_remove(&l->of_owner);
	list_remove(&l->of_queue);
	queue_discharge(sizeof(*l));
	free(l);
	return item;
}

/* Of a kind that has no leases it left the books when it was got. */
static void off_the_books(struct queue *q, struct queue_item *item)
{
	if (item->leased)
		q->kind->ack(q, item);
}

/* Where items go that are not done; NULL: there is no such place. */
static struct queue *letter_box(const struct queue *q)
{
	struct queue *dead = *q->set.dead ? queue_find(q->set.dead) : NULL;

	if (!dead || dead == q || dead->leaving)
		return NULL;
	return dead->kind->take ? dead : NULL;
}

/* A copy of it: each queue has its own until the other one is safe. */
static bool bring(struct queue *dead, const struct queue_item *item)
{
	struct queue_item *copy = queue_item_new(item->len);

	if (!copy)
		return false;
	memcpy(copy->text, item->text, item->len);
	if (dead->kind->take(dead, copy))
		return true;
	free(copy);
	return false;
}

/* False: it cannot be taken there now, and is the caller's. */
static bool to_the_dead(struct queue *q, struct queue_item *item, struct queue *dead)
{
	if (!bring(dead, item))
		return false;
	if (item->leased && q->kind->moved)
		q->kind->moved(q, item, dead);
	else
		off_the_books(q, item);
	free(item);
	queue_stirred(q);
	queue_stirred(dead);
	return true;
}

static void lease_lost(struct queue_lease *l)
{
	struct queue *q = l->queue, *dead = letter_box(q);
	struct queue_item *item = lease_end(l);
	unsigned deliveries = item->deliveries;

	if (dead && deliveries >= q->set.max_deliveries && to_the_dead(q, item, dead)) {
		log_warning(q->name,
			    "an item was taken %u times and never done, it goes to queue %s",
			    deliveries, dead->name);
		return;
	}
	q->kind->back(q, item);
	queue_stirred(q);
}

void queue_owner_gone(struct queue_owner *o)
{
	if (!o)
		return;
	while (!list_empty(&o->leases)) /* the last one first: their order stays */
		lease_lost(list_entry(o->leases.prev, struct queue_lease, of_owner));
	free(o);
}

static struct queue_lease *lease_named(const char *name)
{
	char wanted[QUEUE_LEASE_NAME];
	const char *dash = strchr(name, '-');
	uint64_t number = dash ? strtoull(dash + 1, NULL, 10) : 0;

	list_foreach(e, n, &held.by_number[number % BUCKETS])
	{
		struct queue_lease *l = list_entry(e, struct queue_lease, by_id);

		if (l->number == number && strcmp(queue_lease_name(l, wanted), name) == 0)
			return l;
	}
	return NULL;
}

/* It is over, and its item the caller's; NULL: there is no such lease. */
static struct queue_item *lease_take(const char *name, struct queue **q)
{
	struct queue_lease *l = lease_named(name);

	if (!l)
		return NULL;
	*q = l->queue;
	return lease_end(l);
}

bool queue_done(const char *lease)
{
	struct queue *q;
	struct queue_item *item = lease_take(lease, &q);

	if (!item)
		return false;
	off_the_books(q, item);
	free(item);
	queue_stirred(q);
	return true;
}

bool queue_hand_back(const char *lease)
{
	struct queue *q;
	struct queue_item *item = lease_take(lease, &q);

	if (!item)
		return false;
	item->deliveries--;
	q->kind->back(q, item);
	queue_stirred(q);
	return true;
}

bool queue_bury(const char *lease, const char *why)
{
	struct queue *q, *dead;
	struct queue_item *item = lease_take(lease, &q);

	if (!item)
		return false;
	dead = letter_box(q);
	log_warning(q->name, "%s: it %s%s", why, dead ? "goes to queue " : "is dropped",
		    dead ? dead->name : "");
	if (dead && to_the_dead(q, item, dead))
		return true;
	if (dead)
		log_error(q->name, "queue %s cannot take it: it is dropped", dead->name);
	off_the_books(q, item);
	free(item);
	queue_stirred(q);
	return true;
}

void queue_leases_end(struct queue *q)
{
	while (!list_empty(&q->leases)) {
		struct queue_item *item =
			lease_end(list_entry(q->leases.prev, struct queue_lease, of_queue));

		if (q->keep) {
			q->kind->back(q, item);
			continue;
		}
		off_the_books(q, item);
		free(item);
	}
}

void queue_leases_each(const struct queue *q,
		       void (*each)(const struct queue_item *item, void *arg), void *arg)
{
	for (const struct list *e = q->leases.next; e != &q->leases; e = e->next)
		each(list_entry(e, const struct queue_lease, of_queue)->item, arg);
}

void queue_leases_init(uint32_t seed)
{
	for (int i = 0; i < BUCKETS; i++)
		list_init(&held.by_number[i]);
	held.seed = seed;
}
