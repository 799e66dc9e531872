/* Queues without a process, a socket or a wait: who is served, when, and with what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/queue_null.h"

static struct queue *q;
static struct queue_settings set;
/* What was answered, in its order: "a=ok b=full c:item ". */
static char said[65536];

/* An asker: his name is the request's arg. */
static void say(const struct queue_request *r)
{
	static const char *const words[QUEUE_ERRORS] = {
		[QUEUE_OK] = "ok",
		[QUEUE_FULL] = "full",
		[QUEUE_EMPTY] = "empty",
		[QUEUE_TIMED_OUT] = "over",
		[QUEUE_NO_QUEUE] = "gone",
		[QUEUE_WRONG_KIND] = "kind",
		[QUEUE_TOO_BIG] = "big",
		[QUEUE_TOO_MANY_DONE] = "done",
		[QUEUE_UNAVAILABLE] = "away",
	};
	size_t n = strlen(said);

	n += (size_t)snprintf(said + n, sizeof(said) - n, "%s", (const char *)r->arg);
	if (r->error != QUEUE_OK || r->verb != QUEUE_GET) {
		snprintf(said + n, sizeof(said) - n, "=%s ", words[r->error]);
		return;
	}
	list_foreach(e, next, &r->items)
	{
		const struct queue_item *item = list_entry(e, struct queue_item, link);

		n += (size_t)snprintf(said + n, sizeof(said) - n, ":%.*s", (int)item->len,
				      item->text);
	}
	snprintf(said + n, sizeof(said) - n, " ");
}

static void on_answered(struct queue_request *r)
{
	say(r);
	queue_request_free(r);
}

static struct queue_request *request(enum queue_verb verb, const char *who)
{
	struct queue_request *r = queue_request_new(verb, on_answered, (void *)(uintptr_t)who);

	assert_non_null(r);
	return r;
}

static void add(struct queue_request *r, const char *text)
{
	struct queue_item *item = queue_item_new(strlen(text));

	assert_non_null(item);
	memcpy(item->text, text, item->len);
	list_append(&r->items, &item->link);
}

/* Asks; the number of a request that waits, 0 for one that was answered. */
static uint64_t ask(struct queue_request *r)
{
	if (!queue_ask(q, r))
		return r->id;
	on_answered(r);
	return 0;
}

static uint64_t put(const char *who, const char *text)
{
	struct queue_request *r = request(QUEUE_PUT, who);

	add(r, text);
	return ask(r);
}

static uint64_t put_for(const char *who, const char *text, int64_t usec)
{
	struct queue_request *r = request(QUEUE_PUT, who);

	add(r, text);
	r->timeout = usec;
	return ask(r);
}

static uint64_t get(const char *who)
{
	return ask(request(QUEUE_GET, who));
}

static uint64_t get_for(const char *who, int64_t usec)
{
	struct queue_request *r = request(QUEUE_GET, who);

	r->timeout = usec;
	return ask(r);
}

static void get_at_once(const char *who)
{
	struct queue_request *r = request(QUEUE_GET, who);

	r->block = false;
	assert_int_equal(ask(r), 0);
}

static void put_at_once(const char *who, const char *text)
{
	struct queue_request *r = request(QUEUE_PUT, who);

	r->block = false;
	add(r, text);
	assert_int_equal(ask(r), 0);
}

/* What has been said since the last time. */
static void expect(const char *text)
{
	fake_loop_turn();
	assert_string_equal(said, text);
	said[0] = '\0';
}

static void make(const struct queue_kind *kind, uint32_t maxsize)
{
	set = (struct queue_settings){ .maxsize = maxsize, .max_bytes = 1000, .max_deliveries = 3 };
	assert_int_equal(queue_create("q", kind, &set, &q), QUEUE_OK);
}

static int set_up(void **state)
{
	(void)state;
	said[0] = '\0';
	memset(&queue_null_state, 0, sizeof(queue_null_state));
	queue_init(0xabc);
	return 0;
}

/* Nothing may be left of any of it. */
static int tear_down(void **state)
{
	(void)state;
	queue_close();
	fake_loop_turn();
	assert_int_equal(queue_count(), 0);
	assert_true(queue_charge(CREW_QUEUE_BYTES_MAX)); /* all memory was given back */
	queue_discharge(CREW_QUEUE_BYTES_MAX);
	return 0;
}

