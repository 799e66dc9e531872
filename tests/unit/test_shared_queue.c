/* The shared queue: Python's rules, bounds, waiting, tasks, what a handle refuses, and memory that lies. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "lib/shared_queue.h"
#include "lib/shared_word.h"
#include "tests/unit/asleep.h"

#define LONG  (30 * USEC_PER_SEC) /* a deadline that only a mistake meets */
#define SHORT (20 * USEC_PER_MSEC)

/* Where the words lie: the layout has a version, so this may be known here. */
enum {
	AT_VERSION = 8,
	AT_MAX_BYTES = 16,
	AT_LOCK = 128,
	AT_TAIL = 256,
	AT_HEAD = 384,
	AT_DONE = 512,
	AT_RING = 4096
};

struct fixture {
	int fd;
	struct shared_queue *q;
};

static struct fixture make(uint32_t maxsize, uint64_t max_bytes)
{
	struct fixture f = { .fd = shared_queue_create("test", maxsize, max_bytes) };

	assert_true(f.fd >= 0);
	f.q = shared_queue_attach(f.fd);
	assert_non_null(f.q);
	return f;
}

static void end(struct fixture *f)
{
	shared_queue_detach(f->q);
	close(f->fd);
}

static void put(struct shared_queue *q, const char *text)
{
	assert_int_equal(shared_queue_put(q, text, strlen(text), 0), 0);
}

static void must_get(struct shared_queue *q, const char *text)
{
	char buffer[256];
	size_t size = sizeof(buffer);

	assert_int_equal(shared_queue_get(q, buffer, &size, 0), 0);
	assert_int_equal(size, strlen(text));
	assert_memory_equal(buffer, text, size);
}

#define must_fail(call, error)                                                                     \
	do {                                                                                       \
		errno = 0;                                                                         \
		assert_int_equal((call), -1);                                                      \
		assert_int_equal(errno, (error));                                                  \
	} while (0)

static int get_nothing(struct shared_queue *q, int64_t timeout)
{
	char buffer[256];
	size_t size = sizeof(buffer);

	return shared_queue_get(q, buffer, &size, timeout);
}

static void test_order(void **state)
{
	struct fixture f = make(0, 4096);

	(void)state;
	assert_int_equal(shared_queue_empty(f.q), 1);
	put(f.q, "one");
	put(f.q, "two and more");
	put(f.q, "");
	assert_int_equal(shared_queue_qsize(f.q), 3);
	assert_int_equal(shared_queue_empty(f.q), 0);
	must_get(f.q, "one");
	put(f.q, "four");
	must_get(f.q, "two and more");
	must_get(f.q, "");
	must_get(f.q, "four");
	must_fail(get_nothing(f.q, 0), EAGAIN);
	assert_int_equal(shared_queue_qsize(f.q), 0);
	assert_int_equal(shared_queue_put(f.q, NULL, 0, 0), 0);
	must_get(f.q, "");
	end(&f);
}

static void test_maxsize(void **state)
{
	struct fixture f = make(2, 4096);

	(void)state;
	assert_int_equal(shared_queue_maxsize(f.q), 2);
	put(f.q, "a");
	assert_int_equal(shared_queue_full(f.q), 0);
	put(f.q, "b");
	assert_int_equal(shared_queue_full(f.q), 1);
	must_fail(shared_queue_put(f.q, "c", 1, 0), EAGAIN);
	must_get(f.q, "a");
	put(f.q, "c");
	must_get(f.q, "b");
	must_get(f.q, "c");
	end(&f);
}

