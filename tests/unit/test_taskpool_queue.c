/* Pools whose tasks come from a queue: how many are taken, and what becomes of each. No process, no waiting. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "tests/unit/fake_tasks.h"
#include "tests/unit/queue_null.h"

#define SEC USEC_PER_SEC

static struct queue *q, *dead;

static struct queue *make_queue(const char *name, const struct queue_kind *kind, const char *box)
{
	struct queue_settings set = { .max_bytes = 1000000, .max_deliveries = 3 };
	struct queue *made;

	strcpy(set.dead, box);
	assert_int_equal(queue_create(name, kind, &set, &made), QUEUE_OK);
	return made;
}

/* The pool of `setup`, and its queue, which is made first. */
static void begin_with(const struct queue_kind *kind)
{
	start_pool();
	queue_null_state = (struct queue_null){ 0 };
	dead = make_queue("dead", &queue_manager, "");
	q = make_queue("q", kind, "dead");
	setup.queue = "q";
	reload_pool();
	all_up();
	fake_turn();
}

static void begin(uint32_t workers)
{
	usual(CONF_TASKS_LINES, workers);
	begin_with(&queue_manager);
}

/* It dies of what it has been asked. */
static void dies_of_it(unsigned number)
{
	fake_has_read_all(pipe_of(number));
	fake_killed(w_of(number), SIGKILL);
	fake_turn();
}

static void answered(struct queue_request *r)
{
	queue_request_free(r);
}

static void put_json(const char *text)
{
	struct queue_request *r = queue_request_new(QUEUE_PUT, answered, NULL);
	struct queue_item *item = queue_item_new(strlen(text));

	assert_non_null(r);
	assert_non_null(item);
	memcpy(item->text, text, item->len);
	list_append(&r->items, &item->link);
	assert_true(queue_ask(q, r));
	assert_int_equal(r->error, QUEUE_OK);
	queue_request_free(r);
}

static void put(const char *arg)
{
	char text[64];

	snprintf(text, sizeof(text), "\"%s\"", arg);
	put_json(text);
	fake_turn();
}

static struct queue_stat stat_of(const struct queue *queue)
{
	struct queue_stat stat;

	queue->kind->stat(queue, &stat);
	return stat;
}

/* All that is in a queue, taken out: "a b c". */
static const char *contents(struct queue *queue)
{
	static char text[1024];
	size_t at = 0;

	text[0] = '\0';
	while (stat_of(queue).size) {
		struct queue_request *r = queue_request_new(QUEUE_GET, answered, NULL);
		const struct queue_item *item;

		assert_non_null(r);
		assert_true(queue_ask(queue, r));
		item = list_entry(r->items.next, const struct queue_item, link);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s", at ? " " : "",
				       (int)item->len, item->text);
		queue_request_free(r);
	}
	return text;
}

#define assert_counts(waits, lent, left)                                                           \
	do {                                                                                       \
		assert_int_equal(stat_of(q).size, waits);                                          \
		assert_int_equal(q->leased, lent);                                                 \
		assert_int_equal(stat_of(q).unfinished, left);                                     \
	} while (0)

/* ---- how many are taken ----------------------------------------------------------------------- */

static void as_they_come(void **state)
{
	(void)state;
	begin(1);
	assert_int_equal(q->waiting_count[QUEUE_GET], 1);
	put("a");
	assert_string_equal(hand_of(1), "a");
	assert_counts(0, 1, 1);
	assert_int_equal(q->waiting_count[QUEUE_GET], 0);
	fake_says(pipe_of(1), "A\n");
	fake_turn();
	assert_counts(0, 0, 0);
	assert_int_equal(q->waiting_count[QUEUE_GET], 1);
	assert_int_equal(task_count(), 0);
}

