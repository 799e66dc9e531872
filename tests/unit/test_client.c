/* A client against a daemon that a thread of the test plays. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/bounds.h"
#include "lib/client.h"
#include "lib/clock.h"

/* What the other side does: says `text` of `size` bytes `times`, a byte at a time or not, and leaves or stays. */
static struct {
	int listener;
	char dir[32], path[64];
	const char *text;
	size_t size, times;
	bool slowly, stays;
	pthread_t thread;
	struct client *client;
} t;

static void say(int fd, const char *text, size_t size)
{
	while (size) {
		ssize_t n = send(fd, text, t.slowly ? 1 : size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		text += n;
		size -= (size_t)n;
	}
}

static void *serve(void *arg)
{
	int fd = accept(t.listener, NULL, NULL);
	char byte;

	while (recv(fd, &byte, 1, 0) == 1 && byte)
		;
	for (size_t i = 0; i < t.times; i++)
		say(fd, t.text, t.size);
	while (t.stays && recv(fd, &byte, 1, 0) == 1)
		;
	close(fd);
	return arg;
}

static int begin(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	(void)state;
	memset(&t, 0, sizeof(t));
	strcpy(t.dir, "/tmp/crewd-client-XXXXXX");
	if (!mkdtemp(t.dir))
		return -1;
	snprintf(t.path, sizeof(t.path), "%s/s", t.dir);
	strcpy(a.sun_path, t.path);
	t.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(t.listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(t.listener, 5) < 0;
}

static int end(void **state)
{
	(void)state;
	client_close(t.client);
	shutdown(t.listener, SHUT_RDWR); /* a thread that nobody came to would wait for ever */
	if (t.thread)
		pthread_join(t.thread, NULL);
	close(t.listener);
	unlink(t.path);
	return rmdir(t.dir);
}

/* Calls, with the other side answering so. */
static void ask(const char *text, size_t size, size_t times, bool slowly, bool stays)
{
	t.text = text;
	t.size = size;
	t.times = times;
	t.slowly = slowly;
	t.stays = stays;
	assert_int_equal(pthread_create(&t.thread, NULL, serve, NULL), 0);
	t.client = client_connect(t.path);
	assert_non_null(t.client);
	assert_int_equal(client_send(t.client, "a.b.C", NULL, 0, 0), 0);
}

static void expect_failure(int err, int64_t deadline)
{
	struct message_reply r;

	errno = 0;
	assert_int_equal(client_receive(t.client, &r, deadline), -1);
	assert_int_equal(errno, err);
}

#define REPLY "{\"parameters\":{\"n\":1},\"continues\":true}"

static void test_replies(void **state)
{
	struct message_reply r;

	(void)state;
	ask(REPLY, sizeof(REPLY), 3, false, false);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(client_receive(t.client, &r, INT64_MAX), 0);
		assert_true(r.continues);
		message_reply_free(&r);
	}
	expect_failure(EPIPE, INT64_MAX);
}

static void test_byte_by_byte(void **state)
{
	struct message_reply r;

	(void)state;
	ask(REPLY, sizeof(REPLY), 2, true, true);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(client_receive(t.client, &r, INT64_MAX), 0);
		message_reply_free(&r);
	}
}

static void test_no_answer(void **state)
{
	(void)state;
	ask(REPLY, sizeof(REPLY) - 1, 1, false, true); /* its end is missing */
	expect_failure(ETIMEDOUT, clock_now() + 50 * USEC_PER_MSEC);
	expect_failure(ETIMEDOUT, 0); /* long ago */
}

static void test_half_an_answer(void **state)
{
	(void)state;
	ask(REPLY, 10, 1, false, false);
	expect_failure(EPIPE, INT64_MAX);
}

static void test_no_reply_at_all(void **state)
{
	(void)state;
	ask("nonsense", 9, 1, false, true);
	expect_failure(EPROTO, INT64_MAX);
}