/* max-bytes is filled to the last unit, whatever the sizes, and each size costs what it is said to. */
static void test_max_bytes(void **state)
{
	struct fixture f = make(0, 1000);
	char item[1000] = { 0 }, got[1000];

	(void)state;
	assert_int_equal(shared_queue_max_bytes(f.q), 1000);
	assert_int_equal(shared_queue_cost(0), 16);
	assert_int_equal(shared_queue_cost(8), 16);
	assert_int_equal(shared_queue_cost(9), 24);
	must_fail(shared_queue_put(f.q, item, 993, 0), EMSGSIZE);
	must_fail(shared_queue_put(f.q, item, SIZE_MAX, 0), EMSGSIZE);
	for (size_t size = 0; size <= 992; size++) {
		size_t left = 1000, items = 0, length;

		while (left >= shared_queue_cost(size)) {
			memset(item, (int)(size + items), size);
			assert_int_equal(shared_queue_put(f.q, item, size, 0), 0);
			left -= shared_queue_cost(size);
			items++;
		}
		must_fail(shared_queue_put(f.q, item, size, 0), EAGAIN);
		assert_int_equal(shared_queue_qsize(f.q), items);
		for (size_t i = 0; i < items; i++) {
			memset(item, (int)(size + i), size);
			length = sizeof(got);
			assert_int_equal(shared_queue_get(f.q, got, &length, 0), 0);
			assert_int_equal(length, size);
			assert_memory_equal(got, item, size);
		}
	}
	end(&f);
}

/* What one handle remembers of the queue is not believed once others have put: the ring may have gone
 * round in between. */
static void test_two_handles(void **state)
{
	struct fixture f = make(0, 1000);
	struct shared_queue *other = shared_queue_attach(f.fd);
	char item[100] = { 0 }, got[100];

	(void)state;
	assert_non_null(other);
	for (int turn = 0; turn < 200; turn++) {
		unsigned char items = 0;
		size_t size = sizeof(got);

		assert_int_equal(shared_queue_put(f.q, item, 50, 0), 0);
		assert_int_equal(shared_queue_get(f.q, got, &size, 0), 0);
		for (int i = 0; i < turn; i++) {
			assert_int_equal(shared_queue_put(other, item, 40, 0), 0);
			size = sizeof(got);
			assert_int_equal(shared_queue_get(f.q, got, &size, 0), 0);
		}
		for (item[0] = 0; shared_queue_put(other, item, 100, 0) == 0; item[0]++)
			items++;
		assert_int_equal(items, 8); /* of 112 */
		must_fail(shared_queue_put(f.q, item, 100, 0), EAGAIN);
		for (item[0] = 0; items; item[0]++, items--) {
			size = sizeof(got);
			assert_int_equal(shared_queue_get(f.q, got, &size, 0), 0);
			assert_int_equal(size, 100);
			assert_memory_equal(got, item, 100);
		}
		item[0] = 0;
	}
	shared_queue_detach(other);
	end(&f);
}

static void test_full_by_bytes(void **state)
{
	struct fixture f = make(0, 64);

	(void)state;
	put(f.q, "1234567890123456789012345678901234567890"); /* 48 */
	assert_int_equal(shared_queue_full(f.q), 0);
	put(f.q, "x");
	assert_int_equal(shared_queue_full(f.q), 1);
	must_fail(shared_queue_put(f.q, "", 0, 0), EAGAIN);
	end(&f);
}

static void test_small_buffer(void **state)
{
	struct fixture f = make(0, 4096);
	char buffer[4];
	size_t size = sizeof(buffer);
	void *item;

	(void)state;
	put(f.q, "longer");
	must_fail(shared_queue_get(f.q, buffer, &size, 0), ERANGE);
	assert_int_equal(size, 6);
	assert_int_equal(shared_queue_qsize(f.q), 1);
	assert_int_equal(shared_queue_get_alloc(f.q, &item, &size, 0), 0);
	assert_int_equal(size, 6);
	assert_string_equal(item, "longer");
	free(item);
	put(f.q, "");
	assert_int_equal(shared_queue_get_alloc(f.q, &item, &size, 0), 0);
	assert_string_equal(item, "");
	free(item);
	must_fail(shared_queue_get_alloc(f.q, &item, &size, 0), EAGAIN);
	end(&f);
}

static void test_timeouts(void **state)
{
	struct fixture f = make(1, 4096);
	int64_t start = clock_now();

	(void)state;
	must_fail(get_nothing(f.q, SHORT), EAGAIN);
	assert_true(clock_now() - start >= SHORT);
	put(f.q, "x");
	start = clock_now();
	must_fail(shared_queue_put(f.q, "y", 1, SHORT), EAGAIN);
	assert_true(clock_now() - start >= SHORT);
	start = clock_now();
	must_fail(shared_queue_join(f.q, SHORT), EAGAIN);
	assert_true(clock_now() - start >= SHORT);
	must_get(f.q, "x");
	assert_int_equal(shared_queue_put(f.q, "y", 1, INT64_MAX), 0);
	end(&f);
}

