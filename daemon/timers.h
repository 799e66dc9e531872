/*
 * The timers that are set, the earliest first: a heap of pointers to where they live. No clock, no system call.
 */
#ifndef CREWD_TIMERS_H
#define CREWD_TIMERS_H

#include "daemon/loop.h"

/* Sets or moves one. 0, or -1 with errno ENOMEM. */
int timers_put(struct loop_timer *t, int64_t when);
void timers_remove(struct loop_timer *t); /* that it is not set is fine */
struct loop_timer *timers_first(void);	  /* NULL: none is set */
/* The first one if it is due, and no longer set; NULL: none is. */
struct loop_timer *timers_take_due(int64_t now);
void timers_forget(void); /* all of them, and the memory */

#endif
