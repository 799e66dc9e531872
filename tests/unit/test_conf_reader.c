/* The reader process against files that crash or hang a parser, and the files that are shipped. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "daemon/conf_keys.h"
#include "lib/bounds.h"
#include "tests/unit/conf_files.h"

static char source[4096]; /* top of the source tree */
static char told[CREW_CONF_ERRORS_MAX + 8192];
static struct conf *got;
static size_t got_size;

/* As the keeper starts it: block on 3, errors on 4. Never returns. */
static void child(const char *path, int block, int text)
{
	int a = fcntl(block, F_DUPFD, 10), b = fcntl(text, F_DUPFD, 10);

	dup2(a, 3);
	dup2(b, 4);
	_exit(conf_reader_main(path));
}

static size_t slurp(int fd, void *out, size_t room)
{
	ssize_t n = pread(fd, out, room, 0);

	close(fd);
	return n < 0 ? 0 : (size_t)n;
}

/* Exit code of the reader, or 1000 + the signal that ended it. */
static int run_reader(const char *path)
{
	int block = memfd_create("block", 0), text = memfd_create("text", 0), status;
	struct stat st;
	pid_t pid = fork();

	assert_true(pid >= 0 && block >= 0 && text >= 0);
	if (pid == 0)
		child(path, block, text);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	told[slurp(text, told, sizeof(told) - 1)] = '\0';
	assert_int_equal(fstat(block, &st), 0);
	free(got);
	got_size = (size_t)st.st_size;
	got = malloc(got_size + 1);
	assert_non_null(got);
	assert_int_equal(slurp(block, got, got_size), got_size);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void refused(const char *path, const char *why)
{
	assert_int_equal(run_reader(path), 78);
	assert_int_equal(got_size, 0);
	assert_string_equal(told, why);
}

static char *repeat(const char *part, size_t times, const char *end)
{
	size_t n = strlen(part);
	char *text = malloc(n * times + strlen(end) + 1);

	assert_non_null(text);
	for (size_t i = 0; i < times; i++)
		memcpy(text + i * n, part, n);
	strcpy(text + n * times, end);
	return text;
}

static void test_good(void **state)
{
	(void)state;
	files_write("t.conf", "pool a { command = {\"x\"} }");
	assert_int_equal(run_reader("t.conf"), 0);
	assert_true(conf_valid(got, got_size));
	assert_int_equal(got->pool_count, 1);
	assert_null(strstr(told, ": warning: pool"));
}

static void test_no_file(void **state)
{
	(void)state;
	mkdir("directory", 0755);
	mkfifo("fifo", 0644);
	refused("nothing", "nothing:1: the file cannot be opened: No such file or directory\n");
	refused("directory", "directory:1: the file is not a regular file\n");
	refused("/dev/zero", "/dev/zero:1: the file is not a regular file\n");
	refused("fifo", "fifo:1: the file is not a regular file\n");
	refused("/proc/self/mem", "/proc/self/mem:1: the file cannot be read\n");
}

static void test_large_file(void **state)
{
	char *text = repeat("#", CREW_CONF_FILE_MAX, "");

	(void)state;
	files_write("t.conf", text);
	assert_int_equal(run_reader("t.conf"), 0);
	files_write_bytes("t.conf", text, CREW_CONF_FILE_MAX);
	assert_int_equal(truncate("t.conf", CREW_CONF_FILE_MAX + 1), 0);
	refused("t.conf", "t.conf:1: the file is larger than 1 MiB\n");
	free(text);
}

static void test_nul(void **state)
{
	static const char text[] = "pool a {\n command = {\"x\0y\"} }";

	(void)state;
	files_write_bytes("t.conf", text, sizeof(text) - 1);
	refused("t.conf", "t.conf:2: a NUL byte; a configuration is text only\n");
}

static void test_lone_hash(void **state)
{
	(void)state;
	files_write("t.conf", "#");
	assert_int_equal(run_reader("t.conf"), 0);
	files_write("t.conf", "pool a {\n#\ncommand = {\"x\"} #\n}\n#");
	assert_int_equal(run_reader("t.conf"), 0);
}

static void test_deep(void **state)
{
	char *text = repeat("a {", 300000, "");

	(void)state;
	files_write("t.conf", text);
	refused("t.conf", "t.conf:1: unknown section \"a\"; only \"pool\", \"queue\" and \"template\" are known\n"
			  "t.conf:1: sections nest too deep\n");
	free(text);
	text = repeat("{", 1000000, "");
	files_write("t.conf", text);
	refused("t.conf", "t.conf:1: a key, pool, queue, template or include expected instead of {\n");
	free(text);
}

/* 40,000 sections take libconfuse six seconds. */
static void test_many_sections(void **state)
{
	size_t size = 1 << 20, n = 0;
	char *text = malloc(size);
	struct timespec a, b;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < 40000; i++)
		n += (size_t)snprintf(text + n, size - n, "pool p%dx {}\n", i);
	files_write("t.conf", text);
	free(text);
	clock_gettime(CLOCK_MONOTONIC, &a);
	refused("t.conf", "t.conf:4097: more than 4096 pools; use fewer\n");
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_true(b.tv_sec - a.tv_sec < 3);
}

