#include "lib/shared_queue.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/shared_queue_memory.h"

#define NO_WAIT (10 * USEC_PER_MSEC) /* for the lock, when the caller does not want to wait */

struct patience {
	int64_t timeout, deadline; /* deadline: 0 until the clock was read */
};

struct fill {
	uint64_t items, units;
};

static uint64_t units_of(size_t size)
{
	uint64_t units = 1 + ((uint64_t)size + UNIT - 1) / UNIT;

	return units < LEAST_UNITS ? LEAST_UNITS : units;
}

size_t shared_queue_cost(size_t size)
{
	return size > SHARED_QUEUE_BYTES_MAX ? SIZE_MAX : (size_t)units_of(size) * UNIT;
}

/* ---- patience ---------------------------------------------------------------------------------- */

static int64_t deadline(struct patience *p, int64_t at_least)
{
	if (p->timeout < 0)
		return WORD_FOREVER;
	if (p->deadline == 0) {
		int64_t now = clock_now(), timeout = p->timeout;

		if (timeout < at_least)
			timeout = at_least;
		p->deadline = timeout < WORD_FOREVER - now ? now + timeout : WORD_FOREVER;
	}
	return p->deadline;
}

/* Until the word may have changed. False: the time is over. */
static bool await(shared_word *word, uint64_t seen, struct patience *p, struct word_patience *spin)
{
	int64_t until;

	if (p->timeout == 0)
		return false;
	until = deadline(p, 0);
	if (word_spin(word, seen, spin))
		return true;
	if (until != WORD_FOREVER && clock_now() >= until)
		return false;
	word_sleep(word, seen, until);
	return true;
}

/* ---- what head and tail say -------------------------------------------------------------------- */

/* False if no queue of honest participants can be like that. */
static bool measure(const struct shared_queue *q, uint64_t head, uint64_t tail, struct fill *fill)
{
	uint64_t from = word_place(head), to = word_place(tail);

	if (from >= q->capacity || to >= q->capacity)
		return false;
	fill->items = word_ahead(tail, head);
	fill->units = to >= from ? to - from : to + q->capacity - from;
	if (fill->items && !fill->units)
		fill->units = q->capacity;
	return fill->items <= q->limit && fill->items * LEAST_UNITS <= fill->units &&
	       (fill->items || !fill->units);
}

static uint64_t after(const struct shared_queue *q, uint64_t word, uint64_t units)
{
	uint64_t place = word_place(word) + units;

	if (place >= q->capacity)
		place -= q->capacity;
	return word_make(place, word_count(word) + 1, 0);
}

/* Both at one moment: head did not change while tail was read. */
static int snapshot(struct shared_queue *q, struct fill *fill)
{
	if (!q->memory)
		return fail(EBADF);
	for (int i = 0; i < WORD_TRIES; i++) {
		uint64_t head = atomic_load(&q->memory->head);
		uint64_t tail = atomic_load(&q->memory->tail);

		if (!word_same(head, atomic_load(&q->memory->head)))
			continue;
		return measure(q, head, tail, fill) ? 0 : fail(EPROTO);
	}
	return fail(EPROTO);
}

int64_t shared_queue_qsize(struct shared_queue *q)
{
	struct fill fill;

	return snapshot(q, &fill) < 0 ? -1 : (int64_t)fill.items;
}

int shared_queue_empty(struct shared_queue *q)
{
	struct fill fill;

	return snapshot(q, &fill) < 0 ? -1 : fill.items == 0;
}

static bool has_room(const struct shared_queue *q, const struct fill *fill, uint64_t units)
{
	return fill->items < q->limit && units <= q->capacity - fill->units;
}

int shared_queue_full(struct shared_queue *q)
{
	struct fill fill;

	return snapshot(q, &fill) < 0 ? -1 : !has_room(q, &fill, LEAST_UNITS);
}

int64_t shared_queue_bytes(struct shared_queue *q)
{
	struct fill fill;

	return snapshot(q, &fill) < 0 ? -1 : (int64_t)(fill.units * UNIT);
}

