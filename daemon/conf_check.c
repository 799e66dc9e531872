#include "daemon/conf_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bounds.h"
#include "lib/shared_queue.h"
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
	return strcmp(conf_source_pool(sorting, *(const uint32_t *)a)->name,
		      conf_source_pool(sorting, *(const uint32_t *)b)->name);
}

static bool walk_begin(struct walk *w, struct conf_source *src, enum conf_pool_key key)
{
	size_t n = conf_source_pools(src) + 1;
	uint32_t *sorted = conf_source_take(src, n * sizeof(*sorted));

	*w = (struct walk){ src,
			    key,
			    sorted,
			    conf_source_take(src, n),
			    conf_source_take(src, n * sizeof(*w->path)),
			    0 };
	if (!sorted || !w->marks || !w->path)
		return false;
	for (uint32_t i = 0; i < conf_source_pools(src); i++)
		sorted[i] = i;
	sorting = src;
	qsort(sorted, conf_source_pools(src), sizeof(*sorted), by_name);
	return true;
}

static uint32_t find(const struct walk *w, const char *name)
{
	uint32_t low = 0, high = conf_source_pools(w->src);

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = strcmp(name, conf_source_pool(w->src, w->sorted[middle])->name);

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
	const struct conf_entry *pools = conf_source_pool(w->src, 0);
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
	const struct conf_entry *p = conf_source_pool(w->src, from);
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

/* Templates stand among the pools, but nobody inherits from one or comes after it. */
static bool may_not_be(const struct walk *w, uint32_t to)
{
	return conf_source_pool(w->src, to)->is_template;
}

static void visit(struct walk *w, uint32_t i)
{
	struct conf_entry *p = conf_source_pool(w->src, i);
	const struct conf_given *given = &p->keys[w->key];

	w->marks[i] = ON_PATH;
	w->path[w->depth++] = i;
	for (uint32_t n = 0; given->line && n < given->values.count; n++) {
		uint32_t to = find(w, given->values.items[n]);

		if (to == NOWHERE || may_not_be(w, to))
			complain_unknown(w, i, given->values.items[n]);
		else if (w->marks[to] == ON_PATH)
			complain_cycle(w, to, given);
		else if (w->marks[to] == NEW)
			visit(w, to);
		if (w->key == CONF_KEY_INHERITS && to != NOWHERE && !may_not_be(w, to) &&
		    w->marks[to] == DONE)
			inherit(p, conf_source_pool(w->src, to));
	}
	w->depth--;
	w->marks[i] = DONE;
}

static void walk_all(struct conf_source *src, enum conf_pool_key key)
{
	struct walk w;

	if (!walk_begin(&w, src, key))
		return;
	for (uint32_t i = 0; i < conf_source_pools(src); i++)
		if (w.marks[i] == NEW)
			visit(&w, i);
}

void conf_check_inherit(struct conf_source *src)
{
	walk_all(src, CONF_KEY_INHERITS);
}

static void check_command(struct conf_source *src, const struct conf_entry *p,
			  const struct conf_pool *pool)
{
	if (pool->tasks == CONF_TASKS_MODULE) /* without one that was complained of */
		return;
	if (!p->keys[CONF_KEY_COMMAND].line && (p->is_template || !p->keys[CONF_KEY_TEMPLATE].line))
		conf_errors_add(src->errors, p->file, p->line,
				"%s \"%s\" has no command; add command = {\"/path/of/program\"}",
				p->is_template ? "template" : "pool", p->name);
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

/* A process for each task: how many there are, and when one is replaced, follows from that. What it comes from
 * does not. */
static bool goes_without_saying(const struct conf_key *key, enum conf_tasks tasks)
{
	return tasks == CONF_TASKS_EXEC && !conf_key_applies(key, tasks) &&
	       key != &conf_pool_keys[CONF_KEY_TEMPLATE];
}

/* A key that this kind of pool has no use for: inherited, it is silently the default; written in the
 * pool itself it is a mistake, unless it says what is so anyway, or nothing would be otherwise. */
static void check_use(struct conf_source *src, struct conf_build *b, uint32_t i,
		      const struct conf_key *key)
{
	const struct conf_entry *p = conf_source_pool(src, i);
	enum conf_pool_key k = (enum conf_pool_key)(key - conf_pool_keys);
	struct conf_pool was;
	bool applies;

	memcpy(&was, conf_build_pool(b, i), sizeof(was));
	applies = conf_key_applies(key, conf_variant(&was));
	if (applies && !(key->fixed >> conf_variant(&was) & 1))
		return;
	conf_value_default(b, i, key);
	if (!conf_source_says(p, k) ||
	    (applies && memcmp(&was, conf_build_pool(b, i), sizeof(was)) == 0))
		return;
	if (goes_without_saying(key, was.tasks))
		conf_errors_warn(src->errors, p->keys[k].file, p->keys[k].line,
				 "pool \"%s\": %s has no effect: %s", p->name, key->name,
				 why_not(key, was.tasks));
	else
		conf_source_complain(src, p, k, why_not(key, was.tasks));
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
	const struct conf_entry *p = conf_source_pool(src, i);

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

/* ---- queues ----------------------------------------------------------------------------------- */

static const struct conf_queue *queue_named(struct conf_build *b, const char *name)
{
	const struct conf *head = conf_build_head(b);

	for (uint32_t i = 0; i < head->queue_count; i++)
		if (strcmp(conf_text(head, conf_queue_at(head, i)->name), name) == 0)
			return conf_queue_at(head, i);
	return NULL;
}

static void check_dead(struct conf_source *src, struct conf_build *b, const struct conf_entry *q,
		       const struct conf_queue *queue)
{
	const struct conf_given *given = &q->keys[CONF_KEY_DEAD];
	const char *name = conf_text(conf_build_head(b), queue->dead), *why = NULL;
	const struct conf_queue *dead = name ? queue_named(b, name) : NULL;

	if (!name)
		return;
	if (!dead)
		why = "there is no queue of that name";
	else if (dead == queue)
		why = "must be another queue than itself";
	else if (dead->kind != CONF_QUEUE_MANAGER)
		why = "must be a queue of kind \"manager\"";
	if (why)
		conf_errors_add(src->errors, given->file, given->line,
				"queue \"%s\": dead = \"%.64s\": %s", q->name, name, why);
}

static void check_queue_use(struct conf_source *src, const struct conf_entry *q,
			    const struct conf_queue *queue)
{
	const char *const *kinds = conf_queue_keys[CONF_KEY_KIND].words;

	/* Of a kind that was complained of, nothing more is wrong. */
	if (q->keys[CONF_KEY_KIND].line &&
	    strcmp(q->keys[CONF_KEY_KIND].values.items[0], kinds[queue->kind]) != 0)
		return;
	for (unsigned k = 0; k < CONF_QUEUE_KEYS; k++) {
		const struct conf_given *given = &q->keys[k];
		const struct conf_key *key = &conf_queue_keys[k];
		unsigned fit = 0;

		if (!given->line || conf_key_applies(key, queue->kind))
			continue;
		while (!conf_key_applies(key, fit))
			fit++;
		conf_errors_add(
			src->errors, given->file, given->line,
			"queue \"%s\": %s = \"%.64s\": is for kind = \"%s\", and this one is "
			"of kind \"%s\"; remove it",
			q->name, key->name, given->values.items[0], kinds[fit], kinds[queue->kind]);
	}
}

/* A queue in shared memory. */
static void check_shared(struct conf_source *src, const struct conf_entry *q,
			 const struct conf_queue *queue, unsigned count)
{
	const struct conf_given *path = &q->keys[CONF_KEY_PATH], *kind = &q->keys[CONF_KEY_KIND],
				*bytes = &q->keys[CONF_KEY_MAX_BYTES];

	if (path->line)
		conf_errors_add(
			src->errors, path->file, path->line,
			"queue \"%s\": path = \"%.64s\": the memory of a queue has no file; "
			"remove it",
			q->name, path->values.items[0]);
	if (queue->max_bytes < SHARED_QUEUE_BYTES_MIN)
		conf_errors_add(src->errors, bytes->file, bytes->line,
				"queue \"%s\": max-bytes = \"%.64s\": must be at least %d for kind "
				"\"shared\"",
				q->name, bytes->values.items[0], SHARED_QUEUE_BYTES_MIN);
	if (count == CREW_QUEUES_SHARED_MAX + 1)
		conf_errors_add(
			src->errors, kind->file, kind->line,
			"queue \"%s\": kind = \"shared\": at most %d queues may be of that kind",
			q->name, CREW_QUEUES_SHARED_MAX);
}

static void check_pool_queue(struct conf_source *src, struct conf_build *b, uint32_t i)
{
	const struct conf_entry *p = conf_source_pool(src, i);
	const char *name = conf_text(conf_build_head(b), conf_build_pool(b, i)->queue);

	if (name && conf_source_says(p, CONF_KEY_QUEUE) && !queue_named(b, name))
		conf_source_complain(src, p, CONF_KEY_QUEUE, "there is no queue of that name");
}

/* Of kind "redis": where it is, and a user has a password. */
static void check_backend(struct conf_source *src, const struct conf_entry *q,
			  const struct conf_queue *queue)
{
	const struct conf_given *user = &q->keys[CONF_KEY_QUEUE_USER];

	if (queue->kind != CONF_QUEUE_REDIS)
		return;
	if (!q->keys[CONF_KEY_URL].line)
		conf_errors_add(src->errors, q->file, q->line,
				"queue \"%s\": kind = \"redis\" needs a url, such as "
				"\"redis://127.0.0.1:6379/0\"",
				q->name);
	if (user->line && !q->keys[CONF_KEY_PASSWORD_FILE].line)
		conf_errors_add(src->errors, user->file, user->line,
				"queue \"%s\": user = \"%.64s\": needs a password-file", q->name,
				user->values.items[0]);
}

static void check_queues(struct conf_source *src, struct conf_build *b)
{
	unsigned shared = 0;

	for (uint32_t i = 0; i < conf_source_pools(src); i++)
		check_pool_queue(src, b, i);
	for (uint32_t i = 0; i < src->in[CONF_SECTION_QUEUE].count; i++) {
		const struct conf_entry *q = &src->in[CONF_SECTION_QUEUE].at[i];

		check_queue_use(src, q, conf_build_queue(b, i));
		check_dead(src, b, q, conf_build_queue(b, i));
		if (conf_build_queue(b, i)->kind == CONF_QUEUE_SHARED)
			check_shared(src, q, conf_build_queue(b, i), ++shared);
		check_backend(src, q, conf_build_queue(b, i));
	}
}

void conf_check(struct conf_source *src, struct conf_build *b)
{
	uint64_t workers = 0;

	for (uint32_t i = 0; i < conf_source_pools(src); i++) {
		const struct conf_pool *pool = conf_build_pool(b, i);

		check_command(src, conf_source_pool(src, i), pool);
		check_delays(src, conf_source_pool(src, i), pool);
		check_tasks(src, b, i);
		workers += pool->workers;
		check_workers(src, conf_source_pool(src, i), workers, pool->workers);
	}
	walk_all(src, CONF_KEY_AFTER);
	check_queues(src, b);
}
