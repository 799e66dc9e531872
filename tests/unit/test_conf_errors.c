/* Every way a configuration can be wrong, with the exact line that says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/bounds.h"
#include "tests/unit/conf_files.h"

#define C "command = {\"x\"}\n"

struct bad {
	const char *text, *lines;
};

static void check(const struct bad *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		files_errors(rows[i].text, rows[i].lines);
}
#define CHECK(rows) check(rows, sizeof(rows) / sizeof(*(rows)))

/* One key of a pool, on line 3. */
static void check_key(const char *line, const char *error)
{
	char text[512], lines[512];

	snprintf(text, sizeof(text), "pool a {\n" C "%s\n}", line);
	snprintf(lines, sizeof(lines), "t.conf:3: pool \"a\": %s\n", error);
	files_errors(text, lines);
}

static void test_grammar(void **state)
{
	static const struct bad rows[] = {
		{ "pool a {\n" C, "t.conf:1: pool \"a\" is not closed: a } is missing\n" },
		{ "\npool a {\n" C "pool b {\n" C "}",
		  "t.conf:4: a section inside pool \"a\"; is a } missing above?\n" },
		{ "pool a { command = {\"x\n} }", "t.conf:1: this string is not ended: a \" is "
						  "missing\n" },
		{ "\nsocket = 'x", "t.conf:2: this string is not ended: a ' is missing\n" },
		{ "\n/* \n", "t.conf:2: this comment is not ended by */\n" },
		{ "socket", "t.conf:1: the file ends where = should follow\n" },
		{ "socket =\n", "t.conf:2: the file ends where a value should follow\n" },
		{ "socket = }", "t.conf:1: a value expected instead of }\n" },
		{ "pool a { command = {\"x\" \"y\"} }", "t.conf:1: , or } expected instead of "
							"\"y\"\n" },
		{ "pool a { command = {{\"x\"}} }", "t.conf:1: a value or } expected instead of "
						    "{\n" },
		{ "pool a { command = {\"x\"", "t.conf:1: the file ends where , or } should "
					       "follow\n" },
		{ "}", "t.conf:1: a key, pool, queue, template or include expected instead of }\n" },
		{ "\"socket\" = /x", "t.conf:1: a key, pool, queue, template or include expected instead of "
				     "\"socket\"\n" },
		{ "pool a = 3", "t.conf:1: { expected instead of =\n" },
		{ "pool {}", "t.conf:1: the pool's name expected instead of {\n" },
		{ "pool a { = }", "t.conf:1: a key or } expected instead of =\n" },
		{ "socket-mode += 3", "t.conf:1: += is not known here; give the whole list with "
				      "=\n" },
		{ "socket = a&b", "t.conf:1: unexpected &; write the value in double quotes\n" },
		{ "socket = \x01", "t.conf:1: unexpected byte 0x01 outside quotes\n" },
		{ "socket = ${X}", "t.conf:1: unexpected $; write the value in double quotes\n" },
	};

	(void)state;
	CHECK(rows);
}

static void test_escapes(void **state)
{
	static const char *const bad[] = { "\\0", "\\00",  "\\000", "\\x0", "\\x00",
					   "\\x", "\\400", "\\9",   "\\q" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char text[64];
		snprintf(text, sizeof(text), "\nsocket = \"/a%s\"", bad[i]);
		files_errors(text, "t.conf:2: unknown escape after \\ in a string; \\\\ is a "
				   "backslash\n");
	}
}

static void test_names(void **state)
{
	char text[256], lines[512];
	static const char *const bad[] = { "", "web-1", "a b", ".", "..", "a/b", "-1", "\xc3\xa4" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(text, sizeof(text), "\npool \"%s\" {\n" C "}", bad[i]);
		snprintf(lines, sizeof(lines),
			 "t.conf:2: \"%s\" is no name for a pool: 1 to 64 of A-Z a-z 0-9 _ . -, "
			 "and not ending in - and digits\n",
			 bad[i]);
		files_errors(text, lines);
	}
	files_errors(
		"pool a {\n" C "}\npool b { " C "}\npool 'a' {\n" C "}",
		"t.conf:6: pool \"a\" is already defined at t.conf:1; give one of them another "
		"name\n");
}

