#include "daemon/queue_conf.h"

#include <string.h>
#include "daemon/keep.h"
#include "daemon/ledger.h"
#include "daemon/queue_durable.h"
#include "daemon/queue_kind.h"
#include "daemon/queue_made.h"
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
	enum queue_error e;

	if (queue_made_has(name) || queue_durable_removing(name))
		return QUEUE_EXISTS; /* the one that was deleted is not gone yet */
	e = queue_create(name, queue_kind_of(kind, set->durable), set, &q);
	if (e != QUEUE_OK)
		return e;
	strcpy(r.name, name);
	strcpy(r.dead, set->dead);
	if (!ledger_save_queue(&r)) {
		queue_forget(q);
		return QUEUE_TOO_MANY;
	}
	if (!set->durable || queue_made_save(&r))
		return QUEUE_OK;
	ledger_clear_queue(name);
	queue_forget(q);
	return QUEUE_NO_MEMORY;
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
	queue_made_drop(q->name);
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
	const struct queue_kind *kind = queue_kind_of(r->kind, r->durable);
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
		if (!queue_kind_of(def->kind, def->durable) ||
		    queue_create(name_of(now, def), queue_kind_of(def->kind, def->durable), &set,
				 &q) != QUEUE_OK)
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
			queue_forget(q);
	}
}

static void adopt(const struct conf *now, const struct conf_queue *def)
{
	struct queue *q = queue_find(name_of(now, def));
	struct queue_settings set = settings_of(now, def);

	if (!q->fresh && q->kind != queue_kind_of(def->kind, def->durable)) {
		log_warning(q->name, "the queue stays of kind %s, %s, until crewd is started again",
			    q->kind->name, q->set.durable ? "durable" : "not durable");
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
	queue_made_drop(q->name);
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

/* What a manager was to be rid of when empty, and was killed before: the keeper has it, nobody else knows it. */
static void recall_left(void)
{
	const char *name;

	while ((name = keep_left())) {
		struct queue_settings set = { .max_deliveries = 1 };
		struct queue *q;

		if (queue_create(name, &queue_shared, &set, &q) == QUEUE_OK)
			queue_leave(q);
		else
			keep_forget(name);
	}
}

/* The ledger forgets with crewd, what is on disk does not. A queue of that name may have come meanwhile. */
static void found_made(const struct ledger_queue *r)
{
	if (!queue_find(r->name) && recall(r) < 0)
		log_error(r->name, "no memory for the durable queue that a client made");
}

/* Definitions of queues that are the file's now. */
static void drop_configured(const struct conf *conf)
{
	for (uint32_t i = 0; i < conf->queue_count; i++)
		queue_made_drop(name_of(conf, conf_queue_at(conf, i)));
}

int queue_conf_init(const struct conf *conf, int dir, void (*changed)(void))
{
	struct ledger_queue r;
	int there;

	queue_durable_init(dir, changed);
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
	recall_left();
	queue_made_init(dir, found_made, changed);
	drop_configured(conf);
	return 0;
}

bool queue_conf_created(const char *name)
{
	return queue_made_saved(name);
}

const char *queue_conf_undeletable(const char *name)
{
	return queue_made_has(name) ? queue_made_trouble() : NULL;
}

const char *queue_conf_trouble(const struct queue *q)
{
	const char *trouble = q->kind == &queue_durable ? queue_durable_trouble(q) : NULL;

	return trouble ? trouble : queue_made_trouble();
}

bool queue_conf_gone(const char *name)
{
	return !queue_made_has(name) && !queue_durable_removing(name);
}

void queue_conf_end(void)
{
	queue_close();
	queue_made_close();
}

bool queue_conf_wait(int64_t usec)
{
	return queue_durable_wait(usec) && queue_made_wait(usec);
}
