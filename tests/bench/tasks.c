/*
 * Callers of task pools that cost little, and the floors beside them, one program with a mode each:
 *   apply SOCKET POOL KIND N   N times Apply on one connection; prints total seconds, p50 and p99 in ns
 *   async SOCKET POOL KIND N   N times ApplyAsync, pipelined, on one connection, and their Results on another; seconds
 *   map SOCKET POOL KIND N     Map of N tasks, in calls as large as may be; seconds
 *   pingpong N                 floor of a round trip: a byte there and back between two processes; as apply
 *   spawn W N                  floor of exec: posix_spawn of /bin/true, N times, W at a time; seconds
 * KIND: lines, jsonrpc or exec. The workers have to answer with what they were given, those of exec with nothing. Every
 * reply is looked at: a task that is missing, failed, comes twice or has a wrong result ends the program with status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALL_MAX (1000 * 1000) /* a call may have 1 MiB */
#define PORTION	 (256 * 1024)

/* A task's only argument is "t N": how it is written in a Map and in an Apply, and its result in a reply. */
struct kind {
	const char *name, *element, *element_end, *parameters;
	const char *result, *result_end; /* without an end: always this */
};

static const struct kind kinds[] = {
	{ "lines", "", "", "", "\"", "\"," },
	{ "jsonrpc", "{\"method\":\"echo\",\"args\":[", "]}", "\"method\":\"echo\",", "[\"",
	  "\"]," },
	{ "exec", "", "", "", "\"\",", NULL },
};
static const struct kind *kind;
static const char *pool;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("tasks: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	exit(1);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void print_seconds(int64_t begin)
{
	printf("%.6f\n", (double)(now() - begin) / 1e9);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_trips(int64_t *took, int n)
{
	int64_t total = 0;

	for (int i = 0; i < n; i++)
		total += took[i];
	qsort(took, (size_t)n, sizeof(*took), compare);
	printf("%.6f %lld %lld\n", (double)total / 1e9, (long long)took[n / 2],
	       (long long)took[(int64_t)n * 99 / 100]);
}

static void *must(void *p)
{
	if (!p)
		die("out of memory");
	return p;
}

/* ---- text that grows --------------------------------------------------------------------------- */

struct text {
	char *data;
	size_t start, len, cap; /* what is not used up yet: [start, len) */
};

static char *room(struct text *t, size_t size)
{
	if (t->start == t->len)
		t->start = t->len = 0;
	if (t->cap - t->len < size) {
		memmove(t->data, t->data + t->start, t->len - t->start);
		t->len -= t->start;
		t->start = 0;
	}
	while (t->cap - t->len < size) {
		t->cap = t->cap ? t->cap * 2 : PORTION;
		t->data = must(realloc(t->data, t->cap));
	}
	return t->data + t->len;
}

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *format, ...)
{
	va_list args;

	room(t, 512);
	va_start(args, format);
	t->len += (size_t)vsnprintf(t->data + t->len, 512, format, args);
	va_end(args);
}

static void add_call(struct text *t, const char *method, int i)
{
	add(t, "{\"method\":\"io.crewd.Pool.%s\",\"parameters\":{\"pool\":\"%s\",", method, pool);
	add(t, "%s\"args\":[\"t %d\"]}}%c", kind->parameters, i, '\0');
}

/* ---- a connection ------------------------------------------------------------------------------ */

struct conn {
	int fd;
	struct text in, out;
};

static struct conn *dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct conn *c = must(calloc(1, sizeof(*c)));

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("%s: %s", path, strerror(errno));
	return c;
}

/* As much as the socket takes; all of it, if it waits. */
static void send_out(struct conn *c)
{
	while (c->out.start < c->out.len) {
		ssize_t n = write(c->fd, c->out.data + c->out.start, c->out.len - c->out.start);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die("write: %s", strerror(errno));
		c->out.start += (size_t)n;
	}
}

static void read_in(struct conn *c)
{
	ssize_t n = read(c->fd, room(&c->in, PORTION), PORTION);

	if (n == 0)
		die("the daemon closed the connection");
	if (n < 0 && errno != EAGAIN)
		die("read: %s", strerror(errno));
	c->in.len += n > 0 ? (size_t)n : 0;
}

/* NULL: there is no whole one yet. */
static const char *next_there(struct conn *c)
{
	const char *reply = c->in.data + c->in.start;
	const char *end =
		c->in.len > c->in.start ? memchr(reply, '\0', c->in.len - c->in.start) : NULL;

	if (!end)
		return NULL;
	c->in.start += (size_t)(end - reply) + 1;
	return reply;
}

static const char *next_reply(struct conn *c)
{
	const char *reply;

	while (!(reply = next_there(c)))
		read_in(c);
	return reply;
}

/* ---- replies ----------------------------------------------------------------------------------- */

static const char *after(const char *reply, const char *key)
{
	const char *at = strstr(reply, key);

	if (!at)
		die("there is no %s in: %s", key, reply);
	return at + strlen(key);
}

/* Of task i, succeeded, with the right result. */
static void check(const char *reply, int i)
{
	const char *at = after(reply, "\"state\":\"succeeded\",\"result\":");
	char want[64];
	int n = snprintf(want, sizeof(want), "%s", kind->result);

	if (kind->result_end)
		n += snprintf(want + n, sizeof(want) - (size_t)n, "t %d%s", i, kind->result_end);
	if (strncmp(at, want, (size_t)n) != 0)
		die("task %d should have %s: %s", i, want, reply);
}

/* ---- callers ----------------------------------------------------------------------------------- */

