#include "daemon/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/queue_kind.h"
#include "lib/clock.h"
#include "lib/log.h"

#define BUCKETS	       1024 /* a power of two */
#define ANSWERS_A_TURN 256
#define LOOK_AGAIN     (USEC_PER_SEC / 4)

static struct {
	struct list all, by_name[BUCKETS];
	unsigned count;
	struct list requests[BUCKETS]; /* by number */
	uint64_t last_request;
	struct list answered; /* requests to be told at the end of the turn */
	struct loop_task tell, reap, stir;
	size_t bytes, held;
	struct loop_timer look; /* what others do to queues is seen by looking */
	bool short_of_bytes;	/* somebody was refused, and waits for others' items to go */
} front;

/* ---- names ------------------------------------------------------------------------------------ */

static struct list *bucket_of(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return &front.by_name[h % BUCKETS];
}

struct queue *queue_find(const char *name)
{
	list_foreach(e, n, bucket_of(name))
	{
		struct queue *q = list_entry(e, struct queue, by_name);

		if (strcmp(q->name, name) == 0)
			return q;
	}
	return NULL;
}

struct list *queue_all(void)
{
	return &front.all;
}

unsigned queue_count(void)
{
	return front.count;
}

/* ---- items, and the memory they take ---------------------------------------------------------- */

struct queue_item *queue_item_new(size_t len)
{
	struct queue_item *item = malloc(sizeof(*item) + len);

	if (item)
		*item = (struct queue_item){ .len = (uint32_t)len };
	return item;
}

void queue_items_free(struct list *items)
{
	struct list *e;

	while ((e = list_pop(items)))
		free(list_entry(e, struct queue_item, link));
}

bool queue_charge(size_t bytes)
{
	if (front.bytes + bytes > CREW_QUEUE_BYTES_MAX) {
		front.short_of_bytes = true;
		return false;
	}
	front.bytes += bytes;
	return true;
}

void queue_charge_anyway(size_t bytes)
{
	front.bytes += bytes;
}

void queue_discharge(size_t bytes)
{
	assert(bytes <= front.bytes);
	front.bytes -= bytes;
	if (front.short_of_bytes)
		loop_defer(&front.stir);
}

/* ---- requests --------------------------------------------------------------------------------- */

static void on_time_over(void *arg);

struct queue_request *queue_request_new(enum queue_verb verb,
					void (*answered)(struct queue_request *r), void *arg)
{
	struct queue_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->verb = verb;
	r->block = true;
	r->timeout = -1;
	r->max = 1;
	r->answered = answered;
	r->arg = arg;
	r->timer.fn = on_time_over;
	r->timer.arg = r;
	list_init(&r->items);
	return r;
}

void queue_request_free(struct queue_request *r)
{
	if (!r)
		return;
	assert(r->state == QUEUE_ASKING);
	queue_items_free(&r->items);
	free(r);
}

static struct queue_request *request(uint64_t id)
{
	list_foreach(e, n, &front.requests[id % BUCKETS])
	{
		struct queue_request *r = list_entry(e, struct queue_request, by_id);

		if (r->id == id)
			return r;
	}
	return NULL;
}

/* Off whatever list it is on. */
static void unlink_request(struct queue_request *r)
{
	if (r->state == QUEUE_WAITING)
		r->queue->waiting_count[r->verb]--;
	front.held -= r->held;
	r->held = 0;
	list_remove(&r->link);
	if (r->timer.armed)
		loop_timer_off(&r->timer);
}

static void answer(struct queue_request *r, enum queue_error error)
{
	unlink_request(r);
	/* Those who wait to put would come before anybody else. */
	if (r->verb == QUEUE_SIZE && r->queue && r->queue->waiting_count[QUEUE_PUT])
		r->full = true;
	r->error = error;
	r->state = QUEUE_ANSWERED;
	list_append(&front.answered, &r->link);
	loop_defer(&front.tell);
}

