/* The validator against bytes that mean harm, and the builder against its bounds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "daemon/conf_build.h"
#include "lib/bounds.h"
#include "tests/unit/conf_files.h"

static const char sample[] =
	"socket = /s\nrun-user = r\npool first { command = {\"true\"} }\n"
	"pool web { command = {\"/bin/echo\", \"b\"} environment = {\"A=1\"} directory = /srv\n"
	"  limits = {\"nofile=1024\", \"core=0\"} after = {\"first\"} log = /var/log/x\n"
	"  user = @USER@ inherits = first }\n"
	"pool up { command = {\"sed\"} tasks = lines workers = 2 min-workers = 1 }\n"
	"queue q { maxsize = 7 dead = d }\nqueue d {}\n";

/* Reads all a block refers to, as its users do; a sanitizer watches. */
static size_t use(const struct conf *c, size_t size)
{
	char *text = files_print(c);
	size_t sum = strlen(text);

	(void)size;
	free(text);
	for (uint32_t i = 0; i < c->pool_count; i++) {
		const struct conf_pool *p = conf_pool_at(c, i);

		for (uint32_t j = 0; j < p->limit_count; j++)
			sum += conf_limits(c, p)[j].soft;
		for (uint32_t j = 0; p->identity.uid != CONF_NO_ID && j < p->identity.group_count;
		     j++)
			sum += conf_groups(c, &p->identity)[j];
		if (p->identity.uid != CONF_NO_ID)
			sum += strlen(conf_text(c, p->identity.home));
	}
	return sum;
}

/* A copy that ends where it is said to, so that reading on is noticed. */
static bool accepted(const void *bytes, size_t size)
{
	void *copy = aligned_alloc(8, (size + 7) & ~(size_t)7);
	bool ok;

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	ok = conf_valid(copy, size);
	if (ok)
		use(copy, size);
	free(copy);
	return ok;
}

static struct conf *block(size_t *size)
{
	struct conf *c = files_conf(sample);

	*size = c->size;
	return c;
}

static void test_truncated(void **state)
{
	size_t size;
	struct conf *c = block(&size);

	(void)state;
	assert_true(accepted(c, size));
	for (size_t n = 0; n < size; n++) {
		assert_false(accepted(c, n));
		if (n < offsetof(struct conf, size) + sizeof(c->size))
			continue;
		c->size = (uint32_t)n; /* even if it says so itself */
		accepted(c, n);
		c->size = (uint32_t)size;
	}
	free(c);
}

static void test_flipped(void **state)
{
	size_t size;
	struct conf *c = block(&size);
	unsigned char *bytes = (unsigned char *)c;

	(void)state;
	for (size_t at = 0; at < size; at++) {
		unsigned char was = bytes[at];

		for (int bit = 0; bit < 8; bit++) {
			bytes[at] = was ^ (unsigned char)(1 << bit);
			accepted(c, size);
		}
		bytes[at] = 0xff;
		accepted(c, size);
		bytes[at] = was;
	}
	assert_true(accepted(c, size));
	free(c);
}

static void test_words(void **state)
{
	static const uint32_t values[] = { 0,	       1,	   7,	       0x7fffffff,
					   0x80000000, 0xfffffff8, 0xfffffffc, 0xffffffff,
					   4096,       65536 };
	size_t size;
	struct conf *c = block(&size);
	uint32_t *words = (uint32_t *)(void *)c;

	(void)state;
	for (size_t at = 0; at < size / 4; at++) {
		uint32_t was = words[at];

		for (size_t v = 0; v < sizeof(values) / sizeof(*values); v++) {
			words[at] = values[v];
			accepted(c, size);
			words[at] = (uint32_t)size - values[v];
			accepted(c, size);
		}
		words[at] = was;
	}
	free(c);
}

static void test_random(void **state)
{
	size_t size;
	struct conf *c = block(&size);
	unsigned char *bytes = (unsigned char *)c, *was = malloc(size);

	(void)state;
	assert_non_null(was);
	memcpy(was, bytes, size);
	srandom(7);
	for (int i = 0; i < 20000; i++) {
		for (int n = 0; n < 4; n++)
			bytes[16 + (size_t)random() % (size - 16)] = (unsigned char)random();
		accepted(c, size);
		memcpy(bytes, was, size);
	}
	free(was);
	free(c);
}

#define REFUSED(change) REFUSED_OF(1, change)
#define REFUSED_OF(pool, change)                                                                   \
	do {                                                                                       \
		struct conf *c = block(&size);                                                     \
		struct conf_pool *p = (struct conf_pool *)(uintptr_t)conf_pool_at(c, pool);        \
		change;                                                                            \
		(void)p;                                                                           \
		assert_false(accepted(c, size));                                                   \
		free(c);                                                                           \
	} while (0)

