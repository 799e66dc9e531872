/*
 * What the keeper holds for managers beside workers: descriptors of memory that has to outlive a manager, by
 * the name it gave them. The keeper never looks into them. A static table; nothing here allocates or waits.
 */
#ifndef CREWD_HELD_H
#define CREWD_HELD_H

#include <stdbool.h>
#include "daemon/wire.h"

/* A WIRE_HOLD and what came with it. What is taken is off the list, *count less. */
void held_take(const struct wire *w, const int fds[], unsigned *count);
/* Tells a manager all that is held, each once. False: it takes no more for now (errno of wire_send()). */
bool held_tell(int channel);
void held_tell_again(void); /* another manager: it knows nothing */

#endif
