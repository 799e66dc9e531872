/* crewctl memory: what workers and their templates have, and share. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "ctl/output.h"
#include "ctl/verbs.h"
#include "lib/clock.h"
#include "lib/text.h"

#define COLUMNS 6

/* One worker, or all of one pool. Bytes; -1: not known. */
struct figures {
	int64_t rss, pss, uss;
};

/* A pool, with the template its workers were forked from. */
struct sum {
	const char *pool, *template;
	unsigned workers;
	int64_t takes;	  /* of workers and template together, as much of what they share as is theirs */
	int64_t unshared; /* what the workers would take if each had all of its own */
	int64_t own;	  /* of the workers, what each has alone */
};

static struct figures figures_of(const struct json_t *w)
{
	struct figures f = { -1, -1, -1 };

	json_get_int(w, "memory", &f.rss);
	json_get_int(w, "pss", &f.pss);
	json_get_int(w, "uss", &f.uss);
	return f;
}

static const char *text_of(const struct json_t *w, const char *key)
{
	const char *text = json_get_string(w, key);

	return text ? text : "";
}

static int64_t known(int64_t bytes)
{
	return bytes > 0 ? bytes : 0;
}

static void add_template(struct sum *s, const struct json_t *workers)
{
	for (size_t i = 0; s->template && i < json_count(workers); i++)
		if (strcmp(text_of(json_at(workers, i), "pool"), s->template) == 0)
			s->takes += known(figures_of(json_at(workers, i)).pss);
}

/* The pools of the workers, templates not among them. *count of them, to be freed. */
static struct sum *sums_of(const struct json_t *workers, unsigned *count)
{
	struct sum *sums = calloc(json_count(workers) + 1, sizeof(*sums)), *s;

	*count = 0;
	for (size_t i = 0; sums && i < json_count(workers); i++) {
		const struct json_t *w = json_at(workers, i);
		struct figures f = figures_of(w);

		if (!json_get_string(w, "template"))
			continue;
		for (s = sums; s < sums + *count && strcmp(s->pool, text_of(w, "pool")) != 0; s++)
			;
		if (s == sums + *count) {
			*s = (struct sum){ .pool = text_of(w, "pool"),
					   .template = text_of(w, "template") };
			add_template(s, workers);
			++*count;
		}
		s->workers += f.pss >= 0;
		s->takes += known(f.pss);
		s->unshared += known(f.rss);
		s->own += known(f.uss);
	}
	return sums;
}

static const char *size_text(char *buf, size_t size, int64_t bytes)
{
	return bytes < 0 ? "-" : text_size_show(buf, size, (uint64_t)bytes);
}

/* ---- for people ------------------------------------------------------------------------------- */

static int print_rows(const struct json_t *workers)
{
	static const char *const heads[COLUMNS] = { "NAME", "PID", "RSS", "PSS", "USS", "SHARED" };
	struct table *table = table_new(COLUMNS, heads);

	if (!table)
		return CREW_EXIT_FAILED;
	for (size_t i = 0; i < json_count(workers); i++) {
		const struct json_t *w = json_at(workers, i);
		struct figures f = figures_of(w);
		char pid[24] = "-", text[4][32];
		int64_t number;

		if (json_get_int(w, "pid", &number))
			snprintf(pid, sizeof(pid), "%lld", (long long)number);
		table_row(table,
			  (const char *const[]){
				  text_of(w, "name"), pid, size_text(text[0], 32, f.rss),
				  size_text(text[1], 32, f.pss), size_text(text[2], 32, f.uss),
				  size_text(text[3], 32, f.uss < 0 ? -1 : f.rss - f.uss) },
			  TABLE_PLAIN, 0);
	}
	table_print(table, 0x3e);
	table_free(table);
	return 0;
}

static void print_sum(const struct sum *s, const char *before)
{
	char takes[32], unshared[32], own[32];

	printf("%s%s: %u %s of template %s take %s, their own %s; unshared it would be %s\n", before,
	       s->pool, s->workers, s->workers == 1 ? "worker" : "workers", s->template,
	       size_text(takes, 32, s->takes), size_text(own, 32, s->own),
	       size_text(unshared, 32, s->unshared));
}