static void test_unknown(void **state)
{
	static const struct bad rows[] = {
		{ "soket = /x",
		  "t.conf:1: unknown key \"soket\" outside of pools and queues; did you mean "
		  "\"socket\"?\n" },
		{ "pool a {\n" C "worker = 3 }", "t.conf:3: unknown key \"worker\" in a pool; did "
						 "you mean \"workers\"?\n" },
		{ "pool a {\n" C "tmplt = q }", "t.conf:3: unknown key \"tmplt\" in a pool; "
						"crewd.conf(5) has them all\n" },
		{ "workers = 3", "t.conf:1: unknown key \"workers\" outside of pools and queues; "
				 "crewd.conf(5) has them all\n" },
		{ "\nqeue \"q\" { a = {1}\n b {} }\nsoket = 1",
		  "t.conf:2: unknown section \"qeue\"; only \"pool\", \"queue\" and \"template\" are known\n"
		  "t.conf:4: unknown key \"soket\" outside of pools and queues; did you mean "
		  "\"socket\"?\n" },
	};

	(void)state;
	CHECK(rows);
}

static void test_twice_and_shape(void **state)
{
	static const struct bad rows[] = {
		{ "socket = /a\nsocket = /b", "t.conf:2: socket is given twice, first at "
					      "t.conf:1\n" },
		{ "pool a { " C C "}", "t.conf:2: command is given twice, first at t.conf:1\n" },
		{ "pool a {\ncommand = /bin/true }",
		  "t.conf:2: command takes a list, as in command = {\"...\"}\n"
		  "t.conf:1: pool \"a\" has no command; add command = {\"/path/of/program\"}\n" },
		{ "pool a { " C "workers = {3} }", "t.conf:2: workers takes one value, not a "
						   "list\n" },
	};

	(void)state;
	CHECK(rows);
}

static void test_process_keys(void **state)
{
	(void)state;
	files_errors("pool a {\ncommand = {} }",
		     "t.conf:2: pool \"a\": command = \"\": must name a program, as in "
		     "{\"/usr/bin/sleep\", \"60\"}\n");
	files_errors("pool a {\ncommand = {\"\", \"x\"} }",
		     "t.conf:2: pool \"a\": command = \"\": must name a program, as in "
		     "{\"/usr/bin/sleep\", \"60\"}\n");
	check_key("environment = {\"A\"}", "environment = \"A\": must be KEY=VALUE, KEY of "
					   "letters, digits and _");
	check_key("environment = {\"=A\"}", "environment = \"=A\": must be KEY=VALUE, KEY of "
					    "letters, digits and _");
	check_key("environment = {\"1A=\"}", "environment = \"1A=\": must be KEY=VALUE, KEY of "
					     "letters, digits and _");
	check_key("environment = {\"A=1\", \"A=2\"}", "environment = \"A=2\": A is given twice");
	check_key("clean-environment = maybe", "clean-environment = \"maybe\": must be true or "
					       "false");
	check_key("directory = srv", "directory = \"srv\": must be an absolute path, one that "
				     "begins with /");
	check_key("umask = 8", "umask = \"8\": must be octal permission bits, from 0000 to 0777");
	check_key("umask = 01000", "umask = \"01000\": must be octal permission bits, from 0000 to "
				   "0777");
	check_key("nice = 20", "nice = \"20\": must be a number from -20 to 19");
	check_key("nice = -010", "nice = \"-010\": must be written without the leading zero");
	check_key("ready = \"soon\"", "ready = \"soon\": must be \"exec\" or \"notify\"");
	check_key("watchdog = -1s", "watchdog = \"-1s\": must be a duration such as \"500ms\", "
				    "\"10s\" or \"1min 30s\"");
	check_key("user = \"\"", "user = \"\": must not be empty");
	check_key("user = no-such", "user = \"no-such\": there is no such user");
	check_key("group = no-such", "group = \"no-such\": there is no such group");
}

#define LIMIT                                                                                      \
	"must be NAME=SOFT or NAME=SOFT:HARD, NAME one of as, core, cpu, data, "                   \
	"fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, "              \
	"sigpending, stack"