int64_t shared_queue_unfinished(struct shared_queue *q)
{
	if (!q->memory)
		return fail(EBADF);
	for (int i = 0; i < WORD_TRIES; i++) {
		uint64_t done = atomic_load(&q->memory->done);
		uint64_t left = word_ahead(atomic_load(&q->memory->tail), done);

		if (word_same(done, atomic_load(&q->memory->done)))
			return (int64_t)left;
	}
	return fail(EPROTO);
}

uint32_t shared_queue_maxsize(const struct shared_queue *q)
{
	return q->maxsize;
}

uint64_t shared_queue_max_bytes(const struct shared_queue *q)
{
	return q->max_bytes;
}

/* ---- bytes in the ring ------------------------------------------------------------------------- */

/*
 * A consumer may read here what a producer is writing: the record was taken by another consumer. It then
 * finds the head moved on and throws away what it has read, so that no byte of it decides anything. The
 * thread sanitizer is shown the same with atomic units, which are several times slower.
 */
#ifdef __SANITIZE_THREAD__
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif

#ifdef TSAN
static void units_out(char *to, shared_word *from, size_t size)
{
	for (size_t i = 0; i < size; i += UNIT) {
		uint64_t unit = atomic_load_explicit(from++, memory_order_relaxed);

		memcpy(to + i, &unit, size - i < UNIT ? size - i : UNIT);
	}
}

static void units_in(shared_word *to, const char *from, size_t size)
{
	for (size_t i = 0; i < size; i += UNIT) {
		uint64_t unit = 0;

		memcpy(&unit, from + i, size - i < UNIT ? size - i : UNIT);
		atomic_store_explicit(to++, unit, memory_order_relaxed);
	}
}
#else
static void units_out(char *to, shared_word *from, size_t size)
{
	memcpy(to, (const void *)from, size);
}

static void units_in(shared_word *to, const char *from, size_t size)
{
	memcpy((void *)to, from, size);
}
#endif

/* Where the bytes of the record at `place` begin, and how many of them come before the ring's end. */
static uint64_t bytes_at(const struct shared_queue *q, uint64_t place, size_t size, size_t *before)
{
	uint64_t at = place + 1 < q->capacity ? place + 1 : 0;
	uint64_t straight = (q->capacity - at) * UNIT;

	*before = size < straight ? size : (size_t)straight;
	return at;
}

static void copy_out(struct shared_queue *q, char *to, uint64_t place, size_t size)
{
	size_t before;
	uint64_t at = bytes_at(q, place, size, &before);

	if (size == 0)
		return;
	units_out(to, q->memory->ring + at, before);
	units_out(to + before, q->memory->ring, size - before);
}

static void copy_in(struct shared_queue *q, uint64_t place, const char *from, size_t size)
{
	size_t before;
	uint64_t at = bytes_at(q, place, size, &before);

	if (size == 0)
		return; /* of nothing the address may be NULL */
	units_in(q->memory->ring + at, from, before);
	units_in(q->memory->ring, from + before, size - before);
}

/* ---- put --------------------------------------------------------------------------------------- */

/* Under the lock. A head seen earlier will do as long as nobody else has put since: then the ring cannot
 * have gone round. 1: full, as of the head in *seen. */
static int find_room(struct shared_queue *q, uint64_t tail, uint64_t units, uint64_t *seen)
{
	struct fill fill;

	if (q->has_put && word_same(tail, q->tail_mine) && measure(q, q->head_seen, tail, &fill) &&
	    has_room(q, &fill, units))
		return 0;
	q->has_put = false;
	*seen = q->head_seen = atomic_load(&q->memory->head);
	if (!measure(q, q->head_seen, tail, &fill))
		return fail(EPROTO);
	return has_room(q, &fill, units) ? 0 : 1;
}

static int put_locked(struct shared_queue *q, const void *item, size_t size, uint64_t *seen,
		      uint64_t *committed)
{
	uint64_t tail = atomic_load(&q->memory->tail), units = units_of(size), sleepers;
	int result = find_room(q, tail, units, seen);

	if (result != 0)
		return result;
	/* Whoever still reads here believes nothing of it: its head has moved on. */
	atomic_store_explicit(q->memory->ring + word_place(tail),
			      (uint64_t)size << 32 | (uint32_t)word_count(tail),
			      memory_order_relaxed);
	copy_in(q, word_place(tail), item, size);
	q->tail_mine = after(q, tail, units);
	q->has_put = word_commit(&q->memory->tail, tail, q->tail_mine, &sleepers);
	if (!q->has_put)
		return fail(EPROTO);
	*committed = q->tail_mine | sleepers;
	return 0;
}