static uint64_t size_of_queue(void)
{
	struct queue_stat stat;

	q->kind->stat(q, &stat);
	return stat.size;
}

/* ---- Python's rules --------------------------------------------------------------------------- */

static void test_first_in_first_out(void **state)
{
	(void)state;
	make(&queue_manager, 0);
	put("a", "1");
	put("a", "2");
	get("b");
	put("a", "3");
	get("b");
	get("b");
	expect("a=ok a=ok b:1 a=ok b:2 b:3 ");
}

static void test_without_waiting(void **state)
{
	(void)state;
	make(&queue_manager, 1);
	get_at_once("a");
	assert_int_equal(get_for("b", 0), 0);
	put_at_once("c", "1");
	put_at_once("d", "2");
	assert_int_equal(put_for("e", "3", 0), 0);
	get_at_once("f");
	expect("a=empty b=empty c=ok d=full e=full f:1 ");
	assert_int_equal(q->waiting_count[QUEUE_GET] + q->waiting_count[QUEUE_PUT], 0);
}

static void test_getters_wait_in_order(void **state)
{
	(void)state;
	make(&queue_manager, 0);
	assert_true(get("a") && get("b") && get("c"));
	put("x", "1");
	put("x", "2");
	expect("x=ok x=ok a:1 b:2 ");
	assert_int_equal(q->waiting_count[QUEUE_GET], 1);
	put("x", "3");
	expect("x=ok c:3 ");
}

static void test_putters_wait_in_order(void **state)
{
	(void)state;
	make(&queue_manager, 1);
	put("a", "1");
	assert_true(put("b", "2") && put("c", "3"));
	put_at_once("late", "4"); /* no room, and others were first */
	get("x");
	get("x");
	get("x");
	expect("a=ok late=full x:1 x:2 x:3 b=ok c=ok ");
}

static void test_timeouts_of_many(void **state)
{
	(void)state;
	make(&queue_manager, 1);
	put("a", "1");
	put_for("b", "2", 3 * USEC_PER_SEC);
	put_for("c", "3", 1 * USEC_PER_SEC);
	put_for("d", "4", 2 * USEC_PER_SEC);
	expect("a=ok ");
	fake_loop_advance(1 * USEC_PER_SEC);
	expect("c=full ");
	get("x");
	expect("x:1 b=ok "); /* whose time is not over yet */
	fake_loop_advance(1 * USEC_PER_SEC);
	expect("d=full ");
	fake_loop_advance(10 * USEC_PER_SEC);
	expect("");
	get_for("y", USEC_PER_SEC);
	get_for("z", USEC_PER_SEC);
	expect("y:2 ");
	fake_loop_advance(USEC_PER_SEC);
	expect("z=empty ");
}

/* A time that is over frees the way for those behind. */
static void test_a_large_item_holds_up_those_behind(void **state)
{
	char large[901];

	(void)state;
	memset(large, '7', 900);
	large[900] = '\0';
	make(&queue_manager, 0);
	put("a", large);
	put_for("big", large, USEC_PER_SEC);
	put("small", "1");
	expect("a=ok ");
	fake_loop_advance(USEC_PER_SEC);
	expect("big=full small=ok ");
}

static void test_a_thousand_waiters(void **state)
{
	static char names[1000][8], expected[16000];
	uint64_t ids[1000];

	(void)state;
	make(&queue_manager, 0);
	for (int i = 0; i < 1000; i++) {
		sprintf(names[i], "%d", i);
		ids[i] = get_for(names[i], (i + 1) * USEC_PER_SEC);
	}
	for (int i = 0; i < 1000; i += 2)
		queue_drop(ids[i]);
	queue_drop(ids[0]); /* it is simply not there */
	for (int i = 0; i < 500; i++) {
		put("p", "0");
		sprintf(expected + strlen(expected), "p=ok ");
	}
	for (int i = 1; i < 1000; i += 2)
		sprintf(expected + strlen(expected), "%d:0 ", i);
	expect(expected);
	assert_int_equal(size_of_queue(), 0);
}

