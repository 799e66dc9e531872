#include "daemon/pool_template.h"

#include <stdio.h>
#include "daemon/crew.h"
#include "lib/log.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ b * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);

	return h ^ h >> 29;
}

struct pool *pool_template_pool(const struct pool *p)
{
	struct pool *t = p->def->template ? crew_pool(conf_text(p->conf, p->def->template)) : NULL;

	return t && t->def && t->def->is_template && !t->removed ? t : NULL;
}

/* The template itself, or that of a pool; NULL: there is none. */
static const struct pool *template_of(const struct pool *p)
{
	return p->def->is_template ? p : pool_template_pool(p);
}

/* The one that got warm last. */
static struct worker *newest(const struct pool *p)
{
	struct worker *best = NULL;

	for (unsigned i = 0; i < p->count; i++) {
		struct worker *w = p->workers[i];

		if (w && w->state == WORKER_RUNNING && (!best || w->started > best->started))
			best = w;
	}
	return best;
}

struct worker *pool_template(const struct pool *p)
{
	const struct pool *t = template_of(p);

	return t ? newest(t) : NULL;
}

uint64_t pool_template_hash(const struct pool *p)
{
	if (p->def->is_template)
		return mix(p->conf_hash, p->generation);
	return p->def->template && p->template_was ? mix(p->conf_hash, p->template_was)
						     : p->conf_hash;
}

uint64_t pool_template_hash_now(const struct pool *p)
{
	const struct worker *template = pool_template(p);

	return template ? mix(p->conf_hash, template->process_hash) : p->process_hash;
}

static bool is_moving(const struct pool *p)
{
	return p->in_state[WORKER_STARTING] || p->in_state[WORKER_STOPPING] ||
	       p->in_state[WORKER_BACKOFF] || p->fresh;
}

static const struct worker *failed_of(const struct pool *t)
{
	for (unsigned i = 0; i < t->count; i++)
		if (t->workers[i] && t->workers[i]->state == WORKER_FAILED)
			return t->workers[i];
	return NULL;
}

const struct worker *pool_failed_template(const struct pool *p)
{
	const struct pool *t = template_of(p);

	return t ? failed_of(t) : NULL;
}

char *pool_why_no_template(const struct pool *p, char *buf, size_t size)
{
	const struct pool *t = template_of(p);
	const struct worker *w = pool_failed_template(p);
	char why[400] = "it is not there";

	if (w)
		worker_why(w, why, sizeof(why));
	if (p == t)
		snprintf(buf, size, "%s", why);
	else
		snprintf(buf, size, "template %s has failed: %s",
			 p->def->template ? conf_text(p->conf, p->def->template) : "", why);
	return buf;
}

/* ---- generations ------------------------------------------------------------------------------ */

void pool_renew(struct pool *p)
{
	p->generation++;
	p->process_hash = pool_template_hash(p);
	pool_save(p);
	pool_mark(p);
}

int pool_renewed(const struct pool *p)
{
	const struct worker *now = newest(p);

	if (now && now->process_hash == p->process_hash)
		return 1;
	if (p->spoilt == p->process_hash)
		return -1;
	return now || is_moving(p) ? 0 : -1;
}

static void settle(struct pool *p, const struct worker *now)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct worker *w = p->workers[i];
		bool idle = w->state == WORKER_STOPPED && !w->fresh;

		if (w != now && w->state != WORKER_STOPPING && !idle)
			worker_stop(w);
	}
	p->spare = now->number > 1;
}

static void renew(struct pool *p, const struct worker *now)
{
	struct worker *other;

	if (p->spoilt == p->process_hash || !p->wanted || crew_is_shutting_down())
		return;
	if (p->count < 2) {
		p->spare = true;
		return;
	}
	other = p->workers[now->number == 1];
	if (worker_is_alive(other) || other->state == WORKER_BACKOFF || other->fresh)
		return;
	if (other->state == WORKER_FAILED && other->process_hash == p->process_hash) {
		log_warning(p->name, "its new generation has failed: the old one stays");
		p->spoilt = p->process_hash;
		return;
	}
	worker_start(other);
}

static void step_template(struct pool *p)
{
	const struct worker *now = newest(p);

	p->spare = p->count > 1;
	if (now && now->process_hash == p->process_hash)
		settle(p, now);
	else if (now)
		renew(p, now);
	p->resize |= p->count != pool_size(p);
}

/* ---- those that are forked from one ----------------------------------------------------------- */

static void follow(struct pool *p, const struct worker *template)
{
	if (template->process_hash != p->template_was) {
		p->template_was = template->process_hash;
		p->process_hash = pool_template_hash(p);
		p->roll = true;
		p->roll_next = 0;
	}
	for (unsigned i = 0; i < p->count && p->wanted; i++)
		if (p->workers[i]->state == WORKER_FAILED &&
		    p->workers[i]->blame == WORKER_BLAME_TEMPLATE)
			worker_start(p->workers[i]);
}

static void give_up(struct pool *p)
{
	for (unsigned i = 0; i < p->count && p->fresh; i++)
		if (p->workers[i]->fresh)
			worker_lose_template(p->workers[i]);
}

void pool_template_step(struct pool *p)
{
	const struct pool *t;

	if (p->removed || p->is_run)
		return;
	if (p->def->is_template) {
		step_template(p);
		return;
	}
	t = pool_template_pool(p);
	if (!t)
		return;
	if (newest(t))
		follow(p, newest(t));
	else if (!is_moving(t) && failed_of(t) && !t->resize)
		give_up(p);
}