/* The asker's again. */
static void hand_over(struct queue_request *r)
{
	unlink_request(r);
	list_remove(&r->by_id);
	r->state = QUEUE_ASKING;
	if (r->queue && r->kind->told && !list_empty(&r->items) && r->verb == QUEUE_GET)
		r->kind->told(r->queue, r);
}

static void tell(void *arg)
{
	(void)arg;
	for (int i = 0; i < ANSWERS_A_TURN && !list_empty(&front.answered); i++) {
		struct queue_request *r =
			list_entry(front.answered.next, struct queue_request, link);

		hand_over(r);
		r->answered(r);
	}
	if (!list_empty(&front.answered))
		loop_defer(&front.tell);
}

static enum queue_error when_over(struct queue_request *r)
{
	static const enum queue_error errors[] = {
		[QUEUE_PUT] = QUEUE_FULL, [QUEUE_GET] = QUEUE_EMPTY, [QUEUE_JOIN] = QUEUE_TIMED_OUT
	};
	enum queue_error e = r->kind->over ? r->kind->over(r->queue, r) : QUEUE_OK;

	return e != QUEUE_OK ? e : errors[r->verb];
}

/* ---- who is served ---------------------------------------------------------------------------- */

static void serve_one(struct queue *q, struct queue_request *r, enum queue_error e)
{
	if (e != QUEUE_LATER) {
		answer(r, e);
		return;
	}
	list_remove(&r->link);
	if (r->state == QUEUE_WAITING)
		q->waiting_count[r->verb]--;
	r->state = QUEUE_PENDING;
	list_append(&q->pending, &r->link);
}

static bool never_waits(const struct queue_request *r)
{
	return !r->block || r->timeout == 0;
}

/* A timer that has gone off found the request with its kind. */
bool queue_is_over(const struct queue_request *r)
{
	return never_waits(r) || (r->timeout > 0 && !r->timer.armed);
}

/* Of a kind that says that it will be served soon nobody is sent away, nor are those behind it. */
static bool must_not_wait(const struct queue *q, const struct queue_request *r)
{
	const struct queue_request *head =
		list_entry(q->waiting[r->verb].next, const struct queue_request, link);

	return never_waits(r) && !head->patient;
}

/* The first of those who wait, and the next ones as long as they can be served. True: something moved. */
static bool serve(struct queue *q, enum queue_verb verb)
{
	bool any = false;

	while (!list_empty(&q->waiting[verb])) {
		struct queue_request *r =
			list_entry(q->waiting[verb].next, struct queue_request, link);
		unsigned moved = r->moved;
		enum queue_error e = q->kind->serve[verb](q, r);

		any = any || e != QUEUE_NOT_YET || r->moved != moved;
		if (e == QUEUE_NOT_YET && !must_not_wait(q, r))
			break;
		serve_one(q, r, e == QUEUE_NOT_YET ? when_over(r) : e);
	}
	return any;
}

static void settle(struct queue *q)
{
	bool moved;

	do {
		moved = serve(q, QUEUE_PUT);
		moved = serve(q, QUEUE_GET) || moved;
	} while (moved);
	serve(q, QUEUE_JOIN);
	if (q->leaving)
		loop_defer(&front.reap);
}

void queue_stirred(struct queue *q)
{
	settle(q);
}

/* Memory has become free: whoever waits for it may be anywhere. */
static void stir(void *arg)
{
	(void)arg;
	front.short_of_bytes = false;
	list_foreach(e, n, &front.all)
	{
		struct queue *q = list_entry(e, struct queue, link);

		if (!list_empty(&q->waiting[QUEUE_PUT]))
			settle(q);
	}
}

/* ---- asking ----------------------------------------------------------------------------------- */

static const char leaving_why[] =
	"it was removed from the configuration, and takes no more until it is gone";

static bool would_wait(const struct queue_request *r)
{
	return r->stream || (r->verb < QUEUE_END && r->block && r->timeout != 0);
}

