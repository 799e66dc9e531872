/* The channel between keeper and manager, those that wait to be forked, and the keeper's table of children. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/keeper/table.h"
#include "daemon/line.h"
#include "daemon/outbox.h"
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

static void test_tail(void **state)
{
	static char long_one[WIRE_TAIL_MAX + 1];
	static const size_t sizes[] = { 0, 1, WIRE_TAIL_MAX };
	int *pair = *state, fds[WIRE_FDS_MAX];
	unsigned before = open_fds(), count;
	struct wire w = { .type = WIRE_SPAWN };
	struct wire_tail tail;

	memset(long_one, 't', sizeof(long_one));
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		assert_int_equal(wire_send_tail(pair[0], &w, long_one, sizes[i], pair, i), 0);
		tail = (struct wire_tail){ .len = 77 };
		assert_int_equal(wire_receive_tail(pair[1], &w, &tail, fds, &count), 1);
		assert_int_equal(count, i);
		assert_int_equal(tail.len, sizes[i]);
		assert_memory_equal(tail.data, long_one, sizes[i]);
		while (count)
			close(fds[--count]);
	}
	assert_int_equal(wire_send_tail(pair[0], &w, long_one, sizeof(long_one), NULL, 0), -1);
	assert_int_equal(errno, EINVAL);
	/* to who expects none it is no packet */
	assert_int_equal(wire_send_tail(pair[0], &w, long_one, 1, pair, 2), 0);
	assert_int_equal(wire_receive(pair[1], &w, fds, &count), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(count, 0);
	assert_int_equal(open_fds(), before);
}

