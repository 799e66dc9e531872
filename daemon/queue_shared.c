/*
 * Queues of kind "shared": their items are in memory that whoever may write attaches to, and then puts and gets
 * without asking. The manager is one participant among them, which never waits. The keeper holds the memory, so
 * that it is the same for the next manager; nobody is let in before the keeper has it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "daemon/keep.h"
#include "daemon/queue_kind.h"
#include "lib/bounds.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/json_slice.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/shared_queue.h"
#include "lib/text.h"

#define NESTING	   2		       /* what encloses an item: message, parameters */
#define SLOW	   (5 * USEC_PER_MSEC) /* what took so long, in vain, was held up by a participant ... */
#define PAUSE	   (USEC_PER_SEC / 4) /* ... and for a while the loop does not do so again */
#define STRING_MAX (2 * CREW_MESSAGE_MAX)

struct ring {
	struct shared_queue *queue;
	int fd;
	unsigned cell; /* where the keeper holds it */
	bool kept;     /* the keeper surely does */
	int64_t pause; /* until then nothing is put */
};

/* ---- it comes and goes ------------------------------------------------------------------------ */

static void take_settings(struct queue *q, const struct ring *s)
{
	q->set.maxsize = shared_queue_maxsize(s->queue);
	q->set.max_bytes = shared_queue_max_bytes(s->queue);
}

/* What the manager before had: 1; 0: there is nothing of use; -1: it is there, but not to be had now. */
static int find(const struct queue *q, struct ring *s)
{
	s->fd = keep_take(q->name, &s->cell);
	if (s->fd < 0)
		return 0;
	s->queue = shared_queue_attach(s->fd);
	if (s->queue)
		return 1;
	if (errno != EINVAL && errno != EPROTONOSUPPORT) {
		log_error(q->name, "cannot attach to the queue's memory: %s", strerror(errno));
		errno = ENOMEM;
		return -1;
	}
	log_error(q->name, "somebody has written over the queue's memory (%s): it begins anew",
		  strerror(errno));
	close(s->fd);
	keep_drop(s->cell);
	s->fd = -1;
	return 0;
}

static bool make(const struct queue *q, struct ring *s)
{
	char name[CREW_NAME_MAX + 8] = "crewd:";

	strcat(name, q->name);
	s->fd = shared_queue_create(name, q->set.maxsize, q->set.max_bytes);
	s->queue = s->fd < 0 ? NULL : shared_queue_attach(s->fd);
	if (!s->queue) {
		log_error(q->name, "cannot make a queue in shared memory: %s", strerror(errno));
		errno = ENOMEM;
	} else if (keep_put(q->name, s->fd, &s->cell)) {
		return true;
	} else {
		errno = ENOSPC;
	}
	return false;
}

static int create(struct queue *q)
{
	struct ring *s = calloc(1, sizeof(*s));
	int found, error;

	if (!s)
		return -1;
	found = find(q, s);
	if (found > 0 || (found == 0 && make(q, s))) {
		q->impl = s;
		take_settings(q, s);
		return 0;
	}
	error = errno;
	shared_queue_detach(s->queue);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
	errno = error;
	return -1;
}

/* Who is attached goes on with the memory, among themselves. */
static void destroy(struct queue *q)
{
	struct ring *s = q->impl;

	keep_drop(s->cell);
	shared_queue_detach(s->queue);
	close(s->fd);
	free(s);
}

static void changed(struct queue *q)
{
	const struct ring *s = q->impl;

	if (q->set.maxsize != shared_queue_maxsize(s->queue) ||
	    q->set.max_bytes != shared_queue_max_bytes(s->queue))
		log_warning(q->name,
			    "the size of a queue in shared memory cannot be changed: it stays "
			    "until the queue is deleted, or crewd is started again");
	take_settings(q, s);
}

/* ---- what can go wrong ------------------------------------------------------------------------ */

static enum queue_error because(struct queue_request *r, const char *why, enum queue_error e)
{
	r->why = why;
	return e;
}