static int lock(struct shared_queue *q, struct patience *p)
{
	if (shared_lock_at_once(&q->memory->lock, &q->seat))
		return 0;
	if (shared_lock_wait(&q->memory->lock, &q->seat, deadline(p, NO_WAIT)) == 0)
		return 0;
	return fail(errno == ETIMEDOUT ? EAGAIN : errno);
}

static int try_put(struct shared_queue *q, const void *item, size_t size, struct patience *p,
		   uint64_t *seen)
{
	uint64_t committed = 0;
	int result, error;

	if (lock(q, p) < 0)
		return -1;
	result = put_locked(q, item, size, seen, &committed);
	error = errno;
	shared_unlock(&q->memory->lock, &q->seat);
	if (committed & WORD_SLEEPERS)
		word_wake_one(&q->memory->tail, committed);
	errno = error;
	return result;
}

int shared_queue_put(struct shared_queue *q, const void *item, size_t size, int64_t timeout)
{
	struct patience p = { .timeout = timeout };
	uint64_t seen = 0, before;
	int result;

	if (!q->memory)
		return fail(EBADF);
	if (size > SHARED_QUEUE_BYTES_MAX || units_of(size) > q->capacity)
		return fail(EMSGSIZE);
	result = try_put(q, item, size, &p, &seen);
	while (result == 1) {
		before = seen;
		if (!await(&q->memory->head, seen, &p, &q->room_spin)) {
			shared_watch_arm(&q->room, seen);
			return fail(EAGAIN);
		}
		result = try_put(q, item, size, &p, &seen);
		/* Room was made, too little for this item: perhaps enough for the next one's. */
		if (result != 0 && !word_same(seen, before))
			word_wake_next(&q->memory->head);
	}
	return result;
}

/* ---- get --------------------------------------------------------------------------------------- */

struct taker {
	char *buffer;
	size_t room, size;
	bool grows; /* the buffer is malloc's, and has one byte more than `room` */
};

/* What stands at `head`. 0: an item of *size bytes; 1: the queue is empty; -1: nonsense, or `head` is old. */
static int first(struct shared_queue *q, uint64_t head, uint64_t *tail, size_t *size)
{
	struct fill fill;
	uint64_t record;

	*tail = atomic_load_explicit(&q->tail_seen, memory_order_acquire);
	if (word_ahead(*tail, head) - 1 >= q->limit) {
		*tail = atomic_load(&q->memory->tail);
		atomic_store_explicit(&q->tail_seen, *tail, memory_order_release);
	}
	if (!measure(q, head, *tail, &fill))
		return -1;
	if (fill.items == 0)
		return 1;
	record = atomic_load_explicit(q->memory->ring + word_place(head), memory_order_relaxed);
	*size = record >> 32;
	return (uint32_t)record == (uint32_t)word_count(head) && units_of(*size) <= fill.units ? 0
											       : -1;
}

static bool still_first(struct shared_queue *q, uint64_t head)
{
	atomic_thread_fence(memory_order_acquire);
	return word_same(atomic_load(&q->memory->head), head);
}

/* 0, or the error number: such an item cannot be taken. */
static int make_room(struct taker *t, size_t size)
{
	if (size <= t->room)
		return 0;
	if (!t->grows)
		return ERANGE;
	free(t->buffer);
	t->room = 0;
	t->buffer = malloc(size + 1);
	if (!t->buffer)
		return ENOMEM;
	t->room = size;
	return 0;
}

