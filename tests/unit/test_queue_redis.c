/* Queues of the redis kind, without one: what is asked of it, for whom, and what its answers mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "daemon/queue_redis.h"
#include "lib/clock.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/fake_redis.h"

static struct queue *q;
static char said[4096];

static void on_answered(struct queue_request *r)
{
	static const char *const words[QUEUE_ERRORS] = {
		[QUEUE_OK] = "ok",
		[QUEUE_FULL] = "full",
		[QUEUE_EMPTY] = "empty",
		[QUEUE_TIMED_OUT] = "over",
		[QUEUE_NO_QUEUE] = "gone",
		[QUEUE_TOO_BIG] = "big",
		[QUEUE_UNAVAILABLE] = "away",
		[QUEUE_TOO_MANY_DONE] = "done",
	};
	size_t n = strlen(said);

	n += (size_t)snprintf(said + n, sizeof(said) - n, "%s=%s", (const char *)r->arg,
			      words[r->error]);
	if (r->verb == QUEUE_SIZE && r->error == QUEUE_OK)
		n += (size_t)snprintf(said + n, sizeof(said) - n, "%d", (int)r->size);
	list_foreach(e, next, &r->items)
	{
		const struct queue_item *item = list_entry(e, struct queue_item, link);

		if (r->verb == QUEUE_GET)
			n += (size_t)snprintf(said + n, sizeof(said) - n, ":%.*s", (int)item->len,
					      item->text);
	}
	snprintf(said + n, sizeof(said) - n, " ");
	queue_request_free(r);
}

static struct queue_request *request(enum queue_verb verb, const char *who, int64_t timeout)
{
	struct queue_request *r = queue_request_new(verb, on_answered, (void *)(uintptr_t)who);

	assert_non_null(r);
	r->timeout = timeout;
	return r;
}

static uint64_t ask(struct queue_request *r)
{
	if (!queue_ask(q, r))
		return r->id;
	on_answered(r);
	return 0;
}

static uint64_t put(const char *who, const char *text, int64_t timeout)
{
	struct queue_request *r = request(QUEUE_PUT, who, timeout);
	struct queue_item *item = queue_item_new(strlen(text));

	assert_non_null(item);
	memcpy(item->text, text, item->len);
	list_append(&r->items, &item->link);
	return ask(r);
}

static uint64_t get(const char *who, int64_t timeout)
{
	return ask(request(QUEUE_GET, who, timeout));
}

static void expect(const char *text)
{
	fake_loop_turn();
	assert_string_equal(said, text);
	said[0] = '\0';
}

/* The next command is this, and the answer to it that. */
static void exchange(const char *command, const char *answer)
{
	fake_loop_turn();
	assert_string_equal(fake_redis_sent(FAKE_LINK), command);
	fake_redis_answer(FAKE_LINK, answer);
}

static void nothing_sent(void)
{
	fake_loop_turn();
	assert_string_equal(fake_redis_sent(FAKE_LINK), "");
}

static int setup(void **state)
{
	static const struct queue_backend backend = { .url = "unix:///nowhere" };
	struct queue_settings set = {
		.maxsize = 2, .max_bytes = 1000, .max_deliveries = 3, .backend = &backend
	};

	(void)state;
	said[0] = '\0';
	queue_init(1);
	return queue_create("q", &queue_redis, &set, &q) == QUEUE_OK ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	queue_close();
	fake_loop_turn();
	return fake_redis_there(FAKE_LINK) || fake_redis_there(FAKE_BELL);
}

#define ME "000000000000cafe"

static void up(void)
{
	fake_redis_up(FAKE_LINK);
	exchange("recover " ME, "0 0 0");
	nothing_sent();
}

static void test_put_and_get(void **state)
{
	(void)state;
	put("early", "1", 0); /* the first attempt is under way: it has to be heard */
	expect("");
	fake_redis_up(FAKE_LINK);
	exchange("recover " ME, "0 0 0");
	exchange("put 1 2 1000 1", "1 1 1 1 0");
	expect("early=ok ");
	get("g", 0);
	exchange("get " ME " 1 262144 1048576", "0 1 1 '5-1' 1 '1'");
	expect("g=ok:1 "); /* told first, acknowledged then */
	exchange("ack 0 5-1", "0 0 1");
	nothing_sent();
}

