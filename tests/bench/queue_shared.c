/*
 * The shared queue beside the channels of the kernel, in items a second and in round trips:
 *   queue_shared [SECONDS] [PYTHON]
 * One producer and one consumer process each; peers measured in the same run, in turns. With PYTHON also
 * multiprocessing's Queue and SimpleQueue (tests/bench/queue_peers.py). A row is
 *   NAME SIZE ITEMS/S RATIO      how many times the shared queue is faster
 *   NAME SIZE p50 p99            of a round trip, in ns
 * and the last lines say what is aimed at and whether it was reached; they decide nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/shared_queue.h"

#define ROUNDS	   3
#define ITEM_MOST  4096
#define TRIPS	   50000
#define AIM_PYTHON 20
#define AIM_KERNEL 2

/* One way. Both ends stand open in both processes; what each keeps to itself is made by begin. */
struct channel {
	int fd[2];
	struct shared_queue *queue;
};

struct kind {
	const char *name;
	void (*make)(struct channel *);
	void (*begin)(struct channel *); /* in each process, NULL: nothing to do */
	void (*send)(struct channel *, const void *, size_t);
	void (*receive)(struct channel *, void *, size_t);
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void make_shared(struct channel *c)
{
	c->fd[0] = shared_queue_create("bench", 0, 1 << 20);
	if (c->fd[0] < 0)
		die("shared_queue_create");
}

static void begin_shared(struct channel *c)
{
	c->queue = shared_queue_attach(c->fd[0]);
	if (!c->queue)
		die("shared_queue_attach");
}

static void send_shared(struct channel *c, const void *item, size_t size)
{
	if (shared_queue_put(c->queue, item, size, -1) < 0)
		die("shared_queue_put");
}

static void receive_shared(struct channel *c, void *item, size_t size)
{
	size_t got = size;

	if (shared_queue_get(c->queue, item, &got, -1) < 0 || got != size)
		die("shared_queue_get");
}

static void make_pipe(struct channel *c)
{
	if (pipe2(c->fd, O_CLOEXEC) < 0)
		die("pipe2");
}

static void send_fd(struct channel *c, const void *item, size_t size)
{
	if (write(c->fd[1], item, size) != (ssize_t)size)
		die("write");
}

static void receive_fd(struct channel *c, void *item, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(c->fd[0], (char *)item + got, size - got);

		if (n <= 0)
			die("read");
		got += (size_t)n;
	}
}

static void make_seqpacket(struct channel *c)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->fd) < 0)
		die("socketpair");
}

static void make_mqueue(struct channel *c)
{
	struct mq_attr attr = { .mq_maxmsg = 10, .mq_msgsize = ITEM_MOST };
	char name[64];

	snprintf(name, sizeof(name), "/crewd-bench-%d", (int)getpid());
	c->fd[0] = c->fd[1] = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
	if (c->fd[0] < 0)
		die("mq_open");
	mq_unlink(name);
}

static void send_mqueue(struct channel *c, const void *item, size_t size)
{
	if (mq_send(c->fd[1], item, size, 0) < 0)
		die("mq_send");
}

static void receive_mqueue(struct channel *c, void *item, size_t size)
{
	char buffer[ITEM_MOST];

	if (mq_receive(c->fd[0], buffer, sizeof(buffer), NULL) != (ssize_t)size)
		die("mq_receive");
	memcpy(item, buffer, size);
}

