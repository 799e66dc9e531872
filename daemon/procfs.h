/* What /proc tells of one process, read without waiting. */
#ifndef CREWD_PROCFS_H
#define CREWD_PROCFS_H

#include <sys/types.h>

/* How many threads it has; -1: not known. */
int procfs_threads(pid_t pid);

#endif