static void test_endless_answer(void **state)
{
	static char much[65536];

	(void)state;
	memset(much, ' ', sizeof(much));
	ask(much, sizeof(much), 1000, false, true);
	expect_failure(EPROTO, INT64_MAX);
	client_close(t.client);
	t.client = NULL;
}

static void test_too_much_to_send(void **state)
{
	char *much = malloc(CREW_MESSAGE_MAX);

	(void)state;
	assert_non_null(much);
	memset(much, ' ', CREW_MESSAGE_MAX);
	much[0] = '{';
	much[CREW_MESSAGE_MAX - 1] = '}';
	ask(REPLY, sizeof(REPLY), 1, false, false);
	errno = 0;
	assert_int_equal(client_send(t.client, "a.b.C", much, CREW_MESSAGE_MAX, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	free(much);
}

static void test_nobody_there(void **state)
{
	char *longest;

	(void)state;
	assert_null(client_connect("/nonexistent/s"));
	assert_int_equal(errno, ENOENT);
	close(t.listener);
	t.listener = -1;
	assert_null(client_connect(t.path));
	assert_int_equal(errno, ECONNREFUSED);
	longest = calloc(1, 201);
	memset(longest, 'a', 200);
	assert_null(client_connect(longest));
	assert_int_equal(errno, ENAMETOOLONG);
	free(longest);
}

/* ---- what arrives at the other side ------------------------------------------------------------ */

/* The other end of a connection that waits in the backlog: no thread is needed to take it. */
static int other_end(void)
{
	int fd;

	t.client = client_connect(t.path);
	assert_non_null(t.client);
	fd = accept(t.listener, NULL, NULL);
	assert_true(fd >= 0);
	return fd;
}

static void expect_arrives(int fd, const char *text)
{
	char got[200];

	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), strlen(text) + 1);
	assert_string_equal(got, text);
}

static void test_calls_arrive(void **state)
{
	int fd = other_end();

	(void)state;
	assert_int_equal(client_send(t.client, "a.b.C", NULL, 0, 0), 0);
	expect_arrives(fd, "{\"method\":\"a.b.C\"}");
	assert_int_equal(client_send(t.client, "a.b.C", "{\"x\":1}", 7, MESSAGE_MORE), 0);
	expect_arrives(fd, "{\"method\":\"a.b.C\",\"parameters\":{\"x\":1},\"more\":true}");
	assert_int_equal(client_send(t.client, "a.b.C", NULL, 0, MESSAGE_ONEWAY), 0);
	expect_arrives(fd, "{\"method\":\"a.b.C\",\"oneway\":true}");
	close(fd);
}

/* Takes one call, in whatever parts it comes; then says how long it was. */
static void *measure(void *arg)
{
	int fd = accept(t.listener, NULL, NULL);
	static char part[65536];
	char reply[64];
	size_t size = 0;
	ssize_t n;

	do {
		n = recv(fd, part, sizeof(part), 0);
		size += n > 0 ? (size_t)n : 0;
	} while (n > 0 && part[n - 1]);
	n = snprintf(reply, sizeof(reply), "{\"parameters\":{\"n\":%zu}}", size);
	send(fd, reply, (size_t)n + 1, MSG_NOSIGNAL);
	close(fd);
	return arg;
}

