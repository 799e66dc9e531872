/* What a good configuration becomes: values, defaults, inheritance, includes; printed and back. */
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "daemon/conf_keys.h"
#include "lib/clock.h"
#include "tests/unit/conf_files.h"

static const char every_key[] =
	"socket = \"/tmp/s\"\n"
	"socket-mode = 0600\n"
	"socket-group = root\n"
	"state-dir = /tmp/state\n"
	"manager-user = someone\n"
	"run-user = other\n"
	"pool first { command = {\"true\"} }\n"
	"pool \"web\" {\n"
	"  command = {\"/bin/echo\", 'single \\' \"x\"', \"tab\\t${HOME} \\\"q\\\" \\\\\"}\n"
	"  environment = {\"A=1\", \"B_2=x=y z\", \"C=\"}\n"
	"  clean-environment = yes\n"
	"  directory = /srv\n"
	"  user = @USER@\n"
	"  group = @GROUP@\n"
	"  umask = 027\n"
	"  nice = -5\n"
	"  limits = {\"nofile=1024:2048\", \"as=512M\", \"core=unlimited\"}\n"
	"  workers = 300\n"
	"  autostart = false\n"
	"  restart = \"on-failure\"\n"
	"  restart-delay = \"1s\"\n"
	"  restart-delay-max = \"1min 30s\"\n"
	"  restart-limit = 0\n"
	"  restart-window = 2h\n"
	"  success-exit = {0, 3, 255}\n"
	"  ready = notify\n"
	"  start-timeout = 500ms\n"
	"  watchdog = 1d\n"
	"  stop-signal = \"SIGRTMIN+3\"\n"
	"  stop-timeout = 0\n"
	"  after = {\"first\"}\n"
	"  log = /var/log/web.log\n"
	"  inherits = first\n"
	"}\n"
	"pool \"up\" {\n"
	"  command = {\"/bin/sed\", \"-u\", \"s/$/!/\"}\n"
	"  tasks = lines\n"
	"  workers = 4\n"
	"  min-workers = 0\n"
	"  idle-timeout = 0\n"
	"  backlog = 10000000\n"
	"  task-timeout = 1ms\n"
	"  retries = 1000\n"
	"  max-tasks-per-worker = 7\n"
	"  prefetch = 100000\n"
	"  result-ttl = \"1d 1ms\"\n"
	"  queue = orders\n"
	"  recycle-private = 256M\n"
	"  refork-after = 7\n"
	"}\n"
	"queue \"orders\" {\n"
	"  kind = manager\n"
	"  maxsize = 1000\n"
	"  max-bytes = 2M\n"
	"  durable = off\n"
	"  dead = lost\n"
	"  max-deliveries = 3\n"
	"}\n"
	"queue lost {}\n"
	"template warm {\n"
	"  command = {\"/usr/bin/python3\", \"warm.py\"}\n"
	"  environment = {\"A=1\"}\n"
	"}\n"
	"pool forked {\n"
	"  template = warm\n"
	"}\n"
	"pool thing {\n"
	"  module = \"/usr/lib/libthing.so\"\n"
	"}\n";

static void test_every_key_is_here(void **state)
{
	(void)state;
	for (unsigned k = 0; k < CONF_POOL_KEYS; k++) {
		char line[64];
		snprintf(line, sizeof(line), "\n  %s = ", conf_pool_keys[k].name);
		assert_non_null(strstr(every_key, line));
	}
	for (unsigned k = 0; k < CONF_QUEUE_KEYS; k++) {
		char line[64];
		snprintf(line, sizeof(line), "\n  %s = ", conf_queue_keys[k].name);
		/* the others are for queues of other kinds */
		assert_int_equal(strstr(strstr(every_key, "\nqueue "), line) != NULL,
				 conf_key_applies(&conf_queue_keys[k], CONF_QUEUE_MANAGER));
	}
}

