#include "daemon/recycle.h"

#include "daemon/ledger.h"
#include "daemon/pool.h"
#include "daemon/runner.h"
#include "lib/log.h"
#include "lib/text.h"

static void on_measured(struct memory_query *q)
{
	struct runner *r = list_entry(q, struct runner, recycle.query);
	const struct worker *w = r->worker;
	int64_t uss = r->recycle.of.uss, most = (int64_t)w->pool->def->recycle_private;
	char has[32], may[32];

	if (r->recycle.run != ledger_run(w->slot) || w->state != WORKER_RUNNING ||
	    r->then != RUNNER_STAYS || !most || uss <= most)
		return;
	log_info(w->name, "%s of memory are its own, more than %s: to be replaced",
		 text_size_show(has, sizeof(has), (uint64_t)uss),
		 text_size_show(may, sizeof(may), (uint64_t)most));
	runner_when_idle(r, RUNNER_RESTARTS);
}

void recycle_after_task(struct runner *r)
{
	const struct conf_pool *d = r->worker->pool->def;
	struct recycle *c = &r->recycle;

	if (!d->recycle_private || worker_is_per_task(r->worker) || r->done % d->refork_after ||
	    list_linked(&c->query.link))
		return;
	c->run = ledger_run(r->worker->slot);
	c->of = (struct memory){ .slot = r->worker->slot };
	c->query.of = &c->of;
	c->query.count = 1;
	c->query.done = on_measured;
	memory_ask(&c->query);
}

void recycle_forget(struct runner *r)
{
	memory_forget(&r->recycle.query);
}
