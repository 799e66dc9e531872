#include "daemon/ledger.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define POOLS (CREW_POOLS_MAX * 2) /* those that leave may still be there when others come */

struct pool_cell {
	_Atomic uint32_t current;
	struct ledger_pool copy[2];
};

#define QUEUES (CREW_QUEUES_MAX * 2) /* those that were made, and those that were deleted */

struct queue_cell {
	_Atomic uint32_t current;
	struct ledger_queue copy[2];
};

struct ledger {
	_Atomic uint32_t shutdown;
	_Atomic int64_t wall_offset;
	struct pool_cell pools[POOLS];
	struct queue_cell queues[QUEUES];
	/* What is read of every slot lies apart from the copies: to look at a page is to have it. */
	_Atomic uint32_t run[CREW_WORKERS_MAX];
	_Atomic uint32_t owed[CREW_WORKERS_MAX]; /* twice the tasks owed, and 1 if dirty */
	_Atomic uint32_t
		current[CREW_WORKERS_MAX]; /* 0: free, else index + 1 of the copy in force */
	struct ledger_worker workers[CREW_WORKERS_MAX][2];
};

static struct ledger *ledger;

size_t ledger_size(void)
{
	return sizeof(struct ledger);
}

int ledger_init(int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *p = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		return -1;
	ledger = p;
	return 0;
}

void ledger_close(void)
{
	if (ledger)
		munmap(ledger, sizeof(*ledger));
	ledger = NULL;
}

void ledger_save_worker(unsigned slot, const struct ledger_worker *r)
{
	uint32_t other = atomic_load(&ledger->current[slot]) == 1;

	ledger->workers[slot][other] = *r;
	atomic_store(&ledger->current[slot], other + 1);
}

bool ledger_load_worker(unsigned slot, struct ledger_worker *r)
{
	uint32_t current = atomic_load(&ledger->current[slot]);

	if (current != 1 && current != 2)
		return false;
	*r = ledger->workers[slot][current - 1];
	return true;
}

void ledger_clear_worker(unsigned slot)
{
	atomic_store(&ledger->current[slot], 0);
}

uint32_t ledger_run(unsigned slot)
{
	return atomic_load(&ledger->run[slot]);
}

void ledger_set_run(unsigned slot, uint32_t run)
{
	atomic_store(&ledger->run[slot], run);
}

void ledger_set_owed(unsigned slot, unsigned owed, bool dirty)
{
	uint32_t now = owed * 2 + dirty;

	/* To look at a page is to have it: most slots never owe anything. */
	if (now || atomic_load(&ledger->owed[slot]))
		atomic_store(&ledger->owed[slot], now);
}

unsigned ledger_owed(unsigned slot, bool *dirty)
{
	uint32_t now = atomic_load(&ledger->owed[slot]);

	*dirty = now & 1;
	return now / 2;
}

static struct ledger_pool *pool_in_force(struct pool_cell *c)
{
	uint32_t current = atomic_load(&c->current);

	return current == 1 || current == 2 ? &c->copy[current - 1] : NULL;
}

/* The pool's cell, or a free one when there is none and `or_free`. */
static struct pool_cell *pool_cell(const char *name, bool or_free)
{
	struct pool_cell *vacant = NULL;

	for (unsigned i = 0; i < POOLS; i++) {
		struct pool_cell *c = &ledger->pools[i];
		const struct ledger_pool *r = pool_in_force(c);

		if (r && strcmp(r->name, name) == 0)
			return c;
		if (!r && !vacant)
			vacant = c;
		if (!r && !c->copy[0].name[0])
			break; /* never used, nor is any after it */
	}
	return or_free ? vacant : NULL;
}

bool ledger_save_pool(const struct ledger_pool *r)
{
	struct pool_cell *c = pool_cell(r->name, true);
	uint32_t other;

	if (!c)
		return false;
	other = atomic_load(&c->current) == 1;
	c->copy[other] = *r;
	atomic_store(&c->current, other + 1);
	return true;
}

bool ledger_load_pool(const char *name, struct ledger_pool *r)
{
	struct pool_cell *c = pool_cell(name, false);

	if (!c)
		return false;
	*r = *pool_in_force(c);
	return true;
}

void ledger_clear_pool(const char *name)
{
	struct pool_cell *c = pool_cell(name, false);

	if (c)
		atomic_store(&c->current, 0);
}

/* ---- queues ----------------------------------------------------------------------------------- */

static struct ledger_queue *queue_in_force(struct queue_cell *c)
{
	uint32_t current = atomic_load(&c->current);

	return current == 1 || current == 2 ? &c->copy[current - 1] : NULL;
}

/* As pool_cell(). */
static struct queue_cell *queue_cell(const char *name, bool or_free)
{
	struct queue_cell *vacant = NULL;

	for (unsigned i = 0; i < QUEUES; i++) {
		struct queue_cell *c = &ledger->queues[i];
		const struct ledger_queue *r = queue_in_force(c);

		if (r && strcmp(r->name, name) == 0)
			return c;
		if (!r && !vacant)
			vacant = c;
		if (!r && !c->copy[0].name[0])
			break;
	}
	return or_free ? vacant : NULL;
}

bool ledger_save_queue(const struct ledger_queue *r)
{
	struct queue_cell *c = queue_cell(r->name, true);
	uint32_t other;

	if (!c)
		return false;
	other = atomic_load(&c->current) == 1;
	c->copy[other] = *r;
	atomic_store(&c->current, other + 1);
	return true;
}

void ledger_clear_queue(const char *name)
{
	struct queue_cell *c = queue_cell(name, false);

	if (c)
		atomic_store(&c->current, 0);
}

int ledger_queue_at(unsigned i, struct ledger_queue *r)
{
	struct queue_cell *c = i < QUEUES ? &ledger->queues[i] : NULL;
	const struct ledger_queue *in_force = c ? queue_in_force(c) : NULL;

	if (!c || (!in_force && !c->copy[0].name[0]))
		return -1;
	if (in_force)
		*r = *in_force;
	return in_force != NULL;
}

enum ledger_shutdown ledger_shutdown(void)
{
	return atomic_load(&ledger->shutdown);
}

void ledger_set_shutdown(enum ledger_shutdown s)
{
	atomic_store(&ledger->shutdown, s);
}

int64_t ledger_wall_offset(void)
{
	return ledger ? atomic_load(&ledger->wall_offset) : 0;
}

void ledger_set_wall_offset(int64_t usec)
{
	if (ledger)
		atomic_store(&ledger->wall_offset, usec);
}
