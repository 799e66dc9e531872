/*
 * One slot of the keeper's table: a worker's process, and the descriptors that the keeper holds for it as
 * long as the worker lives and until its end is acknowledged. Plain data in memory that fork does not
 * copy; nothing here allocates or waits.
 *
 *                      no tasks              lines, jsonrpc        exec
 *   standard input     /dev/null             a pipe: task_in       the task's input, or /dev/null
 *   standard output    a pipe: log           a pipe: task_out      a pipe: task_out
 *   standard error     the same              a pipe: log           a pipe: log
 *
 * One that is forked from a template has a socket for its status pipe: see template.h.
 *
 * The ends named here are the keeper's. It passes them on to each manager and never uses them itself.
 */
#ifndef CREWD_SLOT_H
#define CREWD_SLOT_H

#include <stdbool.h>
#include "daemon/conf.h"
#include "daemon/wire.h"

struct slot {
	struct wire_child told; /* what the manager is told; slot, run, state, pid, ... */
	int log;		/* read end of its output, -1: none */
	int task_in, task_out;	/* see above, -1: none */
	int block;		/* block of a `run` worker, -1: none */
	int status;		/* its status pipe until exec is done, -1: none */
	/* The child's own ends, until it has them; -1: it has, or gets none. */
	int log_in, status_in, child_in, child_out, child_ask;
	/* What came with the request, until it is forked. */
	uint32_t with;	    /* enum wire_with */
	uint32_t arg_count; /* strings in args */
	int args, input;    /* -1: none */
	bool input_over;    /* the manager has closed its standard input */
	bool dirty;	    /* has news */
	uint32_t pool;	    /* what it is to run: index in the configuration in force */
	/* Of one that is forked from a template, until it is there: which, and the pid that says it is it. */
	uint32_t from, from_run;
	pid_t claims;
	/* Of a template: template.c's. */
	int ask; /* the keeper's end of its channel, -1: none, or no more */
	struct {
		bool under_way; /* it was asked for a fork, and has not answered */
		uint32_t id, slot, run;
	} asked;
	bool wanted;		    /* there may be more to ask for */
	uint32_t cursor;	    /* ... from this slot on */
	char of[CREW_NAME_MAX + 1]; /* the pool that its process was started for */
	unsigned oom_kills; /* in its cgroup, when last looked at */
	bool fds_told;	    /* its descriptors have been passed to this manager */
	bool may_begin;	    /* forked from a template: it begins when the manager has been told of it */
	int next_dirty;
	bool held; /* that it is there is told a little later, see table_began() */
	int next_held;
	int next_pid; /* chain of the pid's bucket, -1: last */
	char name[CREW_NAME_MAX + 1];
};

void slot_init(struct slot *s);
/* The pipes for a child, and its standard input; one that borrows the keeper's memory needs none for its status. 0,
 * or -1 with errno and nothing made. */
int slot_make_pipes(struct slot *s, enum conf_tasks tasks, bool status);
/* The channel of a template, whose other end goes to the child. The same. */
int slot_make_ask(struct slot *s);
/* The pipes of tasks are given to the worker's user, who may want to open /dev/stdout. 0 or -1. */
int slot_give_pipes(const struct slot *s, uid_t uid, gid_t gid);
void slot_unshared(struct slot *s);   /* the child has its ends */
void slot_drop_pipes(struct slot *s); /* there is no child after all; keeps errno */
/* What came with WIRE_SPAWN. The descriptors are the callee's, also those that are of no use. */
void slot_take_request(struct slot *s, const struct wire_spawn *q, const int fds[], unsigned count);
/* The tail of its packet, kept until its turn comes: as memory of its own, as if it had been too long for one. */
void slot_keep_tail(struct slot *s, const struct wire_tail *tail);
void slot_drop_request(struct slot *s); /* what came with the request is not needed any more */
void slot_close_input(
	struct slot *s);	 /* for good; one that is still to be forked has none either */
void slot_clear(struct slot *s); /* all but the block: its last process is over */
/* Those to be passed to the manager, in the order of enum wire_child_fd. Returns how many; *which: which. */
unsigned slot_fds(const struct slot *s, int fds[WIRE_FDS_MAX], uint32_t *which);

/* Tells a manager, with the descriptors unless it has them. 0, or -1 with errno. */
int slot_tell(struct slot *s, int link);

/* Descriptors below it are copied for a child, those above are not: to copy and close again what a keeper
 * of 10,000 workers holds costs a child more than all the rest. */
#define SLOT_LOW 1024
/* Moves a descriptor to where children do not copy it, if there is room; returns it. -1 stays -1. */
int slot_put_away(int fd);

#endif
