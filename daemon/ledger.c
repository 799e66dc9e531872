#include "daemon/ledger.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define POOLS  (CREW_POOLS_MAX * 2)  /* those that leave may still be there when others come */
#define QUEUES (CREW_QUEUES_MAX * 2) /* those that were made, and those that were deleted */

struct pool_cell {
	_Atomic uint32_t current;
	struct ledger_pool copy[2];
};

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

/* ---- records by name: pools and queues --------------------------------------------------------- */

/* Cells alike but for their record, which begins with its name: where they are, and what a cell looks like. */
struct cells {
	char *at;
	unsigned count;
	size_t size, copy, record; /* of a cell; where its first copy lies; of a copy */
};

static struct cells pool_cells(void)
{
	return (struct cells){ .at = (char *)ledger->pools,
			       .count = POOLS,
			       .size = sizeof(struct pool_cell),
			       .copy = offsetof(struct pool_cell, copy),
			       .record = sizeof(struct ledger_pool) };
}

static struct cells queue_cells(void)
{
	return (struct cells){ .at = (char *)ledger->queues,
			       .count = QUEUES,
			       .size = sizeof(struct queue_cell),
			       .copy = offsetof(struct queue_cell, copy),
			       .record = sizeof(struct ledger_queue) };
}

_Static_assert(offsetof(struct ledger_pool, name) == 0, "a record begins with its name");
_Static_assert(offsetof(struct ledger_queue, name) == 0, "a record begins with its name");

static _Atomic uint32_t *current_of(struct cells all, unsigned i)
{
	return (_Atomic uint32_t *)(void *)(all.at + i * all.size);
}

static char *copy_of(struct cells all, unsigned i, uint32_t which)
{
	return all.at + i * all.size + all.copy + which * all.record;
}

/* NULL: the cell is free. */
static char *in_force(struct cells all, unsigned i)
{
	uint32_t current = atomic_load(current_of(all, i));

	return current == 1 || current == 2 ? copy_of(all, i, current - 1) : NULL;
}

/* Nor is any cell after it. */
static bool was_never_used(struct cells all, unsigned i)
{
	return !in_force(all, i) && !copy_of(all, i, 0)[0];
}

/* The index of the name's cell, or of a free one when there is none and `or_free`; -1: there is none. */
static int find_cell(struct cells all, const char *name, bool or_free)
{
	int vacant = -1;

	for (unsigned i = 0; i < all.count; i++) {
		const char *r = in_force(all, i);

		if (r && strcmp(r, name) == 0)
			return (int)i;
		if (!r && vacant < 0)
			vacant = (int)i;
		if (was_never_used(all, i))
			break;
	}
	return or_free ? vacant : -1;
}

static bool save(struct cells all, const char *record)
{
	int i = find_cell(all, record, true);
	uint32_t other;

	if (i < 0)
		return false;
	other = atomic_load(current_of(all, (unsigned)i)) == 1;
	memcpy(copy_of(all, (unsigned)i, other), record, all.record);
	atomic_store(current_of(all, (unsigned)i), other + 1);
	return true;
}

static void clear(struct cells all, const char *name)
{
	int i = find_cell(all, name, false);

	if (i >= 0)
		atomic_store(current_of(all, (unsigned)i), 0);
}

bool ledger_save_pool(const struct ledger_pool *r)
{
	return save(pool_cells(), (const char *)r);
}

bool ledger_load_pool(const char *name, struct ledger_pool *r)
{
	struct cells all = pool_cells();
	int i = find_cell(all, name, false);

	if (i < 0)
		return false;
	memcpy(r, in_force(all, (unsigned)i), all.record);
	return true;
}

void ledger_clear_pool(const char *name)
{
	clear(pool_cells(), name);
}

bool ledger_save_queue(const struct ledger_queue *r)
{
	return save(queue_cells(), (const char *)r);
}

void ledger_clear_queue(const char *name)
{
	clear(queue_cells(), name);
}

int ledger_queue_at(unsigned i, struct ledger_queue *r)
{
	struct cells all = queue_cells();
	const char *found;

	if (i >= all.count || was_never_used(all, i))
		return -1;
	found = in_force(all, i);
	if (found)
		memcpy(r, found, all.record);
	return found != NULL;
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