static void test_one_script_serves_many(void **state)
{
	(void)state;
	up();
	put("a", "1", -1);
	put("b", "2", 0);
	put("c", "3", -1);
	put("d", "4", 0);
	exchange("put 1 2 1000 1 2 3 4", "2 2 2 2 1");
	expect("a=ok b=ok d=full ");
	assert_int_equal(q->waiting_count[QUEUE_PUT], 1);
	get("g", -1);
	get("h", -1);
	exchange("get " ME " 2 262144 1048576", "0 2 2 '1-0' 1 '1' '2-0' 1 '2'");
	expect("g=ok:1 h=ok:2 ");
	/* there is room: the one who waits is asked about again */
	exchange("ack 0 1-0 0 2-0", "0 0 2");
	exchange("put 2 2 1000 3", "1 3 3 1 0");
	expect("c=ok ");
}

static void test_waits_for_the_bell(void **state)
{
	uint64_t id;

	(void)state;
	up();
	id = get("g", -1);
	exchange("get " ME " 1 262144 1048576", "0 0 0");
	nothing_sent();
	assert_true(fake_redis_there(FAKE_BELL));
	fake_redis_up(FAKE_BELL);
	assert_string_equal(fake_redis_sent(FAKE_BELL), "SUBSCRIBE crewd:{q}");
	fake_redis_answer(FAKE_BELL, "'subscribe' 'q' 1");
	exchange("get " ME " 1 262144 1048576", "0 0 0"); /* nobody listened until then */
	fake_redis_message("r");
	nothing_sent();
	fake_redis_message("i");
	exchange("get " ME " 1 262144 1048576", "0 0 0");
	fake_redis_message("i");
	fake_loop_turn();
	queue_drop(id); /* its item comes, and goes back */
	exchange("get " ME " 1 262144 1048576", "0 0 0 '1-0' 1 '7'");
	exchange("release " ME " 0 1-0", "1 1 1");
	expect("");
}

static void test_time_is_over(void **state)
{
	(void)state;
	up();
	get("g", 1000);
	put("p", "1", 1000);
	exchange("put 1 2 1000 1", "2 9 9 0 1");
	fake_loop_turn();
	fake_loop_advance(2000);
	expect("p=full "); /* the get is with redis */
	exchange("get " ME " 1 262144 1048576", "0 0 0");
	expect("g=empty ");
}

static void test_lost_put_is_asked_about(void **state)
{
	(void)state;
	up();
	put("a", "1", -1);
	put("b", "2", -1);
	put("n", "3", 0);
	fake_loop_turn();
	assert_string_equal(fake_redis_sent(FAKE_LINK), "put 1 2 1000 1 2 3");
	fake_redis_down(FAKE_LINK);
	expect("n=away "); /* nobody knows, and it may not wait */
	get("g", 0);
	expect("g=away ");
	fake_redis_up(FAKE_LINK);
	exchange("check 1", "1 1 1 1");
	expect("a=ok ");
	exchange("recover " ME, "1 1 1");
	exchange("put 2 2 1000 2", "2 2 2 1 0");
	expect("b=ok ");
}

static void test_lost_put_did_not_happen(void **state)
{
	(void)state;
	up();
	put("a", "1", 5000000);
	fake_loop_turn();
	fake_redis_down(FAKE_LINK);
	fake_redis_up(FAKE_LINK);
	exchange("check 1", "-LOADING no");
	fake_loop_turn();
	exchange("recover " ME, "0 0 0");
	nothing_sent(); /* before that is known, nothing is put */
	fake_loop_advance(1000000);
	exchange("check 1", "0 0 0 -1");
	exchange("put 2 2 1000 1", "1 1 1 1 0");
	expect("a=ok ");
}

static void test_lost_put_whose_time_is_over(void **state)
{
	(void)state;
	up();
	put("a", "1", 1000);
	fake_loop_turn();
	fake_redis_down(FAKE_LINK);
	expect("");
	fake_loop_advance(2000);
	expect("a=away ");
	fake_redis_up(FAKE_LINK);
	exchange("check 1", "1 1 1 1");
	exchange("recover " ME, "1 1 1");
	nothing_sent();
}

