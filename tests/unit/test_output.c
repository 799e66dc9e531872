/* What workers print: rings, lines, waiting for a full sink; without a thread, without a worker. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/output.h"
#include "daemon/pool.h"
#include "daemon/sink.h"
#include "lib/bounds.h"
#include "tests/unit/fake_loop.h"

/* ---- a sink that takes as many lines as the test allows ---------------------------------------
 */

static unsigned room, lines, closed;
static char last[CREW_LOG_LINE_MAX + 1];
static size_t last_len;
static enum sink_kind last_kind;
static bool last_has_pool;
static void (*drained)(void);

struct sink_file {
	int fd;
};

bool sink_line(const struct sink_to *to, const char *line, size_t len)
{
	if (!room)
		return false;
	room--;
	lines++;
	assert_true(len <= CREW_LOG_LINE_MAX);
	memcpy(last, line, len);
	last[len] = '\0';
	last_len = len;
	last_kind = to->kind;
	last_has_pool = to->pool != NULL;
	return true;
}

void sink_when_drained(void (*fn)(void))
{
	drained = fn;
}

struct sink_file *sink_file_new(int fd, const char *path)
{
	struct sink_file *f = malloc(sizeof(*f));

	assert_non_null(path);
	f->fd = fd;
	return f;
}

void sink_file_unref(struct sink_file *f)
{
	if (!f)
		return;
	close(f->fd);
	free(f);
	closed++;
}

/* ---- a worker with a pipe ---------------------------------------------------------------------
 */

static struct {
	struct conf conf;
	struct conf_pool def;
	char path[32];
} block;
static struct pool pool;
static struct worker worker, other;
static int in;
static int logs = -1;

static void attach(struct worker *w, int *write_end)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	output_attach(w, fds[0]);
	*write_end = fds[1];
}

static int set_up(void **state)
{
	(void)state;
	block.def = (struct conf_pool){ .log = CONF_LOG_INHERIT };
	strcpy(block.path, "/var/log/web");
	block.def.log_file = (conf_off)offsetof(typeof(block), path);
	pool = (struct pool){ .name = "web", .conf = &block.conf, .def = &block.def };
	worker = (struct worker){ .slot = 3, .name = "web-1", .pool = &pool, .pid = 7 };
	other = (struct worker){ .slot = 4, .name = "web-2", .pool = &pool };
	room = 1000000;
	lines = closed = 0;
	logs = memfd_create("logs", MFD_CLOEXEC);
	assert_int_equal(output_init(logs), 0);
	attach(&worker, &in);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (in >= 0)
		close(in);
	output_forget(&worker);
	output_forget(&other);
	output_pool_gone(&pool);
	close(logs);
	return 0;
}

static void print(const char *text)
{
	assert_int_equal(write(in, text, strlen(text)), (ssize_t)strlen(text));
	fake_loop_turn();
}