static void test_limits(void **state)
{
	(void)state;
	check_key("limits = {\"files=3\"}", "limits = \"files=3\": " LIMIT);
	check_key("limits = {\"nofile\"}", "limits = \"nofile\": " LIMIT);
	check_key("limits = {\"nofile=1K\"}", "limits = \"nofile=1K\": " LIMIT);
	check_key("limits = {\"nofile=-1\"}", "limits = \"nofile=-1\": " LIMIT);
	check_key("limits = {\"nofile=3:2\"}", "limits = \"nofile=3:2\": " LIMIT);
	check_key("limits = {\"nofile=\"}", "limits = \"nofile=\": " LIMIT);
	check_key("limits = {\"core=0\", \"core=1\"}", "limits = \"core=1\": this limit is given "
						       "twice");
}

static void test_policy_keys(void **state)
{
	(void)state;
	check_key("workers = 32769", "workers = \"32769\": must be a number from 0 to 32768");
	check_key("workers = -1", "workers = \"-1\": must be a number from 0 to 32768");
	check_key("workers = 010", "workers = \"010\": must be written without the leading zero");
	check_key("workers = 0x10", "workers = \"0x10\": must be a number from 0 to 32768");
	check_key("workers = 99999999999999999999", "workers = \"99999999999999999999\": must be a "
						    "number from 0 to 32768");
	check_key("autostart = 2", "autostart = \"2\": must be true or false");
	check_key("restart = sometimes", "restart = \"sometimes\": must be \"always\", "
					 "\"on-failure\" or \"never\"");
	check_key("restart-delay = 5", "restart-delay = \"5\": must be a duration such as "
				       "\"500ms\", \"10s\" or \"1min 30s\"");
	check_key("restart-delay = 400d", "restart-delay = \"400d\": must be from 0ms to 366d");
	check_key("restart-window = 367d", "restart-window = \"367d\": must be from 1ms to 366d");
	check_key("restart-limit = -1", "restart-limit = \"-1\": must be a number from 0 to "
					"1000000");
	check_key("success-exit = {0, 256}", "success-exit = \"256\": must be a number from 0 to "
					     "255");
	check_key("start-timeout = off", "start-timeout = \"off\": must be a duration such as "
					 "\"500ms\", \"10s\" or \"1min 30s\"");
	check_key("stop-signal = STOPP", "stop-signal = \"STOPP\": must be a signal such as "
					 "\"TERM\", \"INT\" or \"RTMIN+3\"");
	check_key("log = \"file\"", "log = \"file\": must be \"journal\", \"inherit\", \"discard\" "
				    "or a file's absolute path");
	check_key("after = {\"a b\"}", "after = \"a b\": there is no pool of that name");
	check_key("restart-delay = 1min", "restart-delay-max (30s) must not be less than "
					  "restart-delay (1min)");
	check_key("restart-delay-max = 99ms", "restart-delay-max (99ms) must not be less than "
					      "restart-delay (100ms)");
}

static void test_task_keys(void **state)
{
	(void)state;
	check_key("tasks = line", "tasks = \"line\": must be \"exec\", \"lines\", \"jsonrpc\" or \"module\"");
	check_key("tasks = \"\"",
		  "tasks = \"\": must be \"exec\", \"lines\", \"jsonrpc\" or \"module\"");
	/* only what is wrong, not what would go with it */
	check_key("tasks = module prefetch = 3",
		  "tasks = \"module\": needs the module; add module = \"/path/of/libthing.so\"");
	check_key("tasks = lines min-workers = 2", "min-workers (2) must not be more than workers "
						   "(1)");
	check_key("tasks = lines min-workers = -1", "min-workers = \"-1\": must be a number from 0 "
						    "to 32768");
	check_key("tasks = lines idle-timeout = off",
		  "idle-timeout = \"off\": must be a duration such as \"500ms\", \"10s\" or "
		  "\"1min 30s\"");
	check_key("tasks = exec backlog = 0", "backlog = \"0\": must be a number from 1 to "
					      "10000000");
	check_key("tasks = exec backlog = 10000001", "backlog = \"10000001\": must be a number "
						     "from 1 to 10000000");
	check_key("tasks = exec task-timeout = 0", "task-timeout = \"0\": must be from 1ms to "
						   "366d");
	check_key("tasks = exec retries = 1001", "retries = \"1001\": must be a number from 0 to "
						 "1000");
	check_key("tasks = lines prefetch = 0", "prefetch = \"0\": must be a number from 1 to "
						"100000");
	check_key("tasks = exec result-ttl = 0", "result-ttl = \"0\": must be from 1ms to 366d");
}