static bool is_kept(struct ring *s)
{
	s->kept = s->kept || !keep_waits();
	return s->kept;
}

static enum queue_error not_kept(struct queue_request *r)
{
	return because(r, "the keeper does not have its memory yet", QUEUE_UNAVAILABLE);
}

static enum queue_error failed(struct queue_request *r, int error)
{
	if (error == EPROTO)
		return because(r, "somebody has written over its memory", QUEUE_UNAVAILABLE);
	if (error == ENOTRECOVERABLE)
		return because(r, "a process holds up all that want to put", QUEUE_UNAVAILABLE);
	return because(r, strerror(error), QUEUE_UNAVAILABLE);
}

/* ---- put -------------------------------------------------------------------------------------- */

static const char held_up[] = "a process is in the middle of a put, and does not go on";

static bool pauses(const struct ring *s)
{
	return s->pause && clock_now() < s->pause;
}

/* What failed after so long a time is not tried again for a while; keeps errno. */
static void note_slow(struct ring *s, int64_t began)
{
	int error = errno;
	int64_t now = clock_now();

	if (now - began > SLOW)
		s->pause = now + PAUSE;
	errno = error;
}

static int put_one(struct ring *s, const struct queue_item *item)
{
	int64_t began = clock_now();
	int result = shared_queue_put(s->queue, item->text, item->len, 0);

	if (result < 0)
		note_slow(s, began);
	return result;
}

static enum queue_error put(struct queue *q, struct queue_request *r)
{
	struct ring *s = q->impl;

	if (!is_kept(s))
		return not_kept(r);
	if (pauses(s))
		return because(r, held_up, QUEUE_NOT_YET);
	s->pause = 0;
	while (!list_empty(&r->items)) {
		struct queue_item *item = list_entry(r->items.next, struct queue_item, link);

		if (put_one(s, item) == 0) {
			list_remove(&item->link);
			free(item);
			r->moved++;
			continue;
		}
		if (errno == EMSGSIZE)
			return QUEUE_TOO_BIG;
		if (errno != EAGAIN)
			return failed(r, errno);
		return because(r, s->pause ? held_up : NULL, QUEUE_NOT_YET);
	}
	return QUEUE_OK;
}

/* ---- get -------------------------------------------------------------------------------------- */

static struct queue_item *item_of(const char *text, size_t len)
{
	struct queue_item *item = queue_item_new(len);

	if (item)
		memcpy(item->text, text, len);
	return item;
}

static struct queue_item *written(const char *bytes, size_t len, bool as_string)
{
	struct buf out = { .max = STRING_MAX };
	struct json_writer json = json_writer(&out);
	struct queue_item *item = NULL;

	if (as_string) {
		jw_string_n(&json, bytes, len);
	} else {
		jw_object(&json);
		jw_key(&json, "base64");
		jw_base64(&json, bytes, len);
		jw_end_object(&json);
	}
	if (jw_ok(&json))
		item = item_of(buf_data(&out), out.len);
	buf_free(&out);
	return item;
}

/* Whoever put it may have put anything. What is no JSON is a string, or, with what is no UTF-8 in it or NUL,
 * {"base64": ...}. */
static struct queue_item *read_item(const char *bytes, size_t len)
{
	struct json_slice slice = { bytes, len };
	struct queue_item *item;
	const char *why;

	if (len && json_valid(bytes, len, NESTING, &why)) {
		item = queue_item_new(len);
		if (item)
			item->len = (uint32_t)json_slice_compact(slice, item->text);
		return item;
	}
	item = text_utf8_ok(bytes, len) ? written(bytes, len, true) : NULL;
	return item ? item : written(bytes, len, false);
}

static const char too_long[] = "the first item is too long for the protocol; attach to get it";

