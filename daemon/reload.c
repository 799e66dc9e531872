#include "daemon/crew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "daemon/conf_plan.h"
#include "daemon/ledger.h"
#include "daemon/queue_conf.h"
#include "lib/log.h"

#define KEYS_MAX 64

/* One reload at a time: read, plan, prepare what can fail, commit what cannot. */
static struct {
	bool dry_run;
	crew_reload_fn *done;
	void *arg;
} reload;

/* The rows being made, and where their keys are kept. */
struct rows {
	struct crew_plan_row *row;
	unsigned count, cap;
	bool failed;
};

static void add_row(struct rows *rows, const struct crew_plan_row *row)
{
	struct crew_plan_row *r;
	const char **keys = calloc(row->key_count + 1, sizeof(*keys));

	if (rows->count == rows->cap) {
		unsigned cap = rows->cap ? rows->cap * 2 : 64;

		r = realloc(rows->row, cap * sizeof(*r));
		if (r) {
			rows->row = r;
			rows->cap = cap;
		}
	}
	if (!keys || rows->count == rows->cap) {
		free(keys);
		rows->failed = true;
		return;
	}
	if (row->key_count)
		memcpy(keys, row->keys, row->key_count * sizeof(*keys));
	r = &rows->row[rows->count++];
	*r = *row;
	r->keys = keys;
}

static void free_rows(struct rows *rows)
{
	for (unsigned i = 0; i < rows->count; i++)
		free((void *)(uintptr_t)rows->row[i].keys);
	free(rows->row);
}

static struct crew_plan_row plan_row(enum conf_plan_kind kind, const char *name,
				     const char *const *keys, unsigned key_count,
				     enum conf_class worst)
{
	static const int kinds[] = {
		[CONF_PLAN_ADDED] = CREW_ADDED,
		[CONF_PLAN_CHANGED] = CREW_CHANGED,
		[CONF_PLAN_REMOVED] = CREW_REMOVED,
		[CONF_PLAN_UNCHANGED] = CREW_UNCHANGED,
	};
	struct crew_plan_row row = { .pool = name, .keys = keys, .key_count = key_count };

	row.kind = kinds[kind];
	row.needs_restart = kind == CONF_PLAN_CHANGED && worst == CONF_DAEMON;
	row.replaces = kind == CONF_PLAN_CHANGED && worst == CONF_RESTART;
	return row;
}

static void on_plan(enum conf_plan_kind kind, const char *pool, const char *const *keys,
		    unsigned key_count, enum conf_class worst, void *arg)
{
	struct crew_plan_row row = plan_row(kind, pool, keys, key_count, worst);

	add_row(arg, &row);
}

static void on_plan_queue(enum conf_plan_kind kind, const char *queue, const char *const *keys,
			  unsigned key_count, enum conf_class worst, void *arg)
{
	struct crew_plan_row row = plan_row(kind, queue, keys, key_count, worst);

	row.queue = true;
	add_row(arg, &row);
}

static void make_plan(struct rows *rows, const struct conf *now)
{
	const char *keys[KEYS_MAX];
	unsigned count = conf_plan_global(crew_conf(), now, keys, KEYS_MAX);

	conf_plan(crew_conf(), now, on_plan, rows);
	conf_plan_queues(crew_conf(), now, on_plan_queue, rows);
	if (count) {
		struct crew_plan_row row = { .kind = CREW_CHANGED,
					     .pool = "",
					     .keys = keys,
					     .key_count = count,
					     .needs_restart = true };

		add_row(rows, &row);
	}
}

/* All that may fail: the pools that are new. They stay empty until the commit. */
static bool prepare(const struct conf *now)
{
	for (uint32_t i = 0; i < now->pool_count; i++) {
		const struct conf_pool *def = conf_pool_at(now, i);
		const char *name = conf_text(now, def->name);
		struct pool *p = crew_pool(name);

		if (p)
			continue;
		p = crew_make_pool(name);
		if (!p)
			return false;
		p->wanted = def->autostart;
	}
	return queue_conf_prepare(now);
}