static void test_errors_of_one_hold_up_no_other(void **state)
{
	(void)state;
	up();
	put("w", "1", -1);
	put("n", "2", 0);
	exchange("put 1 2 1000 1 2", "-OOM no");
	expect("n=away ");
	get("g", 0);
	exchange("get " ME " 1 262144 1048576", "0 0 0 '1-0' 1 '7'");
	expect("g=ok:7 ");
	exchange("ack 0 1-0", "-OOM no");
	nothing_sent();
	fake_loop_advance(1000000); /* both again */
	exchange("put 2 2 1000 1", "1 1 1 1 0");
	exchange("ack 0 1-0", "0 0 0");
	expect("w=ok ");
}

static void test_nonsense(void **state)
{
	static const char *const answers[] = {
		"", "1", "'a' 'b' 'c'", "1 1 -1", "1 1 1", "1 1 1 -1 0", "1 1 1 1 3", "1 1 1 '1' 0"
	};

	(void)state;
	up();
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		char command[64];

		put("p", "1", 0);
		snprintf(command, sizeof(command), "put %zu 2 1000 1", i + 1);
		exchange(command, answers[i]);
		expect("p=away ");
		fake_loop_advance(1000000);
		if (*fake_redis_sent(FAKE_LINK))
			exchange("tick " ME " 60000", "0 0 0");
	}
	put("p", "1", 0);
	exchange("put 9 2 1000 1", "1 1 1 99 0"); /* more than were asked for */
	expect("p=ok ");
	get("g", 0);
	exchange("get " ME " 1 262144 1048576",
		 "0 0 0 '1-0' 1 '{' '2-0' 'x' '3' '3-0' 1 '4' '4-0' 1 '5'");
	expect("g=ok:4 ");
	fake_loop_turn();
	fake_redis_answer(FAKE_LINK, "0 0 0");
}

/* Whatever redis says, a get ends with its time. */
static void test_promises_of_items(void **state)
{
	(void)state;
	up();
	get("n", 0);
	exchange("get " ME " 1 262144 1048576", "9 9 9 '1-0' 1");
	expect("n=empty ");
	get("w", 1000);
	exchange("get " ME " 1 262144 1048576", "9 9 9 '1-0' 1 '{'");
	exchange("ack 1 1-0", "9 9 9");
	fake_loop_turn();
	assert_string_equal(fake_redis_sent(FAKE_LINK), "get " ME " 1 262144 1048576");
	fake_loop_advance(2000);
	fake_redis_answer(FAKE_LINK, "9 9 9 '1-0' 1 7");
	expect("w=empty ");
	nothing_sent();
}

static void test_size_done_join(void **state)
{
	(void)state;
	up();
	ask(request(QUEUE_SIZE, "s", -1));
	ask(request(QUEUE_JOIN, "j", -1));
	exchange("look", "7 70 1");
	expect("s=ok7 ");
	ask(request(QUEUE_TASK_DONE, "a", -1));
	ask(request(QUEUE_TASK_DONE, "b", -1));
	exchange("done 2", "7 70 0 1");
	exchange("look", "7 70 0");
	expect("a=ok b=done j=ok ");
}

static struct queue_owner *owner;
static char lease_name[QUEUE_LEASE_NAME];

static void on_leased(struct queue_request *r)
{
	const struct queue_lease *lease = queue_lease_new(owner, r);

	assert_non_null(lease);
	queue_lease_name(lease, lease_name);
	snprintf(said, sizeof(said), "lent %u", queue_lease_item(lease)->deliveries);
	queue_request_free(r);
}

static void lend(const char *answer)
{
	struct queue_request *r = queue_request_new(QUEUE_GET, on_leased, NULL);

	assert_non_null(r);
	r->lease = true;
	assert_false(queue_ask(q, r));
	exchange("get " ME " 1 262144 1048576", answer);
}

