/* A fake keeper and a virtual clock, for the tests of policy: nothing is forked, nothing waits. */
#ifndef TEST_FAKE_H
#define TEST_FAKE_H

#include <stdbool.h>
#include <stdint.h>
#include "daemon/child.h"
#include "daemon/conf_build.h"
#include "daemon/crew.h"

struct fake_slot {
	unsigned spawns, forgets;
	int last_signal;
	bool last_all;
	unsigned signals;
	bool alive;
	pid_t pid;
	uint32_t run;
	struct child_end end;	/* of a process that ended while there was no manager */
	bool pipes;		/* of one that has tasks: they have been handed over */
	unsigned inputs_closed; /* child_close_input() */
	int from; /* the slot of the template it was to be forked from; of child_fork() */
	/* of the last process for one task */
	uint32_t task_pool;
	unsigned task_args;
	char args[128], input[128]; /* each argument ended by a blank */
};
extern struct fake_slot fake_slots[CREW_WORKERS_MAX];
extern unsigned fake_shut_down, fake_changes;
extern int fake_task_errno; /* child_spawn_task() fails with it; 0: it does not */
/* A question about memory that has been asked: answers it. False: none has. */
bool fake_memory(int64_t uss);
/* What tasks have told. */
extern unsigned fake_task_changes, fake_awaited_ended, fake_rooms, fake_drained;

/* Forgets everything: virtual time zero, no pools, fresh ledger. */
void fake_reset(void);
/* Runs what is due now (tasks until none is left), without moving the clock. */
void fake_turn(void);
/* Moves the clock, running timers in order. */
void fake_advance(int64_t usec);

/* Timers and tasks of the manager end with it; the keeper's processes and the ledger stay. */
void fake_manager_dies(void);
/* Starts the crew on a finished block (freed here). */
void fake_crew(struct conf *block, size_t size);
/* What reload would read next; -1 from child_read_config is not faked. NULL: a bad file. */
void fake_next_config(struct conf *block, size_t size);

/* The keeper's answers. */
void fake_exec(struct worker *w); /* exec has succeeded; with its pipes if it has tasks */
void fake_exec_fails(struct worker *w, int err);
void fake_exit(struct worker *w, int status);
void fake_killed(struct worker *w, int sig);
void fake_killed_unseen(struct worker *w, int sig); /* the next manager finds it so */

/* A block with pools described by a function. */
struct conf *fake_block(uint32_t pools, void (*describe)(struct conf_build *b), size_t *size);

#endif