/* 1: got; 0: none, or none that is so small; -1: *e says why. */
static int get_one(struct ring *s, struct queue_request *r, size_t room, enum queue_error *e)
{
	static char bytes[CREW_MESSAGE_MAX];
	struct queue_item *item;
	size_t size = room < sizeof(bytes) ? room : sizeof(bytes);

	if (shared_queue_get(s->queue, bytes, &size, 0) < 0) {
		if (errno == EAGAIN || (errno == ERANGE && !list_empty(&r->items)))
			return 0;
		*e = errno == ERANGE ? because(r, too_long, QUEUE_UNAVAILABLE) : failed(r, errno);
		return -1;
	}
	item = read_item(bytes, size);
	if (item) {
		list_append(&r->items, &item->link);
		return 1;
	}
	/* Better at the wrong place than lost. */
	*e = QUEUE_NO_MEMORY;
	if (shared_queue_put(s->queue, bytes, size, 0) < 0)
		log_error(r->queue->name, "no memory: an item is lost");
	return -1;
}

static enum queue_error get(struct queue *q, struct queue_request *r)
{
	struct ring *s = q->impl;
	enum queue_error e = QUEUE_OK;
	size_t room = r->max_bytes ? r->max_bytes : CREW_MESSAGE_MAX;

	if (!is_kept(s))
		return not_kept(r);
	for (unsigned n = 0; n < r->max; n++) {
		size_t len;

		if (get_one(s, r, room, &e) <= 0)
			break;
		len = list_entry(r->items.prev, struct queue_item, link)->len;
		room -= len < room ? len : room;
	}
	if (!list_empty(&r->items))
		return QUEUE_OK;
	return e == QUEUE_OK ? QUEUE_NOT_YET : e;
}

/* ---- the rest --------------------------------------------------------------------------------- */

static enum queue_error size(struct queue *q, struct queue_request *r)
{
	struct ring *s = q->impl;
	int64_t items = shared_queue_qsize(s->queue);
	int full = shared_queue_full(s->queue);

	if (items < 0 || full < 0)
		return failed(r, errno);
	r->size = (uint64_t)items;
	r->full = full;
	return QUEUE_OK;
}

static enum queue_error task_done(struct queue *q, struct queue_request *r)
{
	struct ring *s = q->impl;

	if (shared_queue_task_done(s->queue) == 0)
		return QUEUE_OK;
	return errno == EINVAL ? QUEUE_TOO_MANY_DONE : failed(r, errno);
}

static enum queue_error join(struct queue *q, struct queue_request *r)
{
	struct ring *s = q->impl;

	if (shared_queue_join(s->queue, 0) == 0)
		return QUEUE_OK;
	return errno == EAGAIN ? QUEUE_NOT_YET : failed(r, errno);
}

static enum queue_error until_the_end(struct queue *q, struct queue_request *r)
{
	(void)q;
	(void)r;
	return QUEUE_NOT_YET;
}

static uint64_t or_none(int64_t count)
{
	return count < 0 ? 0 : (uint64_t)count;
}

static void look(const struct queue *q, struct queue_stat *st)
{
	const struct ring *s = q->impl;

	*st = (struct queue_stat){ .size = or_none(shared_queue_qsize(s->queue)),
				   .bytes = or_none(shared_queue_bytes(s->queue)),
				   .unfinished = or_none(shared_queue_unfinished(s->queue)) };
}

static int descriptor(struct queue *q)
{
	struct ring *s = q->impl;

	return is_kept(s) ? s->fd : -1;
}

/* Never called: nothing is lent, and what was got is answered in the same breath. */
static void back(struct queue *q, struct queue_item *item)
{
	struct ring *s = q->impl;

	if (shared_queue_put(s->queue, item->text, item->len, 0) < 0)
		log_error(q->name, "an item that nobody heard of finds no room, and is lost");
	free(item);
}

const struct queue_kind queue_shared = {
	.name = "shared",
	.direct = true,
	.create = create,
	.destroy = destroy,
	.changed = changed,
	.serve = { [QUEUE_PUT] = put,
		   [QUEUE_GET] = get,
		   [QUEUE_JOIN] = join,
		   [QUEUE_END] = until_the_end,
		   [QUEUE_SIZE] = size,
		   [QUEUE_TASK_DONE] = task_done },
	.back = back,
	.stat = look,
	.descriptor = descriptor,
};