#define EACH                                                                                       \
	"with tasks = \"exec\" each task has a process of its own, that ends with it; "            \
	"remove it, or take \"lines\" or \"jsonrpc\""
#define LASTING "is for pools whose workers do many tasks; add tasks = \"lines\" or \"jsonrpc\""
#define ALL	"is for pools that have tasks; add tasks = \"exec\", \"lines\" or \"jsonrpc\""

static void test_keys_without_use(void **state)
{
	(void)state;
	check_key("min-workers = 1", "min-workers = \"1\": " LASTING);
	check_key("idle-timeout = 60s", "idle-timeout = \"60s\": " LASTING);
	check_key("max-tasks-per-worker = 0", "max-tasks-per-worker = \"0\": " LASTING);
	check_key("prefetch = 1", "prefetch = \"1\": " LASTING);
	check_key("backlog = 1", "backlog = \"1\": " ALL);
	check_key("task-timeout = off", "task-timeout = \"off\": " ALL);
	check_key("retries = 0", "retries = \"0\": " ALL);
	check_key("result-ttl = 5min", "result-ttl = \"5min\": " ALL);
	check_key("queue = q", "queue = \"q\": " ALL);
	check_key("tasks = exec queue = nowhere",
		  "queue = \"nowhere\": there is no queue of that name");
	check_key("tasks = lines queue = \"a b\"",
		  "queue = \"a b\": must be a queue's name: 1 to 64 of A-Z a-z 0-9 _ . -");
	check_key("tasks = exec ready = notify", "ready = \"notify\": " EACH);
	check_key("tasks = exec watchdog = 5s", "watchdog = \"5s\": " EACH);
	check_key("tasks = lines restart = never",
		  "restart = \"never\": the workers of task pools are always restarted; remove it, "
		  "or the tasks");
	check_key("tasks = exec restart = \"on-failure\"",
		  "restart = \"on-failure\": the workers of task pools are always restarted; "
		  "remove it, or the tasks");
}

static void test_inherited_task_keys(void **state)
{
	static const struct bad rows[] = {
		/* both are inherited: it is said where it stands */
		{ "pool a {\n" C "tasks = lines min-workers = 2 }\npool b { inherits = a }",
		  "t.conf:3: pool \"a\": min-workers (2) must not be more than workers (1)\n" },
		{ "pool a {\n" C "tasks = lines workers = 2 min-workers = 2 }\n"
		  "pool b { inherits = a\n workers = 1 }",
		  "t.conf:5: pool \"b\": min-workers (2) must not be more than workers (1)\n" },
		/* it would change nothing, and is only warned of: here, beside an error */
		{ "pool a {\n" C
		  "tasks = exec }\npool b { inherits = a\nprefetch = 2 }\nsocket = s",
		  "t.conf:6: socket = \"s\": must be an absolute path, one that begins with /\n"
		  "t.conf:5: warning: pool \"b\": prefetch has no effect: " EACH "\n" },
	};

	(void)state;
	CHECK(rows);
}

static void test_global_keys(void **state)
{
	static const struct bad rows[] = {
		{ "socket = control", "t.conf:1: socket = \"control\": must be an absolute path, "
				      "one that begins with /\n" },
		{ "socket = /23456789_123456789_123456789_123456789_123456789_123456789_"
		  "123456789_123456789_123456789_123456789_12345678",
		  "t.conf:1: socket = \"/23456789_123456789_123456789_123456789_123456789_"
		  "123456789_123456789_123456789_\"...: must have at most 107 characters\n" },
		{ "socket-mode = 0888", "t.conf:1: socket-mode = \"0888\": must be octal "
					"permission bits, from 0000 to 0777\n" },
		{ "socket-group = \"no-such\"", "t.conf:1: socket-group = \"no-such\": there is no "
						"such group\n" },
		{ "\nmanager-user = \"\"", "t.conf:2: manager-user = \"\": must not be empty\n" },
	};

	(void)state;
	CHECK(rows);
}