static void test_queue_values(void **state)
{
	struct conf *c = files_conf(every_key);
	const struct conf_queue *q = conf_queue_at(c, 0);

	(void)state;
	assert_int_equal(c->queue_count, 2);
	assert_string_equal(conf_text(c, q->name), "orders");
	assert_string_equal(conf_text(c, q->file), "t.conf");
	assert_int_equal(q->line, 51);
	assert_int_equal(q->kind, CONF_QUEUE_MANAGER);
	assert_int_equal(q->maxsize, 1000);
	assert_int_equal(q->max_bytes, 2 << 20);
	assert_false(q->durable);
	assert_string_equal(conf_text(c, q->dead), "lost");
	assert_int_equal(q->max_deliveries, 3);
	assert_int_equal(q->path, 0);
	q = conf_queue_at(c, 1);
	assert_int_equal(q->maxsize, 0);
	assert_int_equal(q->max_bytes, 64 << 20);
	assert_int_equal(q->max_deliveries, 5);
	assert_int_equal(q->dead, 0);
	free(c);
}

static void test_global_values(void **state)
{
	struct conf *c = files_conf(every_key);

	(void)state;
	assert_string_equal(conf_text(c, c->file), "t.conf");
	assert_string_equal(conf_text(c, c->socket), "/tmp/s");
	assert_int_equal(c->socket_mode, 0600);
	assert_string_equal(conf_text(c, c->socket_group), "root");
	assert_int_equal(c->socket_gid, 0);
	assert_string_equal(conf_text(c, c->state_dir), "/tmp/state");
	assert_string_equal(conf_text(c, c->manager_user), "someone");
	assert_string_equal(conf_text(c, c->run_user), "other");
	assert_int_equal(c->manager.uid, CONF_NO_ID);
	assert_int_equal(c->run.uid, CONF_NO_ID);
	assert_int_equal(c->pool_count, 7); /* the template of a module among them */
	free(c);
}

static void test_templates(void **state)
{
	struct conf *c = files_conf(every_key);
	const struct conf_pool *t = conf_pool_at(c, 3), *p = conf_pool_at(c, 4);

	(void)state;
	assert_true(t->is_template);
	assert_int_equal(t->ready, CONF_READY_NOTIFY);
	assert_int_equal(t->restart_limit, 3);
	assert_int_equal(t->workers, 1);
	assert_false(p->is_template);
	assert_string_equal(conf_text(c, p->template), "warm");
	assert_int_equal(p->command.count, 0);
	assert_int_equal(conf_pool_at(c, 2)->recycle_private, 256 << 20);
	assert_int_equal(conf_pool_at(c, 2)->refork_after, 7);
	assert_int_equal(conf_pool_at(c, 1)->recycle_private, 0);
	free(c);
	/* a command of its own is more than a template that it inherits, and the other way round */
	c = files_conf("template t { command = {x} } pool a { template = t }\n"
		       "pool b { inherits = a command = {y} } pool c { command = {x} }\n"
		       "pool d { inherits = c template = t }");
	assert_int_equal(conf_pool_at(c, 2)->template, 0);
	assert_int_equal(conf_pool_at(c, 2)->command.count, 1);
	assert_int_not_equal(conf_pool_at(c, 4)->template, 0);
	assert_int_equal(conf_pool_at(c, 4)->command.count, 0);
	free(c);
}

static void test_modules(void **state)
{
	struct conf *c = files_conf("pool a { module = \"/m.so\" directory = /tmp umask = 027 nice = 3 workers = 4 }\n"
				    "pool b { inherits = a prefetch = 2 tasks = module }\n"
				    "pool c { inherits = a command = {x} tasks = lines }\n"
				    "pool d { inherits = a command = {x} }");
	const struct conf_pool *p = conf_pool_at(c, 0), *t = conf_pool_at(c, 4);

	(void)state;
	assert_int_equal(c->pool_count, 6); /* the two of a and b stand behind */
	assert_int_equal(p->tasks, CONF_TASKS_MODULE);
	assert_string_equal(conf_text(c, p->module), "/m.so");
	assert_string_equal(conf_text(c, p->template), "a.module");
	assert_int_equal(p->command.count, 0);
	assert_int_equal(p->prefetch, 16);
	assert_int_equal(conf_pool_at(c, 1)->prefetch, 2);
	assert_string_equal(conf_text(c, conf_pool_at(c, 1)->template), "b.module");
	assert_string_equal(conf_text(c, t->name), "a.module");
	assert_true(t->is_template);
	assert_int_equal(t->command.count, 2);
	assert_non_null(strstr(conf_item(c, t->command, 0), "/crew-host"));
	assert_string_equal(conf_item(c, t->command, 1), "/m.so");
	assert_string_equal(conf_text(c, t->directory), "/tmp");
	assert_int_equal(t->umask, 027);
	assert_int_equal(t->nice, 3);
	assert_int_equal(t->workers, 1);
	/* a command of its own is more than a module that it inherits */
	assert_int_equal(conf_pool_at(c, 2)->module, 0);
	assert_int_equal(conf_pool_at(c, 2)->tasks, CONF_TASKS_LINES);
	assert_int_equal(conf_pool_at(c, 2)->template, 0);
	assert_int_equal(conf_pool_at(c, 3)->tasks, CONF_TASKS_NONE);
	free(c);
}

