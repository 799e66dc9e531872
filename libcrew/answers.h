/*
 * The answers to tasks, on their way out. Those of quick tasks are written together; but whoever waits for one
 * shall not wait for the next task too, and an answer that is there is not lost by a task that crashes later: the
 * pool would take the wrong one for the guilty. So a thread writes what has been held for a millisecond, and what
 * is held when the process crashes or exits is written then. One for a process.
 */
#ifndef LIBCREW_ANSWERS_H
#define LIBCREW_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

/* Writes to `fd`, which stays the caller's. CREW_INVALID: it has begun already. */
int answers_begin(int fd);
/* A whole answer; with `hold` it may be written a little later. CREW_LOST: nobody reads, CREW_SYSTEM. */
int answers_add(const char *data, size_t len, bool hold);
int answers_flush(void);
/* Writes what is held. */
int answers_end(void);

#endif
