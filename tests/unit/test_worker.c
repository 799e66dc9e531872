/* The states and events of workers, pools and the whole crew: no process, no waiting. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/pool.h"
#include "daemon/wire.h"
#include "lib/clock.h"
#include "tests/unit/fake.h"

#define SEC USEC_PER_SEC

static void name_pool(struct conf_build *b, uint32_t i, const char *name)
{
	static const char *const command[] = { "/bin/work" };
	conf_off title = conf_build_text(b, name);
	struct conf_list list = conf_build_list(b, command, 1);
	struct conf_pool *p = conf_build_pool(b, i);

	p->name = title;
	p->command = list;
}

static void after(struct conf_build *b, uint32_t i, const char *const *names, uint32_t count)
{
	struct conf_list list = conf_build_list(b, names, count);

	conf_build_pool(b, i)->after = list;
}

static void start_crew(uint32_t pools, void (*describe)(struct conf_build *b))
{
	size_t size;
	struct conf *block;

	fake_reset();
	block = fake_block(pools, describe, &size);
	fake_crew(block, size);
}

static void one_pool(struct conf_build *b)
{
	name_pool(b, 0, "web");
}

static void three_workers(struct conf_build *b)
{
	name_pool(b, 0, "web");
	conf_build_pool(b, 0)->workers = 3;
}

static struct worker *worker(const char *name)
{
	struct worker *w = crew_worker(name);

	assert_non_null(w);
	return w;
}

static void assert_state(const char *name, enum worker_state state)
{
	assert_string_equal(worker_state_name(worker(name)->state), worker_state_name(state));
}

static struct worker *running(const char *name)
{
	struct worker *w = worker(name);

	fake_exec(w);
	assert_state(name, WORKER_RUNNING);
	return w;
}

/* ---- one worker ---------------------------------------------------------------------------------
 */

static void starts_by_itself(void **state)
{
	(void)state;
	start_crew(1, one_pool);
	assert_state("web-1", WORKER_STARTING);
	assert_int_equal(fake_slots[worker("web-1")->slot].spawns, 1);
	running("web-1");
	assert_true(crew_pid(worker("web-1")->pid) == worker("web-1"));
	assert_int_equal(crew_running(), 1);
}

static void no_autostart(struct conf_build *b)
{
	one_pool(b);
	conf_build_pool(b, 0)->autostart = false;
}

static void waits_to_be_started(void **state)
{
	(void)state;
	start_crew(1, no_autostart);
	assert_state("web-1", WORKER_STOPPED);
	assert_int_equal(fake_slots[worker("web-1")->slot].spawns, 0);
	worker_start(worker("web-1"));
	assert_state("web-1", WORKER_STARTING);
}

static void restarts_with_growing_delay(void **state)
{
	struct worker *w;
	int64_t delay = 100 * USEC_PER_MSEC;

	(void)state;
	start_crew(1, one_pool);
	w = worker("web-1");
	for (unsigned i = 1; i <= 5; i++, delay *= 2) {
		fake_exec(w);
		fake_exit(w, 1);
		assert_state("web-1", WORKER_BACKOFF);
		fake_advance(delay - 1);
		assert_state("web-1", WORKER_BACKOFF);
		fake_advance(1);
		assert_state("web-1", WORKER_STARTING);
		assert_int_equal(w->restarts, i);
	}
}

static void gives_up_at_the_limit(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = worker("web-1");
	for (unsigned i = 0; i < 10; i++) {
		fake_exec(w);
		fake_killed(w, SIGSEGV);
		assert_state("web-1", WORKER_BACKOFF);
		fake_advance(30 * SEC);
	}
	fake_exec(w);
	fake_killed(w, SIGSEGV);
	assert_state("web-1", WORKER_FAILED);
	fake_advance(1000 * SEC);
	assert_int_equal(fake_slots[w->slot].spawns, 11);
	assert_true(worker_is_settled(w));
}

