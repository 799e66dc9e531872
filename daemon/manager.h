/*
 * The manager: has the control socket and all policy. Puts the rooms together; decides nothing
 * itself.
 */
#ifndef CREWD_MANAGER_H
#define CREWD_MANAGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct manager_info {
	pid_t keeper;	      /* the PID that was started */
	int64_t started;      /* of the keeper, CLOCK_MONOTONIC microseconds */
	unsigned incarnation; /* 1: the first manager of this keeper */
	bool root;	      /* crewd was started by root */
	bool journal;	      /* standard error is the journal */
	uid_t uid;	      /* crewd's own */
};

/* Valid after start, never changes. */
const struct manager_info *manager_info(void);

/* `crewd --internal=manager`, the channel to the keeper on fd 3. Returns the exit code. */
int manager_main(void);

#endif
