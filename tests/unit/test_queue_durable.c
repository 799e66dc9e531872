/* Durable queues without a disk: what is noted and when, and who is answered what. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "daemon/queue_durable.h"
#include "daemon/queue_kind.h"
#include "lib/clock.h"
#include "tests/unit/fake_journal.h"
#include "tests/unit/fake_loop.h"

static struct queue *q;
static struct queue_settings set;
static char said[65536]; /* answers, in their order */
static unsigned gone;

static void on_gone(void)
{
	gone++;
}

/* "a=ok b=away:why c:item ". The item has been handed on. */
static void on_answered(struct queue_request *r)
{
	static const char *const words[QUEUE_ERRORS] = {
		[QUEUE_OK] = "ok",	    [QUEUE_FULL] = "full",   [QUEUE_EMPTY] = "empty",
		[QUEUE_NO_QUEUE] = "gone",  [QUEUE_TOO_BIG] = "big", [QUEUE_UNAVAILABLE] = "away",
		[QUEUE_TIMED_OUT] = "over",
	};
	size_t n = strlen(said);

	n += (size_t)snprintf(said + n, sizeof(said) - n, "%s", (const char *)r->arg);
	if (r->error != QUEUE_OK || r->verb != QUEUE_GET)
		n += (size_t)snprintf(said + n, sizeof(said) - n, "=%s", words[r->error]);
	if (r->error == QUEUE_UNAVAILABLE)
		n += (size_t)snprintf(said + n, sizeof(said) - n, ":%s", r->why);
	if (r->error != QUEUE_OK && r->moved)
		n += (size_t)snprintf(said + n, sizeof(said) - n, "+%u", r->moved);
	list_foreach(e, next, &r->items) if (r->verb == QUEUE_GET)
	{
		const struct queue_item *item = list_entry(e, struct queue_item, link);

		n += (size_t)snprintf(said + n, sizeof(said) - n, ":%.*s", (int)item->len,
				      item->text);
	}
	snprintf(said + n, sizeof(said) - n, " ");
	if (r->verb == QUEUE_GET && !r->lease)
		queue_got(r);
	if (!r->lease)
		queue_request_free(r);
}

static struct queue_request *request(enum queue_verb verb, const char *who)
{
	struct queue_request *r = queue_request_new(verb, on_answered, (void *)(uintptr_t)who);

	assert_non_null(r);
	return r;
}

static uint64_t ask(struct queue_request *r)
{
	if (!queue_ask(q, r))
		return r->id;
	on_answered(r);
	return 0;
}

/* Items are single letters. */
static struct queue_request *put_request(const char *who, const char *letters)
{
	struct queue_request *r = request(QUEUE_PUT, who);

	for (; *letters; letters++) {
		struct queue_item *item = queue_item_new(1);

		assert_non_null(item);
		item->text[0] = *letters;
		list_append(&r->items, &item->link);
	}
	return r;
}

static uint64_t put(const char *who, const char *letters)
{
	return ask(put_request(who, letters));
}

static uint64_t put_at_once(const char *who, const char *letters)
{
	struct queue_request *r = put_request(who, letters);

	r->block = false;
	return ask(r);
}

static uint64_t get(const char *who)
{
	return ask(request(QUEUE_GET, who));
}

static uint64_t get_at_once(const char *who)
{
	struct queue_request *r = request(QUEUE_GET, who);

	r->block = false;
	return ask(r);
}

/* A lease, of an item that is there. */
static const struct queue_lease *lease(struct queue_owner *o, const char *who)
{
	struct queue_request *r = request(QUEUE_GET, who);
	const struct queue_lease *l;

	r->lease = true;
	assert_int_equal(ask(r), 0);
	l = queue_lease_new(o, r);
	assert_non_null(l);
	queue_request_free(r);
	return l;
}

static void expect(const char *text)
{
	fake_loop_turn();
	assert_string_equal(said, text);
	said[0] = '\0';
}