/* ---- several processes ------------------------------------------------------------------------- */

static pid_t child(int (*run)(struct shared_queue *), int fd)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct shared_queue *q;
		int result;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		q = shared_queue_attach(fd);
		result = q ? run(q) : 99;
		shared_queue_detach(q);
		_exit(result);
	}
	return pid;
}

/* Without a deadline of its own a sleeper that nobody wakes sleeps for ever: here the patience ends. */
static void must_end_well(pid_t pid)
{
	int64_t give_up = clock_now() + LONG;
	int status;
	pid_t ended;

	while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && clock_now() < give_up)
		usleep(200);
	if (ended == 0)
		kill(pid, SIGKILL);
	assert_int_equal(ended, pid);
	assert_int_equal(status, 0);
}

/* Asleep in a futex, as /proc tells. */
static int get_echo(struct shared_queue *q)
{
	char buffer[64];
	size_t size = sizeof(buffer);

	return shared_queue_get(q, buffer, &size, -1) || size != 5 || memcmp(buffer, "hello", 5);
}

static void test_get_waits(void **state)
{
	struct fixture f = make(0, 4096);
	pid_t pid = child(get_echo, f.fd);

	(void)state;
	wait_asleep(pid);
	put(f.q, "hello");
	must_end_well(pid);
	end(&f);
}

static int put_late(struct shared_queue *q)
{
	return shared_queue_put(q, "late", 4, -1);
}

static void test_put_waits(void **state)
{
	struct fixture f = make(1, 4096);
	pid_t pid;

	(void)state;
	put(f.q, "first");
	pid = child(put_late, f.fd);
	wait_asleep(pid);
	must_get(f.q, "first");
	must_end_well(pid);
	must_get(f.q, "late");
	end(&f);
}

/* Who waits longest is woken first: each of the sleepers gets the item that was put for it. */
static uint32_t *order; /* shared: who got, in order */
static uint32_t my_number;

static int get_in_turn(struct shared_queue *q)
{
	char buffer[64];
	size_t size = sizeof(buffer);

	if (shared_queue_get(q, buffer, &size, -1) < 0)
		return 1;
	order[(unsigned char)buffer[0]] = my_number;
	return 0;
}

static void test_first_come_first_served(void **state)
{
	enum { N = 5 };
	struct fixture f = make(0, 4096);
	pid_t pids[N];

	(void)state;
	order = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (my_number = 0; my_number < N; my_number++) {
		pids[my_number] = child(get_in_turn, f.fd);
		wait_asleep(pids[my_number]);
	}
	for (char i = 0; i < N; i++) {
		assert_int_equal(shared_queue_put(f.q, &i, 1, 0), 0);
		must_end_well(pids[(int)i]);
		assert_int_equal(order[(int)i], i);
	}
	munmap(order, 4096);
	end(&f);
}

/* Room for a small item is not lost with a large one that was woken first and does not fit. */
static int put_large(struct shared_queue *q)
{
	char item[200] = { 0 };

	return shared_queue_put(q, item, sizeof(item), -1);
}

static int put_small(struct shared_queue *q)
{
	return shared_queue_put(q, "small", 5, -1);
}

static void test_small_after_large(void **state)
{
	struct fixture f = make(0, 256);
	char item[100] = { 0 };
	pid_t large, small;
	size_t size;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(shared_queue_put(f.q, item, sizeof(item), 0), 0);
	put(f.q, "12345678901234567890"); /* 112 + 112 + 32: full */
	large = child(put_large, f.fd);
	wait_asleep(large);
	small = child(put_small, f.fd);
	wait_asleep(small);
	size = sizeof(item);
	assert_int_equal(shared_queue_get(f.q, item, &size, 0), 0);
	must_end_well(small);
	size = sizeof(item);
	assert_int_equal(shared_queue_get(f.q, item, &size, 0), 0);
	must_get(f.q, "12345678901234567890");
	must_end_well(large);
	must_get(f.q, "small");
	end(&f);
}

/* Many of both: each item once, and those of one producer in their order. */
enum { PRODUCERS = 3, CONSUMERS = 3, EACH = 20000 };
static _Atomic uint8_t *seen;