static void test_references(void **state)
{
	static const struct bad rows[] = {
		{ "pool a {\n" C "after = {\"b\"} }",
		  "t.conf:3: pool \"a\": after = \"b\": there is no pool of that name\n" },
		{ "pool a {\n" C "after = {\"a\"} }",
		  "t.conf:3: pool \"a\": after goes round in a circle: a -> a\n" },
		{ "pool a { after = {\"b\"} " C "}\npool b { after = {\"c\"} " C "}\n"
		  "pool c { after = {\"d\", \"b\"} " C "}\npool d { " C "}",
		  "t.conf:5: pool \"c\": after goes round in a circle: b -> c -> b\n" },
		{ "pool a {\ninherits = b }",
		  "t.conf:2: pool \"a\": inherits = \"b\": there is no pool of that name\n"
		  "t.conf:1: pool \"a\" has no command; add command = {\"/path/of/program\"}\n" },
		{ "pool a { " C "inherits = b }\npool b {\ninherits = a }",
		  "t.conf:4: pool \"b\": inherits goes round in a circle: a -> b -> a\n"
		  "t.conf:3: pool \"b\" has no command; add command = {\"/path/of/program\"}\n" },
		{ "pool a { inherits = b workers = 20000 }\npool b {\n" C "workers = 20000 }",
		  "t.conf:4: pool \"b\": with its 20000 workers all pools have more than 32768 "
		  "together\n" },
		/* said once, where it stands */
		{ "pool a { inherits = b }\npool b { " C "nice = 99\nafter = {\"x\"} }",
		  "t.conf:3: pool \"b\": nice = \"99\": must be a number from -20 to 19\n"
		  "t.conf:4: pool \"b\": after = \"x\": there is no pool of that name\n" },
	};

	(void)state;
	CHECK(rows);
}

static void test_all_in_one_go(void **state)
{
	(void)state;
	mkdir("d", 0755);
	files_write("d/1.conf", "pool one {\n" C "nice = x }");
	files_write("d/2.conf", "pool two {\n" C);
	files_write("d/3.conf", "\nsocket = {3}\nsocket-mode = x");
	files_errors(
		"include(\"d/*.conf\")\nxyz = 1\ninclude(\"e.conf\")\npool three { workers = x }",
		"d/2.conf:1: pool \"two\" is not closed: a } is missing\n"
		"d/3.conf:2: socket takes one value, not a list\n"
		"t.conf:2: unknown key \"xyz\" outside of pools and queues; crewd.conf(5) has them "
		"all\n"
		"t.conf:3: include: e.conf cannot be opened: No such file or directory\n"
		"d/3.conf:3: socket-mode = \"x\": must be octal permission bits, from 0000 to "
		"0777\n"
		"d/1.conf:3: pool \"one\": nice = \"x\": must be a number from -20 to 19\n"
		"t.conf:4: pool \"three\": workers = \"x\": must be a number from 0 to "
		"32768\n");
}

static void test_include(void **state)
{
	(void)state;
	files_errors("\ninclude(\"t.conf\")",
		     "t.conf:2: include: nested too deep; does a file include itself?\n");
	files_errors("include(x)", "t.conf:1: a file name in quotes expected instead of x\n");
	files_errors("include \"x\"", "t.conf:1: ( expected instead of \"x\"\n");
	files_errors("include(\"x\"", "t.conf:1: the file ends where ) should follow\n");
	files_errors("include(\"a\\x41\")", "t.conf:1: no escapes or line breaks in the name of an "
					    "include\n");
	files_errors("include(\"/dev/zero\")", "t.conf:1: include: /dev/zero is not a regular "
					       "file\n");
	files_errors("pool a { include(\"x\") }", "t.conf:1: = expected instead of (\n");
}

static void test_many_includes(void **state)
{
	(void)state;
	mkdir("m", 0755);
	for (int i = 0; i < CREW_CONF_FILES_MAX; i++) {
		char name[32];
		snprintf(name, sizeof(name), "m/%d.conf", i);
		files_write(name, "");
	}
	files_errors("include(\"m/*.conf\")", "t.conf:1: include: too many files\n");
}

/* All errors in one go: each wrong item of a list as well. */
static void test_items(void **state)
{
	(void)state;
	files_errors(
		"pool a { " C "environment = {\"A=1\", \"B\", \"C=1\", \"=D\"}\n"
		"success-exit = {0, 256, x} }",
		"t.conf:2: pool \"a\": environment = \"B\": must be KEY=VALUE, KEY of letters, "
		"digits and _\n"
		"t.conf:2: pool \"a\": environment = \"=D\": must be KEY=VALUE, KEY of letters, "
		"digits and _\n"
		"t.conf:3: pool \"a\": success-exit = \"256\": must be a number from 0 to 255\n"
		"t.conf:3: pool \"a\": success-exit = \"x\": must be a number from 0 to 255\n");
}