static void test_join_and_task_done(void **state)
{
	(void)state;
	make(&queue_manager, 0);
	ask(request(QUEUE_JOIN, "j"));
	expect("j=ok "); /* nothing to wait for */
	put("a", "1");
	put("a", "2");
	ask(request(QUEUE_JOIN, "k"));
	get("x");
	get("x");
	ask(request(QUEUE_TASK_DONE, "d"));
	expect("a=ok a=ok x:1 x:2 d=ok ");
	ask(request(QUEUE_TASK_DONE, "d"));
	expect("d=ok k=ok ");
	ask(request(QUEUE_TASK_DONE, "d"));
	expect("d=done ");
}

static void test_join_ends_with_its_time(void **state)
{
	struct queue_request *r = request(QUEUE_JOIN, "j");

	(void)state;
	make(&queue_manager, 0);
	put("a", "1");
	r->timeout = USEC_PER_SEC;
	ask(r);
	fake_loop_advance(USEC_PER_SEC);
	expect("a=ok j=over ");
}

static void is_full(bool full, uint64_t size)
{
	struct queue_request *r = request(QUEUE_SIZE, "s");

	assert_true(queue_ask(q, r));
	assert_int_equal(r->full, full);
	assert_int_equal(r->size, size);
	queue_request_free(r);
}

static void test_size_and_full_are_exact(void **state)
{
	char large[999];

	(void)state;
	make(&queue_manager, 2);
	is_full(false, 0);
	put("a", "1");
	is_full(false, 1);
	put("a", "2");
	is_full(true, 2);
	get("x");
	is_full(false, 1);
	memset(large, '7', 998);
	large[998] = '\0';
	put("a", large);
	get("x");
	get("x");
	put("a", "11");
	put("a", large); /* 1000 bytes together: maxsize and max-bytes */
	is_full(true, 2);
	put("w", "3");
	set.maxsize = 0;
	set.max_bytes = 2000;
	queue_change(q, &set);
	is_full(false, 3);
	set.maxsize = 3;
	queue_change(q, &set);
	is_full(true, 3);
}

/* ---- bounds ----------------------------------------------------------------------------------- */

static void test_an_item_of_exactly_the_bound(void **state)
{
	char text[1002];

	(void)state;
	make(&queue_manager, 0);
	memset(text, '1', 1001);
	text[1001] = '\0';
	put("over", text);
	text[1000] = '\0';
	put("just", text);
	put("more", "1");
	expect("over=big just=ok ");
	get_at_once("x");
	fake_loop_turn();
	assert_non_null(strstr(said, "more=ok"));
}

static void test_a_bound_that_sinks(void **state)
{
	char large[501];

	(void)state;
	make(&queue_manager, 5);
	memset(large, '1', 500);
	large[500] = '\0';
	for (int i = 0; i < 4; i++)
		put("a", "1");
	put("b", "2");
	put("c", large); /* waits: there are five */
	expect("a=ok a=ok a=ok a=ok b=ok ");
	set.maxsize = 2;
	set.max_bytes = 100; /* now it will never fit */
	queue_change(q, &set);
	expect("c=big ");
	for (int i = 0; i < 3; i++)
		get("x");
	put_at_once("d", "3");
	expect("x:1 x:1 x:1 d=full "); /* still two */
	get("x");
	expect("x:1 ");
	put_at_once("d", "3");
	get("x");
	get("x");
	expect("d=ok x:2 x:3 ");
	set.maxsize = 1;
	queue_change(q, &set);
	put("e", "1");
	put("f", "2");
	put("g", "3");
	expect("e=ok ");
	set.maxsize = 2;
	queue_change(q, &set); /* room for one more */
	expect("f=ok ");
}

static void test_memory_of_all_queues(void **state)
{
	struct queue *other;

	(void)state;
	make(&queue_manager, 0);
	assert_int_equal(queue_create("other", &queue_manager, &set, &other), QUEUE_OK);
	queue_charge_anyway(CREW_QUEUE_BYTES_MAX - 100);
	put("a", "1");
	put("b", "2");
	put_at_once("c", "3");
	expect("a=ok c=full ");
	queue_discharge(64); /* somebody else's item has gone */
	expect("b=ok ");
	queue_discharge(CREW_QUEUE_BYTES_MAX - 164);
}