static void no_more_than_hands(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 2);
	setup.prefetch = 2;
	begin_with(&queue_manager);
	for (const char *c = "abcdefg"; *c; c++)
		put((char[]){ *c, '\0' });
	assert_string_equal(hand_of(1), "a c");
	assert_string_equal(hand_of(2), "b d");
	assert_counts(3, 4, 7);
	assert_int_equal(the_pool()->queued, 0);
	fake_says(pipe_of(2), "B\n");
	fake_turn();
	assert_string_equal(hand_of(2), "d e");
	assert_counts(2, 4, 6);
}

static void nobody_is_up_yet(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 2);
	start_pool();
	q = make_queue("q", &queue_manager, "");
	setup.queue = "q";
	reload_pool();
	put("a");
	assert_counts(1, 0, 1);
	up(2);
	fake_turn();
	assert_string_equal(hand_of(2), "a");
}

static void own_tasks_come_first(void **state)
{
	static struct caller a, b;

	(void)state;
	begin(1);
	submit(&a, "a");
	assert_int_equal(q->waiting_count[QUEUE_GET], 0);
	submit(&b, "b");
	put("c");
	fake_says(pipe_of(1), "A\n");
	fake_turn();
	assert_string_equal(hand_of(1), "b");
	assert_counts(1, 0, 1);
	fake_says(pipe_of(1), "B\n");
	fake_turn();
	assert_string_equal(hand_of(1), "c");
}

static void grows_for_what_waits(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 4);
	setup.min_workers = 0;
	begin_with(&queue_manager);
	assert_int_equal(crew_pool("p")->count, 0);
	put("a");
	assert_int_equal(crew_pool("p")->count, 1);
	put("b");
	put("c");
	assert_counts(2, 1, 3); /* one is what it grows for, the others stay where they are */
	fake_turn();
	all_up();
	fake_turn();
	all_up();
	fake_turn();
	all_up();
	fake_turn();
	assert_counts(0, 3, 3);
	assert_int_equal(crew_pool("p")->count, 3);
}

static void does_not_start_before_its_time(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 2);
	setup.min_workers = 0;
	setup.after = "first";
	begin_with(&queue_manager);
	put("a");
	assert_counts(1, 0, 1);
	fake_exec(crew_worker("first-1"));
	pool_mark(crew_pool("p"));
	fake_turn();
	assert_counts(0, 1, 1);
}

/* ---- what becomes of them --------------------------------------------------------------------- */

static void failed_ones_go_to_the_dead(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.retries = 1;
	begin_with(&queue_manager);
	put("a");
	dies_of_it(1);
	assert_counts(0, 1, 1);
	fake_advance(SEC);
	up(1);
	assert_string_equal(hand_of(1), "a");
	dies_of_it(1);
	assert_counts(0, 0, 0);
	assert_string_equal(contents(dead), "\"a\"");
	assert_int_equal(the_pool()->failed, 1);
}

static void or_are_dropped(void **state)
{
	struct queue_settings none = { .max_bytes = 1000, .max_deliveries = 3 };

	(void)state;
	begin(1);
	queue_change(q, &none);
	put("a");
	dies_of_it(1);
	assert_counts(0, 0, 0);
	assert_int_equal(stat_of(dead).size, 0);
	assert_int_equal(task_count(), 0);
}

