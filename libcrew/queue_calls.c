/* Queues that the daemon, or what is behind it, keeps: each function is a call. */
#include "libcrew/queue.h"

#include <errno.h>
#include <unistd.h>

#define ITEM_NESTING 2 /* what encloses an item: message, parameters */

/* ---- connections: one for each thread that is in a call ------------------------------------------ */

static struct crew_client *take_client(struct crew_queue *q)
{
	struct crew_client *c = NULL;

	pthread_mutex_lock(&q->mutex);
	if (q->idle_count)
		c = q->idle[--q->idle_count];
	pthread_mutex_unlock(&q->mutex);
	return c ? c : client_prepare(q->path);
}

static void give_client(struct crew_queue *q, struct crew_client *c)
{
	pthread_mutex_lock(&q->mutex);
	if (q->idle_count < QUEUE_IDLE_MAX) {
		q->idle[q->idle_count++] = c;
		c = NULL;
	}
	pthread_mutex_unlock(&q->mutex);
	crew_client_close(c);
}

/* ---- one call ------------------------------------------------------------------------------------ */

struct call {
	const char *method;
	const void *item; /* of a put */
	size_t len;
	bool waits,
		again; /* has a timeout; may be asked again when nobody knows what became of it */
	bool no_wait;
	int64_t deadline;
};

static bool put_params(struct queue_params *p, const struct crew_queue *q, const struct call *call)
{
	queue_params(p, q);
	if (call->item) {
		jw_key(&p->json, "item");
		jw_raw(&p->json, call->item, call->len);
	}
	if (call->waits && call->no_wait) {
		jw_key(&p->json, "timeout");
		jw_int(&p->json, 0);
	} else if (call->waits && call->deadline != TIME_NEVER) {
		int64_t left = call->deadline - clock_now();

		jw_key(&p->json, "timeout");
		jw_seconds(&p->json, left > 0 ? left : 0);
	}
	return queue_params_end(p);
}

/* An error that the daemon replied comes as its code, without a reply. */
static int try_with(struct crew_client *c, const struct call *call, struct queue_params *p,
		    int64_t until, struct message_reply *reply)
{
	int code = client_begin(c, call->method, buf_data(&p->text), p->text.len, 0, until);

	if (code == 0)
		code = client_wait(c, reply, until);
	if (code || !reply->error)
		return code;
	code = queue_code(reply->error);
	message_reply_free(reply);
	return code;
}

static int try_once(struct crew_queue *q, const struct call *call, struct message_reply *reply)
{
	/* what does not wait itself is answered at once, or not at all */
	int64_t from = call->waits ? call->deadline : clock_now();
	int64_t until = from > TIME_NEVER - QUEUE_GRACE ? TIME_NEVER : from + QUEUE_GRACE;
	struct crew_client *c;
	struct queue_params p;
	int code;

	if (!put_params(&p, q, call)) {
		buf_free(&p.text);
		return CREW_TOO_BIG;
	}
	c = take_client(q);
	code = c ? try_with(c, call, &p, until, reply) : CREW_SYSTEM;
	buf_free(&p.text);
	if (c && code != CREW_TIMEOUT)
		give_client(q, c);
	else
		crew_client_close(c); /* its reply may still come */
	return code;
}

/* A manager that was killed is replaced within moments, a daemon by whoever looks after it. */
static int try_for_a_while(struct crew_queue *q, const struct call *call,
			   struct message_reply *reply)
{
	int64_t give_up = TIME_NEVER;

	if (q->owner != getpid())
		return CREW_FORKED;
	for (;;) {
		int code = try_once(q, call, reply);

		if (code != CREW_NO_DAEMON && (code != CREW_LOST || !call->again))
			return code;
		if (give_up == TIME_NEVER)
			give_up = clock_now() + QUEUE_GRACE;
		if (clock_now() >= give_up || (call->waits && clock_now() >= call->deadline))
			return code;
		queue_pause();
	}
}

static int call(struct crew_queue *q, struct call *call, double timeout,
		struct message_reply *reply)
{
	int code = api_deadline(timeout, &call->deadline);

	call->no_wait = timeout == 0;
	return code ? code : try_for_a_while(q, call, reply);
}

/* One that is only answered. */
static int call_for_nothing(struct crew_queue *q, struct call *c, double timeout)
{
	struct message_reply reply;
	int code = call(q, c, timeout, &reply);

	if (code == 0)
		message_reply_free(&reply);
	return code;
}

/* ---- the functions ------------------------------------------------------------------------------- */

int calls_put(struct crew_queue *q, const void *item, size_t len, double timeout)
{
	struct call put = {
		.method = "io.crewd.Queue.Put", .item = item, .len = len, .waits = true
	};
	const char *why;

	if (len > CREW_MESSAGE_MAX)
		return CREW_TOO_BIG;
	if (!len || !json_valid(item, len, ITEM_NESTING, &why))
		return CREW_INVALID;
	return call_for_nothing(q, &put, timeout);
}

/* Asked again when the connection was lost: no item came, so none was taken that could not be got again. */
int calls_get(struct crew_queue *q, void **item, size_t *len, double timeout)
{
	struct call get = { .method = "io.crewd.Queue.Get", .waits = true, .again = true };
	struct message_reply reply;
	struct json_slice text;
	int code = call(q, &get, timeout, &reply);

	if (code)
		return code;
	code = CREW_PROTOCOL;
	if (message_param_text(reply.text, "item", &text)) {
		*item = api_copy(text.text, text.len);
		*len = text.len;
		code = *item ? 0 : CREW_SYSTEM;
	}
	message_reply_free(&reply);
	return code;
}

int64_t calls_number(struct crew_queue *q, const char *method, const char *key)
{
	struct call ask = { .method = method, .again = true };
	struct message_reply reply;
	bool flag;
	int64_t n = call(q, &ask, CREW_FOREVER, &reply);

	if (n)
		return n;
	if (json_get_bool(reply.params, key, &flag))
		n = flag;
	else if (!json_get_int(reply.params, key, &n) || n < 0)
		n = CREW_PROTOCOL;
	message_reply_free(&reply);
	return n;
}

int calls_task_done(struct crew_queue *q)
{
	struct call done = { .method = "io.crewd.Queue.TaskDone" };

	return call_for_nothing(q, &done, CREW_FOREVER);
}

int calls_join(struct crew_queue *q, double timeout)
{
	struct call join = { .method = "io.crewd.Queue.Join", .waits = true, .again = true };

	return call_for_nothing(q, &join, timeout);
}
