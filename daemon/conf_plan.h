/*
 * What changes between two configurations, by pool and key. Pure; the same text serves the log,
 * `crewctl reload` and `--dry-run`.
 */
#ifndef CREWD_CONF_PLAN_H
#define CREWD_CONF_PLAN_H

#include "daemon/conf.h"

enum conf_class {
	CONF_LIVE,    /* takes effect at once */
	CONF_RESTART, /* the pool's workers are replaced, one after the other */
	CONF_DAEMON,  /* only a restart of crewd brings it (socket, manager-user, ...) */
};

enum conf_plan_kind { CONF_PLAN_ADDED, CONF_PLAN_CHANGED, CONF_PLAN_REMOVED, CONF_PLAN_UNCHANGED };

/* Called once for each pool (or queue) of either side, new file's order first, then the removed ones; `keys`
 * names the changed keys (CHANGED only), `worst` the highest class among them. */
typedef void conf_plan_fn(enum conf_plan_kind kind, const char *pool, const char *const *keys,
			  unsigned key_count, enum conf_class worst, void *arg);
void conf_plan(const struct conf *was, const struct conf *now, conf_plan_fn *each, void *arg);
/* The same for queues. */
void conf_plan_queues(const struct conf *was, const struct conf *now, conf_plan_fn *each,
		      void *arg);
/* Changed keys outside any pool; returns their number, at most `max` names stored. */
unsigned conf_plan_global(const struct conf *was, const struct conf *now, const char **keys,
			  unsigned max);
/* True if a worker started under `a` need not be replaced under `b` (no CONF_RESTART key differs).
 */
bool conf_same_process(const struct conf *ca, const struct conf_pool *a, const struct conf *cb,
		       const struct conf_pool *b);
/* 64-bit hash of all CONF_RESTART keys: equal for equal processes. */
uint64_t conf_process_hash(const struct conf *c, const struct conf_pool *p);

#endif
