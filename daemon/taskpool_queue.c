#include "daemon/taskpool_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/queue_kind.h"
#include "daemon/task_read.h"
#include "daemon/taskpool.h"
#include "lib/clock.h"
#include "lib/log.h"

#define ITEMS_A_STEP  64
#define TROUBLE_AGAIN USEC_PER_SEC

/* One item on loan. */
struct loan {
	struct task_owner owner; /* first: of its task */
	struct list link;	 /* of those that are handed back */
	struct taskpool *pool;
	uint64_t number;
	char lease[QUEUE_LEASE_NAME];
};

/* ---- not now ---------------------------------------------------------------------------------- */

static void look_again(void *arg)
{
	pool_mark(((struct taskpool *)arg)->pool);
}

static void pause_for(struct taskpool *tp, const char *what, int64_t usec)
{
	struct taskpool_feed *f = &tp->feed;

	if (!f->troubled)
		log_warning(tp->name, "takes no tasks from queue %s now: %s", f->queue, what);
	f->troubled = true;
	f->again.fn = look_again;
	f->again.arg = tp;
	loop_timer_at(&f->again, loop_now() + usec);
}

static void trouble(struct taskpool *tp, const char *what)
{
	tp->feed.hopeless = false;
	pause_for(tp, what, TROUBLE_AGAIN);
}

/* Workers were tried as often as may be. Should they have been dropped meanwhile, items alone must not have them
 * tried again at once. */
static void no_worker(struct taskpool *tp)
{
	int64_t most = tp->pool->def->restart_delay_max;
	const char *why;

	if (taskpool_accepts(tp, &why) == TASKPOOL_SHUT)
		return; /* it does not go on anyway */
	tp->feed.hopeless = true;
	pause_for(tp, "no worker could be started", most > TROUBLE_AGAIN ? most : TROUBLE_AGAIN);
}

/* ---- what becomes of an item ------------------------------------------------------------------ */

/* Handed back are all of them together, so that they are in the queue in the order in which they were. */
static void return_later(struct loan *l)
{
	struct list *e = l->pool->feed.returning.prev;

	while (e != &l->pool->feed.returning &&
	       list_entry(e, struct loan, link)->number > l->number)
		e = e->prev;
	list_append(e->next, &l->link);
}

static void hand_back(struct taskpool_feed *f)
{
	while (!list_empty(&f->returning)) {
		struct loan *l = list_entry(f->returning.prev, struct loan, link);

		list_remove(&l->link);
		queue_hand_back(l->lease);
		free(l);
	}
}

static void bury(struct loan *l, const struct task *t)
{
	char why[256];

	if (t->state == TASK_CANCELLED)
		snprintf(why, sizeof(why), "the task of an item was cancelled in pool %s",
			 l->pool->name);
	else
		snprintf(why, sizeof(why), "the task of an item failed in pool %s: %.128s",
			 l->pool->name,
			 t->failure && t->failure->message ? t->failure->message : "no memory");
	queue_bury(l->lease, why);
	free(l);
}

/* No worker has seen it, or it was taken away from the one that had it for a reason that is not its own. */
static bool is_innocent(const struct task *t)
{
	const struct taskpool *tp = t->pool;

	if (t->state == TASK_FAILED)
		return t->attempts == 0 && t->failure && t->failure->error == TASK_WORKER_DIED;
	return tp->feed.withdrawing || tp->gate == TASKPOOL_TERMINATED || t->kind != tp->kind;
}

static void on_ended(struct task *t, struct task_owner *owner)
{
	struct loan *l = (struct loan *)(void *)owner;

	if (t->state == TASK_SUCCEEDED) {
		queue_done(l->lease);
		free(l);
	} else if (is_innocent(t)) {
		return_later(l);
		if (t->state == TASK_FAILED)
			no_worker(t->pool);
	} else {
		bury(l, t);
	}
	taskpool_fetched(t);
}

bool taskpool_feed_owns(const struct task *t)
{
	return t->owner && t->owner->ended == on_ended;
}

/* ---- from an item to a task ------------------------------------------------------------------- */

static struct loan *loan_new(struct taskpool *tp, struct queue_request *r)
{
	const struct queue_lease *lease;
	struct loan *l;

	l = calloc(1, sizeof(*l));
	lease = queue_lease_new(l ? tp->feed.loans : NULL, r);
	if (!lease) {
		free(l);
		return NULL;
	}
	l->owner.ended = on_ended;
	l->pool = tp;
	l->number = ++tp->feed.taken;
	queue_lease_name(lease, l->lease);
	return l;
}

static void refuse(struct loan *l, const struct task_read *q)
{
	struct taskpool *tp = l->pool;
	bool whole = strcmp(q->parameter, "tasks") == 0;
	char why[256];

	snprintf(why, sizeof(why), "an item is no task for pool %s (%s%sright would be: %s)",
		 tp->name, whole ? "" : q->parameter, whole ? "" : ": ", q->why);
	queue_bury(l->lease, why);
	free(l);
	tp->accepted++;
	tp->failed++;
}

/* It is not the item's fault: the pool was open a moment ago. */
static void return_refused(struct loan *l, const char *why)
{
	struct taskpool *tp = l->pool;

	return_later(l);
	trouble(tp, why);
}

static void submit(struct loan *l, const struct queue_item *item)
{
	struct taskpool *tp = l->pool;
	struct task_read q = { 0 };
	struct task *t;
	const char *why;

	if (!task_read_text(&q, tp->kind, item->text, item->len))
		refuse(l, &q);
	else if (taskpool_submit(tp, &q.r, &l->owner, 0, &t, &why) != TASKPOOL_OK)
		return_refused(l, why);
	else
		tp->feed.troubled = false;
	task_read_free(&q);
}

