/* Verbs about the daemon and its pools. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "ctl/verbs.h"
#include "lib/bounds.h"
#include "lib/text.h"

int ctl_scale(struct ctl *ctl)
{
	struct params_out p;
	int64_t workers;

	if (text_int(ctl->args[1], &workers) < 0 || workers < 0 || workers > CREW_WORKERS_MAX)
		return ctl_usage(ctl, "%s is no number of workers from 0 to %d", ctl->args[1],
				 CREW_WORKERS_MAX);
	ctl_params(&p);
	ctl_param_string(&p, "name", ctl->args[0]);
	jw_key(&p.json, "workers");
	jw_int(&p.json, workers);
	return ctl_do(ctl, "io.crewd.Pool.Scale", &p);
}

/* ---- reload ----------------------------------------------------------------------------------- */

/* `what`: before each name. */
static size_t print_names(const struct json_t *params, const char *word, const char *what)
{
	struct json_t *names = json_get(params, word);

	for (size_t i = 0; i < json_count(names); i++)
		printf("%s %s%s\n", word, what, json_as_string(json_at(names, i)));
	return json_count(names);
}

static void print_change(const struct json_t *change)
{
	const char *pool = json_get_string(change, "pool"),
		   *queue = json_get_string(change, "queue");
	struct json_t *keys = json_get(change, "keys");
	bool restart = false, global = !queue && (!pool || !*pool);

	if (global)
		fputs("changed outside pools:", stdout);
	else
		printf("changed %s%s:", queue ? "queue " : "", queue ? queue : pool);
	for (size_t i = 0; i < json_count(keys); i++)
		printf("%s %s", i ? "," : "", json_as_string(json_at(keys, i)));
	json_get_bool(change, "restart", &restart);
	if (restart)
		fputs(global || queue ? " (needs a restart of crewd)"
				      : " (its workers are restarted)",
		      stdout);
	putchar('\n');
}

static size_t print_part(const struct json_t *part, const char *what)
{
	struct json_t *changed = json_get(part, "changed");
	size_t count = print_names(part, "added", what);

	for (size_t i = 0; i < json_count(changed); i++)
		print_change(json_at(changed, i));
	count += json_count(changed);
	return count + print_names(part, "removed", what);
}

static void print_plan(const struct json_t *params)
{
	size_t count = print_part(params, "");

	count += print_part(json_get(params, "queues"), "queue ");
	if (!count)
		puts("nothing changed");
}

int ctl_reload(struct ctl *ctl)
{
	struct message_reply reply;
	struct params_out p;
	int r;

	ctl_params(&p);
	ctl_param_bool(&p, "dryRun", ctl->dry_run);
	r = ctl_call(ctl, "io.crewd.Manager.Reload", &p, false, &reply);
	if (r)
		return r;
	if (ctl->json)
		ctl_print_json(reply.params);
	else
		print_plan(reply.params);
	message_reply_free(&reply);
	return CREW_EXIT_OK;
}

/* ---- shutdown --------------------------------------------------------------------------------- */

/* A descriptor for the daemon's process, taken before it is told to end; -1: it cannot be had. */
static int daemon_process(const struct ctl *ctl, int *code)
{
	struct message_reply reply;
	struct params_out p;
	int64_t pid = 0;

	ctl_params(&p);
	*code = ctl_call(ctl, "io.crewd.Manager.GetStatus", &p, true, &reply);
	if (*code)
		return -1;
	json_get_int(reply.params, "pid", &pid);
	message_reply_free(&reply);
	return pid > 0 ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
}

int ctl_shutdown(struct ctl *ctl)
{
	struct pollfd p = { .events = POLLIN };
	struct params_out params;
	int code;

	p.fd = daemon_process(ctl, &code);
	if (code)
		return code;
	ctl_params(&params);
	ctl_param_bool(&params, "join", ctl->join);
	code = ctl_do(ctl, "io.crewd.Manager.Shutdown", &params);
	while (code == 0 && p.fd >= 0 && poll(&p, 1, -1) < 0)
		;
	if (p.fd >= 0)
		close(p.fd);
	return code;
}

/* ---- events ----------------------------------------------------------------------------------- */

static void print_why(const char *why)
{
	printf("%s%s%s\n", why && *why ? " (" : "", why ? why : "", why && *why ? ")" : "");
}

static void print_task_event(const char *stamp, const struct json_t *e)
{
	const char *worker = json_get_string(e, "worker");

	printf("%s %s task %s %s", stamp, json_get_string(e, "pool") ?: "?",
	       json_get_string(e, "id") ?: "?", json_get_string(e, "state") ?: "?");
	if (worker)
		printf(" on %s", worker);
	print_why(json_get_string(e, "why"));
}

static void print_event(const struct json_t *e)
{
	const char *event = json_get_string(e, "event"), *worker = json_get_string(e, "worker");
	char stamp[32] = "";
	double seconds = 0;
	time_t when;
	int64_t pid;
	struct tm tm;

	json_get_double(e, "time", &seconds);
	when = (time_t)seconds;
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", localtime_r(&when, &tm));
	if (event && strcmp(event, "task") == 0) {
		print_task_event(stamp, e);
		return;
	}
	if (!worker) {
		printf("%s %s\n", stamp, event ? event : "?");
		return;
	}
	printf("%s %s %s -> %s", stamp, worker, json_get_string(e, "was") ?: "?",
	       json_get_string(e, "state") ?: "?");
	if (json_get_int(e, "pid", &pid))
		printf(" pid %lld", (long long)pid);
	print_why(json_get_string(e, "why"));
}

static bool on_event(const struct ctl *ctl, struct json_t *params, void *arg)
{
	(void)arg;
	if (ctl->json)
		ctl_print_json(params);
	else
		print_event(params);
	return ctl_finish(0) == 0;
}

int ctl_events(struct ctl *ctl)
{
	struct params_out p;

	ctl_params(&p);
	return ctl_stream(ctl, "io.crewd.Manager.Subscribe", &p, true, on_event, NULL);
}
