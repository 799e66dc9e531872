/*
 * Cgroups (version 2) for workers, where crewd's own has been delegated to it. All is best effort: where
 * there is none, process groups do. Paths only; names of workers are safe as file names.
 */
#ifndef CREWD_CGROUP_H
#define CREWD_CGROUP_H

/* Moves the caller to CGROUP/crewd and makes CGROUP/workers, whose children account for memory if they may.
 * Returns cgroup.kill of the workers, or -1. */
int cgroup_init(void);
void cgroup_make(const char *worker);
/* The same of another process. */
void cgroup_move(const char *worker, int pid);
void cgroup_enter(const char *worker); /* in the child */
void cgroup_kill(const char *worker);
void cgroup_remove(const char *worker);
/* How many processes of it the kernel has ever killed for lack of memory, as far as it tells. */
unsigned cgroup_oom_kills(const char *worker);
/* The same from the text of a memory.events. */
unsigned cgroup_oom_kills_in(const char *events);

#endif
