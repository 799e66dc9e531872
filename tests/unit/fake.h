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
	/* of the last child_spawn_task(): copies */
	unsigned task_spawns, arg_count;
	char *args, *input;
	size_t args_size, input_size;
	unsigned inputs_closed;
	/* what a manager finds at the hand-over, if has_pipes */
	bool has_pipes;
	int task_in, task_out;
};
extern struct fake_slot fake_slots[CREW_WORKERS_MAX];
extern int fake_spawn_task_error; /* errno of the child_spawn_task() to come, 0: it works */
/* Who hears of pipes: as child_events.pipes, which the daemon gives to child_init(). */
extern void (*fake_on_pipes)(unsigned slot, int in, int out);
extern unsigned fake_shut_down, fake_changes;

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
void fake_exec(struct worker *w);		    /* exec has succeeded */
void fake_pipes(struct worker *w, int in, int out); /* passes on these descriptors */
void fake_exec_fails(struct worker *w, int err);
void fake_exit(struct worker *w, int status);
void fake_killed(struct worker *w, int sig);

/* A block with pools described by a function. */
struct conf *fake_block(uint32_t pools, void (*describe)(struct conf_build *b), size_t *size);

#endif
