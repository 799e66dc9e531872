#include "daemon/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/journal_store.h"
#include "daemon/loop.h"
#include "lib/bounds.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/log.h"

#define STACK	   (256 * 1024)
#define KEEP	   (256 * 1024)		 /* memory of a queue that is kept for the next records */
#define COPY_LEAST 65536		 /* bytes moved from the oldest segment in one turn ... */
#define COPY_MOST  (2 * JF_RECORD_MAX)	 /* ... and at most ... */
#define COPY_TIMES 4			 /* ... or so many times what was put in it */
#define ASK_AGAIN  (100 * USEC_PER_MSEC) /* whether the disk is still full */

struct journal {
	char name[CREW_NAME_MAX + sizeof("queue ")];
	size_t least, queue_max;

	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct buf queue;     /* drafts; the thread has another one in hand */
	uint64_t queued_puts; /* in it */
	uint64_t last, done;  /* tickets */
	int64_t room;	      /* bytes that puts may still take */
	uint64_t biggest;     /* record that was ever accepted */
	uint64_t asked;	      /* room that somebody wants, 0: nobody */
	bool idle;	      /* the thread waits */
	bool full;	      /* the disk, when it was last asked */
	bool refused;	      /* somebody waits for room */
	bool has_room;	      /* and is to be told */
	bool stop, remove, ended;
	int remove_err;
	bool news;    /* the loop has not looked yet */
	bool to_kick; /* and is to be woken */
	int err;
	char why[JS_TEXT];
	struct journal_stat stat;

	/* the thread's, until it has ended */
	struct store *store;

	/* the loop's */
	pthread_t thread;
	int event;
	struct loop_io *io;
	const struct journal_calls *calls;
	void *arg;
	uint64_t next_id, told;
	int64_t asked_at;
	bool told_failure;
};

/* ---- the thread -------------------------------------------------------------------------------- */

/* With the lock held, as all of this section that does not say otherwise. The loop is woken when the lock
 * is free again, so that it does not run into it. */
static void tell(struct journal *j)
{
	j->to_kick = j->to_kick || !j->news;
	j->news = true;
}