static int produce(struct shared_queue *q)
{
	uint32_t item[8] = { my_number };

	for (uint32_t i = 0; i < EACH; i++) {
		item[1] = i;
		if (shared_queue_put(q, item, 8 + i % 24, -1) < 0)
			return 1;
	}
	return 0;
}

static int consume(struct shared_queue *q)
{
	uint32_t item[8], last[PRODUCERS] = { 0 };

	for (;;) {
		size_t size = sizeof(item);

		if (shared_queue_get(q, item, &size, -1) < 0)
			return 1;
		if (size == 1)
			return 0;
		if (item[0] >= PRODUCERS || item[1] >= EACH || size != 8 + item[1] % 24)
			return 2;
		if (item[1] + 1 <= last[item[0]])
			return 3;
		last[item[0]] = item[1] + 1;
		seen[item[0] * EACH + item[1]]++;
	}
}

static void test_many(void **state)
{
	struct fixture f = make(100, 4096);
	size_t size = (size_t)PRODUCERS * EACH;
	pid_t producers[PRODUCERS], consumers[CONSUMERS];

	(void)state;
	seen = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < CONSUMERS; i++)
		consumers[i] = child(consume, f.fd);
	for (my_number = 0; my_number < PRODUCERS; my_number++)
		producers[my_number] = child(produce, f.fd);
	for (int i = 0; i < PRODUCERS; i++)
		must_end_well(producers[i]);
	for (int i = 0; i < CONSUMERS; i++)
		assert_int_equal(shared_queue_put(f.q, "", 1, -1), 0);
	for (int i = 0; i < CONSUMERS; i++)
		must_end_well(consumers[i]);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(shared_queue_qsize(f.q), 0);
	munmap((void *)seen, size);
	end(&f);
}

/* The same with threads of one process that share a handle. */
struct thread {
	struct shared_queue *q;
	uint64_t sum;
};

static void *thread_puts(void *arg)
{
	struct thread *t = arg;

	for (uint64_t i = 1; i <= EACH; i++) {
		assert_int_equal(shared_queue_put(t->q, &i, sizeof(i), -1), 0);
		t->sum += i;
	}
	return NULL;
}

static void *thread_gets(void *arg)
{
	struct thread *t = arg;

	for (uint64_t i = 1; i <= EACH; i++) {
		uint64_t item;
		size_t size = sizeof(item);

		assert_int_equal(shared_queue_get(t->q, &item, &size, -1), 0);
		t->sum += item;
		assert_int_equal(shared_queue_task_done(t->q), 0);
	}
	return NULL;
}

static void test_threads_share_a_handle(void **state)
{
	struct fixture f = make(10, 4096);
	struct thread put_by[2] = { { f.q, 0 }, { f.q, 0 } },
		      got_by[2] = { { f.q, 0 }, { f.q, 0 } };
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 2; i++) {
		pthread_create(&threads[i], NULL, thread_puts, &put_by[i]);
		pthread_create(&threads[2 + i], NULL, thread_gets, &got_by[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(put_by[0].sum + put_by[1].sum, got_by[0].sum + got_by[1].sum);
	assert_int_equal(shared_queue_join(f.q, 0), 0);
	end(&f);
}

/* ---- tasks ------------------------------------------------------------------------------------- */

static int join(struct shared_queue *q)
{
	return shared_queue_join(q, -1);
}

static void test_tasks(void **state)
{
	struct fixture f = make(0, 4096);
	pid_t pid;

	(void)state;
	must_fail(shared_queue_task_done(f.q), EINVAL);
	assert_int_equal(shared_queue_join(f.q, 0), 0);
	put(f.q, "a");
	put(f.q, "b");
	pid = child(join, f.fd);
	wait_asleep(pid);
	must_get(f.q, "a");
	must_get(f.q, "b");
	assert_int_equal(shared_queue_task_done(f.q), 0);
	must_fail(shared_queue_join(f.q, 0), EAGAIN);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	/* Whoever joins has seen that moment, although there is work again. */
	assert_int_equal(shared_queue_task_done(f.q), 0);
	put(f.q, "c");
	must_end_well(pid);
	must_get(f.q, "c");
	assert_int_equal(shared_queue_task_done(f.q), 0);
	must_fail(shared_queue_task_done(f.q), EINVAL);
	end(&f);
}

/* ---- a loop of one's own ----------------------------------------------------------------------- */

static bool readable(int fd, int timeout)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout) == 1;
}

