/*
 * The journal's two sides, with a disk that stands still, fails or is full when the test says so: what is
 * told done is on disk, a whole batch costs one sync, and the loop never waits.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/journal.h"
#include "daemon/journal_format.h"
#include "lib/clock.h"
#include "tests/unit/fake_loop.h"

#define DEADLINE (20 * USEC_PER_SEC) /* only for what has gone wrong */

static char place[64];
static int dir;
static struct journal *j;
static struct journal_found found;
static uint64_t done, items, last_item;
static uint32_t last_deliveries;
static int failures, rooms, closes;
static char data[JF_DATA_MAX];

/* ---- the disk ----------------------------------------------------------------------------------- */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fallocate(int fd, int mode, off_t from, off_t len);
int __wrap_fallocate(int fd, int mode, off_t from, off_t len);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool still, full;
static int fails, syncs, waiting, failed_fd, tried_again;

int __wrap_fdatasync(int fd)
{
	bool fail;

	pthread_mutex_lock(&lock);
	syncs++;
	waiting++;
	while (still)
		pthread_cond_wait(&moved, &lock);
	waiting--;
	tried_again += fd == failed_fd;
	fail = fails > 0;
	if (fail) {
		fails--;
		failed_fd = fd;
	}
	pthread_mutex_unlock(&lock);
	errno = EIO;
	return fail ? -1 : __real_fdatasync(fd);
}

int __wrap_fallocate(int fd, int mode, off_t from, off_t len)
{
	bool no;

	pthread_mutex_lock(&lock);
	no = full;
	pthread_mutex_unlock(&lock);
	errno = ENOSPC;
	return no ? -1 : __real_fallocate(fd, mode, from, len);
}

static void set(bool *what, bool value)
{
	pthread_mutex_lock(&lock);
	*what = value;
	pthread_cond_broadcast(&moved);
	pthread_mutex_unlock(&lock);
}

static int get(const int *what)
{
	int value;

	pthread_mutex_lock(&lock);
	value = *what;
	pthread_mutex_unlock(&lock);
	return value;
}

/* ---- the owner ---------------------------------------------------------------------------------- */

static int on_item(void *arg, uint64_t id, uint32_t deliveries, const void *bytes, size_t len)
{
	(void)arg;
	assert_true(id > last_item);
	assert_true(len <= sizeof(data) && memcmp(bytes, data, len) == 0);
	last_item = id;
	last_deliveries = deliveries;
	items++;
	return 0;
}

static void on_done(void *arg, uint64_t ticket)
{
	(void)arg;
	assert_true(ticket > done);
	done = ticket;
}

static void on_room(void *arg)
{
	(void)arg;
	rooms++;
}

static void on_failed(void *arg, int err, const char *why)
{
	(void)arg;
	assert_int_equal(err, EIO);
	assert_non_null(strstr(why, strerror(EIO)));
	failures++;
}

static void on_closed(void *arg)
{
	(void)arg;
	j = NULL;
	closes++;
}

static const struct journal_calls calls = {
	.item = on_item, .done = on_done, .room = on_room, .failed = on_failed, .closed = on_closed
};

static void open_journal(void)
{
	struct journal_limits limits = { .segment = 65536, .queue = 1 };

	items = last_item = done = 0;
	j = journal_open(dir, "q", &limits, &calls, NULL, &found);
	assert_non_null(j);
	assert_int_equal(found.items, items);
}

#define until(condition)                                                                           \
	for (int64_t end = clock_now() + DEADLINE; !(condition);) {                                \
		assert_true(clock_now() < end);                                                    \
		poll(NULL, 0, 1);                                                                  \
		fake_loop_turn();                                                                  \
	}

/* Once there is room. */
static int64_t put(size_t len)
{
	int64_t ticket = -1;

	until((ticket = journal_put(j, journal_next_id(j), data, len)) > 0 || errno != ENOBUFS);
	return ticket;
}

static void close_journal(void)
{
	journal_close(j, false);
	until(!j);
}

static int setup(void **state)
{
	(void)state;
	strcpy(place, "/tmp/crewd-journal-XXXXXX");
	if (!mkdtemp(place))
		return -1;
	dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memset(data, 'x', sizeof(data));
	failures = rooms = closes = 0;
	still = full = false;
	fails = syncs = waiting = tried_again = 0;
	failed_fd = -1;
	return dir < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	set(&still, false);
	if (j) {
		journal_close(j, true);
		until(!j);
	} else {
		open_journal();
		journal_close(j, true);
		until(!j);
	}
	close(dir);
	return rmdir(place);
}

/* ---- tests -------------------------------------------------------------------------------------- */

static void test_put_take_deliver(void **state)
{
	int64_t ticket;

	(void)state;
	open_journal();
	for (int i = 1; i <= 3; i++) {
		ticket = put(10);
		assert_int_equal(ticket, i);
		until(done == (uint64_t)ticket);
	}
	assert_int_equal(journal_take(j, 1), 4);
	assert_int_equal(journal_deliver(j, 3, 7), 5);
	assert_int_equal(journal_last(j), 5);
	until(done == 5);
	close_journal();
	open_journal();
	assert_int_equal(items, 2);
	assert_int_equal(last_item, 3);
	assert_int_equal(last_deliveries, 7);
	assert_int_equal(journal_next_id(j), 4);
}