static void what_is_no_task(void **state)
{
	static const char *const bad[] = {
		"7",	     "null",	  "{\"method\":\"m\"}", "[1]",
		"{\"x\":1}", "\"a\\nb\"", "\"a\\u0000\"",	"[1e999]"
	};

	(void)state;
	begin(1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		put_json(bad[i]);
	put("good");
	assert_string_equal(hand_of(1), "good");
	assert_counts(0, 1, 1);
	assert_string_equal(contents(dead), "7 null {\"method\":\"m\"} [1] {\"x\":1} \"a\\nb\" "
					    "\"a\\u0000\" [1e999]");
	assert_int_equal(the_pool()->failed, 8);
	assert_int_equal(the_pool()->accepted, 9);
}

static void nobody_could_do_it(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.min_workers = 0;
	setup.restart_limit = 1;
	begin_with(&queue_manager);
	put("a");
	put("b");
	fake_exec_fails(w_of(1), 2);
	fake_advance(SEC);
	fake_exec_fails(w_of(1), 2);
	fake_turn();
	assert_worker(1, WORKER_FAILED);
	assert_counts(2, 0, 2);
	fake_advance(2 * SEC); /* by hand there is no need to wait for the time to try again */
	worker_start(w_of(1));
	fake_turn();
	assert_counts(2, 0, 2);
	up(1);
	assert_string_equal(hand_of(1), "a");
	dies_of_it(1);
	assert_string_equal(contents(q), "\"b\"");
}

/* However soon a worker that has failed is dropped: items alone do not have one started again and again. */
static void nobody_can_be_started(void **state)
{
	unsigned spawns = 0;

	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.min_workers = 0;
	setup.restart_limit = 1;
	setup.idle_timeout = 0;
	begin_with(&queue_manager);
	put("a");
	for (int i = 0; i < 1000; i++) {
		if (crew_pool("p")->count && w_of(1)->state == WORKER_STARTING) {
			fake_exec_fails(w_of(1), 2);
			spawns++;
		}
		fake_advance(SEC / 10);
		assert_counts(1 - q->leased, q->leased, 1);
	}
	assert_in_range(spawns, 6, 9); /* two in each 30 s */
}

static void terminated(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 2);
	setup.prefetch = 2;
	begin_with(&queue_manager);
	for (const char *c = "abcdefg"; *c; c++)
		put((char[]){ *c, '\0' });
	taskpool_terminate(the_pool());
	fake_turn();
	assert_counts(3, 4, 7); /* they may still be at work */
	fake_killed(w_of(2), SIGTERM);
	fake_killed(w_of(1), SIGTERM);
	fake_turn();
	assert_counts(7, 0, 7);
	assert_string_equal(contents(q), "\"a\" \"b\" \"c\" \"d\" \"e\" \"f\" \"g\"");
	assert_int_equal(q->waiting_count[QUEUE_GET], 0);
}

static void closed(void **state)
{
	(void)state;
	begin(1);
	put("a");
	put("b");
	taskpool_close(the_pool());
	fake_turn();
	fake_says(pipe_of(1), "A\n");
	fake_turn();
	assert_counts(1, 0, 1);
	assert_int_equal(q->waiting_count[QUEUE_GET], 0);
}

static void stopped_with_one_that_waits(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.min_workers = 0;
	begin_with(&queue_manager);
	put("a");
	assert_int_equal(the_pool()->queued, 1);
	pool_want(crew_pool("p"), false);
	fake_turn();
	assert_int_equal(the_pool()->queued, 0);
	assert_counts(1, 0, 1);
}

static void cancelled_by_hand(void **state)
{
	(void)state;
	begin(1);
	put("a");
	taskpool_cancel(runner_head(w_of(1)->runner));
	fake_turn();
	assert_counts(0, 0, 0);
	assert_string_equal(contents(dead), "\"a\"");
}

/* ---- another definition ----------------------------------------------------------------------- */

static void another_queue(void **state)
{
	struct queue *other;

	(void)state;
	begin(1);
	put("a");
	other = make_queue("other", &queue_manager, "");
	setup.queue = "other";
	reload_pool();
	fake_says(pipe_of(1), "A\n");
	fake_turn();
	assert_counts(0, 0, 0); /* what was taken from the old one is done there */
	assert_int_equal(q->waiting_count[QUEUE_GET], 0);
	assert_int_equal(other->waiting_count[QUEUE_GET], 1);
	setup.queue = NULL;
	reload_pool();
	assert_int_equal(other->waiting_count[QUEUE_GET], 0);
}

