/* What workers say by their notify socket, and when it counts. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/child.h"
#include "daemon/crew.h"
#include "daemon/notify.h"
#include "lib/clock.h"
#include "tests/unit/fake_loop.h"

static struct conf_pool def;
static struct pool pool = { .def = &def };
static struct worker one = { .pool = &pool };
static unsigned refused;
static bool known; /* the manager has heard of the process */
static unsigned readies, watchdogs;
static int mine; /* end of the socket */

struct worker *crew_pid(pid_t pid)
{
	return known && pid == getpid() ? &one : NULL;
}

void child_catch_up(void)
{
}

void worker_on_ready(struct worker *w)
{
	assert_ptr_equal(w, &one);
	readies++;
}

void worker_refuse(struct worker *w, enum worker_blame blame)
{
	assert_ptr_equal(w, &one);
	assert_int_equal(blame, WORKER_BLAME_THREADS);
	refused++;
}

void worker_on_watchdog(struct worker *w)
{
	assert_ptr_equal(w, &one);
	watchdogs++;
}

void worker_on_stopping(struct worker *w)
{
	assert_ptr_equal(w, &one);
}

static int begin(void **state)
{
	int pair[2], on = 1;

	(void)state;
	known = false;
	def.is_template = false;
	refused = 0;
	readies = watchdogs = 0;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ||
	    setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return -1;
	mine = pair[1];
	return notify_init(pair[0]);
}

static int end(void **state)
{
	(void)state;
	notify_close();
	return close(mine);
}

static void say(const char *text)
{
	assert_int_equal(send(mine, text, strlen(text), 0), strlen(text));
	fake_loop_turn();
}

static void test_words(void **state)
{
	(void)state;
	known = true;
	say("STATUS=READY=1\nREADY=10\nXREADY=1");
	assert_int_equal(readies, 0);
	say("STATUS=well\nREADY=1\nWATCHDOG=1\n");
	assert_int_equal(readies, 1);
	assert_int_equal(watchdogs, 1);
}

static void test_word_before_the_keepers(void **state)
{
	(void)state;
	say("READY=1");
	assert_int_equal(readies, 0);
	notify_forked(&one, getpid() + 1);
	assert_int_equal(readies, 0);
	notify_forked(&one, getpid());
	assert_int_equal(readies, 1);
	notify_forked(&one, getpid()); /* it counts once */
	assert_int_equal(readies, 1);
}

/* A process that is no worker's said it; long after a worker gets its process ID. */
static void test_word_of_another_process(void **state)
{
	(void)state;
	say("READY=1");
	fake_loop_advance(60 * USEC_PER_SEC);
	notify_forked(&one, getpid());
	assert_int_equal(readies, 0);
}

static void *wait_for_end(void *arg)
{
	char byte;

	while (read(*(int *)arg, &byte, 1) < 0)
		;
	return NULL;
}

/* A fork of it would have one of its threads only. */
static void test_template_with_threads(void **state)
{
	pthread_t thread;
	int end[2];

	(void)state;
	known = true;
	def.is_template = true;
	one.pid = getpid();
	say("READY=1");
	assert_int_equal(readies, 1);
	assert_int_equal(pipe(end), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_end, &end[0]), 0);
	say("READY=1");
	assert_int_equal(readies, 1);
	assert_int_equal(refused, 1);
	close(end[1]);
	pthread_join(thread, NULL);
	close(end[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_words, begin, end),
		cmocka_unit_test_setup_teardown(test_template_with_threads, begin, end),
		cmocka_unit_test_setup_teardown(test_word_before_the_keepers, begin, end),
		cmocka_unit_test_setup_teardown(test_word_of_another_process, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
