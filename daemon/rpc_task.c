/* Methods of io.crewd.Pool for one task: Apply, ApplyAsync, Result, Cancel. */
#include "daemon/rpc_task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/crew.h"
#include "daemon/rpc_manager.h"
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/text.h"

struct taskpool *rpc_taskpool(struct rpc_call *call, const char *name)
{
	struct pool *p = crew_pool(name);
	struct json_writer *json;

	if (p && p->tasks)
		return p->tasks;
	json = rpc_error(call, CREW_ERROR_NO_SUCH_POOL);
	jw_object(json);
	jw_key(json, "name");
	jw_string(json, name);
	if (p) {
		jw_key(json, "why");
		jw_string(json, "it has no tasks");
	}
	jw_end_object(json);
	rpc_error_end(call);
	return NULL;
}

void rpc_refused(struct rpc_call *call, const struct taskpool *tp, enum taskpool_error error,
		 const char *why)
{
	static const enum crew_error errors[] = {
		[TASKPOOL_SHUT] = CREW_ERROR_POOL_CLOSED,
		[TASKPOOL_FULL] = CREW_ERROR_POOL_FULL,
		[TASKPOOL_NO_MEMORY] = CREW_ERROR_MANAGER_BUSY,
	};
	struct json_writer *json = rpc_error(call, errors[error]);

	jw_object(json);
	if (error != TASKPOOL_NO_MEMORY) {
		jw_key(json, "pool");
		jw_string(json, tp->name);
	}
	jw_key(json, "why");
	jw_string(json, why);
	jw_end_object(json);
	rpc_error_end(call);
}

/* ---- reading a request ------------------------------------------------------------------------
 */

static bool is_wrong(struct rpc_request *q, const char *parameter, const char *why)
{
	q->parameter = parameter;
	q->why = why;
	return false;
}

static bool take_strings(struct rpc_request *q)
{
	size_t n = json_count(q->given_args);

	if (n > CREW_TASK_ARGS_MAX)
		return is_wrong(q, "args", "a shorter list");
	q->args = calloc(n + 1, sizeof(*q->args));
	if (!q->args)
		return is_wrong(q, "args", "a shorter list: there is no memory for this one");
	for (size_t i = 0; i < n; i++) {
		if (!json_is_plain(json_at(q->given_args, i)))
			return is_wrong(q, "args", "a list of strings without NUL");
		q->args[i] = json_as_string(json_at(q->given_args, i));
	}
	q->r.args = q->args;
	q->r.count = (unsigned)n;
	return true;
}

/* JSON-RPC knows one `params`: the args as an array, or what was given as such. */
static bool take_params(struct rpc_request *q, bool dry)
{
	const struct json_t *given = q->given_params ? q->given_params : q->given_args;

	if (q->given_params && q->given_args)
		return is_wrong(q, "params", "left out where args are given");
	if (given && !json_is_list(given) && !json_is_struct(given))
		return is_wrong(q, "params", "an array or an object");
	if (!given || dry)
		return true;
	q->params = json_text(given);
	if (!q->params)
		return is_wrong(q, "params", "shorter: there is no memory for them");
	q->r.params = q->params;
	q->r.params_len = strlen(q->params);
	return true;
}

bool rpc_request_make(struct rpc_request *q, const struct task_kind *kind, bool dry)
{
	if (q->given_args && !json_is_list(q->given_args))
		return is_wrong(q, "args", "a list");
	if (kind->json) {
		if (!take_params(q, dry))
			return false;
	} else if (q->given_params) {
		return is_wrong(q, "params", "left out: the pool's tasks are not jsonrpc");
	} else if (q->given_args && !take_strings(q)) {
		return false;
	}
	return kind->check(&q->r, &q->parameter, &q->why) == 0;
}

void rpc_request_free(struct rpc_request *q)
{
	free(q->args);
	free(q->params);
}

/* The members of an element that is an object, none but those. */
static bool take_members(struct rpc_request *q, const struct json_t *element)
{
	const struct json_t *input = json_get(element, "input"), *method;
	size_t known = 0;

	method = json_get(element, "method");
	q->given_args = json_get(element, "args");
	q->given_params = json_get(element, "params");
	known = (input != NULL) + (method != NULL) + (q->given_args != NULL) +
		(q->given_params != NULL);
	if (known != json_size(element) || (input && !json_is_text(input)) ||
	    (method && !json_is_plain(method)))
		return is_wrong(q, "tasks", "objects with args, input, method, params only");
	if (input) {
		q->r.input = json_as_string(input);
		q->r.input_len = json_text_len(input);
	}
	q->r.method = method ? json_as_string(method) : NULL;
	return true;
}

