/* The loop itself, with the kernel's clock: which timer is next, whatever is set, moved and taken off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/loop.h"
#include "lib/clock.h"

#define MANY 1000

static struct loop_timer timers[MANY];
static unsigned fired;
static int64_t last;

static void begin(void)
{
	assert_int_equal(loop_init(), 0);
	fired = 0;
	last = INT64_MIN;
}

static void on_timer(void *arg)
{
	struct loop_timer *t = arg;

	assert_false(t->armed);
	assert_true(t->when >= last);
	assert_true(t->when <= clock_now());
	last = t->when;
	fired++;
}

static void on_last(void *arg)
{
	on_timer(arg);
	loop_stop();
}

static void timers_go_off_in_their_order(void **state)
{
	int64_t base = clock_now();
	unsigned off = 0;

	(void)state;
	begin();
	srand(1);
	for (int i = 0; i < MANY; i++) {
		timers[i] = (struct loop_timer){ .fn = on_timer, .arg = &timers[i] };
		loop_timer_at(&timers[i], base + rand() % 20000);
	}
	for (int i = 0; i < MANY; i += 3)
		loop_timer_at(&timers[i], base + rand() % 20000);
	for (int i = 0; i < MANY; i += 7, off++)
		loop_timer_off(&timers[i]);
	timers[1].fn = on_last;
	loop_timer_at(&timers[1], base + 20001);
	loop_run();
	assert_int_equal(fired, MANY - off);
	for (int i = 0; i < MANY; i++)
		assert_false(timers[i].armed);
	loop_close();
}

static unsigned turns, again;

static void count_turn(void *arg)
{
	struct loop_task *t = arg;

	turns++;
	loop_defer(t);
}

static void set_again(void *arg)
{
	struct loop_timer *t = arg;

	if (++again == 5)
		loop_stop();
	else
		loop_timer_at(t, 0);
}

static void one_in_the_past_is_for_the_next_turn(void **state)
{
	struct loop_timer t = { .fn = set_again, .arg = &t };
	struct loop_task task = { .fn = count_turn, .arg = &task };

	(void)state;
	begin();
	turns = again = 0;
	loop_defer(&task);
	loop_timer_at(&t, 0);
	loop_run();
	assert_int_equal(again, 5);
	assert_true(turns >= 5);
	loop_undefer(&task);
	loop_close();
}

static int ends[2];
static unsigned heard;

/* Answers itself at once, so that the loop stays awake; then says no more. */
static void on_byte(int fd, unsigned events, void *arg)
{
	char c;

	(void)arg;
	assert_int_equal(events, LOOP_READ);
	assert_int_equal(read(fd, &c, 1), 1);
	if (++heard < MANY)
		assert_int_equal(write(ends[1], "x", 1), 1);
}

static void it_sleeps_again_when_nothing_comes(void **state)
{
	struct loop_timer t = { .fn = on_last, .arg = &t };
	struct loop_io *io;
	int64_t used;

	(void)state;
	begin();
	heard = 0;
	assert_int_equal(pipe(ends), 0);
	io = loop_io_new(ends[0], LOOP_READ, on_byte, NULL);
	assert_non_null(io);
	assert_int_equal(write(ends[1], "x", 1), 1);
	loop_timer_at(&t, clock_now() + USEC_PER_SEC / 2);
	loop_run();
	assert_int_equal(heard, MANY);
	/* what the processor was used for, not what time has passed */
	used = (int64_t)clock() * USEC_PER_SEC / CLOCKS_PER_SEC;
	assert_true(used < USEC_PER_SEC / 4);
	loop_io_free(io);
	close(ends[0]);
	close(ends[1]);
	loop_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_go_off_in_their_order),
		cmocka_unit_test(one_in_the_past_is_for_the_next_turn),
		cmocka_unit_test(it_sleeps_again_when_nothing_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
