/*
 * Workers that have come to own much memory alone are made anew: forked again from their template, they share it
 * once more. Each is measured after `refork-after` tasks, and replaced when its hand is empty. Policy only.
 */
#ifndef CREWD_RECYCLE_H
#define CREWD_RECYCLE_H

#include "daemon/memory.h"

struct runner;

struct recycle {
	struct memory_query query;
	struct memory of;
	uint32_t run; /* which of the slot's processes is being measured */
};

void recycle_after_task(struct runner *r);
void recycle_forget(struct runner *r); /* the runner is about to be gone */

#endif
