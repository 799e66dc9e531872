/* Tasks in the hands of workers: what each kind asks, takes and refuses, and what becomes of them when a worker
 * dies, is slow or lies. No process, no waiting. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/bounds.h"
#include "lib/clock.h"
#include "tests/unit/fake_tasks.h"

#define SEC USEC_PER_SEC

static void begin(enum conf_tasks tasks, uint32_t workers, uint32_t prefetch)
{
	usual(tasks, workers);
	setup.prefetch = prefetch;
	start_pool();
	all_up();
}

/* ---- lines ------------------------------------------------------------------------------------
 */

static void a_line_is_answered_by_a_line(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	submit(&a, "hello");
	assert_string_equal(fake_sent(pipe_of(1)), "hello\n");
	assert_int_equal(a.task->state, TASK_RUNNING);
	fake_says(pipe_of(1), "HELLO\n");
	assert_ended(&a, TASK_SUCCEEDED);
	assert_string_equal(a.result, "HELLO");
	assert_int_equal(a.attempts, 1);
	assert_int_equal(a.worker, 1);
	assert_int_equal(the_pool()->in_hand, 0);
	assert_int_equal(the_pool()->succeeded, 1);
	submit(&a, "");
	fake_says(pipe_of(1), "\n");
	assert_ended(&a, TASK_SUCCEEDED);
	assert_string_equal(a.result, "");
}

static void lines_are_answered_in_order(void **state)
{
	struct caller a, b, c;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 3);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	assert_string_equal(fake_sent(pipe_of(1)), "a\nb\nc\n");
	fake_says(pipe_of(1), "A\nB\n");
	assert_string_equal(a.result, "A");
	assert_string_equal(b.result, "B");
	assert_int_equal(c.ended, 0);
	fake_says(pipe_of(1), "C\n");
	assert_string_equal(c.result, "C");
}

static void a_line_cut_anywhere(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 2);
	submit(&a, "a");
	submit(&b, "b");
	fake_says(pipe_of(1), "fi");
	fake_says(pipe_of(1), "r");
	assert_int_equal(a.ended, 0);
	fake_says(pipe_of(1), "st\nsecond");
	assert_string_equal(a.result, "first");
	assert_int_equal(b.ended, 0);
	fake_says(pipe_of(1), "\n");
	assert_string_equal(b.result, "second");
}

static void a_line_too_many(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	submit(&a, "a");
	fake_says(pipe_of(1), "A\nmore\n");
	assert_ended(&a, TASK_SUCCEEDED);
	assert_worker(1, WORKER_STOPPING);
	assert_int_equal(fake_slots[w_of(1)->slot].last_signal, SIGKILL);
	fake_killed(w_of(1), SIGKILL);
	fake_advance(SEC);
	assert_worker(1, WORKER_STARTING);
}

/* The second line cannot be the answer to what it has not been asked yet. */
static void an_answer_before_the_request(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 2);
	fake_room(pipe_of(1), 3);
	submit(&a, "a");
	submit(&b, "bbbb");
	assert_string_equal(fake_sent(pipe_of(1)), "a\nb");
	fake_says(pipe_of(1), "A\nB\n");
	assert_string_equal(a.result, "A");
	assert_int_not_equal(b.state, TASK_SUCCEEDED);
	assert_worker(1, WORKER_STOPPING);
	fake_killed(w_of(1), SIGKILL);
}

/* Nor may it get the next task in the middle of what it says. */
static void more_only_when_all_was_told(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	submit(&a, "a");
	submit(&b, "b");
	fake_says_more(pipe_of(1), "A\n", 2);
	assert_ended(&a, TASK_SUCCEEDED);
	assert_string_equal(queue_of_pool(), "b");
	fake_says(pipe_of(1), "A\n");
	assert_int_equal(b.ended, 0);
	assert_worker(1, WORKER_STOPPING);
}