static void test_process_values(void **state)
{
	struct conf *c = files_conf(every_key);
	const struct conf_pool *p = conf_pool_at(c, 1);

	(void)state;
	assert_string_equal(conf_text(c, p->name), "web");
	assert_string_equal(conf_text(c, p->file), "t.conf");
	assert_int_equal(p->line, 8);
	assert_int_equal(p->command.count, 3);
	assert_string_equal(conf_item(c, p->command, 0), "/bin/echo");
	assert_string_equal(conf_item(c, p->command, 1), "single ' \"x\"");
	assert_string_equal(conf_item(c, p->command, 2), "tab\t${HOME} \"q\" \\");
	assert_int_equal(p->environment.count, 3);
	assert_string_equal(conf_item(c, p->environment, 1), "B_2=x=y z");
	assert_true(p->clean_environment);
	assert_string_equal(conf_text(c, p->directory), "/srv");
	assert_string_equal(conf_text(c, p->user), getpwuid(geteuid())->pw_name);
	assert_string_equal(conf_text(c, p->group), getgrgid(getegid())->gr_name);
	assert_int_equal(p->umask, 027);
	assert_true(p->nice_given);
	assert_int_equal(p->nice, -5);
	assert_int_equal(p->ready, CONF_READY_NOTIFY);
	assert_int_equal(p->watchdog, 86400 * USEC_PER_SEC);
	free(c);
}

static void test_limit_values(void **state)
{
	struct conf *c = files_conf(every_key);
	const struct conf_pool *p = conf_pool_at(c, 1);
	const struct conf_limit *limits = conf_limits(c, p);

	(void)state;
	assert_int_equal(p->limit_count, 3);
	assert_int_equal(limits[0].resource, RLIMIT_NOFILE);
	assert_int_equal(limits[0].soft, 1024);
	assert_int_equal(limits[0].hard, 2048);
	assert_int_equal(limits[1].resource, RLIMIT_AS);
	assert_int_equal(limits[1].soft, 512 << 20);
	assert_int_equal(limits[1].hard, 512 << 20);
	assert_int_equal(limits[2].resource, RLIMIT_CORE);
	assert_true(limits[2].hard == RLIM_INFINITY);
	free(c);
}

static void test_policy_values(void **state)
{
	struct conf *c = files_conf(every_key);
	const struct conf_pool *p = conf_pool_at(c, 1);

	(void)state;
	assert_int_equal(p->workers, 300);
	assert_false(p->autostart);
	assert_int_equal(p->restart, CONF_RESTART_ON_FAILURE);
	assert_int_equal(p->restart_delay, USEC_PER_SEC);
	assert_int_equal(p->restart_delay_max, 90 * USEC_PER_SEC);
	assert_int_equal(p->restart_limit, 0);
	assert_int_equal(p->restart_window, 7200 * USEC_PER_SEC);
	assert_true(conf_is_success(p, 0) && conf_is_success(p, 3) && conf_is_success(p, 255));
	assert_false(conf_is_success(p, 1) || conf_is_success(p, -1) || conf_is_success(p, 256));
	assert_int_equal(p->start_timeout, 500000);
	assert_int_equal(p->stop_signal, SIGRTMIN + 3);
	assert_int_equal(p->stop_timeout, 0);
	assert_int_equal(p->after.count, 1);
	assert_string_equal(conf_item(c, p->after, 0), "first");
	assert_int_equal(p->log, CONF_LOG_FILE);
	assert_string_equal(conf_text(c, p->log_file), "/var/log/web.log");
	assert_string_equal(conf_text(c, p->inherits), "first");
	free(c);
}

