/* Pools of tasks: who gets which, how many workers there are, open and closed, results, reload, shutdown, and
 * another manager. No process, no waiting. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "daemon/ledger.h"
#include "lib/clock.h"
#include "tests/unit/fake_tasks.h"

#define SEC USEC_PER_SEC

static struct caller a, b, c, d, e;

static void begin(enum conf_tasks tasks, uint32_t workers)
{
	usual(tasks, workers);
	start_pool();
	all_up();
}

/* ---- who gets the next ------------------------------------------------------------------------
 */

static void the_lowest_idle_number_first(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 3);
	submit(&a, "a");
	submit(&b, "b");
	assert_string_equal(hand_of(1), "a");
	assert_string_equal(hand_of(2), "b");
	fake_says(pipe_of(1), "A\n");
	submit(&c, "c");
	assert_string_equal(hand_of(1), "c");
	submit(&d, "d");
	assert_string_equal(hand_of(3), "d");
	submit(&e, "e");
	assert_string_equal(queue_of_pool(), "e");
	fake_says(pipe_of(2), "B\n");
	assert_string_equal(hand_of(2), "e");
	assert_string_equal(b.result, "B");
}

static void first_in_first_out(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	start_pool();
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	assert_string_equal(queue_of_pool(), "a b c");
	up(1);
	assert_string_equal(hand_of(1), "a");
	fake_says(pipe_of(1), "A\n");
	assert_string_equal(hand_of(1), "b");
	assert_string_equal(queue_of_pool(), "c");
}

static void room_for_more_each_in_turn(void **state)
{
	static struct caller more[4];

	(void)state;
	usual(CONF_TASKS_LINES, 2);
	setup.prefetch = 3;
	start_pool();
	all_up();
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	submit(&d, "d");
	assert_string_equal(hand_of(1), "a c");
	assert_string_equal(hand_of(2), "b d");
	submit(&e, "e");
	submit(&more[0], "f");
	submit(&more[1], "g");
	assert_string_equal(hand_of(1), "a c e");
	assert_string_equal(hand_of(2), "b d f");
	assert_string_equal(queue_of_pool(), "g");
	fake_says(pipe_of(2), "B\n");
	assert_string_equal(hand_of(2), "d f g");
}

static void no_more_than_the_backlog(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.backlog = 2;
	start_pool();
	submit(&a, "a");
	submit(&b, "b");
	assert_refused(TASKPOOL_FULL, "as many tasks wait as its backlog allows");
	assert_int_equal(fake_rooms, 0);
	up(1);
	assert_int_equal(fake_rooms, 1);
	submit(&c, "c");
	assert_refused(TASKPOOL_FULL, "as many tasks wait as its backlog allows");
	taskpool_cancel(c.task);
	assert_int_equal(fake_rooms, 2);
}

static void not_started(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.no_autostart = true;
	start_pool();
	assert_refused(TASKPOOL_SHUT, "not started");
	pool_want(crew_pool("p"), true);
	worker_start(w_of(1));
	submit(&a, "a");
	up(1);
	assert_string_equal(hand_of(1), "a");
}

/* ---- single workers ---------------------------------------------------------------------------
 */

static void stopped_exec_workers_get_none(void **state)
{
	(void)state;
	begin(CONF_TASKS_EXEC, 2);
	worker_stop(w_of(1));
	fake_turn();
	submit(&a, "a");
	submit(&b, "b");
	assert_worker(1, WORKER_STOPPED);
	assert_worker(2, WORKER_STARTING);
	assert_int_equal(the_pool()->queued, 1);
	worker_start(w_of(1));
	fake_turn();
	assert_worker(1, WORKER_STARTING);
	up(1);
	worker_stop(w_of(1)); /* with its task */
	fake_killed(w_of(1), SIGTERM);
	assert_ended(&b, TASK_FAILED);
	submit(&c, "c");
	assert_worker(1, WORKER_STOPPED);
	taskpool_release(w_of(1), RUNNER_RESTARTS);
	fake_turn();
	assert_worker(1, WORKER_STARTING);
}

static void exec_waits_for_the_pools_before_it(void **state)
{
	(void)state;
	usual(CONF_TASKS_EXEC, 1);
	setup.after = "db";
	start_pool();
	submit(&a, "a");
	assert_worker(1, WORKER_STOPPED);
	assert_false(pool_is_up(crew_pool("p")));
	fake_exec(crew_worker("db-1"));
	assert_worker(1, WORKER_STARTING);
	assert_true(pool_is_up(crew_pool("p")));
}

static void a_dead_one_is_restarted_by_hand(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	worker_stop(w_of(1));
	fake_exit(w_of(1), 0);
	taskpool_release(w_of(1), RUNNER_RESTARTS);
	assert_worker(1, WORKER_STARTING);
	up(1);
	submit(&a, "a");
	taskpool_release(w_of(1), RUNNER_RESTARTS); /* not before it has done that */
	assert_worker(1, WORKER_RUNNING);
	submit(&b, "b");
	assert_string_equal(hand_of(2), "b");
	fake_says(pipe_of(1), "A\n");
	assert_worker(1, WORKER_STOPPING);
	fake_exit(w_of(1), 0);
	assert_worker(1, WORKER_STARTING);
}

static void replaced_after_so_many_tasks(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.max_tasks = 2;
	setup.prefetch = 5;
	start_pool();
	up(1);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	assert_string_equal(hand_of(1), "a b");
	fake_says(pipe_of(1), "A\n");
	assert_worker(1, WORKER_RUNNING);
	fake_says(pipe_of(1), "B\n");
	assert_worker(1, WORKER_STOPPING);
	assert_int_equal(c.ended, 0);
	fake_exit(w_of(1), 0);
	up(1);
	assert_string_equal(hand_of(1), "c");
	assert_int_equal(w_of(1)->restarts, 0);
}