/* So much as may wait, waits; more is refused at once. */
static void test_memory_of_those_who_wait(void **state)
{
	static char large[1000 * 1000 + 1];
	uint64_t last = 0;
	int n = 0;

	(void)state;
	make(&queue_manager, 1);
	set.max_bytes = 1000 * 1000;
	queue_change(q, &set);
	memset(large, '7', sizeof(large) - 1);
	put("a", "1");
	expect("a=ok ");
	for (uint64_t id = 1; id && n < 1000; n++) {
		id = put("w", large);
		last = id ? id : last;
	}
	expect("w=full ");
	assert_int_equal(n, CREW_QUEUE_HELD_MAX / (1000 * 1000 + QUEUE_ITEM_KEEP) + 1);
	queue_drop(last);
	assert_true(put("w", large));
	get("x");
	expect("x:1 w=ok ");
	queue_delete(q);
	fake_loop_turn();
	said[0] = '\0';
}

static void test_many_at_once(void **state)
{
	struct queue_request *r = request(QUEUE_PUT, "many");

	(void)state;
	make(&queue_manager, 3);
	for (int i = 1; i <= 5; i++)
		add(r, (const char[]){ (char)('0' + i), '\0' });
	r->timeout = USEC_PER_SEC;
	ask(r);
	put("after", "6");
	get("x");
	expect("x:1 "); /* none came between: 2 3 4 are there */
	r = request(QUEUE_GET, "y");
	r->max = 2;
	r->max_bytes = 1000;
	ask(r);
	expect("y:2:3 many=ok after=ok ");
	get("x");
	get("x");
	get("x");
	expect("x:4 x:5 x:6 ");
}

static void on_some_put(struct queue_request *r)
{
	assert_int_equal(r->moved, 2);
	on_answered(r);
}

static void test_some_of_many(void **state)
{
	struct queue_request *r = queue_request_new(QUEUE_PUT, on_some_put, "many");

	(void)state;
	make(&queue_manager, 2);
	add(r, "1");
	add(r, "2");
	add(r, "3");
	r->timeout = USEC_PER_SEC;
	ask(r);
	fake_loop_advance(USEC_PER_SEC);
	expect("many=full ");
	assert_int_equal(size_of_queue(), 2);
}

static void test_many_take_no_more_text_than_they_may(void **state)
{
	struct queue_request *r = request(QUEUE_GET, "x");

	(void)state;
	make(&queue_manager, 0);
	put("a", "1111");
	put("a", "22");
	put("a", "3");
	r->max = 10;
	r->max_bytes = 3; /* the first comes in any case */
	ask(r);
	r = request(QUEUE_GET, "y");
	r->max = 10;
	r->max_bytes = 3;
	ask(r);
	expect("a=ok a=ok a=ok x:1111 y:22:3 ");
}

/* ---- who leaves ------------------------------------------------------------------------------- */

static void test_who_leaves_is_not_served(void **state)
{
	uint64_t a, b;

	(void)state;
	make(&queue_manager, 1);
	a = get("a");
	b = get("b");
	queue_drop(a);
	put("x", "1");
	expect("x=ok b:1 ");
	put("x", "2");
	a = put("y", "3");
	put("z", "4");
	queue_drop(a);
	queue_drop(b); /* answered long ago */
	get("c");
	get("c");
	expect("x=ok c:2 c:4 z=ok ");
}

/* The item is on its way when its client goes: it returns to the head. */
static void test_an_answer_nobody_heard(void **state)
{
	uint64_t a;

	(void)state;
	make(&queue_manager, 0);
	a = get("a");
	put("x", "1");
	put("x", "2");
	assert_int_equal(size_of_queue(), 1);
	queue_drop(a);
	assert_int_equal(size_of_queue(), 2);
	get("b");
	get("b");
	expect("x=ok x=ok b:1 b:2 ");
}

/* ... and to the one who waits. */
static void test_an_answer_nobody_heard_goes_to_the_next(void **state)
{
	uint64_t a;

	(void)state;
	make(&queue_manager, 0);
	a = get("a");
	get("b");
	put("x", "1");
	queue_drop(a);
	expect("x=ok b:1 ");
}

/* Two who ask again as soon as they are answered take turns. */
static unsigned left;
static void again(struct queue_request *r)
{
	say(r);
	queue_items_free(&r->items);
	if (left-- > 0)
		queue_ask_again(q, r);
	else
		queue_request_free(r);
}