static void test_task_values(void **state)
{
	struct conf *c = files_conf(every_key);
	const struct conf_pool *p = conf_pool_at(c, 2);

	(void)state;
	assert_int_equal(p->tasks, CONF_TASKS_LINES);
	assert_int_equal(p->workers, 4);
	assert_int_equal(p->min_workers, 0);
	assert_int_equal(p->idle_timeout, 0);
	assert_int_equal(p->backlog, 10000000);
	assert_int_equal(p->task_timeout, 1000);
	assert_int_equal(p->retries, 1000);
	assert_int_equal(p->max_tasks_per_worker, 7);
	assert_int_equal(p->prefetch, 100000);
	assert_int_equal(p->result_ttl, 86400 * USEC_PER_SEC + 1000);
	assert_string_equal(conf_text(c, p->queue), "orders");
	free(c);
	c = files_conf("pool a { command = {\"x\"} tasks = jsonrpc }\n"
		       "pool b { command = {\"x\"} tasks = \"exec\" }\n");
	assert_int_equal(conf_pool_at(c, 0)->tasks, CONF_TASKS_JSONRPC);
	assert_int_equal(conf_pool_at(c, 1)->tasks, CONF_TASKS_EXEC);
	free(c);
}

static void has_task_defaults(const struct conf_pool *p)
{
	assert_true(p->min_workers == UINT32_MAX);
	assert_int_equal(p->idle_timeout, 60 * USEC_PER_SEC);
	assert_int_equal(p->backlog, 100000);
	assert_int_equal(p->task_timeout, 0);
	assert_int_equal(p->retries, 0);
	assert_int_equal(p->max_tasks_per_worker, 0);
	assert_int_equal(p->prefetch, 1);
	assert_int_equal(p->result_ttl, 300 * USEC_PER_SEC);
	assert_int_equal(p->queue, 0);
}

/* What is inherited and of no use is as if it had not been given. */
static void test_inherited_without_use(void **state)
{
	struct conf *c = files_conf(
		"pool kind { command = {\"x\"} tasks = lines workers = 3 min-workers = 2\n"
		"  idle-timeout = 1s max-tasks-per-worker = 3 prefetch = 9 ready = notify\n"
		"  watchdog = 1s backlog = 5 }\n"
		"pool a { inherits = kind tasks = exec }\n"
		"pool plain { command = {\"x\"} restart = never }\n"
		"pool b { inherits = plain tasks = lines ready = notify restart-limit = 0 }\n");
	const struct conf_pool *a = conf_pool_at(c, 1), *b = conf_pool_at(c, 3);
	char *once = files_print(c), *twice;

	(void)state;
	assert_int_equal(a->backlog, 5);
	assert_int_equal(a->ready, CONF_READY_EXEC);
	assert_int_equal(a->watchdog, 0);
	assert_true(a->min_workers == UINT32_MAX);
	assert_int_equal(a->idle_timeout, 60 * USEC_PER_SEC);
	assert_int_equal(a->max_tasks_per_worker, 0);
	assert_int_equal(a->prefetch, 1);
	assert_int_equal(b->restart, CONF_RESTART_ALWAYS);
	assert_int_equal(b->ready, CONF_READY_NOTIFY);
	has_task_defaults(b);
	free(c);
	c = files_conf(once);
	twice = files_print(c);
	assert_string_equal(once, twice);
	free(once);
	free(twice);
	free(c);
}

static void test_pool_defaults(void **state)
{
	struct conf *c = files_conf("pool a { command = {\"x\"} }");
	const struct conf_pool *p = conf_pool_at(c, 0);

	(void)state;
	assert_int_equal(p->workers, 1);
	assert_true(p->autostart);
	assert_false(p->clean_environment || p->nice_given);
	assert_int_equal(p->umask, -1);
	assert_int_equal(p->identity.uid, CONF_NO_ID);
	assert_int_equal(p->identity.gid, CONF_NO_ID);
	assert_int_equal(p->restart, CONF_RESTART_ALWAYS);
	assert_int_equal(p->restart_delay, 100000);
	assert_int_equal(p->restart_delay_max, 30 * USEC_PER_SEC);
	assert_int_equal(p->restart_limit, 10);
	assert_int_equal(p->restart_window, 60 * USEC_PER_SEC);
	assert_true(conf_is_success(p, 0) && !conf_is_success(p, 1));
	assert_int_equal(p->ready, CONF_READY_EXEC);
	assert_int_equal(p->start_timeout, 30 * USEC_PER_SEC);
	assert_int_equal(p->watchdog, 0);
	assert_int_equal(p->stop_signal, SIGTERM);
	assert_int_equal(p->stop_timeout, 10 * USEC_PER_SEC);
	assert_int_equal(p->log, CONF_LOG_INHERIT);
	assert_int_equal(p->directory | p->user | p->group | p->inherits | p->log_file, 0);
	assert_int_equal(p->tasks, CONF_TASKS_NONE);
	has_task_defaults(p);
	free(c);
}

