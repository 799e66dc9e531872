/*
 * Two producers and three consumers on a bounded queue, as queues.sh has it, with libcrew: each is a process of its
 * own that knows no more of the others than the queue's name. Usage: queues [SOCKET [QUEUE [ITEMS]]]. Prints what
 * each consumer got. It is the same for queues of each kind; in shared memory ("quick") nobody asks the daemon.
 *
 *   cc -o queues queues.c $(pkg-config --cflags --libs libcrew)
 *   mkdir -p /tmp/crewd-queues && crewd -c queues.conf &
 *   ./queues /tmp/crewd-queues/control quick
 */
#include <crew.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path = "/tmp/crewd-queues/control", *name = "jobs";
static int items = 10;

static int check(int code, const char *what)
{
	if (code < 0) {
		fprintf(stderr, "queues: %s: %s: %s\n", name, what, crew_strerror(code));
		exit(1);
	}
	return code;
}

static struct crew_queue *attach(void)
{
	struct crew_queue *queue;

	check(crew_queue_open(&queue, path, name, 5), "cannot open");
	return queue;
}

/* A put waits while the queue is full. */
static void produce(const char *who)
{
	struct crew_queue *queue = attach();

	for (int i = 1; i <= items; i++) {
		char text[64];
		int len = snprintf(text, sizeof(text), "%s %d", who, i);

		check(crew_queue_put_text(queue, text, (size_t)len, CREW_FOREVER), "put");
	}
	crew_queue_close(queue);
}

/* Until it gets the word that there is no more; each item is said to be done. */
static void consume(const char *who)
{
	struct crew_queue *queue = attach();

	for (int more = 1; more;) {
		char *text;

		check(crew_queue_get_text(queue, &text, NULL, CREW_FOREVER), "get");
		more = strcmp(text, "end") != 0;
		if (more)
			printf("%s: %s\n", who, text);
		free(text);
		check(crew_queue_task_done(queue), "task done");
	}
	crew_queue_close(queue);
}

static pid_t start(void (*role)(const char *), const char *who)
{
	pid_t pid = fork();

	if (pid == 0) {
		role(who);
		exit(0);
	}
	if (pid < 0) {
		perror("queues: fork");
		exit(1);
	}
	return pid;
}

static int has_failed(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) != pid || status != 0;
}

int main(int argc, char **argv)
{
	struct crew_queue *queue;
	pid_t producers[2], consumers[3];
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0); /* lines of several processes stay whole */
	path = argc > 1 ? argv[1] : path;
	name = argc > 2 ? argv[2] : name;
	items = argc > 3 ? atoi(argv[3]) : items;
	consumers[0] = start(consume, "one");
	consumers[1] = start(consume, "two");
	consumers[2] = start(consume, "three");
	producers[0] = start(produce, "red");
	producers[1] = start(produce, "blue");
	for (int i = 0; i < 2; i++)
		failed |= has_failed(producers[i]);
	queue = attach();
	for (int i = 0; i < 3; i++)
		check(crew_queue_put_text(queue, "end", 3, CREW_FOREVER), "put");
	if (!failed)
		check(crew_queue_join(queue, CREW_FOREVER), "join"); /* all that was put is done */
	for (int i = 0; i < 3; i++)
		failed |= has_failed(consumers[i]);
	crew_queue_close(queue);
	return failed;
}
