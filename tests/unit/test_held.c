/* What outlives a manager: both sides of it. And descriptors that go along with a stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>
#include <errno.h>
#include <cmocka.h>
#include "daemon/held.h"
#include "daemon/keep.h"
#include "daemon/pass.h"

static int memory(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static struct wire hold(unsigned cell, const char *name, int value)
{
	struct wire w = { .type = WIRE_HOLD, .value = value, .hold.cell = cell };

	strncpy(w.hold.name, name, CREW_NAME_MAX);
	return w;
}

/* Gives the keeper a descriptor; returns which memory it is of. */
static ino_t give(unsigned cell, const char *name)
{
	struct wire w = hold(cell, name, 1);
	int fd = memory();
	ino_t which = inode(fd);
	unsigned count = 1;

	held_take(&w, &fd, &count);
	assert_int_equal(count, 0);
	return which;
}

static void let_go(unsigned cell)
{
	struct wire w = hold(cell, "", 0);
	unsigned count = 0;

	held_take(&w, NULL, &count);
}

static bool told(int fd, unsigned *cell, ino_t *which)
{
	int fds[WIRE_FDS_MAX];
	unsigned count;
	struct wire w;

	if (wire_receive(fd, &w, fds, &count) != 1)
		return false;
	assert_int_equal(w.type, WIRE_HELD);
	assert_int_equal(count, 1);
	*cell = w.hold.cell;
	*which = inode(fds[0]);
	close(fds[0]);
	return true;
}

static void test_keeper_tells_each_manager(void **state)
{
	ino_t first = give(3, "a"), second = give(255, "b"), third, which;
	unsigned cell;
	int pair[2];

	(void)state;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	for (int manager = 0; manager < 2; manager++) {
		held_tell_again();
		assert_true(held_tell(pair[0]));
		assert_true(told(pair[1], &cell, &which));
		assert_true(cell == 3 && which == first);
		assert_true(told(pair[1], &cell, &which));
		assert_true(cell == 255 && which == second);
		assert_true(held_tell(pair[0])); /* once is enough */
		assert_false(told(pair[1], &cell, &which));
	}
	let_go(255);
	third = give(3, "c"); /* instead of what was there */
	held_tell_again();
	assert_true(held_tell(pair[0]));
	assert_true(told(pair[1], &cell, &which));
	assert_true(cell == 3 && which == third);
	assert_false(told(pair[1], &cell, &which));
	let_go(3);
	close(pair[0]);
	close(pair[1]);
}

static void test_keeper_goes_on_when_there_is_room_again(void **state)
{
	unsigned cell, seen = 0;
	int pair[2], small = 1;
	ino_t which;

	(void)state;
	for (unsigned i = 0; i < CREW_QUEUES_SHARED_MAX; i++)
		give(i, "q");
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	held_tell_again();
	assert_false(held_tell(pair[0]));
	assert_int_equal(errno, EAGAIN);
	do
		while (told(pair[1], &cell, &which))
			assert_int_equal(cell, seen++);
	while (!held_tell(pair[0]));
	while (told(pair[1], &cell, &which))
		assert_int_equal(cell, seen++);
	assert_int_equal(seen, CREW_QUEUES_SHARED_MAX);
	for (unsigned i = 0; i < CREW_QUEUES_SHARED_MAX; i++)
		let_go(i);
	close(pair[0]);
	close(pair[1]);
}

static void test_keeper_believes_nothing(void **state)
{
	struct wire bad[] = { hold(CREW_QUEUES_SHARED_MAX, "a", 1), hold(UINT32_MAX, "a", 0),
			      hold(0, "a b", 1), hold(0, "", 1), hold(0, "a", 1) };
	int fd = memory();

	(void)state;
	memset(bad[4].hold.name, 'a', sizeof(bad[4].hold.name));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		unsigned count = 1;

		held_take(&bad[i], &fd, &count);
		assert_int_equal(count, 1); /* the caller closes it */
	}
	bad[4] = hold(0, "a", 1);
	held_take(&bad[4], NULL, &(unsigned){ 0 }); /* it got lost on its way */
	held_tell_again();
	assert_true(held_tell(-1)); /* there is nothing to be told */
	close(fd);
}

/* ---- the manager's side ----------------------------------------------------------------------- */

static struct {
	unsigned cell;
	char name[CREW_NAME_MAX + 1];
	int fd;
	unsigned count;
} sent;
static bool waits;

static void on_send(unsigned cell, const char *name, int fd)
{
	sent.cell = cell;
	snprintf(sent.name, sizeof(sent.name), "%s", name);
	sent.fd = fd;
	sent.count++;
}

static bool on_waits(void)
{
	return waits;
}