static void apply(const char *path, int n)
{
	struct conn *c = dial(path);
	int64_t *took = must(calloc((size_t)n, sizeof(*took)));

	for (int i = 0; i < n; i++) {
		const char *reply;
		int64_t begin;

		add_call(&c->out, "Apply", i);
		begin = now();
		send_out(c);
		reply = next_reply(c);
		took[i] = now() - begin;
		check(reply, i);
	}
	print_trips(took, n);
}

static void turn(struct conn *c)
{
	struct pollfd p[2];

	for (int i = 0; i < 2; i++) {
		p[i] = (struct pollfd){ .fd = c[i].fd, .events = POLLIN };
		if (c[i].out.start < c[i].out.len)
			p[i].events |= POLLOUT;
	}
	if (poll(p, 2, -1) < 0)
		die("poll: %s", strerror(errno));
	for (int i = 0; i < 2; i++) {
		if (p[i].revents & POLLOUT)
			send_out(&c[i]);
		if (p[i].revents & (POLLIN | POLLHUP | POLLERR))
			read_in(&c[i]);
	}
}

static void ask_result(struct conn *c, const char *reply)
{
	const char *id = after(reply, "\"id\":\"");

	add(&c->out, "{\"method\":\"io.crewd.Pool.Result\",\"parameters\":{\"id\":\"%.*s\"}}%c",
	    (int)strcspn(id, "\""), id, '\0');
}

static void async(const char *path, int n)
{
	struct conn c[2] = { *dial(path), *dial(path) };
	int64_t begin;

	for (int i = 0; i < n; i++)
		add_call(&c[0].out, "ApplyAsync", i);
	for (int i = 0; i < 2; i++)
		fcntl(c[i].fd, F_SETFL, O_NONBLOCK);
	begin = now();
	for (int done = 0; done < n;) {
		const char *reply;

		turn(c);
		while ((reply = next_there(&c[0])))
			ask_result(&c[1], reply);
		send_out(&c[1]);
		while ((reply = next_there(&c[1])))
			check(reply, done++);
	}
	print_seconds(begin);
}

/* The last of the tasks in a call from `i` on, at most until n. */
static int add_map(struct text *t, int i, int n)
{
	add(t,
	    "{\"method\":\"io.crewd.Pool.Map\",\"more\":true,\"parameters\":{\"pool\":\"%s\","
	    "\"tasks\":[",
	    pool);
	for (size_t begin = t->len; i < n && t->len - begin < CALL_MAX; i++)
		add(t, "%s\"t %d\"%s,", kind->element, i, kind->element_end);
	t->len--;
	add(t, "]}}%c", '\0');
	return i;
}

static void take_map(struct conn *c, int first, int last, bool *seen)
{
	for (int left = last - first; left > 0; left--) {
		const char *reply = next_reply(c);
		int i = first + atoi(after(reply, "\"index\":"));

		if (i < first || i >= last || seen[i])
			die("task %d comes twice, or was not asked for: %s", i, reply);
		seen[i] = true;
		check(reply, i);
		if (!strstr(reply, "\"continues\":true") != (left == 1))
			die("%d of %d are left: %s", left - 1, last - first, reply);
	}
}

static void map(const char *path, int n)
{
	struct conn *c = dial(path);
	bool *seen = must(calloc((size_t)n, sizeof(*seen)));
	int64_t begin = now();

	for (int first = 0; first < n;) {
		int last = add_map(&c->out, first, n);

		send_out(c);
		take_map(c, first, last, seen);
		first = last;
	}
	print_seconds(begin);
}

/* ---- floors ------------------------------------------------------------------------------------ */

static void pingpong(int n)
{
	int64_t *took = must(calloc((size_t)n, sizeof(*took)));
	int pair[2];
	char byte = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		die("socketpair: %s", strerror(errno));
	if (fork() == 0) {
		close(pair[0]);
		while (read(pair[1], &byte, 1) == 1)
			if (write(pair[1], &byte, 1) != 1)
				_exit(1);
		_exit(0);
	}
	close(pair[1]);
	for (int i = 0; i < n; i++) {
		int64_t begin = now();

		if (write(pair[0], &byte, 1) != 1 || read(pair[0], &byte, 1) != 1)
			die("the other side is gone");
		took[i] = now() - begin;
	}
	close(pair[0]);
	wait(NULL);
	print_trips(took, n);
}

static void spawn(int width, int n)
{
	char *argv[] = { "true", "t", NULL };
	int64_t begin = now();

	for (int begun = 0, done = 0; done < n; done++) {
		int status;

		for (; begun < n && begun - done < width; begun++)
			if (posix_spawn(&(pid_t){ 0 }, "/bin/true", NULL, NULL, argv, environ) != 0)
				die("posix_spawn failed");
		if (wait(&status) < 0 || status != 0)
			die("true was not true");
	}
	print_seconds(begin);
}

static void choose(const char *pool_name, const char *kind_name)
{
	pool = pool_name;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].name, kind_name) == 0)
			kind = &kinds[i];
	if (!kind)
		die("no such kind: %s", kind_name);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const char *path, int n);
	} callers[] = { { "apply", apply }, { "async", async }, { "map", map } };
	const char *mode = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < sizeof(callers) / sizeof(*callers); i++)
		if (argc == 6 && strcmp(mode, callers[i].name) == 0) {
			choose(argv[3], argv[4]);
			callers[i].run(argv[2], atoi(argv[5]));
			return 0;
		}
	if (argc == 3 && strcmp(mode, "pingpong") == 0)
		pingpong(atoi(argv[2]));
	else if (argc == 4 && strcmp(mode, "spawn") == 0)
		spawn(atoi(argv[2]), atoi(argv[3]));
	else
		die("usage: see the head of tasks.c");
	return 0;
}