/* Takes back prepare(). */
static void unprepare(void)
{
	queue_conf_unprepare();
	list_foreach(e, next, crew_pools())
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (p->def)
			continue;
		list_remove(&p->link);
		free(p);
	}
}

static void define(const struct conf *now, uint32_t index, bool changed)
{
	const struct conf_pool *def = conf_pool_at(now, index);
	struct pool *p = crew_pool(conf_text(now, def->name));

	if (p->removed) /* it was on its way out, and is wanted again */
		p->wanted = def->autostart;
	if (changed)
		p->scale = -1;
	/* the file's order is the order of the list */
	list_remove(&p->link);
	list_append(crew_pools(), &p->link);
	pool_define(p, now, def, index);
	pool_save(p);
	crew_note_pool_defined(p);
}

static bool is_changed(const struct rows *rows, const char *pool)
{
	for (unsigned i = 0; i < rows->count; i++)
		if (rows->row[i].kind == CREW_CHANGED && !rows->row[i].queue &&
		    strcmp(rows->row[i].pool, pool) == 0)
			return true;
	return false;
}

/* Those that `run` made come after those of the file. */
static void move_runs_last(void)
{
	struct list runs = LIST_INIT(runs);
	struct list *e;

	list_foreach(p, next, crew_pools()) if (list_entry(p, struct pool, link)->is_run)
	{
		list_remove(p);
		list_append(&runs, p);
	}
	while ((e = list_pop(&runs)))
		list_append(crew_pools(), e);
}

/* The removed ones keep their old definition until their last worker is gone. */
static void commit(const struct conf *now, const struct rows *rows)
{
	for (unsigned i = 0; i < rows->count; i++)
		if (rows->row[i].kind == CREW_REMOVED && !rows->row[i].queue)
			pool_remove(crew_pool(rows->row[i].pool));
	for (uint32_t i = 0; i < now->pool_count; i++)
		define(now, i, is_changed(rows, conf_text(now, conf_pool_at(now, i)->name)));
	move_runs_last();
	queue_conf_commit(now);
	crew_put_in_force(now);
}

static void answer(const struct rows *rows, const char *errors)
{
	struct crew_plan plan = { 0 };
	crew_reload_fn *done = reload.done;

	if (rows) {
		plan.count = rows->count;
		plan.rows = rows->row;
	}
	reload.done = NULL;
	done(rows ? &plan : NULL, errors, reload.arg);
}

static void refuse(const struct conf *now, const char *errors)
{
	if (now)
		munmap((void *)(uintptr_t)now, now->size);
	log_error(NULL, "the configuration was not reloaded, all stays as it is");
	answer(NULL, errors);
}

static void on_config(int block, uint32_t serial, const char *errors)
{
	const struct conf *now = block >= 0 ? crew_map(block, CREW_CONF_MAX) : NULL;
	struct rows rows = { 0 };

	if (!now) {
		refuse(NULL, errors);
		return;
	}
	make_plan(&rows, now);
	if (rows.failed) {
		refuse(now, "no memory for the plan\n");
	} else if (reload.dry_run) {
		answer(&rows, NULL);
		munmap((void *)(uintptr_t)now, now->size);
	} else if (crew_is_shutting_down() || !prepare(now)) {
		unprepare();
		refuse(now, crew_is_shutting_down() ? "crewd is shutting down\n"
						    : "no memory, or more queues than may be\n");
	} else {
		/* the plan names things of both blocks: the answer comes before the old one may go
		 */
		child_commit(serial); /* first: what has been answered is in force whoever dies then */
		answer(&rows, NULL);
		commit(now, &rows);
		log_info(NULL, "configuration reloaded");
	}
	free_rows(&rows);
}

int crew_reload(bool dry_run, crew_reload_fn *done, void *arg)
{
	if (reload.done || crew_is_shutting_down())
		return errno = EBUSY, -1;
	reload.dry_run = dry_run;
	reload.done = done;
	reload.arg = arg;
	if (child_read_config(on_config) < 0) {
		reload.done = NULL;
		return -1;
	}
	return 0;
}