static void test_manager_takes_back_what_it_knows(void **state)
{
	int a = memory(), b = memory(), twice = memory(), out = memory();
	unsigned cell;

	(void)state;
	keep_init(on_send, on_waits);
	keep_found(7, "a", a);
	keep_found(0, "b", b);
	keep_found(7, "again", twice);
	keep_found(CREW_QUEUES_SHARED_MAX, "out", out);
	assert_false(is_open(twice) || is_open(out));
	assert_int_equal(keep_take("none", &cell), -1);
	assert_int_equal(keep_take("a", &cell), a);
	assert_int_equal(cell, 7);
	assert_int_equal(keep_take("a", &cell), -1); /* it has it */
	assert_string_equal(keep_left(), "b");
	keep_forget("b");
	assert_null(keep_left());
	assert_false(is_open(b));
	assert_true(sent.count == 1 && sent.cell == 0 && sent.fd == -1);
	keep_drop(7);
	assert_true(sent.count == 2 && sent.cell == 7 && sent.fd == -1);
	close(a);
}

static void test_manager_gives(void **state)
{
	unsigned cell, cells[CREW_QUEUES_SHARED_MAX];
	int fd = memory();

	(void)state;
	keep_init(on_send, on_waits);
	for (unsigned i = 0; i < CREW_QUEUES_SHARED_MAX; i++) {
		assert_true(keep_put("q", fd, &cells[i]));
		assert_true(sent.cell == cells[i] && sent.fd == fd);
		assert_string_equal(sent.name, "q");
	}
	assert_false(keep_put("more", fd, &cell));
	keep_drop(cells[9]);
	assert_true(keep_put("more", fd, &cell));
	assert_int_equal(cell, cells[9]);
	assert_string_equal(sent.name, "more");
	waits = true;
	assert_true(keep_waits());
	waits = false;
	assert_false(keep_waits());
	for (unsigned i = 0; i < CREW_QUEUES_SHARED_MAX; i++)
		keep_drop(cells[i]);
	close(fd);
}

/* ---- descriptors on a stream ------------------------------------------------------------------ */

/* Reads what there is up to a descriptor; returns it, or -1. */
static int receive(int socket, char *text, size_t size)
{
	char space[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = { text, size - 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = space,
			      .msg_controllen = sizeof(space) };
	ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	int fd = -1;

	text[n < 0 ? 0 : n] = '\0';
	if (c) {
		assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(int)));
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	}
	return fd;
}

static void send_all(struct passing *p, int socket, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = pass_send(p, socket, text, len);

		assert_true(n > 0);
		text += n;
		len -= (size_t)n;
	}
}

static void test_each_comes_with_its_message(void **state)
{
	struct passing p = { 0 };
	int pair[2], a = memory(), b = memory(), fd;
	char text[64];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(pass_add(&p, a, 4));
	assert_true(pass_add(&p, b, 6));
	send_all(&p, pair[0], "oneAabBccc");
	assert_int_equal(p.count, 0);
	fd = receive(pair[1], text, 5); /* up to the byte before it */
	assert_string_equal(text, "oneA");
	assert_int_equal(fd, -1);
	fd = receive(pair[1], text, sizeof(text));
	assert_string_equal(text, "ab");
	assert_true(inode(fd) == inode(a));
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	fd = receive(pair[1], text, sizeof(text));
	assert_string_equal(text, "Bccc");
	assert_true(inode(fd) == inode(b));
	close(fd);
	close(a);
	close(b);
	close(pair[0]);
	close(pair[1]);
}

static void test_few_wait_and_none_is_left(void **state)
{
	struct passing p = { 0 };
	int pair[2], a = memory(), last;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	for (size_t i = 0; i < PASS_MAX; i++)
		assert_true(pass_add(&p, a, i));
	assert_false(pass_add(&p, a, PASS_MAX));
	assert_int_equal(errno, ENOSPC);
	last = p.at[PASS_MAX - 1].fd;
	close(pair[1]);
	assert_int_equal(pass_send(&p, pair[0], "x", 1), -1);
	assert_int_equal(p.count, PASS_MAX);
	pass_drop(&p);
	assert_false(is_open(last));
	assert_int_equal(p.count, 0);
	close(a);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeper_tells_each_manager),
		cmocka_unit_test(test_keeper_goes_on_when_there_is_room_again),
		cmocka_unit_test(test_keeper_believes_nothing),
		cmocka_unit_test(test_manager_takes_back_what_it_knows),
		cmocka_unit_test(test_manager_gives),
		cmocka_unit_test(test_each_comes_with_its_message),
		cmocka_unit_test(test_few_wait_and_none_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
