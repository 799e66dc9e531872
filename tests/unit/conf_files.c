#include "tests/unit/conf_files.h"

#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char directory[64];

int files_setup(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	setenv("XDG_STATE_HOME", "/home/seven/state", 1);
	strcpy(directory, "/tmp/crewd-test-conf-XXXXXX");
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

int files_teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

void files_write_bytes(const char *name, const void *bytes, size_t size)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

static void put_self(FILE *f, const char *word)
{
	const struct passwd *pw = getpwuid(geteuid());
	const struct group *gr = getgrgid(getegid());

	assert_true(pw && gr);
	fputs(strncmp(word, "@USER@", 6) == 0 ? pw->pw_name : gr->gr_name, f);
}

void files_write(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	while (*text) {
		bool user = strncmp(text, "@USER@", 6) == 0;

		if (user || strncmp(text, "@GROUP@", 7) == 0) {
			put_self(f, text);
			text += user ? 6 : 7;
		} else {
			fputc(*text++, f);
		}
	}
	assert_int_equal(fclose(f), 0);
}

struct conf *files_read(void)
{
	struct conf_errors e = { 0 };
	size_t size = 0;
	struct conf *conf = conf_read("t.conf", false, &size, &e);

	if (e.text)
		print_message("%s", e.text);
	assert_null(e.text);
	assert_non_null(conf);
	assert_true(conf_valid(conf, size));
	return conf;
}

struct conf *files_conf(const char *text)
{
	files_write("t.conf", text);
	return files_read();
}

void files_now_errors(const char *lines)
{
	struct conf_errors e = { 0 };
	size_t size;

	assert_null(conf_read("t.conf", false, &size, &e));
	assert_non_null(e.text);
	assert_string_equal(e.text, lines);
	assert_true(e.count > 0);
	conf_errors_free(&e);
}

void files_errors(const char *text, const char *lines)
{
	files_write("t.conf", text);
	files_now_errors(lines);
}

char *files_print(const struct conf *conf)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	conf_print(conf, f);
	assert_int_equal(fclose(f), 0);
	return text;
}