static void running_long_forgives(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = worker("web-1");
	for (unsigned i = 0; i < 30; i++) {
		fake_exec(w);
		fake_advance(61 * SEC);
		fake_exit(w, 1);
		assert_state("web-1", WORKER_BACKOFF);
		fake_advance(100 * USEC_PER_MSEC);
		assert_state("web-1", WORKER_STARTING);
	}
}

static void never_gives_up(struct conf_build *b)
{
	one_pool(b);
	conf_build_pool(b, 0)->restart_limit = 0;
}

static void limit_zero_is_for_ever(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, never_gives_up);
	w = worker("web-1");
	for (unsigned i = 0; i < 100; i++) {
		fake_exec(w);
		fake_exit(w, 1);
		fake_advance(30 * SEC);
		assert_state("web-1", WORKER_STARTING);
	}
}

static void on_failure(struct conf_build *b)
{
	one_pool(b);
	conf_build_pool(b, 0)->restart = CONF_RESTART_ON_FAILURE;
	conf_build_pool(b, 0)->success_exit[0] |= 1 << 3;
}

static void success_is_not_restarted(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, on_failure);
	w = running("web-1");
	fake_exit(w, 2);
	assert_state("web-1", WORKER_BACKOFF);
	fake_advance(SEC);
	fake_exec(w);
	fake_exit(w, 3);
	assert_state("web-1", WORKER_EXITED);
	assert_true(worker_is_up(w));
}

static void never(struct conf_build *b)
{
	one_pool(b);
	conf_build_pool(b, 0)->restart = CONF_RESTART_NEVER;
}

static void never_restarted(void **state)
{
	char why[200];
	struct worker *w;

	(void)state;
	start_crew(1, never);
	w = running("web-1");
	fake_killed(w, SIGKILL);
	assert_state("web-1", WORKER_EXITED);
	assert_string_equal(worker_why(w, why, sizeof(why)), "killed by SIGKILL");
	worker_start(w);
	fake_exec_fails(w, ENOENT);
	assert_state("web-1", WORKER_FAILED);
	assert_string_equal(worker_why(w, why, sizeof(why)),
			    "cannot run /bin/work: No such file or directory");
}

static void stop_then_kill(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = running("web-1");
	worker_stop(w);
	assert_state("web-1", WORKER_STOPPING);
	assert_int_equal(fake_slots[w->slot].last_signal, SIGTERM);
	assert_false(fake_slots[w->slot].last_all);
	fake_advance(10 * SEC);
	assert_int_equal(fake_slots[w->slot].last_signal, SIGKILL);
	assert_true(fake_slots[w->slot].last_all);
	fake_killed(w, SIGKILL);
	assert_state("web-1", WORKER_STOPPED);
	fake_advance(100 * SEC);
	assert_state("web-1", WORKER_STOPPED);
}

static void stop_before_exec(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = worker("web-1");
	worker_stop(w);
	fake_exec(w); /* the answer was on its way */
	assert_state("web-1", WORKER_STOPPING);
	fake_killed(w, SIGTERM);
	assert_state("web-1", WORKER_STOPPED);
}

static void stop_in_backoff(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = running("web-1");
	fake_exit(w, 1);
	worker_stop(w);
	assert_state("web-1", WORKER_STOPPED);
	fake_advance(100 * SEC);
	assert_int_equal(fake_slots[w->slot].spawns, 1);
}

static void restart_by_hand(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = running("web-1");
	worker_restart(w);
	assert_state("web-1", WORKER_STOPPING);
	fake_exit(w, 0);
	assert_state("web-1", WORKER_STARTING);
	assert_int_equal(w->restarts, 0);
	worker_restart(w);
	worker_stop(w); /* thought better of it */
	fake_exit(w, 0);
	assert_state("web-1", WORKER_STOPPED);
}