static void test_longest_call(void **state)
{
	const size_t around = strlen("{\"method\":\"a.b.C\",\"parameters\":}");
	size_t size = CREW_MESSAGE_MAX - around;
	char *params = malloc(size + 1);
	struct message_reply r;
	int64_t n;

	(void)state;
	assert_non_null(params);
	memset(params, ' ', size + 1);
	params[0] = '{';
	params[size - 1] = '}';
	assert_int_equal(pthread_create(&t.thread, NULL, measure, NULL), 0);
	t.client = client_connect(t.path);
	assert_non_null(t.client);
	/* one byte more goes nowhere, and the connection stays good */
	assert_int_equal(client_send(t.client, "a.b.C", params, size + 1, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(client_send(t.client, "a.b.C", params, size, 0), 0);
	assert_int_equal(client_receive(t.client, &r, INT64_MAX), 0);
	assert_true(json_get_int(r.params, "n", &n));
	assert_int_equal(n, CREW_MESSAGE_MAX + 1);
	message_reply_free(&r);
	free(params);
}

/* ---- answers of all kinds ---------------------------------------------------------------------- */

static void test_errors(void **state)
{
	static const char text[] = "{\"error\":\"a.b.Bad\",\"parameters\":{\"name\":\"x\"}}";
	struct message_reply r;

	(void)state;
	ask(text, sizeof(text), 1, false, false);
	assert_int_equal(client_receive(t.client, &r, INT64_MAX), 0);
	assert_string_equal(r.error, "a.b.Bad");
	assert_string_equal(json_get_string(r.params, "name"), "x");
	assert_false(r.continues);
	message_reply_free(&r);
}

/* A long half is searched once; the short ones that come with its rest are found all the same. */
static void test_short_ones_after_a_half(void **state)
{
	static const char half[] = "{\"parameters\":{\"s\":\"much longer than the next ones",
			  rest[] = "\"}}\0{}\0{}";
	int fd = other_end();
	struct message_reply r;

	(void)state;
	assert_int_equal(send(fd, half, strlen(half), 0), strlen(half));
	expect_failure(ETIMEDOUT, 0);
	expect_failure(ETIMEDOUT, 0);
	assert_int_equal(send(fd, rest, sizeof(rest), 0), sizeof(rest));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(client_receive(t.client, &r, 0), 0);
		assert_int_equal(r.params != NULL, i == 0);
		message_reply_free(&r);
	}
	close(fd);
}

/* What has come already is handed out, however late it is. */
static void test_several_in_one_read(void **state)
{
	static const char three[] = "{\"parameters\":{\"n\":1}}\0{\"parameters\":{\"n\":2}}\0"
				    "{\"parameters\":{\"n\":3}}\0{\"par";
	int fd = other_end();
	struct message_reply r;
	int64_t n;

	(void)state;
	assert_int_equal(send(fd, three, sizeof(three) - 1, 0), sizeof(three) - 1);
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(client_receive(t.client, &r, 0), 0);
		assert_true(json_get_int(r.params, "n", &n));
		assert_int_equal(n, i);
		message_reply_free(&r);
	}
	expect_failure(ETIMEDOUT, 0);
	assert_int_equal(send(fd, "ameters\":{}}", 13, 0), 13); /* the half that came is kept */
	assert_int_equal(client_receive(t.client, &r, 0), 0);
	message_reply_free(&r);
	close(fd);
	expect_failure(EPIPE, INT64_MAX);
}

static void test_good_one_after_nonsense(void **state)
{
	static const char texts[] = "\0[1]\0{\"a\":\"\xff\"}\0" REPLY;
	struct message_reply r;

	(void)state;
	ask(texts, sizeof(texts), 1, false, false);
	for (int i = 0; i < 3; i++)
		expect_failure(EPROTO, INT64_MAX);
	assert_int_equal(client_receive(t.client, &r, INT64_MAX), 0);
	message_reply_free(&r);
}

static void test_answer_longer_than_a_call(void **state)
{
	static const char head[] = "{\"parameters\":{\"s\":\"";
	size_t size = 2 * CREW_MESSAGE_MAX;
	char *text = malloc(size);
	struct message_reply r;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', size);
	memcpy(text, head, strlen(head));
	strcpy(text + size - 4, "\"}}");
	ask(text, size, 1, false, false);
	assert_int_equal(client_receive(t.client, &r, INT64_MAX), 0);
	assert_int_equal(strlen(json_get_string(r.params, "s")), size - 4 - strlen(head));
	message_reply_free(&r);
	expect_failure(EPIPE, INT64_MAX);
	free(text);
}

/* ---- the daemon goes away ---------------------------------------------------------------------- */

static void test_closed_without_reading(void **state)
{
	int fd = other_end();

	(void)state;
	assert_int_equal(client_send(t.client, "a.b.C", NULL, 0, 0), 0);
	close(fd); /* with the call unread: the kernel resets the connection */
	expect_failure(EPIPE, INT64_MAX);
}

