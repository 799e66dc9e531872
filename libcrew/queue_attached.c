/*
 * A queue in shared memory: attached to through the socket, and then on one's own. The daemon is only looked at now
 * and then, by a call that ends when the queue is gone; a manager that was killed is waited for without stopping.
 */
#include "libcrew/queue.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_EACH (250 * USEC_PER_MSEC)

int attached_code(int over)
{
	switch (errno) {
	case EAGAIN:
		return over;
	case EMSGSIZE:
		return CREW_TOO_BIG;
	case EPROTO:
		return CREW_PROTOCOL;
	case ENOTRECOVERABLE:
		return CREW_BUSY;
	case EBADF:
		return CREW_FORKED;
	case EINVAL:
		return CREW_TOO_MANY_DONE; /* of task_done, the only one that says so */
	default:
		return CREW_SYSTEM;
	}
}

/* ---- asking for the memory ------------------------------------------------------------------------ */

static int ask(struct crew_queue *q, int64_t deadline)
{
	struct queue_params p;
	struct crew_client *c = client_prepare(q->path);
	int code = CREW_SYSTEM;

	queue_params(&p, q);
	if (c && queue_params_end(&p))
		code = client_begin(c, "io.crewd.Queue.Attach", buf_data(&p.text), p.text.len,
				    MESSAGE_MORE, deadline);
	buf_free(&p.text);
	if (code) {
		crew_client_close(c);
		return code;
	}
	q->watch = c;
	return 0;
}

static void stop_watching(struct crew_queue *q)
{
	crew_client_close(q->watch);
	q->watch = NULL;
}

/* ---- now and then: is it still there? --------------------------------------------------------------- */

static bool is_same(const struct crew_queue *q, int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == q->dev && st.st_ino == q->ino;
}

/* Removed from the configuration, and there until it is empty. */
static void note_leaving(struct crew_queue *q, const struct message_reply *reply)
{
	bool leaving = false;

	json_get_bool(reply->params, "leaving", &leaving);
	q->leaving = leaving;
}

/* What a manager says: that it has the queue's memory, which should be the one that is attached to; or the end. */
static int hear(struct crew_queue *q, const struct message_reply *reply)
{
	int fd = client_handed(q->watch), code = 0;

	if (reply->error) {
		code = queue_code(reply->error);
		stop_watching(q);
		/* a manager that has just begun may not have its memory yet */
		if (code == CREW_BUSY)
			code = 0;
	} else if (!is_same(q, fd)) {
		code = CREW_NO_SUCH; /* deleted, and another one made */
	} else {
		q->lost = 0;
		note_leaving(q, reply);
	}
	if (fd >= 0)
		close(fd);
	return code;
}

static int listen_to_it(struct crew_queue *q, int64_t now)
{
	struct message_reply reply;
	int code = client_wait(q->watch, &reply, 0);

	if (code == 0) {
		code = hear(q, &reply);
		message_reply_free(&reply);
		return code;
	}
	if (code == CREW_TIMEOUT)
		return 0;
	stop_watching(q);
	if (!q->lost)
		q->lost = now;
	return 0;
}

static int ask_again(struct crew_queue *q, int64_t now)
{
	int code;

	if (now - q->tried < QUEUE_TRY_EACH)
		return 0;
	q->tried = now;
	code = ask(q, now);
	if (code == 0 || code == CREW_DENIED)
		return code;
	if (!q->lost)
		q->lost = now;
	return now - q->lost > QUEUE_GRACE ? CREW_NO_DAEMON : 0;
}

/* 0: nothing new, go on. One thread looks for all of them. */
static int look(struct crew_queue *q)
{
	int64_t now = clock_now();
	int code = q->gone;

	if (code || pthread_mutex_trylock(&q->mutex) != 0)
		return code;
	q->looked = now;
	code = q->watch ? listen_to_it(q, now) : ask_again(q, now);
	if (code == CREW_NO_SUCH || code == CREW_WRONG_KIND) {
		code = CREW_NO_SUCH;
		q->gone = code;
	}
	pthread_mutex_unlock(&q->mutex);
	return code;
}