static void replaced_when_it_owns_too_much(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.recycle = 100;
	setup.refork_after = 2;
	start_pool();
	up(1);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	submit(&d, "d");
	fake_says(pipe_of(1), "A\n");
	assert_false(fake_memory(0)); /* after two tasks it is asked */
	fake_says(pipe_of(1), "B\n");
	assert_true(fake_memory(100));
	assert_false(fake_memory(0));
	assert_string_equal(hand_of(1), "c");
	fake_says(pipe_of(1), "C\n");
	fake_says(pipe_of(1), "D\n");
	submit(&e, "e");
	assert_true(fake_memory(101)); /* the task in hand comes first */
	assert_worker(1, WORKER_RUNNING);
	submit(&a, "a");
	assert_string_equal(hand_of(1), "e");
	fake_says(pipe_of(1), "E\n");
	assert_worker(1, WORKER_STOPPING);
	fake_exit(w_of(1), 0);
	up(1);
	assert_string_equal(hand_of(1), "a");
	assert_int_equal(w_of(1)->restarts, 0);
}

/* What was measured was another process. */
static void measured_too_late(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.recycle = 100;
	setup.refork_after = 1;
	start_pool();
	up(1);
	submit(&a, "a");
	fake_says(pipe_of(1), "A\n");
	fake_killed(w_of(1), SIGKILL);
	fake_advance(SEC);
	up(1);
	assert_true(fake_memory(1000));
	assert_worker(1, WORKER_RUNNING);
	submit(&b, "b");
	fake_says(pipe_of(1), "B\n"); /* one that leaves is not asked for any more */
	setup.absent = true;
	reload_pool();
	fake_exit(w_of(1), 0);
	fake_turn();
	assert_false(fake_memory(1000));
}

/* ---- owners and results -----------------------------------------------------------------------
 */

static void the_owner_leaves(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	submit(&a, "a");
	submit(&b, "b");
	taskpool_disown(b.task);
	assert_int_equal(the_pool()->queued, 0);
	assert_int_equal(the_pool()->cancelled, 1);
	taskpool_disown(a.task);
	assert_int_equal(task_count(), 1);
	fake_says(pipe_of(1), "A\n");
	assert_int_equal(task_count(), 0);
	assert_int_equal(a.ended + b.ended, 0);
}

/* What runs for nobody is not begun again. */
static void unwanted_and_its_worker_dies(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	submit(&a, "a");
	taskpool_disown(a.task);
	fake_killed(w_of(1), SIGKILL); /* it had not read it */
	assert_int_equal(task_count(), 0);
	assert_int_equal(the_pool()->queued, 0);
}

static void results_are_kept_for_a_time(void **state)
{
	struct task *t, *u, *found;
	char id[TASK_ID_SIZE];

	(void)state;
	begin(CONF_TASKS_LINES, 1);
	t = submit(NULL, "a");
	fake_says(pipe_of(1), "A\n");
	fake_advance(100 * SEC);
	u = submit(NULL, "b");
	fake_says(pipe_of(1), "B\n");
	assert_int_equal(task_find(task_id(t, id), &found), TASK_FOUND);
	assert_int_equal(t->state, TASK_SUCCEEDED);
	assert_string_equal(t->result, "A");
	fake_advance(200 * SEC - 1);
	assert_int_equal(task_find(task_id(t, id), &found), TASK_FOUND);
	fake_advance(1);
	assert_int_equal(task_find(id, &found), TASK_UNKNOWN);
	assert_int_equal(task_find(task_id(u, id), &found), TASK_FOUND);
	taskpool_told(u);
	assert_int_equal(task_find(id, &found), TASK_UNKNOWN);
	assert_int_equal(task_count(), 0);
}

static void a_shorter_time_holds_at_once(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	submit(NULL, "a");
	fake_says(pipe_of(1), "A\n");
	setup.result_ttl = 10 * SEC;
	reload_pool();
	fake_advance(10 * SEC);
	assert_int_equal(task_count(), 0);
}

static void awaited_by_several(void **state)
{
	struct task *t;

	(void)state;
	begin(CONF_TASKS_LINES, 1);
	t = submit(NULL, "a");
	taskpool_await(t);
	taskpool_await(t);
	taskpool_await(t);
	taskpool_unawait(t); /* this one had no patience */
	fake_says(pipe_of(1), "A\n");
	assert_int_equal(fake_awaited_ended, 1);
	taskpool_told(t);
	taskpool_unawait(t);
	assert_int_equal(task_count(), 1);
	fake_advance(1000 * SEC); /* its time is over, and one still has to be told */
	assert_string_equal(t->result, "A");
	taskpool_told(t);
	taskpool_unawait(t);
	assert_int_equal(task_count(), 0);
}

struct slow {
	struct task_owner owner;
	struct task *ended;
	struct list list;
};

static void keeps_it(struct task *t, struct task_owner *owner)
{
	struct slow *slow = (struct slow *)(void *)owner;

	task_keep_result(t);
	slow->ended = t;
	list_append(&slow->list, &t->link);
}

