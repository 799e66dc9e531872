/* What a cgroup tells of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "daemon/cgroup.h"

static void test_oom_kills(void **state)
{
	(void)state;
	assert_int_equal(
		cgroup_oom_kills_in("low 0\nhigh 7\nmax 12\noom 3\noom_kill 2\noom_group_kill 9\n"),
		2);
	assert_int_equal(cgroup_oom_kills_in("oom_kill 41\n"), 41);
	assert_int_equal(cgroup_oom_kills_in("low 0\noom 3\n"), 0);
	assert_int_equal(cgroup_oom_kills_in("my_oom_kill 3\n"), 0);
	assert_int_equal(cgroup_oom_kills_in(""), 0);
}

static void test_no_cgroup(void **state)
{
	(void)state;
	assert_int_equal(cgroup_oom_kills("web-1"), 0); /* none has been delegated to a test */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_oom_kills),
					    cmocka_unit_test(test_no_cgroup) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
