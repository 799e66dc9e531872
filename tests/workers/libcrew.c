/*
 * libcrew by hand: a line on standard input is a call of one of its functions, `NAME [ARGUMENT...]`, the last one is
 * the rest of the line; a line on standard output is what came of it, `CODE [TEXT]`. As a worker (CREW_TASKS is
 * set) it serves tasks that do what a test needs done; their first argument says what.
 */
#include <crew.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct crew_client *client;
static struct crew_queue *queue;

static void say(long code, const char *text)
{
	printf("%ld%s%s\n", code, text ? " " : "", text ? text : "");
	fflush(stdout);
}

/* The next word of the line, which is cut off. */
static const char *word(char **rest)
{
	char *begin = *rest ? *rest : "", *end = strchr(begin, ' ');

	*rest = end ? end + 1 : NULL;
	if (end)
		*end = '\0';
	return begin;
}

static double seconds(char **rest)
{
	return strtod(word(rest), NULL);
}

static const char *path_of(char **rest)
{
	const char *path = word(rest);

	return strcmp(path, "-") == 0 ? NULL : path;
}

/* ---- client ------------------------------------------------------------------------------------- */

static void say_reply(int code, char *reply)
{
	char line[4096];

	snprintf(line, sizeof(line), "%s %s", crew_client_error(client) ?: "-",
		 crew_client_error_params(client) ?: "-");
	say(code, code == CREW_REFUSED ? line : reply);
	free(reply);
}

static void do_connect(char *rest)
{
	const char *path = path_of(&rest);

	crew_client_close(client);
	say(crew_connect(&client, path, seconds(&rest)), NULL);
}

static void do_call(char *rest)
{
	double timeout = seconds(&rest);
	const char *method = word(&rest);
	char *reply;
	int code = crew_call(client, method, rest, timeout, &reply);

	say_reply(code, reply);
}

static void do_stream(char *rest)
{
	const char *method = word(&rest);

	say(crew_stream(client, method, rest, 5), NULL);
}

static void do_next(char *rest)
{
	char *reply;
	int code = crew_next(client, seconds(&rest), &reply);

	say_reply(code, reply);
}

static void do_stream_end(char *rest)
{
	(void)rest;
	crew_stream_end(client);
	say(0, NULL);
}

static void do_client_fd(char *rest)
{
	struct pollfd p = { .fd = crew_client_fd(client), .events = POLLIN };

	say(p.fd < 0 ? p.fd : poll(&p, 1, atoi(rest)), NULL);
}

/* Half a megabyte of parameters, twice that, ... */
static void do_big(char *rest)
{
	size_t size = (size_t)atoi(rest);
	char *params = malloc(size + 16);

	memset(params, 'x', size + 16);
	memcpy(params, "{\"x\":\"", 6);
	strcpy(params + size, "\"}");
	say(crew_call(client, "a.b.C", params, 0.5, NULL), NULL);
	free(params);
}

static void do_json(char *rest)
{
	const char *how = word(&rest), *key = word(&rest);
	char *text = strcmp(how, "get") == 0	 ? crew_json_get(rest, key)
		     : strcmp(how, "at") == 0	 ? crew_json_at(rest, (size_t)atoi(key))
		     : strcmp(how, "quote") == 0 ? crew_json_quote(rest, strlen(rest))
						 : crew_json_string(rest, NULL);

	say(text ? 0 : errno, text);
	free(text);
}

/* ---- worker ------------------------------------------------------------------------------------- */

static void do_notify(char *rest)
{
	const char *what = word(&rest);
	double interval = 0;
	char text[32];

	if (strcmp(what, "enabled") == 0) {
		int code = crew_watchdog_enabled(&interval);

		snprintf(text, sizeof(text), "%g", interval);
		say(code, text);
		return;
	}
	say(strcmp(what, "ready") == 0	    ? crew_ready()
	    : strcmp(what, "stopping") == 0 ? crew_stopping()
	    : strcmp(what, "watchdog") == 0 ? crew_watchdog()
					    : crew_status(rest),
	    NULL);
}

static void do_setenv(char *rest)
{
	const char *name = word(&rest);

	say(rest ? setenv(name, rest, 1) : unsetenv(name), NULL);
}