static void expect_noted(const char *text)
{
	fake_loop_turn();
	assert_string_equal(fake_journal.said, text);
	fake_journal.said[0] = '\0';
}

static void make(const char *on_disk, uint32_t maxsize)
{
	snprintf(fake_journal.disk, sizeof(fake_journal.disk), "%s", on_disk);
	set = (struct queue_settings){
		.maxsize = maxsize, .max_bytes = 1000, .max_deliveries = 3, .durable = true
	};
	assert_int_equal(queue_create("q", &queue_durable, &set, &q), QUEUE_OK);
	fake_journal.disk[0] = '\0';
}

static int setup(void **state)
{
	(void)state;
	queue_init(1);
	queue_durable_init(0, on_gone);
	said[0] = '\0';
	gone = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_loop_turn();
	queue_close();
	fake_journal_reset();
	assert_true(queue_durable_wait(0));
	return 0;
}

static void test_a_put_is_answered_when_it_is_on_disk(void **state)
{
	(void)state;
	make("", 0);
	get("g");
	put("p", "a");
	expect("");
	expect_noted("put 1 a, ");
	fake_journal_done("q");
	expect("p=ok g:a ");
	expect_noted("take 1, ");
}

static void test_nobody_gets_what_is_not_on_disk(void **state)
{
	(void)state;
	make("", 2);
	put("p", "ab");
	get_at_once("g");
	put_at_once("r", "c");
	expect("g=empty r=full ");
	fake_journal_done("q");
	expect("p=ok ");
	get_at_once("h");
	expect("h:a ");
}

static void test_what_was_there_is_in_order_and_ids_go_on(void **state)
{
	(void)state;
	make("3:x 7:y ", 0);
	put("p", "z");
	expect_noted("put 8 z, ");
	fake_journal_done("q");
	expect("p=ok ");
	get("1");
	get("2");
	get("3");
	expect("1:x 2:y 3:z ");
	expect_noted("take 3, take 7, take 8, ");
}

/* Not before the turn in which its answer was given is over. */
static void test_a_get_that_nobody_hears_of_changes_nothing_on_disk(void **state)
{
	uint64_t id;

	(void)state;
	make("", 0);
	id = get("g");
	put("p", "a");
	fake_journal_done("q"); /* answered, and not told yet */
	queue_drop(id);
	expect("p=ok ");
	expect_noted("put 1 a, ");
	get("h");
	expect("h:a ");
	expect_noted("take 1, ");
}

static void test_puts_of_one_call_stay_together(void **state)
{
	(void)state;
	make("", 2);
	put("many", "abc");
	put("one", "z");
	fake_journal_done("q");
	expect("");
	get("1");
	get("2");
	expect("1:a 2:b ");
	expect_noted("put 1 a, put 2 b, put 3 c, put 4 z, take 1, take 2, ");
	fake_journal_done("q");
	expect("many=ok one=ok ");
	get("3");
	get("4");
	expect("3:c 4:z ");
}

static void test_what_is_full_in_the_end_tells_how_many_are_on_disk(void **state)
{
	struct queue_request *r;

	(void)state;
	make("", 2);
	put_at_once("a", "123");
	expect("");
	fake_journal_done("q");
	expect("a=full+2 ");
	get("1");
	r = put_request("b", "45");
	r->timeout = USEC_PER_SEC;
	ask(r);
	fake_loop_advance(2 * USEC_PER_SEC);
	expect("1:1 ");
	fake_journal_done("q"); /* its time was over while it was being written */
	expect("b=full+1 ");
}

static void test_who_left_is_not_answered_and_his_item_stays(void **state)
{
	uint64_t id;

	(void)state;
	make("", 1);
	id = put("p", "ab");
	queue_drop(id);
	fake_journal_done("q");
	put("r", "c");
	get("g");
	expect("g:a ");
	fake_journal_done("q");
	expect("r=ok ");
}