/* Its owner has it on a list of its own until it can be told; others may ask meanwhile. */
static void asked_for_while_its_owner_has_it(void **state)
{
	static struct slow slow;
	const char *arg = "a", *why;
	struct task_request r = { .args = &arg, .count = 1 };
	struct task *t;

	(void)state;
	begin(CONF_TASKS_LINES, 1);
	slow = (struct slow){ .owner.ended = keeps_it };
	list_init(&slow.list);
	assert_int_equal(taskpool_submit(the_pool(), &r, &slow.owner, 0, &t, &why), TASKPOOL_OK);
	fake_turn();
	taskpool_await(t);
	fake_says(pipe_of(1), "A\n");
	assert_ptr_equal(slow.ended, t);
	taskpool_told(t);
	taskpool_unawait(t);
	taskpool_told(t);
	assert_false(list_empty(&slow.list));
	fake_advance(1000 * SEC);
	assert_string_equal(slow.ended->result, "A");
	assert_ptr_equal(list_pop(&slow.list), &t->link);
	taskpool_fetched(t);
	assert_int_equal(task_count(), 0);
}

static void results_outlive_their_pool(void **state)
{
	struct task *t;

	(void)state;
	usual(CONF_TASKS_LINES, 3);
	setup.min_workers = 1;
	start_pool();
	submit(&a, "x");
	submit(&b, "y");
	all_up();
	fake_says(pipe_of(1), "X\n");
	fake_says(pipe_of(2), "Y\n");
	t = submit(NULL, "a");
	fake_says(pipe_of(1), "A\n");
	setup.absent = true;
	reload_pool();
	fake_exit(w_of(2), 0);
	fake_exit(w_of(1), 0);
	assert_null(crew_pool("p"));
	assert_string_equal(t->result, "A");
	assert_string_equal(t->pool->name, "p");
	fake_advance(200 * SEC); /* nothing of the pool's own goes on */
	assert_int_equal(task_count(), 1);
	fake_advance(100 * SEC);
	assert_int_equal(task_count(), 0);
}

/* ---- close, terminate, start ------------------------------------------------------------------
 */

static void closed_when_all_is_done(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	taskpool_close(the_pool());
	fake_turn();
	assert_refused(TASKPOOL_SHUT, "closed");
	fake_says(pipe_of(2), "B\n");
	fake_says(pipe_of(2), "C\n");
	assert_worker(2, WORKER_RUNNING);
	assert_int_equal(fake_drained, 0);
	fake_says(pipe_of(1), "A\n");
	assert_worker(1, WORKER_STOPPING);
	assert_worker(2, WORKER_STOPPING);
	assert_false(taskpool_is_drained(the_pool()));
	fake_exit(w_of(1), 0);
	fake_exit(w_of(2), 0);
	assert_true(taskpool_is_drained(the_pool()));
	assert_true(fake_drained > 0);
	fake_advance(100 * SEC);
	assert_worker(1, WORKER_STOPPED);
	assert_refused(TASKPOOL_SHUT, "closed");
	taskpool_open(the_pool());
	pool_want(crew_pool("p"), true);
	worker_start(w_of(1));
	worker_start(w_of(2));
	fake_turn();
	assert_false(taskpool_is_drained(the_pool()));
	submit(&d, "d");
	all_up();
	fake_says(pipe_of(1), "D\n");
	assert_ended(&d, TASK_SUCCEEDED);
}

static void closed_with_a_worker_in_backoff(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	fake_killed(w_of(1), SIGKILL);
	assert_worker(1, WORKER_BACKOFF);
	taskpool_close(the_pool());
	fake_turn();
	assert_true(taskpool_is_drained(the_pool()));
	fake_advance(100 * SEC);
	assert_worker(1, WORKER_STOPPED);
}

static void closed_exec(void **state)
{
	(void)state;
	begin(CONF_TASKS_EXEC, 1);
	submit(&a, "a");
	submit(&b, "b");
	taskpool_close(the_pool());
	fake_turn();
	up(1);
	fake_exit(w_of(1), 0);
	assert_int_equal(b.ended, 0);
	up(1);
	taskpool_cancel(b.task);
	fake_turn();
	assert_false(taskpool_is_drained(the_pool())); /* its process is still there */
	fake_killed(w_of(1), SIGTERM);
	assert_true(taskpool_is_drained(the_pool()));
	taskpool_open(the_pool());
	pool_want(crew_pool("p"), true);
	worker_start(w_of(1));
	submit(&c, "c");
	assert_worker(1, WORKER_STARTING);
}

static void terminated(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	taskpool_terminate(the_pool());
	assert_ended(&a, TASK_CANCELLED);
	assert_ended(&b, TASK_CANCELLED);
	assert_ended(&c, TASK_CANCELLED);
	fake_turn();
	assert_refused(TASKPOOL_SHUT, "terminated");
	assert_worker(1, WORKER_STOPPING);
	fake_killed(w_of(1), SIGTERM);
	fake_killed(w_of(2), SIGTERM);
	assert_worker(1, WORKER_STOPPED);
	assert_true(taskpool_is_drained(the_pool()));
	fake_advance(100 * SEC);
	assert_int_equal(fake_slots[w_of(1)->slot].spawns, 1);
}

/* ---- how many workers -------------------------------------------------------------------------
 */

static void scaled_down_with_tasks_in_hand(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 3);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	submit(&d, "d");
	pool_scale(crew_pool("p"), 1);
	fake_turn();
	assert_worker(3, WORKER_RUNNING);
	fake_says(pipe_of(3), "C\n");
	assert_ended(&c, TASK_SUCCEEDED);
	assert_worker(3, WORKER_STOPPING);
	fake_exit(w_of(3), 0);
	assert_null(crew_worker("p-3"));
	assert_string_equal(queue_of_pool(), "d");
	pool_scale(crew_pool("p"), 3); /* the second is wanted again before it has gone */
	fake_turn();
	fake_says(pipe_of(2), "B\n");
	assert_worker(2, WORKER_RUNNING);
	assert_string_equal(hand_of(2), "d");
	up(3);
	submit(&e, "e");
	assert_string_equal(hand_of(3), "e");
}

