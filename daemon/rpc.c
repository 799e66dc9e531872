#include "daemon/rpc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/control.h"
#include "daemon/queue.h"
#include "lib/bounds.h"
#include "lib/idl.h"
#include "lib/log.h"

/* ---- the table of methods ---------------------------------------------------------------------
 */

#define TABLE_SIZE 128 /* a power of two, well above the number of methods */

static const struct rpc_method *const nouns[] = { rpc_service_methods, rpc_manager_methods,
						  rpc_worker_methods,  rpc_pool_methods,
						  rpc_task_methods,    rpc_queue_methods };
static const struct rpc_method *table[TABLE_SIZE];

static unsigned hash(const char *s)
{
	uint32_t h = 2166136261u;

	while (*s)
		h = (h ^ (unsigned char)*s++) * 16777619u;
	return (h ^ h >> 15) % TABLE_SIZE;
}

/* Where the method is, or where it would be. */
static const struct rpc_method **table_at(const char *name)
{
	unsigned i = hash(name);

	while (table[i] && strcmp(table[i]->name, name) != 0)
		i = (i + 1) % TABLE_SIZE;
	return &table[i];
}

static void fill_table(void)
{
	for (size_t n = 0; n < sizeof(nouns) / sizeof(nouns[0]); n++)
		for (const struct rpc_method *m = nouns[n]; m->name; m++)
			*table_at(m->name) = m;
}

/* ---- the life of a call -----------------------------------------------------------------------
 */

static struct rpc_call *spare; /* the next call's, so that quick ones allocate nothing */

static struct rpc_call *call_new(struct conn *conn)
{
	struct rpc_call *call = spare ? spare : malloc(sizeof(*call));

	if (!call)
		return NULL;
	spare = NULL;
	memset(call, 0, sizeof(*call));
	call->conn = conn;
	call->may_write = conn->trusted;
	return call;
}

static void call_free(struct rpc_call *call)
{
	list_remove(&call->link);
	if (call->deadline.armed)
		loop_timer_off(&call->deadline);
	if (call->drop)
		call->drop(call);
	else
		free(call->state);
	message_call_free(&call->message);
	if (spare)
		free(call);
	else
		spare = call;
}

void rpc_end(struct rpc_call *call)
{
	struct conn *conn = call->conn;

	call_free(call);
	conn->current = NULL;
	control_continue(conn);
}

/* ---- parked calls -----------------------------------------------------------------------------
 */

static struct {
	struct list calls;
	bool happened;
} parked[RPC_KEY_COUNT];
static void resume_all(void *arg);
static struct loop_task resume_task = { .fn = resume_all };

static void prepare(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	fill_table();
	for (int k = 0; k < RPC_KEY_COUNT; k++)
		list_init(&parked[k].calls);
}

void rpc_park(struct rpc_call *call, enum rpc_key key, void (*resume)(struct rpc_call *))
{
	call->resume = resume;
	if (call->message.oneway) {
		call->done = true;
		return;
	}
	list_remove(&call->link);
	list_append(&parked[key].calls, &call->link);
	if (key == RPC_KEY_NEXT)
		rpc_happened(RPC_KEY_NEXT);
}

static void on_deadline(void *arg)
{
	struct rpc_call *call = arg;

	call->expired(call);
	assert(call->done);
	rpc_end(call);
}

void rpc_deadline(struct rpc_call *call, int64_t usec_from_now, void (*expired)(struct rpc_call *))
{
	if (call->message.oneway)
		return;
	call->expired = expired;
	call->deadline.fn = on_deadline;
	call->deadline.arg = call;
	loop_timer_at(&call->deadline, loop_now() + usec_from_now);
}

void rpc_happened(enum rpc_key key)
{
	prepare();
	if (list_empty(&parked[key].calls))
		return;
	parked[key].happened = true;
	loop_defer(&resume_task);
}

static void resume(struct rpc_call *call)
{
	if (call->resume)
		call->resume(call);
	if (call->done)
		rpc_end(call);
}

/* Each call once, whatever the others do meanwhile: what ends takes itself off `due`. */
static void resume_key(enum rpc_key key)
{
	struct list due, *e;

	list_init(&due);
	while ((e = list_pop(&parked[key].calls)))
		list_append(&due, e);
	while ((e = list_pop(&due))) {
		list_append(&parked[key].calls, e);
		resume(list_entry(e, struct rpc_call, link));
	}
}

static void resume_all(void *arg)
{
	(void)arg;
	for (int k = 0; k < RPC_KEY_COUNT; k++) {
		if (!parked[k].happened)
			continue;
		parked[k].happened = false;
		resume_key((enum rpc_key)k);
	}
}

void rpc_each(enum rpc_key key, void (*each)(struct rpc_call *call, void *arg), void *arg)
{
	prepare();
	list_foreach(e, n, &parked[key].calls) each(list_entry(e, struct rpc_call, link), arg);
}

void rpc_conn_gone(struct conn *conn)
{
	struct rpc_call *call = conn->current;

	conn->current = NULL;
	if (call)
		call_free(call);
	queue_owner_gone(conn->leases);
	conn->leases = NULL;
}

void rpc_conn_drained(struct conn *conn)
{
	if (conn->current)
		resume(conn->current);
}

bool rpc_is_congested(const struct rpc_call *call)
{
	return call->conn->out.len > CREW_OUTPUT_MARK;
}

/* ---- replies: one at a time is being written --------------------------------------------------
 */

