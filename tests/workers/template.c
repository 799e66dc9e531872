/*
 * A template for tests: fills memory, then forks workers that look at it.
 *
 *	template [-m MEBIBYTES] [-t] [-d MS] [sleep | lines | first FIFO]
 *
 * first: writes the time (CLOCK_MONOTONIC, ns) to FIFO before anything else.
 * -t: starts a thread before it is warm; -d: takes so long to get warm. Workers of `lines` answer each line:
 * "sum" (reads all of the memory), "write N" (N MiB of it), "env NAME", "pid", "exit N", or the line itself.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "lib/template.h"

#define MIB (1024UL * 1024)

static unsigned char *memory;
static size_t size;

static void load(size_t mebibytes)
{
	size = mebibytes * MIB;
	memory = malloc(size + 1);
	if (!memory)
		exit(2);
	for (size_t i = 0; i < size; i += 64)
		memory[i] = (unsigned char)(i / 64);
}

static unsigned long sum(void)
{
	unsigned long all = 0;

	for (size_t i = 0; i < size; i += 4096)
		all += memory[i] + 1u;
	return all;
}

static void answer(const char *line)
{
	size_t n = strncmp(line, "write ", 6) == 0 ? (size_t)atol(line + 6) * MIB : 0;
	const char *value;

	if (strcmp(line, "sum") == 0) {
		printf("%lu\n", sum());
	} else if (n && n <= size) {
		memset(memory, 1, n);
		puts("written");
	} else if (strncmp(line, "env ", 4) == 0) {
		value = getenv(line + 4);
		puts(value ? value : "(unset)");
	} else if (strcmp(line, "pid") == 0) {
		printf("%d\n", getpid());
	} else if (strncmp(line, "exit ", 5) == 0) {
		exit(atoi(line + 5));
	} else {
		puts(line);
	}
	fflush(stdout);
}

static int tell_time(const char *fifo)
{
	struct timespec now;
	int64_t t;
	int fd;

	clock_gettime(CLOCK_MONOTONIC, &now);
	t = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	fd = open(fifo, O_WRONLY);
	return fd < 0 || write(fd, &t, sizeof(t)) != sizeof(t);
}

static int work(const char *name, const char *how, const char *fifo)
{
	char line[512];

	if (fifo && tell_time(fifo) != 0)
		return 1;

	if (strcmp(how, "lines") != 0) {
		printf("worker %s at work, %lu\n", name, sum());
		fflush(stdout);
		for (;;)
			pause();
	}
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		answer(line);
	}
	return 0;
}

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	struct template_worker worker;
	useconds_t delay = 0;
	pthread_t thread;
	int option, r;

	while ((option = getopt(argc, argv, "m:d:t")) != -1) {
		if (option == 'm')
			load((size_t)atol(optarg));
		else if (option == 'd')
			delay = (useconds_t)atol(optarg) * 1000;
		else if (option != 't' || pthread_create(&thread, NULL, idle, NULL) != 0)
			return 2;
	}
	printf("loaded %zu MiB\n", size / MIB);
	fflush(stdout);
	usleep(delay);
	r = template_serve(&worker);
	if (r < 0)
		perror("template");
	return r > 0 ? work(worker.name, optind < argc ? argv[optind] : "sleep",
			    optind + 1 < argc ? argv[optind + 1] : NULL) : r != 0;
}
