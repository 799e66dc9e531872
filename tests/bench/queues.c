/*
 * A producer and a consumer of a queue that costs little itself, each a process with a connection of its own:
 *   queues flow PEER SOCKET NAME SIZE HOW SECONDS   prints items a second
 *   queues puts PEER SOCKET NAME SIZE SECONDS       a producer alone, one at a time; items a second
 *   queues trip PEER SOCKET NAME SIZE N             N items there (NAME) and back (NAME-back); p50 and p99 in ns
 * PEER: crewd, redis, or echo: `helper echo`, which sends back what it gets (`flow` for SECONDS, as nothing ends it). HOW: `one` at a time, `pipelined` (64 calls before the first reply is read; crewd only), or
 * `many` (100 items a call; crewd only). Queues have to be there, and empty. Every reply is looked at.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AHEAD	  64
#define MANY	  100
#define SIZE_MOST 4096
#define ROOM	  (2 * 1024 * 1024)

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("queues: ", stderr);
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

/* ---- a connection ----------------------------------------------------------------------------- */

struct link {
	int fd;
	size_t out_len, in_len;
	char out[ROOM], in[ROOM + 1];
};

static void link_open(struct link *l, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	l->out_len = l->in_len = 0;
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("%s: %s", path, strerror(errno));
}

static void add(struct link *l, const char *text, size_t len)
{
	if (l->out_len + len > ROOM)
		die("a call is too long");
	memcpy(l->out + l->out_len, text, len);
	l->out_len += len;
}

static void add_text(struct link *l, const char *text)
{
	add(l, text, strlen(text));
}

static void send_out(struct link *l)
{
	size_t at = 0;

	while (at < l->out_len) {
		ssize_t n = write(l->fd, l->out + at, l->out_len - at);

		if (n <= 0)
			die("write: %s", strerror(errno));
		at += (size_t)n;
	}
	l->out_len = 0;
}

/* Reads until `end` has come so many times; what follows the last one would be an answer nobody asked for. */
static void receive(struct link *l, char end, unsigned times)
{
	size_t at = 0;

	l->in_len = 0;
	while (times) {
		ssize_t n = read(l->fd, l->in + l->in_len, ROOM - l->in_len);
		const char *found;

		if (n <= 0)
			die("the connection was closed");
		l->in_len += (size_t)n;
		while (times && (found = memchr(l->in + at, end, l->in_len - at))) {
			at = (size_t)(found - l->in) + 1;
			times--;
		}
		if (times)
			at = l->in_len;
	}
	if (at != l->in_len)
		die("more was answered than asked");
}

/* ---- items ------------------------------------------------------------------------------------ */

static char item[SIZE_MOST + 1], last[SIZE_MOST + 1];
static size_t item_size;

static void make_items(size_t size)
{
	if (size < 1 || size > SIZE_MOST)
		die("items of 1 to %d bytes", SIZE_MOST);
	item_size = size;
	memset(item, 'x', size);
	memset(last, 'x', size);
	last[0] = 'L';
}

/* ---- the two peers: `calls` calls of `each` items; what was got is in the link --------------- */

struct peer {
	const char *name;
	void (*put)(struct link *l, const char *name, const char *what, unsigned calls,
		    unsigned each);
	/* Returns how many items came before the last of all; *ended: that came, too. */
	unsigned (*get)(struct link *l, const char *name, unsigned calls, unsigned each,
			bool *ended);
};

static void crewd_check(struct link *l)
{
	if (memmem(l->in, l->in_len, "\"error\":", 8))
		die("%.*s", (int)l->in_len, l->in);
}

