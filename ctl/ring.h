/* A queue in shared memory, put to, got from and joined by libcrew: with waiting, and without the daemon. */
#ifndef CREW_CTL_RING_H
#define CREW_CTL_RING_H

#include "ctl/ctl.h"

/* Each returns an exit code after an error message, or 0. `deadline` as clock_now() counts, INT64_MAX: none. */
int ring_put(const struct ctl *ctl, const char *name, const char *text, size_t len,
	     int64_t deadline);
int ring_get(const struct ctl *ctl, const char *name, void **item, size_t *len, int64_t deadline);
int ring_join(const struct ctl *ctl, const char *name, int64_t deadline);

#endif