static void as_long_as_may_be(void **state)
{
	char *big = malloc(CREW_RESULT_MAX + 2);
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 2);
	submit(&a, "a");
	submit(&b, "b");
	memset(big, 'x', CREW_RESULT_MAX + 1);
	big[CREW_RESULT_MAX] = '\n';
	fake_says_bytes(pipe_of(1), big, CREW_RESULT_MAX + 1);
	assert_ended(&a, TASK_SUCCEEDED);
	assert_int_equal(a.result_len, CREW_RESULT_MAX);
	memset(big, 'x', CREW_RESULT_MAX + 1);
	fake_says_bytes(pipe_of(1), big, CREW_RESULT_MAX);
	assert_int_equal(b.ended, 0);
	fake_says_bytes(pipe_of(1), "x\n", 2);
	assert_ended(&b, TASK_FAILED);
	assert_int_equal(b.error, TASK_TOO_BIG);
	assert_worker(1, WORKER_STOPPING);
	fake_killed(w_of(1), SIGKILL);
	assert_worker(1, WORKER_STARTING);
	free(big);
}

/* It was asked nothing: that is its own fault, and slows its restarts down. */
static void floods_without_being_asked(void **state)
{
	char *big = malloc(CREW_RESULT_MAX + 1);

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	memset(big, 'x', CREW_RESULT_MAX + 1);
	fake_says_bytes(pipe_of(1), big, CREW_RESULT_MAX + 1);
	assert_worker(1, WORKER_STOPPING);
	fake_killed(w_of(1), SIGKILL);
	assert_worker(1, WORKER_BACKOFF);
	assert_int_equal(w_of(1)->window_count, 1);
	free(big);
}

static void a_slow_reader_gets_no_more(void **state)
{
	char *big = malloc(CREW_MESSAGE_MAX + 1);
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 10);
	memset(big, 'x', CREW_MESSAGE_MAX);
	big[CREW_MESSAGE_MAX] = '\0';
	fake_room(pipe_of(1), 0);
	submit(&a, big);
	submit(&b, "b");
	assert_string_equal(queue_of_pool(), "b");
	fake_room(pipe_of(1), 100);
	assert_string_equal(queue_of_pool(), "");
	free(big);
}

static void closes_its_output(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	submit(&a, "a");
	fake_has_read_all(pipe_of(1));
	fake_closes(pipe_of(1));
	assert_worker(1, WORKER_RUNNING);
	fake_advance(SEC);
	assert_worker(1, WORKER_STOPPING);
	fake_killed(w_of(1), SIGKILL);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_WORKER_DIED);
}

/* ---- jsonrpc ----------------------------------------------------------------------------------
 */

static void answer(unsigned worker, const struct task *t, const char *rest)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",%s}\n", t->number,
		 rest);
	fake_says(pipe_of(worker), text);
}

static void a_call_and_its_result(void **state)
{
	struct task_request r = { .method = "add", .params = "[1,2]", .params_len = 5 };
	char want[128];
	struct caller a;

	(void)state;
	begin(CONF_TASKS_JSONRPC, 1, 1);
	submit_as(&a, &r, TASKPOOL_OK);
	snprintf(want, sizeof(want),
		 "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",\"method\":\"add\",\"params\":[1,2]}\n",
		 a.task->number);
	assert_string_equal(fake_sent(pipe_of(1)), want);
	answer(1, a.task, "\"result\":{\"sum\":3}");
	assert_ended(&a, TASK_SUCCEEDED);
	assert_string_equal(a.result, "{\"sum\":3}");
}

/* To its worker it is a call, so the request alone differs; what has a template no fake keeper starts. */
static void asks_as_module(const struct task_request *r, const char *want)
{
	const char *parameter, *why;
	char payload[128];

	assert_int_equal(task_module.check(r, &parameter, &why), 0);
	assert_int_equal(task_module.size(r), strlen(want));
	assert_int_equal(task_module.fill(r, payload), 0);
	assert_memory_equal(payload, want, strlen(want));
}

static void of_a_module(void **state)
{
	const char *args[] = { "a\"b", "" }, *parameter, *why;
	struct task_request named = { .method = "m" }, fed = { .args = args, .count = 1, .input = "x" };

	(void)state;
	asks_as_module(&(struct task_request){ .args = args, .count = 2 },
		       ",\"method\":\"run\",\"params\":[\"a\\\"b\",\"\"]}\n");
	asks_as_module(&(struct task_request){ .params = "{\"n\":1}", .params_len = 7 },
		       ",\"method\":\"run\",\"params\":{\"n\":1}}\n");
	asks_as_module(&(struct task_request){ 0 }, ",\"method\":\"run\",\"params\":[]}\n");
	assert_int_equal(task_module.check(&named, &parameter, &why), -1);
	assert_string_equal(parameter, "method");
	assert_int_equal(task_module.check(&fed, &parameter, &why), -1);
	assert_string_equal(parameter, "input");
}