static void signals_follow_policy(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = running("web-1");
	worker_signal(w, SIGUSR1);
	assert_int_equal(fake_slots[w->slot].last_signal, SIGUSR1);
	fake_killed(w, SIGUSR1);
	assert_state("web-1", WORKER_BACKOFF);
	worker_signal(w, SIGUSR2);
	assert_int_equal(fake_slots[w->slot].last_signal, SIGUSR1);
}

/* ---- ready, watchdog ----------------------------------------------------------------------------
 */

static void notifies(struct conf_build *b)
{
	one_pool(b);
	conf_build_pool(b, 0)->ready = CONF_READY_NOTIFY;
	conf_build_pool(b, 0)->watchdog = 2 * SEC;
}

static void ready_when_it_says_so(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, notifies);
	w = worker("web-1");
	fake_exec(w);
	assert_state("web-1", WORKER_STARTING);
	worker_on_ready(w);
	assert_state("web-1", WORKER_RUNNING);
}

static void never_ready(void **state)
{
	char why[200];
	struct worker *w;

	(void)state;
	start_crew(1, notifies);
	w = worker("web-1");
	fake_exec(w);
	fake_advance(30 * SEC);
	assert_state("web-1", WORKER_STOPPING);
	assert_int_equal(fake_slots[w->slot].last_signal, SIGKILL);
	fake_killed(w, SIGKILL);
	assert_state("web-1", WORKER_BACKOFF);
	assert_string_equal(worker_why(w, why, sizeof(why)),
			    "killed by SIGKILL: not ready within its start-timeout");
	worker_start(w); /* and what is told is of the last end alone */
	fake_exec(w);
	fake_killed(w, SIGKILL);
	assert_string_equal(worker_why(w, why, sizeof(why)), "killed by SIGKILL");
}

static void watchdog(void **state)
{
	char why[200];
	struct worker *w;

	(void)state;
	start_crew(1, notifies);
	w = worker("web-1");
	fake_exec(w);
	worker_on_ready(w);
	for (int i = 0; i < 5; i++) {
		fake_advance(SEC);
		worker_on_watchdog(w);
	}
	assert_state("web-1", WORKER_RUNNING);
	fake_advance(2 * SEC);
	assert_state("web-1", WORKER_STOPPING);
	assert_int_equal(fake_slots[w->slot].last_signal, SIGABRT);
	fake_advance(10 * SEC); /* it hangs in its handler */
	assert_int_equal(fake_slots[w->slot].last_signal, SIGKILL);
	fake_exit(w, 0); /* even so: a failure */
	assert_state("web-1", WORKER_BACKOFF);
	assert_string_equal(worker_why(w, why, sizeof(why)),
			    "exited 0: silent for longer than its watchdog allows");
}

/* ---- pools --------------------------------------------------------------------------------------
 */

static void scales(void **state)
{
	struct pool *p;

	(void)state;
	start_crew(1, three_workers);
	p = crew_pool("web");
	for (int i = 1; i <= 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "web-%d", i);
		running(name);
	}
	assert_true(pool_is_up(p));
	pool_scale(p, 5);
	fake_turn();
	assert_int_equal(p->count, 5);
	assert_state("web-5", WORKER_STARTING);
	pool_scale(p, 1);
	fake_turn();
	assert_state("web-1", WORKER_RUNNING);
	assert_state("web-2", WORKER_STOPPING);
	for (int i = 5; i >= 2; i--)
		fake_killed(p->workers[i - 1], SIGTERM);
	assert_int_equal(p->count, 1);
	assert_null(crew_worker("web-2"));
}

static void scaled_back_while_leaving(void **state)
{
	struct pool *p;
	struct worker *w;

	(void)state;
	start_crew(1, three_workers);
	p = crew_pool("web");
	w = running("web-3");
	pool_scale(p, 2);
	fake_turn();
	assert_state("web-3", WORKER_STOPPING);
	pool_scale(p, 3);
	fake_turn();
	fake_killed(w, SIGTERM);
	assert_state("web-3", WORKER_STARTING);
	assert_int_equal(p->count, 3);
}