static void test_long_value(void **state)
{
	char text[400], lines[400], many[201];

	(void)state;
	memset(many, 'y', 200);
	many[200] = '\0';
	snprintf(text, sizeof(text), "pool a { " C "log = \"a\nb%s\" }", many);
	snprintf(lines, sizeof(lines),
		 "t.conf:2: pool \"a\": log = \"a?b%.77s\"...: must be \"journal\", \"inherit\", "
		 "\"discard\" or a file's absolute path\n",
		 many);
	files_errors(text, lines);
}

static void test_as_root(void **state)
{
	struct conf_errors e = { 0 };
	size_t size;

	(void)state;
	if (geteuid() != 0)
		skip();
	files_write("t.conf",
		    "manager-user = root\nrun-user = no-such\npool a { " C "user = root }\n"
		    "pool b { " C "user = no-such }\n"
		    "pool c { " C "user = no-such\ngroup = none }");
	assert_null(conf_read("t.conf", true, &size, &e));
	assert_string_equal(
		e.text, "t.conf:1: manager-user = \"root\": must not be root\n"
			"t.conf:2: run-user = \"no-such\": there is no such user\n"
			"t.conf:4: pool \"a\": must not be crewd's manager-user; choose another "
			"one\n"
			"t.conf:6: pool \"b\": user = \"no-such\": there is no such user\n"
			"t.conf:9: pool \"c\": group = \"none\": there is no such group\n"
			"t.conf:8: pool \"c\": user = \"no-such\": there is no such user\n");
	conf_errors_free(&e);
	files_write("t.conf", "manager-user = daemon\nrun-user = daemon");
	assert_null(conf_read("t.conf", true, &size, &e));
	assert_string_equal(e.text, "t.conf:2: run-user: must not be crewd's manager-user; choose "
				    "another one\n");
	conf_errors_free(&e);
	assert_int_equal(chmod("t.conf", 0666), 0);
	assert_null(conf_read("t.conf", true, &size, &e));
	assert_string_equal(e.text, "t.conf:1: the file can be written by anybody; chmod o-w\n");
	conf_errors_free(&e);
	assert_int_equal(chmod("t.conf", 0644), 0);
	assert_int_equal(chown("t.conf", 1, 1), 0);
	assert_null(conf_read("t.conf", true, &size, &e));
	assert_string_equal(e.text, "t.conf:1: the file belongs to somebody else than root; chown "
				    "root\n");
	conf_errors_free(&e);
}

static void test_fallback_is_told(void **state)
{
	struct conf_errors e = { 0 };
	struct conf *c;
	size_t size;

	(void)state;
	if (geteuid() != 0)
		skip();
	files_write("t.conf", "\nmanager-user = no-such\npool a { " C "user = nobody }");
	c = conf_read("t.conf", true, &size, &e);
	assert_non_null(c);
	assert_int_equal(e.count, 0);
	assert_string_equal(
		e.text, "t.conf:2: warning: manager-user: there is no user \"no-such\", "
			"\"nobody\" is taken\n"
			"t.conf:4: warning: pool \"a\": user is the user of crewd's manager too; "
			"add a user \"crewd\"\n");
	conf_errors_free(&e);
	free(c);
}

#define ONE_OF_TWO "its workers are forked from crewd's own template for modules; remove one of the two\n"