static void test_each_check(void **state)
{
	size_t size;

	(void)state;
	REFUSED(c->magic++);
	REFUSED(c->version++);
	REFUSED(c->size--);
	REFUSED(c->socket_mode = 010000);
	REFUSED(c->pool_count = CREW_POOLS_MAX + 1);
	REFUSED(c->pools += 4);
	REFUSED(c->pools = 8);
	REFUSED(c->manager.uid = 0);
	REFUSED(c->socket = c->size);
	REFUSED(((char *)c)[size - 1] = 'x');
	REFUSED(p->name = 0);
	REFUSED(p->name = c->size - 1);
	REFUSED(((char *)c)[p->name] = ' ');
	REFUSED(p->command.count = 0);
	REFUSED(p->command.count = CREW_ARGS_MAX + 1);
	REFUSED(p->command.items++);
	REFUSED(p->environment.items = c->size - 2);
	REFUSED(p->identity.uid = 0);
	REFUSED(p->limit_count = 17);
	REFUSED(p->limits += 4);
	REFUSED(p->umask = -2);
	REFUSED(p->umask = 01000);
	REFUSED(p->nice = 20);
	REFUSED(p->ready = CONF_READY_NOTIFY + 1);
	REFUSED(p->restart = CONF_RESTART_NEVER + 1);
	REFUSED(p->log = CONF_LOG_FILE + 1);
	REFUSED(p->log_file = 0);
	REFUSED(p->log = CONF_LOG_INHERIT);
	REFUSED(p->stop_signal = 0);
	REFUSED(p->stop_signal = 65);
	REFUSED(p->autostart = 2);
	REFUSED(p->watchdog = -1);
	REFUSED(p->stop_timeout = INT64_MAX);
	REFUSED(p->restart_delay = p->restart_delay_max + 1);
	REFUSED(p->workers = CREW_WORKERS_MAX);
}

static void test_each_check_of_tasks(void **state)
{
	size_t size;

	(void)state;
	REFUSED_OF(2, p->tasks = CONF_TASKS_MODULE + 1);
	REFUSED_OF(2, p->tasks = CONF_TASKS_MODULE); /* without one */
	REFUSED_OF(2, p->module = p->name); /* with other tasks */
	REFUSED_OF(2, p->module = c->size);
	REFUSED_OF(2, p->restart = CONF_RESTART_NEVER);
	REFUSED_OF(2, (p->tasks = CONF_TASKS_EXEC, p->ready = CONF_READY_NOTIFY));
	REFUSED_OF(2, (p->tasks = CONF_TASKS_EXEC, p->watchdog = 1));
	REFUSED_OF(2, p->min_workers = 3);
	REFUSED_OF(2, p->min_workers = UINT32_MAX - 1);
	REFUSED_OF(2, p->idle_timeout = -1);
	REFUSED_OF(2, p->backlog = 0);
	REFUSED_OF(2, p->backlog = CREW_TASKS_MAX + 1);
	REFUSED_OF(2, p->task_timeout = INT64_MIN);
	REFUSED_OF(2, p->retries = CREW_RETRIES_MAX + 1);
	REFUSED_OF(2, p->max_tasks_per_worker = UINT32_MAX);
	REFUSED_OF(2, p->prefetch = 0);
	REFUSED_OF(2, p->prefetch = CREW_PREFETCH_MAX + 1);
	REFUSED_OF(2, p->result_ttl = 0);
	REFUSED_OF(2, p->result_ttl = INT64_MAX);
	REFUSED_OF(2, p->queue = c->size);
	REFUSED_OF(2, p->queue = c->size - 1);
}

#define REFUSED_QUEUE(change)                                                                      \
	do {                                                                                       \
		struct conf *c = block(&size);                                                     \
		struct conf_queue *q = (struct conf_queue *)(void *)((char *)c + c->queues);       \
		assert_true(accepted(c, size));                                                    \
		change;                                                                            \
		assert_false(accepted(c, size));                                                   \
		(void)q;                                                                           \
		free(c);                                                                           \
	} while (0)

