/*
 * The manager's event loop: descriptors, timers, and "at the end of this turn". loop.c is the only
 * file that knows libevent. One loop a process. Unit tests of policy link another loop.c with a
 * virtual clock instead.
 */
#ifndef CREWD_LOOP_H
#define CREWD_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/list.h"

#define LOOP_READ  1u
#define LOOP_WRITE 2u

int loop_init(void); /* 0, or -1 with errno */
void loop_run(void); /* until loop_stop(); may be run again then */
void loop_stop(void);
void loop_close(void);

/* The loop's clock (clock_now() of this turn's begin; monotonic). */
int64_t loop_now(void);

/* A descriptor being watched: from the end of this turn on, so that one which is done with before that costs
 * nothing. Owned by the caller until loop_io_free(), which is allowed inside fn. */
struct loop_io;
typedef void loop_io_fn(int fd, unsigned events, void *arg);
struct loop_io *loop_io_new(int fd, unsigned events, loop_io_fn *fn, void *arg); /* NULL: ENOMEM */
/* Another choice, as above; what is watched no more is not from now on. 0: nothing. Cheap if unchanged. */
void loop_io_set(struct loop_io *io, unsigned events);
void loop_io_free(struct loop_io *io); /* NULL is fine; does not close fd */

/* A timer lives inside its owner, zero-initialised with fn and arg set. One shot. */
struct loop_timer {
	void (*fn)(void *arg);
	void *arg;
	bool armed;
	int64_t when;	/* these two are the loop's */
	unsigned place;
};
void loop_timer_at(struct loop_timer *t, int64_t when); /* sets or moves; past: next turn */
void loop_timer_off(struct loop_timer *t);

/* Runs once at the end of this turn; asking again before that changes nothing. */
struct loop_task {
	struct list link;
	void (*fn)(void *arg);
	void *arg;
};
void loop_defer(struct loop_task *t);
void loop_undefer(struct loop_task *t);

#endif