static void test_leases(void **state)
{
	(void)state;
	up();
	owner = queue_owner_new();
	lend("0 1 1 '1-0' 3 '1'");
	expect("lent 3");
	nothing_sent(); /* it is held: */
	fake_loop_advance(5 * USEC_PER_SEC);
	exchange("tick " ME " 60000 1-0", "0 1 1");
	fake_redis_down(FAKE_LINK);
	fake_redis_up(FAKE_LINK);
	exchange("recover " ME " 1-0", "0 1 1");
	queue_owner_gone(owner);
	exchange("release " ME " 3 1-0", "1 1 1");
	owner = queue_owner_new();
	lend("0 1 1 '1-0' 4 '1'");
	expect("lent 4");
	fake_redis_down(FAKE_LINK);
	assert_true(queue_done(lease_name)); /* kept until redis is back */
	assert_false(queue_done(lease_name));
	fake_redis_up(FAKE_LINK);
	exchange("ack 1 1-0", "-OOM no");
	fake_loop_advance(USEC_PER_SEC);
	exchange("ack 1 1-0", "0 0 0");
	exchange("recover " ME, "0 0 0");
	nothing_sent();
	queue_owner_gone(owner);
}

static void test_who_left_gives_back(void **state)
{
	struct queue_request *r;

	(void)state;
	up();
	r = request(QUEUE_GET, "g", -1);
	r->lease = true;
	assert_false(queue_ask(q, r));
	fake_loop_turn();
	queue_drop(r->id);
	exchange("get " ME " 1 262144 1048576", "0 1 1 '1-0' 3 '1'");
	exchange("release " ME " 2 1-0", "1 1 1");
	expect("");
}

static void test_deleted(void **state)
{
	(void)state;
	up();
	get("g", -1);
	put("p", "1", -1);
	fake_loop_turn();
	queue_delete(q);
	expect("g=gone p=gone ");
	assert_false(fake_redis_there(FAKE_LINK));
}

static void test_the_clock(void **state)
{
	(void)state;
	up();
	fake_loop_advance(5 * USEC_PER_SEC);
	exchange("tick " ME " 60000", "0 0 0");
	nothing_sent();
}

static void test_urls(void **state)
{
	static const struct {
		const char *url, *host, *path;
		unsigned port, db;
	} good[] = {
		{ "redis://127.0.0.1", "127.0.0.1", "", 6379, 0 },
		{ "redis://127.0.0.1:1/2", "127.0.0.1", "", 1, 2 },
		{ "redis://localhost:1/2", "127.0.0.1", "", 1, 2 },
		{ "redis://[::1]:7/", "::1", "", 7, 0 },
		{ "unix:///s", "", "/s", 0, 0 },
		{ "unix:///s?db=4", "", "/s", 0, 4 },
	};
	static const char *const bad[] = { "",
					   "redis://",
					   "redis://h",
					   "redis://1.2.3",
					   "redis://localhost.",
					   "redis://::1",
					   "redis://[::1",
					   "redis://[]",
					   "redis://1.2.3.4:",
					   "redis://1.2.3.4:65536",
					   "redis://1.2.3.4:1x",
					   "redis://1.2.3.4/-1",
					   "redis://1.2.3.4/1/2",
					   "redis://1.2.3.4?db=1",
					   "redis://u:p@1.2.3.4",
					   "unix://s",
					   "unix:///",
					   "unix:///s?",
					   "unix:///s?db=",
					   "unix:///s?db=x",
					   "rediss://1.2.3.4",
					   "redis://1.2.3.4:123456789/" };
	struct redis_where where;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_null(redis_where_read(good[i].url, &where));
		assert_string_equal(where.host, good[i].host);
		assert_string_equal(where.path, good[i].path);
		assert_int_equal(where.port, good[i].port);
		assert_int_equal(where.db, good[i].db);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_non_null(redis_where_read(bad[i], &where));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int teardown_deleted(void **state)
{
	fake_loop_turn();
	(void)state;
	return fake_redis_there(FAKE_LINK) || fake_redis_there(FAKE_BELL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_put_and_get),
		TEST(test_one_script_serves_many),
		TEST(test_waits_for_the_bell),
		TEST(test_time_is_over),
		TEST(test_lost_put_is_asked_about),
		TEST(test_lost_put_did_not_happen),
		TEST(test_lost_put_whose_time_is_over),
		TEST(test_errors_of_one_hold_up_no_other),
		TEST(test_nonsense),
		TEST(test_promises_of_items),
		TEST(test_size_done_join),
		TEST(test_leases),
		TEST(test_who_left_gives_back),
		cmocka_unit_test_setup_teardown(test_deleted, setup, teardown_deleted),
		TEST(test_the_clock),
		cmocka_unit_test(test_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
