/* Verbs about workers that are answered at once. */
#include <stdlib.h>
#include <string.h>
#include "ctl/output.h"
#include "ctl/verbs.h"
#include "lib/clock.h"
#include "lib/text.h"

/* ---- status ----------------------------------------------------------------------------------- */

struct status {
	struct table *table;
	bool any, any_dead; /* there is a worker; one that is not alive */
};

static enum table_colour colour_of(const char *state)
{
	if (strcmp(state, "running") == 0)
		return TABLE_GREEN;
	if (strcmp(state, "failed") == 0)
		return TABLE_RED;
	return strcmp(state, "stopped") == 0 || strcmp(state, "exited") == 0 ? TABLE_PLAIN
									     : TABLE_YELLOW;
}

static const char *last_exit(const struct json_t *w, char *buf, size_t size)
{
	const char *why = json_get_string(w, "why");
	char end[64] = "";
	int64_t number;

	if (json_get_int(w, "exitcode", &number))
		snprintf(end, sizeof(end), "exited %lld", (long long)number);
	else if (json_get_int(w, "signal", &number))
		snprintf(end, sizeof(end), "killed by %s", text_signal_name((int)number));
	if (why && *why && strncmp(why, end, strlen(end)) == 0) /* the same, and perhaps more */
		snprintf(buf, size, "%s", why);
	else if (*end)
		snprintf(buf, size, "%s", end);
	return buf;
}

static void add_row(struct status *s, const struct json_t *w)
{
	char pid[24] = "-", uptime[32] = "-", restarts[24] = "0", memory[32] = "-";
	const char *name = json_get_string(w, "name"), *state = json_get_string(w, "state");
	char last[128] = "-";
	int64_t number;
	double seconds;

	if (json_get_int(w, "pid", &number))
		snprintf(pid, sizeof(pid), "%lld", (long long)number);
	if (json_get_double(w, "uptime", &seconds))
		text_duration_show(uptime, sizeof(uptime),
				   seconds < 1 ? (int64_t)(seconds * 1000) * USEC_PER_MSEC
					       : (int64_t)seconds * USEC_PER_SEC);
	if (json_get_int(w, "restarts", &number))
		snprintf(restarts, sizeof(restarts), "%lld", (long long)number);
	if (json_get_int(w, "memory", &number))
		text_size_show(memory, sizeof(memory), (uint64_t)number);
	table_row(s->table,
		  (const char *const[]){ name ? name : "?", state ? state : "?", pid, uptime,
					 restarts, last_exit(w, last, sizeof(last)), memory },
		  colour_of(state ? state : ""), 1);
}

static bool on_workers(const struct ctl *ctl, struct json_t *params, void *arg)
{
	struct json_t *workers = json_get(params, "workers");
	struct status *s = arg;
	bool alive;

	for (size_t i = 0; i < json_count(workers); i++) {
		const struct json_t *w = json_at(workers, i);
		char *text = ctl->json ? json_text(w) : NULL;

		if (!json_get_bool(w, "alive", &alive) || !alive)
			s->any_dead = true;
		if (text)
			printf("%s%s", s->any ? ",\n" : "{\"workers\":[", text);
		else
			add_row(s, w);
		s->any = true;
		free(text);
	}
	return true;
}

static void list_params(const struct ctl *ctl, struct params_out *p)
{
	ctl_params(p);
	if (!ctl->count)
		return;
	jw_key(&p->json, "names");
	jw_array(&p->json);
	for (int i = 0; i < ctl->count; i++)
		jw_string(&p->json, ctl->args[i]);
	jw_end_array(&p->json);
}

/* Of several names those that mean something: the others are told, and hold nothing up. Exit code of the first. */
static int keep_known(struct ctl *ctl)
{
	int code = 0, kept = 0;

	for (int i = 0; i < ctl->count; i++) {
		struct message_reply reply;
		struct params_out p;
		int r;

		ctl_params(&p);
		ctl_param_string(&p, "name", ctl->args[i]);
		r = ctl_call(ctl, "io.crewd.Worker.IsAlive", &p, true, &reply);
		if (r == 0) {
			message_reply_free(&reply);
			ctl->args[kept++] = ctl->args[i];
		} else if (r != CREW_EXIT_NO_SUCH) {
			return r;
		}
		code = code ? code : r;
	}
	ctl->count = kept;
	return code;
}