static enum queue_error refusal(const struct queue *q, struct queue_request *r)
{
	if (!q->kind->serve[r->verb] || (r->lease && !q->kind->leases))
		return QUEUE_WRONG_KIND;
	if (q->kind->direct && would_wait(r)) {
		r->why = r->stream
				 ? "it is not streamed from here; attach to its memory (Attach), "
				   "and get from that"
				 : "nobody waits for it at the daemon; say block false, or attach "
				   "to its memory (Attach), and wait there";
		return QUEUE_WRONG_KIND;
	}
	if (q->leaving && r->verb == QUEUE_PUT) {
		r->why = leaving_why;
		return QUEUE_NO_QUEUE;
	}
	return QUEUE_OK;
}

static void ask_now(struct queue *q, struct queue_request *r)
{
	enum queue_error e = q->kind->serve[r->verb](q, r);

	serve_one(q, r, e);
	settle(q);
}

/* What waits to be put takes memory, too. */
static bool may_wait(struct queue_request *r)
{
	size_t size = 0;

	list_foreach(e, n, &r->items) size +=
		list_entry(e, struct queue_item, link)->len + QUEUE_ITEM_KEEP;
	if (r->verb == QUEUE_PUT && front.held + size > CREW_QUEUE_HELD_MAX) {
		r->why = "as much waits to be put as may";
		return false;
	}
	front.held += size;
	r->held = size;
	return true;
}

static void ask_and_wait(struct queue *q, struct queue_request *r)
{
	r->state = QUEUE_WAITING;
	list_append(&q->waiting[r->verb], &r->link);
	q->waiting_count[r->verb]++;
	settle(q);
	if (r->state == QUEUE_ANSWERED)
		return;
	if (r->state == QUEUE_WAITING && (must_not_wait(q, r) || !may_wait(r)))
		answer(r, when_over(r));
	else if (r->timeout > 0 && (r->block || !q->kind->needs_backend))
		loop_timer_at(&r->timer, loop_now() + r->timeout);
	else if (r->timeout == 0 && r->state == QUEUE_PENDING && !q->kind->needs_backend)
		loop_timer_at(&r->timer, loop_now() + r->timeout);
}

/* It is still there, where it was: those who came later stand behind it. */
static void stand_in_line(struct queue *q, struct queue_request *r)
{
	struct list *before = q->waiting[r->verb].next;

	while (before != &q->waiting[r->verb] &&
	       list_entry(before, struct queue_request, link)->id < r->id)
		before = before->next;
	list_remove(&r->link);
	list_append(before, &r->link);
	r->state = QUEUE_WAITING;
	q->waiting_count[r->verb]++;
}

void queue_wait_again(uint64_t id, const char *why)
{
	struct queue_request *r = queue_pending(id);

	if (!r)
		return;
	r->why = why;
	if (!r->answered) {
		answer(r, when_over(r));
		queue_drop(id);
	} else if (queue_is_over(r) || (!r->held && !may_wait(r))) {
		answer(r, when_over(r));
	} else {
		stand_in_line(r->queue, r);
	}
}

static void ask(struct queue *q, struct queue_request *r)
{
	enum queue_error e = refusal(q, r);

	assert(r->state == QUEUE_ASKING && !list_linked(&r->link));
	r->queue = q;
	r->kind = q->kind;
	r->id = ++front.last_request;
	list_append(&front.requests[r->id % BUCKETS], &r->by_id);
	if (e != QUEUE_OK)
		answer(r, e);
	else if (r->verb < QUEUE_WAITS_OF)
		ask_and_wait(q, r);
	else
		ask_now(q, r);
}

bool queue_ask(struct queue *q, struct queue_request *r)
{
	ask(q, r);
	if (r->state != QUEUE_ANSWERED)
		return false;
	hand_over(r);
	return true;
}

void queue_ask_again(struct queue *q, struct queue_request *r)
{
	r->moved = 0;
	r->why = NULL;
	ask(q, r);
}