static void test_items_fd(void **state)
{
	struct fixture f = make(0, 4096);
	struct shared_queue *other = shared_queue_attach(f.fd);
	int fd = shared_queue_items_fd(f.q);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fd, shared_queue_items_fd(f.q));
	for (int i = 0; i < 1000; i++) {
		assert_true(readable(fd, 30000)); /* the first time it only may be so */
		if (i)
			must_get(f.q, "x");
		must_fail(get_nothing(f.q, 0), EAGAIN);
		assert_false(readable(fd, 0));
		put(other, "x");
	}
	shared_queue_detach(other);
	end(&f);
}

static void test_room_fd(void **state)
{
	struct fixture f = make(1, 4096);
	struct shared_queue *other = shared_queue_attach(f.fd);
	int fd = shared_queue_room_fd(f.q);

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_true(readable(fd, 30000));
		put(f.q, "x");
		must_fail(shared_queue_put(f.q, "y", 1, 0), EAGAIN);
		assert_false(readable(fd, 0));
		must_get(other, "x");
	}
	shared_queue_detach(other);
	end(&f);
}

/* The thread that waits for a loop takes no wake-up from one who could use it. Two items, as the sleeper may be
 * the first of them: then one alone is his, and there is nothing to tell the loop. */
static void test_items_fd_and_a_sleeper(void **state)
{
	struct fixture f = make(0, 4096);
	int fd = shared_queue_items_fd(f.q);
	pid_t pid;

	(void)state;
	must_fail(get_nothing(f.q, 0), EAGAIN);
	pid = child(get_echo, f.fd);
	wait_asleep(pid);
	put(f.q, "hello");
	put(f.q, "hello");
	assert_true(readable(fd, 30000));
	must_end_well(pid);
	must_get(f.q, "hello");
	end(&f);
}

/* ---- what is refused --------------------------------------------------------------------------- */

static void test_create_refuses(void **state)
{
	(void)state;
	must_fail(shared_queue_create("x", 0, 63), EINVAL);
	must_fail(shared_queue_create("x", 0, (1ull << 31) + 1), EINVAL);
	must_fail(shared_queue_create("x", (1u << 30) + 1, 4096), EINVAL);
	assert_int_equal(shared_queue_size(0), 0);
	assert_int_equal(shared_queue_size(64), 8192);
	assert_int_equal(shared_queue_size(4097), 4096 * 3);
}

static void must_not_attach(int fd, int error)
{
	errno = 0;
	assert_null(shared_queue_attach(fd));
	assert_int_equal(errno, error);
	close(fd);
}

static int memory(size_t size, int seals)
{
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void copy_to(int to, size_t size)
{
	int from = shared_queue_create("x", 0, 4096);
	char buffer[8192];

	assert_int_equal(pread(from, buffer, sizeof(buffer), 0), sizeof(buffer));
	assert_int_equal(pwrite(to, buffer, size, 0), size);
	close(from);
}

static void test_attach_refuses(void **state)
{
	const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;
	static const struct {
		off_t at;
		uint64_t value;
		int error;
	} wrong[] = {
		{ 0, 1, EINVAL },
		{ AT_VERSION, 2, EPROTONOSUPPORT },
		{ AT_MAX_BYTES, 4097, EINVAL },
		{ AT_MAX_BYTES, UINT64_MAX, EINVAL },
		{ AT_MAX_BYTES, 0, EINVAL },
		{ AT_VERSION, 1 | UINT64_MAX << 32, EINVAL }, /* maxsize */
	};
	int fd, pipes[2];

	(void)state;
	must_not_attach(memory(8192, all), EINVAL); /* no magic */
	must_not_attach(memory(0, all), EINVAL);
	must_not_attach(memory(100, all), EINVAL);
	fd = memory(8192, F_SEAL_SHRINK | F_SEAL_GROW);
	copy_to(fd, 8192);
	must_not_attach(fd, EINVAL); /* somebody may add a seal against writing */
	fd = memory(12288, all);
	copy_to(fd, 8192);
	must_not_attach(fd, EINVAL); /* not the size that it says */
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		fd = shared_queue_create("x", 0, 4096);
		assert_int_equal(pwrite(fd, &wrong[i].value, 8, wrong[i].at), 8);
		must_not_attach(fd, wrong[i].error);
	}
	assert_int_equal(pipe(pipes), 0);
	close(pipes[1]);
	must_not_attach(pipes[0], EINVAL);
	must_not_attach(open("/dev/zero", O_RDWR | O_CLOEXEC), EINVAL);
	must_not_attach(-1, EINVAL);
}