/* 0: taken; 1: the queue is empty, as of the tail in *seen; 2: another one was faster. */
static int try_get(struct shared_queue *q, struct taker *t, uint64_t *seen)
{
	uint64_t head = atomic_load(&q->memory->head), next, sleepers;
	int found = first(q, head, seen, &t->size), error;

	if (found == 1)
		return 1;
	if (found < 0)
		return still_first(q, head) ? fail(EPROTO) : 2;
	if (t->size > t->room) {
		if (!still_first(q, head))
			return 2;
		error = make_room(t, t->size);
		if (error) {
			/* It may have been woken for this. */
			word_wake_next(&q->memory->tail);
			return fail(error);
		}
	}
	copy_out(q, t->buffer, word_place(head), t->size);
	next = after(q, head, units_of(t->size));
	if (!word_commit(&q->memory->head, head, next, &sleepers))
		return 2;
	if (sleepers)
		word_wake_one(&q->memory->head, next | sleepers);
	return 0;
}

/* Another one was faster: that is no reason to give up, unless it goes on beyond all measure. */
static int lost(struct patience *p, const struct taker *t, size_t *losses)
{
	*losses += 1 + (t->size >> 20);
	if (*losses >= WORD_TRIES)
		return fail(EPROTO);
	if (p->timeout > 0 && clock_now() >= deadline(p, 0))
		return fail(EAGAIN);
	return 0;
}

static int get(struct shared_queue *q, struct taker *t, int64_t timeout)
{
	struct patience p = { .timeout = timeout };
	uint64_t seen = 0;
	size_t losses = 0;
	int result;

	if (!q->memory)
		return fail(EBADF);
	while ((result = try_get(q, t, &seen)) > 0) {
		if (result == 2 && lost(&p, t, &losses) < 0)
			return -1;
		if (result == 2)
			continue;
		losses = 0;
		if (!await(&q->memory->tail, seen, &p, &q->items_spin)) {
			shared_watch_arm(&q->items, seen);
			return fail(EAGAIN);
		}
	}
	return result;
}

int shared_queue_get(struct shared_queue *q, void *buffer, size_t *size, int64_t timeout)
{
	struct taker t = { .buffer = buffer, .room = *size };
	int result = get(q, &t, timeout);

	if (result == 0 || errno == ERANGE)
		*size = t.size;
	return result;
}

int shared_queue_get_alloc(struct shared_queue *q, void **item, size_t *size, int64_t timeout)
{
	struct taker t = { .buffer = malloc(1), .grows = true };
	int error;

	if (!t.buffer)
		return fail(ENOMEM);
	if (get(q, &t, timeout) < 0) {
		error = errno;
		free(t.buffer);
		return fail(error);
	}
	t.buffer[t.size] = '\0';
	*item = t.buffer;
	*size = t.size;
	return 0;
}

/* ---- tasks ------------------------------------------------------------------------------------- */

int shared_queue_task_done(struct shared_queue *q)
{
	if (!q->memory)
		return fail(EBADF);
	for (int i = 0; i < WORD_TRIES; i++) {
		uint64_t done = atomic_load(&q->memory->done), next;
		uint64_t left = word_ahead(atomic_load(&q->memory->tail), done);
		bool last = left == 1;

		if (left == 0 && word_same(done, atomic_load(&q->memory->done)))
			return fail(EINVAL);
		if (left == 0)
			continue;
		next = word_make(word_place(done) + last, word_count(done) + 1,
				 last ? 0 : done & WORD_SLEEPERS);
		if (!atomic_compare_exchange_strong(&q->memory->done, &done, next))
			continue;
		if (last && done & WORD_SLEEPERS)
			word_wake_all(&q->memory->done);
		return 0;
	}
	return fail(EPROTO);
}

int shared_queue_join(struct shared_queue *q, int64_t timeout)
{
	struct patience p = { .timeout = timeout };
	uint64_t start, done;

	if (!q->memory)
		return fail(EBADF);
	start = done = atomic_load(&q->memory->done);
	while (word_place(done) == word_place(start) &&
	       word_ahead(atomic_load(&q->memory->tail), done)) {
		if (!await(&q->memory->done, done, &p, &q->done_spin))
			return fail(EAGAIN);
		done = atomic_load(&q->memory->done);
	}
	return 0;
}

/* ---- for a loop of one's own ------------------------------------------------------------------- */

int shared_queue_items_fd(struct shared_queue *q)
{
	return q->memory ? shared_watch_fd(&q->items) : fail(EBADF);
}

int shared_queue_room_fd(struct shared_queue *q)
{
	return q->memory ? shared_watch_fd(&q->room) : fail(EBADF);
}