static void take(struct taskpool *tp, struct queue_request *r)
{
	while (!list_empty(&r->items)) {
		const struct queue_item *item =
			list_entry(r->items.next, const struct queue_item, link);
		struct loan *l = loan_new(tp, r);

		if (!l) {
			trouble(tp, "out of memory");
			return;
		}
		submit(l, item);
	}
}

/* ---- asking ----------------------------------------------------------------------------------- */

static const char *what_is_wrong(const struct queue_request *r)
{
	static const char *const texts[QUEUE_ERRORS] = {
		[QUEUE_NO_QUEUE] = "there is no such queue",
		[QUEUE_WRONG_KIND] = "nothing can be got from queues of its kind",
		[QUEUE_UNAVAILABLE] = "it cannot be reached",
		[QUEUE_NO_MEMORY] = "out of memory",
	};
	const char *text = r->error < QUEUE_ERRORS ? texts[r->error] : NULL;

	return r->why ? r->why : text ? text : "it refuses to give any";
}

/* The request is ours again, and goes. */
static void answer(struct taskpool *tp, struct queue_request *r)
{
	if (r->error == QUEUE_OK) {
		take(tp, r);
	} else {
		trouble(tp, what_is_wrong(r));
	}
	queue_request_free(r);
	pool_mark(tp->pool);
}

static void on_answered(struct queue_request *r)
{
	struct taskpool *tp = r->arg;

	tp->feed.asked = 0;
	answer(tp, r);
}

static void stop_asking(struct taskpool_feed *f)
{
	uint64_t id = f->asked;

	f->asked = 0;
	if (id)
		queue_drop(id);
}

/* As many as there is room for; or, when there are none, one that is waited for: by the time it comes there may be
 * no room for more. */
static void ask(struct taskpool *tp, struct queue *from, unsigned max)
{
	struct queue_request *r = queue_request_new(QUEUE_GET, on_answered, tp);

	if (!r) {
		trouble(tp, "out of memory");
		return;
	}
	r->max = max;
	r->max_bytes = CREW_MESSAGE_MAX;
	r->lease = from->kind->leases;
	if (queue_ask(from, r)) {
		answer(tp, r);
		return;
	}
	r->max = 1;
	tp->feed.asked = r->id;
}

static void ask_for(struct taskpool *tp, unsigned room)
{
	struct taskpool_feed *f = &tp->feed;
	struct queue *from = queue_find(f->queue);

	if (!f->loans)
		f->loans = queue_owner_new();
	if (!from || !f->loans)
		trouble(tp, from ? "out of memory" : "there is no such queue");
	else
		ask(tp, from, room);
}

unsigned taskpool_feed_waiting(const struct taskpool *tp)
{
	const struct queue *from = *tp->feed.queue ? queue_find(tp->feed.queue) : NULL;
	struct queue_stat stat;

	if (!from || tp->feed.again.armed)
		return 0;
	from->kind->stat(from, &stat);
	return stat.size < CREW_WORKERS_MAX ? (unsigned)stat.size : CREW_WORKERS_MAX;
}

/* ---- the step --------------------------------------------------------------------------------- */

static void withdraw_queued(struct taskpool *tp)
{
	tp->feed.withdrawing = true;
	list_foreach(e, n, &tp->queue)
	{
		struct task *t = list_entry(e, struct task, link);

		if (taskpool_feed_owns(t))
			taskpool_cancel(t);
	}
	tp->feed.withdrawing = false;
}

static unsigned room_for_items(struct taskpool *tp)
{
	struct taskpool_feed *f = &tp->feed;
	unsigned room;

	if (!*f->queue || (f->again.armed && !f->hopeless))
		return 0;
	room = taskpool_room(tp, ITEMS_A_STEP, !f->again.armed);
	if (room && f->again.armed) /* somebody got a worker to run */
		loop_timer_off(&f->again);
	return room;
}

void taskpool_feed_step(struct taskpool *tp)
{
	struct taskpool_feed *f = &tp->feed;
	unsigned room = room_for_items(tp);

	if (taskpool_is_halted(tp))
		withdraw_queued(tp);
	/* A worker that is being ended may still be at work on what it had. */
	if (tp->gate != TASKPOOL_TERMINATED || !pool_is_alive(tp->pool))
		hand_back(f);
	if (!room)
		stop_asking(f);
	else if (!f->asked)
		ask_for(tp, room);
}

/* ---- defined, and gone ------------------------------------------------------------------------ */

void taskpool_feed_init(struct taskpool *tp)
{
	list_init(&tp->feed.returning);
}

static void forget(struct taskpool_feed *f)
{
	stop_asking(f);
	if (f->again.armed)
		loop_timer_off(&f->again);
	f->troubled = false;
	*f->queue = '\0';
}

void taskpool_feed_define(struct taskpool *tp)
{
	const char *name = conf_text(tp->pool->conf, tp->pool->def->queue);

	if (strcmp(name ? name : "", tp->feed.queue) == 0)
		return;
	forget(&tp->feed);
	if (name)
		strcpy(tp->feed.queue, name);
	pool_mark(tp->pool);
}

void taskpool_feed_gone(struct taskpool *tp)
{
	forget(&tp->feed);
	hand_back(&tp->feed);
}

void taskpool_feed_free(struct taskpool *tp)
{
	queue_owner_gone(tp->feed.loans);
}