static void test_a_journal_that_is_busy_is_no_reason_to_say_full(void **state)
{
	(void)state;
	make("", 1);
	fake_journal.room = 0;
	put_at_once("a", "x");
	put_at_once("b", "y");
	expect("");
	fake_journal_room("q", 100);
	fake_journal_done("q");
	expect("b=full a=ok ");
}

static void test_takes_wait_for_room_and_gets_for_them(void **state)
{
	(void)state;
	make("1:a 2:b ", 0);
	fake_journal.room = 0;
	get("1");
	fake_loop_turn();
	get_at_once("2");
	expect("1:a ");
	expect_noted("");
	fake_journal_room("q", 100);
	expect("2:b ");
	expect_noted("take 1, take 2, ");
}

static void test_a_full_disk_refuses_puts_only(void **state)
{
	(void)state;
	make("1:a ", 0);
	fake_journal.err = ENOSPC;
	put("p", "b");
	get("g");
	expect("p=away:no space left for it in state-dir g:a ");
	expect_noted("take 1, ");
	fake_journal.err = 0;
	put("p", "b");
	fake_journal_done("q");
	expect("p=ok ");
}

static void test_a_disk_that_gets_full_in_the_middle_tells_how_many(void **state)
{
	(void)state;
	make("", 3);
	put("p", "abcd");
	fake_journal_done("q");
	fake_journal.err = ENOSPC;
	get("g");
	expect("g:a p=away:no space left for it in state-dir+3 ");
	fake_journal.err = 0;
}

static void test_a_journal_that_fails(void **state)
{
	(void)state;
	make("1:a 2:b ", 0);
	put("p", "c");
	get("g");
	expect("g:a ");
	fake_journal_fail("q", "the disk is gone");
	expect("p=away:the disk is gone ");
	put("r", "d");
	get("h");
	get_at_once("i"); /* c is not handed out: nobody knows whether it is there */
	expect("r=away:the disk is gone h:b i=empty ");
	put("s", "e");
	queue_delete(q); /* the reason goes with the queue */
	expect("s=away:the disk is gone ");
}

static void test_leases(void **state)
{
	struct queue_owner *o = queue_owner_new(), *other = queue_owner_new();
	char name[QUEUE_LEASE_NAME];
	const struct queue_lease *l;

	(void)state;
	make("1:a 2:b ", 0);
	l = lease(o, "1");
	assert_int_equal(queue_lease_item(l)->deliveries, 2);
	lease(o, "2");
	expect_noted("deliver 1 2, deliver 2 3, ");
	assert_true(queue_done(queue_lease_name(l, name)));
	expect_noted("take 1, ");
	queue_owner_gone(o);
	lease(other, "3");
	expect("1:a 2:b 3:b ");
	expect_noted("deliver 2 4, ");
	queue_close(); /* the end of the process: it comes back */
	expect_noted("close, ");
	queue_owner_gone(other);
}

/* Whoever has seen his put answered has no item again of which he had said before that it was done. */
static void test_done_is_on_disk_before_what_is_put_next(void **state)
{
	struct queue_owner *o = queue_owner_new();
	char name[QUEUE_LEASE_NAME];

	(void)state;
	make("1:a 2:b ", 0);
	assert_true(queue_done(queue_lease_name(lease(o, "1"), name)));
	put("p", "c");
	expect_noted("deliver 1 2, take 1, put 3 c, ");
	queue_owner_gone(o);
}

static void test_a_dead_letter_stays_until_it_is_on_the_other_disk(void **state)
{
	struct queue_settings dead = { .max_bytes = 1000, .durable = true, .max_deliveries = 1 };
	struct queue_owner *o = queue_owner_new();
	struct queue *lost;

	(void)state;
	make("5:a ", 0);
	assert_int_equal(queue_create("lost", &queue_durable, &dead, &lost), QUEUE_OK);
	dead.max_deliveries = 3;
	strcpy(dead.dead, "lost");
	queue_change(q, &dead);
	lease(o, "1");
	queue_owner_gone(o);
	expect_noted("deliver 5 6, put 1 a, ");
	assert_false(queue_is_empty(lost));
	fake_journal_done("lost");
	expect_noted("take 5, ");
	q = lost;
	get("2");
	expect("1:a 2:a ");
	expect_noted("take 1, ");
}