static void test_sealed(void **state)
{
	struct fixture f = make(0, 4096);

	(void)state;
	must_fail(ftruncate(f.fd, 0), EPERM);
	must_fail(ftruncate(f.fd, 1 << 20), EPERM);
	must_fail(fcntl(f.fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	assert_int_equal(fcntl(f.fd, F_GETFD), FD_CLOEXEC);
	end(&f);
}

/* A handle in a child made by fork is refused, and hinders nobody. */
static void test_fork(void **state)
{
	struct fixture f = make(0, 4096);
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		char buffer[8];
		size_t size = sizeof(buffer);
		bool ok = shared_queue_put(f.q, "x", 1, 0) < 0 && errno == EBADF;

		ok = ok && shared_queue_get(f.q, buffer, &size, 0) < 0 && errno == EBADF;
		ok = ok && shared_queue_qsize(f.q) < 0 && errno == EBADF;
		ok = ok && shared_queue_task_done(f.q) < 0 && errno == EBADF;
		ok = ok && shared_queue_join(f.q, 0) < 0 && errno == EBADF;
		ok = ok && shared_queue_items_fd(f.q) < 0 && errno == EBADF;
		shared_queue_detach(f.q);
		f.q = shared_queue_attach(f.fd);
		ok = ok && f.q && shared_queue_put(f.q, "child", 5, 0) == 0;
		_exit(!ok);
	}
	must_end_well(pid);
	must_get(f.q, "child");
	end(&f);
}

/* Another user, who got nothing but the descriptor. */
static void test_other_user(void **state)
{
	struct fixture f = make(0, 4096);
	pid_t pid;

	(void)state;
	if (getuid() != 0) {
		end(&f);
		skip();
	}
	pid = fork();
	if (pid == 0) {
		struct shared_queue *q;
		bool ok = setgid(65534) == 0 && setuid(65534) == 0;

		q = shared_queue_attach(f.fd);
		ok = ok && q && shared_queue_put(q, "nobody", 6, 0) == 0;
		_exit(!ok);
	}
	must_end_well(pid);
	must_get(f.q, "nobody");
	end(&f);
}

/* ---- memory that lies -------------------------------------------------------------------------- */

static void poke(int fd, off_t at, uint64_t value)
{
	assert_int_equal(pwrite(fd, &value, sizeof(value), at), sizeof(value));
}

#define WORD(place, count) ((uint64_t)(place) << 36 | (uint64_t)(count) << 1)

/* The counters begin again at 0 after 2^35: nothing is seen of it. */
static void test_counters_go_round(void **state)
{
	struct fixture f = make(3, 4096);
	const uint64_t late = (UINT64_C(1) << 35) - 5;

	(void)state;
	poke(f.fd, AT_HEAD, WORD(510, late));
	poke(f.fd, AT_TAIL, WORD(510, late));
	poke(f.fd, AT_DONE, WORD(0, late));
	must_fail(get_nothing(f.q, 0), EAGAIN);
	put(f.q, "a");
	put(f.q, "b");
	for (int i = 0; i < 10; i++) {
		put(f.q, "c");
		assert_int_equal(shared_queue_qsize(f.q), 3);
		must_fail(shared_queue_put(f.q, "d", 1, 0), EAGAIN);
		must_get(f.q, i == 0 ? "a" : i == 1 ? "b" : "c");
		assert_int_equal(shared_queue_task_done(f.q), 0);
	}
	must_get(f.q, "c");
	must_get(f.q, "c");
	assert_int_equal(shared_queue_task_done(f.q), 0);
	must_fail(shared_queue_join(f.q, 0), EAGAIN);
	assert_int_equal(shared_queue_task_done(f.q), 0);
	assert_int_equal(shared_queue_join(f.q, 0), 0);
	must_fail(shared_queue_task_done(f.q), EINVAL);
	assert_int_equal(shared_queue_empty(f.q), 1);
	end(&f);
}

static void test_lying_indices(void **state)
{
	static const struct {
		uint64_t head, tail;
	} lies[] = {
		{ 0, UINT64_MAX },
		{ UINT64_MAX, 0 },
		{ UINT64_MAX, UINT64_MAX },
		{ WORD(0, 0), WORD(1, 1) },
		{ WORD(0, 0), WORD(4, 0) },
		{ WORD(0, 5), WORD(10, 4) },
		{ WORD(512, 0), WORD(0, 0) },
		{ WORD(0, 0), WORD(512, 1) },
		{ WORD(0, 0), WORD(10, 300) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct fixture f = make(0, 4096);

		poke(f.fd, AT_HEAD, lies[i].head);
		poke(f.fd, AT_TAIL, lies[i].tail);
		must_fail(get_nothing(f.q, LONG), EPROTO);
		must_fail(shared_queue_put(f.q, "x", 1, LONG), EPROTO);
		must_fail(shared_queue_qsize(f.q), EPROTO);
		must_fail(shared_queue_empty(f.q), EPROTO);
		must_fail(shared_queue_full(f.q), EPROTO);
		end(&f);
	}
}

static void test_lying_record(void **state)
{
	struct fixture f = make(0, 4096);
	void *item;
	size_t size;

	(void)state;
	put(f.q, "hello");
	poke(f.fd, AT_RING, UINT64_MAX << 32);
	must_fail(get_nothing(f.q, LONG), EPROTO);
	must_fail(shared_queue_get_alloc(f.q, &item, &size, LONG), EPROTO);
	poke(f.fd, AT_RING, 5ull << 32 | 1); /* another put's */
	must_fail(get_nothing(f.q, LONG), EPROTO);
	poke(f.fd, AT_RING, 5ull << 32);
	must_get(f.q, "hello");
	end(&f);
}

/* A lock that nobody alive holds is taken over, from whatever number and with whatever bits. */
static void test_lock_of_the_dead(void **state)
{
	static const uint64_t words[] = {
		2, 3, 12345 << 1, UINT32_MAX, UINT64_MAX, 77ull << 32 | 99
	};
	struct fixture f = make(0, 4096);

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		poke(f.fd, AT_LOCK, words[i]);
		assert_int_equal(shared_queue_put(f.q, "x", 1, LONG), 0);
		must_get(f.q, "x");
	}
	end(&f);
}

/* One that somebody alive holds is respected, and the time is too. */
static void test_lock_of_the_living(void **state)
{
	struct fixture f = make(0, 4096);
	struct flock seat = { .l_type = F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_start = (INT64_C(1) << 40) + 5,
			      .l_len = 1 };
	int64_t start = clock_now();
	char path[64];
	int own;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f.fd);
	own = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(own, F_OFD_SETLK, &seat), 0);
	poke(f.fd, AT_LOCK, 5 << 1);
	must_fail(shared_queue_put(f.q, "x", 1, SHORT), EAGAIN);
	assert_true(clock_now() - start >= SHORT);
	must_fail(shared_queue_put(f.q, "x", 1, 0), EAGAIN);
	must_fail(get_nothing(f.q, 0), EAGAIN); /* consumers take no lock */
	must_fail(shared_queue_put(f.q, "x", 1, -1), ENOTRECOVERABLE);
	close(own);
	assert_int_equal(shared_queue_put(f.q, "x", 1, LONG), 0);
	must_get(f.q, "x");
	end(&f);
}