static void dies_on_its_way_out(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	submit(&a, "a");
	submit(&b, "b");
	pool_scale(crew_pool("p"), 1);
	fake_turn();
	fake_killed(w_of(2), SIGKILL); /* it had not read it */
	assert_null(crew_worker("p-2"));
	assert_string_equal(queue_of_pool(), "b");
	fake_says(pipe_of(1), "A\n");
	assert_string_equal(hand_of(1), "b");
}

static void grows_and_shrinks(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 4);
	setup.min_workers = 1;
	setup.idle_timeout = 10 * SEC;
	start_pool();
	all_up();
	assert_int_equal(crew_pool("p")->count, 1);
	submit(&a, "a");
	assert_int_equal(crew_pool("p")->count, 1);
	submit(&b, "b");
	assert_int_equal(crew_pool("p")->count, 2);
	submit(&c, "c"); /* one is coming, a second is needed */
	assert_int_equal(crew_pool("p")->count, 3);
	submit(&d, "d");
	submit(&e, "e");
	assert_int_equal(crew_pool("p")->count, 4);
	all_up();
	assert_string_equal(hand_of(4), "d");
	fake_advance(5 * SEC);
	for (unsigned i = 1; i <= 4; i++)
		fake_says(pipe_of(i), "ok\n");
	assert_string_equal(hand_of(1), "e");
	fake_advance(10 * SEC - 1);
	assert_int_equal(crew_pool("p")->in_state[WORKER_RUNNING], 4);
	fake_advance(1);
	assert_worker(4, WORKER_STOPPING);
	for (unsigned i = 4; i >= 2; i--) {
		if (!crew_worker("p-2"))
			break;
		fake_advance(0);
		fake_exit(w_of(i), 0);
	}
	assert_int_equal(crew_pool("p")->count, 1);
	fake_says(pipe_of(1), "ok\n");
	fake_advance(100 * SEC);
	assert_int_equal(crew_pool("p")->count, 1);
	assert_worker(1, WORKER_RUNNING);
	assert_true(pool_is_up(crew_pool("p")));
}

static void a_busy_last_one_stays(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 2);
	setup.min_workers = 1;
	setup.idle_timeout = 10 * SEC;
	start_pool();
	submit(&a, "a");
	submit(&b, "b");
	all_up();
	fake_says(pipe_of(1), "A\n");
	fake_advance(100 * SEC);
	assert_worker(2, WORKER_RUNNING);
	fake_says(pipe_of(2), "B\n");
	fake_advance(10 * SEC);
	assert_worker(2, WORKER_STOPPING);
}

/* ---- reload -----------------------------------------------------------------------------------
 */

static void a_new_one_first_then_the_old_ones(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	submit(&a, "a");
	setup.umask = 027;
	reload_pool();
	assert_int_equal(crew_pool("p")->count, 3);
	assert_worker(3, WORKER_STARTING);
	assert_worker(1, WORKER_RUNNING);
	assert_worker(2, WORKER_RUNNING);
	up(3);
	assert_worker(1, WORKER_RUNNING); /* it has a task */
	submit(&b, "b");
	assert_string_equal(hand_of(2), "b");
	fake_says(pipe_of(1), "A\n");
	assert_worker(1, WORKER_STOPPING);
	assert_worker(2, WORKER_RUNNING);
	fake_exit(w_of(1), 0);
	up(1);
	fake_says(pipe_of(2), "B\n");
	assert_worker(2, WORKER_STOPPING);
	fake_exit(w_of(2), 0);
	up(2);
	assert_worker(3, WORKER_STOPPING); /* it was one too many */
	fake_exit(w_of(3), 0);
	assert_int_equal(crew_pool("p")->count, 2);
	assert_true(pool_is_up(crew_pool("p")));
	fake_advance(100 * SEC);
	assert_int_equal(crew_pool("p")->in_state[WORKER_RUNNING], 2);
}

static void a_new_definition_that_fails(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	setup.umask = 027;
	setup.restart_limit = 2;
	reload_pool();
	for (unsigned i = 0; i < 3; i++) {
		fake_exec_fails(w_of(3), ENOENT);
		fake_advance(30 * SEC);
	}
	assert_null(crew_worker("p-3"));
	assert_int_equal(crew_pool("p")->in_state[WORKER_RUNNING], 2);
	assert_int_equal(fake_slots[w_of(1)->slot].spawns, 1);
	submit(&a, "a");
	fake_says(pipe_of(1), "A\n");
	assert_ended(&a, TASK_SUCCEEDED);
}

static void removed_with_tasks_waiting(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	setup.absent = true;
	reload_pool();
	assert_refused(TASKPOOL_SHUT, "removed from the configuration");
	assert_worker(1, WORKER_RUNNING);
	fake_has_read_all(pipe_of(2));
	fake_killed(w_of(2), SIGKILL);
	assert_ended(&b, TASK_FAILED);
	fake_advance(100 * SEC);
	assert_int_equal(fake_slots[w_of(2)->slot].spawns, 1); /* as what? */
	fake_says(pipe_of(1), "A\n");
	fake_says(pipe_of(1), "C\n");
	assert_ended(&c, TASK_SUCCEEDED);
	assert_worker(1, WORKER_STOPPING);
	fake_exit(w_of(1), 0);
	assert_null(crew_pool("p"));
}

