/*
 * From fork to exec. Everything between them is done with async-signal-safe calls in the child's own
 * copy of memory; what fails there comes back as {step, errno} through the status pipe, and end of file
 * there means that exec has succeeded.
 */
#ifndef CREWD_SPAWN_H
#define CREWD_SPAWN_H

#include <stdbool.h>
#include <sys/resource.h>
#include "daemon/conf.h"
#include "daemon/keeper/table.h"

/* What every worker gets; set once at start. */
struct spawn_setup {
	bool root;
	pid_t keeper;
	struct rlimit nofile; /* as crewd was started with */
	uid_t manager_uid;    /* whom the pipes are given to, so that it may open them again */
	gid_t manager_gid;
	int null;	    /* /dev/null */
	const char *notify; /* NOTIFY_SOCKET of workers that use it */
	const struct conf *const *conf; /* the configuration in force */
	const int *link;		/* to the manager, -1: none */
	void (*watch)(int fd, uint32_t events, uint64_t what, bool is_new); /* the keeper's */
};
extern struct spawn_setup spawn_setup;

struct spawn_failure {
	int step, err; /* enum wire_step, errno */
};

/* Forks a child for the slot (name set): pool `pool` of `conf`, or the slot's own block; with what came with
 * the request if it is for a task, of which the packet's tail, if that is still there, is given here. Sets the slot's pipes and the table's pid. Returns 0, or -1 with *f. The
 * child shares the keeper's descriptors until a byte comes through the status pipe; then slot_unshared() is
 * to be called. One without a status pipe is past its exec, or failed and about to end: that is in `told`. */
int spawn_worker(struct slot *s, const struct conf *conf, uint32_t pool,
		 const struct wire_tail *tail, struct spawn_failure *f);
/* All of that but the fork: the pipes and what came with the request. The same. */
int spawn_prepare(struct slot *s, const struct conf *conf, uint32_t pool,
		  const struct wire_tail *tail, struct spawn_failure *f);
/* What was ignored when crewd was started is not: no worker inherits that. */
void spawn_unignore_signals(void);
/* Another main of this binary: fd[i] becomes descriptor 3 + i. `as`: whom to become, NULL: as we are.
 * Returns the pid, or -1 with errno. */
pid_t spawn_self(const char *const *argv, const int *fds, unsigned count,
		 const struct conf_identity *as);
/* A child that opens the file and says WIRE_LOG on `channel`. */
pid_t spawn_opener(int channel, const char *path, const struct wire *answer);
/* Forks a child that has nothing of the keeper's but its memory and these two descriptors; 0 in the child. It runs
 * what may take its time, and ends by _exit(2). */
pid_t spawn_aside(int a, int b);

#endif