static void test_streams_take_turns(void **state)
{
	(void)state;
	make(&queue_manager, 0);
	left = 6;
	queue_ask_again(q, queue_request_new(QUEUE_GET, again, "a"));
	queue_ask_again(q, queue_request_new(QUEUE_GET, again, "b"));
	for (int i = 1; i <= 8; i++)
		put("x", (const char[]){ (char)('0' + i), '\0' });
	expect("x=ok x=ok x=ok x=ok x=ok x=ok x=ok x=ok a:1 b:2 a:3 b:4 a:5 b:6 a:7 b:8 ");
}

/* ---- leases ----------------------------------------------------------------------------------- */

static const struct queue_lease *lease(struct queue_owner *o, char *name)
{
	struct queue_request *r = request(QUEUE_GET, "l");
	const struct queue_lease *l;

	r->lease = true;
	assert_true(queue_ask(q, r));
	assert_int_equal(r->error, QUEUE_OK);
	l = queue_lease_new(o, r);
	assert_non_null(l);
	if (name)
		queue_lease_name(l, name);
	queue_request_free(r);
	return l;
}

static void test_a_lease_ends_with_its_owner(void **state)
{
	struct queue_owner *o = queue_owner_new(), *p = queue_owner_new();

	(void)state;
	make(&queue_manager, 3);
	put("a", "1");
	put("a", "2");
	put("a", "3");
	lease(o, NULL);
	lease(p, NULL);
	assert_int_equal(queue_lease_item(lease(o, NULL))->deliveries, 1);
	assert_int_equal(size_of_queue(), 0);
	assert_int_equal(q->leased, 3);
	put("a", "4");
	queue_owner_gone(o); /* 1 and 3 are back, in their order, before what came later */
	get("x");
	get("x");
	get("x");
	expect("a=ok a=ok a=ok a=ok x:1 x:3 x:4 ");
	queue_owner_gone(p);
	get("x");
	expect("x:2 ");
	queue_owner_gone(NULL);
}

static void test_done(void **state)
{
	struct queue_owner *o = queue_owner_new();
	char first[QUEUE_LEASE_NAME], second[QUEUE_LEASE_NAME];

	(void)state;
	make(&queue_manager, 0);
	put("a", "1");
	put("a", "2");
	lease(o, first);
	lease(o, second);
	assert_string_not_equal(first, second);
	ask(request(QUEUE_JOIN, "j"));
	assert_true(queue_done(second));
	assert_false(queue_done(second));
	assert_false(queue_done("abc-99"));
	assert_false(queue_done("fff-1")); /* of another manager */
	assert_false(queue_done(""));
	expect("a=ok a=ok ");
	assert_true(queue_done(first));
	expect("j=ok ");
	queue_owner_gone(o);
	assert_int_equal(size_of_queue(), 0);
}

static void test_a_waiter_gets_what_was_given_back(void **state)
{
	struct queue_owner *o = queue_owner_new();

	(void)state;
	make(&queue_manager, 0);
	put("a", "1");
	lease(o, NULL);
	get("x");
	queue_owner_gone(o);
	expect("a=ok x:1 ");
}

static void take_and_die(uint32_t deliveries)
{
	struct queue_owner *o = queue_owner_new();

	assert_int_equal(queue_lease_item(lease(o, NULL))->deliveries, deliveries);
	queue_owner_gone(o);
}

static void test_dead_letters(void **state)
{
	struct queue *own, *dead;

	(void)state;
	make(&queue_manager, 0);
	own = q;
	put("a", "1");
	for (uint32_t i = 1; i <= 4; i++) /* no such queue: it stays */
		take_and_die(i);
	set.maxsize = 1;
	assert_int_equal(queue_create("dead", &queue_manager, &set, &dead), QUEUE_OK);
	q = dead;
	put("d", "0");
	q = own;
	strcpy(set.dead, "dead");
	queue_change(q, &set);
	take_and_die(5);
	assert_int_equal(size_of_queue(), 0);
	ask(request(QUEUE_JOIN, "j")); /* for this queue the item is done */
	q = dead;
	assert_int_equal(size_of_queue(), 2); /* its bound does not lose the item */
	get("x");
	get("x");
	ask(request(QUEUE_TASK_DONE, "t"));
	ask(request(QUEUE_TASK_DONE, "t"));
	ask(request(QUEUE_TASK_DONE, "t"));
	expect("a=ok d=ok j=ok x:0 x:1 t=ok t=ok t=done ");
}

