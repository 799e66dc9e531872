/*
 * SIGKILL at every instruction: a process that puts, gets, or says that a task is done is stepped through,
 * killed after n instructions, for each n until it is through; then the queue is looked at from here, and
 * whoever slept on it must go on. The whole program runs on one CPU, where nobody watches a word before
 * sleeping: so the number of instructions is that of the work.
 */
#include <errno.h>
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
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "lib/shared_queue.h"
#include "tests/unit/asleep.h"

#define LONG	  (20 * USEC_PER_SEC) /* only a mistake meets it */
#define ITEM_SIZE 44		      /* not a multiple of 8 */
/* Steps of one scene: with the address sanitizer not every instruction can have its turn. */
#ifdef __SANITIZE_ADDRESS__
#define STEPS_MOST 50000
#else
#define STEPS_MOST 500000
#endif
#define RUNS_MOST 900 /* each keeps a descriptor open */

enum { AT_LOCK = 128, AT_TAIL = 256, AT_HEAD = 384, AT_DONE = 512 }; /* words of version 1 */

enum act { PUT, GET, TASK_DONE };
enum sleeper { NOBODY, GETTER, PUTTER, JOINER };

struct scene {
	uint32_t maxsize;
	const char *before; /* a letter for each item that is there */
	enum act act;
	enum sleeper sleeper;
	int64_t timeout; /* of the act */
	bool dead_lock;	 /* the producers' lock is held by somebody who is dead */
};

/* What two processes say of themselves, in memory that outlives them. */
struct page {
	_Atomic int returned; /* the act has, with 1 + its result's being 0 */
	char got[ITEM_SIZE], slept_for[ITEM_SIZE];
};

struct run {
	int fd;
	struct page *page;
	pid_t sleeper;
	uint64_t committed; /* acts */
};

static void make_item(char *item, char letter)
{
	for (int i = 0; i < ITEM_SIZE; i++)
		item[i] = (char)(letter + i % 7);
}

static bool is_item(const char *item, char letter)
{
	char right[ITEM_SIZE];

	make_item(right, letter);
	return memcmp(item, right, ITEM_SIZE) == 0;
}

static int put(struct shared_queue *q, char letter, int64_t timeout)
{
	char item[ITEM_SIZE];

	make_item(item, letter);
	return shared_queue_put(q, item, sizeof(item), timeout);
}

static int get(struct shared_queue *q, char *item, int64_t timeout)
{
	size_t size = ITEM_SIZE;

	return shared_queue_get(q, item, &size, timeout);
}

static uint64_t count(int fd, off_t at)
{
	uint64_t word;

	assert_int_equal(pread(fd, &word, sizeof(word), at), sizeof(word));
	return word >> 1 & ((UINT64_C(1) << 35) - 1);
}

static uint64_t acts(const struct scene *s, int fd)
{
	return count(fd, s->act == PUT ? AT_TAIL : s->act == GET ? AT_HEAD : AT_DONE);
}

/* ---- the two processes ------------------------------------------------------------------------- */

static pid_t start(void)
{
	pid_t parent = getpid(), pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(98);
	}
	return pid;
}