static void in_any_order(void **state)
{
	struct caller a, b, c;

	(void)state;
	begin(CONF_TASKS_JSONRPC, 1, 3);
	submit(&a, "a");
	submit(&b, "b");
	submit(&c, "c");
	answer(1, c.task, "\"result\":3");
	answer(1, a.task, "\"result\":1");
	assert_string_equal(a.result, "1");
	assert_string_equal(c.result, "3");
	assert_int_equal(b.ended, 0);
	answer(1, b.task, "\"result\":null");
	assert_ended(&b, TASK_SUCCEEDED);
	assert_string_equal(b.result, "null");
}

static void an_error_object(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_JSONRPC, 1, 2);
	submit(&a, "a");
	submit(&b, "b");
	answer(1, a.task,
	       "\"error\":{\"code\":-32601,\"message\":\"no such method\",\"data\":[7]}");
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_OWN);
	assert_true(a.has_code);
	assert_int_equal(a.code, -32601);
	assert_string_equal(a.message, "no such method");
	assert_string_equal(a.data, "[7]");
	fake_says(pipe_of(1), "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":"
			      "{\"code\":-32700,\"message\":\"parse error\"}}\n");
	assert_ended(&b, TASK_FAILED);
	assert_string_equal(b.message, "parse error");
	assert_worker(1, WORKER_RUNNING);
}

static void foreign_and_second_answers_are_ignored(void **state)
{
	struct caller a, b, other;
	uint64_t number;

	(void)state;
	begin(CONF_TASKS_JSONRPC, 2, 1);
	submit(&a, "a");
	submit(&other, "other");
	number = a.task->number;
	answer(1, other.task, "\"result\":1");
	assert_int_equal(other.ended, 0);
	answer(1, a.task, "\"result\":1");
	submit(&b, "b");
	answer(1, &(struct task){ .number = number }, "\"result\":2");
	answer(1, &(struct task){ .number = 12345678 }, "\"result\":2");
	answer(1, &(struct task){ .number = UINT64_MAX / 2 }, "\"result\":2");
	assert_int_equal(b.ended, 0);
	assert_worker(1, WORKER_RUNNING);
	answer(1, b.task, "\"result\":3");
	assert_string_equal(b.result, "3");
	answer(2, other.task, "\"result\":4");
	assert_string_equal(other.result, "4");
}

static void not_sent_yet_cannot_be_answered(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_JSONRPC, 1, 1);
	fake_room(pipe_of(1), 5);
	submit(&a, "a");
	answer(1, a.task, "\"result\":1");
	assert_int_equal(a.ended, 0);
	fake_room(pipe_of(1), 1000);
	answer(1, a.task, "\"result\":1");
	assert_ended(&a, TASK_SUCCEEDED);
}

static void no_json(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_JSONRPC, 1, 2);
	submit(&a, "a");
	submit(&b, "b");
	fake_says(pipe_of(1), "Traceback (most recent call last):\n");
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_BAD_ANSWER);
	assert_int_equal(b.ended, 0);
	assert_worker(1, WORKER_STOPPING);
	answer(1, b.task, "\"result\":1"); /* too late */
	assert_int_equal(b.ended, 0);
	fake_killed(w_of(1), SIGKILL);
	assert_int_equal(b.ended, 0);
	assert_int_equal(the_pool()->queued, 1);
	fake_advance(SEC);
	up(1);
	answer(1, b.task, "\"result\":1");
	assert_ended(&b, TASK_SUCCEEDED);
	assert_int_equal(b.attempts, 1);
}

/* ---- exec -------------------------------------------------------------------------------------
 */

static void a_process_for_a_task(void **state)
{
	static const char *const args[] = { "-x", "a b", "" };
	struct task_request r = { .args = args, .count = 3, .input = "stdin", .input_len = 5 };
	struct caller a;

	(void)state;
	begin(CONF_TASKS_EXEC, 2, 1);
	assert_worker(1, WORKER_STOPPED);
	submit_as(&a, &r, TASKPOOL_OK);
	assert_worker(1, WORKER_STARTING);
	assert_worker(2, WORKER_STOPPED);
	assert_int_equal(fake_slots[w_of(1)->slot].task_args, 3);
	assert_string_equal(fake_slots[w_of(1)->slot].args, "-x a b  ");
	assert_string_equal(fake_slots[w_of(1)->slot].input, "stdin");
	up(1);
	fake_says(pipe_of(1), "some ");
	fake_says(pipe_of(1), "out\nput\n");
	assert_int_equal(a.ended, 0);
	fake_closes(pipe_of(1));
	fake_advance(10 * SEC);
	assert_int_equal(a.ended, 0);
	fake_exit(w_of(1), 0);
	assert_ended(&a, TASK_SUCCEEDED);
	assert_string_equal(a.result, "some out\nput\n");
	assert_int_equal(a.task_exitcode, 0);
	assert_worker(1, WORKER_STOPPED);
	assert_int_equal(w_of(1)->restarts, 0);
	assert_int_equal(fake_channels, 0);
}