static void test_module(void **state)
{
	static const struct bad rows[] = {
		{ "pool a {\ntasks = module }",
		  "t.conf:2: pool \"a\": tasks = \"module\": needs the module; add module = "
		  "\"/path/of/libthing.so\"\n" },
		{ "pool a {\nmodule = \"/m.so\"\n" C "}",
		  "t.conf:3: pool \"a\": command = \"x\": " ONE_OF_TWO },
		{ "template t {\n" C "}\npool a {\nmodule = \"/m.so\"\ntemplate = t }",
		  "t.conf:6: pool \"a\": template = \"t\": " ONE_OF_TWO },
		{ "pool a {\nmodule = \"/m.so\"\ntasks = lines }",
		  "t.conf:3: pool \"a\": tasks = \"lines\": a pool with a module has tasks = "
		  "\"module\", which need not be said\n" },
		{ "pool a {\nmodule = \"\" }", "t.conf:2: pool \"a\": module = \"\": must not be empty\n" },
		{ "pool a {\n" C "}\npool b {\ninherits = a\ntasks = module }",
		  "t.conf:6: pool \"b\": tasks = \"module\": needs the module; add module = "
		  "\"/path/of/libthing.so\"\n" },
		{ "template t {\n" C "module = \"/m.so\" }",
		  "t.conf:3: module is a key of pools, not of templates\n" },
		{ "pool a {\nmodule = \"/m.so\" }\ntemplate a.module {\n" C "}",
		  "t.conf:1: template \"a.module\" is already defined at t.conf:3; give one of them "
		  "another name\n" },
		/* what its template has of it is wrong once only */
		{ "pool a {\nmodule = \"/m.so\"\numask = 9 }",
		  "t.conf:3: pool \"a\": umask = \"9\": must be octal permission bits, from 0000 to "
		  "0777\n" },
		{ "pool "
		  "a123456789012345678901234567890123456789012345678901234567 {\nmodule = "
		  "\"/m.so\" }",
		  "t.conf:2: pool \"a123456789012345678901234567890123456789012345678901234567\": "
		  "module = \"/m.so\": its pool's name may have at most 57 characters\n" },
	};

	(void)state;
	CHECK(rows);
}

static void test_template(void **state)
{
	static const struct bad rows[] = {
		{ "pool a {\ntemplate = t }",
		  "t.conf:2: pool \"a\": template = \"t\": there is no template of that name\n" },
		{ "pool t {\n" C "}\npool a {\ntemplate = t }",
		  "t.conf:5: pool \"a\": template = \"t\": there is no template of that name\n" },
		{ "template t {\n" C "}\npool a {\n" C "template = t }",
		  "t.conf:5: pool \"a\": command = \"x\": its workers are forked from a template, "
		  "which has the command; remove one of the two\n" },
		{ "template t {\n" C "}\npool a {\ntemplate = t\nclean-environment = true }",
		  "t.conf:6: pool \"a\": clean-environment = \"true\": its workers have the "
		  "environment of their template; write it there\n" },
		{ "template t {\n" C "}\npool a {\ntemplate = t\ntasks = exec }",
		  "t.conf:5: pool \"a\": template = \"t\": with tasks = \"exec\" each task has a "
		  "process of its own, that ends with it; remove it, or take \"lines\" or "
		  "\"jsonrpc\"\n" },
		{ "template t {\n}", "t.conf:1: template \"t\" has no command; add command = "
				     "{\"/path/of/program\"}\n" },
		{ "template t {\n" C "tasks = lines }",
		  "t.conf:3: tasks is a key of pools, not of templates\n" },
		{ "template t {\n" C "workers = 2 }",
		  "t.conf:3: workers is a key of pools, not of templates\n" },
		{ "template t {\n" C "}\npool t {\n" C "}",
		  "t.conf:4: template \"t\" is already defined at t.conf:1; give one of them "
		  "another name\n" },
		{ "template t-1 {\n" C "}",
		  "t.conf:1: \"t-1\" is no name for a template: 1 to 64 of A-Z a-z 0-9 _ . -, and "
		  "not ending in - and digits\n" },
		{ "template t {\n" C "}\npool a {\n" C "after = {t} }",
		  "t.conf:6: pool \"a\": after = \"t\": there is no pool of that name\n" },
		{ "template t {\n" C "}\npool a {\ninherits = t\n" C "}",
		  "t.conf:5: pool \"a\": inherits = \"t\": there is no pool of that name\n" },
	};

	(void)state;
	CHECK(rows);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, files_setup, files_teardown)