static void test_each_check_of_queues(void **state)
{
	size_t size;

	(void)state;
	REFUSED_QUEUE(c->queue_count = CREW_QUEUES_MAX + 1);
	REFUSED_QUEUE(c->queues += 4);
	REFUSED_QUEUE(c->queues = c->size - 8);
	REFUSED_QUEUE(c->queues = 8);
	REFUSED_QUEUE(q->name = 0);
	REFUSED_QUEUE(q->name = c->size);
	REFUSED_QUEUE(((char *)c)[q->name] = '/');
	REFUSED_QUEUE(q->file = c->size);
	REFUSED_QUEUE(q->kind = CONF_QUEUE_REDIS + 1);
	REFUSED_QUEUE(q->durable = 2);
	REFUSED_QUEUE(q->path = 4);
	REFUSED_QUEUE(q->url = c->size);
	REFUSED_QUEUE(q->maxsize = CREW_QUEUE_ITEMS_MAX + 1);
	REFUSED_QUEUE(q->max_bytes = 0);
	REFUSED_QUEUE(q->max_bytes = CREW_QUEUE_BYTES_MAX + 1);
	REFUSED_QUEUE(q->max_bytes = UINT64_MAX);
	REFUSED_QUEUE(q->max_deliveries = 0);
	REFUSED_QUEUE(q->max_deliveries = CREW_DELIVERIES_MAX + 1);
	REFUSED_QUEUE(q->dead = c->size - 1);
}

/* The costliest block: every list of every pool as long as it may be. A keeper must not hang. */
static void test_bounded_time(void **state)
{
	struct conf_build *b = conf_build_new(CREW_POOLS_MAX, 0);
	static const char *items[CREW_ARGS_MAX];
	struct conf_list list;
	conf_off name;
	clock_t begin;
	struct conf *c;
	size_t size;

	(void)state;
	assert_non_null(b);
	for (int i = 0; i < CREW_ARGS_MAX; i++)
		items[i] = "a";
	list = conf_build_list(b, items, CREW_ARGS_MAX);
	name = conf_build_text(b, "a");
	for (uint32_t i = 0; i < CREW_POOLS_MAX; i++) {
		struct conf_pool *p = conf_build_pool(b, i);

		p->name = name;
		p->command = p->environment = p->after = p->limits_text = list;
	}
	c = conf_build_finish(b, &size);
	assert_non_null(c);
	begin = clock();
	assert_true(conf_valid(c, size));
	assert_true((clock() - begin) / CLOCKS_PER_SEC < 3);
	free(c);
}

/* ---- the builder -------------------------------------------------------------------------------- */

static void test_build_one(void **state)
{
	static const char *const command[] = { "sleep", "5" };
	struct conf_build *b = conf_build_new(1, 0);
	struct conf_list list;
	struct conf_pool *p;
	conf_off name;
	struct conf *c;
	size_t size;

	(void)state;
	assert_non_null(b);
	name = conf_build_text(b, "run-1");
	list = conf_build_list(b, command, 2);
	p = conf_build_pool(b, 0);
	p->name = name;
	p->command = list;
	c = conf_build_finish(b, &size);
	assert_non_null(c);
	assert_true(accepted(c, size));
	assert_string_equal(conf_item(c, conf_pool_at(c, 0)->command, 1), "5");
	assert_int_equal(conf_pool_at(c, 0)->workers, 1);
	free(c);
}

static void test_build_bounds(void **state)
{
	struct conf_build *b = conf_build_new(0, 0);
	char *big = calloc(1, CREW_CONF_MAX + 1);
	int n = 0;

	(void)state;
	assert_null(conf_build_new(CREW_POOLS_MAX + 1, 0));
	assert_null(conf_build_new(0, CREW_QUEUES_MAX + 1));
	assert_non_null(big);
	memset(big, 'x', CREW_CONF_MAX);
	errno = 0;
	assert_int_equal(conf_build_text(b, big), 0);
	assert_int_equal(errno, EFBIG);
	big[1 << 20] = '\0';
	while (conf_build_text(b, big))
		n++;
	assert_in_range(n, 12, 15);
	assert_true(conf_build_text(b, "a little more") != 0);
	conf_build_free(b);
	conf_build_free(NULL);
	free(big);
}

static void test_build_list_of_none(void **state)
{
	struct conf_build *b = conf_build_new(0, 0);
	struct conf_list list = conf_build_list(b, NULL, 0);
	struct conf *c;
	size_t size;

	(void)state;
	assert_int_equal(list.count, 0);
	c = conf_build_finish(b, &size);
	assert_non_null(c);
	assert_true(accepted(c, size));
	free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, files_setup, files_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_truncated),
		TEST(test_flipped),
		TEST(test_words),
		TEST(test_random),
		TEST(test_each_check),
		TEST(test_each_check_of_tasks),
		TEST(test_each_check_of_queues),
		TEST(test_bounded_time),
		TEST(test_build_one),
		TEST(test_build_bounds),
		TEST(test_build_list_of_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