static void test_global_defaults(void **state)
{
	struct conf *c = files_conf("");

	(void)state;
	assert_string_equal(conf_text(c, c->socket), "/run/user/7/crewd/control");
	assert_string_equal(conf_text(c, c->state_dir), "/home/seven/state/crewd");
	assert_int_equal(c->socket_mode, 0660);
	assert_int_equal(c->socket_gid, CONF_NO_ID);
	assert_int_equal(c->socket_group | c->run_user, 0);
	assert_int_equal(c->pool_count, 0);
	free(c);
	unsetenv("XDG_RUNTIME_DIR");
	unsetenv("XDG_STATE_HOME");
	setenv("HOME", "/home/seven", 1);
	c = files_conf("");
	assert_int_equal(c->socket, 0);
	assert_string_equal(conf_text(c, c->state_dir), "/home/seven/.local/state/crewd");
	free(c);
}

static void test_as_root(void **state)
{
	struct conf_errors e = { 0 };
	struct conf *c;
	size_t size;

	(void)state;
	files_write("t.conf", "manager-user = daemon\nrun-user = nobody\n"
			      "pool a { command = {\"x\"} user = nobody }\n"
			      "pool b { command = {\"x\"} group = daemon }\n");
	if (geteuid() != 0)
		skip();
	c = conf_read("t.conf", true, &size, &e);
	assert_null(e.text);
	assert_string_equal(conf_text(c, c->socket), "/run/crewd/control");
	assert_string_equal(conf_text(c, c->state_dir), "/var/lib/crewd");
	assert_int_equal(c->manager.uid, 1);
	assert_int_equal(c->run.uid, 65534);
	assert_int_equal(conf_pool_at(c, 0)->identity.uid, 65534);
	assert_string_equal(conf_text(c, conf_pool_at(c, 0)->identity.user), "nobody");
	assert_true(conf_pool_at(c, 0)->identity.group_count >= 1);
	assert_int_equal(conf_groups(c, &conf_pool_at(c, 0)->identity)[0], 65534);
	assert_int_equal(conf_pool_at(c, 1)->identity.uid, CONF_NO_ID);
	assert_int_equal(conf_pool_at(c, 1)->identity.gid, 1);
	assert_true(conf_valid(c, size));
	free(c);
}

static void test_inherit_before_defaults(void **state)
{
	struct conf *c = files_conf("pool c { inherits = b  stop-timeout = 3s }\n"
				    "pool b { inherits = a  environment = {} workers = 5 }\n"
				    "pool a { command = {\"x\", \"y\"} environment = {\"A=1\"}\n"
				    "  stop-timeout = 1s restart = never workers = 0 }\n");
	const struct conf_pool *p = conf_pool_at(c, 0);

	(void)state;
	assert_int_equal(p->command.count, 2);
	assert_int_equal(p->environment.count, 0);
	assert_int_equal(p->stop_timeout, 3 * USEC_PER_SEC);
	assert_int_equal(p->restart, CONF_RESTART_NEVER);
	assert_int_equal(p->workers, 5);
	assert_string_equal(conf_text(c, p->inherits), "b");
	assert_int_equal(conf_pool_at(c, 2)->inherits, 0);
	free(c);
}

static void test_include(void **state)
{
	struct conf *c;

	(void)state;
	mkdir("in[1]", 0755);
	mkdir("in[1]/deep", 0755);
	files_write("in[1]/b.conf", "pool b { command = {\"x\"} }");
	files_write("in[1]/a.conf", "include(\"deep/c.conf\") pool a {\n command = {\"x\"} }");
	files_write("in[1]/deep/c.conf", "# nothing but a pool\npool c { command = {\"x\"} }");
	files_write("in[1]/ignored", "nonsense");
	c = files_conf("pool first { command = {\"x\"} }\n"
		       "include(\"in[[]1]/*.conf\")\n"
		       "include('none/*.conf')\n"
		       "pool last { command = {\"x\"} }\n");
	assert_int_equal(c->pool_count, 5);
	assert_string_equal(conf_text(c, conf_pool_at(c, 0)->name), "first");
	assert_string_equal(conf_text(c, conf_pool_at(c, 1)->name), "c");
	assert_string_equal(conf_text(c, conf_pool_at(c, 1)->file), "in[1]/deep/c.conf");
	assert_int_equal(conf_pool_at(c, 1)->line, 2);
	assert_string_equal(conf_text(c, conf_pool_at(c, 2)->name), "a");
	assert_string_equal(conf_text(c, conf_pool_at(c, 3)->name), "b");
	assert_string_equal(conf_text(c, conf_pool_at(c, 4)->name), "last");
	free(c);
}