static void chain(struct conf_build *b)
{
	static const char *const db[] = { "db" }, *const app[] = { "app", "db" };

	name_pool(b, 0, "front");
	after(b, 0, app, 2);
	name_pool(b, 1, "app");
	after(b, 1, db, 1);
	name_pool(b, 2, "db");
}

static void in_order(void **state)
{
	(void)state;
	start_crew(3, chain);
	assert_state("db-1", WORKER_STARTING);
	assert_state("app-1", WORKER_STOPPED);
	assert_false(worker_is_settled(worker("app-1")));
	running("db-1");
	assert_state("app-1", WORKER_STARTING);
	assert_state("front-1", WORKER_STOPPED);
	running("app-1");
	running("front-1");
	crew_shutdown(false);
	fake_turn();
	assert_state("front-1", WORKER_STOPPING);
	assert_state("app-1", WORKER_RUNNING);
	assert_state("db-1", WORKER_RUNNING);
	fake_exit(worker("front-1"), 0);
	assert_state("app-1", WORKER_STOPPING);
	assert_state("db-1", WORKER_RUNNING);
	fake_exit(worker("app-1"), 0);
	assert_state("db-1", WORKER_STOPPING);
	assert_int_equal(fake_shut_down, 0);
	fake_exit(worker("db-1"), 0);
	assert_true(fake_shut_down > 0);
}

static void hopeless_is_said(void **state)
{
	char why[200];

	(void)state;
	start_crew(3, chain);
	running("db-1");
	worker_stop(worker("db-1"));
	pool_want(crew_pool("db"), false);
	fake_exit(worker("db-1"), 0);
	running("app-1");
	worker_stop(worker("app-1"));
	fake_exit(worker("app-1"), 0);
	worker_start(worker("app-1"));
	assert_true(worker_is_settled(worker("app-1")));
	assert_string_equal(worker_why(worker("app-1"), why, sizeof(why)),
			    "waits for pool db, which is not running");
}

#define LAYERS 40

/* Two pools a layer, each after both of the layer before: 2^39 ways lead from the last to the first. */
static void lattice(struct conf_build *b)
{
	for (uint32_t layer = 0; layer < LAYERS; layer++) {
		char names[2][16];
		const char *const before[] = { names[0], names[1] };

		for (uint32_t i = 0; i < 2; i++) {
			snprintf(names[i], sizeof(names[i]), "l%u%c", layer, 'a' + (int)i);
			name_pool(b, 2 * layer + i, names[i]);
		}
		for (uint32_t i = 0; i < 2 && layer; i++)
			snprintf(names[i], sizeof(names[i]), "l%u%c", layer - 1, 'a' + (int)i);
		for (uint32_t i = 0; i < 2 && layer; i++)
			after(b, 2 * layer + i, before, 2);
	}
}

static void many_ways_are_walked_once(void **state)
{
	(void)state;
	alarm(60); /* what it would take otherwise is years */
	start_crew(2 * LAYERS, lattice);
	assert_state("l0a-1", WORKER_STARTING);
	assert_false(worker_is_settled(worker("l39b-1")));
	worker_stop(worker("l0a-1"));
	pool_want(crew_pool("l0a"), false);
	fake_exit(worker("l0a-1"), 0);
	assert_true(worker_is_settled(worker("l39b-1")));
	alarm(0);
}

static void join_waits_for_the_end(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = running("web-1");
	crew_shutdown(true);
	fake_turn();
	assert_state("web-1", WORKER_RUNNING);
	fake_exit(w, 0); /* restart = always, but not any more */
	assert_state("web-1", WORKER_EXITED);
	assert_true(fake_shut_down > 0);
}

static bool count_them(struct worker *w, void *arg)
{
	(void)w;
	++*(unsigned *)arg;
	return true;
}

