/*
 * The keeper's table of children: one slot a worker, in memory that fork does not copy. Plain data; the
 * list of slots whose news the manager has not been told is kept by index.
 */
#ifndef CREWD_TABLE_H
#define CREWD_TABLE_H

#include <stdbool.h>
#include "daemon/slot.h"

int table_init(void);			      /* 0, or -1 with errno */
struct slot *table_slot(unsigned slot);	      /* NULL: out of range */
struct slot *table_pid(pid_t pid);	      /* the living child with that pid, or NULL */
void table_forked(struct slot *s, pid_t pid); /* from now on found by pid */
void table_reaped(struct slot *s);
bool table_is_alive(const struct slot *s);
unsigned table_alive(void); /* processes */
unsigned table_used(void);  /* slots in use are all below it */

void table_mark(struct slot *s); /* has news */
struct slot *table_news(void);	 /* the first with news, or NULL */
void table_told(struct slot *s); /* the first one's news has been told */
void table_mark_all(void);	 /* another manager: all that are not free, descriptors too */
/* It has been forked, or is past its exec: that is news. But most tasks of exec end within a millisecond or two,
 * and to tell begin and end at once takes half the work: theirs is held back until table_release(). */
void table_began(struct slot *s);
bool table_holds(void);
void table_release(int64_t until); /* of those that were started until then and are still there */

#endif