/* ---- printed, and read again ------------------------------------------------------------------- */

static void same_when_printed(const char *text)
{
	struct conf *c = files_conf(text);
	char *once = files_print(c), *twice;

	free(c);
	c = files_conf(once);
	twice = files_print(c);
	assert_string_equal(once, twice);
	free(c);
	free(once);
	free(twice);
}

static void test_print(void **state)
{
	(void)state;
	same_when_printed("");
	same_when_printed(every_key);
	same_when_printed("pool a { module = \"/m.so\" clean-environment = true environment = {\"A=1\"} prefetch = 3 }\n"
			  "pool b { inherits = a }\n");
	same_when_printed("pool a { command = {\"x\"} tasks = exec restart = always ready = exec\n"
			  "watchdog = off }\n");
	same_when_printed("pool a { command = {\"\\x01\\x7f\\n\\e\\\\x\", \"${A}\", '${B}\\'',\n"
			  "\"two\nlines\", \"joi\\\nned\", \"\xc3\xa4\xff\", a//b }\n"
			  "success-exit = {} watchdog = off restart-delay = 1.5ms }\n"
			  "pool b { inherits = a command = {\"x\"} }\n");
}

static void test_print_text(void **state)
{
	struct conf *c = files_conf("pool a { command = {\"$\\x01\\\"\"} umask = 7 }");
	char *text = files_print(c);

	(void)state;
	assert_non_null(strstr(text, "pool \"a\" {\n\tcommand = {\"$\\x01\\\"\"}\n"));
	assert_non_null(strstr(text, "\tumask = 0007\n"));
	assert_non_null(strstr(text, "\tsuccess-exit = {0}\n"));
	assert_non_null(strstr(text, "\twatchdog = \"off\"\n"));
	assert_null(strstr(text, "nice"));
	assert_null(strstr(text, "tasks"));
	assert_null(strstr(text, "min-workers"));
	assert_null(strstr(text, "backlog")); /* it would be an error there */
	free(text);
	free(c);
}

static void test_no_variables(void **state)
{
	struct conf *c;

	(void)state;
	setenv("X", "from the environment", 1);
	c = files_conf("pool a { command = {\"${X}\", \"a${X:-b}\", \"\\${X}\", '${X}', \"$X\"} }");
	assert_string_equal(conf_item(c, conf_pool_at(c, 0)->command, 0), "${X}");
	assert_string_equal(conf_item(c, conf_pool_at(c, 0)->command, 1), "a${X:-b}");
	assert_string_equal(conf_item(c, conf_pool_at(c, 0)->command, 2), "${X}");
	assert_string_equal(conf_item(c, conf_pool_at(c, 0)->command, 3), "${X}");
	assert_string_equal(conf_item(c, conf_pool_at(c, 0)->command, 4), "$X");
	free(c);
}

static void test_comments(void **state)
{
	struct conf *c = files_conf("#\n##\n#");

	(void)state;
	free(c);
	c = files_conf(
		"#\npool /* a */ a { // what\r\n#\n command = # it\n {\n#\n\"x\" /*\n*/,} }#");
	assert_int_equal(conf_pool_at(c, 0)->command.count, 1);
	free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, files_setup, files_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_key_is_here), TEST(test_queue_values),
		TEST(test_global_values),
		TEST(test_templates), TEST(test_modules),     TEST(test_process_values),
		TEST(test_limit_values),      TEST(test_policy_values),
		TEST(test_task_values),	      TEST(test_inherited_without_use),
		TEST(test_pool_defaults),     TEST(test_global_defaults),
		TEST(test_as_root),	      TEST(test_inherit_before_defaults),
		TEST(test_include),	      TEST(test_print),
		TEST(test_print_text),	      TEST(test_no_variables),
		TEST(test_comments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