static void on_time_over(void *arg)
{
	struct queue_request *r = arg;
	struct queue *q = r->queue;

	if (r->state == QUEUE_PENDING && !(q->kind->cancel && q->kind->cancel(q, r)))
		return; /* its kind has it in hand, and will answer */
	answer(r, when_over(r));
	settle(q);
}

/* What was got returns to where it was: the last one first. */
void queue_give_back(struct queue *q, struct list *items)
{
	while (!list_empty(items)) {
		struct queue_item *item = list_entry(items->prev, struct queue_item, link);

		list_remove(&item->link);
		if (q)
			q->kind->back(q, item);
		else
			free(item);
	}
}

void queue_untaken(struct queue_request *r)
{
	queue_give_back(r->queue, &r->items);
	if (r->queue)
		settle(r->queue);
}

void queue_drop(uint64_t id)
{
	struct queue_request *r = request(id);
	struct queue *q = r ? r->queue : NULL;

	if (!r)
		return;
	if (r->state == QUEUE_PENDING && !(q->kind->cancel && q->kind->cancel(q, r))) {
		r->answered = NULL; /* queue_complete() buries it */
		return;
	}
	if (r->verb == QUEUE_GET)
		queue_give_back(q, &r->items);
	hand_over(r);
	queue_request_free(r);
	if (q)
		settle(q);
}

struct queue_request *queue_pending(uint64_t id)
{
	struct queue_request *r = request(id);

	return r && r->state == QUEUE_PENDING ? r : NULL;
}

/* Part of it is done, and the rest has to wait: it is the first to be served. False: its time is over. */
static bool wait_again(struct queue *q, struct queue_request *r)
{
	if (!r->answered || (queue_is_over(r) && !r->patient) || !may_wait(r))
		return false;
	list_remove(&r->link);
	r->state = QUEUE_WAITING;
	list_append(q->waiting[r->verb].next, &r->link); /* before the first */
	q->waiting_count[r->verb]++;
	return true;
}

void queue_complete(uint64_t id, enum queue_error error, const char *why)
{
	struct queue_request *r = queue_pending(id);
	struct queue *q = r ? r->queue : NULL;

	if (!r)
		return;
	r->why = why;
	if (error != QUEUE_NOT_YET)
		answer(r, error);
	else if (!wait_again(q, r))
		answer(r, when_over(r));
	if (!r->answered)
		queue_drop(id);
	settle(q);
}

void queue_got(struct queue_request *r)
{
	struct list *e;

	while ((e = list_pop(&r->items))) {
		struct queue_item *item = list_entry(e, struct queue_item, link);

		if (r->queue && r->queue->kind->got)
			r->queue->kind->got(r->queue, item);
		else
			free(item);
	}
}

/* ---- queues come and go ----------------------------------------------------------------------- */

enum queue_error queue_create(const char *name, const struct queue_kind *kind,
			      const struct queue_settings *set, struct queue **out)
{
	struct queue *q;

	if (queue_find(name))
		return QUEUE_EXISTS;
	if (front.count == CREW_QUEUES_MAX)
		return QUEUE_TOO_MANY;
	q = calloc(1, sizeof(*q));
	if (!q)
		return QUEUE_NO_MEMORY;
	q->kind = kind;
	q->set = *set;
	strcpy(q->name, name);
	for (int v = 0; v < QUEUE_WAITS_OF; v++)
		list_init(&q->waiting[v]);
	list_init(&q->pending);
	list_init(&q->leases);
	errno = ENOMEM;
	if (kind->create(q) < 0) {
		free(q);
		return errno == ENOSPC ? QUEUE_TOO_MANY : QUEUE_NO_MEMORY;
	}
	q->set.backend = NULL;
	list_append(&front.all, &q->link);
	list_append(bucket_of(name), &q->by_name);
	front.count++;
	*out = q;
	return QUEUE_OK;
}

void queue_change(struct queue *q, const struct queue_settings *set)
{
	q->set = *set;
	q->set.backend = NULL;
	if (q->kind->changed)
		q->kind->changed(q);
	settle(q);
}