static void another_kind_or_none(void **state)
{
	(void)state;
	begin(1);
	put("a");
	put("b");
	setup.plain = true;
	reload_pool();
	fake_turn();
	assert_counts(2, 0, 2);
	setup.plain = false;
	reload_pool();
	fake_killed(w_of(1), SIGTERM);
	fake_advance(SEC);
	all_up();
	fake_turn();
	assert_string_equal(hand_of(1), "a");
	assert_counts(1, 1, 2);
}

static void no_such_queue(void **state)
{
	(void)state;
	begin(1);
	put("a");
	queue_delete(q);
	fake_says(pipe_of(1), "A\n");
	fake_turn();
	q = make_queue("q", &queue_manager, "");
	put("b");
	assert_counts(1, 0, 1);
	fake_advance(SEC);
	assert_string_equal(hand_of(1), "b");
}

/* Of a queue in its memory nothing is left, and the task in hand is nobody's; what comes then is done. */
static void next_manager_goes_on(void **state)
{
	(void)state;
	begin(1);
	put("a");
	put("b");
	next_manager();
	q = make_queue("q", &queue_manager, "");
	put("c");
	fake_advance(SEC);
	assert_counts(1, 0, 1); /* the worker still owes an answer */
	fake_says(pipe_of(1), "A\n");
	assert_worker(1, WORKER_STOPPING); /* part of a request may be in its pipe */
	fake_exit(w_of(1), 0);
	fake_turn();
	up(1);
	assert_string_equal(hand_of(1), "c");
	assert_counts(0, 1, 1);
}

/* ---- a kind that has to ask somebody, and has no leases --------------------------------------- */

static void begin_null(uint32_t workers)
{
	usual(CONF_TASKS_LINES, workers);
	begin_with(&queue_null);
	assert_int_equal(queue_null_state.count, 1);
}

static void answers_later(void **state)
{
	(void)state;
	begin_null(2);
	queue_null_answer(QUEUE_OK, "\"a\"");
	fake_turn();
	assert_string_equal(hand_of(1), "a");
	assert_int_equal(queue_null_state.count, 1); /* asked again: there is room for one more */
	queue_null_answer(QUEUE_OK, "\"b\"");
	fake_turn();
	assert_int_equal(queue_null_state.count, 0);
	fake_says(pipe_of(1), "A\n");
	fake_turn();
	assert_int_equal(queue_null_state.count, 1);
	assert_int_equal(queue_null_state.backs, 0);
	assert_int_equal(q->leased, 1);
	dies_of_it(2);
	assert_string_equal(contents(dead), "\"b\"");
}

static void too_late_for_it(void **state)
{
	(void)state;
	begin_null(1);
	taskpool_terminate(the_pool());
	fake_turn();
	queue_null_answer(QUEUE_OK, "\"a\"");
	fake_turn();
	assert_int_equal(queue_null_state.backs, 1);
	assert_int_equal(task_count(), 0);
}

static void away_for_a_while(void **state)
{
	(void)state;
	begin_null(1);
	queue_null_answer(QUEUE_UNAVAILABLE, NULL);
	fake_turn();
	assert_int_equal(queue_null_state.count, 0);
	fake_advance(SEC - 1);
	assert_int_equal(queue_null_state.count, 0);
	fake_advance(1);
	assert_int_equal(queue_null_state.count, 1);
	queue_null_answer(QUEUE_OK, "\"a\"");
	fake_turn();
	assert_string_equal(hand_of(1), "a");
}

/* ---- anything in any order -------------------------------------------------------------------- */

static uint32_t dice;
static unsigned total;

static unsigned roll(unsigned sides)
{
	dice = dice * 1664525u + 1013904223u;
	return (dice >> 8) % sides;
}

/* Each item is in one place: it waits, is on loan, was done, failed, or was no task. */
static void assert_nothing_lost(void)
{
	const struct pool *p = crew_pool("p");
	uint64_t done = p && p->tasks ? p->tasks->succeeded : 0;

	assert_int_equal(stat_of(q).size + q->leased + stat_of(dead).size + done, total);
	assert_int_equal(stat_of(q).unfinished, stat_of(q).size + q->leased);
	if (p && p->tasks && p->tasks->gate != TASKPOOL_TERMINATED)
		assert_int_equal(q->leased, p->tasks->queued + p->tasks->in_hand);
}

