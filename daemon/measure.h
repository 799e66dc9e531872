/*
 * How much memory workers have, measured by a child of the keeper's: it may look into every worker, whoever that runs
 * as, and nobody waits for it.
 */
#ifndef CREWD_MEASURE_H
#define CREWD_MEASURE_H

#include "daemon/wire.h"

/* The request and what came with it; the answer goes to `channel`. */
void measure_begin(int channel, const struct wire *w, const int fds[], unsigned count);

#endif