static void exit_three(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_EXEC, 1, 1);
	setup.retries = 5; /* not for those that have failed by themselves */
	reload_pool();
	submit(&a, "a");
	up(1);
	fake_says(pipe_of(1), "half");
	fake_exit(w_of(1), 3);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_OWN);
	assert_int_equal(a.exitcode, 3);
	assert_int_equal(a.task_exitcode, 3);
	assert_string_equal(a.message, "exited 3");
	assert_string_equal(a.result, "half");
	assert_worker(1, WORKER_STOPPED);
}

static void killed_by_a_signal(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_EXEC, 1, 1);
	submit(&a, "a");
	up(1);
	fake_killed(w_of(1), SIGSEGV);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_WORKER_DIED);
	assert_int_equal(a.signal, SIGSEGV);
	assert_int_equal(a.exitcode, -1);
	assert_string_equal(a.message, "killed by SIGSEGV");
}

static void killed_and_tried_again(void **state)
{
	struct caller a;

	(void)state;
	usual(CONF_TASKS_EXEC, 1);
	setup.retries = 1;
	start_pool();
	submit(&a, "a");
	up(1);
	fake_killed(w_of(1), SIGKILL);
	assert_int_equal(a.ended, 0);
	assert_worker(1, WORKER_STARTING);
	up(1);
	fake_killed(w_of(1), SIGKILL);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.attempts, 2);
}

static void cannot_be_run(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_EXEC, 1, 1);
	submit(&a, "a");
	submit(&b, "b");
	fake_exec_fails(w_of(1), ENOENT);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_WORKER_DIED);
	assert_string_equal(a.message, "cannot run /bin/work: No such file or directory");
	assert_int_equal(a.signal, 0);
	assert_int_equal(a.exitcode, -1);
	assert_int_equal(b.ended, 0);
	up(1);
	fake_exit(w_of(1), 0);
	assert_ended(&b, TASK_SUCCEEDED);
}

static void too_long_for_a_command(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_EXEC, 1, 1);
	fake_task_errno = E2BIG;
	submit(&a, "a");
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_BAD_ANSWER);
	assert_non_null(strstr(a.message, "Argument list too long"));
	assert_worker(1, WORKER_STOPPED);
	fake_task_errno = 0;
	submit(&a, "a");
	up(1);
	fake_exit(w_of(1), 0);
	assert_ended(&a, TASK_SUCCEEDED);
}

/* That passes: the task waits until it has. */
static void no_descriptor_is_left(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_EXEC, 2, 1);
	fake_task_errno = EMFILE;
	submit(&a, "a");
	submit(&b, "b");
	assert_int_equal(a.ended + b.ended, 0);
	assert_int_equal(the_pool()->queued, 2);
	assert_int_equal(the_pool()->in_hand, 0);
	fake_advance(SEC);
	assert_int_equal(the_pool()->queued, 2);
	assert_worker(1, WORKER_STOPPED);
	fake_task_errno = 0;
	fake_advance(SEC);
	assert_int_equal(the_pool()->queued, 0);
	assert_string_equal(fake_slots[w_of(1)->slot].args, "a ");
	assert_string_equal(fake_slots[w_of(2)->slot].args, "b ");
	fake_task_errno = EMFILE;
	submit(&a, "c");
	taskpool_cancel(a.task);
	assert_ended(&a, TASK_CANCELLED);
}

static void prints_too_much(void **state)
{
	char *big = calloc(1, CREW_RESULT_MAX);
	struct caller a;

	(void)state;
	begin(CONF_TASKS_EXEC, 1, 1);
	submit(&a, "a");
	up(1);
	fake_says_bytes(pipe_of(1), big, CREW_RESULT_MAX);
	assert_int_equal(a.ended, 0);
	fake_says(pipe_of(1), "x");
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_TOO_BIG);
	assert_worker(1, WORKER_STOPPING);
	fake_killed(w_of(1), SIGKILL);
	assert_worker(1, WORKER_STOPPED);
	free(big);
}