static void a_worker_does_something(void)
{
	struct pool *p = crew_pool("p");
	struct worker *w = p && p->count ? p->workers[roll(p->count)] : NULL;

	if (!w || !worker_is_alive(w))
		return;
	if (w->state == WORKER_STARTING)
		fake_exec(w);
	else if (w->state == WORKER_STOPPING || !roll(8))
		fake_killed(w, SIGTERM);
	else if (w->runner && w->runner->channel && runner_head(w->runner))
		fake_says(w->runner->channel, "ok\n");
	else if (w->runner && w->runner->kind && w->runner->kind->per_task)
		fake_exit(w, 0);
	fake_turn();
}

static void open_again(struct pool *p)
{
	if (p->tasks)
		taskpool_open(p->tasks);
	pool_want(p, true);
	for (unsigned i = 0; i < p->count; i++)
		worker_start(p->workers[i]);
	fake_turn();
}

static void somebody_commands(void)
{
	struct pool *p = crew_pool("p");

	switch (roll(5)) {
	case 0:
		pool_scale(p, roll(4));
		break;
	case 1:
		taskpool_close(p->tasks);
		break;
	case 2:
		taskpool_terminate(p->tasks);
		break;
	case 3:
		if (!list_empty(&p->tasks->queue))
			taskpool_cancel(list_entry(p->tasks->queue.next, struct task, link));
		break;
	default:
		open_again(p);
	}
	fake_turn();
}

static void reload_somehow(void)
{
	setup.tasks = roll(3) ? CONF_TASKS_LINES : CONF_TASKS_EXEC;
	setup.workers = 1 + roll(4);
	setup.min_workers = setup.tasks == CONF_TASKS_EXEC ? UINT32_MAX : roll(setup.workers + 1);
	setup.prefetch = setup.tasks == CONF_TASKS_EXEC ? 1 : 1 + roll(3);
	setup.retries = roll(2);
	setup.queue = roll(4) ? "q" : NULL;
	reload_pool();
	fake_turn();
}

static void something_happens(void)
{
	unsigned what = roll(100);

	if (what < 50) {
		a_worker_does_something();
	} else if (what < 85) {
		total++;
		roll(10) ? put("work") : put_json("7");
		fake_turn();
	} else if (what < 92) {
		fake_advance(roll(4) * SEC / 2);
	} else if (what < 97) {
		somebody_commands();
	} else {
		reload_somehow();
	}
}

static void anything_in_any_order(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 100; seed++) {
		dice = seed;
		total = 0;
		begin(3);
		for (unsigned i = 0; i < 300; i++) {
			something_happens();
			assert_nothing_lost();
		}
		usual(CONF_TASKS_LINES, 2);
		setup.queue = "q";
		reload_pool();
		for (unsigned i = 0; i < 3000 && stat_of(q).unfinished; i++) {
			open_again(crew_pool("p"));
			a_worker_does_something();
			fake_advance(SEC / 10);
			assert_nothing_lost();
		}
		assert_counts(0, 0, 0);
	}
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(as_they_come),
		T(no_more_than_hands),
		T(nobody_is_up_yet),
		T(own_tasks_come_first),
		T(grows_for_what_waits),
		T(does_not_start_before_its_time),
		T(failed_ones_go_to_the_dead),
		T(or_are_dropped),
		T(what_is_no_task),
		T(nobody_could_do_it),
		T(nobody_can_be_started),
		T(terminated),
		T(closed),
		T(stopped_with_one_that_waits),
		T(cancelled_by_hand),
		T(another_queue),
		T(another_kind_or_none),
		T(no_such_queue),
		T(next_manager_goes_on),
		T(answers_later),
		T(too_late_for_it),
		T(away_for_a_while),
		T(anything_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
