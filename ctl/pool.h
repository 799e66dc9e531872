/* Pools with tasks, as crewctl needs to know them. */
#ifndef CREW_CTL_POOL_H
#define CREW_CTL_POOL_H

#include "ctl/ctl.h"

/* All pools. 0 and *reply to be freed, or the exit code after an error message. */
int pools_get(const struct ctl *ctl, struct message_reply *reply);
/* What the tasks of the pool of that name are: exec, lines, jsonrpc (inside `pools`); NULL: no such pool, or it
 * has no tasks. */
const char *pools_tasks(const struct message_reply *pools, const char *name);
/* The first pool with tasks that the glob matches and that still takes some (inside `pools`); NULL: there is none. */
const char *pools_open(const struct message_reply *pools, const char *glob);
/* Waits as io.crewd.Pool.Join does; `deadline` as clock_now() counts, INT64_MAX: none. Exit code. */
int pool_join(const struct ctl *ctl, const char *name, int64_t deadline);

#endif
