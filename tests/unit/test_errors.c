/* Names and exit codes of the protocol's errors: those that users rely on, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "lib/errors.h"
#include "lib/idl.h"

static void test_exit_codes(void **state)
{
	(void)state;
	assert_int_equal(crew_error_exit("io.crewd.Worker.NoSuchWorker"), 4);
	assert_int_equal(crew_error_exit("io.crewd.Pool.NoSuchPool"), 4);
	assert_int_equal(crew_error_exit("io.crewd.Worker.TimedOut"), 124);
	assert_int_equal(crew_error_exit("io.crewd.Worker.StartFailed"), 1);
	assert_int_equal(crew_error_exit("io.crewd.Manager.BadConfig"), 78);
	assert_int_equal(crew_error_exit("org.varlink.service.PermissionDenied"), 77);
	assert_int_equal(crew_error_exit("org.varlink.service.InvalidParameter"), 2);
	assert_int_equal(crew_error_exit("com.example.Unheard"), 1);
	assert_int_equal(crew_error_exit(""), 1);
}

static void test_names(void **state)
{
	(void)state;
	assert_null(crew_error_name(CREW_OK));
	assert_string_equal(crew_error_name(CREW_ERROR_NO_SUCH_WORKER),
			    "io.crewd.Worker.NoSuchWorker");
	for (int i = CREW_OK + 1; i < CREW_ERROR_COUNT; i++) {
		const char *name = crew_error_name((enum crew_error)i);

		assert_non_null(strrchr(name, '.'));
		for (int j = CREW_OK + 1; j < i; j++)
			assert_string_not_equal(name, crew_error_name((enum crew_error)j));
	}
}

/* Scripts rely on these numbers: each is written here once more, on purpose. */
static void test_every_exit_code(void **state)
{
	static const struct {
		enum crew_error error;
		int code;
	} want[] = {
		{ CREW_ERROR_INTERFACE_NOT_FOUND, 1 },
		{ CREW_ERROR_METHOD_NOT_FOUND, 1 },
		{ CREW_ERROR_METHOD_NOT_IMPLEMENTED, 1 },
		{ CREW_ERROR_INVALID_PARAMETER, 2 },
		{ CREW_ERROR_PERMISSION_DENIED, 77 },
		{ CREW_ERROR_EXPECTED_MORE, 1 },
		{ CREW_ERROR_BAD_CONFIG, 78 },
		{ CREW_ERROR_MANAGER_BUSY, 75 },
		{ CREW_ERROR_SHUTTING_DOWN, 1 },
		{ CREW_ERROR_NO_SUCH_WORKER, 4 },
		{ CREW_ERROR_WORKER_TIMED_OUT, 124 },
		{ CREW_ERROR_START_FAILED, 1 },
		{ CREW_ERROR_WORKER_NOT_ALIVE, 3 },
		{ CREW_ERROR_WORKER_EXISTS, 1 },
		{ CREW_ERROR_WORKER_STILL_ALIVE, 1 },
		{ CREW_ERROR_NO_RUN_USER, 77 },
		{ CREW_ERROR_TOO_MANY, 75 },
		{ CREW_ERROR_NO_SUCH_POOL, 4 },
		{ CREW_ERROR_NO_SUCH_TASK, 4 },
		{ CREW_ERROR_POOL_FULL, 75 },
		{ CREW_ERROR_POOL_CLOSED, 1 },
		{ CREW_ERROR_POOL_STILL_RUNNING, 1 },
		{ CREW_ERROR_POOL_TIMED_OUT, 124 },
		{ CREW_ERROR_WORKER_DIED, 1 },
		{ CREW_ERROR_TASK_TOO_BIG, 1 },
		{ CREW_ERROR_TASK_BAD_ANSWER, 1 },
		{ CREW_ERROR_TASK_LOST, 1 },
		{ CREW_ERROR_NO_SUCH_QUEUE, 4 },
		{ CREW_ERROR_NO_SUCH_LEASE, 4 },
		{ CREW_ERROR_QUEUE_FULL, 75 },
		{ CREW_ERROR_QUEUE_EMPTY, 75 },
		{ CREW_ERROR_QUEUE_EXISTS, 1 },
		{ CREW_ERROR_QUEUE_WRONG_KIND, 1 },
		{ CREW_ERROR_QUEUE_TIMED_OUT, 124 },
		{ CREW_ERROR_QUEUE_TOO_MANY_DONE, 1 },
		{ CREW_ERROR_QUEUE_UNAVAILABLE, 75 },
	};

	(void)state;
	assert_int_equal(sizeof(want) / sizeof(*want), CREW_ERROR_COUNT - 1);
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		assert_int_equal(crew_error_exit(crew_error_name(want[i].error)), want[i].code);
}

static void test_only_the_whole_name_counts(void **state)
{
	(void)state;
	assert_int_equal(crew_error_exit("NoSuchWorker"), 1);
	assert_int_equal(crew_error_exit("io.crewd.Worker.NoSuchWorke"), 1);
	assert_int_equal(crew_error_exit("io.crewd.Worker.NoSuchWorkers"), 1);
	assert_int_equal(crew_error_exit("io.crewd.worker.nosuchworker"), 1);
	assert_int_equal(crew_error_exit("io.crewd.Pool.NoSuchWorker"), 1);
}

/* ---- what the interface texts say ------------------------------------------------------------- */

static const char *text_of(const char *name, size_t len)
{
	for (const struct idl *i = idl_all; i->name; i++)
		if (strlen(i->name) == len && strncmp(i->name, name, len) == 0)
			return i->text;
	return NULL;
}

static void test_every_error_is_declared(void **state)
{
	(void)state;
	for (int i = CREW_OK + 1; i < CREW_ERROR_COUNT; i++) {
		const char *name = crew_error_name((enum crew_error)i);
		const char *dot = strrchr(name, '.'), *text = text_of(name, (size_t)(dot - name));
		char line[100];

		assert_non_null(text);
		snprintf(line, sizeof(line), "\nerror %s (", dot + 1);
		if (!strstr(text, line))
			fail_msg("%s is declared by no interface", name);
	}
}

static bool listed(const char *name)
{
	for (int i = CREW_OK + 1; i < CREW_ERROR_COUNT; i++)
		if (strcmp(name, crew_error_name((enum crew_error)i)) == 0)
			return true;
	return false;
}

static void test_every_declared_error_is_listed(void **state)
{
	unsigned found = 0;

	(void)state;
	for (const struct idl *i = idl_all; i->name; i++) {
		const char *at = i->text;

		/* of systemd's interface, whose text is not crewd's own */
		if (strcmp(i->name, "io.systemd.service") == 0)
			continue;
		while ((at = strstr(at, "\nerror "))) {
			char name[200];

			at += strlen("\nerror ");
			snprintf(name, sizeof(name), "%s.%.*s", i->name, (int)strcspn(at, " ("),
				 at);
			if (!listed(name))
				fail_msg("%s has no exit code", name);
			found++;
		}
	}
	assert_int_equal(found, CREW_ERROR_COUNT - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_exit_code),
		cmocka_unit_test(test_only_the_whole_name_counts),
		cmocka_unit_test(test_every_error_is_declared),
		cmocka_unit_test(test_every_declared_error_is_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
