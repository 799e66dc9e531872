/*
 * How much memory workers have and share, as the kernel accounts for it. The keeper's side measures it, which takes
 * as long as it takes: who wants to know asks, and is told later. One question after the other.
 */
#ifndef CREWD_MEMORY_H
#define CREWD_MEMORY_H

#include <stdint.h>
#include "lib/list.h"

struct memory {
	uint32_t slot;
	int64_t rss, pss, uss; /* bytes: resident; each page divided by how many have it; its own alone. -1: not known */
};

struct memory_query {
	struct list link;
	struct memory *of; /* slots in, figures out; the asker's */
	unsigned count;
	void (*done)(struct memory_query *q); /* from the loop, never from inside memory_ask() */
};

void memory_ask(struct memory_query *q);
/* Its answer is not wanted any more; also of one that was never asked, or has been told. */
void memory_forget(struct memory_query *q);
/* For the manager: child_events.measured. */
void memory_on_measured(uint32_t serial);

#endif
