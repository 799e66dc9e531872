/*
 * Durable queues: kind "manager" with a journal behind it (journal.h).
 *
 *     a put    is answered when it is on disk, and can be got from then on
 *     a get    takes from memory and waits for no disk. That the item is gone is noted when its answer has been
 *              handed to the client's socket, so whoever kills the manager loses none; a few that were got may
 *              come back (as they may after a power cut)
 *     a lease  changes nothing on disk but the count of deliveries; Done is noted as a get is
 *
 * Where the journal cannot be opened, or has failed, the queue is there all the same: what it cannot do is
 * answered by QUEUE_UNAVAILABLE with the reason; what it has in memory can be got.
 */
#ifndef CREWD_QUEUE_DURABLE_H
#define CREWD_QUEUE_DURABLE_H

#include "daemon/queue.h"

/* `dir`: where the journals are, -1: there is none. `gone` tells that a queue's files are closed, or removed. */
void queue_durable_init(int dir, void (*gone)(void));
/* NULL, or why there can be no durable queue. */
const char *queue_durable_refusal(void);
/* NULL: its journal is open and well. Else why not. */
const char *queue_durable_trouble(const struct queue *q);
/* The files of a queue of that name, which was deleted, are still there. */
bool queue_durable_removing(const char *name);
/* The end of the process, when no queue is left: waits for what is being written, usec at most. False: not all
 * of it is. */
bool queue_durable_wait(int64_t usec);

#endif
