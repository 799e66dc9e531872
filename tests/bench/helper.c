/*
 * The C side of the benchmarks, one program with a mode each:
 *   first FIFO        a worker whose first act is to write the time (CLOCK_MONOTONIC, ns) to FIFO; then sleeps
 *   forkexec N FIFO   floor of restart latency: fork + exec of `first FIFO`, N times; prints ns, a line each
 *   spawn N           floor of the fleet: vfork + exec of `sleep`, N times; prints seconds
 *   echo SOCKET       floor of control and queues: sends back what it gets, until the last connection has ended
 *   trips SOCKET N MESSAGE   N round trips on one connection; prints total seconds, p50 and p99 in ns
 *   sync DIR SECONDS  floor of durable queues: pwrite + fdatasync of 128 bytes in a preallocated file; prints how many a second
 *   posix N           floor of whole processes: posix_spawn of /bin/true, N times; prints seconds each
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int first(const char *fifo)
{
	int64_t t = now();
	int fd = open(fifo, O_WRONLY);

	if (fd < 0 || write(fd, &t, sizeof(t)) != sizeof(t))
		return 1;
	close(fd);
	pause();
	return 0;
}

static int fork_exec(const char *self, int n, const char *fifo)
{
	int fd = open(fifo, O_RDWR);

	for (int i = 0; i < n; i++) {
		int64_t begin = now(), t;
		pid_t pid = fork();

		if (pid == 0) {
			execl(self, self, "first", fifo, (char *)NULL);
			_exit(1);
		}
		if (read(fd, &t, sizeof(t)) != sizeof(t))
			return 1;
		printf("%lld\n", (long long)(t - begin));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return 0;
}

static int spawn_many(int n)
{
	char *argv[] = { "sleep", "100000", NULL };
	pid_t *pids = calloc((size_t)n, sizeof(*pids));
	int64_t begin = now();

	for (int i = 0; i < n; i++) {
		pids[i] = vfork();
		if (pids[i] == 0) {
			execve("/usr/bin/sleep", argv, environ);
			_exit(1);
		}
	}
	printf("%.6f\n", (double)(now() - begin) / 1e9);
	for (int i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}

static int posix_many(int n)
{
	char *argv[] = { "true", NULL };
	int64_t begin = now();

	for (int i = 0; i < n; i++) {
		pid_t pid;

		if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) != 0)
			return 1;
		waitpid(pid, NULL, 0);
	}
	printf("%.9f\n", (double)(now() - begin) / 1e9 / n);
	return 0;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

static int watched(int ep, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	return fd < 0 ? -1 : epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

/* False: the connection has ended. */
static int echo_once(int fd)
{
	static char buf[65536];
	ssize_t got = recv(fd, buf, sizeof(buf), 0), sent = 0, n;

	if (got == 0)
		close(fd);
	while (sent < got && (n = send(fd, buf + sent, (size_t)(got - sent), 0)) > 0)
		sent += n;
	return got != 0;
}

/* Read and write back: what any server that waits with epoll has to do. */
static int echo(const char *path)
{
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), ep = epoll_create1(0), count = -1;
	struct epoll_event e[32];
	struct sockaddr_un a;
	char early[128];

	/* Whoever sees it may connect. */
	snprintf(early, sizeof(early), "%s.new", path);
	a = address(early);
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 8) < 0 ||
	    rename(early, path) < 0)
		return 1;
	for (watched(ep, listener); count;) {
		int n = epoll_wait(ep, e, 32, -1);

		for (int i = 0; i < n; i++) {
			if (e[i].data.fd != listener)
				count -= !echo_once(e[i].data.fd);
			else if (watched(ep, accept4(listener, NULL, NULL, SOCK_NONBLOCK)) == 0)
				count = count < 0 ? 1 : count + 1;
		}
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int trips(const char *path, int n, const char *message)
{
	struct sockaddr_un a = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t len = strlen(message) + 1;
	int64_t *took = calloc((size_t)n, sizeof(*took)), begin;
	char buf[65536];

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 1;
	begin = now();
	for (int i = 0; i < n; i++) {
		int64_t t = now();
		ssize_t got = 0, r;

		if (write(fd, message, len) != (ssize_t)len)
			return 1;
		do {
			r = read(fd, buf + got, sizeof(buf) - (size_t)got);
			if (r <= 0)
				return 1;
			got += r;
		} while (buf[got - 1] != '\0');
		took[i] = now() - t;
	}
	begin = now() - begin;
	qsort(took, (size_t)n, sizeof(*took), compare);
	printf("%.6f %lld %lld\n", (double)begin / 1e9, (long long)took[n / 2], (long long)took[n * 99 / 100]);
	return 0;
}

static int syncs(const char *dir, double seconds)
{
	static char record[128];
	char path[4096];
	int64_t begin, end;
	off_t at = 0, most = 64 << 20;
	int fd;

	snprintf(path, sizeof(path), "%s/sync", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || unlink(path) < 0 || fallocate(fd, 0, 0, most) < 0 || fsync(fd) < 0)
		return 1;
	begin = now();
	end = begin + (int64_t)(seconds * 1e9);
	while (now() < end) {
		if (pwrite(fd, record, sizeof(record), at % most) != sizeof(record) || fdatasync(fd) < 0)
			return 1;
		at += sizeof(record);
	}
	printf("%.0f\n", (double)(at / (off_t)sizeof(record)) * 1e9 / (double)(now() - begin));
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (strcmp(mode, "first") == 0 && argc > 2)
		return first(argv[2]);
	if (strcmp(mode, "forkexec") == 0 && argc > 3)
		return fork_exec(argv[0], atoi(argv[2]), argv[3]);
	if (strcmp(mode, "spawn") == 0 && argc > 2)
		return spawn_many(atoi(argv[2]));
	if (strcmp(mode, "posix") == 0 && argc > 2)
		return posix_many(atoi(argv[2]));
	if (strcmp(mode, "sync") == 0 && argc > 3)
		return syncs(argv[2], atof(argv[3]));
	if (strcmp(mode, "echo") == 0 && argc > 2)
		return echo(argv[2]);
	if (strcmp(mode, "trips") == 0 && argc > 4)
		return trips(argv[2], atoi(argv[3]), argv[4]);
	fprintf(stderr, "usage: see the head of helper.c\n");
	return 2;
}
