/* What changes between two configurations, and what needs a new process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "daemon/conf_keys.h"
#include "daemon/conf_plan.h"
#include "tests/unit/conf_files.h"

#define BASE "command = {\"x\"} restart-delay = 1ms restart-delay-max = 9d "

static char said[1024];

static void say(enum conf_plan_kind kind, const char *pool, const char *const *keys,
		unsigned key_count, enum conf_class worst, void *arg)
{
	static const char marks[] = "+*-=";
	size_t n = strlen(said);

	(void)arg;
	n += (size_t)snprintf(said + n, sizeof(said) - n, "%c%s", marks[kind], pool);
	for (unsigned i = 0; i < key_count; i++)
		n += (size_t)snprintf(said + n, sizeof(said) - n, " %s", keys[i]);
	if (kind == CONF_PLAN_CHANGED)
		n += (size_t)snprintf(said + n, sizeof(said) - n, " (%d)", worst);
	snprintf(said + n, sizeof(said) - n, "\n");
}

static void plans(const char *was, const char *now, const char *expected)
{
	struct conf *a = files_conf(was), *b = files_conf(now);

	said[0] = '\0';
	conf_plan(a, b, say, NULL);
	assert_string_equal(said, expected);
	free(a);
	free(b);
}

static void test_rows(void **state)
{
	(void)state;
	plans("", "", "");
	plans("pool a { " BASE "} pool b { " BASE "} pool c { " BASE "}",
	      "pool d { " BASE "}\npool c { " BASE "nice = 3 workers = 2 }\npool a { " BASE "}",
	      "+d\n*c nice workers (1)\n=a\n-b\n");
	plans("pool a { " BASE "}", "pool a { " BASE "stop-timeout = 3s after = {} }",
	      "*a stop-timeout (0)\n");
	/* the same, said in another way */
	plans("pool a { " BASE "restart-window = 90s }",
	      "pool a { restart-window = \"1min 30s\" " BASE "}", "=a\n");
	plans("pool k { " BASE "} pool a { inherits = k }", "pool k { " BASE "} pool a { " BASE "}",
	      "=k\n*a inherits (0)\n");
}

static void test_rows_of_queues(void **state)
{
	struct conf *was =
		files_conf("pool a { " BASE "} queue a {} queue b { maxsize = 1 } queue c {}");
	struct conf *now = files_conf("queue d {} queue b { maxsize = 2 max-bytes = 1K } queue a { "
				      "max-bytes = 65536K }");

	(void)state;
	said[0] = '\0';
	conf_plan_queues(was, now, say, NULL);
	assert_string_equal(said, "+d\n*b maxsize max-bytes (0)\n=a\n-c\n");
	said[0] = '\0';
	conf_plan(was, now, say, NULL);
	assert_string_equal(said, "-a\n"); /* a pool of the same name is another thing */
	free(was);
	free(now);
}

/* A different value for each key, and whether a process started before is good enough. */
static const struct {
	enum conf_pool_key key;
	const char *text;
	bool same;
} changes[CONF_POOL_KEYS - 2] = { /* template, module: see below */
	{ CONF_KEY_COMMAND, "command = {\"x\", \"y\"}", false },
	{ CONF_KEY_ENVIRONMENT, "environment = {\"A=1\"}", false },
	{ CONF_KEY_CLEAN_ENVIRONMENT, "clean-environment = true", false },
	{ CONF_KEY_DIRECTORY, "directory = /", false },
	{ CONF_KEY_USER, "user = @USER@", false },
	{ CONF_KEY_GROUP, "group = @GROUP@", false },
	{ CONF_KEY_UMASK, "umask = 0", false },
	{ CONF_KEY_NICE, "nice = 0", false },
	{ CONF_KEY_LIMITS, "limits = {\"core=0\"}", false },
	{ CONF_KEY_READY, "ready = notify", false },
	{ CONF_KEY_WATCHDOG, "watchdog = 1s", false },
	{ CONF_KEY_WORKERS, "workers = 2", true },
	{ CONF_KEY_AUTOSTART, "autostart = false", true },
	{ CONF_KEY_RESTART, "restart = never", true },
	{ CONF_KEY_RESTART_DELAY, "restart-delay = 2ms", true },
	{ CONF_KEY_RESTART_DELAY_MAX, "restart-delay-max = 8d", true },
	{ CONF_KEY_RESTART_LIMIT, "restart-limit = 9", true },
	{ CONF_KEY_RESTART_WINDOW, "restart-window = 9s", true },
	{ CONF_KEY_SUCCESS_EXIT, "success-exit = {}", true },
	{ CONF_KEY_START_TIMEOUT, "start-timeout = 9s", true },
	{ CONF_KEY_STOP_SIGNAL, "stop-signal = INT", true },
	{ CONF_KEY_STOP_TIMEOUT, "stop-timeout = 9s", true },
	{ CONF_KEY_AFTER, "after = {\"b\"}", true },
	{ CONF_KEY_LOG, "log = discard", true },
	{ CONF_KEY_INHERITS, "inherits = b", true },
	{ CONF_KEY_TASKS, "tasks = jsonrpc", false },
	{ CONF_KEY_MIN_WORKERS, "min-workers = 1", true },
	{ CONF_KEY_IDLE_TIMEOUT, "idle-timeout = 1s", true },
	{ CONF_KEY_BACKLOG, "backlog = 1", true },
	{ CONF_KEY_TASK_TIMEOUT, "task-timeout = 1s", true },
	{ CONF_KEY_RETRIES, "retries = 1", true },
	{ CONF_KEY_MAX_TASKS_PER_WORKER, "max-tasks-per-worker = 1", true },
	{ CONF_KEY_PREFETCH, "prefetch = 2", true },
	{ CONF_KEY_RESULT_TTL, "result-ttl = 1s", true },
	{ CONF_KEY_QUEUE, "queue = q", true },
	{ CONF_KEY_RECYCLE_PRIVATE, "recycle-private = 1M", true },
	{ CONF_KEY_REFORK_AFTER, "refork-after = 1", true },
};