static void test_what_is_refused(void **state)
{
	(void)state;
	open_journal();
	put(1);
	errno = 0;
	assert_int_equal(journal_put(j, 1, data, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(journal_put(j, 2, data, JF_DATA_MAX + 1), -1);
	assert_int_equal(errno, EMSGSIZE);
	journal_close(j, false);
	assert_int_equal(journal_put(j, 2, data, 1), -1);
	assert_int_equal(errno, ESHUTDOWN);
	assert_int_equal(journal_take(j, 1), -1);
	assert_int_equal(errno, ESHUTDOWN);
	until(!j);
}

/* While the disk stands still the loop goes on; then one sync is enough for all. */
static void test_many_share_one_sync(void **state)
{
	int before;

	(void)state;
	open_journal();
	put(10);
	until(done == 1);
	set(&still, true);
	assert_int_equal(put(10), 2);
	until(get(&waiting) == 1);
	for (int i = 3; i <= 400; i++)
		assert_int_equal(journal_put(j, journal_next_id(j), data, 10), i);
	fake_loop_turn();
	assert_int_equal(done, 1);
	before = get(&syncs);
	set(&still, false);
	until(done == 400);
	/* And one more at most, for a new segment. */
	assert_in_range(get(&syncs) - before, 1, 2);
}

static void test_too_much_waits(void **state)
{
	int64_t ticket;
	uint64_t last;

	(void)state;
	open_journal();
	put(10);
	until(done == 1);
	set(&still, true);
	while ((ticket = journal_put(j, journal_next_id(j), data, 3000)) > 0)
		;
	assert_int_equal(errno, ENOBUFS);
	last = journal_last(j);
	rooms = 0;
	/* There is a place for what takes items out. */
	assert_true(journal_take(j, 1) > 0);
	set(&still, false);
	until(done == last + 1 && rooms > 0);
	assert_true(put(3000) > 0);
}

static void test_close_writes_what_waits(void **state)
{
	(void)state;
	open_journal();
	put(10);
	for (int i = 0; i < 99; i++)
		assert_true(put(10) > 0);
	close_journal();
	assert_int_equal(done, 100);
	open_journal();
	assert_int_equal(items, 100);
}

static void test_sync_fails(void **state)
{
	(void)state;
	open_journal();
	put(10);
	until(done == 1);
	pthread_mutex_lock(&lock);
	fails = 1;
	pthread_mutex_unlock(&lock);
	assert_int_equal(put(10), 2);
	until(failures == 1);
	assert_int_equal(done, 1);
	assert_int_equal(journal_put(j, 3, data, 10), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(journal_take(j, 1), -1);
	assert_int_equal(errno, EIO);
	close_journal();
	assert_int_equal(failures, 1);
	assert_int_equal(get(&tried_again), 0);
	open_journal();
	assert_int_equal(items, 1);
}

static void test_start_fails(void **state)
{
	(void)state;
	fails = 1;
	open_journal();
	until(failures == 1);
	assert_int_equal(journal_put(j, 1, data, 10), -1);
	assert_int_equal(errno, EIO);
	close_journal();
}

static void test_disk_is_full(void **state)
{
	uint64_t last;

	(void)state;
	open_journal();
	put(10);
	until(done == 1);
	set(&full, true);
	while (put(1000) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	last = journal_last(j);
	until(done == last);
	/* All that was accepted can be taken out. */
	for (uint64_t id = 2; id < journal_next_id(j); id++)
		assert_true(journal_take(j, id) > 0);
	until(done == journal_last(j));
	assert_int_equal(failures, 0);
	set(&full, false);
	for (int64_t end = clock_now() + DEADLINE; put(60000) < 0;) {
		assert_int_equal(errno, ENOSPC);
		assert_true(clock_now() < end);
		fake_loop_advance(200 * USEC_PER_MSEC);
	}
	close_journal();
	open_journal();
	assert_int_equal(items, 2);
}

static void test_wait_has_an_end(void **state)
{
	(void)state;
	open_journal();
	put(10);
	until(done == 1);
	set(&still, true);
	put(10);
	until(get(&waiting) == 1);
	journal_close(j, false);
	assert_false(journal_wait(j, 10 * USEC_PER_MSEC));
	set(&still, false);
	assert_true(journal_wait(j, DEADLINE));
	assert_null(j);
	assert_int_equal(done, 2);
}

static void test_removed(void **state)
{
	(void)state;
	open_journal();
	put(10);
	journal_close(j, true);
	until(!j);
	open_journal();
	assert_int_equal(items, 0);
	assert_int_equal(journal_next_id(j), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(put_take_deliver),
		TEST(what_is_refused),
		TEST(many_share_one_sync),
		TEST(too_much_waits),
		TEST(close_writes_what_waits),
		TEST(sync_fails),
		TEST(start_fails),
		TEST(disk_is_full),
		TEST(wait_has_an_end),
		TEST(removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