/* ---- queues ------------------------------------------------------------------------------------- */

static void do_open(char *rest)
{
	const char *path = path_of(&rest), *name = word(&rest);
	int code;

	crew_queue_close(queue);
	code = crew_queue_open(&queue, path, name, seconds(&rest));
	say(code, queue ? crew_queue_kind(queue) : NULL);
}

static void do_attach(char *rest)
{
	const char *path = path_of(&rest), *name = word(&rest);

	crew_queue_close(queue);
	say(crew_queue_attach(&queue, path, name, seconds(&rest)), NULL);
}

static void do_put(char *rest)
{
	double timeout = seconds(&rest);

	say(crew_queue_put(queue, rest ? rest : "", rest ? strlen(rest) : 0, timeout), NULL);
}

static void do_put_text(char *rest)
{
	double timeout = seconds(&rest);

	say(crew_queue_put_text(queue, rest ? rest : "", rest ? strlen(rest) : 0, timeout), NULL);
}

static void do_get(char *rest)
{
	void *item;
	size_t len = 0;
	int code = crew_queue_get(queue, &item, &len, seconds(&rest));

	if (code == 0 && strlen(item) != len)
		code = 1000; /* none of the tests has a NUL in it */
	say(code, item);
	free(item);
}

static void do_get_text(char *rest)
{
	char *text;
	int code = crew_queue_get_text(queue, &text, NULL, seconds(&rest));

	say(code, text);
	free(text);
}

static void do_ask(char *rest)
{
	say(strcmp(rest, "qsize") == 0	 ? (long)crew_queue_qsize(queue)
	    : strcmp(rest, "empty") == 0 ? crew_queue_empty(queue)
	    : strcmp(rest, "full") == 0	 ? crew_queue_full(queue)
					 : crew_queue_task_done(queue),
	    NULL);
}

static void do_join(char *rest)
{
	say(crew_queue_join(queue, seconds(&rest)), NULL);
}

/* Whether its eventfd is readable. */
static void do_poll(char *rest)
{
	const char *which = word(&rest);
	struct pollfd p = { .events = POLLIN };

	p.fd = strcmp(which, "items") == 0 ? crew_queue_items_fd(queue) : crew_queue_room_fd(queue);
	say(p.fd < 0 ? p.fd : poll(&p, 1, atoi(rest)), NULL);
}

/* Gets and puts without an end, as fast as it goes: to be killed. */
static void do_storm(char *rest)
{
	size_t len;
	void *item;

	(void)rest;
	say(0, NULL);
	for (;;) {
		if (crew_queue_get(queue, &item, &len, 1) == 0) {
			crew_queue_put(queue, item, len, CREW_FOREVER);
			free(item);
		}
	}
}

static void *get_for_ever(void *arg)
{
	int *code = arg;
	char *text;

	*code = crew_queue_get_text(queue, &text, NULL, CREW_FOREVER);
	free(text);
	return NULL;
}

/* Eight threads get what one puts, by one handle. */
static void do_threads(char *rest)
{
	pthread_t threads[8];
	int codes[8], wrong = 0;

	(void)rest;
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, get_for_ever, &codes[i]);
	for (int i = 0; i < 8; i++)
		wrong += crew_queue_put_text(queue, "x", 1, 30) != 0;
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		wrong += codes[i] != 0;
	}
	say(wrong, NULL);
}

/* What a child may do with what it inherited. */
static void do_fork(char *rest)
{
	int status;
	pid_t pid = fork();

	(void)rest;
	if (pid == 0) {
		char *text;
		int wrong = 0;

		if (queue) {
			wrong += crew_queue_get_text(queue, &text, NULL, 0) != CREW_FORKED;
			wrong += crew_queue_put_text(queue, "x", 1, 0) != CREW_FORKED;
			wrong += crew_queue_qsize(queue) != CREW_FORKED;
		}
		if (client)
			wrong += crew_call(client, "a.b.C", NULL, 0, NULL) != CREW_FORKED;
		crew_queue_close(queue);
		crew_client_close(client);
		_exit(wrong);
	}
	waitpid(pid, &status, 0);
	say(status, NULL);
}

/* ---- tasks -------------------------------------------------------------------------------------- */

static volatile int *nowhere;
static int served;

