/* Verbs about pools with tasks, and about tasks that are there. */
#include "ctl/pool.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/output.h"
#include "ctl/verbs.h"
#include "lib/clock.h"
#include "lib/text.h"

int pools_get(const struct ctl *ctl, struct message_reply *reply)
{
	struct params_out p;

	ctl_params(&p);
	return ctl_call(ctl, "io.crewd.Pool.List", &p, true, reply);
}

const char *pools_tasks(const struct message_reply *pools, const char *name)
{
	struct json_t *list = json_get(pools->params, "pools");

	for (size_t i = 0; i < json_count(list); i++) {
		const char *found = json_get_string(json_at(list, i), "name");

		if (found && strcmp(found, name) == 0)
			return json_get_string(json_at(list, i), "tasks");
	}
	return NULL;
}

const char *pools_open(const struct message_reply *pools, const char *glob)
{
	struct json_t *list = json_get(pools->params, "pools");

	for (size_t i = 0; i < json_count(list); i++) {
		const char *name = json_get_string(json_at(list, i), "name"),
			   *gate = json_get_string(json_at(list, i), "gate");

		if (name && gate && strcmp(gate, "open") == 0 && fnmatch(glob, name, 0) == 0)
			return name;
	}
	return NULL;
}

int pool_join(const struct ctl *ctl, const char *name, int64_t deadline)
{
	struct message_reply reply;
	struct params_out p;
	int r;

	ctl_params(&p);
	ctl_param_string(&p, "name", name);
	ctl_param_deadline(&p, deadline);
	r = ctl_call(ctl, "io.crewd.Pool.Join", &p, true, &reply);
	if (r == 0)
		message_reply_free(&reply);
	return r;
}

/* The daemon takes the name of one pool; globs are matched here, against those that have tasks. */
static int each_match(struct ctl *ctl, const char *glob,
		      int (*act)(struct ctl *ctl, const char *name, void *arg), void *arg)
{
	struct message_reply pools;
	struct json_t *list;
	int code = pools_get(ctl, &pools), matched = 0;

	if (code)
		return code;
	list = json_get(pools.params, "pools");
	for (size_t i = 0; i < json_count(list); i++) {
		const char *name = json_get_string(json_at(list, i), "name");
		int r;

		if (!name || !json_get_string(json_at(list, i), "tasks") ||
		    fnmatch(glob, name, 0) != 0)
			continue;
		matched++;
		r = act(ctl, name, arg);
		code = code ? code : r;
	}
	message_reply_free(&pools);
	if (matched)
		return code;
	ctl_error("no such pool with tasks: %s", glob);
	return CREW_EXIT_NO_SUCH;
}

static int each_pool(struct ctl *ctl, const char *name,
		     int (*act)(struct ctl *ctl, const char *name, void *arg), void *arg)
{
	return strpbrk(name, "*?[") ? each_match(ctl, name, act, arg) : act(ctl, name, arg);
}

/* ---- tasks ------------------------------------------------------------------------------------ */

struct listing {
	struct table *table;
	double now; /* seconds since 1970 */
	bool comma;
};

/* A span between two points of the machine's clock, which may have been set back meanwhile. */
static const char *span(char *buf, size_t size, double from, double to)
{
	double seconds = to > from ? to - from : 0;

	return text_duration_show(buf, size,
				  seconds < 1 ? (int64_t)(seconds * 1000) * USEC_PER_MSEC
					      : (int64_t)seconds * USEC_PER_SEC);
}

static void add_task(struct listing *l, const struct json_t *task)
{
	const char *state = json_get_string(task, "state"),
		   *worker = json_get_string(task, "worker");
	char attempts[24] = "0", waited[32] = "-", ran[32] = "-", age[32] = "-";
	double queued, started;
	int64_t number;
	bool has_queued = json_get_double(task, "queued", &queued);
	bool has_started = json_get_double(task, "started", &started);

	if (json_get_int(task, "attempts", &number))
		snprintf(attempts, sizeof(attempts), "%lld", (long long)number);
	if (has_queued) {
		span(waited, sizeof(waited), queued, has_started ? started : l->now);
		span(age, sizeof(age), queued, l->now);
	}
	if (has_started)
		span(ran, sizeof(ran), started, l->now);
	table_row(l->table,
		  (const char *const[]){ json_get_string(task, "id") ?: "?", state ?: "?",
					 worker ?: "-", attempts, waited, ran, age },
		  state && strcmp(state, "running") == 0 ? TABLE_GREEN : TABLE_PLAIN, 1);
}

static bool on_tasks(const struct ctl *ctl, struct json_t *params, void *arg)
{
	struct json_t *tasks = json_get(params, "tasks");
	struct listing *l = arg;

	for (size_t i = 0; i < json_count(tasks); i++) {
		char *text = ctl->json ? json_text(json_at(tasks, i)) : NULL;

		if (text)
			printf("%s%s", l->comma ? ",\n" : "", text);
		else
			add_task(l, json_at(tasks, i));
		l->comma = true;
		free(text);
	}
	return true;
}

static int list_one(struct ctl *ctl, const char *name, void *arg)
{
	struct params_out p;

	ctl_params(&p);
	ctl_param_string(&p, "pool", name);
	return ctl_stream(ctl, "io.crewd.Pool.Tasks", &p, false, on_tasks, arg);
}

int ctl_tasks(struct ctl *ctl)
{
	static const char *const heads[] = { "ID",     "STATE", "WORKER", "ATTEMPTS",
					     "WAITED", "RAN",	"AGE" };
	struct listing l = { .table = table_new(7, heads),
			     .now = (double)clock_wall() / (double)USEC_PER_SEC };
	int code = 0;

	if (!l.table)
		return CREW_EXIT_FAILED;
	if (ctl->json)
		fputs("{\"tasks\":[", stdout);
	for (int i = 0; i < (ctl->count ? ctl->count : 1); i++) {
		int r = each_pool(ctl, ctl->count ? ctl->args[i] : "*", list_one, &l);

		code = code ? code : r;
	}
	if (ctl->json)
		puts("]}");
	else if (code == 0 || l.comma)
		table_print(l.table, 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6);
	table_free(l.table);
	return code;
}

/* ---- cancel, close ---------------------------------------------------------------------------- */

static int do_one(struct ctl *ctl, const char *method, const char *key, const char *value)
{
	struct params_out p;

	ctl_params(&p);
	ctl_param_string(&p, key, value);
	return ctl_do(ctl, method, &p);
}

static int close_one(struct ctl *ctl, const char *name, void *arg)
{
	(void)arg;
	return do_one(ctl, "io.crewd.Pool.Close", "name", name);
}

int ctl_cancel(struct ctl *ctl)
{
	int code = 0;

	for (int i = 0; i < ctl->count; i++) {
		int r = do_one(ctl, "io.crewd.Pool.Cancel", "id", ctl->args[i]);

		code = code ? code : r;
	}
	return code;
}

int ctl_close(struct ctl *ctl)
{
	int code = 0;

	for (int i = 0; i < ctl->count; i++) {
		int r = each_pool(ctl, ctl->args[i], close_one, NULL);

		code = code ? code : r;
	}
	return code;
}
