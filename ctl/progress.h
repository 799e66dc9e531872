/* A bar on a terminal's standard error: how much is done, how fast, how long it will take, what failed. */
#ifndef CREW_CTL_PROGRESS_H
#define CREW_CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool on;
	int64_t begun, next; /* us, as clock_now() counts: when it may be drawn again */
	uint64_t total;	     /* bytes of input; 0: not known */
};

struct progress_now {
	uint64_t done, failed; /* tasks */
	uint64_t bytes;	       /* of input, whose tasks are done */
};

/* `input`: a descriptor; if it is a regular file, what is left of it is the total. */
void progress_init(struct progress *p, bool on, int input);
/* Draws, if it is time. */
void progress_draw(struct progress *p, const struct progress_now *now);
/* Takes it off the terminal, so that something else can be written. */
void progress_clear(struct progress *p);
/* How long until it is to be drawn again, for poll(2); -1: never. */
int progress_wait(const struct progress *p);
/* What a signal handler may do: as progress_clear(). */
void progress_clear_in_handler(void);

#endif