static void globs(void **state)
{
	unsigned n = 0;

	(void)state;
	start_crew(3, chain);
	assert_int_equal(crew_match("*", count_them, &n), 3);
	assert_int_equal(crew_match("app", count_them, &n), 1);
	assert_int_equal(crew_match("[ad]*-1", count_them, &n), 2);
	assert_int_equal(crew_match("nobody", count_them, &n), 0);
	assert_int_equal(n, 6);
}

/* ---- reload -------------------------------------------------------------------------------------
 */

static unsigned answers, rows, refused;

static void on_reloaded(const struct crew_plan *plan, const char *errors, void *arg)
{
	(void)arg;
	answers++;
	rows = plan ? plan->count : 0;
	refused += errors && errors[0] && !plan;
}

static void reload_to(uint32_t pools, void (*describe)(struct conf_build *b))
{
	size_t size = 0;
	struct conf *block = describe ? fake_block(pools, describe, &size) : NULL;

	answers = refused = 0;
	assert_int_equal(crew_reload(false, on_reloaded, NULL), 0);
	fake_next_config(block, size);
	assert_int_equal(answers, 1);
}

static void three_nicer_workers(struct conf_build *b)
{
	three_workers(b);
	conf_build_pool(b, 0)->umask = 027;
}

static void two_pools(struct conf_build *b)
{
	name_pool(b, 0, "new");
	name_pool(b, 1, "web");
	conf_build_pool(b, 1)->workers = 3;
}

static void all_running(void)
{
	running("web-1");
	running("web-2");
	running("web-3");
}

static void bad_file_changes_nothing(void **state)
{
	(void)state;
	start_crew(1, three_workers);
	all_running();
	reload_to(0, NULL);
	assert_int_equal(refused, 1);
	assert_state("web-2", WORKER_RUNNING);
}

static void unchanged_stay(void **state)
{
	(void)state;
	start_crew(1, three_workers);
	all_running();
	reload_to(2, two_pools);
	assert_int_equal(rows, 2);
	assert_state("web-1", WORKER_RUNNING);
	assert_int_equal(fake_slots[worker("web-1")->slot].spawns, 1);
	assert_state("new-1", WORKER_STARTING);
}

static void changed_one_after_the_other(void **state)
{
	(void)state;
	start_crew(1, three_workers);
	all_running();
	reload_to(1, three_nicer_workers);
	assert_state("web-1", WORKER_STOPPING);
	assert_state("web-2", WORKER_RUNNING);
	fake_exit(worker("web-1"), 0);
	assert_state("web-1", WORKER_STARTING);
	assert_state("web-2", WORKER_RUNNING);
	fake_exec(worker("web-1"));
	assert_state("web-2", WORKER_STOPPING);
	assert_state("web-3", WORKER_RUNNING);
	fake_exit(worker("web-2"), 0);
	fake_exec(worker("web-2"));
	fake_exit(worker("web-3"), 0);
	fake_exec(worker("web-3"));
	assert_true(pool_is_up(crew_pool("web")));
	reload_to(1, three_nicer_workers);
	assert_state("web-1", WORKER_RUNNING);
}

static void removed_is_drained_and_may_come_back(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(2, two_pools);
	w = running("new-1");
	reload_to(1, three_workers);
	assert_state("new-1", WORKER_STOPPING);
	fake_exit(w, 0);
	assert_null(crew_pool("new"));
	reload_to(2, two_pools);
	w = running("new-1");
	reload_to(1, three_workers);
	reload_to(2, two_pools); /* wanted again before it was gone */
	fake_exit(w, 0);
	assert_state("new-1", WORKER_STARTING);
}

static void failed_is_tried_again(void **state)
{
	(void)state;
	start_crew(1, never);
	fake_exec_fails(worker("web-1"), ENOENT);
	assert_state("web-1", WORKER_FAILED);
	reload_to(1, three_nicer_workers);
	assert_state("web-1", WORKER_STARTING);
}