static void test_queues(void **state)
{
	static const struct bad rows[] = {
		{ "queue q {\nkind = disk }",
		  "t.conf:2: queue \"q\": kind = \"disk\": must be \"manager\", \"shared\" or "
		  "\"redis\"\n" },
		{ "queue q {\nkind = shared path = /x }",
		  "t.conf:2: queue \"q\": path = \"/x\": the memory of a queue has no file; remove "
		  "it\n" },
		{ "queue q {\nkind = shared\nmax-bytes = 63 }",
		  "t.conf:3: queue \"q\": max-bytes = \"63\": must be at least 64 for kind "
		  "\"shared\"\n" },
#ifdef HAVE_REDIS
		{ "queue q {\nkind = redis }",
		  "t.conf:1: queue \"q\": kind = \"redis\" needs a url, such as "
		  "\"redis://127.0.0.1:6379/0\"\n" },
		{ "queue q {\nkind = redis\nurl = \"redis://h\" }",
		  "t.conf:3: queue \"q\": url = \"redis://h\": must be redis://HOST:PORT/DB, HOST "
		  "a numeric address or localhost: names are not looked up\n" },
		{ "queue q {\nkind = redis\nurl = \"unix:///s\"\nuser = u }",
		  "t.conf:4: queue \"q\": user = \"u\": needs a password-file\n" },
#else
		{ "queue q {\nkind = redis }", "t.conf:2: queue \"q\": kind = \"redis\": queues in "
					       "redis are not built into this "
					       "crewd; use \"manager\" or \"shared\"\n" },
#endif
		{ "queue q {\npath = /x\nurl = unix:///y }",
		  "t.conf:2: queue \"q\": path = \"/x\": is for "
		  "kind = \"shared\", and this one is of "
		  "kind \"manager\"; remove it\n"
		  "t.conf:3: queue \"q\": url = \"unix:///y\": is for "
		  "kind = \"redis\", and this one is of kind "
		  "\"manager\"; remove it\n" },
		{ "queue q { maxsize = -1 }", "t.conf:1: queue \"q\": maxsize = \"-1\": must be a "
					      "number from 0 to 10000000\n" },
		{ "queue q { max-bytes = 0 }",
		  "t.conf:1: queue \"q\": max-bytes = \"0\": must be from 1 to 512M\n" },
		{ "queue q { max-bytes = 1G }",
		  "t.conf:1: queue \"q\": max-bytes = \"1G\": must be from 1 to 512M\n" },
		{ "queue q { max-bytes = much }",
		  "t.conf:1: queue \"q\": max-bytes = \"much\": must be a size such as \"64K\", "
		  "\"512M\" or \"1000\"\n" },
		{ "queue q { max-deliveries = 0 }", "t.conf:1: queue \"q\": max-deliveries = "
						    "\"0\": must be a number from 1 to 1000000\n" },
		{ "queue q { dead = q }",
		  "t.conf:1: queue \"q\": dead = \"q\": must be another queue than itself\n" },
		{ "queue q { dead = nowhere }",
		  "t.conf:1: queue \"q\": dead = \"nowhere\": there is no queue of that name\n" },
		{ "queue q { dead = \"a b\" }", "t.conf:1: queue \"q\": dead = \"a b\": must be a "
						"queue's name: 1 to 64 of A-Z a-z 0-9 "
						"_ . -\n" },
		{ "queue q {}\nqueue q {}",
		  "t.conf:2: queue \"q\" is already defined at t.conf:1; give one of them another "
		  "name\n" },
		{ "queue \"a b\" {}",
		  "t.conf:1: \"a b\" is no name for a queue: 1 to 64 of A-Z a-z 0-9 _ . -\n" },
		{ "queue q {\nmaxsise = 1 }",
		  "t.conf:2: unknown key \"maxsise\" in a queue; did you mean \"maxsize\"?\n" },
		{ "queue q {\nmaxsize = 1",
		  "t.conf:1: queue \"q\" is not closed: a } is missing\n" },
		{ "queue { }", "t.conf:1: the queue's name expected instead of {\n" },
	};

	(void)state;
	CHECK(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_grammar),
		TEST(test_escapes),
		TEST(test_names),
		TEST(test_unknown),
		TEST(test_template),
		TEST(test_module),
		TEST(test_queues),
		TEST(test_twice_and_shape),
		TEST(test_process_keys),
		TEST(test_limits),
		TEST(test_policy_keys),
		TEST(test_global_keys),
		TEST(test_references),
		TEST(test_all_in_one_go),
		TEST(test_include),
		TEST(test_many_includes),
		TEST(test_items),
		TEST(test_long_value),
		TEST(test_as_root),
		TEST(test_fallback_is_told),
		TEST(test_task_keys),
		TEST(test_keys_without_use),
		TEST(test_inherited_task_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