static void answer_all(struct list *requests, const char *why)
{
	while (!list_empty(requests)) {
		struct queue_request *r = list_entry(requests->next, struct queue_request, link);
		bool anyone = r->answered != NULL;

		r->why = why;
		answer(r, QUEUE_NO_QUEUE);
		r->queue = NULL;
		if (!anyone)
			queue_drop(r->id);
	}
}

/* Answers that nobody has heard yet: what was got is gone with the queue. */
static void revoke_answers(struct queue *q)
{
	list_foreach(e, n, &front.answered)
	{
		struct queue_request *r = list_entry(e, struct queue_request, link);

		if (r->queue != q)
			continue;
		if (r->verb == QUEUE_GET && r->error == QUEUE_OK) {
			queue_give_back(q, &r->items);
			r->error = QUEUE_NO_QUEUE;
		} else if (r->error == QUEUE_UNAVAILABLE) {
			r->error = QUEUE_NO_QUEUE;
			r->why = NULL; /* it was the queue's */
		}
		r->queue = NULL;
	}
}

void queue_delete(struct queue *q)
{
	queue_leases_end(q);
	for (int v = 0; v < QUEUE_WAITS_OF; v++)
		answer_all(&q->waiting[v], NULL);
	answer_all(&q->pending, NULL);
	revoke_answers(q);
	q->kind->destroy(q);
	list_remove(&q->link);
	list_remove(&q->by_name);
	front.count--;
	free(q);
}

void queue_forget(struct queue *q)
{
	q->keep = true;
	queue_delete(q);
}

bool queue_is_empty(const struct queue *q)
{
	struct queue_stat stat;

	q->kind->stat(q, &stat);
	return stat.size == 0 && stat.bytes == 0 && q->leased == 0 && list_empty(&q->pending);
}

/* Told on its way out, an answer may still be taken back: such queues wait for the end of the turn. */
static bool has_answers(const struct queue *q)
{
	for (const struct list *e = front.answered.next; e != &front.answered; e = e->next)
		if (list_entry(e, const struct queue_request, link)->queue == q)
			return true;
	return false;
}

static void reap(void *arg)
{
	(void)arg;
	list_foreach(e, n, &front.all)
	{
		struct queue *q = list_entry(e, struct queue, link);

		if (q->leaving && q->kind->direct && !front.look.armed)
			loop_timer_at(&front.look, loop_now() + LOOK_AGAIN);
		if (!q->leaving || !queue_is_empty(q))
			continue;
		if (has_answers(q)) {
			loop_defer(&front.reap);
			continue;
		}
		log_info(q->name, "the queue is empty, and gone as the configuration says");
		queue_delete(q);
	}
}

static void look(void *arg)
{
	loop_timer_off(&front.look);
	reap(arg);
}

void queue_leave(struct queue *q)
{
	q->leaving = true;
	answer_all(&q->waiting[QUEUE_PUT], leaving_why);
	settle(q);
	if (!queue_is_empty(q))
		log_warning(q->name,
			    "removed from the configuration, but not empty: the queue takes "
			    "no more, and stays until all is taken out");
}

void queue_return(struct queue *q)
{
	q->leaving = false;
}

void queue_init(uint32_t seed)
{
	queue_leases_init(seed);
	list_init(&front.all);
	list_init(&front.answered);
	for (int i = 0; i < BUCKETS; i++) {
		list_init(&front.by_name[i]);
		list_init(&front.requests[i]);
	}
	front.tell.fn = tell;
	front.reap.fn = reap;
	front.stir.fn = stir;
	front.look.fn = look;
}

void queue_close(void)
{
	while (!list_empty(&front.all))
		queue_forget(list_entry(front.all.next, struct queue, link));
	while (!list_empty(&front.answered))
		queue_drop(list_entry(front.answered.next, struct queue_request, link)->id);
	loop_undefer(&front.tell);
	loop_undefer(&front.reap);
	loop_undefer(&front.stir);
	if (front.look.armed)
		loop_timer_off(&front.look);
	front.short_of_bytes = false;
}
