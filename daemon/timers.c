#include "daemon/timers.h"

#include <errno.h>
#include <stdlib.h>

/* From index 1 on, so that a timer's place is 0 when it is not set; i is before 2i and 2i + 1. */
static struct {
	struct loop_timer **at;
	unsigned count, cap;
} heap;

static void put_at(unsigned i, struct loop_timer *t)
{
	heap.at[i] = t;
	t->place = i;
}

static void rise(unsigned i, struct loop_timer *t)
{
	for (; i > 1 && t->when < heap.at[i / 2]->when; i /= 2)
		put_at(i, heap.at[i / 2]);
	put_at(i, t);
}

static void sink(unsigned i, struct loop_timer *t)
{
	unsigned next;

	for (; (next = 2 * i) <= heap.count; i = next) {
		if (next < heap.count && heap.at[next + 1]->when < heap.at[next]->when)
			next++;
		if (t->when <= heap.at[next]->when)
			break;
		put_at(i, heap.at[next]);
	}
	put_at(i, t);
}

static int grow(void)
{
	unsigned cap = heap.cap ? heap.cap * 2 : 64;
	struct loop_timer **bigger = realloc(heap.at, (cap + 1) * sizeof(struct loop_timer *));

	if (!bigger)
		return errno = ENOMEM, -1;
	heap.at = bigger;
	heap.cap = cap;
	return 0;
}

int timers_put(struct loop_timer *t, int64_t when)
{
	timers_remove(t);
	if (heap.count == heap.cap && grow() < 0)
		return -1;
	t->when = when;
	t->armed = true;
	rise(++heap.count, t);
	return 0;
}

void timers_remove(struct loop_timer *t)
{
	unsigned i = t->place;
	struct loop_timer *last;

	t->armed = false;
	t->place = 0;
	if (!i)
		return;
	last = heap.at[heap.count--];
	if (last == t)
		return;
	if (i > 1 && last->when < heap.at[i / 2]->when)
		rise(i, last);
	else
		sink(i, last);
}

struct loop_timer *timers_first(void)
{
	return heap.count ? heap.at[1] : NULL;
}

struct loop_timer *timers_take_due(int64_t now)
{
	struct loop_timer *t = timers_first();

	if (!t || t->when > now)
		return NULL;
	timers_remove(t);
	return t;
}

void timers_forget(void)
{
	while (heap.count)
		timers_remove(heap.at[heap.count]);
	free(heap.at);
	heap.at = NULL;
	heap.cap = 0;
}
