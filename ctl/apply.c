/* Verbs about one task: give it to a pool, wait for it, print what it came to. */
#include <string.h>
#include "ctl/pool.h"
#include "ctl/task.h"
#include "ctl/verbs.h"
#include "lib/clock.h"

#define RESULT_MAX (64 * 1024 * 1024) /* far more than an answer may have */

/* Bytes that are not text come as {"base64": ...}; only of a jsonrpc pool that may be a value like others, so
 * the pool is asked for in this case alone. */
static enum task_bytes bytes_of(const struct ctl *ctl, const struct json_t *task)
{
	const char *pool = json_get_string(task, "pool"), *tasks;
	enum task_bytes bytes = TASK_BYTES;
	struct message_reply pools;

	if (!pool || !task_result_in_doubt(task) || pools_get(ctl, &pools))
		return bytes;
	tasks = pools_tasks(&pools, pool);
	if (tasks && strcmp(tasks, "jsonrpc") == 0)
		bytes = TASK_VALUE;
	message_reply_free(&pools);
	return bytes;
}

/* The bytes of an exec task as they are; of others a line. */
static int print_result(const struct ctl *ctl, const struct json_t *task)
{
	struct buf text = { .max = RESULT_MAX };
	int64_t exitcode;

	if (ctl->json) {
		ctl_print_json(task);
		return ctl_finish(0);
	}
	if (task_result(task, bytes_of(ctl, task), &text) < 0) {
		ctl_error("no memory for the result");
		buf_free(&text);
		return CREW_EXIT_FAILED;
	}
	if (text.len)
		fwrite(buf_data(&text), 1, text.len, stdout);
	if (task_succeeded(task) && !task_exitcode(task, &exitcode) &&
	    (!text.len || buf_data(&text)[text.len - 1] != '\n'))
		putchar('\n');
	buf_free(&text);
	return ctl_finish(0);
}

/* What became of the worker is handed on as what became of a task's own process is. */
static int status_of_worker(const struct message_reply *reply, int code)
{
	int64_t number;

	if (strcmp(reply->error, crew_error_name(CREW_ERROR_WORKER_DIED)) != 0)
		return code;
	if (json_get_int(reply->params, "signal", &number) && number > 0 && number < 128)
		return 128 + (int)number;
	if (json_get_int(reply->params, "exitcode", &number) && number > 0 && number < 256)
		return (int)number;
	return code;
}

/* A task whose worker died, or whose time is over, comes as that error. */
static int told_by_error(const struct ctl *ctl, const struct message_reply *reply)
{
	const struct json_t *task = json_get(reply->params, "task");

	if (json_kind(task) == '{')
		print_result(ctl, task);
	return status_of_worker(reply, ctl_report(reply));
}

static int told_by_task(const struct ctl *ctl, const struct message_reply *reply)
{
	const struct json_t *task = json_get(reply->params, "task");
	const char *id = json_get_string(task, "id");
	char why[512];
	int code;

	if (json_kind(task) != '{') {
		ctl_error("no right answer from the daemon: there is no task in it");
		return CREW_EXIT_FAILED;
	}
	code = print_result(ctl, task);
	if (task_succeeded(task))
		return code;
	ctl_error("task %s: %s", id ? id : "?", task_why(task, why, sizeof(why)));
	return task_status(task);
}

/* Frees p. `again`: a question that may be asked twice. */
static int wait_for_task(const struct ctl *ctl, const char *method, struct params_out *p,
			 bool again)
{
	struct message_reply reply;
	int r;

	ctl_param_deadline(p, ctl->timeout < 0 ? INT64_MAX : clock_now() + ctl->timeout);
	r = ctl_call_any(ctl, method, p, again, &reply);
	if (r)
		return r;
	r = reply.error ? told_by_error(ctl, &reply) : told_by_task(ctl, &reply);
	message_reply_free(&reply);
	return r;
}

int ctl_apply(struct ctl *ctl)
{
	struct params_out p;
	int r;

	ctl_params(&p);
	r = task_params(ctl, &p);
	if (r == 0)
		return wait_for_task(ctl, "io.crewd.Pool.Apply", &p, false);
	ctl_params_free(&p);
	return r;
}

int ctl_result(struct ctl *ctl)
{
	struct params_out p;

	ctl_params(&p);
	ctl_param_string(&p, "id", ctl->args[0]);
	return wait_for_task(ctl, "io.crewd.Pool.Result", &p, true);
}

int ctl_apply_async(struct ctl *ctl)
{
	struct message_reply reply;
	struct params_out p;
	const char *id;
	int r;

	ctl_params(&p);
	r = task_params(ctl, &p);
	if (r) {
		ctl_params_free(&p);
		return r;
	}
	r = ctl_call(ctl, "io.crewd.Pool.ApplyAsync", &p, false, &reply);
	if (r)
		return r;
	id = json_get_string(reply.params, "id");
	if (ctl->json)
		ctl_print_json(reply.params);
	else
		puts(id ? id : "");
	message_reply_free(&reply);
	return ctl_finish(0);
}