/* Its child holds the pipe for ever: what is in it counts, nothing is waited for. */
static void a_child_keeps_the_pipe(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_EXEC, 1, 1);
	submit(&a, "a");
	up(1);
	fake_leaves_in_pipe(pipe_of(1), "done");
	fake_exit(w_of(1), 0);
	assert_ended(&a, TASK_SUCCEEDED);
	assert_string_equal(a.result, "done");
	assert_int_equal(fake_channels, 0);
}

/* No descriptor was left for its output: that it is unknown must not pass for that it is empty. */
static void output_that_never_came(void **state)
{
	struct caller a;
	struct worker *w;

	(void)state;
	begin(CONF_TASKS_EXEC, 1, 1);
	submit(&a, "a");
	w = w_of(1);
	worker_on_running(w, 4711, loop_now());
	fake_exit(w, 0);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_BAD_ANSWER);
}

static void many_at_once_are_one_after_the_other(void **state)
{
	static struct caller all[3000];

	(void)state;
	usual(CONF_TASKS_EXEC, 0);
	setup.backlog = 10000;
	start_pool();
	for (unsigned i = 0; i < 3000; i++)
		submit(&all[i], "x");
	pool_scale(crew_pool("p"), 3000);
	fake_turn();
	assert_int_equal(the_pool()->queued, 0);
	assert_int_equal(the_pool()->in_hand, 3000);
	for (unsigned i = 0; i < 3000; i++)
		fake_exit(w_of(i + 1), 1);
	assert_int_equal(the_pool()->failed, 3000);
}

/* ---- deaths -----------------------------------------------------------------------------------
 */

static struct caller five[5];

static void five_tasks(uint32_t retries)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };

	usual(CONF_TASKS_LINES, 1);
	setup.prefetch = 3;
	setup.retries = retries;
	start_pool();
	up(1);
	for (unsigned i = 0; i < 5; i++)
		submit(&five[i], names[i]);
	assert_string_equal(hand_of(1), "a b c");
	assert_string_equal(queue_of_pool(), "d e");
}

static void dies_before_it_reads(void **state)
{
	(void)state;
	five_tasks(0);
	fake_killed(w_of(1), SIGKILL);
	assert_int_equal(five[0].ended, 0);
	assert_string_equal(queue_of_pool(), "a b c d e");
	assert_int_equal(five[0].task->attempts, 0);
	assert_int_equal(five[0].task->state, TASK_QUEUED);
	assert_int_equal(w_of(1)->window_count, 1); /* its own fault */
	assert_worker(1, WORKER_BACKOFF);
	fake_advance(SEC);
	up(1);
	assert_string_equal(hand_of(1), "a b c");
	assert_string_equal(fake_sent(pipe_of(1)), "a\nb\nc\n");
}

static void dies_having_read_one(void **state)
{
	(void)state;
	five_tasks(0);
	fake_has_read(pipe_of(1), 1); /* of "a\n": it has begun */
	fake_exit(w_of(1), 3);
	assert_ended(&five[0], TASK_FAILED);
	assert_int_equal(five[0].error, TASK_WORKER_DIED);
	assert_int_equal(five[0].exitcode, 3);
	assert_int_equal(five[0].signal, 0);
	assert_int_equal(five[0].attempts, 1);
	assert_string_equal(queue_of_pool(), "b c d e");
	assert_int_equal(w_of(1)->window_count, 0);
	fake_advance(SEC);
	assert_worker(1, WORKER_STARTING);
	up(1);
	assert_string_equal(hand_of(1), "b c d");
	for (unsigned i = 1; i < 5; i++)
		fake_says(pipe_of(1), "ok\n");
	for (unsigned i = 1; i < 5; i++) {
		assert_ended(&five[i], TASK_SUCCEEDED);
		assert_int_equal(five[i].attempts, 1);
	}
}

