/* Methods of io.crewd.Pool for many tasks: Map, Tasks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/control.h"
#include "daemon/crew.h"
#include "daemon/rpc_task.h"
#include "lib/bounds.h"

/* ---- Map --------------------------------------------------------------------------------------
 */

/* Tasks given and not yet replied to, or more for a large prefetch: as more are given each turn, a few more
 * than there are hands suffice. A slow client lets results of so many pile up, and no more. */
#define WINDOW	     16
#define WINDOW_BYTES (2 * 1024 * 1024)

struct map {
	struct task_owner owner;
	struct rpc_call *call;
	char pool[CREW_NAME_MAX + 1];
	struct json_t *tasks; /* inside the call's message */
	size_t count, next, replied;
	size_t last_ended;
	struct task **at;   /* by index; NULL: not given yet, or ended */
	struct list ended;  /* not replied to yet, as the client is slow */
	unsigned under_way; /* given, not ended */
	unsigned ended_count;
	size_t ended_bytes;
	enum taskpool_error refused; /* no more are taken */
	const char *why;
	bool parked;
	struct loop_task feed;
};

static void reply_one(struct map *map, const struct task *t)
{
	struct rpc_call *call = map->call;
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "index");
	jw_int(json, t->index);
	jw_key(json, "task");
	rpc_write_task(json, t, true);
	jw_end_object(json);
	map->replied++;
	rpc_reply_end(call, map->replied < map->count);
}

static void reply_none(struct rpc_call *call)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "index");
	jw_null(json);
	jw_key(json, "task");
	jw_null(json);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

/* What has ended while the client was slow. */
static void reply_ended(struct map *map)
{
	struct list *e;

	while (!map->call->done && !rpc_is_congested(map->call) && (e = list_pop(&map->ended))) {
		struct task *t = list_entry(e, struct task, link);

		map->ended_count--;
		map->ended_bytes -= t->result_len;
		reply_one(map, t);
		taskpool_fetched(t);
	}
}

static void on_ended(struct task *t, struct task_owner *owner)
{
	struct map *map = (struct map *)(void *)owner;

	map->at[t->index] = NULL;
	map->last_ended = t->index;
	map->under_way--;
	if (map->call->done) {
		taskpool_fetched(t); /* the client has gone too far behind */
	} else if (rpc_is_congested(map->call) || !list_empty(&map->ended)) {
		task_keep_result(t);
		map->ended_count++;
		map->ended_bytes += t->result_len;
		list_append(&map->ended, &t->link);
	} else {
		reply_one(map, t);
		taskpool_fetched(t);
	}
	if (map->parked)
		loop_defer(&map->feed);
}

static size_t window(const struct taskpool *tp)
{
	size_t hands = (size_t)2 * pool_size(tp->pool) * tp->pool->def->prefetch;

	return hands > WINDOW ? hands : WINDOW;
}

/* One more. False: not now. */
static bool give_next(struct map *map, struct taskpool *tp)
{
	struct task_read q = { 0 };
	struct task *t = NULL;
	size_t i = map->next;

	if (!task_read_element(&q, tp->kind, json_at(map->tasks, i), false)) {
		map->refused = TASKPOOL_SHUT; /* its kind of tasks has changed meanwhile */
		map->why = q.why;
		task_read_free(&q);
		return false;
	}
	map->under_way++;
	map->last_ended = SIZE_MAX;
	map->refused = taskpool_submit(tp, &q.r, &map->owner, (uint32_t)i, &t, &map->why);
	task_read_free(&q);
	if (map->refused != TASKPOOL_OK) {
		map->under_way--;
		if (map->refused == TASKPOOL_FULL) /* it is a matter of time */
			map->refused = TASKPOOL_OK;
		return false;
	}
	if (map->last_ended != i)
		map->at[i] = t;
	map->next++;
	return true;
}

static void give_more(struct map *map)
{
	struct taskpool *tp;
	struct pool *p = crew_pool(map->pool);
	size_t most;

	tp = p ? p->tasks : NULL;
	if (!tp) {
		map->refused = TASKPOOL_SHUT;
		map->why = "removed from the configuration";
		return;
	}
	most = window(tp);
	while (map->next < map->count && map->refused == TASKPOOL_OK &&
	       map->under_way + map->ended_count < most && map->ended_bytes < WINDOW_BYTES)
		if (!give_next(map, tp))
			break;
}

static void go_on(struct map *map)
{
	reply_ended(map);
	if (!map->call->done)
		give_more(map);
	/* Those that were given are answered first. */
	if (!map->call->done && map->refused != TASKPOOL_OK && !map->under_way &&
	    list_empty(&map->ended))
		rpc_refused(map->call, map->pool, map->refused, map->why);
}

static void resume_map(struct rpc_call *call)
{
	go_on(call->state);
}

static void on_feed(void *arg)
{
	struct map *map = arg;
	struct rpc_call *call = map->call;

	go_on(map);
	if (call->done)
		rpc_end(call);
}