/* As many pools as may be, each with a long list, is what takes longest. */
static void test_most(void **state)
{
	size_t size = 1 << 20, n = 0;
	char *text = malloc(size);

	(void)state;
	assert_non_null(text);
	n += (size_t)snprintf(text, size, "manager-user = nobody ");
	for (int i = 0; i < CREW_POOLS_MAX; i++)
		n += (size_t)snprintf(text + n, size - n,
				      "pool p%dx { command = {\"/bin/sleep\", \"%d\"} after = "
				      "{\"p%dx\"} }\n",
				      i, i, i + 1);
	snprintf(text + n, size - n, "# the last one refers to itself by another name\n");
	files_write("t.conf", text);
	free(text);
	refused("t.conf", "t.conf:4096: pool \"p4095x\": after = \"p4096x\": there is no pool of "
			  "that name\n");
}

/* Chains of inherits make a small file large. */
static void test_large_block(void **state)
{
	size_t size = 1 << 20, n = 0;
	char *text = malloc(size), *value = repeat("x", 60000, "");

	(void)state;
	assert_non_null(text);
	n += (size_t)snprintf(text, size, "pool p0x { command = {\"%s\"} }\n", value);
	for (int i = 1; i < 1000; i++)
		n += (size_t)snprintf(text + n, size - n, "pool p%dx { inherits = p%dx }\n", i,
				      i - 1);
	files_write("t.conf", text);
	assert_int_equal(run_reader("t.conf"), 78);
	assert_non_null(strstr(told, "the configuration is too large"));
	free(value);
	free(text);
}

static void test_many_errors(void **state)
{
	char *text = repeat("unknown = 1\n", 20000, "");
	size_t n;

	(void)state;
	files_write("t.conf", text);
	free(text);
	assert_int_equal(run_reader("t.conf"), 78);
	n = strlen(told);
	assert_in_range(n, CREW_CONF_ERRORS_MAX - 200, CREW_CONF_ERRORS_MAX + 200);
	assert_memory_equal(told + n - 6, " more\n", 6);
}

static void test_environment_is_empty(void **state)
{
	(void)state;
	setenv("LEAK", "leaked", 1);
	files_write("t.conf", "pool a { command = {\"${LEAK}\", '${LEAK}'} }");
	assert_int_equal(run_reader("t.conf"), 0);
	assert_string_equal(conf_item(got, conf_pool_at(got, 0)->command, 0), "${LEAK}");
	assert_null(memmem(got, got_size, "leaked", 6));
}