static int print_table(const struct json_t *workers)
{
	unsigned count;
	struct sum *sums = sums_of(workers, &count);
	int r = sums ? print_rows(workers) : CREW_EXIT_FAILED;

	for (unsigned i = 0; !r && i < count; i++)
		print_sum(&sums[i], i ? "" : "\n");
	free(sums);
	return r;
}

/* ---- for programs ----------------------------------------------------------------------------- */

static void write_count(struct json_writer *json, const char *key, int64_t count)
{
	jw_key(json, key);
	jw_int(json, count);
}

static void write_sum(struct json_writer *json, const struct sum *s)
{
	jw_object(json);
	jw_key(json, "pool");
	jw_string(json, s->pool);
	jw_key(json, "template");
	jw_string(json, s->template);
	write_count(json, "workers", s->workers);
	write_count(json, "takes", s->takes);
	write_count(json, "own", s->own);
	write_count(json, "unshared", s->unshared);
	jw_end_object(json);
}

static int print_json(const struct json_t *workers)
{
	unsigned count;
	struct sum *sums = sums_of(workers, &count);
	char *text = json_text(workers);
	struct params_out p;

	ctl_params(&p); /* an object, as any other */
	jw_key(&p.json, "pools");
	jw_array(&p.json);
	for (unsigned i = 0; sums && i < count; i++)
		write_sum(&p.json, &sums[i]);
	jw_end_array(&p.json);
	if (text && sums && jw_ok(&p.json))
		printf("%.*s,\"workers\":%s}\n", (int)p.text.len, p.text.data, text);
	free(text);
	free(sums);
	ctl_params_free(&p);
	return text && sums ? 0 : CREW_EXIT_FAILED;
}

/* ---- the verb --------------------------------------------------------------------------------- */

/* In the order they were told, which is as in `status`, templates behind. */
static int measure(struct ctl *ctl, struct message_reply *reply)
{
	struct params_out p;

	ctl_params(&p);
	ctl_param_bool(&p, "sharing", true);
	if (ctl->count) {
		jw_key(&p.json, "names");
		jw_array(&p.json);
		for (int i = 0; i < ctl->count; i++)
			jw_string(&p.json, ctl->args[i]);
		jw_end_array(&p.json);
	}
	return ctl_call(ctl, "io.crewd.Worker.List", &p, true, reply);
}

/* A line for each pool, so that what changes stands below what it was. */
static int print_watched(const struct json_t *workers)
{
	struct tm tm;
	time_t now = time(NULL);
	char before[32];
	unsigned count;
	struct sum *sums = sums_of(workers, &count);

	if (!sums)
		return CREW_EXIT_FAILED;
	strftime(before, sizeof(before), "%H:%M:%S ", localtime_r(&now, &tm));
	for (unsigned i = 0; i < count; i++)
		print_sum(&sums[i], before);
	free(sums);
	return 0;
}

static int show(struct ctl *ctl)
{
	struct message_reply reply;
	int r = measure(ctl, &reply);
	const struct json_t *workers;

	if (r)
		return r;
	workers = json_get(reply.params, "workers");
	if (ctl->json)
		r = print_json(workers);
	else
		r = ctl->watch ? print_watched(workers) : print_table(workers);
	message_reply_free(&reply);
	return ctl_finish(r);
}

int ctl_memory(struct ctl *ctl)
{
	int64_t until = ctl->timeout >= 0 ? clock_now() + ctl->timeout : INT64_MAX;
	int r;

	if (!ctl->watch && ctl->timeout >= 0)
		return ctl_usage(ctl, "--timeout is for --watch");
	r = show(ctl);
	while (!r && ctl->watch && clock_now() + USEC_PER_SEC <= until) {
		sleep(1);
		r = show(ctl);
	}
	return r;
}
