/*
 * What the manager gives the keeper to hold, so that it outlives the manager: descriptors of memory, by name.
 * The next manager is handed all of it before anything else, and takes back what it has a use for.
 *
 * Who is told what comes to the keeper in order, and what it was sent it reads even when the manager is dead by
 * then. So what keep_waits() does not count any more is safe.
 */
#ifndef CREWD_KEEP_H
#define CREWD_KEEP_H

#include <stdbool.h>

/* For child.c: how the keeper is told (fd -1: to let go; copied otherwise), whether something is still on its way,
 * and what it has said that it holds (fd is the callee's). Without the first two nothing is told: unit tests. */
void keep_init(void (*send)(unsigned cell, const char *name, int fd), bool (*waits)(void));
void keep_found(unsigned cell, const char *name, int fd);

/* What the manager before gave under that name, the caller's; *cell is then where it is held. -1: nothing. */
int keep_take(const char *name, unsigned *cell);
/* The keeper is to hold it; fd stays the caller's. False: as much is held as may be. */
bool keep_put(const char *name, int fd, unsigned *cell);
void keep_drop(unsigned cell);
/* Whether some of what was put may still be unknown to the keeper. */
bool keep_waits(void);
/* What was found under that name is not wanted. */
void keep_forget(const char *name);
/* The name of something found that nobody has taken; NULL: all has been. */
const char *keep_left(void);

#endif