static void on_echo(struct crew_task *t)
{
	const char *params = crew_task_params(t);

	if (params)
		crew_return_json(t, params);
}

static void on_print(struct crew_task *t)
{
	printf("not an answer\n");
	fflush(stdout);
	if (system("cat; echo neither") == 0)
		crew_return(t, "printed", 7);
}

static void on_long(struct crew_task *t)
{
	size_t len = (size_t)1 << 20;
	char *much = calloc(1, len + 1);
	char text[64];

	memset(much, 'x', len + 1);
	snprintf(text, sizeof(text), "%d %d", crew_return(t, much, len + 1),
		 crew_return_json(t, "[1,"));
	crew_return(t, text, strlen(text));
	free(much);
}

static void on_twice(struct crew_task *t)
{
	char text[64];

	crew_return(t, "first", 5);
	snprintf(text, sizeof(text), "%d %d", crew_return(t, "second", 6), crew_fail(t, 1, "no"));
	fprintf(stderr, "twice: %s\n", text);
}

/* As slow as it is told: until it finds a file. */
static void on_wait(struct crew_task *t, const char *path)
{
	while (access(path, F_OK) < 0)
		usleep(1000);
	crew_return(t, "waited", 6);
}

static void on_base64(struct crew_task *t)
{
	crew_return(t, "\xff\x00", 2);
}

static void do_task(struct crew_task *t, void *arg)
{
	const char *given = crew_task_arg(t, 0, NULL), *method = crew_task_method(t);
	const char *what = method ? method : given ? given : "";
	char text[128];

	(void)arg;
	served++;
	if (strcmp(what, "crash") == 0)
		served = *nowhere;
	else if (strcmp(what, "exit") == 0)
		exit(7);
	else if (strcmp(what, "abort") == 0)
		abort();
	else if (strcmp(what, "kill") == 0)
		kill(getpid(), SIGKILL);
	else if (strcmp(what, "fail") == 0)
		crew_fail(t, 42, "as it was told");
	else if (strcmp(what, "echo") == 0)
		on_echo(t);
	else if (strcmp(what, "print") == 0)
		on_print(t);
	else if (strcmp(what, "long") == 0)
		on_long(t);
	else if (strcmp(what, "twice") == 0)
		on_twice(t);
	else if (strcmp(what, "newline") == 0)
		crew_return(t, "a\nb", 3);
	else if (strcmp(what, "base64") == 0)
		on_base64(t);
	else if (strcmp(what, "wait") == 0 && method && given)
		on_wait(t, given);
	else if (strncmp(what, "wait ", 5) == 0)
		on_wait(t, what + 5);
	else if (strcmp(what, "none") != 0) {
		snprintf(text, sizeof(text), "%.60s %zu", what, crew_task_count(t));
		crew_return(t, text, strlen(text));
	}
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*call)(char *rest);
} functions[] = {
	{ "connect", do_connect },   { "call", do_call },	  { "stream", do_stream },
	{ "next", do_next },	     { "end", do_stream_end },	  { "fd", do_client_fd },
	{ "big", do_big },	     { "json", do_json },	  { "notify", do_notify },
	{ "setenv", do_setenv },     { "open", do_open },	  { "attach", do_attach },
	{ "put", do_put },	     { "put-text", do_put_text }, { "get", do_get },
	{ "get-text", do_get_text }, { "ask", do_ask },		  { "join", do_join },
	{ "poll", do_poll },	     { "storm", do_storm },	  { "threads", do_threads },
	{ "fork", do_fork },
};

static void do_line(char *line)
{
	const char *name = word(&line);

	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
		if (strcmp(functions[i].name, name) == 0) {
			functions[i].call(line);
			return;
		}
	say(999, name);
}

int main(void)
{
	size_t cap = 0;
	char *line = NULL;
	ssize_t len;

	if (getenv("CREW_TASKS")) {
		int code = crew_serve(do_task, NULL);

		fprintf(stderr, "served %d: %d %s\n", served, code, crew_strerror(code));
		return code < 0;
	}
	while ((len = getline(&line, &cap, stdin)) > 0) {
		line[len - 1] = '\0';
		do_line(line);
	}
	crew_queue_close(queue);
	crew_client_close(client);
	free(line);
	return 0;
}