static void test_leased_items_count_as_bytes(void **state)
{
	struct queue_owner *o = queue_owner_new();
	char text[601], name[QUEUE_LEASE_NAME];

	(void)state;
	make(&queue_manager, 0);
	memset(text, '1', 600);
	text[600] = '\0';
	put("a", text);
	lease(o, name);
	put("b", text);
	expect("a=ok ");
	queue_done(name);
	expect("b=ok ");
	queue_owner_gone(o);
}

/* ---- queues come and go ----------------------------------------------------------------------- */

static void test_names(void **state)
{
	struct queue *again_q;

	(void)state;
	make(&queue_manager, 0);
	assert_int_equal(queue_create("q", &queue_manager, &set, &again_q), QUEUE_EXISTS);
	assert_ptr_equal(queue_find("q"), q);
	assert_null(queue_find("Q"));
	for (int i = 1; i < CREW_QUEUES_MAX; i++) {
		char name[16];

		sprintf(name, "q%d", i);
		assert_int_equal(queue_create(name, &queue_manager, &set, &again_q), QUEUE_OK);
	}
	assert_int_equal(queue_create("more", &queue_manager, &set, &again_q), QUEUE_TOO_MANY);
	queue_delete(q);
	assert_int_equal(queue_create("more", &queue_manager, &set, &again_q), QUEUE_OK);
}

static void test_delete_answers_all(void **state)
{
	struct queue_owner *o = queue_owner_new();
	char name[QUEUE_LEASE_NAME];

	(void)state;
	make(&queue_manager, 2);
	put("a", "1");
	put("a", "2");
	put("b", "3");
	put_for("c", "4", USEC_PER_SEC);
	ask(request(QUEUE_JOIN, "j"));
	lease(o, name);
	queue_delete(q);
	expect("a=ok a=ok b=ok c=gone j=gone ");
	assert_null(queue_find("q"));
	assert_false(queue_done(name));
	queue_owner_gone(o);
	fake_loop_advance(USEC_PER_SEC);
	expect("");
	make(&queue_manager, 2);
	get("x");
	get_for("y", USEC_PER_SEC);
	put("a", "1"); /* x has it, and has not heard of it */
	queue_delete(q);
	expect("a=ok x=gone y=gone ");
}

static void test_a_queue_leaves_when_it_is_empty(void **state)
{
	struct queue_owner *o = queue_owner_new();
	char name[QUEUE_LEASE_NAME];

	(void)state;
	make(&queue_manager, 2);
	put("a", "1");
	put("a", "2");
	put("w", "3");
	lease(o, name);
	expect("a=ok a=ok w=ok ");
	put("v", "4");
	queue_leave(q);
	put("late", "5");
	expect("late=gone v=gone ");
	assert_non_null(queue_find("q"));
	get("x");
	get("x");
	get("y");
	expect("x:2 x:3 ");
	assert_non_null(queue_find("q")); /* one is leased, and may come back */
	queue_done(name);
	expect("y=gone ");
	assert_null(queue_find("q"));
	queue_owner_gone(o);
}

static void test_a_queue_that_may_stay_after_all(void **state)
{
	(void)state;
	make(&queue_manager, 2);
	put("a", "1");
	queue_leave(q);
	queue_return(q);
	get("x");
	put("a", "2");
	expect("a=ok x:1 a=ok ");
	assert_ptr_equal(queue_find("q"), q);
}

static void test_an_empty_queue_leaves_at_once(void **state)
{
	(void)state;
	make(&queue_manager, 2);
	get("x");
	queue_leave(q);
	expect("x=gone ");
	assert_null(queue_find("q"));
}

/* ---- a kind that answers later ---------------------------------------------------------------- */

static void test_answers_that_come_later(void **state)
{
	(void)state;
	make(&queue_null, 0);
	put("a", "1");
	put("b", "2");
	get("c");
	ask(request(QUEUE_SIZE, "s"));
	expect("");
	queue_null_answer(QUEUE_OK, NULL);
	queue_null_answer(QUEUE_UNAVAILABLE, NULL);
	queue_null_answer(QUEUE_OK, "7");
	queue_null_answer(QUEUE_OK, NULL);
	expect("a=ok b=away c:7 s=ok ");
}

