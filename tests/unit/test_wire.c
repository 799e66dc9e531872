/* The channel between keeper and manager, and the keeper's table of children. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/keeper/table.h"
#include "daemon/wire.h"

static int make_pair(void **state)
{
	static int pair[2];

	*state = pair;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int close_pair(void **state)
{
	int *pair = *state;

	close(pair[0]);
	close(pair[1]);
	return 0;
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_packet(void **state)
{
	int *pair = *state, fds[WIRE_FDS_MAX];
	struct wire out = { .type = WIRE_SPAWN, .value = -7 }, in;
	unsigned count = 99;

	out.spawn.slot = 12;
	strcpy(out.spawn.name, "web-1");
	assert_int_equal(wire_send(pair[0], &out, NULL, 0), 0);
	assert_int_equal(wire_receive(pair[1], &in, fds, &count), 1);
	assert_int_equal(count, 0);
	assert_memory_equal(&in, &out, sizeof(in));
}

static void test_nothing_there(void **state)
{
	int *pair = *state, fds[WIRE_FDS_MAX];
	struct wire in;
	unsigned count;

	assert_int_equal(wire_receive(pair[1], &in, fds, &count), -1);
	assert_int_equal(errno, EAGAIN);
}

static void test_other_side_gone(void **state)
{
	int *pair = *state, fds[WIRE_FDS_MAX];
	struct wire w = { .type = WIRE_PING };
	unsigned count;

	close(pair[0]);
	assert_int_equal(wire_receive(pair[1], &w, fds, &count), 0);
	assert_int_equal(wire_send(pair[1], &w, NULL, 0), -1);
	assert_int_equal(errno, EPIPE);
	pair[0] = -1;
}

/* The last words of one that left without having heard everything are heard. */
static void test_last_words(void **state)
{
	int *pair = *state, fds[WIRE_FDS_MAX];
	struct wire w = { .type = WIRE_DONE, .value = 7 }, in;
	unsigned count;

	assert_int_equal(wire_send(pair[1], &w, NULL, 0), 0);
	assert_int_equal(wire_send(pair[0], &w, NULL, 0), 0);
	close(pair[0]);
	assert_int_equal(wire_receive(pair[1], &in, fds, &count), 1);
	assert_int_equal(in.value, 7);
	assert_int_equal(wire_receive(pair[1], &in, fds, &count), 0);
	pair[0] = -1;
}

static void test_descriptors(void **state)
{
	int *pair = *state, fds[WIRE_FDS_MAX], p[2];
	struct wire w = { .type = WIRE_CHILD };
	unsigned count, before;
	char c = 0;

	assert_int_equal(pipe(p), 0);
	before = open_fds();
	assert_int_equal(wire_send(pair[0], &w, p, 2), 0);
	assert_int_equal(wire_receive(pair[1], &w, fds, &count), 1);
	assert_int_equal(count, 2);
	assert_int_equal(open_fds(), before + 2);
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(read(p[0], &c, 1), 1);
	assert_int_equal(c, 'x');
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(p[i]);
	}
}

static void test_too_many_descriptors(void **state)
{
	int *pair = *state, fds[WIRE_FDS_MAX + 1] = { 0 };
	struct wire w = { .type = WIRE_CHILD };

	assert_int_equal(wire_send(pair[0], &w, fds, WIRE_FDS_MAX + 1), -1);
	assert_int_equal(errno, EINVAL);
}

/* A packet of another size is refused, and what came with it is closed. */
static void send_odd(int fd, size_t size, int with)
{
	char bytes[2 * sizeof(struct wire)] = { 0 };
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &with, sizeof(int));
	assert_int_equal(sendmsg(fd, &msg, 0), size);
}