static void hang_up(void)
{
	close(in);
	in = -1;
	fake_loop_turn();
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void test_lines(void **state)
{
	(void)state;
	print("one\ntwo\nthr");
	assert_int_equal(lines, 2);
	assert_string_equal(last, "two");
	assert_int_equal(last_kind, SINK_STDERR);
	assert_true(last_has_pool);
	print("ee\n\n");
	assert_int_equal(lines, 4);
	assert_string_equal(last, "");
	print("rest");
	assert_int_equal(lines, 4);
	hang_up();
	assert_int_equal(lines, 5);
	assert_string_equal(last, "rest");
	assert_int_equal(output_fd(&worker), -1);
}

/* The end of a process is heard of before the end of its pipe. */
static void test_process_ended(void **state)
{
	(void)state;
	output_ended(&other); /* it has no pipe */
	assert_int_equal(write(in, "one\nrest", 8), 8);
	output_ended(&worker); /* somebody else holds it */
	assert_int_equal(lines, 1);
	assert_true(output_fd(&worker) >= 0);
	print(" of it");
	close(in);
	in = -1;
	output_ended(&worker);
	assert_int_equal(lines, 2);
	assert_string_equal(last, "rest of it");
	assert_int_equal(output_fd(&worker), -1);
	output_ended(&worker);
	/* a full sink: what is in the pipe stays there, and its end */
	attach(&worker, &in);
	room = 0;
	print("kept\n");
	assert_int_equal(write(in, "too\n", 4), 4);
	close(in);
	in = -1;
	output_ended(&worker);
	assert_true(output_fd(&worker) >= 0);
	room = 10;
	drained();
	fake_loop_turn();
	fake_loop_turn();
	assert_int_equal(lines, 4);
	assert_string_equal(last, "too");
	assert_int_equal(output_fd(&worker), -1);
}

static void test_long_line(void **state)
{
	static char text[CREW_LOG_LINE_MAX + 11];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	print(text);
	assert_int_equal(lines, 1);
	assert_int_equal(last_len, CREW_LOG_LINE_MAX);
	print("\n");
	assert_int_equal(lines, 2);
	assert_int_equal(last_len, 10);
}

static void print_much(unsigned bytes)
{
	static char text[1001];

	memset(text, 'y', 999);
	text[999] = '\n';
	for (unsigned i = 0; i < bytes / 1000; i++)
		print(text);
}

static void test_ring(void **state)
{
	static char text[2 * CREW_LOG_RING];
	uint64_t first, end, from = 0;

	(void)state;
	print_much(100000);
	print("the end\n");
	output_range(&worker, &first, &end);
	assert_int_equal(end, 100008);
	assert_int_equal(end - first, CREW_LOG_RING);
	assert_int_equal(output_read(&worker, &from, text, sizeof(text)), CREW_LOG_RING);
	assert_int_equal(from, end);
	assert_memory_equal(text + CREW_LOG_RING - 9, "\nthe end\n", 9);
	assert_int_equal(output_read(&worker, &from, text, sizeof(text)), 0);
}

static void test_last_lines(void **state)
{
	uint64_t first, end;

	(void)state;
	assert_int_equal(output_last_lines(&worker, 5), 0);
	print("a\nbb\nccc\n");
	assert_int_equal(output_last_lines(&worker, 0), 9);
	assert_int_equal(output_last_lines(&worker, 1), 5);
	assert_int_equal(output_last_lines(&worker, 2), 2);
	assert_int_equal(output_last_lines(&worker, 3), 0);
	assert_int_equal(output_last_lines(&worker, 9), 0);
	print("dd");
	assert_int_equal(output_last_lines(&worker, 1), 9);
	print_much(100000);
	output_range(&worker, &first, &end);
	assert_int_equal(output_last_lines(&worker, 1000), first);
}

static void test_full_sink(void **state)
{
	(void)state;
	room = 1;
	print("one\ntwo\n");
	assert_int_equal(lines, 1);
	print("three\n"); /* stays in the pipe: the worker would wait when that is full */
	assert_int_equal(output_last_lines(&worker, 1), 4);
	room = 100;
	drained();
	fake_loop_turn();
	assert_int_equal(lines, 3);
	assert_string_equal(last, "three");
}

static void test_end_with_full_sink(void **state)
{
	(void)state;
	print("par");
	room = 0;
	hang_up();
	assert_non_null(worker.user);
	room = 100;
	drained();
	assert_string_equal(last, "par");
	assert_null(worker.user);
}

static void test_discard(void **state)
{
	(void)state;
	block.def.log = CONF_LOG_DISCARD;
	print("one\n");
	assert_int_equal(lines, 0);
	assert_int_equal(output_last_lines(&worker, 0), 4);
}

static void test_file(void **state)
{
	(void)state;
	block.def.log = CONF_LOG_FILE;
	print("early\n");
	assert_int_equal(lines, 0);
	output_pool_file(&pool, open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	assert_int_equal(lines, 1);
	assert_int_equal(last_kind, SINK_FILE);
	output_pool_file(&pool, open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	assert_int_equal(closed, 1);
	output_pool_file(&pool, -1, 2);
	print("nowhere\n");
	assert_int_equal(lines, 1);
}

static void test_next_process(void **state)
{
	int old = in;

	(void)state;
	print("by the first");
	assert_int_equal(write(old, "!", 1), 1);
	attach(&worker, &in); /* something still holds the old pipe */
	assert_string_equal(last, "by the first!");
	print("by the second\n");
	assert_int_equal(lines, 2);
	close(old);
}

static void test_next_manager(void **state)
{
	uint64_t from = 0;
	char text[32];

	(void)state;
	print("one\ntw");
	worker.user = NULL;
	other.slot = worker.slot; /* the same worker, as the next manager sees it */
	assert_int_equal(output_init(logs), 0);
	attach(&other, &in);
	print("o\n");
	assert_string_equal(last, "two");
	assert_int_equal(output_read(&other, &from, text, sizeof(text)), 8);
}

/* The pipe of a process that is still to be forked: what it prints waits until it is known. */
static void test_early(void **state)
{
	(void)state;
	output_wait(&other); /* it has no pipe */
	output_begin(&other);
	output_wait(&worker);
	print("one\n");
	assert_int_equal(lines, 0);
	output_begin(&worker);
	fake_loop_turn();
	assert_int_equal(lines, 1);
	print("two\n");
	assert_int_equal(lines, 2);
	/* a sink that has room again for what the one before has left: no reason to begin */
	room = 0;
	print("three\n");
	close(in);
	attach(&worker, &in);
	output_wait(&worker);
	room = 10;
	drained();
	assert_int_equal(lines, 3);
	print("four\n");
	assert_int_equal(lines, 3);
	output_ended(&worker); /* its end is the first that is heard of it */
	assert_int_equal(lines, 4);
	/* there was no process after all */
	close(in);
	attach(&worker, &in);
	output_wait(&worker);
	hang_up();
	output_ended(&worker);
	assert_int_equal(output_fd(&worker), -1);
}

/* The end that signals go by is kept for as long as the process is there. */
static void test_closed_output(void **state)
{
	int kept;

	(void)state;
	assert_int_equal(output_owner(&other), -1);
	assert_int_equal(output_owner(&worker), output_fd(&worker));
	hang_up();
	assert_int_equal(output_fd(&worker), -1);
	kept = output_owner(&worker);
	assert_true(kept >= 0);
	output_ended(&worker);
	assert_int_equal(output_owner(&worker), -1);
	assert_int_equal(fcntl(kept, F_GETFD), -1);
	attach(&worker, &in); /* it ended, and its pipe with it */
	close(in);
	in = -1;
	output_ended(&worker);
	assert_int_equal(output_owner(&worker), -1);
	attach(&worker, &in);
	hang_up();
	attach(&worker, &in); /* the next process */
	assert_int_equal(output_owner(&worker), output_fd(&worker));
	hang_up();
	kept = output_owner(&worker);
	output_forget(&worker);
	assert_int_equal(fcntl(kept, F_GETFD), -1);
}

static void test_forget(void **state)
{
	uint64_t first, end, from = 0;
	char text[8];

	(void)state;
	print("secret\n");
	output_forget(&worker);
	output_range(&worker, &first, &end);
	assert_int_equal(end, 0);
	assert_int_equal(output_read(&worker, &from, text, sizeof(text)), 0);
	attach(&worker, &in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_lines),	      T(test_long_line), T(test_ring),
		T(test_process_ended),
		T(test_last_lines),   T(test_full_sink), T(test_end_with_full_sink),
		T(test_discard),      T(test_file),	 T(test_next_process),
		T(test_next_manager), T(test_forget),	 T(test_early),
		T(test_closed_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