static void act_stepped(const struct scene *s, int fd, struct page *page)
{
	struct shared_queue *q = shared_queue_attach(fd);
	char item[ITEM_SIZE];
	int result = -1;

	make_item(item, 'p');
	if (!q || ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(97);
	raise(SIGSTOP);
	if (s->act == PUT)
		result = shared_queue_put(q, item, sizeof(item), s->timeout);
	else if (s->act == GET)
		result = get(q, page->got, s->timeout);
	else
		result = shared_queue_task_done(q);
	page->returned = 1 + (result == 0);
	raise(SIGSTOP);
	_exit(0);
}

static void sleep_and_go_on(const struct scene *s, int fd, struct page *page)
{
	struct shared_queue *q = shared_queue_attach(fd);

	if (!q)
		_exit(97);
	if (s->sleeper == GETTER)
		_exit(get(q, page->slept_for, -1) != 0);
	if (s->sleeper == PUTTER)
		_exit(put(q, 's', -1) != 0);
	_exit(shared_queue_join(q, -1) != 0);
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

/* ---- one run ----------------------------------------------------------------------------------- */

/* Steps, at most `most`; how many it were until it had returned. Then kills. */
static uint64_t step_and_kill(pid_t pid, struct page *page, uint64_t most)
{
	uint64_t steps = 0;
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	for (; steps < most && !page->returned; steps++) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return steps;
}

static void set_up(const struct scene *s, struct run *r)
{
	struct shared_queue *q;
	char item[ITEM_SIZE];

	r->fd = shared_queue_create("kill", s->maxsize, 4096);
	r->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(r->fd >= 0 && r->page != MAP_FAILED);
	q = shared_queue_attach(r->fd);
	assert_non_null(q);
	for (const char *c = s->before; *c; c++)
		assert_int_equal(put(q, *c, 0), 0);
	if (s->act == TASK_DONE)
		assert_int_equal(get(q, item, 0), 0);
	if (s->dead_lock) {
		uint64_t word = 12345 << 1;

		assert_int_equal(pwrite(r->fd, &word, sizeof(word), AT_LOCK), sizeof(word));
	}
	shared_queue_detach(q);
	if (s->sleeper != NOBODY) {
		r->sleeper = start();
		if (r->sleeper == 0)
			sleep_and_go_on(s, r->fd, r->page);
		wait_asleep(r->sleeper);
	}
}

/* What the killed process did not do for the sleeper is done here. */
static void do_instead(const struct scene *s, struct run *r)
{
	struct shared_queue *q = shared_queue_attach(r->fd);

	assert_non_null(q);
	if (s->sleeper == GETTER)
		assert_int_equal(put(q, 'p', LONG), 0);
	if (s->sleeper == PUTTER)
		assert_int_equal(get(q, r->page->got, LONG), 0);
	if (s->sleeper == JOINER)
		assert_int_equal(shared_queue_task_done(q), 0);
	shared_queue_detach(q);
}

static uint64_t run(const struct scene *s, struct run *r, uint64_t most)
{
	uint64_t before, steps;
	pid_t pid;

	set_up(s, r);
	before = acts(s, r->fd);
	pid = start();
	if (pid == 0)
		act_stepped(s, r->fd, r->page);
	steps = step_and_kill(pid, r->page, most);
	r->committed = acts(s, r->fd) - before;
	assert_true(r->committed <= 1);
	if (r->page->returned)
		assert_int_equal(r->committed, r->page->returned - 1);
	if (r->sleeper && !r->committed)
		do_instead(s, r);
	return steps;
}

/* The items that were put, in order, and how many of them have been taken. */
static size_t expected(const struct scene *s, const struct run *r, char *items)
{
	size_t taken = 0;

	strcpy(items, s->before);
	if (s->sleeper == GETTER || (s->act == PUT && r->committed))
		strcat(items, "p");
	if (s->sleeper == GETTER) {
		assert_true(is_item(r->page->slept_for, items[0]));
		taken++;
	}
	/* Committed is: taken, and complete where the caller wanted it. */
	if (s->act == GET && (r->committed || s->sleeper == PUTTER)) {
		assert_true(is_item(r->page->got, items[0]));
		taken++;
	}
	if (s->sleeper == PUTTER)
		strcat(items, "s");
	return taken + (s->act == TASK_DONE);
}

static void check(const struct scene *s, struct run *r)
{
	struct shared_queue *q = shared_queue_attach(r->fd);
	char items[16], item[ITEM_SIZE];
	size_t taken;

	assert_non_null(q);
	if (r->sleeper)
		must_end_well(r->sleeper);
	taken = expected(s, r, items);
	assert_int_equal(shared_queue_qsize(q), strlen(items) - taken);
	for (const char *c = items + taken; *c; c++) {
		assert_int_equal(get(q, item, 0), 0);
		assert_true(is_item(item, *c));
	}
	/* And it goes on. */
	for (char c = 'A'; c < 'Z'; c++) {
		assert_int_equal(put(q, c, LONG), 0);
		assert_int_equal(get(q, item, 0), 0);
		assert_true(is_item(item, c));
	}
	assert_int_equal(get(q, item, 0), -1);
	assert_int_equal(errno, EAGAIN);
	shared_queue_detach(q);
	munmap(r->page, 4096);
	close(r->fd);
}

static void every_instruction(const struct scene *s)
{
	static struct run runs[RUNS_MOST];
	uint64_t all, stride, committed = 0, n = 0;
	struct run whole = { 0 };

	all = run(s, &whole, 1000000);
	assert_true(whole.page->returned);
	check(s, &whole);
	stride = all * all / 2 / STEPS_MOST + 1;
	if (stride < all / RUNS_MOST + 1)
		stride = all / RUNS_MOST + 1;
	memset(runs, 0, sizeof(runs));
	/* First all kills, then all sleepers: some of these need a second each. */
	for (uint64_t at = 0; at < all && n < RUNS_MOST; at += stride) {
		run(s, &runs[n], at);
		committed += runs[n++].committed;
	}
	for (uint64_t i = 0; i < n; i++)
		check(s, &runs[i]);
	print_message("%llu instructions, killed after each %llu of them: %llu times before the "
		      "commit, %llu times after it\n",
		      (unsigned long long)all, (unsigned long long)stride,
		      (unsigned long long)(n - committed), (unsigned long long)committed);
}

#define SCENE(name, ...)                                                                           \
	static void name(void **state)                                                             \
	{                                                                                          \
		static const struct scene scene = { __VA_ARGS__ };                                 \
		(void)state;                                                                       \
		every_instruction(&scene);                                                         \
	}

SCENE(test_put, .before = "ab", .act = PUT)
SCENE(test_get, .before = "ab", .act = GET)
SCENE(test_task_done, .before = "a", .act = TASK_DONE)
SCENE(test_put_wakes, .before = "", .act = PUT, .sleeper = GETTER)
SCENE(test_get_wakes, .maxsize = 1, .before = "a", .act = GET, .sleeper = PUTTER)
SCENE(test_task_done_wakes, .before = "a", .act = TASK_DONE, .sleeper = JOINER)
SCENE(test_put_full, .maxsize = 2, .before = "ab", .act = PUT, .timeout = 200)
SCENE(test_get_empty, .before = "", .act = GET, .timeout = 200)
SCENE(test_get_empty_beside, .before = "", .act = GET, .timeout = 200, .sleeper = GETTER)
SCENE(test_put_after_dead, .before = "a", .act = PUT, .timeout = LONG, .dead_lock = true)

static int one_cpu(void **state)
{
	cpu_set_t set;

	(void)state;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_task_done),
		cmocka_unit_test(test_put_wakes),
		cmocka_unit_test(test_get_wakes),
		cmocka_unit_test(test_task_done_wakes),
		cmocka_unit_test(test_put_full),
		cmocka_unit_test(test_get_empty),
		cmocka_unit_test(test_get_empty_beside),
		cmocka_unit_test(test_put_after_dead),
	};

	return cmocka_run_group_tests(tests, one_cpu, NULL);
}