/* ---- run ----------------------------------------------------------------------------------------
 */

static struct worker *run(const char *name, enum crew_run_error expect)
{
	static const char *const command[] = { "sleep", "5" };
	struct crew_run r = {
		.name = name, .command = command, .command_count = 2, .restart = CONF_RESTART_NEVER
	};
	struct worker *w = NULL;

	assert_int_equal(crew_run(&r, &w), expect);
	fake_turn();
	return w;
}

static void runs(void **state)
{
	struct worker *w;

	(void)state;
	start_crew(1, one_pool);
	w = run(NULL, CREW_RUN_OK);
	assert_string_equal(w->name, "run-1");
	fake_exec(w);
	run("run-1", CREW_RUN_EXISTS);
	run("web-7", CREW_RUN_EXISTS);
	run("web", CREW_RUN_EXISTS);
	run("a b", CREW_RUN_BAD_NAME);
	assert_int_equal(crew_forget(w), -1);
	fake_exit(w, 0);
	assert_state("run-1", WORKER_EXITED);
	w = run("run-1", CREW_RUN_OK); /* a finished one makes room */
	fake_exec(w);
	fake_exit(w, 0);
	assert_int_equal(crew_forget(w), 0);
	assert_null(crew_worker("run-1"));
	assert_int_equal(crew_forget(worker("web-1")), -1);
}

/* ---- another manager takes over
 * ------------------------------------------------------------------ */

static void take_over_with(uint32_t pools, void (*describe)(struct conf_build *b))
{
	size_t size;
	struct conf *block = fake_block(pools, describe, &size);

	fake_manager_dies();
	fake_crew(block, size);
}

static void take_over(void (*describe)(struct conf_build *b))
{
	take_over_with(1, describe);
}

static void nothing_is_noticed(void **state)
{
	struct worker *w;
	pid_t pid;

	(void)state;
	start_crew(1, three_workers);
	all_running();
	fake_exit(worker("web-3"), 1);
	fake_advance(100 * USEC_PER_MSEC);
	running("web-3");
	worker_stop(worker("web-2"));
	fake_exit(worker("web-2"), 0);
	pid = worker("web-3")->pid;
	take_over(three_workers);
	w = worker("web-3");
	assert_state("web-1", WORKER_RUNNING);
	assert_state("web-2", WORKER_STOPPED);
	assert_state("web-3", WORKER_RUNNING);
	assert_int_equal(w->pid, pid);
	assert_int_equal(w->restarts, 1);
	assert_int_equal(fake_slots[w->slot].spawns, 2);
	fake_killed(w, SIGKILL);
	assert_state("web-3", WORKER_BACKOFF);
	take_over(three_workers);
	assert_state("web-3", WORKER_BACKOFF);
	fake_advance(30 * SEC);
	assert_state("web-3", WORKER_STARTING);
	assert_int_equal(worker("web-3")->restarts, 2);
}

/* ---- templates ---------------------------------------------------------------------------------
 */

static uint32_t template_nice; /* another one is another definition */

static void template_and_two(struct conf_build *b)
{
	conf_off of;

	name_pool(b, 0, "t");
	conf_build_pool(b, 0)->is_template = true;
	conf_build_pool(b, 0)->ready = CONF_READY_NOTIFY;
	conf_build_pool(b, 0)->restart_limit = 1;
	conf_build_pool(b, 0)->nice = (int32_t)template_nice;
	conf_build_pool(b, 0)->nice_given = template_nice > 0;
	name_pool(b, 1, "web");
	of = conf_build_pool(b, 0)->name;
	conf_build_pool(b, 1)->workers = 2;
	conf_build_pool(b, 1)->template = of;
	conf_build_pool(b, 1)->command = (struct conf_list){ 0 };
}