/* Also those who never have to wait hear of it; the clock is the cheap one. */
static int look_sometimes(struct crew_queue *q)
{
	struct timespec t;

	if (q->gone)
		return q->gone;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	if ((int64_t)t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000 - q->looked < LOOK_EACH)
		return 0;
	return q->owner == getpid() ? look(q) : CREW_FORKED;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static int use(struct crew_queue *q, const struct message_reply *reply)
{
	int fd = client_handed(q->watch), code = CREW_SYSTEM;
	struct stat st;

	if (fd < 0)
		return CREW_PROTOCOL;
	if (fstat(fd, &st) == 0)
		q->ring = shared_queue_attach(fd);
	if (q->ring) {
		q->dev = st.st_dev;
		q->ino = st.st_ino;
		q->looked = clock_now();
		strcpy(q->kind, "shared");
		note_leaving(q, reply);
		code = 0;
	} else if (errno == EINVAL || errno == EPROTONOSUPPORT) {
		code = CREW_PROTOCOL;
	}
	close(fd);
	return code;
}

static int open_with(struct crew_queue *q, const struct message_reply *reply)
{
	const char *kind = json_get_string(reply->params, "kind");
	int code;

	if (!reply->error)
		return use(q, reply);
	code = queue_code(reply->error);
	if (code != CREW_WRONG_KIND || !kind || !*kind)
		return code;
	snprintf(q->kind, sizeof(q->kind), "%s", kind);
	return 0;
}

/* Who may only look is not handed the memory, nor told the kind; what can be asked of the daemon is left. */
static int open_to_look(struct crew_queue *q, int64_t deadline)
{
	struct message_reply reply;
	struct crew_client *c = client_prepare(q->path);
	int code = c ? client_begin(c, "io.crewd.Queue.List", NULL, 0, 0, deadline) : CREW_SYSTEM;

	if (code == 0)
		code = client_wait(c, &reply, deadline);
	crew_client_close(c);
	if (code)
		return code;
	code = reply.error ? CREW_DENIED : CREW_NO_SUCH;
	for (size_t i = 0; i < json_count(json_get(reply.params, "queues")); i++) {
		const struct json_t *one = json_at(json_get(reply.params, "queues"), i);
		const char *name = json_get_string(one, "name");

		if (!name || strcmp(name, q->name) != 0)
			continue;
		snprintf(q->kind, sizeof(q->kind), "%s", json_get_string(one, "kind") ?: "");
		code = 0;
	}
	message_reply_free(&reply);
	return code;
}

static int open_once(struct crew_queue *q, int64_t deadline)
{
	struct message_reply reply;
	int code = ask(q, deadline);

	if (code)
		return code;
	code = client_wait(q->watch, &reply, deadline);
	if (code == 0) {
		code = open_with(q, &reply);
		message_reply_free(&reply);
	}
	if (!q->ring)
		stop_watching(q);
	return code == CREW_DENIED ? open_to_look(q, deadline) : code;
}

/* A manager that is just being replaced is waited for, but no daemon that was never there. */
int attached_open(struct crew_queue *q, int64_t deadline)
{
	int64_t give_up = clock_now() + QUEUE_GRACE;
	int code;

	if (give_up > deadline)
		give_up = deadline;
	while ((code = open_once(q, deadline)) == CREW_LOST || code == CREW_BUSY) {
		if (clock_now() >= give_up)
			return code;
		queue_pause();
	}
	return code;
}

/* ---- with waiting ------------------------------------------------------------------------------------- */

struct act {
	int (*once)(struct crew_queue *q, struct act *act,
		    int64_t timeout); /* as lib/shared_queue.h has it */
	const void *put;
	void *got;
	size_t len;
	int over; /* what it means that the time is over */
};

static int put_once(struct crew_queue *q, struct act *act, int64_t timeout)
{
	return shared_queue_put(q->ring, act->put, act->len, timeout);
}

static int get_once(struct crew_queue *q, struct act *act, int64_t timeout)
{
	return shared_queue_get_alloc(q->ring, &act->got, &act->len, timeout);
}

static int join_once(struct crew_queue *q, struct act *act, int64_t timeout)
{
	(void)act;
	return shared_queue_join(q->ring, timeout);
}

static int wait_and_look(struct crew_queue *q, struct act *act, int64_t deadline)
{
	int code = 0;

	while (code == 0) {
		int64_t left = deadline == TIME_NEVER ? LOOK_EACH : deadline - clock_now();

		left = left < 0 ? 0 : left;
		if (act->once(q, act, left < LOOK_EACH ? left : LOOK_EACH) == 0)
			return 0;
		code = attached_code(act->over);
		if ((code != act->over && code != CREW_BUSY) || left == 0)
			return code;
		code = look(q);
	}
	return code;
}

/* Who need not wait asks for no time but the cheap one. */
static int run(struct crew_queue *q, struct act *act, double timeout)
{
	int64_t deadline;
	int code = timeout == timeout ? look_sometimes(q) : CREW_INVALID;

	if (code || act->once(q, act, 0) == 0)
		return code;
	code = attached_code(act->over);
	if ((code != act->over && code != CREW_BUSY) || timeout == 0)
		return code;
	api_deadline(timeout, &deadline);
	return wait_and_look(q, act, deadline);
}

int attached_put(struct crew_queue *q, const void *item, size_t len, double timeout)
{
	struct act act = { .once = put_once, .put = item, .len = len, .over = CREW_FULL };

	return q->leaving ? CREW_NO_SUCH : run(q, &act, timeout);
}

int attached_get(struct crew_queue *q, void **item, size_t *len, double timeout)
{
	struct act act = { .once = get_once, .over = CREW_EMPTY };
	int code = run(q, &act, timeout);

	if (code == 0) {
		*item = act.got;
		*len = act.len;
	}
	return code;
}

int attached_task_done(struct crew_queue *q)
{
	return shared_queue_task_done(q->ring) == 0 ? 0 : attached_code(CREW_SYSTEM);
}

int attached_join(struct crew_queue *q, double timeout)
{
	struct act act = { .once = join_once, .over = CREW_TIMEOUT };

	return run(q, &act, timeout);
}
