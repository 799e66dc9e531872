#include "daemon/conf_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bounds.h"
#include "lib/text.h"

#define NOWHERE UINT32_MAX

enum mark { NEW, ON_PATH, DONE };

/* Walks along `inherits` or `after`, depth first; the path is what a cycle is named by. */
struct walk {
	struct conf_source *src;
	enum conf_pool_key key;
	const uint32_t *sorted; /* numbers of pools by name */
	uint8_t *marks;
	uint32_t *path, depth;
};

static const struct conf_source *sorting; /* qsort() hands over nothing of ours */

static int by_name(const void *a, const void *b)
{
	return strcmp(sorting->pools[*(const uint32_t *)a].name,
		      sorting->pools[*(const uint32_t *)b].name);
}

static bool walk_begin(struct walk *w, struct conf_source *src, enum conf_pool_key key)
{
	size_t n = src->pool_count + 1;
	uint32_t *sorted = conf_source_take(src, n * sizeof(*sorted));

	*w = (struct walk){ src,
			    key,
			    sorted,
			    conf_source_take(src, n),
			    conf_source_take(src, n * sizeof(*w->path)),
			    0 };
	if (!sorted || !w->marks || !w->path)
		return false;
	for (uint32_t i = 0; i < src->pool_count; i++)
		sorted[i] = i;
	sorting = src;
	qsort(sorted, src->pool_count, sizeof(*sorted), by_name);
	return true;
}