static void test_sending_to_nobody(void **state)
{
	struct message_reply r;
	int fd = other_end();

	(void)state;
	assert_int_equal(send(fd, REPLY, sizeof(REPLY), 0), sizeof(REPLY));
	close(fd);
	for (int i = 0; i < 2; i++) {
		errno = 0;
		assert_int_equal(client_send(t.client, "a.b.C", NULL, 0, 0), -1);
		assert_int_equal(errno, EPIPE);
	}
	/* its last words are still there */
	assert_int_equal(client_receive(t.client, &r, INT64_MAX), 0);
	message_reply_free(&r);
	expect_failure(EPIPE, INT64_MAX);
}

static char state_of_main_thread(void)
{
	char path[64], line[256], *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)getpid());
	f = fopen(path, "re");
	if (!f)
		return 'S';
	end = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return end ? end[2] : 'S';
}

static void *close_when_main_waits(void *arg)
{
	int fd = *(int *)arg;

	while (state_of_main_thread() != 'S')
		sched_yield();
	close(fd);
	return NULL;
}

/* The daemon ends while a call waits for room in the socket. */
static void test_gone_while_sending(void **state)
{
	static char much[65536];
	int fd = other_end();

	(void)state;
	while (send(client_fd(t.client), much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	while (send(client_fd(t.client), much, 1, MSG_DONTWAIT) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(pthread_create(&t.thread, NULL, close_when_main_waits, &fd), 0);
	assert_int_equal(client_send(t.client, "a.b.C", NULL, 0, 0), -1);
	assert_int_equal(errno, EPIPE);
}

/* ---- deadlines ---------------------------------------------------------------------------------- */

/* Nobody takes connections: those who come after the backlog is full wait, but not for ever. */
static void test_connecting_ends_with_its_time(void **state)
{
	struct client *waiting[16];
	int count = 0;
	int64_t begin;

	(void)state;
	do
		waiting[count++] = client_connect_until(t.path, clock_now() + USEC_PER_MSEC);
	while (waiting[count - 1] && count < 16);
	assert_int_equal(errno, ETIMEDOUT);
	assert_null(waiting[count - 1]);
	begin = clock_now();
	assert_null(client_connect_until(t.path, begin + 20 * USEC_PER_MSEC));
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(clock_now() - begin >= 20 * USEC_PER_MSEC);
	assert_null(client_connect_until(t.path, 0)); /* long ago */
	assert_int_equal(errno, ETIMEDOUT);
	while (count--)
		client_close(waiting[count]);
}

static void test_sending_ends_with_its_time(void **state)
{
	static char much[65536];
	int fd = other_end();
	int64_t begin = clock_now();

	(void)state;
	while (send(client_fd(t.client), much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	while (send(client_fd(t.client), much, 1, MSG_DONTWAIT) > 0)
		;
	assert_int_equal(client_send_until(t.client, "a.b.C", NULL, 0, 0,
					   begin + 20 * USEC_PER_MSEC),
			 -1);
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(clock_now() - begin >= 20 * USEC_PER_MSEC);
	close(fd);
}

/* ---- signals ----------------------------------------------------------------------------------- */

static atomic_bool enough;
static pthread_t main_thread;

static void on_signal(int sig)
{
	(void)sig;
}

/* Again and again, as one that comes before the waiting begins is no interruption. */
static void *send_signals(void *arg)
{
	while (!enough) {
		pthread_kill(main_thread, SIGUSR1);
		sched_yield();
	}
	return arg;
}

static void test_signal_while_waiting(void **state)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, old;
	struct message_reply r;
	int fd = other_end(), got, err;

	(void)state;
	main_thread = pthread_self();
	enough = false;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	assert_int_equal(pthread_create(&t.thread, NULL, send_signals, NULL), 0);
	got = client_receive(t.client, &r, INT64_MAX);
	err = errno;
	enough = true;
	pthread_join(t.thread, NULL);
	t.thread = 0;
	sigaction(SIGUSR1, &old, NULL);
	assert_int_equal(got, -1);
	assert_int_equal(err, EINTR);
	/* nothing is lost by it */
	assert_int_equal(send(fd, REPLY, sizeof(REPLY), 0), sizeof(REPLY));
	assert_int_equal(client_receive(t.client, &r, INT64_MAX), 0);
	message_reply_free(&r);
	close(fd);
}

/* ---- where the socket is ------------------------------------------------------------------------ */

static void test_longest_path(void **state)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

	(void)state;
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_null(client_connect(path));
	assert_int_equal(errno, ENAMETOOLONG);
	path[sizeof(path) - 2] = '\0';
	assert_null(client_connect(path));
	assert_int_equal(errno, ENOENT);
}

static void test_no_socket(void **state)
{
	(void)state;
	assert_null(client_connect(t.dir));
	assert_int_equal(errno, ECONNREFUSED);
	client_close(NULL);
}

static void test_descriptor(void **state)
{
	int fd = other_end();

	(void)state;
	assert_true(client_fd(t.client) >= 0);
	assert_true(fcntl(client_fd(t.client), F_GETFD) & FD_CLOEXEC);
	close(fd);
}

#define SYSTEM_SOCKET "/run/crewd/control"

static bool is(const char *path, const char *want)
{
	return path && want ? strcmp(path, want) == 0 : path == want;
}

/* As a user who is not root; the number of what is wrong, 0: nothing. */
static int check_as_user(const char *dir)
{
	const char *system = access(SYSTEM_SOCKET, F_OK) == 0 ? SYSTEM_SOCKET : NULL;
	char own[64], longest[200];

	snprintf(own, sizeof(own), "%s/crewd/control", dir);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	unsetenv("XDG_RUNTIME_DIR");
	if (!is(client_default_socket(), system))
		return 1;
	setenv("XDG_RUNTIME_DIR", "", 1);
	if (!is(client_default_socket(), system))
		return 2;
	setenv("XDG_RUNTIME_DIR", longest, 1);
	if (!is(client_default_socket(), system))
		return 3;
	setenv("XDG_RUNTIME_DIR", dir, 1);
	if (!is(client_default_socket(), own)) /* there is one */
		return 4;
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	return is(client_default_socket(), system ? system : "/nonexistent/crewd/control") ? 0 : 5;
}

/* In a process of its own, which may give up being root. */
static void test_default_socket(void **state)
{
	char dir[64], path[80];
	int status, fd;
	pid_t pid;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/crewd", t.dir);
	snprintf(path, sizeof(path), "%s/control", dir);
	assert_int_equal(mkdir(dir, 0755), 0);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(chmod(t.dir, 0755), 0);
	pid = fork();
	if (pid == 0) {
		setenv("XDG_RUNTIME_DIR", t.dir, 1);
		if (geteuid() == 0 && !is(client_default_socket(), SYSTEM_SOCKET))
			_exit(10);
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(0); /* nobody else to be */
		_exit(check_as_user(t.dir));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(path);
	rmdir(dir);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(test_replies),
		SERVED(test_byte_by_byte),
		SERVED(test_no_answer),
		SERVED(test_half_an_answer),
		SERVED(test_no_reply_at_all),
		SERVED(test_endless_answer),
		SERVED(test_too_much_to_send),
		SERVED(test_nobody_there),
		SERVED(test_calls_arrive),
		SERVED(test_longest_call),
		SERVED(test_errors),
		SERVED(test_several_in_one_read),
		SERVED(test_short_ones_after_a_half),
		SERVED(test_good_one_after_nonsense),
		SERVED(test_answer_longer_than_a_call),
		SERVED(test_closed_without_reading),
		SERVED(test_sending_to_nobody),
		SERVED(test_gone_while_sending),
		SERVED(test_connecting_ends_with_its_time),
		SERVED(test_sending_ends_with_its_time),
		SERVED(test_signal_while_waiting),
		SERVED(test_longest_path),
		SERVED(test_no_socket),
		SERVED(test_descriptor),
		SERVED(test_default_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