static void crewd_put(struct link *l, const char *name, const char *what, unsigned calls,
		      unsigned each)
{
	for (unsigned i = 0; i < calls; i++) {
		add_text(
			l,
			each > 1
				? "{\"method\":\"io.crewd.Queue.PutMany\",\"parameters\":{\"name\":"
				  "\""
				: "{\"method\":\"io.crewd.Queue.Put\",\"parameters\":{\"name\":\"");
		add_text(l, name);
		add_text(l, each > 1 ? "\",\"items\":[" : "\",\"item\":");
		for (unsigned n = 0; n < each; n++) {
			add_text(l, n ? ",\"" : "\"");
			add(l, what, item_size);
			add_text(l, "\"");
		}
		add_text(l, each > 1 ? "]}}" : "}}");
		add(l, "", 1);
	}
	send_out(l);
	receive(l, '\0', calls);
	crewd_check(l);
}

/* Items are the strings that begin with x or L. */
static unsigned count_items(const char *text, size_t len, bool *ended)
{
	const char *end = text + len;
	unsigned count = 0;

	while ((text = memchr(text, '"', (size_t)(end - text)))) {
		if (text[1] == 'L') {
			*ended = true;
			return count;
		}
		count += text[1] == 'x';
		text += text[1] == 'x' ? item_size + 2 : 1;
	}
	return count;
}

static unsigned crewd_get(struct link *l, const char *name, unsigned calls, unsigned each,
			  bool *ended)
{
	char call[256];
	int len = each > 1 ? snprintf(call, sizeof(call),
				      "{\"method\":\"io.crewd.Queue.GetMany\",\"parameters\":"
				      "{\"name\":\"%s\",\"max\":%u}}",
				      name, each)
			   : snprintf(call, sizeof(call),
				      "{\"method\":\"io.crewd.Queue.Get\",\"parameters\":"
				      "{\"name\":\"%s\"}}",
				      name);

	for (unsigned i = 0; i < calls; i++)
		add(l, call, (size_t)len + 1);
	send_out(l);
	receive(l, '\0', calls);
	crewd_check(l);
	return count_items(l->in, l->in_len, ended);
}

static void redis_put(struct link *l, const char *name, const char *what, unsigned calls,
		      unsigned each)
{
	char head[160];

	(void)calls;
	(void)each;
	snprintf(head, sizeof(head), "*3\r\n$5\r\nLPUSH\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(name),
		 name, item_size);
	add_text(l, head);
	add(l, what, item_size);
	add_text(l, "\r\n");
	send_out(l);
	receive(l, '\n', 1);
	if (l->in[0] != ':')
		die("%.*s", (int)l->in_len, l->in);
}

static unsigned redis_get(struct link *l, const char *name, unsigned calls, unsigned each,
			  bool *ended)
{
	char call[160];

	(void)calls;
	(void)each;
	snprintf(call, sizeof(call), "*3\r\n$5\r\nBRPOP\r\n$%zu\r\n%s\r\n$1\r\n0\r\n", strlen(name),
		 name);
	add_text(l, call);
	send_out(l);
	receive(l, '\n', 5);
	if (l->in_len < item_size + 2 || l->in[0] != '*')
		die("%.*s", (int)l->in_len, l->in);
	*ended = l->in[l->in_len - 2 - item_size] == 'L';
	return !*ended;
}

static int64_t flow_ends;
static uint64_t *puts_done; /* shared with the producer */

/* What a put and a get cost at least, with a server between two processes: a round trip of each. */
static void echo_put(struct link *l, const char *name, const char *what, unsigned calls,
		     unsigned each)
{
	(void)name;
	(void)calls;
	(void)each;
	add(l, what, item_size);
	add(l, "", 1);
	send_out(l);
	receive(l, '\0', 1);
}

static unsigned echo_get(struct link *l, const char *name, unsigned calls, unsigned each,
			 bool *ended)
{
	echo_put(l, name, item, calls, each);
	*ended = now() >= flow_ends;
	return 1;
}

static const struct peer peers[] = {
	{ "crewd", crewd_put, crewd_get },
	{ "redis", redis_put, redis_get },
	{ "echo", echo_put, echo_get },
};

static const struct peer *peer_named(const char *name)
{
	for (size_t i = 0; i < sizeof(peers) / sizeof(*peers); i++)
		if (strcmp(peers[i].name, name) == 0)
			return &peers[i];
	die("no such peer: %s", name);
}