/* It has read all of them; it died of the first that it has not answered. */
static void dies_having_answered_one(void **state)
{
	(void)state;
	five_tasks(0);
	fake_has_read_all(pipe_of(1));
	fake_leaves_in_pipe(pipe_of(1), "A\n");
	fake_killed(w_of(1), SIGSEGV);
	assert_ended(&five[0], TASK_SUCCEEDED);
	assert_ended(&five[1], TASK_FAILED);
	assert_int_equal(five[1].signal, SIGSEGV);
	assert_string_equal(queue_of_pool(), "c d e");
}

static void a_poisonous_task(void **state)
{
	(void)state;
	five_tasks(2);
	for (unsigned i = 0; i < 100 && !five[0].ended; i++) {
		struct channel *c = pipe_of(1);

		/* "a" kills it, everything else is answered at once. */
		for (unsigned n = 0; n < 5 && w_of(1)->runner->count; n++) {
			if (hand_of(1)[0] == 'a')
				break;
			fake_says(c, "ok\n");
		}
		fake_has_read_all(c);
		fake_killed(w_of(1), SIGABRT);
		fake_advance(SEC);
		up(1);
	}
	assert_ended(&five[0], TASK_FAILED);
	assert_int_equal(five[0].attempts, 3);
	for (unsigned i = 1; i < 5; i++) {
		if (five[i].ended)
			continue;
		fake_says(pipe_of(1), "ok\n");
	}
	for (unsigned i = 1; i < 5; i++)
		assert_ended(&five[i], TASK_SUCCEEDED);
}

static void deaths_of_tasks_are_not_held_against_it(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	for (unsigned i = 0; i < 50; i++) {
		submit(&a, "a");
		fake_has_read_all(pipe_of(1));
		fake_killed(w_of(1), SIGSEGV);
		assert_ended(&a, TASK_FAILED);
		fake_advance(SEC);
		assert_worker(1, WORKER_STARTING);
		up(1);
	}
}

static void when_no_worker_is_left_tasks_fail(void **state)
{
	struct caller a;

	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.restart_limit = 3;
	start_pool();
	submit(&a, "a");
	for (unsigned i = 0; i < 3; i++) {
		fake_exec_fails(w_of(1), ENOENT);
		assert_int_equal(a.ended, 0);
		fake_advance(30 * SEC);
	}
	fake_exec_fails(w_of(1), ENOENT);
	assert_worker(1, WORKER_FAILED);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_WORKER_DIED);
	assert_string_equal(a.message, "no worker of p is left: cannot run /bin/work: No such file "
				       "or directory");
	assert_int_equal(a.attempts, 0);
	submit(&a, "again"); /* nobody waits for ever */
	assert_ended(&a, TASK_FAILED);
	worker_start(w_of(1));
	fake_turn();
	submit(&a, "b");
	up(1);
	fake_says(pipe_of(1), "B\n");
	assert_ended(&a, TASK_SUCCEEDED);
}

/* ---- time-outs, cancel ------------------------------------------------------------------------
 */

static void over_its_time(void **state)
{
	struct caller a, b;

	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.task_timeout = 5 * SEC;
	setup.prefetch = 2;
	setup.retries = 3;
	start_pool();
	submit(&a, "a");
	fake_advance(60 * SEC); /* waiting does not count */
	up(1);
	submit(&b, "b");
	fake_advance(5 * SEC - 1);
	assert_int_equal(a.ended, 0);
	fake_advance(1);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_TIMED_OUT);
	assert_int_equal(b.ended, 0);
	assert_worker(1, WORKER_STOPPING);
	assert_int_equal(fake_slots[w_of(1)->slot].last_signal, SIGKILL);
	fake_killed(w_of(1), SIGKILL);
	assert_worker(1, WORKER_STARTING);
	assert_int_equal(w_of(1)->window_count, 0);
	up(1);
	assert_string_equal(hand_of(1), "b");
	assert_int_equal(b.task->attempts, 1);
	fake_advance(4 * SEC);
	fake_says(pipe_of(1), "B\n");
	assert_ended(&b, TASK_SUCCEEDED);
	fake_advance(60 * SEC);
	assert_worker(1, WORKER_RUNNING);
}

/* The next one's time begins when the one before it was answered. */
static void each_has_its_own_time(void **state)
{
	struct caller a, b;

	(void)state;
	usual(CONF_TASKS_LINES, 1);
	setup.task_timeout = 5 * SEC;
	setup.prefetch = 2;
	start_pool();
	up(1);
	submit(&a, "a");
	submit(&b, "b");
	fake_advance(4 * SEC);
	fake_says(pipe_of(1), "A\n");
	fake_advance(4 * SEC);
	assert_int_equal(b.ended, 0);
	fake_advance(SEC);
	assert_ended(&b, TASK_FAILED);
}

