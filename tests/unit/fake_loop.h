/* loop.h on poll(2) and a virtual clock: a turn happens when the test says so. */
#ifndef TEST_FAKE_LOOP_H
#define TEST_FAKE_LOOP_H

#include <stdint.h>

/* What is readable and writable now, timers that are due, tasks until none is left. */
void fake_loop_turn(void);
void fake_loop_advance(int64_t usec);

#endif