bool rpc_request_element(struct rpc_request *q, const struct task_kind *kind,
			 const struct json_t *element, bool dry)
{
	/* The usual case is spared a list of one. */
	if (json_is_plain(element) && !kind->json) {
		q->only = json_as_string(element);
		q->r.args = &q->only;
		q->r.count = 1;
		return kind->check(&q->r, &q->parameter, &q->why) == 0;
	}
	if (json_is_struct(element)) {
		if (!take_members(q, element))
			return false;
	} else if (json_is_list(element)) {
		q->given_args = (struct json_t *)(uintptr_t)element;
	} else {
		return is_wrong(q, "tasks",
				kind->json ? "arrays, or objects with method"
					   : "strings without NUL, arrays, or objects");
	}
	return rpc_request_make(q, kind, dry);
}

/* What Apply and ApplyAsync take. False: it has replied. */
static bool read_request(struct rpc_call *call, struct rpc_request *q, struct taskpool **tp,
			 int64_t *timeout, bool *limited)
{
	struct params *p = &call->params;
	const char *name = NULL;

	params_string(p, "pool", true, &name);
	params_array(p, "args", false, &q->given_args);
	params_bytes(p, "input", &q->r.input, &q->r.input_len);
	params_string(p, "method", false, &q->r.method);
	params_value(p, "params", false, &q->given_params);
	if (timeout)
		*limited = params_seconds(p, "timeout", timeout);
	if (!rpc_params_done(call))
		return false;
	*tp = rpc_taskpool(call, name);
	if (!*tp)
		return false;
	if (rpc_request_make(q, (*tp)->kind, false))
		return true;
	rpc_invalid(call, q->parameter, q->why);
	return false;
}

/* ---- writing a task ---------------------------------------------------------------------------
 */

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