static const struct kind kinds[] = {
	{ "shared", make_shared, begin_shared, send_shared, receive_shared },
	{ "pipe", make_pipe, NULL, send_fd, receive_fd },
	{ "seqpacket", make_seqpacket, NULL, send_fd, receive_fd },
	{ "mqueue", make_mqueue, NULL, send_mqueue, receive_mqueue },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void close_channel(const struct kind *k, struct channel *c)
{
	shared_queue_detach(c->queue);
	close(c->fd[0]);
	if (k->send == send_fd)
		close(c->fd[1]);
}

static void begin(const struct kind *k, struct channel *c)
{
	if (k->begin)
		k->begin(c);
}

/* The first byte of an item says whether it is the last. */
static double items_per_second(const struct kind *k, size_t size, double seconds)
{
	char item[ITEM_MOST] = { 0 };
	struct channel c = { .fd = { -1, -1 } };
	uint64_t items = 0;
	int64_t start, end;
	pid_t pid;

	k->make(&c);
	pid = fork();
	if (pid < 0)
		die("fork");
	begin(k, &c);
	if (pid == 0) {
		end = clock_now() + (int64_t)(seconds * 1e6);
		do {
			for (int i = 0; i < 256; i++)
				k->send(&c, item, size);
		} while (clock_now() < end);
		item[0] = 1;
		k->send(&c, item, size);
		_exit(0);
	}
	k->receive(&c, item, size);
	start = clock_now();
	while (!item[0]) {
		k->receive(&c, item, size);
		items++;
	}
	end = clock_now();
	waitpid(pid, NULL, 0);
	close_channel(k, &c);
	return (double)items * 1e6 / (double)(end - start);
}

static int64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void trips(const struct kind *k, size_t size)
{
	static int64_t took[TRIPS];
	char item[ITEM_MOST] = { 0 };
	struct channel there = { .fd = { -1, -1 } }, back = { .fd = { -1, -1 } };
	pid_t pid;

	k->make(&there);
	k->make(&back);
	pid = fork();
	if (pid < 0)
		die("fork");
	begin(k, &there);
	begin(k, &back);
	for (int i = 0; i < TRIPS; i++) {
		took[i] = nanoseconds();
		if (pid)
			k->send(&there, item, size);
		k->receive(pid ? &back : &there, item, size);
		if (!pid)
			k->send(&back, item, size);
		took[i] = nanoseconds() - took[i];
	}
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	close_channel(k, &there);
	close_channel(k, &back);
	qsort(took, TRIPS, sizeof(took[0]), compare);
	printf("trip %-12s %5zu  p50 %8lld ns  p99 %8lld ns\n", k->name, size,
	       (long long)took[TRIPS / 2], (long long)took[TRIPS / 100 * 99]);
	fflush(stdout);
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double row(const char *name, size_t size, double rate, double shared)
{
	printf("flow %-12s %5zu %12.0f items/s", name, size, rate);
	if (shared > 0)
		printf("   shared is %.1f times as fast", shared / rate);
	printf("\n");
	fflush(stdout);
	return shared / rate;
}

/* Of each kind the median of the rounds. The least ratio over the kernel's channels. */
static double flows(size_t size, double seconds, double *shared)
{
	double rates[KINDS][ROUNDS], least = 0;

	for (size_t r = 0; r < ROUNDS; r++)
		for (size_t k = 0; k < KINDS; k++)
			rates[k][r] = items_per_second(&kinds[k], size, seconds);
	for (size_t k = 0; k < KINDS; k++) {
		double ratio;

		qsort(rates[k], ROUNDS, sizeof(double), compare_double);
		if (k == 0)
			*shared = rates[0][ROUNDS / 2];
		ratio = row(kinds[k].name, size, rates[k][ROUNDS / 2], k ? *shared : 0);
		if (k && (least == 0 || ratio < least))
			least = ratio;
	}
	return least;
}

/* Lines of the script: NAME ITEMS/S, or "NAME trip P50 P99". The least ratio, 0 without Python. */
static double python(const char *command, size_t size, double seconds, double shared)
{
	double rate, least = 0, ratio, p50, p99;
	char line[256], name[64];
	FILE *out;

	snprintf(line, sizeof(line), "%s %zu %g", command, size, seconds);
	out = popen(line, "r");
	if (!out)
		die("popen");
	while (fgets(line, sizeof(line), out)) {
		if (sscanf(line, "%63s trip %lf %lf", name, &p50, &p99) == 3) {
			printf("trip %-12s %5zu  p50 %8.0f ns  p99 %8.0f ns\n", name, size, p50,
			       p99);
		} else if (sscanf(line, "%63s %lf", name, &rate) == 2) {
			ratio = row(name, size, rate, shared);
			if (strcmp(name, "Queue") == 0)
				least = ratio;
		}
	}
	pclose(out);
	return least;
}

static void aim(const char *what, size_t size, double ratio, double aimed)
{
	if (ratio > 0)
		printf("aim: %zu bytes: %.0f times %s: %.1f, %s\n", size, aimed, what, ratio,
		       ratio >= aimed ? "reached" : "NOT reached");
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 64, ITEM_MOST };
	double seconds = argc > 1 ? atof(argv[1]) : 1;

	for (size_t i = 0; i < 2; i++) {
		double shared = 0, kernel = flows(sizes[i], seconds, &shared), peer = 0;

		for (size_t k = 0; k < KINDS; k++)
			trips(&kinds[k], sizes[i]);
		if (argc > 2)
			peer = python(argv[2], sizes[i], seconds, shared);
		aim("the fastest of the kernel's", sizes[i], kernel, AIM_KERNEL);
		aim("multiprocessing.Queue", sizes[i], peer, AIM_PYTHON);
	}
	return 0;
}