static void removed_and_nobody_is_left(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.task_timeout = SEC;
	start_pool();
	up(1);
	submit(&a, "a");
	submit(&b, "b");
	setup.absent = true;
	reload_pool();
	fake_advance(SEC);
	assert_ended(&a, TASK_FAILED);
	fake_killed(w_of(1), SIGKILL);
	assert_ended(&b, TASK_FAILED);
	assert_string_equal(b.message, "no worker of p is left: the pool was removed from the "
				       "configuration");
	assert_null(crew_pool("p"));
}

static void removed_exec(void **state)
{
	(void)state;
	begin(CONF_TASKS_EXEC, 1);
	submit(&a, "a");
	submit(&b, "b");
	up(1);
	setup.absent = true;
	reload_pool();
	assert_ended(&b, TASK_FAILED);
	assert_int_equal(a.ended, 0);
	fake_exit(w_of(1), 0);
	assert_ended(&a, TASK_SUCCEEDED);
	assert_null(crew_pool("p"));
}

static void removed_and_back(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	submit(&a, "a");
	fake_killed(w_of(2), SIGKILL);
	assert_worker(2, WORKER_BACKOFF);
	setup.absent = true;
	reload_pool();
	assert_worker(2, WORKER_STOPPED);
	setup.absent = false;
	reload_pool();
	assert_worker(1, WORKER_RUNNING);
	assert_worker(2, WORKER_STARTING);
	up(2);
	submit(&b, "b");
	assert_string_equal(hand_of(2), "b");
	fake_says(pipe_of(1), "A\n");
	assert_ended(&a, TASK_SUCCEEDED);
}

static void from_lines_to_exec(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 2);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	setup.tasks = CONF_TASKS_EXEC;
	reload_pool();
	assert_ended(&c, TASK_CANCELLED);
	fake_says(pipe_of(1), "A\n");
	assert_ended(&a, TASK_SUCCEEDED);
	assert_worker(1, WORKER_STOPPING);
	submit(&d, "d");
	fake_exit(w_of(1), 0);
	assert_worker(1, WORKER_STARTING);
	assert_string_equal(fake_slots[w_of(1)->slot].args, "d ");
	fake_killed(w_of(2), SIGKILL); /* it had not read it */
	assert_ended(&b, TASK_CANCELLED);
	up(1);
	fake_exit(w_of(1), 0);
	assert_ended(&d, TASK_SUCCEEDED);
	assert_worker(1, WORKER_STOPPED);
	assert_worker(2, WORKER_STOPPED);
	submit(&d, "d");
	submit(&e, "e");
	assert_worker(2, WORKER_STARTING);
}

static void from_exec_to_lines(void **state)
{
	(void)state;
	begin(CONF_TASKS_EXEC, 2);
	submit(&a, "a");
	up(1);
	fake_says(pipe_of(1), "out");
	setup.tasks = CONF_TASKS_LINES;
	reload_pool();
	assert_worker(2, WORKER_STARTING);
	up(2);
	submit(&b, "b");
	assert_string_equal(hand_of(2), "b");
	fake_says(pipe_of(1), "put\n");
	fake_exit(w_of(1), 0);
	assert_ended(&a, TASK_SUCCEEDED);
	assert_string_equal(a.result, "output\n");
	fake_advance(SEC);
	up(1);
	submit(&c, "c");
	assert_string_equal(hand_of(1), "c");
}

static void from_lines_to_jsonrpc(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.retries = 1;
	start_pool();
	up(1);
	submit(&a, "a");
	setup.tasks = CONF_TASKS_JSONRPC;
	reload_pool();
	submit(&b, "b");
	assert_int_equal(w_of(1)->runner->count, 1);
	fake_has_read_all(pipe_of(1));
	fake_killed(w_of(1), SIGKILL); /* a retry is left, but nobody who understands it */
	assert_ended(&a, TASK_CANCELLED);
	fake_advance(SEC);
	up(1);
	assert_non_null(strstr(fake_sent(pipe_of(1)), "\"method\":\"b\""));
}

/* Changed between the start of a process and the news that it runs. */
static void asked_as_it_was_started(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	start_pool();
	setup.tasks = CONF_TASKS_JSONRPC;
	reload_pool();
	up(1);
	submit(&a, "a");
	assert_string_equal(fake_sent(pipe_of(1)), "");
	up(2);
	assert_non_null(strstr(fake_sent(pipe_of(2)), "jsonrpc"));
}

static void no_tasks_any_more(void **state)
{
	struct task *t;

	(void)state;
	begin(CONF_TASKS_LINES, 2);
	t = submit(NULL, "r");
	fake_says(pipe_of(1), "R\n");
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	setup.plain = true;
	reload_pool();
	assert_ended(&a, TASK_CANCELLED);
	assert_ended(&c, TASK_CANCELLED);
	assert_null(crew_pool("p")->tasks);
	assert_string_equal(t->result, "R");
	assert_worker(1, WORKER_STOPPING);
	fake_exit(w_of(1), 0);
	up(1);
	fake_exit(w_of(2), 0);
	up(2);
	setup.plain = false;
	setup.tasks = CONF_TASKS_EXEC;
	reload_pool();
	assert_worker(1, WORKER_STOPPING);
	fake_exit(w_of(1), 0);
	submit(&d, "d");
	assert_worker(1, WORKER_STARTING);
	setup.plain = true;
	reload_pool();
	assert_ended(&d, TASK_CANCELLED);
}

/* ---- shutdown ---------------------------------------------------------------------------------
 */

static void shut_down(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	submit(&a, "a");
	submit(&b, "b");
	crew_shutdown(false);
	assert_ended(&a, TASK_CANCELLED);
	assert_ended(&b, TASK_CANCELLED);
	fake_turn();
	assert_refused(TASKPOOL_SHUT, "terminated");
	assert_int_equal(fake_shut_down, 0);
	fake_killed(w_of(1), SIGTERM);
	assert_true(fake_shut_down > 0);
	assert_worker(1, WORKER_STOPPED);
}