static void change_one(unsigned i)
{
	const char *name = conf_pool_keys[changes[i].key].name;
	const struct conf_key *key = &conf_pool_keys[changes[i].key];
	const char *with = conf_key_applies(key, CONF_TASKS_NONE) ? "" : "tasks = lines";
	struct conf *was, *now;
	char text[512], expected[128];

	snprintf(text, sizeof(text), "queue q {} pool b { " BASE "} pool a { " BASE "%s }", with);
	was = files_conf(text);
	/* The key's own line in the place of what the base says, if it does. */
	snprintf(text, sizeof(text), "queue q {} pool b { " BASE "} pool a { %s %s %s %s %s }",
		 changes[i].text, with,
		 changes[i].key == CONF_KEY_COMMAND ? "" : "command = {\"x\"}",
		 changes[i].key == CONF_KEY_RESTART_DELAY ? "" : "restart-delay = 1ms",
		 changes[i].key == CONF_KEY_RESTART_DELAY_MAX ? "" : "restart-delay-max = 9d");
	now = files_conf(text);
	said[0] = '\0';
	conf_plan(was, now, say, NULL);
	snprintf(expected, sizeof(expected), "=b\n*a %s (%d)\n", name, changes[i].same ? 0 : 1);
	assert_string_equal(said, expected);
	assert_int_equal(conf_same_process(was, conf_pool_at(was, 1), now, conf_pool_at(now, 1)),
			 changes[i].same);
	assert_int_equal(conf_process_hash(was, conf_pool_at(was, 1)) ==
				 conf_process_hash(now, conf_pool_at(now, 1)),
			 changes[i].same);
	free(was);
	free(now);
}

static void test_each_key(void **state)
{
	bool seen[CONF_POOL_KEYS] = { false };

	(void)state;
	for (unsigned i = 0; i < CONF_POOL_KEYS - 2; i++) {
		seen[changes[i].key] = true;
		change_one(i);
	}
	for (unsigned k = 0; k < CONF_POOL_KEYS; k++)
		assert_true(seen[k] || k == CONF_KEY_TEMPLATE || k == CONF_KEY_MODULE);
}

/* A template is planned as a pool is; whose workers come from one, and from which, is another process. */
static void test_templates(void **state)
{
	(void)state;
	plans("template t { command = {\"x\"} } pool a { command = {\"x\"} }",
	      "template t { command = {\"y\"} } pool a { template = t }",
	      "*t command (1)\n*a command template (1)\n");
	plans("template t { command = {\"x\"} } template u { command = {\"x\"} } pool a { template = t }",
	      "template u { command = {\"x\"} start-timeout = 1s } pool a { template = u }",
	      "*u start-timeout (0)\n*a template (1)\n-t\n");
}

/* Another module is another template; the pool's own workers are replaced once that is warm, and not before. */
static void test_modules(void **state)
{
	(void)state;
	plans("pool a { module = \"/m.so\" }", "pool a { module = \"/n.so\" }",
	      "*a module (0)\n*a.module command module (1)\n");
	plans("pool a { module = \"/m.so\" }", "pool a { module = \"/m.so\" workers = 2 }",
	      "*a workers (0)\n=a.module\n");
	plans("pool a { command = {\"x\"} tasks = jsonrpc }", "pool a { module = \"/m.so\" }",
	      "*a command tasks prefetch template module (1)\n+a.module\n");
}

static void test_values_do_not_run_together(void **state)
{
	struct conf *c = files_conf("pool a { command = {\"x\", \"y\"} }\n"
				    "pool b { command = {\"x\\\", \\\"y\"} }\n"
				    "pool c { command = {\"x\"} user = @USER@ }\n"
				    "pool d { command = {\"x\"} group = @GROUP@ }\n");

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		for (uint32_t j = 0; j < i; j++)
			assert_false(
				conf_same_process(c, conf_pool_at(c, i), c, conf_pool_at(c, j)));
	free(c);
}

static void test_global(void **state)
{
	struct conf *a = files_conf("socket = /a state-dir = /s");
	struct conf *b = files_conf("socket = /a state-dir = /t socket-mode = 0600 run-user = x");
	const char *keys[CONF_GLOBAL_KEYS];

	(void)state;
	assert_int_equal(conf_plan_global(a, a, keys, CONF_GLOBAL_KEYS), 0);
	assert_int_equal(conf_plan_global(a, b, keys, CONF_GLOBAL_KEYS), 3);
	assert_string_equal(keys[0], "socket-mode");
	assert_string_equal(keys[1], "state-dir");
	assert_string_equal(keys[2], "run-user");
	assert_int_equal(conf_plan_global(a, b, keys, 2), 2);
	free(a);
	free(b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, files_setup, files_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_rows), TEST(test_rows_of_queues),
					    TEST(test_each_key), TEST(test_templates), TEST(test_modules),
					    TEST(test_values_do_not_run_together),
					    TEST(test_global) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