void rpc_write_task(struct json_writer *json, const struct task *t, bool with_result)
{
	char id[TASK_ID_SIZE];

	jw_object(json);
	jw_key(json, "id");
	jw_string(json, task_id(t, id));
	jw_key(json, "pool");
	jw_string(json, t->pool->name);
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
	char id[TASK_ID_SIZE];

	jw_key(json, "id");
	jw_string(json, task_id(t, id));
	jw_key(json, "pool");
	jw_string(json, t->pool->name);
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
	char id[TASK_ID_SIZE];

	jw_object(json);
	jw_key(json, "id");
	jw_string(json, task_id(t, id));
	jw_key(json, "pool");
	jw_string(json, t->pool->name);
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

static void reply_timed_out(struct rpc_call *call, const struct task *t)
{
	struct json_writer *json = rpc_error(call, CREW_ERROR_POOL_TIMED_OUT);
	char id[TASK_ID_SIZE];

	jw_object(json);
	jw_key(json, "id");
	jw_string(json, task_id(t, id));
	jw_key(json, "pool");
	jw_string(json, t->pool->name);
	jw_end_object(json);
	rpc_error_end(call);
}

/* ---- Apply, ApplyAsync ------------------------------------------------------------------------
 */

/* State of a call that waits for a task of its own. */
struct applied {
	struct task_owner owner;
	struct rpc_call *call;
	struct task *task; /* NULL: it has ended */
	bool parked;
};

static void on_applied(struct task *t, struct task_owner *owner)
{
	struct applied *a = (struct applied *)(void *)owner;
	struct rpc_call *call = a->call;

	a->task = NULL;
	rpc_reply_task(call, t);
	taskpool_fetched(t);
	if (a->parked)
		rpc_end(call);
}

static void drop_applied(struct rpc_call *call)
{
	struct applied *a = call->state;

	if (a && a->task)
		taskpool_disown(a->task);
	free(a);
}

static void apply_expired(struct rpc_call *call)
{
	const struct applied *a = call->state;

	reply_timed_out(call, a->task);
}

static struct applied *applied_new(struct rpc_call *call)
{
	struct applied *a = calloc(1, sizeof(*a));

	if (!a) {
		rpc_error_text(call, CREW_ERROR_MANAGER_BUSY, "why", "out of memory");
		return NULL;
	}
	a->owner.ended = on_applied;
	a->call = call;
	call->state = a;
	call->drop = drop_applied;
	return a;
}

/* It may have ended already: then the call has been replied to. */
static void wait_for_own(struct rpc_call *call, struct taskpool *tp, const struct rpc_request *q,
			 bool limited, int64_t timeout)
{
	struct applied *a = applied_new(call);
	struct task *t = NULL;
	enum taskpool_error e;
	const char *why;

	if (!a)
		return;
	e = taskpool_submit(tp, &q->r, &a->owner, 0, &t, &why);
	if (e != TASKPOOL_OK) {
		rpc_refused(call, tp, e, why);
		return;
	}
	if (call->done)
		return;
	a->task = t;
	a->parked = true;
	rpc_park(call, RPC_KEY_TASKS, NULL);
	if (limited)
		rpc_deadline(call, timeout, apply_expired);
}

/* Nobody waits for it, nobody can ask for it. */
static void submit_for_nobody(struct taskpool *tp, const struct rpc_request *q)
{
	struct task *t;
	const char *why;

	if (taskpool_submit(tp, &q->r, NULL, 0, &t, &why) == TASKPOOL_OK && !task_has_ended(t))
		t->unwanted = true;
}

static void apply(struct rpc_call *call)
{
	struct rpc_request q = { 0 };
	struct taskpool *tp;
	int64_t timeout = 0;
	bool limited = false;

	if (read_request(call, &q, &tp, &timeout, &limited)) {
		if (call->message.oneway) {
			submit_for_nobody(tp, &q);
			rpc_reply_empty(call);
		} else {
			wait_for_own(call, tp, &q, limited, timeout);
		}
	}
	rpc_request_free(&q);
}

static void reply_id(struct rpc_call *call, const struct task *t)
{
	struct json_writer *json = rpc_reply(call);
	char id[TASK_ID_SIZE];

	jw_object(json);
	jw_key(json, "id");
	jw_string(json, task_id(t, id));
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void apply_async(struct rpc_call *call)
{
	struct rpc_request q = { 0 };
	enum taskpool_error e;
	struct taskpool *tp;
	struct task *t;
	const char *why;

	if (read_request(call, &q, &tp, NULL, NULL)) {
		e = taskpool_submit(tp, &q.r, NULL, 0, &t, &why);
		if (e == TASKPOOL_OK)
			reply_id(call, t);
		else
			rpc_refused(call, tp, e, why);
	}
	rpc_request_free(&q);
}

/* ---- Result, Cancel ---------------------------------------------------------------------------
 */

/* The task that the parameter `id` names; NULL: it has replied. */
static struct task *named_task(struct rpc_call *call, const char *id)
{
	struct task *t = NULL;

	switch (task_find(id, &t)) {
	case TASK_FOUND:
		if (!t->fetched)
			return t;
		rpc_error_text(call, CREW_ERROR_NO_SUCH_TASK, "id", id);
		break;
	case TASK_UNKNOWN:
		rpc_error_text(call, CREW_ERROR_NO_SUCH_TASK, "id", id);
		break;
	case TASK_OF_ANOTHER_MANAGER:
		rpc_error_text(call, CREW_ERROR_TASK_LOST, "id", id);
		break;
	}
	return NULL;
}

static void drop_awaited(struct rpc_call *call)
{
	taskpool_unawait(call->state);
}

static void resume_result(struct rpc_call *call)
{
	struct task *t = call->state;

	if (!task_has_ended(t))
		return;
	rpc_reply_task(call, t);
	taskpool_told(t); /* it goes with the last that awaits it, which may be this one */
}

static void result_expired(struct rpc_call *call)
{
	reply_timed_out(call, call->state);
}

static void result(struct rpc_call *call)
{
	const char *id = NULL;
	int64_t timeout = 0;
	struct task *t;
	bool limited;

	params_string(&call->params, "id", true, &id);
	limited = params_seconds(&call->params, "timeout", &timeout);
	if (!rpc_params_done(call))
		return;
	t = named_task(call, id);
	if (!t)
		return;
	if (task_has_ended(t)) {
		rpc_reply_task(call, t);
		taskpool_told(t);
		return;
	}
	call->state = t;
	call->drop = drop_awaited;
	taskpool_await(t);
	rpc_park(call, RPC_KEY_TASKS, resume_result);
	if (limited)
		rpc_deadline(call, timeout, result_expired);
}

static void cancel(struct rpc_call *call)
{
	const char *id = NULL;
	struct task *t;

	params_string(&call->params, "id", true, &id);
	if (!rpc_params_done(call))
		return;
	t = named_task(call, id);
	if (!t)
		return;
	taskpool_cancel(t);
	rpc_reply_empty(call);
}

/* ---- what tasks tell --------------------------------------------------------------------------
 */

static void on_awaited_ended(struct task *t)
{
	(void)t;
	rpc_happened(RPC_KEY_TASKS);
}

static void on_drained(struct taskpool *tp)
{
	(void)tp;
	rpc_happened(RPC_KEY_WORKERS);
}

static void on_room(void)
{
	rpc_happened(RPC_KEY_TASKS);
}

static void on_has_room(struct taskpool *tp)
{
	(void)tp;
	rpc_happened(RPC_KEY_TASKS);
}

void rpc_task_init(void)
{
	static const struct task_observer observer = { .changed = rpc_tell_task,
						       .awaited_ended = on_awaited_ended,
						       .has_room = on_room };
	static const struct taskpool_events events = { .drained = on_drained,
						       .has_room = on_has_room };

	task_observe(&observer);
	taskpool_observe(&events);
}

const struct rpc_method rpc_task_methods[] = {
	{ .name = "io.crewd.Pool.Apply", .handle = apply, .writes = true },
	{ .name = "io.crewd.Pool.ApplyAsync", .handle = apply_async, .writes = true },
	{ .name = "io.crewd.Pool.Map", .handle = rpc_task_map, .writes = true, .needs_more = true },
	{ .name = "io.crewd.Pool.Result", .handle = result, .writes = true },
	{ .name = "io.crewd.Pool.Tasks", .handle = rpc_task_tasks },
	{ .name = "io.crewd.Pool.Cancel", .handle = cancel, .writes = true },
	{ .name = NULL },
};