static void shut_down_when_all_is_done(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	submit(&a, "a");
	submit(&b, "b");
	crew_shutdown(true);
	fake_turn();
	assert_refused(TASKPOOL_SHUT, "closed");
	fake_says(pipe_of(1), "A\n");
	assert_string_equal(hand_of(1), "b");
	fake_says(pipe_of(1), "B\n");
	assert_worker(1, WORKER_STOPPING);
	assert_int_equal(fake_shut_down, 0);
	fake_exit(w_of(1), 0);
	assert_true(fake_shut_down > 0);
	assert_ended(&b, TASK_SUCCEEDED);
}

static void shut_down_and_the_last_worker_dies(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	submit(&a, "a");
	submit(&b, "b");
	crew_shutdown(true);
	fake_turn();
	fake_has_read_all(pipe_of(1));
	fake_killed(w_of(1), SIGKILL);
	assert_ended(&a, TASK_FAILED);
	assert_ended(&b, TASK_FAILED);
	assert_true(fake_shut_down > 0);
}

static void shut_down_with_exec(void **state)
{
	(void)state;
	begin(CONF_TASKS_EXEC, 2);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	crew_shutdown(true);
	fake_turn();
	all_up();
	fake_exit(w_of(1), 0);
	up(1);
	fake_exit(w_of(2), 0);
	assert_int_equal(fake_shut_down, 0);
	fake_exit(w_of(1), 0);
	assert_ended(&c, TASK_SUCCEEDED);
	assert_true(fake_shut_down > 0);
}

/* No worker may take it, and none is started any more: it must not keep crewd. */
static void shut_down_and_nobody_could(void **state)
{
	(void)state;
	begin(CONF_TASKS_EXEC, 1);
	pool_scale(crew_pool("p"), 0);
	fake_turn();
	submit(&a, "a");
	assert_int_equal(the_pool()->queued, 1);
	crew_shutdown(true);
	fake_turn();
	assert_ended(&a, TASK_FAILED);
	assert_true(fake_shut_down > 0);
}

/* ---- another manager --------------------------------------------------------------------------
 */

static void idle_workers_go_on(void **state)
{
	pid_t pid;

	(void)state;
	usual(CONF_TASKS_LINES, 3);
	setup.min_workers = 1;
	setup.idle_timeout = 10 * SEC;
	start_pool();
	submit(&a, "a");
	submit(&b, "b");
	all_up();
	fake_says(pipe_of(1), "A\n");
	fake_says(pipe_of(2), "B\n");
	pid = w_of(2)->pid;
	next_manager();
	assert_int_equal(crew_pool("p")->count, 2); /* it had grown, and may shrink in time */
	assert_int_equal(w_of(2)->pid, pid);
	assert_worker(2, WORKER_RUNNING);
	submit(&a, "a");
	submit(&b, "b");
	assert_string_equal(hand_of(2), "b");
	fake_says(pipe_of(1), "A\n");
	fake_says(pipe_of(2), "B\n");
	assert_ended(&a, TASK_SUCCEEDED);
	fake_advance(10 * SEC);
	assert_worker(2, WORKER_STOPPING);
	assert_worker(1, WORKER_RUNNING);
}

static void answers_to_the_one_before_are_thrown_away(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 2);
	setup.prefetch = 2;
	start_pool();
	all_up();
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	next_manager();
	assert_true(fake_input_closed(pipe_of(1)));
	assert_int_equal(fake_slots[w_of(1)->slot].inputs_closed, 1);
	submit(&d, "d");
	assert_string_equal(queue_of_pool(), "d");
	fake_says(pipe_of(1), "A\n");
	assert_int_equal(d.ended, 0);
	assert_worker(1, WORKER_RUNNING);
	next_manager(); /* even twice */
	submit(&d, "d");
	assert_worker(1, WORKER_RUNNING);
	fake_says(pipe_of(1), "C\n");
	assert_worker(1, WORKER_STOPPING);
	assert_int_equal(d.ended, 0);
	fake_exit(w_of(1), 0);
	assert_worker(1, WORKER_STARTING);
	up(1);
	assert_string_equal(hand_of(1), "d");
	fake_exit(w_of(2), 0); /* its input is over: it may end by itself */
	assert_worker(2, WORKER_STARTING);
	assert_int_equal(w_of(2)->window_count, 0);
}

static void part_of_a_request_is_in_the_pipe(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	fake_room(pipe_of(1), 1);
	submit(&a, "abc");
	next_manager();
	assert_worker(1, WORKER_STOPPING);
	submit(&b, "b");
	fake_killed(w_of(1), SIGTERM);
	up(1);
	assert_string_equal(fake_sent(pipe_of(1)), "b\n");
}

static void died_while_there_was_no_manager(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	submit(&a, "a");
	fake_killed_unseen(w_of(1), SIGKILL);
	next_manager();
	assert_worker(1, WORKER_STARTING);
	assert_int_equal(w_of(1)->window_count, 0);
	up(1);
	submit(&b, "b");
	fake_says(pipe_of(1), "B\n");
	assert_ended(&b, TASK_SUCCEEDED);
}

static void a_task_of_before_that_hangs(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.task_timeout = 5 * SEC;
	start_pool();
	up(1);
	submit(&a, "a");
	next_manager();
	fake_advance(5 * SEC - 1);
	assert_worker(1, WORKER_RUNNING);
	fake_advance(1);
	assert_worker(1, WORKER_STOPPING);
	fake_killed(w_of(1), SIGKILL);
	up(1);
	fake_advance(100 * SEC);
	assert_worker(1, WORKER_RUNNING);
}

