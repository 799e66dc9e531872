#include "daemon/outbox.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/log.h"

static void compose(struct wire *w, const struct outbox_item *item)
{
	memset(w, 0, sizeof(*w));
	w->type = item->type;
	w->value = item->value;
	if (item->type == WIRE_SPAWN) {
		w->spawn = (struct wire_spawn){ .slot = item->slot,
						.run = item->run,
						.pool = item->pool,
						.with = item->with,
						.args = item->args };
		strncpy(w->spawn.name, item->name, CREW_NAME_MAX);
		return;
	}
	if (item->type == WIRE_HOLD) {
		w->hold.cell = item->slot;
		strncpy(w->hold.name, item->name, CREW_NAME_MAX);
		return;
	}
	w->about.slot = item->slot;
	w->about.run = item->run;
	w->about.whom = item->whom;
}

static void drop(const struct outbox_item *item)
{
	for (int i = 0; i < 2; i++)
		if (item->fds[i] >= 0)
			close(item->fds[i]);
}

/* One that had to wait: its tail is a copy. */
static void drop_kept(const struct outbox_item *item)
{
	drop(item);
	free((char *)(uintptr_t)item->tail);
}

static bool send_one(int channel, const struct outbox_item *item)
{
	unsigned count = 0;
	struct wire w;
	int fds[2];

	for (int i = 0; i < 2; i++)
		if (item->fds[i] >= 0)
			fds[count++] = item->fds[i];
	compose(&w, item);
	return wire_send_tail(channel, &w, item->tail, item->tail_len, fds, count) == 0;
}

static void __attribute__((noreturn)) no_memory(void)
{
	log_error("manager", "no memory to talk to the keeper");
	abort(); /* what was accepted must not be lost: let the next manager do it */
}

static void grow(struct outbox *o)
{
	unsigned cap = o->cap ? o->cap * 2 : 64;
	struct outbox_item *bigger = calloc(cap, sizeof(*bigger));

	if (!bigger)
		no_memory();
	for (unsigned i = 0; i < o->count; i++)
		bigger[i] = o->items[(o->head + i) % o->cap];
	free(o->items);
	*o = (struct outbox){ .items = bigger, .count = o->count, .cap = cap };
}

void outbox_put(struct outbox *o, int channel, const struct outbox_item *item)
{
	struct outbox_item *kept;
	char *tail;

	if (channel < 0) {
		drop(item);
		return;
	}
	if (!o->count && send_one(channel, item)) {
		drop(item);
		return;
	}
	if (o->count == o->cap)
		grow(o);
	kept = &o->items[(o->head + o->count++) % o->cap];
	*kept = *item;
	if (!item->tail_len)
		return;
	tail = malloc(item->tail_len);
	if (!tail)
		no_memory();
	kept->tail = memcpy(tail, item->tail, item->tail_len);
}

void outbox_flush(struct outbox *o, int channel)
{
	while (o->count && send_one(channel, &o->items[o->head])) {
		drop_kept(&o->items[o->head]);
		o->head = (o->head + 1) % o->cap;
		o->count--;
	}
	if (!o->count)
		outbox_free(o);
}

bool outbox_waits(const struct outbox *o)
{
	return o->count > 0;
}

void outbox_free(struct outbox *o)
{
	while (o->count)
		drop_kept(&o->items[(o->head + --o->count) % o->cap]);
	free(o->items);
	*o = (struct outbox){ 0 };
}
