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

/* Usually the pools come in the same order: look at `hint` first. */
static const struct conf_pool *find(const struct conf *conf, const char *name, uint32_t hint)
{
	for (uint32_t i = 0; i < conf->pool_count; i++) {
		uint32_t at = (hint + i) % conf->pool_count;
		const struct conf_pool *p = conf_pool_at(conf, at);

		if (strcmp(conf_text(conf, p->name), name) == 0)
			return p;
	}
	return NULL;
}

static void plan_both(const struct conf *was, const struct conf_pool *a, const struct conf *now,
		      const struct conf_pool *b, conf_plan_fn *each, void *arg)
{
	const char *keys[CONF_POOL_KEYS];
	enum conf_class worst = CONF_LIVE;
	unsigned n = 0;

	for (unsigned k = 0; k < CONF_POOL_KEYS; k++) {
		const struct conf_key *key = &conf_pool_keys[k];

		if (key_hash(was, a, key) == key_hash(now, b, key))
			continue;
		keys[n++] = key->name;
		if (key->class > worst)
			worst = key->class;
	}
	each(n ? CONF_PLAN_CHANGED : CONF_PLAN_UNCHANGED, conf_text(now, b->name), keys, n, worst,
	     arg);
}

void conf_plan(const struct conf *was, const struct conf *now, conf_plan_fn *each, void *arg)
{
	for (uint32_t i = 0; i < now->pool_count; i++) {
		const struct conf_pool *b = conf_pool_at(now, i);
		const char *name = conf_text(now, b->name);
		const struct conf_pool *a = find(was, name, i);

		if (a)
			plan_both(was, a, now, b, each, arg);
		else
			each(CONF_PLAN_ADDED, name, NULL, 0, CONF_LIVE, arg);
	}
	for (uint32_t i = 0; i < was->pool_count; i++) {
		const char *name = conf_text(was, conf_pool_at(was, i)->name);

		if (!find(now, name, i))
			each(CONF_PLAN_REMOVED, name, NULL, 0, CONF_LIVE, arg);
	}
}