/* Without the lock. */
static void kick(struct journal *j)
{
	uint64_t one = 1;

	while (write(j->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* Unlocks for a moment if the loop is to be woken. */
static void kick_if_told(struct journal *j)
{
	if (!j->to_kick)
		return;
	j->to_kick = false;
	pthread_mutex_unlock(&j->lock);
	kick(j);
	pthread_mutex_lock(&j->lock);
}

static void note_failure(struct journal *j)
{
	const char *why;

	j->err = store_failed(j->store, &why);
	snprintf(j->why, sizeof(j->why), "%s", why);
	j->stat.err = j->err;
	tell(j);
	kick_if_told(j);
}

/* What the queue will take of the disk. */
static uint64_t outstanding(const struct journal *j)
{
	return j->queue.len + j->queued_puts * JF_HEAD;
}

static int64_t room_left(const struct journal *j)
{
	return store_room(j->store, j->biggest) - (int64_t)outstanding(j);
}

/* Gets room ahead of need. Unlocks while the disk is asked: what is accepted meanwhile comes out of the
 * room that was granted, so that much more is asked for. */
static int get_room(struct journal *j)
{
	uint64_t want = j->least + j->asked + outstanding(j) + (uint64_t)j->room;
	uint64_t biggest = j->biggest;
	int result, err;

	j->asked = 0;
	pthread_mutex_unlock(&j->lock);
	result = store_grow(j->store, want, biggest);
	err = result < 0 ? errno : 0;
	pthread_mutex_lock(&j->lock);
	j->full = err == ENOSPC;
	return result < 0 && !j->full ? -1 : 0;
}

static bool needs_room(const struct journal *j)
{
	return j->asked || (room_left(j) < (int64_t)(j->least / 2) && !j->full);
}

static int settle(struct journal *j)
{
	if (needs_room(j) && get_room(j) < 0)
		return -1;
	j->room = room_left(j) > 0 ? room_left(j) : 0;
	if (j->refused) {
		j->refused = false;
		j->has_room = true;
		tell(j);
	}
	j->stat.items = store_items(j->store);
	j->stat.live = store_live(j->store);
	j->stat.disk = store_disk(j->store);
	j->stat.full = j->full;
	return 0;
}

/* How many bytes may be moved from the oldest segment in a turn that writes `len`. Of a full disk no
 * more than what was kept for it, and only what makes room for sure. */
static uint64_t copy_bytes(struct journal *j, size_t len, uint64_t puts)
{
	uint64_t want = COPY_TIMES * len, first, live;
	int64_t spare;

	if (!store_wants_rewrite(j->store))
		return 0;
	live = store_oldest_live(j->store);
	if (j->stop && live)
		return 0;
	first = (live < j->biggest ? live : j->biggest) + JF_HEAD;
	if (want < COPY_LEAST)
		want = COPY_LEAST;
	if (want < first)
		want = first;
	if (want > COPY_MOST)
		want = COPY_MOST;
	spare = store_room(j->store, j->biggest) +
		(int64_t)(j->biggest + JF_HEAD - len - puts * JF_HEAD);
	if (spare < (int64_t)first || (j->full && (uint64_t)spare < live + JF_HEAD))
		return 0;
	if (want > (uint64_t)spare)
		want = (uint64_t)spare;
	spare -= (int64_t)(want + j->biggest + JF_HEAD);
	if (j->room > spare)
		j->room = spare > 0 ? spare : 0;
	return want;
}

struct turn {
	struct buf drafts;
	uint64_t upto, rewrite;
};

/* Waits for something to do. False: it is to end. */
static bool next_turn(struct journal *j, struct turn *t)
{
	struct buf empty = t->drafts;
	uint64_t puts;

	for (;;) {
		t->rewrite = j->queue.len ? 0 : copy_bytes(j, 0, 0);
		if (j->queue.len || t->rewrite || j->asked)
			break;
		if (j->stop)
			return false;
		j->idle = true;
		pthread_cond_wait(&j->filled, &j->lock);
		j->idle = false;
	}
	puts = j->queued_puts;
	t->drafts = j->queue;
	t->upto = j->last;
	j->queue = empty;
	j->queued_puts = 0;
	if (t->drafts.len)
		t->rewrite = copy_bytes(j, t->drafts.len, puts);
	return true;
}

/* Without the lock. */
static int write_turn(struct journal *j, struct turn *t)
{
	unsigned char *drafts = (unsigned char *)t->drafts.data + t->drafts.start;
	int result = store_write(j->store, drafts, t->drafts.len, t->rewrite);

	if (t->drafts.cap > KEEP)
		buf_free(&t->drafts);
	t->drafts.start = t->drafts.len = 0;
	return result;
}

static int work(struct journal *j)
{
	struct turn t = { .drafts = { .max = j->queue.max } };
	int result = settle(j);

	kick_if_told(j);
	while (result == 0 && next_turn(j, &t)) {
		uint64_t oldest = store_oldest(j->store);

		pthread_mutex_unlock(&j->lock);
		result = write_turn(j, &t);
		pthread_mutex_lock(&j->lock);
		if (result < 0)
			break;
		if (j->done != t.upto) {
			j->done = t.upto;
			tell(j);
		}
		if (store_oldest(j->store) != oldest)
			j->full = false;
		/* What it may have to wait for is not what the loop waits for. */
		if (needs_room(j))
			kick_if_told(j);
		result = settle(j);
		kick_if_told(j);
	}
	buf_free(&t.drafts);
	return result;
}

static void *run(void *arg)
{
	struct journal *j = arg;
	int result = store_start(j->store, j->biggest), err;

	pthread_mutex_lock(&j->lock);
	if (result == 0)
		result = work(j);
	if (result < 0)
		note_failure(j);
	while (!j->stop)
		pthread_cond_wait(&j->filled, &j->lock);
	pthread_mutex_unlock(&j->lock);
	if (j->remove)
		result = store_remove(j->store);
	else if (result == 0)
		result = store_end(j->store, j->biggest);
	err = result < 0 ? errno : 0;
	pthread_mutex_lock(&j->lock);
	j->remove_err = j->remove ? err : 0;
	j->ended = true;
	j->news = true;
	pthread_mutex_unlock(&j->lock);
	kick(j);
	return NULL;
}

/* ---- the loop's side: records ------------------------------------------------------------------ */

static bool may_accept(struct journal *j)
{
	if (j->stop)
		errno = ESHUTDOWN;
	else if (j->err)
		errno = EIO;
	else
		return true;
	return false;
}

/* With the lock held. Puts leave room in memory for what takes items out. */
static int64_t queue(struct journal *j, const struct jf_record *r, size_t most)
{
	size_t size = jf_size(r->len);
	char *room = NULL;

	errno = ENOBUFS;
	if (j->queue.len + size <= most)
		room = buf_room(&j->queue, size);
	if (!room) {
		j->refused = j->refused || errno == ENOBUFS;
		return -1;
	}
	jf_draft((unsigned char *)room, r);
	j->queue.len += size;
	return (int64_t)++j->last;
}

/* Unlocks, and only then wakes the thread, which wants the lock. */
static void unlock_and_wake(struct journal *j)
{
	bool idle = j->idle && (j->queue.len || j->asked);

	pthread_mutex_unlock(&j->lock);
	if (idle)
		pthread_cond_signal(&j->filled);
}

/* The disk has no room that was asked for ahead. */
static int64_t ask(struct journal *j, uint64_t cost)
{
	bool again = loop_now() - j->asked_at >= ASK_AGAIN;

	j->refused = true;
	errno = j->full ? ENOSPC : ENOBUFS;
	if (j->full && !again)
		return -1;
	if (cost > j->asked)
		j->asked = cost;
	j->asked_at = loop_now();
	return -1;
}

static int64_t put(struct journal *j, const struct jf_record *r)
{
	uint64_t size = jf_size(r->len), cost = size + JF_HEAD;
	int64_t ticket;

	if (size > j->biggest)
		cost += size - j->biggest;
	if (!may_accept(j))
		return -1;
	if ((int64_t)cost > j->room)
		return ask(j, cost);
	ticket = queue(j, r, j->queue_max);
	if (ticket < 0)
		return -1;
	j->room -= (int64_t)cost;
	j->queued_puts++;
	if (size > j->biggest)
		j->biggest = size;
	j->next_id = r->id + 1;
	return ticket;
}

int64_t journal_put(struct journal *j, uint64_t id, const void *data, size_t len)
{
	struct jf_record r = { .type = JF_PUT, .id = id, .data = data, .len = (uint32_t)len };
	int64_t ticket;

	if (len > JF_DATA_MAX || id < j->next_id || id >= JF_ID_MAX) {
		errno = len > JF_DATA_MAX ? EMSGSIZE : EINVAL;
		return -1;
	}
	pthread_mutex_lock(&j->lock);
	ticket = put(j, &r);
	unlock_and_wake(j);
	return ticket;
}

int64_t journal_take(struct journal *j, uint64_t id)
{
	struct jf_record r = { .type = JF_TAKE, .id = id };
	int64_t ticket = -1;

	pthread_mutex_lock(&j->lock);
	if (may_accept(j))
		ticket = queue(j, &r, j->queue.max);
	unlock_and_wake(j);
	return ticket;
}

int64_t journal_deliver(struct journal *j, uint64_t id, uint32_t deliveries)
{
	struct jf_record r = { .type = JF_DELIVER, .id = id, .deliveries = deliveries };
	int64_t ticket = 0;

	pthread_mutex_lock(&j->lock);
	if (!may_accept(j)) {
		ticket = -1;
	} else if (j->room < (int64_t)JF_HEAD) {
		ask(j, JF_HEAD);
		ticket = j->full ? 0 : -1;
	} else {
		ticket = queue(j, &r, j->queue.max);
		if (ticket > 0)
			j->room -= JF_HEAD;
	}
	unlock_and_wake(j);
	return ticket;
}

uint64_t journal_next_id(const struct journal *j)
{
	return j->next_id;
}

uint64_t journal_last(const struct journal *j)
{
	return j->last; /* only the loop's thread changes it */
}

void journal_stat(struct journal *j, struct journal_stat *st)
{
	pthread_mutex_lock(&j->lock);
	*st = j->stat;
	pthread_mutex_unlock(&j->lock);
}

/* ---- the loop's side: news --------------------------------------------------------------------- */

static void free_journal(struct journal *j)
{
	loop_io_free(j->io);
	if (j->event >= 0)
		close(j->event);
	store_close(j->store);
	buf_free(&j->queue);
	pthread_cond_destroy(&j->filled);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

static void tell_failure(struct journal *j)
{
	j->told_failure = true;
	log_error(j->name,
		  "%s; nothing more is put in, and what is taken out comes back, until crewd is "
		  "started again",
		  j->why);
	j->calls->failed(j->arg, j->err, j->why);
}

static void end(struct journal *j)
{
	void (*closed)(void *) = j->calls->closed;
	void *arg = j->arg;

	pthread_join(j->thread, NULL);
	if (j->remove_err)
		log_warning(j->name, "cannot remove its journal: %s", strerror(j->remove_err));
	free_journal(j);
	closed(arg);
}

/* What there is to tell. False: it is gone. */
static bool tell_news(struct journal *j)
{
	bool failed, room, ended;
	uint64_t done;

	pthread_mutex_lock(&j->lock);
	j->news = false;
	done = j->done;
	failed = j->err && !j->told_failure;
	room = j->has_room;
	j->has_room = false;
	ended = j->ended;
	pthread_mutex_unlock(&j->lock);
	if (done != j->told) {
		j->told = done;
		j->calls->done(j->arg, done);
	}
	if (failed)
		tell_failure(j);
	if (room && !j->stop)
		j->calls->room(j->arg);
	if (ended)
		end(j);
	return !ended;
}

static bool take_event(struct journal *j)
{
	uint64_t count;

	if (read(j->event, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
		log_warning(j->name, "cannot read an eventfd: %s", strerror(errno));
	return tell_news(j);
}

static void on_event(int fd, unsigned events, void *arg)
{
	(void)fd;
	(void)events;
	take_event(arg);
}

void journal_close(struct journal *j, bool remove)
{
	pthread_mutex_lock(&j->lock);
	j->stop = true;
	j->remove = remove;
	pthread_cond_signal(&j->filled);
	pthread_mutex_unlock(&j->lock);
}

bool journal_wait(struct journal *j, int64_t usec)
{
	int64_t until = clock_now() + usec, left = usec;

	do {
		struct pollfd p = { .fd = j->event, .events = POLLIN };

		if (poll(&p, 1, (int)(left / USEC_PER_MSEC) + 1) > 0 && !take_event(j))
			return true;
		left = until - clock_now();
	} while (left > 0);
	return false;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static void say_found(const struct journal *j, const struct store_found *f)
{
	if (f->torn)
		log_warning(j->name,
			    "cut off %llu bytes at the end of its journal: a write that was not "
			    "finished, and not answered",
			    (unsigned long long)f->torn);
	if (f->salvaged)
		log_warning(j->name,
			    "opened in spite of damage, as %s.salvage asks: %llu bytes and %u "
			    "segments could not be read",
			    j->name + strlen("queue "), (unsigned long long)f->unread, f->missing);
}

/* All signals are the loop's. */
static int start_thread(struct journal *j)
{
	pthread_attr_t attr;
	sigset_t all, was;
	int err;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_BLOCK, &all, &was);
	err = pthread_create(&j->thread, &attr, run, j);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	pthread_attr_destroy(&attr);
	errno = err;
	return err ? -1 : 0;
}

static struct journal *new_journal(const char *name, const struct journal_limits *limits)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	snprintf(j->name, sizeof(j->name), "queue %s", name);
	j->least = limits->segment ? limits->segment : CREW_JOURNAL_SEGMENT;
	j->queue_max = limits->queue ? limits->queue : CREW_JOURNAL_QUEUE;
	if (j->queue_max < JF_RECORD_MAX)
		j->queue_max = JF_RECORD_MAX;
	j->queue.max = 2 * j->queue_max;
	j->event = -1;
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->filled, NULL);
	return j;
}

static int open_store(struct journal *j, int dir, const char *name, struct store_found *f)
{
	j->store = store_open(dir, name, j->least, f);
	if (!j->store)
		return -1;
	say_found(j, f);
	if (store_tell(j->store, j->calls->item, j->arg, f) < 0)
		return -1;
	j->next_id = store_next_id(j->store);
	j->biggest = store_biggest(j->store);
	j->asked_at = loop_now() - ASK_AGAIN;
	return 0;
}

static int begin(struct journal *j, struct store_found *f)
{
	snprintf(f->text, sizeof(f->text), "cannot make its thread");
	j->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (j->event < 0)
		return -1;
	j->io = loop_io_new(j->event, LOOP_READ, on_event, j);
	return j->io ? start_thread(j) : -1;
}

struct journal *journal_open(int dir, const char *name, const struct journal_limits *limits,
			     const struct journal_calls *calls, void *arg,
			     struct journal_found *found)
{
	struct store_found f = { .text = "no memory" };
	struct journal *j = new_journal(name, limits);
	int result = -1, err;

	if (j) {
		j->calls = calls;
		j->arg = arg;
		result = open_store(j, dir, name, &f);
	}
	if (result == 0)
		result = begin(j, &f);
	err = errno;
	*found = (struct journal_found){ .items = f.items, .torn = f.torn };
	if (result < 0)
		memcpy(found->text, f.text, sizeof(found->text));
	if (result < 0 && j) {
		free_journal(j);
		j = NULL;
	}
	errno = err;
	return j;
}

bool journal_exists(int dir, const char *name)
{
	char file[CREW_NAME_MAX + sizeof(".lock")];
	struct stat st;

	snprintf(file, sizeof(file), "%s.lock", name);
	return fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0;
}