/* The holder is alive, and then is not, in another PID namespace, where it is number 1. */
static void hold_in_namespace(int fd, int told)
{
	struct flock seat = { .l_type = F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_start = (INT64_C(1) << 40) + 5,
			      .l_len = 1 };
	char path[64];
	pid_t pid;
	int own;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWPID) < 0 || (pid = fork()) < 0)
		_exit(77);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, O_RDWR | O_CLOEXEC);
		if (getpid() != 1 || fcntl(own, F_OFD_SETLK, &seat) < 0)
			_exit(1);
		if (write(told, "", 1) == 1)
			pause();
		_exit(1);
	}
	waitpid(pid, NULL, 0);
	_exit(0);
}

static void test_lock_across_namespaces(void **state)
{
	struct fixture f = make(0, 4096);
	int pipes[2], status;
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pipes[0]);
		hold_in_namespace(f.fd, pipes[1]);
	}
	close(pipes[1]);
	if (read(pipes[0], &c, 1) != 1) {
		waitpid(pid, &status, 0);
		end(&f);
		assert_int_equal(WEXITSTATUS(status), 77);
		print_message("SKIPPED: no PID namespace can be made here\n");
		skip();
	}
	poke(f.fd, AT_LOCK, 5 << 1);
	must_fail(shared_queue_put(f.q, "x", 1, SHORT), EAGAIN);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(shared_queue_put(f.q, "x", 1, LONG / 6), 0);
	must_get(f.q, "x");
	close(pipes[0]);
	end(&f);
}