static void warm(const char *name)
{
	fake_advance(1000);
	fake_exec(worker(name));
	worker_on_ready(worker(name));
	fake_turn();
}

static void forked(const char *name, const char *template)
{
	const struct worker *w = worker(name);

	assert_state(name, WORKER_STARTING);
	assert_int_equal(fake_slots[w->slot].from, worker(template)->slot);
	running(name);
}

static void start_with_template(void)
{
	template_nice = 0;
	start_crew(2, template_and_two);
	warm("t-1");
	forked("web-1", "t-1");
	forked("web-2", "t-1");
}

static void forked_when_it_is_warm(void **state)
{
	char why[128];

	(void)state;
	template_nice = 0;
	start_crew(2, template_and_two);
	assert_state("t-1", WORKER_STARTING);
	assert_state("web-1", WORKER_STOPPED);
	assert_string_equal(worker_why(worker("web-1"), why, sizeof(why)),
			    "waits for template t, which is not warm");
	assert_false(worker_is_settled(worker("web-1")));
	warm("t-1");
	forked("web-1", "t-1");
	forked("web-2", "t-1");
	assert_int_equal(fake_slots[worker("t-1")->slot].spawns, 1);
}

static void template_dies(void **state)
{
	(void)state;
	start_with_template();
	fake_killed(worker("t-1"), SIGKILL);
	assert_state("web-1", WORKER_RUNNING);
	fake_killed(worker("web-1"), SIGKILL);
	fake_advance(SEC);
	assert_state("web-1", WORKER_STOPPED); /* it waits */
	assert_int_equal(worker("web-1")->restarts, 1);
	warm("t-1");
	forked("web-1", "t-1");
	assert_int_equal(fake_slots[worker("web-2")->slot].spawns, 1);
}

/* While it forks: that is not held against who was to be forked. */
static void template_dies_while_it_forks(void **state)
{
	struct child_end end = { .step = WIRE_STEP_TEMPLATE, .err = ECONNRESET };
	struct worker *w;

	(void)state;
	template_nice = 0;
	start_crew(2, template_and_two);
	warm("t-1");
	w = worker("web-1");
	fake_killed(worker("t-1"), SIGKILL);
	fake_slots[w->slot].alive = false;
	worker_on_ended(w, &end);
	fake_turn();
	assert_state("web-1", WORKER_STOPPED);
	assert_int_equal(w->restarts, 0);
	fake_advance(SEC);
	warm("t-1");
	forked("web-1", "t-1");
}

static void template_is_given_up(void **state)
{
	char why[256];

	(void)state;
	template_nice = 0;
	start_crew(2, template_and_two);
	fake_exec(worker("t-1"));
	fake_exit(worker("t-1"), 3);
	fake_advance(SEC);
	fake_exec(worker("t-1"));
	fake_exit(worker("t-1"), 3);
	assert_state("t-1", WORKER_FAILED);
	assert_state("web-1", WORKER_FAILED);
	assert_state("web-2", WORKER_FAILED);
	assert_string_equal(worker_why(worker("web-2"), why, sizeof(why)),
			    "template t has failed: exited 3");
	worker_start(worker("t-1"));
	warm("t-1");
	forked("web-1", "t-1");
	forked("web-2", "t-1");
}

static void refused_for_good(void **state)
{
	char why[256];

	(void)state;
	template_nice = 0;
	start_crew(2, template_and_two);
	fake_exec(worker("t-1"));
	worker_refuse(worker("t-1"), WORKER_BLAME_THREADS);
	fake_killed(worker("t-1"), SIGKILL);
	assert_state("t-1", WORKER_FAILED);
	assert_int_equal(worker("t-1")->restarts, 0);
	assert_non_null(strstr(worker_why(worker("t-1"), why, sizeof(why)), "more than one thread"));
	assert_state("web-1", WORKER_FAILED);
}

