/*
 * The arguments of a task, as the manager handed them over: looked through and copied to memory of the
 * keeper's own before anything relies on them. One task at a time; nothing here allocates.
 */
#ifndef CREWD_HANDED_H
#define CREWD_HANDED_H

#include "daemon/slot.h"

/* Takes in what came with the slot's request, or notes that nothing did; tail: of its packet, NULL once that is
 * gone. 0, or -1 with errno: EMFILE, it got lost on its way; E2BIG; EINVAL. */
int handed_load(const struct slot *s, const struct wire_tail *tail);
/* Puts pointers to the arguments that were loaded behind the first `n` of a vector, which has room for
 * CREW_TASK_ARGS_MAX more. Returns how many there are then. For use between fork and exec as well. */
unsigned handed_append(char **vector, unsigned n);

#endif
