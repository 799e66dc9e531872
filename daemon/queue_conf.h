/*
 * Where queues come from: the configuration, and clients who made them. What clients did is kept in the ledger,
 * so that the next manager knows the same queues. Pools of a configuration are crew.h's business.
 */
#ifndef CREWD_QUEUE_CONF_H
#define CREWD_QUEUE_CONF_H

#include "daemon/conf.h"
#include "daemon/queue.h"

/* At the start: those of the configuration, those that the ledger knows, and the durable ones that clients made.
 * `dir`: state-dir, -1: none. `changed`: queue_conf_created() or queue_conf_gone() may say something else. 0, or
 * -1: no memory. */
int queue_conf_init(const struct conf *conf, int dir, void (*changed)(void));
/* At the end: all queues are forgotten, and then what is durable is waited for. False: it is not all written. */
void queue_conf_end(void);
bool queue_conf_wait(int64_t usec);

/* A reload: all that may fail comes first, and may be taken back. False: no memory. */
bool queue_conf_prepare(const struct conf *now);
void queue_conf_unprepare(void);
/* Cannot fail. A queue that is not in the file any more leaves; one that a client deleted is back, and one that
 * a client made is the configuration's if it is there now. */
void queue_conf_commit(const struct conf *now);

/* What a client asks for. */
enum queue_error queue_conf_create(const char *name, enum conf_queue_kind kind,
				   const struct queue_settings *set);
void queue_conf_delete(struct queue *q);
/* Of a durable one that a client made: it will be there after a restart; of one that was deleted: its files are
 * gone. */
bool queue_conf_created(const char *name);
bool queue_conf_gone(const char *name);
/* NULL, or why one that was deleted will be back after a restart. */
const char *queue_conf_undeletable(const char *name);
/* NULL, or why a durable one cannot be kept. */
const char *queue_conf_trouble(const struct queue *q);

#endif