/* journal only where stderr is the journal's, not wherever JOURNAL_STREAM was inherited. */
static void test_journal(void **state)
{
	char stream[64];
	struct stat st;

	(void)state;
	files_write("t.conf",
		    "pool a { command = {\"x\"} }\npool b { command = {\"x\"} log = inherit }");
	setenv("JOURNAL_STREAM", "1:2", 1);
	assert_int_equal(run_reader("t.conf"), 0);
	assert_int_equal(conf_pool_at(got, 0)->log, CONF_LOG_INHERIT);
	assert_int_equal(fstat(2, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	assert_int_equal(run_reader("t.conf"), 0);
	assert_int_equal(conf_pool_at(got, 0)->log, CONF_LOG_JOURNAL);
	assert_int_equal(conf_pool_at(got, 1)->log, CONF_LOG_INHERIT);
	unsetenv("JOURNAL_STREAM");
}

/* ---- what is shipped ----------------------------------------------------------------------------- */

static void is_good(const char *path)
{
	struct conf_errors e = { 0 };
	size_t size;
	struct conf *c = conf_read(path, false, &size, &e);

	if (e.text)
		print_message("%s", e.text);
	assert_non_null(c);
	assert_true(conf_valid(c, size));
	free(c);
}

static void test_examples(void **state)
{
	static const char *const names[] = {
		"web", "ordered", "notify", "kinds", "tasks", "sleep", "queues"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char path[4200];
		snprintf(path, sizeof(path), "%s/conf/examples/%s.conf", source, names[i]);
		is_good(path);
	}
}

/* Users and groups that this machine need not have. */
static bool is_of_the_machine(const char *line)
{
	static const char *const keys[] = { "#\tuser = ", "#\tgroup = ", "#socket-group = " };
	bool is = false;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		is |= strncmp(line, keys[i], strlen(keys[i])) == 0;
	return is;
}

/* Without the # in front of keys, sections and what is indented. */
static void uncomment(char *text)
{
	char *to = text;

	for (char *line = text; *line;) {
		size_t n = strcspn(line, "\n") + 1;
		bool key = line[0] == '#' && line[1] != ' ' && line[1] != '\n' &&
			   !is_of_the_machine(line);

		memmove(to, line + key, n - key);
		to += n - key;
		line += n;
	}
	*to = '\0';
}

static void has_key(const char *text, const char *indent, const char *name)
{
	char line[64];

	snprintf(line, sizeof(line), "\n#%s%s = ", indent, name);
	if (!strstr(text, line))
		fail_msg("crewd.conf has no %s", name);
}

/* As shipped it runs nothing; it has every key, and with the # taken away each is right. */
static void test_shipped(void **state)
{
	static char text[65536];
	char path[4200];
	struct conf *c;
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/conf/crewd.conf", source);
	is_good(path);
	f = fopen(path, "r");
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 64, f)] = '\0';
	fclose(f);
	for (unsigned k = 0; k < CONF_POOL_KEYS; k++)
		has_key(text, "\t", conf_pool_keys[k].name);
	for (unsigned k = 0; k < CONF_GLOBAL_KEYS; k++)
		has_key(text, "", conf_global_keys[k].name);
	uncomment(text);
	strcat(text, "pool \"other\" { command = {\"x\"} }\n");
	c = files_conf(text);
	assert_int_equal(c->pool_count, 7); /* with the template of a module */
	free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, files_setup, files_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_good),
		TEST(test_no_file),
		TEST(test_large_file),
		TEST(test_nul),
		TEST(test_lone_hash),
		TEST(test_deep),
		TEST(test_many_sections),
		TEST(test_most),
		TEST(test_large_block),
		TEST(test_many_errors),
		TEST(test_environment_is_empty),
		TEST(test_journal),
		TEST(test_examples),
		TEST(test_shipped),
	};
	const char *top = getenv("srcdir");
	int r;

	if (!realpath(top ? top : ".", source))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	free(got);
	return r;
}
