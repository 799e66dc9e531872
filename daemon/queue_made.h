/*
 * Definitions of the durable queues that clients made: they outlive crewd, in a journal of their own. All that is
 * asked for is done later; `news` tells that something has been. (queue_conf.h is who asks.)
 */
#ifndef CREWD_QUEUE_MADE_H
#define CREWD_QUEUE_MADE_H

#include <stdbool.h>
#include <stdint.h>
#include "daemon/ledger.h"

/* `dir`: -1: there is none. Each definition that is found is told by `found`, now or, should another crewd still
 * have the files, later. */
void queue_made_init(int dir, void (*found)(const struct ledger_queue *r), void (*news)(void));
/* NULL, or why no definition can be kept. */
const char *queue_made_trouble(void);
bool queue_made_has(const char *name);		    /* until its end is on disk, too */
bool queue_made_save(const struct ledger_queue *r); /* false: no memory */
void queue_made_drop(const char *name);		    /* of one that is not there: nothing */
bool queue_made_saved(const char *name);	    /* it is on disk */
void queue_made_close(void);
bool queue_made_wait(int64_t usec); /* as queue_durable_wait() */

#endif
