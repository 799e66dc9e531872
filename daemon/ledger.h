/*
 * The manager's own memory that outlives it: a memfd which the keeper holds and never looks into. What the
 * next manager must know and cannot see: states, counts, what users asked for. A record is written beside
 * the one in force and then switched to by one store, so that SIGKILL at any instruction leaves one or
 * the other. Times are CLOCK_MONOTONIC microseconds.
 */
#ifndef CREWD_LEDGER_H
#define CREWD_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "daemon/child.h"
#include "lib/bounds.h"

struct ledger_worker {
	char name[CREW_NAME_MAX + 1], pool[CREW_NAME_MAX + 1];
	uint8_t is_run, state, has_end, off;
	uint8_t fresh, start_again, leaving, unready, failing, forced, signalled, blame;
	uint32_t number, restarts, failures, window_count;
	int64_t window_ran, started, changed, due;
	uint64_t process_hash;
	struct child_end end;
};

struct ledger_pool {
	char name[CREW_NAME_MAX + 1];
	uint8_t wanted, gate; /* gate: enum taskpool_gate */
	int32_t scale;
	uint32_t generation; /* of a template */
};

/* A queue that a client has made, or deleted though the configuration has it. */
struct ledger_queue {
	char name[CREW_NAME_MAX + 1], dead[CREW_NAME_MAX + 1];
	uint8_t kind, durable, deleted; /* kind: enum conf_queue_kind */
	uint32_t maxsize, max_deliveries;
	uint64_t max_bytes;
};

/* Size of the memfd; only touched pages cost memory. */
size_t ledger_size(void);
/* Maps it. fd < 0: memory of its own (unit tests). 0, or -1 with errno. */
int ledger_init(int fd);
void ledger_close(void);

void ledger_save_worker(unsigned slot, const struct ledger_worker *r);
bool ledger_load_worker(unsigned slot, struct ledger_worker *r); /* false: the slot is free */
void ledger_clear_worker(unsigned slot);

/* Run number last given out for a slot: never goes back, not even when the slot is cleared. */
uint32_t ledger_run(unsigned slot);
void ledger_set_run(unsigned slot, uint32_t run);

/* How many tasks the process of a slot was asked as a whole and has not answered; dirty: there may be part of
 * one more in its pipe. */
void ledger_set_owed(unsigned slot, unsigned owed, bool dirty);
unsigned ledger_owed(unsigned slot, bool *dirty);

/* Pools by name; saving the CREW_POOLS_MAX + 1st is refused (false). */
bool ledger_save_pool(const struct ledger_pool *r);
bool ledger_load_pool(const char *name, struct ledger_pool *r);
void ledger_clear_pool(const char *name);

/* Queues by name; saving one when CREW_QUEUES_MAX * 2 are there is refused (false). */
bool ledger_save_queue(const struct ledger_queue *r);
void ledger_clear_queue(const char *name);
/* 1 and the record of cell `i`, from 0 on; 0: that cell is free; -1: so are it and all after it. */
int ledger_queue_at(unsigned i, struct ledger_queue *r);

/* Set while a shutdown is under way: the next manager goes on with it. */
enum ledger_shutdown { LEDGER_NO_SHUTDOWN, LEDGER_SHUTDOWN, LEDGER_SHUTDOWN_JOIN };
enum ledger_shutdown ledger_shutdown(void);
void ledger_set_shutdown(enum ledger_shutdown s);

/* Between the wall clock and CLOCK_MONOTONIC, as it was read last; 0: not yet, or there is no ledger. */
int64_t ledger_wall_offset(void);
void ledger_set_wall_offset(int64_t usec);

#endif
