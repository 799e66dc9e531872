/* Other processes, for tests: when one sleeps. */
#ifndef CREWD_TESTS_ASLEEP_H
#define CREWD_TESTS_ASLEEP_H

#include <sys/types.h>

/* Until that process sleeps on a word of memory (a futex); fails the test after half a minute. Sleeps itself in
 * between, so that the other one gets on where both have one processor. */
void wait_asleep(pid_t pid);

#endif
