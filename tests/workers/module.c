/* A module for the tests: the first argument of a task says what it does. */
#include <crew.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE ((size_t)64 << 20)

static pid_t loader;
static char *table;

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static int set_out(const char *how)
{
	pthread_t thread;

	if (strcmp(how, "abort") == 0)
		abort();
	if (strcmp(how, "thread") == 0)
		return pthread_create(&thread, NULL, idle, NULL);
	return atoi(how);
}

int crew_preload(void)
{
	const char *how = getenv("PRELOAD");

	loader = getpid();
	table = malloc(SIZE);
	if (!table)
		return 1;
	memset(table, 1, SIZE);
	printf("preloaded by %d\n", (int)loader);
	fflush(stdout);
	return how ? set_out(how) : 0;
}

static void tell(struct crew_task *task)
{
	unsigned long sum = 0;
	char text[96];
	int n;

	for (size_t i = 0; i < SIZE; i += 4096)
		sum += (unsigned long)table[i];
	n = snprintf(text, sizeof(text), "%d %d %lu", (int)loader, (int)getpid(), sum);
	crew_return(task, text, (size_t)n);
}

/* Those that have no answer. */
static void end(struct crew_task *task, const char *how, const char *arg)
{
	if (strcmp(how, "abort") == 0)
		abort();
	if (strcmp(how, "exit") == 0)
		exit(arg ? atoi(arg) : 0);
	if (strcmp(how, "nothing") != 0)
		crew_fail(task, 42, "no such word");
}

void crew_run(struct crew_task *task)
{
	const char *how = crew_task_arg(task, 0, NULL), *arg;
	size_t len = 0;
	char number[24];

	how = how ? how : "params";
	arg = crew_task_arg(task, 1, &len);
	if (strcmp(how, "echo") == 0 && arg)
		crew_return(task, arg, len);
	else if (strcmp(how, "env") == 0 && arg)
		crew_return_json(task, getenv(arg) ? getenv(arg) : "null");
	else if (strcmp(how, "sleep") == 0 && arg && usleep((useconds_t)atoi(arg) * 1000) == 0)
		crew_return(task, arg, len);
	else if (strcmp(how, "count") == 0)
		crew_return_json(
			task,
			(snprintf(number, sizeof(number), "%zu", crew_task_count(task)), number));
	else if (strcmp(how, "params") == 0)
		crew_return_json(task, crew_task_params(task));
	else if (strcmp(how, "tell") == 0)
		tell(task);
	else
		end(task, how, arg);
}