static struct message_write writing;
static struct buf nowhere = { .max = CREW_OUTPUT_MAX }; /* what a oneway call is answered to */

static struct buf *output_of(struct rpc_call *call)
{
	return call->message.oneway ? &nowhere : &call->conn->out;
}

struct json_writer *rpc_reply(struct rpc_call *call)
{
	message_write_reply(&writing, output_of(call));
	return &writing.json;
}

struct json_writer *rpc_error(struct rpc_call *call, enum crew_error e)
{
	message_write_error(&writing, output_of(call), crew_error_name(e));
	return &writing.json;
}

/* The answer has no room. In parts it would have. */
static void on_too_big(struct rpc_call *call)
{
	call->done = true;
	if (!call->message.more) {
		jw_object(rpc_error(call, CREW_ERROR_EXPECTED_MORE));
		jw_end_object(&writing.json);
		if (message_write_error_end(&writing) == 0)
			return;
	}
	log_warning("control", "a client does not read its answers, its connection is closed");
	call->conn->closing = true;
}

static void written(struct rpc_call *call, int result)
{
	if (call->message.oneway)
		buf_free(&nowhere);
	else if (result < 0)
		on_too_big(call);
	else if (!call->done)
		control_flush_later(call->conn);
}

void rpc_reply_end(struct rpc_call *call, bool continues)
{
	call->done = !continues;
	written(call, message_write_reply_end(&writing, continues));
}

void rpc_error_end(struct rpc_call *call)
{
	call->done = true;
	written(call, message_write_error_end(&writing));
}

void rpc_reply_empty(struct rpc_call *call)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

void rpc_error_text(struct rpc_call *call, enum crew_error e, const char *key, const char *text)
{
	struct json_writer *json = rpc_error(call, e);

	jw_object(json);
	if (key) {
		jw_key(json, key);
		jw_string(json, text);
	}
	jw_end_object(json);
	rpc_error_end(call);
}

void rpc_no_memory(struct rpc_call *call)
{
	rpc_error_text(call, CREW_ERROR_MANAGER_BUSY, "why", "out of memory");
}

void rpc_invalid(struct rpc_call *call, const char *parameter, const char *would_be_right)
{
	struct json_writer *json = rpc_error(call, CREW_ERROR_INVALID_PARAMETER);

	jw_object(json);
	jw_key(json, "parameter");
	jw_string(json, parameter);
	jw_key(json, "why");
	jw_string(json, would_be_right);
	jw_end_object(json);
	rpc_error_end(call);
}

bool rpc_params_done(struct rpc_call *call)
{
	if (params_done(&call->params))
		return true;
	rpc_invalid(call, call->params.bad, call->params.bad_why);
	return false;
}

/* ---- dispatch ---------------------------------------------------------------------------------
 */

static bool has_interface(const char *name, size_t len)
{
	for (const struct idl *i = idl_all; i->name; i++)
		if (strlen(i->name) == len && memcmp(i->name, name, len) == 0)
			return true;
	return false;
}

static void not_found(struct rpc_call *call)
{
	const char *method = call->message.method;
	const char *dot = strrchr(method, '.');
	size_t len = dot ? (size_t)(dot - method) : strlen(method);
	struct json_writer *json;

	if (dot && has_interface(method, len)) {
		rpc_error_text(call, CREW_ERROR_METHOD_NOT_FOUND, "method", method);
		return;
	}
	json = rpc_error(call, CREW_ERROR_INTERFACE_NOT_FOUND);
	jw_object(json);
	jw_key(json, "interface");
	jw_string_n(json, method, len);
	jw_end_object(json);
	rpc_error_end(call);
}

static void begin(struct rpc_call *call)
{
	const struct rpc_method *m = *table_at(call->message.method);

	call->method = m;
	if (!m)
		not_found(call);
	else if (m->writes && !call->may_write)
		rpc_error_text(call, CREW_ERROR_PERMISSION_DENIED, NULL, NULL);
	else if (m->needs_more && !call->message.more)
		rpc_error_text(call, CREW_ERROR_EXPECTED_MORE, NULL, NULL);
	else if (call->message.upgrade)
		rpc_error_text(call, CREW_ERROR_METHOD_NOT_IMPLEMENTED, "method", m->name);
	else
		m->handle(call);
}

static bool takes_text(const struct rpc_call *call)
{
	const struct rpc_method *m = *table_at(call->message.method);

	return m && m->by_text;
}

/* Items of queues may be long, and are taken by their text. */
static int read_call(const char *text, size_t len, struct rpc_call *call, const char **why)
{
	bool hollow;

	if (message_read_hollow(text, len, &call->message, &hollow, why) < 0)
		return -1;
	if (!hollow || takes_text(call))
		return 0;
	message_call_free(&call->message);
	return message_read_call(text, len, &call->message, why);
}

bool rpc_dispatch(struct conn *conn, const char *text, size_t len)
{
	struct rpc_call *call;
	const char *why;

	prepare();
	call = call_new(conn);
	if (!call)
		return false;
	if (read_call(text, len, call, &why) < 0) {
		log_debug("control", "a client's call is malformed: %s", why);
		call_free(call);
		return false;
	}
	if (call->message.overflow && !takes_text(call)) {
		log_debug("control", "a client's call is malformed: a number is too large");
		call_free(call);
		return false;
	}
	params_begin(&call->params, call->message.params);
	begin(call);
	assert(call->done || list_linked(&call->link));
	if (call->done)
		call_free(call);
	else
		conn->current = call;
	return true;
}