static uint32_t find(const struct walk *w, const char *name)
{
	uint32_t low = 0, high = w->src->pool_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = strcmp(name, w->src->pools[w->sorted[middle]].name);

		if (order == 0)
			return w->sorted[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NOWHERE;
}

/* The path from `again` on, back to it: "a -> b -> a". */
static void complain_cycle(const struct walk *w, uint32_t again, const struct conf_given *given)
{
	const struct conf_entry *pools = w->src->pools;
	uint32_t i = 0;
	char text[1024];
	size_t n = 0;

	while (w->path[i] != again)
		i++;
	for (; i < w->depth && n < sizeof(text) - 2 * CREW_NAME_MAX - 16; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s -> ", pools[w->path[i]].name);
	snprintf(text + n, sizeof(text) - n, "%s%s", i < w->depth ? "... -> " : "",
		 pools[again].name);
	conf_errors_add(w->src->errors, given->file, given->line,
			"pool \"%s\": %s goes round in a circle: %s",
			pools[w->path[w->depth - 1]].name, conf_pool_keys[w->key].name, text);
}

static void complain_unknown(const struct walk *w, uint32_t from, const char *name)
{
	const struct conf_entry *p = &w->src->pools[from];
	const struct conf_given *given = &p->keys[w->key];

	if (!given->inherited)
		conf_errors_add(w->src->errors, given->file, given->line,
				"pool \"%s\": %s = \"%.64s\": there is no pool of that name",
				p->name, conf_pool_keys[w->key].name, name);
}

static void inherit(struct conf_entry *child, const struct conf_entry *parent)
{
	for (unsigned k = 0; k < CONF_POOL_KEYS; k++) {
		if (k == CONF_KEY_INHERITS || child->keys[k].line || !parent->keys[k].line)
			continue;
		child->keys[k] = parent->keys[k];
		child->keys[k].inherited = true;
	}
}

static void visit(struct walk *w, uint32_t i)
{
	struct conf_entry *p = &w->src->pools[i];
	const struct conf_given *given = &p->keys[w->key];

	w->marks[i] = ON_PATH;
	w->path[w->depth++] = i;
	for (uint32_t n = 0; given->line && n < given->values.count; n++) {
		uint32_t to = find(w, given->values.items[n]);

		if (to == NOWHERE)
			complain_unknown(w, i, given->values.items[n]);
		else if (w->marks[to] == ON_PATH)
			complain_cycle(w, to, given);
		else if (w->marks[to] == NEW)
			visit(w, to);
		if (w->key == CONF_KEY_INHERITS && to != NOWHERE && w->marks[to] == DONE)
			inherit(p, &w->src->pools[to]);
	}
	w->depth--;
	w->marks[i] = DONE;
}

static void walk_all(struct conf_source *src, enum conf_pool_key key)
{
	struct walk w;

	if (!walk_begin(&w, src, key))
		return;
	for (uint32_t i = 0; i < src->pool_count; i++)
		if (w.marks[i] == NEW)
			visit(&w, i);
}

void conf_check_inherit(struct conf_source *src)
{
	walk_all(src, CONF_KEY_INHERITS);
}

static void check_command(struct conf_source *src, const struct conf_entry *p)
{
	if (!p->keys[CONF_KEY_COMMAND].line)
		conf_errors_add(src->errors, p->file, p->line,
				"pool \"%s\" has no command; add command = {\"/path/of/program\"}",
				p->name);
}

static void check_delays(struct conf_source *src, const struct conf_entry *p,
			 const struct conf_pool *pool)
{
	const struct conf_given *given = &p->keys[CONF_KEY_RESTART_DELAY_MAX];
	char most[64], least[64];

	if (pool->restart_delay <= pool->restart_delay_max)
		return;
	if (!given->line || given->inherited)
		given = &p->keys[CONF_KEY_RESTART_DELAY];
	conf_errors_add(src->errors, given->file, given->line,
			"pool \"%s\": restart-delay-max (%s) must not be less than restart-delay "
			"(%s)",
			p->name, text_duration_show(most, sizeof(most), pool->restart_delay_max),
			text_duration_show(least, sizeof(least), pool->restart_delay));
}

static const char *why_not(const struct conf_key *key, enum conf_tasks tasks)
{
	if (tasks == CONF_TASKS_NONE && conf_key_applies(key, CONF_TASKS_EXEC))
		return "is for pools that have tasks; add tasks = \"exec\", \"lines\" or "
		       "\"jsonrpc\"";
	if (tasks == CONF_TASKS_NONE)
		return "is for pools whose workers do many tasks; add tasks = \"lines\" or "
		       "\"jsonrpc\"";
	if (key->fixed >> CONF_TASKS_LINES & 1)
		return "the workers of task pools are always restarted; remove it, or the tasks";
	return "with tasks = \"exec\" each task has a process of its own, that ends with it; "
	       "remove it, or take \"lines\" or \"jsonrpc\"";
}

/* A key that this kind of pool has no use for: inherited, it is silently the default; written in the
 * pool itself it is a mistake, unless it says what is so anyway. */
static void check_use(struct conf_source *src, struct conf_build *b, uint32_t i,
		      const struct conf_key *key)
{
	const struct conf_entry *p = &src->pools[i];
	const struct conf_given *given = &p->keys[key - conf_pool_keys];
	struct conf_pool was;
	bool applies;

	memcpy(&was, conf_build_pool(b, i), sizeof(was));
	applies = conf_key_applies(key, was.tasks);
	if (applies && !(key->fixed >> was.tasks & 1))
		return;
	conf_value_default(b, i, key);
	if (!given->line || given->inherited ||
	    (applies && memcmp(&was, conf_build_pool(b, i), sizeof(was)) == 0))
		return;
	conf_errors_add(src->errors, given->file, given->line, "pool \"%s\": %s = \"%.64s\": %s",
			p->name, key->name, given->values.items[0], why_not(key, was.tasks));
}

static void check_least(struct conf_source *src, const struct conf_entry *p,
			const struct conf_pool *pool)
{
	const struct conf_given *given = &p->keys[CONF_KEY_MIN_WORKERS];

	if (pool->min_workers == UINT32_MAX || pool->min_workers <= pool->workers)
		return;
	if (given->inherited)
		given = &p->keys[CONF_KEY_WORKERS];
	if (!given->line || given->inherited) /* it was said of the pool they come from */
		return;
	conf_errors_add(src->errors, given->file, given->line,
			"pool \"%s\": min-workers (%u) must not be more than workers (%u)", p->name,
			pool->min_workers, pool->workers);
}

static void check_tasks(struct conf_source *src, struct conf_build *b, uint32_t i)
{
	const struct conf_entry *p = &src->pools[i];

	/* Kinds that are not known were complained of: what would belong to them is not wrong. */
	if (p->keys[CONF_KEY_TASKS].line && conf_build_pool(b, i)->tasks == CONF_TASKS_NONE)
		return;
	for (unsigned k = 0; k < CONF_POOL_KEYS; k++)
		check_use(src, b, i, &conf_pool_keys[k]);
	check_least(src, p, conf_build_pool(b, i));
}

/* All pools up to and with this one; told once, where it becomes too many. */
static void check_workers(struct conf_source *src, const struct conf_entry *p, uint64_t sum,
			  uint32_t own)
{
	const struct conf_given *given = &p->keys[CONF_KEY_WORKERS];

	if (sum <= CREW_WORKERS_MAX || sum - own > CREW_WORKERS_MAX)
		return;
	conf_errors_add(src->errors, given->line ? given->file : p->file,
			given->line ? given->line : p->line,
			"pool \"%s\": with its %u workers all pools have more than %d together",
			p->name, own, CREW_WORKERS_MAX);
}

void conf_check(struct conf_source *src, struct conf_build *b)
{
	uint64_t workers = 0;

	for (uint32_t i = 0; i < src->pool_count; i++) {
		const struct conf_pool *pool = conf_build_pool(b, i);

		check_command(src, &src->pools[i]);
		check_delays(src, &src->pools[i], pool);
		check_tasks(src, b, i);
		workers += pool->workers;
		check_workers(src, &src->pools[i], workers, pool->workers);
	}
	walk_all(src, CONF_KEY_AFTER);
}