static void drop_map(struct rpc_call *call)
{
	struct map *map = call->state;
	struct list *e;

	if (!map)
		return;
	loop_undefer(&map->feed);
	for (size_t i = 0; map->at && i < map->next; i++)
		if (map->at[i])
			taskpool_disown(map->at[i]);
	while ((e = list_pop(&map->ended)))
		taskpool_fetched(list_entry(e, struct task, link));
	free(map->at);
	free(map);
}

static struct map *map_new(struct rpc_call *call, struct json_t *tasks, const char *pool)
{
	struct map *map = calloc(1, sizeof(*map));

	if (map)
		map->at = calloc(json_count(tasks) + 1, sizeof(struct task *));
	if (!map || !map->at) {
		free(map);
		rpc_no_memory(call);
		return NULL;
	}
	map->owner.ended = on_ended;
	map->call = call;
	map->tasks = tasks;
	map->count = json_count(tasks);
	map->feed.fn = on_feed;
	map->feed.arg = map;
	list_init(&map->ended);
	strcpy(map->pool, pool);
	call->state = map;
	call->drop = drop_map;
	return map;
}

/* All are looked at before the first is given. False: it has replied. */
static bool check_all(struct rpc_call *call, const struct taskpool *tp, const struct json_t *tasks)
{
	for (size_t i = 0; i < json_count(tasks); i++) {
		struct task_read q = { 0 };
		bool ok = task_read_element(&q, tp->kind, json_at(tasks, i), true);
		char why[192];

		task_read_free(&q);
		if (ok)
			continue;
		snprintf(why, sizeof(why),
			 "tasks of this pool's kind; in that with index %zu, %s: %s", i,
			 q.parameter, q.why);
		rpc_invalid(call, "tasks", why);
		return false;
	}
	return true;
}

void rpc_task_map(struct rpc_call *call)
{
	struct json_t *tasks = NULL;
	const char *name = NULL, *why;
	enum taskpool_error e;
	struct taskpool *tp;
	struct map *map;

	params_string(&call->params, "pool", true, &name);
	params_array(&call->params, "tasks", true, &tasks);
	if (!rpc_params_done(call))
		return;
	tp = rpc_taskpool(call, name);
	if (!tp || !check_all(call, tp, tasks))
		return;
	e = taskpool_accepts(tp, &why);
	if (e == TASKPOOL_SHUT) {
		rpc_refused(call, tp->name, e, why);
		return;
	}
	if (!json_count(tasks)) {
		reply_none(call);
		return;
	}
	map = map_new(call, tasks, name);
	if (!map)
		return;
	go_on(map);
	if (call->done)
		return;
	map->parked = true;
	rpc_park(call, RPC_KEY_TASKS, resume_map);
}

/* ---- Tasks ------------------------------------------------------------------------------------
 */

#define ROWS_A_REPLY 500

/* Their numbers when the call came; those that are gone when their turn comes are left out. */
struct listing {
	size_t count, capacity, next;
	uint64_t *at; /* owned */
};

static void drop_listing(struct rpc_call *call)
{
	struct listing *l = call->state;

	if (l)
		free(l->at);
	free(l);
}

static bool add(struct listing *l, const struct list *tasks)
{
	for (const struct list *e = tasks->next; e != tasks; e = e->next) {
		if (l->count == l->capacity) {
			size_t capacity = l->capacity ? 2 * l->capacity : 64;
			uint64_t *at = realloc(l->at, capacity * sizeof(*at));

			if (!at)
				return false;
			l->at = at;
			l->capacity = capacity;
		}
		l->at[l->count++] = list_entry(e, const struct task, link)->number;
	}
	return true;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool collect(struct listing *l, const struct taskpool *tp)
{
	for (unsigned i = 0; i < tp->pool->count; i++)
		if (tp->pool->workers[i]->runner && !add(l, &tp->pool->workers[i]->runner->in_hand))
			return false;
	if (!add(l, &tp->queue))
		return false;
	if (l->count)
		qsort(l->at, l->count, sizeof(*l->at), by_number);
	return true;
}

static void write_rows(struct rpc_call *call, struct listing *l, size_t until)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "tasks");
	jw_array(json);
	for (; l->next < until; l->next++) {
		const struct task *t = task_by_number(l->at[l->next]);

		if (t && !task_has_ended(t))
			rpc_write_task(json, t, false);
	}
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, until < l->count);
}

static void resume_tasks(struct rpc_call *call)
{
	struct listing *l = call->state;
	size_t left = l->count - l->next;

	if (rpc_is_congested(call))
		return;
	write_rows(call, l, l->next + (left < ROWS_A_REPLY ? left : ROWS_A_REPLY));
	if (!call->done)
		rpc_park(call, RPC_KEY_NEXT, resume_tasks);
}

void rpc_task_tasks(struct rpc_call *call)
{
	const char *name = NULL;
	struct taskpool *tp;
	struct listing *l;

	params_string(&call->params, "pool", true, &name);
	if (!rpc_params_done(call))
		return;
	tp = rpc_taskpool(call, name);
	if (!tp)
		return;
	l = calloc(1, sizeof(*l));
	call->state = l;
	call->drop = drop_listing;
	if (!l || !collect(l, tp))
		rpc_no_memory(call);
	else if (call->message.more)
		resume_tasks(call);
	else
		write_rows(call, l, l->count);
}