static void test_a_dead_letter_that_cannot_be_kept_stays(void **state)
{
	struct queue_settings dead = { .max_bytes = 1000, .durable = true, .max_deliveries = 1 };
	struct queue_owner *o = queue_owner_new();
	struct queue *lost;

	(void)state;
	make("5:a ", 0);
	assert_int_equal(queue_create("lost", &queue_durable, &dead, &lost), QUEUE_OK);
	strcpy(dead.dead, "lost");
	queue_change(q, &dead);
	lease(o, "1");
	fake_journal.err = ENOSPC;
	queue_owner_gone(o);
	expect_noted("deliver 5 6, ");
	get("2");
	expect("1:a 2:a ");
	fake_journal.err = 0;
}

static void test_deleted_its_files_go_forgotten_they_stay(void **state)
{
	(void)state;
	make("1:a ", 0);
	queue_delete(q);
	assert_true(queue_durable_removing("q"));
	expect_noted("remove, ");
	fake_journal_closed("q");
	assert_false(queue_durable_removing("q"));
	assert_int_equal(gone, 1);
	make("1:a ", 0);
	queue_forget(q);
	expect_noted("close, ");
}

static void test_what_cannot_be_opened_says_why(void **state)
{
	(void)state;
	fake_journal.err = EBADMSG;
	make("", 0);
	put("p", "a");
	get("g");
	expect("p=away:no such luck g=away:no such luck ");
	assert_string_equal(queue_durable_trouble(q), "no such luck");
	fake_journal.err = 0;
}

static void test_files_that_are_in_use_are_waited_for(void **state)
{
	(void)state;
	fake_journal.err = EBUSY;
	make("", 0);
	put_at_once("r", "b");
	put("p", "a");
	expect("r=away:no such luck ");
	fake_journal.err = 0;
	fake_loop_advance(USEC_PER_SEC);
	assert_null(queue_durable_trouble(q));
	fake_journal_done("q");
	expect("p=ok ");
}

static void test_without_a_directory(void **state)
{
	(void)state;
	queue_durable_init(-1, on_gone);
	make("", 0);
	assert_non_null(queue_durable_refusal());
	assert_ptr_equal(queue_durable_trouble(q), queue_durable_refusal());
	queue_delete(q);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_put_is_answered_when_it_is_on_disk),
		TEST(test_nobody_gets_what_is_not_on_disk),
		TEST(test_what_was_there_is_in_order_and_ids_go_on),
		TEST(test_a_get_that_nobody_hears_of_changes_nothing_on_disk),
		TEST(test_puts_of_one_call_stay_together),
		TEST(test_what_is_full_in_the_end_tells_how_many_are_on_disk),
		TEST(test_who_left_is_not_answered_and_his_item_stays),
		TEST(test_a_journal_that_is_busy_is_no_reason_to_say_full),
		TEST(test_takes_wait_for_room_and_gets_for_them),
		TEST(test_a_full_disk_refuses_puts_only),
		TEST(test_a_disk_that_gets_full_in_the_middle_tells_how_many),
		TEST(test_a_journal_that_fails),
		TEST(test_leases),
		TEST(test_done_is_on_disk_before_what_is_put_next),
		TEST(test_a_dead_letter_stays_until_it_is_on_the_other_disk),
		TEST(test_a_dead_letter_that_cannot_be_kept_stays),
		TEST(test_deleted_its_files_go_forgotten_they_stay),
		TEST(test_what_cannot_be_opened_says_why),
		TEST(test_files_that_are_in_use_are_waited_for),
		TEST(test_without_a_directory),
	};

	return cmocka_run_group_tests_name("queue_durable", tests, NULL, NULL);
}
