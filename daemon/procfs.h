/* What /proc tells of one process. */
#ifndef CREWD_PROCFS_H
#define CREWD_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How many threads it has; -1: not known. Read without waiting. */
int procfs_threads(pid_t pid);

/* Resident memory in bytes; -1: not known. Read without waiting. */
int64_t procfs_resident(pid_t pid);

/* Resident memory in bytes: all of it; each page divided by how many have it; what it has alone. */
struct procfs_memory {
	int64_t rss, pss, uss;
};
/* Takes the longer the more there is, and waits for the process's own memory calls. */
bool procfs_memory(pid_t pid, struct procfs_memory *m);

#endif