static void test_odd_sizes(void **state)
{
	static const size_t sizes[] = { 1, sizeof(struct wire) - 1, sizeof(struct wire) + 1 };
	int *pair = *state, fds[WIRE_FDS_MAX];
	unsigned before = open_fds(), count;
	struct wire w;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		send_odd(pair[0], sizes[i], pair[0]);
		assert_int_equal(wire_receive(pair[1], &w, fds, &count), -1);
		assert_int_equal(errno, EPROTO);
		assert_int_equal(count, 0);
		assert_int_equal(open_fds(), before);
	}
}

/* Out of descriptors: the packet arrives, those that did not fit are told to be missing. */
static void test_lost_descriptors(void **state)
{
	int *pair = *state, fds[WIRE_FDS_MAX];
	const int given[2] = { pair[0], pair[1] };
	struct wire w = { .type = WIRE_SPAWN, .value = 5 };
	struct rlimit old, tight;
	unsigned count;
	int r;

	assert_int_equal(wire_send(pair[0], &w, given, 2), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = 0;
	while (fcntl((int)tight.rlim_cur, F_GETFD) >= 0)
		tight.rlim_cur++;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	r = wire_receive(pair[1], &w, fds, &count);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(r, -1);
	assert_int_equal(errno, EMFILE);
	assert_int_equal(w.value, 5);
	assert_int_equal(count, 0);
}

/* A side that does not read is never waited for, and nothing of what it was sent is lost. */
static void test_full(void **state)
{
	int *pair = *state, fds[WIRE_FDS_MAX], sent = 0;
	struct wire w = { .type = WIRE_PING };
	unsigned count;

	for (; sent < 100000; sent++) {
		w.value = sent;
		if (wire_send(pair[0], &w, NULL, 0) < 0)
			break;
	}
	assert_int_equal(errno, EAGAIN);
	assert_true(sent > 0);
	for (int i = 0; i < sent; i++) {
		assert_int_equal(wire_receive(pair[1], &w, fds, &count), 1);
		assert_int_equal(w.value, i);
	}
}

/* ---- the table -------------------------------------------------------------------------------- */

static int make_table(void **state)
{
	(void)state;
	return table_init();
}

static void test_slots(void **state)
{
	(void)state;
	assert_null(table_slot(CREW_WORKERS_MAX));
	assert_int_equal(table_used(), 0);
	assert_int_equal(table_slot(7)->told.slot, 7);
	assert_int_equal(table_used(), 8);
	assert_int_equal(table_slot(3)->log, -1);
	assert_int_equal(table_slot(3)->block, -1);
	assert_int_equal(table_slot(3)->task_in, -1);
	assert_int_equal(table_slot(3)->task_out, -1);
}

/* Those whose pids share a bucket are found, and stay found when one of them goes. */
static void test_pids(void **state)
{
	static const pid_t pids[] = { 5000, 5000 + 4096, 5000 + 8192, 77 };

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		table_forked(table_slot(i), pids[i]);
	assert_int_equal(table_alive(), 4);
	table_reaped(table_slot(1));
	assert_null(table_pid(pids[1]));
	assert_int_equal(table_pid(pids[0])->told.slot, 0);
	assert_int_equal(table_pid(pids[2])->told.slot, 2);
	table_reaped(table_slot(2));
	table_reaped(table_slot(0));
	assert_null(table_pid(pids[0]));
	assert_int_equal(table_pid(77)->told.slot, 3);
	assert_int_equal(table_alive(), 1);
}

static void test_news_in_order(void **state)
{
	(void)state;
	assert_null(table_news());
	table_mark(table_slot(9));
	table_mark(table_slot(2));
	table_mark(table_slot(9));
	assert_int_equal(table_news()->told.slot, 9);
	table_told(table_news());
	table_mark(table_slot(9));
	assert_int_equal(table_news()->told.slot, 2);
	table_told(table_news());
	assert_int_equal(table_news()->told.slot, 9);
	table_told(table_news());
	assert_null(table_news());
}

static void test_all_for_another_manager(void **state)
{
	(void)state;
	table_slot(4)->told.state = WIRE_RUNNING;
	table_slot(4)->fds_told = true;
	table_slot(5)->block = 3; /* free, but a `run` worker's specification is kept there */
	table_mark_all();
	assert_int_equal(table_news()->told.slot, 4);
	assert_false(table_news()->fds_told);
	table_told(table_news());
	assert_int_equal(table_news()->told.slot, 5);
	table_told(table_news());
	assert_null(table_news());
}

/* ---- a slot's descriptors --------------------------------------------------------------------- */

static void test_pipes_of_each_kind(void **state)
{
	static const struct {
		enum conf_tasks tasks;
		uint32_t which; /* bits of enum wire_child_fd */
		unsigned child; /* ends that the child gets, its status and log among them */
	} kinds[] = {
		{ CONF_TASKS_NONE, 1u << WIRE_CHILD_LOG, 2 },
		{ CONF_TASKS_EXEC, 1u << WIRE_CHILD_LOG | 1u << WIRE_CHILD_OUT, 3 },
		{ CONF_TASKS_LINES,
		  1u << WIRE_CHILD_LOG | 1u << WIRE_CHILD_IN | 1u << WIRE_CHILD_OUT, 4 },
		{ CONF_TASKS_JSONRPC,
		  1u << WIRE_CHILD_LOG | 1u << WIRE_CHILD_IN | 1u << WIRE_CHILD_OUT, 4 },
	};
	unsigned before = open_fds();

	(void)state;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		int fds[WIRE_FDS_MAX];
		uint32_t which;
		struct slot s = { 0 };
		unsigned count;

		slot_init(&s);
		assert_int_equal(slot_make_pipes(&s, kinds[i].tasks), 0);
		count = slot_fds(&s, fds, &which);
		assert_int_equal(which, kinds[i].which);
		assert_int_equal(count, __builtin_popcount(which));
		assert_int_equal(open_fds(), before + kinds[i].child); /* its own are put away */
		slot_unshared(&s);
		assert_int_equal(open_fds(), before);
		assert_int_equal(slot_fds(&s, fds, &which), count);
		slot_close_input(&s);
		slot_clear(&s);
		assert_int_equal(slot_fds(&s, fds, &which), 0);
		close(s.status);
		for (unsigned n = 0; n < count; n++)
			assert_int_equal(fcntl(fds[n], F_GETFD), -1);
	}
}

