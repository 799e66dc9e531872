/*
 * The keeper's talk with templates: processes that workers are forked from. What is said, and in which order, is
 * crewd-template(7).
 *
 * A template is asked for one worker at a time, and nothing here ever waits for it: one that hangs keeps only
 * those waiting that are to be forked from it, and the manager decides for how long. Which process the new worker
 * is, the kernel says: it speaks up through a socket that carries its pid, and is let go only after it has been
 * seen to be the keeper's own child. Nothing a template says is believed.
 *
 * A worker in line is STARTING and has no pid. Then it has one, waits until the manager has been told of it, and is
 * RUNNING; or it is GONE and has none. Nothing here allocates.
 */
#ifndef CREWD_TEMPLATE_H
#define CREWD_TEMPLATE_H

#include <stdbool.h>
#include "daemon/slot.h"

#define TEMPLATE_WATCH UINT64_C(0x400000000) /* with its slot: what the keeper's loop knows its channel by */

/* The slot waits to be asked for: state STARTING, no pid. If its template is not there, it is GONE. */
void template_want(struct slot *s);
/* Something is to be read from the template. One that says what it must not is ended; what becomes of it, and of who
 * waits, is the manager's to say. */
void template_io(struct slot *t);
/* Something is to be read from the worker that was asked for. */
void template_heard(struct slot *s);
/* The manager has been told of it (slot's may_begin), or it has died: it waits no longer. */
void template_begin(struct slot *s);
/* A child that nobody knows has ended: is it one that a template has made? Then it is in the table. */
struct slot *template_find(pid_t pid);
/* It is about to be gone, with all that was asked of it. */
void template_end(struct slot *t);

#endif