/* Somebody writes anything anywhere all the time: every call returns. */
static void scribble(int fd)
{
	uint64_t *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
		 x = 88172645463325252;

	for (;;) {
		static const int words[] = { AT_LOCK / 8, AT_TAIL / 8, AT_HEAD / 8, AT_DONE / 8,
					     AT_RING / 8 };
		uint64_t small;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* Sometimes nearly right. */
		small = WORD(x >> 8 & 63, x >> 16 & 31);
		*(volatile uint64_t *)&m[words[x % 5] + (x % 5 == 4 ? x >> 3 & 63 : 0)] =
			x & 128 ? small : x >> 40 << (x >> 4 & 63);
	}
}

static void test_scribbler(void **state)
{
	struct fixture f = make(0, 4096);
	pid_t pid = fork();
	int64_t until = clock_now() + USEC_PER_SEC;
	unsigned calls = 0;
	void *item;
	size_t size;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		scribble(f.fd);
	}
	for (; clock_now() < until; calls++) {
		int result;

		errno = 0;
		result = shared_queue_put(f.q, "hello", 5, calls % 50);
		assert_true(result == 0 || errno == EAGAIN || errno == EPROTO ||
			    errno == ENOTRECOVERABLE);
		result = shared_queue_get_alloc(f.q, &item, &size, calls % 50);
		assert_true(result == 0 || errno == EAGAIN || errno == EPROTO);
		if (result == 0) {
			assert_true(size < 4096);
			free(item);
		}
		assert_true(shared_queue_qsize(f.q) >= 0 || errno == EPROTO);
		assert_true(shared_queue_task_done(f.q) == 0 || errno == EINVAL || errno == EPROTO);
		assert_true(shared_queue_join(f.q, calls % 50) == 0 || errno == EAGAIN);
	}
	assert_true(calls > 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_maxsize),
		cmocka_unit_test(test_max_bytes),
		cmocka_unit_test(test_two_handles),
		cmocka_unit_test(test_full_by_bytes),
		cmocka_unit_test(test_small_buffer),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_get_waits),
		cmocka_unit_test(test_put_waits),
		cmocka_unit_test(test_first_come_first_served),
		cmocka_unit_test(test_small_after_large),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_threads_share_a_handle),
		cmocka_unit_test(test_tasks),
		cmocka_unit_test(test_items_fd),
		cmocka_unit_test(test_room_fd),
		cmocka_unit_test(test_items_fd_and_a_sleeper),
		cmocka_unit_test(test_create_refuses),
		cmocka_unit_test(test_attach_refuses),
		cmocka_unit_test(test_sealed),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_other_user),
		cmocka_unit_test(test_counters_go_round),
		cmocka_unit_test(test_lying_indices),
		cmocka_unit_test(test_lying_record),
		cmocka_unit_test(test_lock_of_the_dead),
		cmocka_unit_test(test_lock_of_the_living),
		cmocka_unit_test(test_lock_across_namespaces),
		cmocka_unit_test(test_scribbler),
	};

	/* Nobody is killed: no wake-up may be missing. */
	word_look_again = 3600 * USEC_PER_SEC;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
