#include "daemon/queue_conf.h"

#include <string.h>
#include "daemon/ledger.h"
#include "daemon/queue_kind.h"
#include "lib/log.h"

static struct queue_backend backend_of(const struct conf *conf, const struct conf_queue *def)
{
	return (struct queue_backend){ .url = conf_text(conf, def->url),
				       .user = conf_text(conf, def->user),
				       .password_file = conf_text(conf, def->password_file) };
}

static struct queue_settings settings_of(const struct conf *conf, const struct conf_queue *def)
{
	struct queue_settings set = { .maxsize = def->maxsize,
				      .max_bytes = def->max_bytes,
				      .durable = def->durable,
				      .max_deliveries = def->max_deliveries };
	const char *dead = conf_text(conf, def->dead);

	if (dead)
		strcpy(set.dead, dead);
	return set;
}

static const char *name_of(const struct conf *conf, const struct conf_queue *def)
{
	return conf_text(conf, def->name);
}

/* ---- what clients did -------------------------------------------------------------------------- */

enum queue_error queue_conf_create(const char *name, enum conf_queue_kind kind,
				   const struct queue_settings *set)
{
	struct ledger_queue r = { .kind = kind,
				  .durable = set->durable,
				  .maxsize = set->maxsize,
				  .max_deliveries = set->max_deliveries,
				  .max_bytes = set->max_bytes };
	struct queue *q;
	enum queue_error e = queue_create(name, queue_kind_of(kind), set, &q);

	if (e != QUEUE_OK)
		return e;
	strcpy(r.name, name);
	strcpy(r.dead, set->dead);
	if (ledger_save_queue(&r))
		return QUEUE_OK;
	queue_delete(q);
	return QUEUE_TOO_MANY;
}

void queue_conf_delete(struct queue *q)
{
	struct ledger_queue r = { .deleted = true };

	strcpy(r.name, q->name);
	if (!q->configured || q->leaving)
		ledger_clear_queue(q->name);
	else if (!ledger_save_queue(&r))
		log_warning(q->name,
			    "deleted, but should the manager be restarted the queue is back");
	if (q->kind->erase)
		q->kind->erase(q);
	queue_delete(q);
}

/* One that clients made, or deleted. 0, or -1: no memory. */
static int recall(const struct ledger_queue *r)
{
	struct queue_settings set = { .maxsize = r->maxsize,
				      .max_bytes = r->max_bytes,
				      .durable = r->durable,
				      .max_deliveries = r->max_deliveries };
	const struct queue_kind *kind = queue_kind_of(r->kind);
	struct queue *q = queue_find(r->name);

	if (r->deleted) {
		if (q)
			queue_delete(q);
		return 0;
	}
	strcpy(set.dead, r->dead);
	return q || !kind || queue_create(r->name, kind, &set, &q) != QUEUE_NO_MEMORY ? 0 : -1;
}

/* ---- the configuration ------------------------------------------------------------------------ */

bool queue_conf_prepare(const struct conf *now)
{
	for (uint32_t i = 0; i < now->queue_count; i++) {
		const struct conf_queue *def = conf_queue_at(now, i);
		struct queue_settings set = settings_of(now, def);
		struct queue_backend backend = backend_of(now, def);
		struct queue *q;

		set.backend = &backend;
		if (queue_find(name_of(now, def)))
			continue;
		if (!queue_kind_of(def->kind) ||
		    queue_create(name_of(now, def), queue_kind_of(def->kind), &set, &q) != QUEUE_OK)
			return false;
		q->fresh = true;
	}
	return true;
}

void queue_conf_unprepare(void)
{
	list_foreach(e, n, queue_all())
	{
		struct queue *q = list_entry(e, struct queue, link);

		if (q->fresh)
			queue_delete(q);
	}
}

static void adopt(const struct conf *now, const struct conf_queue *def)
{
	struct queue *q = queue_find(name_of(now, def));
	struct queue_settings set = settings_of(now, def);

	if (!q->fresh && q->kind != queue_kind_of(def->kind)) {
		log_warning(q->name, "the queue stays of kind %s until crewd is started again",
			    q->kind->name);
		set.durable = q->set.durable;
	}
	q->fresh = false;
	q->configured = true;
	queue_return(q);
	queue_change(q, &set);
	/* the file's order is the order of the list */
	list_remove(&q->link);
	list_append(queue_all(), &q->link);
	ledger_clear_queue(q->name);
}

static bool has(const struct conf *conf, const char *name)
{
	for (uint32_t i = 0; i < conf->queue_count; i++)
		if (strcmp(name_of(conf, conf_queue_at(conf, i)), name) == 0)
			return true;
	return false;
}

static void forget_deleted(void)
{
	struct ledger_queue r;
	int there;

	for (unsigned i = 0; (there = ledger_queue_at(i, &r)) >= 0; i++)
		if (there && r.deleted)
			ledger_clear_queue(r.name);
}

/* Those that clients made come after those of the file. */
static void move_made_last(void)
{
	struct list made = LIST_INIT(made);
	struct list *e;

	list_foreach(p, n, queue_all()) if (!list_entry(p, struct queue, link)->configured)
	{
		list_remove(p);
		list_append(&made, p);
	}
	while ((e = list_pop(&made)))
		list_append(queue_all(), e);
}

void queue_conf_commit(const struct conf *now)
{
	list_foreach(e, n, queue_all())
	{
		struct queue *q = list_entry(e, struct queue, link);

		if (q->configured && !q->leaving && !has(now, q->name))
			queue_leave(q);
	}
	for (uint32_t i = 0; i < now->queue_count; i++)
		adopt(now, conf_queue_at(now, i));
	move_made_last();
	forget_deleted();
}

int queue_conf_init(const struct conf *conf)
{
	struct ledger_queue r;
	int there;

	if (!queue_conf_prepare(conf))
		return -1;
	for (uint32_t i = 0; i < conf->queue_count; i++) {
		struct queue *q = queue_find(name_of(conf, conf_queue_at(conf, i)));

		q->fresh = false;
		q->configured = true;
	}
	for (unsigned i = 0; (there = ledger_queue_at(i, &r)) >= 0; i++)
		if (there && recall(&r) < 0)
			return -1;
	return 0;
}
