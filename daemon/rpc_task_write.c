/* Tasks, as they are told. */
#include <stdio.h>
#include <string.h>
#include "daemon/rpc_task.h"
#include "lib/clock.h"
#include "lib/text.h"

static void write_time(struct json_writer *json, const char *key, int64_t when, int64_t offset)
{
	if (!when)
		return;
	jw_key(json, key);
	jw_seconds(json, when + offset);
}

static void write_result(struct json_writer *json, const struct task *t)
{
	if (!t->result)
		return;
	jw_key(json, "result");
	if (t->form == TASK_JSON) {
		jw_raw(json, t->result, t->result_len);
	} else if (text_utf8_ok(t->result, t->result_len)) {
		jw_string_n(json, t->result, t->result_len);
	} else {
		jw_object(json);
		jw_key(json, "base64");
		jw_base64(json, t->result, t->result_len);
		jw_end_object(json);
	}
}

static const enum crew_error failures[] = {
	[TASK_WORKER_DIED] = CREW_ERROR_WORKER_DIED,
	[TASK_TIMED_OUT] = CREW_ERROR_POOL_TIMED_OUT,
	[TASK_TOO_BIG] = CREW_ERROR_TASK_TOO_BIG,
	[TASK_BAD_ANSWER] = CREW_ERROR_TASK_BAD_ANSWER,
};

static const char *failure_message(const struct task_failure *f)
{
	return f->message ? f->message : "out of memory";
}

static void write_how(struct json_writer *json, const struct task_failure *f)
{
	if (f->exitcode >= 0) {
		jw_key(json, "exitcode");
		jw_int(json, f->exitcode);
	}
	if (f->signal) {
		jw_key(json, "signal");
		jw_int(json, f->signal);
	}
}

static void write_failure(struct json_writer *json, const struct task_failure *f)
{
	jw_key(json, "error");
	jw_object(json);
	if (f->error != TASK_OWN) {
		jw_key(json, "name");
		jw_string(json, crew_error_name(failures[f->error]));
	}
	jw_key(json, "message");
	jw_string(json, failure_message(f));
	write_how(json, f);
	if (f->has_code) {
		jw_key(json, "code");
		jw_int(json, f->code);
	}
	if (f->data) {
		jw_key(json, "data");
		jw_raw(json, f->data, strlen(f->data));
	}
	jw_end_object(json);
}

static void write_worker(struct json_writer *json, const struct task *t)
{
	char name[CREW_NAME_MAX + 1 + TEXT_DIGITS];
	size_t n = strlen(t->pool->name);

	if (!t->worker)
		return;
	memcpy(name, t->pool->name, n);
	name[n++] = '-';
	n += text_digits(name + n, t->worker);
	jw_key(json, "worker");
	jw_string_n(json, name, n);
}

void rpc_write_task_id(struct json_writer *json, const struct task *t)
{
	char id[TASK_ID_SIZE];

	jw_key(json, "id");
	jw_string(json, task_id(t, id));
	jw_key(json, "pool");
	jw_string(json, t->pool->name);
}

void rpc_write_task(struct json_writer *json, const struct task *t, bool with_result)
{
	jw_object(json);
	rpc_write_task_id(json, t);
	jw_key(json, "state");
	jw_string(json, task_state_name(t->state));
	if (with_result)
		write_result(json, t);
	if (t->state == TASK_FAILED && t->failure)
		write_failure(json, t->failure);
	if (t->exitcode >= 0) {
		jw_key(json, "exitcode");
		jw_int(json, t->exitcode);
	}
	write_worker(json, t);
	jw_key(json, "attempts");
	jw_int(json, t->attempts);
	write_time(json, "queued", t->queued, t->wall);
	write_time(json, "started", t->started, t->wall);
	write_time(json, "finished", t->finished, t->wall);
	jw_end_object(json);
}

void rpc_write_task_event(struct json_writer *json, const struct task *t)
{
	rpc_write_task_id(json, t);
	jw_key(json, "state");
	jw_string(json, task_state_name(t->state));
	write_worker(json, t);
	if (t->state != TASK_FAILED || !t->failure)
		return;
	jw_key(json, "why");
	jw_string(json, failure_message(t->failure));
}

static void reply_failure(struct rpc_call *call, const struct task *t)
{
	const struct task_failure *f = t->failure;
	struct json_writer *json = rpc_error(call, failures[f->error]);

	jw_object(json);
	rpc_write_task_id(json, t);
	write_worker(json, t);
	write_how(json, f);
	jw_key(json, "why");
	jw_string(json, failure_message(f));
	jw_key(json, "task");
	rpc_write_task(json, t, true);
	jw_end_object(json);
	rpc_error_end(call);
}

void rpc_reply_task(struct rpc_call *call, const struct task *t)
{
	struct json_writer *json;

	if (t->state == TASK_FAILED && t->failure && t->failure->error != TASK_OWN) {
		reply_failure(call, t);
		return;
	}
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "task");
	rpc_write_task(json, t, true);
	jw_end_object(json);
	rpc_reply_end(call, false);
}