/* At whichever descriptor there are no more: nothing stays behind. */
static void test_no_descriptors_for_pipes(void **state)
{
	unsigned before = open_fds(), failed = 0, first = 0;
	struct rlimit old, tight;
	int r = -1;

	while (fcntl((int)first, F_GETFD) >= 0)
		first++;
	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (rlim_t limit = first; r < 0; limit++) {
		struct slot s = { 0 };

		slot_init(&s);
		tight = (struct rlimit){ limit, old.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
		r = slot_make_pipes(&s, CONF_TASKS_LINES);
		if (r < 0) {
			assert_int_equal(errno, EMFILE);
			assert_int_equal(open_fds(), before);
			failed++;
			continue;
		}
		slot_drop_pipes(&s);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(failed >= 8); /* four pipes */
	assert_int_equal(open_fds(), before);
}

#define ON_PAIR(test)  cmocka_unit_test_setup_teardown(test, make_pair, close_pair)
#define ON_TABLE(test) cmocka_unit_test_setup(test, make_table)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_PAIR(test_packet),
		ON_PAIR(test_nothing_there),
		ON_PAIR(test_other_side_gone),
		ON_PAIR(test_last_words),
		ON_PAIR(test_descriptors),
		ON_PAIR(test_too_many_descriptors),
		ON_PAIR(test_odd_sizes),
		ON_PAIR(test_lost_descriptors),
		ON_PAIR(test_full),
		cmocka_unit_test(test_pipes_of_each_kind),
		cmocka_unit_test(test_no_descriptors_for_pipes),
		ON_TABLE(test_slots),
		ON_TABLE(test_pids),
		ON_TABLE(test_news_in_order),
		ON_TABLE(test_all_for_another_manager),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
