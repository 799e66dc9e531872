/* Who waits to be forked: slots that are STARTING and have no process yet. Nothing here allocates. */
#ifndef CREWD_LINE_H
#define CREWD_LINE_H

#include <stdbool.h>
#include "daemon/slot.h"

bool line_is_full(void); /* as many wait as there may be workers */
/* At the end of the line, as the run that the slot is in; it is not full. */
void line_put(const struct slot *s);
/* The first that still waits for that run, out of the line; NULL: nobody does. */
struct slot *line_take(void);
void line_clear(void);
/* One that waits, in line or for a template, is not to be started any more, and GONE; or it cannot be: `step` is of
 * enum wire_step. */
void line_drop(struct slot *s);
void line_fail(struct slot *s, int step, int err);
/* Another configuration comes into force: what each that waits is to run has another index there; one that is in
 * none any more: UINT32_MAX - 1. Those who wait for a template, too. */
void line_renumber(const struct conf *now, const struct conf *next);

#endif
