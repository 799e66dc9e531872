/* Time. Every interval is measured with CLOCK_MONOTONIC; wall-clock time is only ever shown. */
#ifndef CREW_CLOCK_H
#define CREW_CLOCK_H

#include <stdint.h>
#include <time.h>

#define USEC_PER_SEC  INT64_C(1000000)
#define USEC_PER_MSEC INT64_C(1000)

/* Microseconds since an arbitrary point (boot), never going back. */
static inline int64_t clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

/* Microseconds since 1970, as the machine's clock has it now; may jump. */
static inline int64_t clock_wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

#endif