static void a_process_from_before(void **state)
{
	(void)state;
	begin(CONF_TASKS_EXEC, 2);
	submit(&a, "a");
	up(1);
	next_manager();
	assert_worker(1, WORKER_RUNNING);
	submit(&b, "b");
	submit(&c, "c");
	assert_worker(2, WORKER_STARTING);
	assert_string_equal(fake_slots[w_of(2)->slot].args, "b ");
	fake_says(pipe_of(1), "for nobody");
	fake_exit(w_of(1), 0);
	assert_worker(1, WORKER_STARTING);
	up(1);
	fake_says(pipe_of(1), "for c");
	fake_exit(w_of(1), 0);
	assert_ended(&c, TASK_SUCCEEDED);
	assert_string_equal(c.result, "for c");
}

/* The manager died between asking for the process and noting that it had. */
static void begun_and_not_noted(void **state)
{
	struct ledger_worker r;
	unsigned slot;

	(void)state;
	begin(CONF_TASKS_EXEC, 1);
	slot = w_of(1)->slot;
	assert_true(ledger_load_worker(slot, &r));
	submit(&a, "a");
	ledger_save_worker(slot, &r);
	next_manager();
	assert_worker(1, WORKER_STOPPING);
	assert_int_equal(fake_slots[slot].last_signal, SIGKILL);
	submit(&b, "b");
	fake_killed(w_of(1), SIGKILL);
	assert_worker(1, WORKER_STARTING);
	assert_string_equal(fake_slots[slot].args, "b ");
}

static void a_limit_outlasts_a_reload(void **state)
{
	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.task_timeout = 5 * SEC;
	start_pool();
	up(1);
	submit(&a, "a");
	next_manager();
	reload_pool();
	fake_advance(5 * SEC);
	assert_worker(1, WORKER_STOPPING);
	fake_killed(w_of(1), SIGKILL);
}

static void stays_closed(void **state)
{
	(void)state;
	begin(CONF_TASKS_LINES, 1);
	taskpool_close(the_pool());
	fake_turn();
	fake_exit(w_of(1), 0);
	next_manager();
	assert_refused(TASKPOOL_SHUT, "closed");
	assert_worker(1, WORKER_STOPPED);
	assert_true(taskpool_is_drained(the_pool()));
}

/* ---- anything in any order --------------------------------------------------------------------
 */

#define CALLERS 24

static struct caller crowd[CALLERS];
static uint32_t dice;

static unsigned roll(unsigned sides)
{
	dice = dice * 1664525u + 1013904223u;
	return (dice >> 8) % sides;
}

static unsigned length(const struct list *list)
{
	unsigned n = 0;

	for (const struct list *l = list->next; l != list; l = l->next)
		n++;
	return n;
}

/* What is counted is what there is; nobody is told twice; nothing waits while somebody could take it. */
static void assert_sound(void)
{
	const struct pool *p = crew_pool("p");
	unsigned in_hand = 0;
	bool waits;

	for (unsigned i = 0; i < CALLERS; i++)
		assert_true(crowd[i].ended <= 1);
	if (!p || !p->tasks)
		return;
	waits = p->tasks->queued && p->wanted && !(p->removed && p->tasks->kind->per_task);
	for (unsigned i = 0; i < p->count; i++) {
		const struct runner *r = p->workers[i]->runner;

		assert_non_null(r);
		assert_false(waits && runner_may_take(r));
		assert_int_equal(r->count, length(&r->in_hand));
		assert_true(!r->count || worker_is_alive(r->worker));
		in_hand += r->count;
	}
	assert_int_equal(p->tasks->in_hand, in_hand);
	assert_int_equal(p->tasks->queued, length(&p->tasks->queue));
}

static struct worker *any_worker(void)
{
	struct pool *p = crew_pool("p");

	return p && p->count ? p->workers[roll(p->count)] : NULL;
}

static void a_worker_does_something(void)
{
	struct worker *w = any_worker();
	struct task *t;
	char text[64];

	if (!w || !worker_is_alive(w))
		return;
	if (w->state == WORKER_STARTING && roll(8)) {
		fake_exec(w);
		return;
	}
	if (w->state == WORKER_STOPPING || !roll(6)) {
		roll(2) ? fake_killed(w, SIGTERM) : fake_exit(w, (int)roll(2));
		return;
	}
	if (!w->runner || !w->runner->channel)
		return;
	t = runner_head(w->runner);
	snprintf(text, sizeof(text), "ok\n");
	if (t && t->kind->json)
		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",\"result\":1}\n", t->number);
	fake_has_read_all(w->runner->channel);
	if (t || !roll(20))
		fake_says(w->runner->channel, roll(20) ? text : "what?\n");
}

static void a_caller_does_something(void)
{
	struct caller *who = &crowd[roll(CALLERS)];
	struct taskpool *tp = crew_pool("p") ? crew_pool("p")->tasks : NULL;
	const char *why;

	if (who->task) {
		struct task *t = who->task;

		if (roll(3)) {
			taskpool_cancel(t);
		} else {
			who->task = NULL;
			taskpool_disown(t);
		}
		fake_turn();
	} else if (tp && taskpool_accepts(tp, &why) == TASKPOOL_OK) {
		submit(roll(4) ? who : NULL, "work");
	}
}