static void a_process_over_its_time(void **state)
{
	struct caller a;

	(void)state;
	usual(CONF_TASKS_EXEC, 1);
	setup.task_timeout = 5 * SEC;
	start_pool();
	submit(&a, "a");
	up(1);
	fake_advance(5 * SEC);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_TIMED_OUT);
	assert_true(fake_slots[w_of(1)->slot].last_all);
	fake_killed(w_of(1), SIGKILL);
	assert_worker(1, WORKER_STOPPED);
	submit(&a, "b");
	up(1);
	fake_exit(w_of(1), 0);
	assert_ended(&a, TASK_SUCCEEDED);
}

static void closes_its_output_and_goes_on(void **state)
{
	struct caller a;

	(void)state;
	usual(CONF_TASKS_EXEC, 1);
	setup.task_timeout = 5 * SEC;
	start_pool();
	submit(&a, "a");
	up(1);
	fake_closes(pipe_of(1));
	fake_advance(5 * SEC);
	assert_ended(&a, TASK_FAILED);
	assert_int_equal(a.error, TASK_TIMED_OUT);
	fake_killed(w_of(1), SIGKILL);
}

/* Someone hangs, and only then a limit is set. */
static void a_limit_holds_for_what_runs(void **state)
{
	struct caller a;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	submit(&a, "a");
	fake_advance(100 * SEC);
	setup.task_timeout = 200 * SEC;
	reload_pool();
	fake_advance(99 * SEC);
	assert_int_equal(a.ended, 0);
	fake_advance(SEC);
	assert_ended(&a, TASK_FAILED);
}

static void cancelled_while_it_waits(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	submit(&a, "a");
	submit(&b, "b");
	taskpool_cancel(b.task);
	assert_ended(&b, TASK_CANCELLED);
	assert_int_equal(the_pool()->queued, 0);
	assert_worker(1, WORKER_RUNNING);
	fake_says(pipe_of(1), "A\n");
	assert_ended(&a, TASK_SUCCEEDED);
}

static void cancelled_while_it_runs(void **state)
{
	struct caller a, b, c;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 2);
	submit(&a, "a");
	submit(&b, "b");
	taskpool_cancel(a.task);
	fake_turn();
	assert_ended(&a, TASK_CANCELLED);
	assert_worker(1, WORKER_STOPPING);
	assert_int_equal(fake_slots[w_of(1)->slot].last_signal, SIGTERM);
	submit(&c, "c");
	assert_int_equal(the_pool()->queued, 1);
	fake_says(pipe_of(1), "A\nB\n"); /* too late */
	assert_int_equal(b.ended, 0);
	fake_killed(w_of(1), SIGTERM);
	assert_worker(1, WORKER_STARTING);
	assert_string_equal(queue_of_pool(), "b c");
	up(1);
	assert_string_equal(hand_of(1), "b c");
	assert_int_equal(b.task->attempts, 1);
}

static void cancelled_process(void **state)
{
	struct caller a, b;

	(void)state;
	begin(CONF_TASKS_EXEC, 1, 1);
	submit(&a, "a");
	submit(&b, "b");
	up(1);
	taskpool_cancel(a.task);
	fake_turn();
	assert_ended(&a, TASK_CANCELLED);
	assert_int_equal(b.ended, 0);
	assert_int_equal(fake_slots[w_of(1)->slot].last_signal, SIGTERM);
	fake_advance(10 * SEC); /* it does not care */
	assert_int_equal(fake_slots[w_of(1)->slot].last_signal, SIGKILL);
	fake_killed(w_of(1), SIGKILL);
	assert_worker(1, WORKER_STARTING);
	up(1);
	fake_exit(w_of(1), 0);
	assert_ended(&b, TASK_SUCCEEDED);
}

/* ---- the table --------------------------------------------------------------------------------
 */