static int list_status(struct ctl *ctl)
{
	static const char *const heads[] = { "NAME",	 "STATE",     "PID",   "UPTIME",
					     "RESTARTS", "LAST EXIT", "MEMORY" };
	struct status s = { .table = table_new(7, heads) };
	struct params_out p;
	int r;

	if (!s.table)
		return CREW_EXIT_FAILED;
	list_params(ctl, &p);
	r = ctl_stream(ctl, "io.crewd.Worker.List", &p, false, on_workers, &s);
	if (ctl->json && (s.any || r == 0))
		puts(s.any ? "]}" : "{\"workers\":[]}");
	else if (r == 0)
		table_print(s.table, 1u << 2 | 1u << 4 | 1u << 6);
	table_free(s.table);
	return r ? r : ctl->count && (s.any_dead || !s.any) ? CREW_EXIT_NOT_ALIVE : CREW_EXIT_OK;
}

int ctl_status(struct ctl *ctl)
{
	int unknown = ctl->count > 1 ? keep_known(ctl) : 0, r;

	if (unknown && (unknown != CREW_EXIT_NO_SUCH || !ctl->count))
		return unknown;
	r = list_status(ctl);
	return unknown ? unknown : r;
}

/* ---- short ones ------------------------------------------------------------------------------- */

int ctl_is_alive(struct ctl *ctl)
{
	struct message_reply reply;
	struct params_out p;
	bool alive = false;
	int r;

	ctl_params(&p);
	ctl_param_string(&p, "name", ctl->args[0]);
	r = ctl_call(ctl, "io.crewd.Worker.IsAlive", &p, true, &reply);
	if (r)
		return r;
	json_get_bool(reply.params, "alive", &alive);
	if (ctl->json)
		ctl_print_json(reply.params);
	else
		puts(alive ? "alive" : "dead");
	message_reply_free(&reply);
	return alive ? CREW_EXIT_OK : CREW_EXIT_NOT_ALIVE;
}

/* The first failure is the exit code; the others are told, and do not hold up the rest. */
static int for_each_name(struct ctl *ctl, int from, const char *method, const char *signal)
{
	int code = 0;

	for (int i = from; i < ctl->count; i++) {
		struct params_out p;
		int r;

		ctl_params(&p);
		ctl_param_string(&p, "name", ctl->args[i]);
		ctl_param_string(&p, "signal", signal);
		r = ctl_do(ctl, method, &p);
		code = code ? code : r;
	}
	return code;
}

int ctl_signal(struct ctl *ctl)
{
	if (text_signal(ctl->args[0]) < 0)
		return ctl_usage(ctl, "%s is no signal; HUP, SIGHUP or 1 is", ctl->args[0]);
	return for_each_name(ctl, 1, "io.crewd.Worker.Signal", ctl->args[0]);
}

int ctl_forget(struct ctl *ctl)
{
	return for_each_name(ctl, 0, "io.crewd.Worker.Forget", NULL);
}

/* ---- logs ------------------------------------------------------------------------------------- */

#define LINES_BEFORE 10 /* what is shown before it follows, as tail(1) does */

static bool on_lines(const struct ctl *ctl, struct json_t *params, void *arg)
{
	struct json_t *lines = json_get(params, "lines");

	(void)arg;
	for (size_t i = 0; !ctl->json && i < json_count(lines); i++) {
		const char *line = json_as_string(json_at(lines, i));

		puts(line ? line : "");
	}
	if (ctl->json && (!ctl->follow || json_count(lines)))
		ctl_print_json(params);
	return ctl_finish(0) == 0;
}

int ctl_logs(struct ctl *ctl)
{
	struct message_reply reply;
	struct params_out p;
	int r;

	ctl_params(&p);
	ctl_param_string(&p, "name", ctl->args[0]);
	if (ctl->lines >= 0 || ctl->follow) {
		jw_key(&p.json, "lines");
		jw_int(&p.json, ctl->lines >= 0 ? ctl->lines : LINES_BEFORE);
	}
	if (ctl->follow)
		return ctl_stream(ctl, "io.crewd.Worker.Logs", &p, false, on_lines, NULL);
	r = ctl_call(ctl, "io.crewd.Worker.Logs", &p, true, &reply);
	if (r)
		return r;
	on_lines(ctl, reply.params, NULL);
	message_reply_free(&reply);
	return CREW_EXIT_OK;
}