/* It forks nothing: both are ended, and made anew. */
static void template_hangs(void **state)
{
	(void)state;
	template_nice = 0;
	start_crew(2, template_and_two);
	warm("t-1");
	assert_state("web-1", WORKER_STARTING);
	fake_advance(30 * SEC);
	assert_state("web-1", WORKER_STOPPING);
	assert_state("t-1", WORKER_STOPPING);
	assert_int_equal(fake_slots[worker("t-1")->slot].last_signal, SIGKILL);
}

static void by_generations(void **state)
{
	(void)state;
	start_with_template();
	pool_renew(crew_pool("t"));
	fake_turn();
	assert_state("t-1", WORKER_RUNNING);
	assert_state("t-2", WORKER_STARTING);
	assert_int_equal(pool_renewed(crew_pool("t")), 0);
	warm("t-2");
	assert_int_equal(pool_renewed(crew_pool("t")), 1);
	assert_state("t-1", WORKER_STOPPING);
	assert_state("web-1", WORKER_STOPPING); /* one after the other */
	assert_state("web-2", WORKER_RUNNING);
	fake_exit(worker("web-1"), 0);
	forked("web-1", "t-2");
	assert_state("web-2", WORKER_STOPPING);
	fake_exit(worker("web-2"), 0);
	forked("web-2", "t-2");
	fake_exit(worker("t-1"), 0);
	assert_state("t-1", WORKER_STOPPED);
	take_over_with(2, template_and_two);
	assert_state("t-2", WORKER_RUNNING);
	fake_advance(SEC);
	assert_state("web-1", WORKER_RUNNING);
	assert_null(fake_slots[worker("t-1")->slot].alive ? worker("t-1") : NULL);
	pool_renew(crew_pool("t"));
	fake_turn();
	warm("t-1");
	fake_exit(worker("t-2"), 0);
	assert_null(crew_worker("t-2"));
}

static void generation_fails(void **state)
{
	(void)state;
	start_with_template();
	template_nice = 5;
	reload_to(2, template_and_two);
	fake_turn();
	for (int i = 0; i < 2; i++) {
		fake_exec(worker("t-2"));
		fake_exit(worker("t-2"), 1);
		fake_advance(SEC);
	}
	assert_state("t-2", WORKER_FAILED);
	assert_int_equal(pool_renewed(crew_pool("t")), -1);
	fake_advance(100 * SEC);
	assert_state("t-1", WORKER_RUNNING);
	assert_state("web-1", WORKER_RUNNING);
	fake_killed(worker("web-1"), SIGKILL);
	fake_advance(SEC);
	forked("web-1", "t-1");
	pool_renew(crew_pool("t")); /* by hand it is tried again */
	fake_turn();
	warm("t-2");
	assert_state("t-1", WORKER_STOPPING);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(starts_by_itself),
		T(waits_to_be_started),
		T(restarts_with_growing_delay),
		T(gives_up_at_the_limit),
		T(running_long_forgives),
		T(limit_zero_is_for_ever),
		T(success_is_not_restarted),
		T(never_restarted),
		T(stop_then_kill),
		T(stop_before_exec),
		T(stop_in_backoff),
		T(restart_by_hand),
		T(signals_follow_policy),
		T(ready_when_it_says_so),
		T(never_ready),
		T(watchdog),
		T(scales),
		T(scaled_back_while_leaving),
		T(in_order),
		T(hopeless_is_said),
		T(many_ways_are_walked_once),
		T(join_waits_for_the_end),
		T(globs),
		T(bad_file_changes_nothing),
		T(unchanged_stay),
		T(changed_one_after_the_other),
		T(removed_is_drained_and_may_come_back),
		T(failed_is_tried_again),
		T(forked_when_it_is_warm),
		T(template_dies),
		T(template_dies_while_it_forks),
		T(template_is_given_up),
		T(refused_for_good),
		T(template_hangs),
		T(by_generations),
		T(generation_fails),
		T(runs),
		T(nothing_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
