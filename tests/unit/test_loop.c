/* The loop itself: its timers, against a plain list of them and against the clock, and what it watches. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/loop.h"
#include "daemon/timers.h"
#include "lib/clock.h"

/* ---- the heap --------------------------------------------------------------------------------- */

enum { MANY = 300, STEPS = 20000 };

static struct loop_timer *earliest(struct loop_timer *timers)
{
	struct loop_timer *first = NULL;

	for (unsigned i = 0; i < MANY; i++)
		if (timers[i].armed && (!first || timers[i].when < first->when))
			first = &timers[i];
	return first;
}

static void test_heap(void **state)
{
	static struct loop_timer timers[MANY];

	(void)state;
	srandom(7);
	for (unsigned i = 0; i < STEPS; i++) {
		struct loop_timer *t = &timers[(unsigned)random() % MANY], *first;
		long what = random() % 8;

		if (what < 5)
			assert_int_equal(timers_put(t, random() % 100), 0);
		else if (what < 7)
			timers_remove(t);
		else if ((t = timers_take_due(random() % 50)))
			assert_false(t->armed);
		first = earliest(timers);
		if (first)
			assert_int_equal(timers_first()->when, first->when);
		else
			assert_null(timers_first());
	}
	for (int64_t last = 0; timers_first();) {
		struct loop_timer *t = timers_take_due(100);

		assert_true(t && t->when >= last);
		last = t->when;
	}
	assert_null(earliest(timers));
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(timers_put(&timers[i], i), 0);
	timers_forget();
	assert_null(timers_first());
	assert_null(earliest(timers));
}

/* ---- the loop --------------------------------------------------------------------------------- */

static int begin(void **state)
{
	(void)state;
	return loop_init();
}

static int end(void **state)
{
	(void)state;
	loop_close();
	return 0;
}

static char told[64];

static void tell(void *arg)
{
	strcat(told, arg);
	if (strcmp(arg, ".") == 0)
		loop_stop();
}

static struct loop_timer timer(const char *name)
{
	return (struct loop_timer){ .fn = tell, .arg = (void *)(uintptr_t)name };
}

static void test_timers_in_order(void **state)
{
	struct loop_timer a = timer("a"), b = timer("b"), c = timer("c"), stop = timer(".");
	int64_t now = clock_now();

	(void)state;
	told[0] = '\0';
	loop_timer_at(&stop, now + 30000);
	loop_timer_at(&b, now + 20000);
	loop_timer_at(&a, now + 10000);
	loop_timer_at(&c, now + 5000);
	loop_timer_off(&c);
	assert_true(a.armed && !c.armed);
	loop_run();
	assert_string_equal(told, "ab.");
	assert_true(clock_now() >= now + 30000);
	assert_false(a.armed || b.armed || stop.armed);
	/* moved to be later: the kernel rings for nobody, and then in time */
	told[0] = '\0';
	now = clock_now();
	loop_timer_at(&a, now + 5000);
	loop_timer_at(&stop, now + 10000);
	loop_timer_at(&a, now + 8000);
	loop_run();
	assert_string_equal(told, "a.");
}

static struct loop_timer again, other;
static unsigned rung;

static void ring(void *arg)
{
	(void)arg;
	loop_timer_at(&again, 0); /* long past */
	if (++rung == 3)
		loop_stop();
}

static void count_turn(void *arg)
{
	unsigned *turns = arg;

	(*turns)++;
}

/* What is set for the past is for the next turn: a timer that does so does not keep the loop. */
static void test_past_is_next_turn(void **state)
{
	unsigned turns = 0;
	struct loop_task task = { .fn = count_turn, .arg = &turns };

	(void)state;
	rung = 0;
	again.fn = ring;
	loop_timer_at(&again, 1);
	loop_defer(&task);
	loop_run();
	assert_int_equal(rung, 3);
	assert_int_equal(turns, 1);
	loop_timer_off(&again);
}

static void stop_other(void *arg)
{
	(void)arg;
	loop_timer_off(&other);
	loop_stop();
}

/* One may stop another that is due as well. */
static void test_stopped_by_another(void **state)
{
	struct loop_timer first = { .fn = stop_other };

	(void)state;
	told[0] = '\0';
	other = timer("never");
	loop_timer_at(&first, 1);
	loop_timer_at(&other, 2);
	loop_run();
	assert_string_equal(told, "");
}

/* ---- what it watches -------------------------------------------------------------------------- */

static unsigned heard;

static void on_io(int fd, unsigned events, void *arg)
{
	char byte;

	(void)arg;
	assert_int_equal(events, LOOP_READ);
	assert_int_equal(read(fd, &byte, 1), 1);
	heard++;
	loop_stop();
}

static void test_watched_later(void **state)
{
	struct loop_io *io, *quick;
	int p[2];

	(void)state;
	heard = 0;
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(write(p[1], "abc", 3), 3);
	io = loop_io_new(p[0], LOOP_READ, on_io, NULL);
	loop_run();
	loop_run();
	assert_int_equal(heard, 2);
	/* one that comes and goes in a turn is not seen, and neither is the descriptor after it */
	quick = loop_io_new(p[1], LOOP_READ | LOOP_WRITE, on_io, NULL);
	loop_io_free(quick);
	loop_io_set(io, 0);
	loop_io_set(io, LOOP_READ);
	loop_run();
	assert_int_equal(heard, 3);
	loop_io_free(io);
	close(p[0]);
	close(p[1]);
}

/* Where it cannot be watched it is tried again, and all else goes on. */
static void test_cannot_be_watched(void **state)
{
	struct loop_timer stop = timer(".");
	struct loop_io *io, *fine;
	int p[2], fd = memfd_create("test", MFD_CLOEXEC); /* which epoll refuses */

	(void)state;
	told[0] = '\0';
	io = loop_io_new(fd, LOOP_READ, on_io, NULL);
	assert_non_null(io);
	loop_timer_at(&stop, clock_now() + 250000);
	loop_run();
	assert_string_equal(told, ".");
	heard = 0;
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(write(p[1], "a", 1), 1);
	loop_io_set(io, 0);
	loop_io_set(io, LOOP_READ);
	fine = loop_io_new(p[0], LOOP_READ, on_io, NULL);
	loop_run();
	assert_int_equal(heard, 1);
	loop_io_free(fine);
	loop_io_free(io);
	close(p[0]);
	close(p[1]);
	close(fd);
}

#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heap),
		IN_LOOP(test_timers_in_order),
		IN_LOOP(test_past_is_next_turn),
		IN_LOOP(test_stopped_by_another),
		IN_LOOP(test_watched_later),
		IN_LOOP(test_cannot_be_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