static void reload_somehow(void)
{
	static const enum conf_tasks kinds[] = { CONF_TASKS_LINES, CONF_TASKS_LINES,
						 CONF_TASKS_JSONRPC, CONF_TASKS_EXEC };

	setup.workers = 1 + roll(4);
	setup.min_workers = roll(setup.workers + 1);
	setup.prefetch = 1 + roll(3);
	setup.retries = roll(3);
	setup.max_tasks = roll(3) ? 0 : 1 + roll(3);
	setup.task_timeout = roll(2) ? 0 : 3 * SEC;
	if (!roll(3))
		setup.umask = 1 + roll(0777);
	if (!roll(4))
		setup.tasks = kinds[roll(4)];
	setup.plain = !roll(12);
	setup.absent = !roll(10);
	reload_pool();
}

static void start_all(struct pool *p)
{
	if (p->tasks)
		taskpool_open(p->tasks);
	pool_want(p, true);
	for (unsigned i = 0; i < p->count; i++)
		worker_start(p->workers[i]);
	fake_turn();
}

static void somebody_commands(void)
{
	struct pool *p = crew_pool("p");
	struct worker *w = any_worker();

	if (!p || p->removed || !w)
		return;
	switch (roll(6)) {
	case 0:
		pool_scale(p, roll(5));
		break;
	case 1:
		if (p->tasks)
			taskpool_close(p->tasks);
		break;
	case 2:
		if (p->tasks)
			taskpool_terminate(p->tasks);
		break;
	case 3:
		taskpool_release(w, roll(2) ? RUNNER_RESTARTS : RUNNER_STAYS);
		break;
	case 4:
		worker_stop(w);
		break;
	default:
		start_all(p);
	}
	fake_turn();
}

static void something_happens(void)
{
	unsigned what = roll(100);

	if (what < 45)
		a_worker_does_something();
	else if (what < 80)
		a_caller_does_something();
	else if (what < 90)
		fake_advance(roll(4) * SEC / 2);
	else if (what < 95)
		somebody_commands();
	else if (what < 99)
		reload_somehow();
	else
		next_manager();
	if (what == 99)
		memset(crowd, 0, sizeof(crowd));
}

/* However it has come to this: workers that do their work get everything done. */
static void all_is_done_in_the_end(void)
{
	struct pool *p;

	usual(CONF_TASKS_LINES, 2);
	reload_pool();
	p = crew_pool("p");
	for (unsigned turn = 0; turn < 400; turn++) {
		start_all(p);
		for (unsigned i = 0; i < p->count; i++) {
			struct worker *w = p->workers[i];

			if (w->state == WORKER_STARTING)
				fake_exec(w);
			else if (w->state == WORKER_STOPPING)
				fake_killed(w, SIGTERM);
			else if (w->state == WORKER_RUNNING && w->runner->kind->per_task)
				fake_exit(w, 0);
			else if (w->state == WORKER_RUNNING && w->runner->stale)
				fake_says(pipe_of(w->number), "old\n");
			else if (w->runner->count && !w->runner->kind->json)
				fake_says(pipe_of(w->number), "ok\n");
			else if (w->runner->count)
				fake_killed(w, SIGKILL);
			if (i >= p->count)
				break;
		}
		fake_advance(SEC);
		assert_sound();
	}
	assert_int_equal(p->tasks->queued + p->tasks->in_hand, 0);
	assert_true(pool_is_up(p));
	for (unsigned i = 0; i < CALLERS; i++)
		assert_null(crowd[i].task);
}

static void anything_in_any_order(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 150; seed++) {
		dice = seed;
		memset(crowd, 0, sizeof(crowd));
		usual(roll(2) ? CONF_TASKS_LINES : CONF_TASKS_EXEC, 3);
		setup.min_workers = 1;
		start_pool();
		for (unsigned i = 0; i < 300; i++) {
			something_happens();
			assert_sound();
		}
		all_is_done_in_the_end();
	}
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_lowest_idle_number_first),
		T(first_in_first_out),
		T(room_for_more_each_in_turn),
		T(no_more_than_the_backlog),
		T(not_started),
		T(stopped_exec_workers_get_none),
		T(exec_waits_for_the_pools_before_it),
		T(a_dead_one_is_restarted_by_hand),
		T(replaced_after_so_many_tasks),
		T(replaced_when_it_owns_too_much),
		T(measured_too_late),
		T(the_owner_leaves),
		T(unwanted_and_its_worker_dies),
		T(results_are_kept_for_a_time),
		T(a_shorter_time_holds_at_once),
		T(awaited_by_several),
		T(asked_for_while_its_owner_has_it),
		T(results_outlive_their_pool),
		T(closed_when_all_is_done),
		T(closed_with_a_worker_in_backoff),
		T(closed_exec),
		T(terminated),
		T(scaled_down_with_tasks_in_hand),
		T(dies_on_its_way_out),
		T(grows_and_shrinks),
		T(a_busy_last_one_stays),
		T(a_new_one_first_then_the_old_ones),
		T(a_new_definition_that_fails),
		T(removed_with_tasks_waiting),
		T(removed_and_nobody_is_left),
		T(removed_exec),
		T(removed_and_back),
		T(from_lines_to_exec),
		T(from_exec_to_lines),
		T(from_lines_to_jsonrpc),
		T(asked_as_it_was_started),
		T(no_tasks_any_more),
		T(shut_down),
		T(shut_down_when_all_is_done),
		T(shut_down_and_the_last_worker_dies),
		T(shut_down_with_exec),
		T(shut_down_and_nobody_could),
		T(idle_workers_go_on),
		T(answers_to_the_one_before_are_thrown_away),
		T(part_of_a_request_is_in_the_pipe),
		T(died_while_there_was_no_manager),
		T(a_task_of_before_that_hangs),
		T(a_process_from_before),
		T(begun_and_not_noted),
		T(a_limit_outlasts_a_reload),
		T(stays_closed),
		T(anything_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