/* ---- measuring -------------------------------------------------------------------------------- */

static struct link one;

static pid_t begin_other(const char *path)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %s", strerror(errno));
	link_open(&one, path);
	return pid;
}

static void end_other(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0 || status)
		die("the other process failed");
}

static void produce(const struct peer *p, const char *name, unsigned calls, unsigned each)
{
	while (now() < flow_ends) {
		p->put(&one, name, item, calls, each);
		++*puts_done;
	}
	for (unsigned i = 0; i < calls; i++) /* one for each call that may wait */
		p->put(&one, name, last, 1, 1);
	exit(0);
}

static void flow(const struct peer *p, const char *path, const char *name, const char *how,
		 double seconds)
{
	unsigned calls = strcmp(how, "pipelined") == 0 ? AHEAD : 1;
	unsigned each = strcmp(how, "many") == 0 ? MANY : 1;
	uint64_t count = 0;
	bool ended = false;
	int64_t begin, end;
	pid_t pid;

	if (p->get != crewd_get && calls * each > 1)
		die("%s: only one at a time", p->name);
	puts_done = mmap(NULL, sizeof(*puts_done), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (puts_done == MAP_FAILED)
		die("no memory");
	flow_ends = now() + (int64_t)(seconds * 1e9);
	pid = begin_other(path);
	if (pid == 0)
		produce(p, name, calls, each);
	p->get(&one, name, calls, each, &ended);
	begin = end = now();
	while (!ended) {
		unsigned got = p->get(&one, name, calls, each, &ended);
		int64_t t = now();

		/* What a queue without a bound has left when its producer is done, is taken undisturbed. */
		count += t < flow_ends ? got : 0;
		end = t < flow_ends ? t : end;
	}
	end_other(pid);
	if (p->get ==
	    echo_get) /* nothing makes one side wait for the other: half of what both did */
		count = (count + *puts_done) / 2;
	printf("%.0f\n", (double)count * 1e9 / (double)(end - begin));
}

static void puts_alone(const struct peer *p, const char *path, const char *name, double seconds)
{
	int64_t begin, end;
	uint64_t count = 0;

	link_open(&one, path);
	p->put(&one, name, item, 1, 1);
	begin = now();
	end = begin + (int64_t)(seconds * 1e9);
	for (; now() < end; count++)
		p->put(&one, name, item, 1, 1);
	printf("%.0f\n", (double)count * 1e9 / (double)(now() - begin));
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void trip(const struct peer *p, const char *path, const char *name, unsigned n)
{
	int64_t *took = calloc(n, sizeof(*took));
	pid_t pid = begin_other(path);
	bool ended = false;
	char back[128];

	if (!took)
		die("no memory");
	snprintf(back, sizeof(back), "%s-back", name);
	for (unsigned i = 0; i < n; i++) {
		took[i] = now();
		if (pid)
			p->put(&one, name, item, 1, 1);
		p->get(&one, pid ? back : name, 1, 1, &ended);
		if (!pid)
			p->put(&one, back, item, 1, 1);
		took[i] = now() - took[i];
	}
	if (pid == 0)
		exit(0);
	end_other(pid);
	qsort(took, n, sizeof(*took), compare);
	printf("%lld %lld\n", (long long)took[n / 2], (long long)took[n - 1 - n / 100]);
}

int main(int argc, char **argv)
{
	const struct peer *p;

	if (argc < 7)
		die("see the head of queues.c");
	p = peer_named(argv[2]);
	make_items(strtoul(argv[5], NULL, 10));
	if (strcmp(argv[1], "flow") == 0 && argc == 8)
		flow(p, argv[3], argv[4], argv[6], atof(argv[7]));
	else if (strcmp(argv[1], "puts") == 0)
		puts_alone(p, argv[3], argv[4], atof(argv[6]));
	else if (strcmp(argv[1], "trip") == 0)
		trip(p, argv[3], argv[4], (unsigned)strtoul(argv[6], NULL, 10));
	else
		die("see the head of queues.c");
	return 0;
}