static void test_a_kind_that_is_full_for_now(void **state)
{
	(void)state;
	make(&queue_null, 0);
	queue_null_state.full = true;
	put("a", "1");
	put("b", "1");
	put_at_once("c", "1");
	expect("c=full ");
	assert_int_equal(queue_null_state.count, 0);
	queue_null_state.full = false;
	queue_stirred(q);
	assert_int_equal(queue_null_state.count, 2);
	queue_null_answer(QUEUE_OK, NULL);
	queue_null_answer(QUEUE_OK, NULL);
	expect("a=ok b=ok ");
}

static void test_what_a_kind_cannot_do(void **state)
{
	struct queue_request *r = request(QUEUE_GET, "l");

	(void)state;
	make(&queue_null, 0);
	ask(request(QUEUE_JOIN, "j"));
	ask(request(QUEUE_TASK_DONE, "t"));
	r->lease = true;
	ask(r);
	expect("j=kind t=kind l=kind ");
}

static void test_who_leaves_while_a_kind_is_asked(void **state)
{
	uint64_t a, b;

	(void)state;
	make(&queue_null, 0);
	a = get("a");
	b = put("b", "1");
	queue_drop(a);
	queue_drop(b);
	queue_null_answer(QUEUE_OK, "7"); /* nobody is there to have it */
	queue_null_answer(QUEUE_OK, NULL);
	assert_int_equal(queue_null_state.backs, 1);
	queue_complete(a, QUEUE_OK, NULL); /* twice is once */
	expect("");
	queue_null_state.may_cancel = true;
	a = get("a");
	queue_drop(a);
	assert_int_equal(queue_null_state.cancelled, 1);
	queue_null_answer(QUEUE_OK, "8");
	expect("");
}

static void test_a_time_that_is_over_while_a_kind_is_asked(void **state)
{
	(void)state;
	make(&queue_null, 0);
	get_for("a", USEC_PER_SEC);
	fake_loop_advance(USEC_PER_SEC);
	expect(""); /* it may be on its way */
	queue_null_answer(QUEUE_OK, "7");
	expect("a:7 ");
	queue_null_state.may_cancel = true;
	get_for("b", USEC_PER_SEC);
	fake_loop_advance(USEC_PER_SEC);
	expect("b=empty ");
}

static void test_delete_while_a_kind_is_asked(void **state)
{
	uint64_t b;

	(void)state;
	make(&queue_null, 0);
	get("a");
	b = get("b");
	queue_drop(b);
	queue_delete(q);
	expect("a=gone ");
	queue_null_answer(QUEUE_OK, "7");
	queue_null_answer(QUEUE_OK, "8");
	expect("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_in_first_out),
		TEST(test_without_waiting),
		TEST(test_getters_wait_in_order),
		TEST(test_putters_wait_in_order),
		TEST(test_timeouts_of_many),
		TEST(test_a_large_item_holds_up_those_behind),
		TEST(test_a_thousand_waiters),
		TEST(test_join_and_task_done),
		TEST(test_join_ends_with_its_time),
		TEST(test_size_and_full_are_exact),
		TEST(test_an_item_of_exactly_the_bound),
		TEST(test_a_bound_that_sinks),
		TEST(test_memory_of_all_queues),
		TEST(test_memory_of_those_who_wait),
		TEST(test_many_at_once),
		TEST(test_some_of_many),
		TEST(test_many_take_no_more_text_than_they_may),
		TEST(test_who_leaves_is_not_served),
		TEST(test_an_answer_nobody_heard),
		TEST(test_an_answer_nobody_heard_goes_to_the_next),
		TEST(test_streams_take_turns),
		TEST(test_a_lease_ends_with_its_owner),
		TEST(test_done),
		TEST(test_a_waiter_gets_what_was_given_back),
		TEST(test_dead_letters),
		TEST(test_leased_items_count_as_bytes),
		TEST(test_names),
		TEST(test_delete_answers_all),
		TEST(test_a_queue_leaves_when_it_is_empty),
		TEST(test_a_queue_that_may_stay_after_all),
		TEST(test_an_empty_queue_leaves_at_once),
		TEST(test_answers_that_come_later),
		TEST(test_a_kind_that_is_full_for_now),
		TEST(test_what_a_kind_cannot_do),
		TEST(test_who_leaves_while_a_kind_is_asked),
		TEST(test_a_time_that_is_over_while_a_kind_is_asked),
		TEST(test_delete_while_a_kind_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
