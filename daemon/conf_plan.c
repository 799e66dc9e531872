#include "daemon/conf_plan.h"

#include <string.h>

#include "daemon/conf_keys.h"
#include "daemon/conf_show.h"

/* FNV-1a over the file's own text of values. Whoever writes the file could find two values that
 * collide, and would only deceive himself. */
struct hash {
	struct conf_sink sink;
	uint64_t sum;
};

static void hash_put(struct conf_sink *sink, const char *text, size_t length)
{
	struct hash *h = (struct hash *)(void *)sink;

	for (size_t i = 0; i < length; i++)
		h->sum = (h->sum ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
}

static void hash_key(struct hash *h, const struct conf *conf, const void *base,
		     const struct conf_key *key)
{
	conf_show(&h->sink, conf, base, key);
	hash_put(&h->sink, "", 1); /* so that a value cannot run into the next */
}

static struct hash hash_new(void)
{
	return (struct hash){ { hash_put }, UINT64_C(0xcbf29ce484222325) };
}

static uint64_t key_hash(const struct conf *conf, const void *base, const struct conf_key *key)
{
	struct hash h = hash_new();

	hash_key(&h, conf, base, key);
	return h.sum;
}

uint64_t conf_process_hash(const struct conf *c, const struct conf_pool *p)
{
	struct hash h = hash_new();

	for (unsigned k = 0; k < CONF_POOL_KEYS; k++)
		if (conf_pool_keys[k].class == CONF_RESTART)
			hash_key(&h, c, p, &conf_pool_keys[k]);
	return h.sum;
}

bool conf_same_process(const struct conf *ca, const struct conf_pool *a, const struct conf *cb,
		       const struct conf_pool *b)
{
	return conf_process_hash(ca, a) == conf_process_hash(cb, b);
}

unsigned conf_plan_global(const struct conf *was, const struct conf *now, const char **keys,
			  unsigned max)
{
	unsigned n = 0;

	for (unsigned k = 0; k < CONF_GLOBAL_KEYS && n < max; k++)
		if (key_hash(was, was, &conf_global_keys[k]) !=
		    key_hash(now, now, &conf_global_keys[k]))
			keys[n++] = conf_global_keys[k].name;
	return n;
}

/* Pools or queues of a configuration. */
struct part {
	const struct conf *conf;
	const char *at;
	size_t size;
	uint32_t count;
};

static struct part part_of(const struct conf *conf, enum conf_section section)
{
	if (section == CONF_SECTION_QUEUE)
		return (struct part){ conf, (const char *)conf + conf->queues,
				      sizeof(struct conf_queue), conf->queue_count };
	return (struct part){ conf, (const char *)conf + conf->pools, sizeof(struct conf_pool),
			      conf->pool_count };
}

static const void *entry_at(const struct part *p, uint32_t i)
{
	return p->at + i * p->size;
}

static const char *name_at(const struct part *p, uint32_t i)
{
	const void *entry = entry_at(p, i);
	const conf_off *name = entry;

	_Static_assert(offsetof(struct conf_pool, name) == 0, "a name comes first");
	_Static_assert(offsetof(struct conf_queue, name) == 0, "a name comes first");
	return conf_text(p->conf, *name);
}

/* Usually they come in the same order: look at `hint` first. */
static const void *find(const struct part *p, const char *name, uint32_t hint)
{
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t at = (hint + i) % p->count;

		if (strcmp(name_at(p, at), name) == 0)
			return entry_at(p, at);
	}
	return NULL;
}

struct planning {
	const struct conf_section_row *row;
	struct part was, now;
	conf_plan_fn *each;
	void *arg;
};

static void plan_both(const struct planning *p, const void *a, const void *b, const char *name)
{
	const char *keys[CONF_POOL_KEYS];
	enum conf_class worst = CONF_LIVE;
	unsigned n = 0;

	_Static_assert((int)CONF_QUEUE_KEYS <= (int)CONF_POOL_KEYS, "room for their names");
	for (unsigned k = 0; k < p->row->key_count; k++) {
		const struct conf_key *key = &p->row->keys[k];

		if (key_hash(p->was.conf, a, key) == key_hash(p->now.conf, b, key))
			continue;
		keys[n++] = key->name;
		if (key->class > worst)
			worst = key->class;
	}
	p->each(n ? CONF_PLAN_CHANGED : CONF_PLAN_UNCHANGED, name, keys, n, worst, p->arg);
}

static void plan(const struct conf *was, const struct conf *now, enum conf_section section,
		 conf_plan_fn *each, void *arg)
{
	struct planning p = { &conf_sections[section], part_of(was, section), part_of(now, section),
			      each, arg };

	for (uint32_t i = 0; i < p.now.count; i++) {
		const char *name = name_at(&p.now, i);
		const void *a = find(&p.was, name, i);

		if (a)
			plan_both(&p, a, entry_at(&p.now, i), name);
		else
			each(CONF_PLAN_ADDED, name, NULL, 0, CONF_LIVE, arg);
	}
	for (uint32_t i = 0; i < p.was.count; i++) {
		const char *name = name_at(&p.was, i);

		if (!find(&p.now, name, i))
			each(CONF_PLAN_REMOVED, name, NULL, 0, CONF_LIVE, arg);
	}
}

void conf_plan(const struct conf *was, const struct conf *now, conf_plan_fn *each, void *arg)
{
	plan(was, now, CONF_SECTION_POOL, each, arg);
}

void conf_plan_queues(const struct conf *was, const struct conf *now, conf_plan_fn *each, void *arg)
{
	plan(was, now, CONF_SECTION_QUEUE, each, arg);
}