static void ids(void **state)
{
	char id[TASK_ID_SIZE], odd[TASK_ID_SIZE + 8];
	struct task *t, *found = NULL;
	unsigned salt, incarnation;
	unsigned long long number;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	t = submit(NULL, "a");
	task_id(t, id);
	assert_int_equal(task_find(id, &found), TASK_FOUND);
	assert_ptr_equal(found, t);
	assert_int_equal(sscanf(id, "%8x-%u-%llu", &salt, &incarnation, &number), 3);
	snprintf(odd, sizeof(odd), "%08x-%u-%llu", salt, incarnation, number + 1);
	assert_int_equal(task_find(odd, &found), TASK_UNKNOWN);
	snprintf(odd, sizeof(odd), "%08x-%u-%llu", salt, incarnation - 1, number);
	assert_int_equal(task_find(odd, &found), TASK_OF_ANOTHER_MANAGER);
	snprintf(odd, sizeof(odd), "%08x-%u-%llu", salt, incarnation + 1, number);
	assert_int_equal(task_find(odd, &found), TASK_UNKNOWN);
	snprintf(odd, sizeof(odd), "%08x-%u-%llu", salt ^ 1, incarnation, number);
	assert_int_equal(task_find(odd, &found), TASK_UNKNOWN);
	snprintf(odd, sizeof(odd), "%08x-%u-0%llu", salt, incarnation, number);
	assert_int_equal(task_find(odd, &found), TASK_UNKNOWN);
	snprintf(odd, sizeof(odd), "%08x-%u-%llu ", salt, incarnation, number);
	assert_int_equal(task_find(odd, &found), TASK_UNKNOWN);
	assert_int_equal(task_find("", &found), TASK_UNKNOWN);
	assert_int_equal(task_find("-1--1--1", &found), TASK_UNKNOWN);
}

static void the_table_is_bounded(void **state)
{
	struct task *many[600];
	unsigned n = 0;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	while (n < 600 && (many[n] = task_new(the_pool(), CREW_MESSAGE_MAX)))
		n++;
	assert_int_equal(errno, ENOBUFS);
	assert_int_equal(n, 511);
	assert_int_equal(fake_rooms, 0);
	while (n)
		task_free(many[--n]);
	assert_int_equal(fake_rooms, 1);
	assert_int_equal(task_count(), 0);
}

/* What a worker says of its failures is memory, too. */
static void failures_are_counted(void **state)
{
	char *big = malloc(CREW_MESSAGE_MAX + 1);
	static struct task *all[600];
	unsigned n = 0;

	(void)state;
	begin(CONF_TASKS_LINES, 1, 1);
	memset(big, 'x', CREW_MESSAGE_MAX);
	big[CREW_MESSAGE_MAX] = '\0';
	while (n < 600 && (all[n] = task_new(the_pool(), 1))) {
		task_note_failure(all[n], TASK_OWN, big);
		n++;
	}
	assert_int_equal(errno, ENOBUFS);
	assert_in_range(n, 500, 513);
	while (n)
		task_free(all[--n]);
	all[0] = task_new(the_pool(), 1);
	assert_non_null(all[0]);
	task_free(all[0]);
	free(big);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_line_is_answered_by_a_line),
		T(lines_are_answered_in_order),
		T(a_line_cut_anywhere),
		T(a_line_too_many),
		T(an_answer_before_the_request),
		T(more_only_when_all_was_told),
		T(as_long_as_may_be),
		T(floods_without_being_asked),
		T(a_slow_reader_gets_no_more),
		T(closes_its_output),
		T(a_call_and_its_result),
		T(of_a_module), T(in_any_order),
		T(an_error_object),
		T(foreign_and_second_answers_are_ignored),
		T(not_sent_yet_cannot_be_answered),
		T(no_json),
		T(a_process_for_a_task),
		T(exit_three),
		T(killed_by_a_signal),
		T(killed_and_tried_again),
		T(cannot_be_run),
		T(too_long_for_a_command),
		T(no_descriptor_is_left),
		T(prints_too_much),
		T(a_child_keeps_the_pipe),
		T(output_that_never_came),
		T(many_at_once_are_one_after_the_other),
		T(dies_before_it_reads),
		T(dies_having_read_one),
		T(dies_having_answered_one),
		T(a_poisonous_task),
		T(deaths_of_tasks_are_not_held_against_it),
		T(when_no_worker_is_left_tasks_fail),
		T(over_its_time),
		T(each_has_its_own_time),
		T(a_process_over_its_time),
		T(closes_its_output_and_goes_on),
		T(a_limit_holds_for_what_runs),
		T(cancelled_while_it_waits),
		T(cancelled_while_it_runs),
		T(cancelled_process),
		T(ids),
		T(the_table_is_bounded),
		T(failures_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