/* A packet of another size is refused, and what came with it is closed. */
static void send_odd(int fd, size_t size, int with)
{
	static char bytes[2 * sizeof(struct wire) + WIRE_TAIL_MAX];
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

static void test_odd_sizes_with_tail(void **state)
{
	static const size_t sizes[] = { 1, sizeof(struct wire) - 1,
					sizeof(struct wire) + WIRE_TAIL_MAX + 1 };
	int *pair = *state, fds[WIRE_FDS_MAX];
	unsigned before = open_fds(), count;
	struct wire_tail tail;
	struct wire w;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		send_odd(pair[0], sizes[i], pair[0]);
		assert_int_equal(wire_receive_tail(pair[1], &w, &tail, fds, &count), -1);
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

/* What had to wait is a copy, and comes in its order. */
static void test_outbox(void **state)
{
	enum { MANY = 3000 };
	int *pair = *state, fds[WIRE_FDS_MAX];
	struct outbox box = { 0 };
	struct wire_tail tail;
	char text[16];
	unsigned count;
	struct wire w;

	for (unsigned i = 0; i < MANY; i++) {
		struct outbox_item item = { .type = WIRE_SPAWN,
					    .slot = i,
					    .name = "w-1",
					    .fds = { -1, -1 },
					    .tail = text };

		item.tail_len = (size_t)snprintf(text, sizeof(text), "%u", i) + 1;
		outbox_put(&box, pair[0], &item);
	}
	assert_true(outbox_waits(&box));
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(wire_receive_tail(pair[1], &w, &tail, fds, &count), 1);
		assert_int_equal(w.spawn.slot, i);
		assert_int_equal(tail.len, strlen(tail.data) + 1);
		assert_int_equal(strtoul(tail.data, NULL, 10), i);
		outbox_flush(&box, pair[0]);
	}
	assert_false(outbox_waits(&box));
	/* and when nobody hears them */
	for (unsigned i = 0; i < MANY; i++)
		outbox_put(&box, pair[0],
			   &(struct outbox_item){ .type = WIRE_SPAWN,
						  .name = "w-1",
						  .fds = { -1, -1 },
						  .tail = text,
						  .tail_len = 3 });
	assert_true(outbox_waits(&box));
	outbox_free(&box);
}

/* ---- the line ---------------------------------------------------------------------------------- */

static void test_line(void **state)
{
	struct line_entry e;

	(void)state;
	assert_false(line_take(&e));
	for (uint32_t turn = 0; turn < 3; turn++) { /* around the ring */
		for (uint32_t i = 0; i < CREW_WORKERS_MAX / 2 + 7; i++)
			line_put((struct line_entry){ i, turn, 5 });
		assert_false(line_is_full());
		for (uint32_t i = 0; i < CREW_WORKERS_MAX / 2 + 7; i++) {
			assert_true(line_take(&e));
			assert_int_equal(e.slot, i);
			assert_int_equal(e.run, turn);
		}
	}
	for (uint32_t i = 0; i < CREW_WORKERS_MAX; i++)
		line_put((struct line_entry){ i, 1, 5 });
	assert_true(line_is_full());
	line_clear();
	assert_false(line_take(&e));
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

static void begin(unsigned slot, int64_t now, uint32_t with)
{
	struct slot *s = table_slot(slot);

	s->with = with;
	s->told.state = WIRE_RUNNING;
	s->told.pid = 100 + (pid_t)slot;
	s->told.started = now;
	table_began(s);
}

static void expect_news(int slot)
{
	if (slot < 0) {
		assert_null(table_news());
		return;
	}
	assert_non_null(table_news());
	assert_int_equal(table_news()->told.slot, slot);
	table_told(table_news());
}

static void test_begin_of_tasks_is_held_back(void **state)
{
	(void)state;
	begin(1, 1000, 0); /* no task */
	expect_news(1);
	assert_false(table_holds());
	begin(2, 1000, WIRE_WITH_TASK);
	begin(3, 1500, WIRE_WITH_TASK);
	begin(4, 1000, WIRE_WITH_TASK);
	expect_news(-1);
	assert_true(table_holds());
	table_slot(4)->told.state = WIRE_GONE; /* its end is told with its begin */
	table_mark(table_slot(4));
	expect_news(4);
	table_release(999);
	expect_news(-1);
	table_release(1000);
	expect_news(2);
	expect_news(-1);
	assert_true(table_holds());
	/* another process in the slot begins anew */
	begin(3, 3000, WIRE_WITH_TASK);
	table_release(2000);
	expect_news(-1);
	table_release(3000);
	expect_news(3);
	assert_false(table_holds());
	/* one that waits to be forked again is not there to be told */
	begin(2, 4000, WIRE_WITH_TASK);
	table_slot(2)->told = (struct wire_child){ .slot = 2, .state = WIRE_STARTING };
	table_release(5000);
	expect_news(-1);
	assert_false(table_holds());
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
		assert_int_equal(slot_make_pipes(&s, kinds[i].tasks, true), 0);
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
		s.status = -1;
		for (unsigned n = 0; n < count; n++)
			assert_int_equal(fcntl(fds[n], F_GETFD), -1);
		assert_int_equal(slot_make_pipes(&s, kinds[i].tasks, false), 0);
		assert_int_equal(s.status, -1);
		assert_int_equal(open_fds(), before + kinds[i].child - 1);
		slot_drop_pipes(&s);
		assert_int_equal(open_fds(), before);
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
		r = slot_make_pipes(&s, CONF_TASKS_LINES, true);
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
		ON_PAIR(test_tail),
		ON_PAIR(test_odd_sizes),
		ON_PAIR(test_odd_sizes_with_tail),
		ON_PAIR(test_lost_descriptors),
		ON_PAIR(test_full),
		ON_PAIR(test_outbox),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_pipes_of_each_kind),
		cmocka_unit_test(test_no_descriptors_for_pipes),
		ON_TABLE(test_slots),
		ON_TABLE(test_pids),
		ON_TABLE(test_news_in_order),
		ON_TABLE(test_all_for_another_manager),
		ON_TABLE(test_begin_of_tasks_is_held_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
