#include "daemon/sink.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>
#include "daemon/loop.h"
#include "lib/bounds.h"
#include "lib/buf.h"
#include "lib/log.h"

#define CHUNK	     65536	  /* written at a time to standard error or a file */
#define KEEP	     (256 * 1024) /* memory of a queue that is kept for the next lines */
#define CLOSE_WITHIN 2		  /* seconds */

/* How a destination fares. The thread notes, the loop tells. */
struct health {
	struct list link; /* of `news` */
	const char *what;
	int err;	  /* it is failing */
	int told;	  /* the last error that was told, 0: that it works */
	uint64_t dropped; /* lines */
	bool torn;	  /* the thread's alone: the last line it took was cut short */
};

struct sink_file {
	unsigned refs; /* the owner's, and one for each line in the queue */
	int fd;
	struct health health;
	char path[];
};

/* In the queue, followed by worker, pool and line, each of the lengths given. */
struct record {
	enum sink_kind kind;
	int pid;
	struct sink_file *file;
	uint32_t worker, pool, line;
};

static struct {
	pthread_t thread;
	pthread_mutex_t lock; /* of all below, and of all refs and health */
	pthread_cond_t filled;
	struct buf queue; /* half of what may wait; the thread has the other in hand */
	bool full, drained, stop;
	struct list news;

	/* the loop's */
	int event;
	struct loop_io *io;
	void (*when_drained)(void);
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER,
	   .filled = PTHREAD_COND_INITIALIZER,
	   .queue = { .max = SINK_QUEUE_MAX / 2 },
	   .news = LIST_INIT(sink.news),
	   .event = -1 };

static struct health journal_health = { .what = "the journal" };
static struct health stderr_health = { .what = "standard error" };

