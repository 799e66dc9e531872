#include "daemon/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/pool.h"
#include "daemon/sink.h"
#include "lib/bounds.h"
#include "lib/log.h"

/* What is known of a ring, behind all rings in the log memory: the next manager goes on with it. */
struct head {
	uint64_t written; /* bytes ever printed; stored after the bytes themselves */
	uint64_t handed;  /* bytes that were handed on to where `log` says, or dropped */
};

/* Of a worker that has a pipe, or lines that the sink has not taken yet. */
struct reader {
	struct worker *worker;
	struct loop_io *io;
	int fd;		  /* -1: the pipe has ended */
	bool early;	  /* it is not known yet which process is to write there */
	struct list link; /* blocked: waits for the sink, or for its file */
};

static char *rings;
static struct head *heads;
static struct list blocked = LIST_INIT(blocked);
static void (*observer)(struct worker *w);
static int kept[CREW_WORKERS_MAX]; /* see keep(); 0: none, else one more than it */
static char no_file; /* pool->user: the file could not be opened */

static void on_drained(void);

size_t output_logs_size(void)
{
	return (size_t)CREW_WORKERS_MAX * (CREW_LOG_RING + sizeof(struct head));
}

static void *map(int fd)
{
	struct stat st;

	if (fd < 0)
		return mmap(NULL, output_logs_size(), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (fstat(fd, &st) < 0)
		return MAP_FAILED;
	if ((size_t)st.st_size < output_logs_size() && ftruncate(fd, (off_t)output_logs_size()) < 0)
		return MAP_FAILED;
	return mmap(NULL, output_logs_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

int output_init(int logs_fd)
{
	void *memory = map(logs_fd);

	if (memory == MAP_FAILED)
		return -1;
	rings = memory;
	heads = (struct head *)(void *)(rings + (size_t)CREW_WORKERS_MAX * CREW_LOG_RING);
	sink_when_drained(on_drained);
	return 0;
}

/* ---- the rings --------------------------------------------------------------------------------
 */

static char *ring_of(unsigned slot)
{
	return rings + (size_t)slot * CREW_LOG_RING;
}

static void ring_put(unsigned slot, const char *data, size_t size)
{
	struct head *h = &heads[slot];
	size_t at = h->written % CREW_LOG_RING, one = CREW_LOG_RING - at;

	if (one > size)
		one = size;
	memcpy(ring_of(slot) + at, data, one);
	memcpy(ring_of(slot), data + one, size - one);
	__atomic_store_n(&h->written, h->written + size, __ATOMIC_RELEASE);
}

static void ring_get(unsigned slot, uint64_t from, char *to, size_t size)
{
	size_t at = from % CREW_LOG_RING, one = CREW_LOG_RING - at;

	if (one > size)
		one = size;
	memcpy(to, ring_of(slot) + at, one);
	memcpy(to + one, ring_of(slot), size - one);
}

void output_range(const struct worker *w, uint64_t *first, uint64_t *end)
{
	*end = heads[w->slot].written;
	*first = *end > CREW_LOG_RING ? *end - CREW_LOG_RING : 0;
}

size_t output_read(const struct worker *w, uint64_t *from, char *to, size_t size)
{
	uint64_t first, end;

	output_range(w, &first, &end);
	if (*from < first)
		*from = first;
	if (*from >= end)
		return 0;
	if (size > end - *from)
		size = end - *from;
	ring_get(w->slot, *from, to, size);
	*from += size;
	return size;
}

uint64_t output_last_lines(const struct worker *w, unsigned lines)
{
	const char *ring = ring_of(w->slot);
	uint64_t first, end, at;

	output_range(w, &first, &end);
	if (lines == 0 || end == first)
		return end;
	/* The newline that ends the last line begins no other. */
	for (at = end - 1; at > first; at--)
		if (ring[(at - 1) % CREW_LOG_RING] == '\n' && --lines == 0)
			break;
	return at;
}

char *output_last_words(const struct worker *w, unsigned lines, char *buf, size_t size)
{
	uint64_t from = output_last_lines(w, lines);
	size_t n = 0;
	char c;

	while (n + 4 < size && output_read(w, &from, &c, 1))
		if (c != '\n')
			buf[n++] = c;
		else if (n)
			n += (size_t)snprintf(buf + n, size - n, " | ");
	if (n >= 3 && memcmp(buf + n - 3, " | ", 3) == 0)
		n -= 3;
	buf[n] = '\0';
	return buf;
}

/* ---- handing lines on -------------------------------------------------------------------------
 */

static const enum sink_kind kinds[] = { [CONF_LOG_JOURNAL] = SINK_JOURNAL,
					[CONF_LOG_INHERIT] = SINK_STDERR,
					[CONF_LOG_FILE] = SINK_FILE };

/* False: it cannot be taken now. */
static bool deliver(const struct worker *w, const char *line, size_t len)
{
	const struct pool *p = w->pool;
	struct sink_to to = { .worker = w->name,
			      .pool = p->is_run ? NULL : p->name,
			      .pid = w->pid };

	if (p->def->log == CONF_LOG_DISCARD)
		return true;
	to.kind = kinds[p->def->log];
	if (to.kind == SINK_FILE) {
		if (!p->user)
			return false;
		if (p->user == &no_file)
			return true;
		to.file = p->user;
	}
	return sink_line(&to, line, len);
}

/* Size of the first line of `text`, its newline included; 0: it is not whole. */
static size_t line_size(const char *text, size_t len, bool flush)
{
	size_t most = len < CREW_LOG_LINE_MAX ? len : CREW_LOG_LINE_MAX;
	const char *newline = memchr(text, '\n', most);

	if (newline)
		return (size_t)(newline - text) + 1;
	return flush || most == CREW_LOG_LINE_MAX ? most : 0;
}

/* Hands on whole lines, with `flush` also what is left. False: not all could be taken. */
static bool hand_on(const struct worker *w, bool flush)
{
	static char text[CREW_LOG_RING];
	struct head *h = &heads[w->slot];
	size_t n, done = 0, size;
	bool taken = true;

	if (h->written - h->handed > CREW_LOG_RING)
		h->handed = h->written - CREW_LOG_RING;
	n = h->written - h->handed;
	ring_get(w->slot, h->handed, text, n);
	while (taken && (size = line_size(text + done, n - done, flush))) {
		size_t len = size - (text[done + size - 1] == '\n');

		taken = deliver(w, text + done, len);
		if (taken)
			done += size;
	}
	h->handed += done;
	return taken;
}

/* ---- readers ----------------------------------------------------------------------------------
 */

static void drop_kept(const struct worker *w)
{
	if (kept[w->slot])
		close(kept[w->slot] - 1);
	kept[w->slot] = 0;
}

/* It has closed its output and goes on: the pipe is still what signals reach it by, see orphan.h. */
static void keep(struct reader *r)
{
	int own = r->worker->pid ? fcntl(r->fd, F_DUPFD_CLOEXEC, 3) : -1;

	drop_kept(r->worker);
	if (own >= 0)
		kept[r->worker->slot] = own + 1;
}

static void end_pipe(struct reader *r)
{
	if (r->fd < 0)
		return;
	loop_io_free(r->io);
	close(r->fd);
	r->io = NULL;
	r->fd = -1;
	r->early = false;
}

static void free_reader(struct reader *r)
{
	end_pipe(r);
	list_remove(&r->link);
	r->worker->user = NULL;
	free(r);
}

/* What cannot be handed on makes the worker wait: its pipe is not read, and fills. */
static void go_on(struct reader *r)
{
	bool ended = r->fd < 0;

	if (!hand_on(r->worker, ended)) {
		if (!list_linked(&r->link))
			list_append(&blocked, &r->link);
		if (!ended)
			loop_io_set(r->io, 0);
		return;
	}
	list_remove(&r->link);
	if (ended)
		free_reader(r);
	else
		loop_io_set(r->io, r->early ? 0 : LOOP_READ);
}

static void go_on_all(const struct pool *only)
{
	struct list due = LIST_INIT(due), *e;

	while ((e = list_pop(&blocked)))
		list_append(&due, e);
	while ((e = list_pop(&due))) {
		struct reader *r = list_entry(e, struct reader, link);

		if (only && r->worker->pool != only)
			list_append(&blocked, e);
		else
			go_on(r);
	}
}

static void on_drained(void)
{
	go_on_all(NULL);
}

/* One portion. True: there may be more. */
static bool read_some(struct reader *r)
{
	static char data[CREW_LOG_RING];
	ssize_t n = read(r->fd, data, sizeof(data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		keep(r);
		end_pipe(r);
		return false;
	}
	ring_put(r->worker->slot, data, (size_t)n);
	return true;
}

static void on_readable(int fd, unsigned events, void *arg)
{
	struct reader *r = arg;
	struct worker *w = r->worker;

	(void)fd;
	(void)events;
	read_some(r);
	go_on(r);
	if (observer)
		observer(w);
}

static void read_last(struct worker *w)
{
	struct reader *r = w->user;

	if (!r || r->fd < 0 || list_linked(&r->link))
		return;
	if (read_some(r))
		read_some(r); /* to see the end */
	go_on(r);
	if (observer)
		observer(w);
}

void output_ended(struct worker *w)
{
	output_begin(w);
	read_last(w);
	drop_kept(w);
}

static struct reader *reader_of(struct worker *w)
{
	struct reader *r = w->user;

	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->worker = w;
	r->fd = -1;
	w->user = r;
	return r;
}

/* The process before has ended; what it left in its pipe belongs before what the next one prints.
 * Others that it has started may still hold that pipe: nobody reads it any more. */
static void end_old_pipe(struct reader *r)
{
	if (r->fd < 0)
		return;
	read_some(r);
	end_pipe(r);
	hand_on(r->worker, true);
}

void output_attach(struct worker *w, int fd)
{
	struct reader *r = reader_of(w);

	if (r)
		end_old_pipe(r);
	drop_kept(w);
	if (r)
		r->io = loop_io_new(fd, LOOP_READ, on_readable, r);
	if (!r || !r->io) {
		log_error(w->name, "no memory to read what it prints");
		close(fd);
		return;
	}
	r->fd = fd;
	go_on(r);
}

void output_wait(struct worker *w)
{
	struct reader *r = w->user;

	if (!r || r->fd < 0)
		return;
	r->early = true;
	loop_io_set(r->io, 0);
}

void output_begin(struct worker *w)
{
	struct reader *r = w->user;

	if (!r || !r->early)
		return;
	r->early = false;
	go_on(r);
}

void output_catch_up(struct worker *w)
{
	struct reader *r = w->user;

	if (!r || r->fd < 0 || list_linked(&r->link))
		return;
	read_some(r);
	go_on(r);
}

void output_forget(struct worker *w)
{
	struct reader *r = w->user;

	if (r) {
		if (r->fd >= 0)
			read_some(r);
		hand_on(w, true);
		free_reader(r);
	}
	drop_kept(w);
	if (heads[w->slot].written)
		madvise(ring_of(w->slot), CREW_LOG_RING, MADV_REMOVE);
	heads[w->slot] = (struct head){ 0 };
}

int output_fd(const struct worker *w)
{
	const struct reader *r = w->user;

	return r ? r->fd : -1;
}

int output_owner(const struct worker *w)
{
	int fd = output_fd(w);

	return fd >= 0 ? fd : kept[w->slot] - 1;
}

void output_observe(void (*fn)(struct worker *w))
{
	observer = fn;
}

/* ---- files ------------------------------------------------------------------------------------
 */

void output_pool_gone(struct pool *p)
{
	if (p->user != &no_file)
		sink_file_unref(p->user);
	p->user = NULL;
}

static void *new_file(const struct pool *p, int fd, int err)
{
	const char *path = conf_text(p->conf, p->def->log_file);
	struct sink_file *f = NULL;

	if (fd >= 0) {
		f = sink_file_new(fd, path);
		err = ENOMEM;
	}
	if (f)
		return f;
	if (fd >= 0)
		close(fd);
	log_warning(p->name, "cannot open its log %s: %s; what its workers print is dropped there",
		    path ? path : "", strerror(err));
	return &no_file;
}

void output_pool_file(struct pool *p, int fd, int err)
{
	output_pool_gone(p);
	p->user = new_file(p, fd, err);
	go_on_all(p);
}