static void kick(void)
{
	uint64_t one = 1;

	while (write(sink.event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* ---- files ------------------------------------------------------------------------------------
 */

struct sink_file *sink_file_new(int fd, const char *path)
{
	size_t size = strlen(path ? path : "") + 1;
	struct sink_file *f = calloc(1, sizeof(*f) + size);

	if (!f)
		return NULL;
	memcpy(f->path, path ? path : "", size);
	f->fd = fd;
	f->refs = 1;
	f->health.what = f->path;
	return f;
}

/* With the lock held. */
static void unref(struct sink_file *f)
{
	if (!f || --f->refs)
		return;
	list_remove(&f->health.link);
	close(f->fd);
	free(f);
}

void sink_file_unref(struct sink_file *f)
{
	pthread_mutex_lock(&sink.lock);
	unref(f);
	pthread_mutex_unlock(&sink.lock);
}

/* ---- the thread: writing ----------------------------------------------------------------------
 */

/* What is being gathered for one destination, so that many lines cost one write. */
struct chunk {
	int fd;
	struct health *health;
	size_t len;
	char text[CHUNK];
};

static void note(struct health *h, int err, uint64_t dropped)
{
	bool changed;

	pthread_mutex_lock(&sink.lock);
	changed = !h->err != !err;
	h->err = err;
	h->dropped += dropped;
	if (changed && !list_linked(&h->link))
		list_append(&sink.news, &h->link);
	pthread_mutex_unlock(&sink.lock);
	if (changed)
		kick();
}

static uint64_t count_lines(const char *text, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	return n;
}

/* How much was written; less than `len`: errno says why. */
static size_t write_all(int fd, const char *text, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			poll(&p, 1, -1);
		else if (n == 0 || errno != EINTR)
			break;
	}
	return done;
}

/* A line that was cut short is ended before the next one begins. */
static bool mend(const struct chunk *c)
{
	if (c->health->torn)
		c->health->torn = write_all(c->fd, "\n", 1) == 0;
	return !c->health->torn;
}

static void flush(struct chunk *c)
{
	size_t done;

	if (!c->len)
		return;
	done = mend(c) ? write_all(c->fd, c->text, c->len) : 0;
	if (done)
		c->health->torn = c->text[done - 1] != '\n';
	if (done < c->len)
		note(c->health, errno, count_lines(c->text + done, c->len - done));
	else
		note(c->health, 0, 0);
	c->len = 0;
}

static void add(struct chunk *c, const char *text, size_t len)
{
	memcpy(c->text + c->len, text, len);
	c->len += len;
}

/* A file gets the raw line, standard error one that says whose it is. */
static void gather(struct chunk *c, const struct record *r, const char *worker, const char *line)
{
	int fd = r->file ? r->file->fd : STDERR_FILENO;

	if (c->fd != fd || c->len + r->worker + r->line + 3 > CHUNK)
		flush(c);
	c->fd = fd;
	c->health = r->file ? &r->file->health : &stderr_health;
	if (r->kind == SINK_STDERR) {
		add(c, worker, r->worker);
		add(c, ": ", 2);
	}
	add(c, line, r->line);
	add(c, "\n", 1);
}

static struct iovec field(char *space, size_t size, const char *key, const char *value, size_t len)
{
	size_t start = strlen(key);

	if (start + len > size)
		len = size - start;
	memcpy(space, key, start);
	memcpy(space + start, value, len);
	return (struct iovec){ .iov_base = space, .iov_len = start + len };
}

/* A line may begin with its priority, as in "<3>disk full". */
static void to_journal(const struct record *r, const char *worker, const char *pool,
		       const char *line)
{
	char id[128], name[128], its_pool[128], pid[32], priority[] = "PRIORITY=6";
	static char message[16 + CREW_LOG_LINE_MAX];
	size_t len = r->line;
	struct iovec fields[6];
	int n = 0, err;

	if (len >= 3 && line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>') {
		priority[sizeof(priority) - 2] = line[1];
		line += 3;
		len -= 3;
	}
	fields[n++] = field(message, sizeof(message), "MESSAGE=", line, len);
	fields[n++] = (struct iovec){ .iov_base = priority, .iov_len = sizeof(priority) - 1 };
	fields[n++] = field(id, sizeof(id), "SYSLOG_IDENTIFIER=", worker, r->worker);
	fields[n++] = field(name, sizeof(name), "CREW_WORKER=", worker, r->worker);
	if (r->pool)
		fields[n++] = field(its_pool, sizeof(its_pool), "CREW_POOL=", pool, r->pool);
	if (r->pid) {
		fields[n].iov_base = pid;
		fields[n++].iov_len = (size_t)snprintf(pid, sizeof(pid), "SYSLOG_PID=%d", r->pid);
	}
	err = sd_journal_sendv(fields, n);
	note(&journal_health, err < 0 ? -err : 0, err < 0);
}

static void write_records(const struct buf *b)
{
	static struct chunk chunk = { .fd = -1 };
	const char *at = buf_data(b), *end = at + b->len;

	while (at < end) {
		const char *worker, *pool, *line;
		struct record r;

		memcpy(&r, at, sizeof(r));
		worker = at + sizeof(r);
		pool = worker + r.worker;
		line = pool + r.pool;
		at = line + r.line;
		if (r.kind == SINK_JOURNAL)
			to_journal(&r, worker, pool, line);
		else
			gather(&chunk, &r, worker, line);
	}
	flush(&chunk);
	chunk.fd = -1;
}

static void unref_records(const struct buf *b)
{
	const char *at = buf_data(b), *end = at + b->len;

	while (at < end) {
		struct record r;

		memcpy(&r, at, sizeof(r));
		unref(r.file);
		at += sizeof(r) + r.worker + r.pool + r.line;
	}
}

/* ---- the thread: its turn ---------------------------------------------------------------------
 */

/* Takes all that waits, and leaves an empty queue. With the lock held. False: it is to end. */
static bool take(struct buf *mine)
{
	struct buf empty = *mine;

	while (!sink.queue.len && !sink.stop)
		pthread_cond_wait(&sink.filled, &sink.lock);
	if (!sink.queue.len)
		return false;
	*mine = sink.queue;
	sink.queue = empty;
	if (sink.full) {
		sink.full = false;
		sink.drained = true;
		kick();
	}
	return true;
}

static void *run(void *arg)
{
	struct buf mine = { .max = SINK_QUEUE_MAX / 2 };

	(void)arg;
	pthread_mutex_lock(&sink.lock);
	while (take(&mine)) {
		pthread_mutex_unlock(&sink.lock);
		write_records(&mine);
		pthread_mutex_lock(&sink.lock);
		unref_records(&mine);
		if (mine.cap > KEEP)
			buf_free(&mine);
		mine.start = mine.len = 0;
	}
	pthread_mutex_unlock(&sink.lock);
	buf_free(&mine);
	return NULL;
}

/* ---- the loop's side --------------------------------------------------------------------------
 */

static void put(struct buf *b, const char *data, size_t size)
{
	memcpy(b->data + b->start + b->len, data, size);
	b->len += size;
}

/* With the lock held. False: it is full. */
static bool queue(const struct sink_to *to, const char *line, size_t len)
{
	struct record r = { .kind = to->kind,
			    .pid = to->pid,
			    .file = to->file,
			    .worker = (uint32_t)strlen(to->worker),
			    .pool = (uint32_t)(to->pool ? strlen(to->pool) : 0),
			    .line = (uint32_t)len };

	if (!buf_room(&sink.queue, sizeof(r) + r.worker + r.pool + r.line))
		return false;
	put(&sink.queue, (const char *)&r, sizeof(r));
	put(&sink.queue, to->worker, r.worker);
	put(&sink.queue, to->pool ? to->pool : "", r.pool);
	put(&sink.queue, line, r.line);
	if (r.file)
		r.file->refs++;
	return true;
}

bool sink_line(const struct sink_to *to, const char *line, size_t len)
{
	bool taken, was_empty;

	if (len > CREW_LOG_LINE_MAX)
		len = CREW_LOG_LINE_MAX;
	pthread_mutex_lock(&sink.lock);
	was_empty = sink.queue.len == 0;
	taken = queue(to, line, len);
	if (!taken)
		sink.full = true;
	pthread_mutex_unlock(&sink.lock);
	if (taken && was_empty)
		pthread_cond_signal(&sink.filled);
	return taken;
}

void sink_when_drained(void (*fn)(void))
{
	sink.when_drained = fn;
}

static void tell(const struct health *h)
{
	if (h->err)
		log_warning(NULL, "cannot write what workers print to %s: %s; it is dropped there",
			    h->what, strerror(h->err));
	else
		log_warning(NULL, "%s takes what workers print again, %llu lines were dropped",
			    h->what, (unsigned long long)h->dropped);
}

/* With the lock held: log_line() never waits. */
static void tell_news(void)
{
	struct list *e;

	while ((e = list_pop(&sink.news))) {
		struct health *h = list_entry(e, struct health, link);

		if (!h->err == !h->told)
			continue;
		tell(h);
		h->told = h->err;
		if (!h->err)
			h->dropped = 0;
	}
}

static void on_event(int fd, unsigned events, void *arg)
{
	uint64_t count;
	bool drained;

	(void)events;
	(void)arg;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_warning(NULL, "cannot read an eventfd: %s", strerror(errno));
	pthread_mutex_lock(&sink.lock);
	drained = sink.drained;
	sink.drained = false;
	tell_news();
	pthread_mutex_unlock(&sink.lock);
	if (drained && sink.when_drained)
		sink.when_drained();
}

/* All signals are the loop's, so that a closed pipe is an error and not an end. */
static int start_thread(void)
{
	sigset_t all, was;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &was);
	err = pthread_create(&sink.thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	errno = err;
	return err ? -1 : 0;
}

int sink_init(void)
{
	sink.stop = false;
	sink.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sink.event < 0)
		return -1;
	sink.io = loop_io_new(sink.event, LOOP_READ, on_event, NULL);
	if (!sink.io)
		return -1;
	return start_thread();
}

/* A thread that is stuck in a write is left alone: the process is about to end. */
void sink_close(void)
{
	struct timespec until;

	pthread_mutex_lock(&sink.lock);
	sink.stop = true;
	pthread_mutex_unlock(&sink.lock);
	pthread_cond_signal(&sink.filled);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += CLOSE_WITHIN;
	loop_io_free(sink.io);
	sink.io = NULL;
	if (pthread_clockjoin_np(sink.thread, NULL, CLOCK_MONOTONIC, &until) != 0)
		return;
	close(sink.event);
	sink.event = -1;
	buf_free(&sink.queue);
}
