/*
 * map: a task for each line of standard input. One loop over poll(2): lines are given to the daemon in chunks of
 * those that are there, each chunk a call on a connection of its own; results are printed in the order of lines.
 *
 * What is outstanding is bounded: lines are read only while there is room for another chunk. Replies are read only
 * while standard output takes what they become, so that a slow reader of it holds up the daemon and not memory.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctl/joblog.h"
#include "ctl/map_call.h"
#include "ctl/map_lines.h"
#include "ctl/map_order.h"
#include "ctl/pool.h"
#include "ctl/progress.h"
#include "ctl/task.h"
#include "ctl/verbs.h"

#define CALLS_MAX    64
#define WINDOW_LINES 16384
#define WINDOW_BYTES (8 * 1024 * 1024)
#define OUT_MARK     (256 * 1024)	/* to be printed: no more replies are read above it */
#define PARTS_MARK   (8 * 1024 * 1024)	/* replies that are not whole yet, of all calls */
#define OUT_MAX	     (64 * 1024 * 1024) /* more than all replies that one turn may bring */
#define FAILED_MAX   101
#define RETRY_GAP    50	  /* ms: the daemon had no room for another connection */
#define AT_ONCE	     4096 /* bytes that a pipe which is writable takes at once */

struct map {
	struct ctl *ctl;
	struct map_spec spec;
	enum task_bytes results;
	struct map_lines lines;
	struct map_order order;
	struct map_call *calls[CALLS_MAX];
	unsigned running, count; /* calls that wait for replies; that there are */
	uint64_t read, ended, failed;
	uint64_t unanswered;	    /* lines whose replies will not come */
	uint64_t sent_bytes, bytes; /* of lines: unanswered so far; ended, with their newlines */
	struct buf out, result;
	struct progress progress;
	FILE *joblog;
	bool clear_first;  /* standard output is a terminal too: the bar would be in its way */
	bool any_size;	   /* standard output is a file: it never blocks */
	bool again;	   /* no connection could be had just now */
	int code;	   /* not 0: no more lines are given out */
	const char *lost;  /* what became of the daemon, to be told at the end */
	bool stop, unread; /* at once; ... because nobody reads standard output any more */
};

static void fail(struct map *m, int code)
{
	if (!m->code)
		m->code = code;
}

/* Something of this side does not work: there is no use in going on. */
static void broken(struct map *m, const char *what)
{
	if (m->stop)
		return;
	progress_clear(&m->progress);
	ctl_error("%s: %s", what, strerror(errno));
	fail(m, CREW_EXIT_FAILED);
	m->stop = true;
}

/* ---- results ---------------------------------------------------------------------------------- */

static int put_json(struct map *m, uint64_t line, const struct json_t *task)
{
	char *text = task ? json_text(task) : NULL;
	struct json_writer w = json_writer(&m->result);

	jw_object(&w);
	jw_key(&w, "index");
	jw_int(&w, (int64_t)line);
	jw_key(&w, "task");
	jw_raw(&w, text ? text : "null", text ? strlen(text) : 4);
	jw_end_object(&w);
	free(text);
	return jw_ok(&w) ? 0 : -1;
}

/* Into m->result, ended by a newline. Returns bytes of the result itself, or -1. */
static ssize_t put_result(struct map *m, uint64_t line, const struct json_t *task, bool succeeded)
{
	ssize_t size;
	int r = 0;

	m->result.start = m->result.len = 0;
	if (m->ctl->json)
		r = put_json(m, line, task);
	else if (succeeded)
		r = task_result(task, m->results, &m->result);
	size = (ssize_t)m->result.len;
	if (r == 0 && (!size || buf_data(&m->result)[size - 1] != '\n'))
		r = buf_append(&m->result, "\n", 1);
	return r < 0 ? -1 : size;
}

/* A line has come to its end; `why` NULL: well. */
static void line_ended(struct map *m, uint64_t line, const struct json_t *task, const char *text,
		       size_t len, const char *why)
{
	ssize_t size = put_result(m, line, task, !why);
	int r = -1;

	if (size >= 0 && m->ctl->unordered)
		r = buf_append(&m->out, buf_data(&m->result), m->result.len);
	else if (size >= 0)
		r = map_order_put(&m->order, line, buf_data(&m->result), m->result.len);
	if (r < 0)
		broken(m, "cannot keep results");
	m->ended++;
	m->bytes += len + 1;
	if (m->joblog)
		joblog_write(m->joblog, line, task, text, len, size > 0 ? (size_t)size : 0);
	if (!why)
		return;
	m->failed++;
	progress_clear(&m->progress);
	ctl_error("line %llu: %s", (unsigned long long)line + 1, why);
}

static void on_answer(struct map_call *c, const struct map_reply *reply, void *arg)
{
	struct map *m = arg;
	char why[512];

	if (reply->error) {
		progress_clear(&m->progress);
		if (!m->code)
			fail(m, ctl_report(reply->error));
		return;
	}
	m->sent_bytes -= c->sizes[reply->index];
	line_ended(m, c->first + reply->index, reply->task, map_call_line(c, reply->index),
		   c->sizes[reply->index],
		   task_succeeded(reply->task) ? NULL : task_why(reply->task, why, sizeof(why)));
	if (!c->running)
		m->running--;
}

/* ---- lines ------------------------------------------------------------------------------------ */

static uint64_t outstanding(const struct map *m)
{
	return m->ctl->unordered ? m->read - m->ended - m->unanswered
				 : m->order.next - m->order.first;
}

static uint64_t outstanding_bytes(const struct map *m)
{
	return m->sent_bytes + m->order.held + m->order.filed;
}

/* There is room for a whole chunk: the window is not filled up in small pieces. */
static bool room(const struct map *m)
{
	return outstanding(m) + MAP_CHUNK_LINES <= WINDOW_LINES &&
	       outstanding_bytes(m) + MAP_CHUNK_BYTES <= WINDOW_BYTES && m->out.len < OUT_MARK;
}

static uint64_t line_begins(struct map *m)
{
	if (!m->ctl->unordered)
		map_order_expect(&m->order);
	return m->read++;
}

/* A line that can be no task. */
static void bad_line(struct map *m, const char *text, size_t len, const char *why)
{
	char copy[512];

	line_ended(m, line_begins(m), NULL, text, len, one_line(copy, sizeof(copy), why));
	map_lines_take(&m->lines, len);
}

/* One that waits for no reply, connected; NULL: none just now. */
static struct map_call *a_call(struct map *m)
{
	struct map_call *c = NULL;
	int code;

	for (unsigned i = 0; i < m->count && !c; i++)
		c = m->calls[i]->running ? NULL : m->calls[i];
	if (!c && m->count < CALLS_MAX) {
		c = map_call_new();
		if (!c)
			broken(m, "cannot call");
		else
			m->calls[m->count++] = c;
	}
	if (!c || c->fd >= 0)
		return c;
	c->fd = ctl_dial(m->ctl, &code);
	m->again = c->fd < 0;
	if (code)
		fail(m, code);
	return c->fd >= 0 ? c : NULL;
}

/* The call gets the lines that are there. A line that can be no task is told when it is the first. */
static void fill(struct map *m, struct map_call *c)
{
	enum map_put r = MAP_PUT;
	const char *text, *why;
	size_t len;

	map_call_begin(c, &m->spec, m->read);
	while (r == MAP_PUT && outstanding_bytes(m) < WINDOW_BYTES &&
	       map_lines_first(&m->lines, &text, &len) == MAP_LINE) {
		r = map_call_put(c, &m->spec, text, len, &why);
		if (r != MAP_PUT)
			break;
		line_begins(m);
		m->sent_bytes += len;
		map_lines_take(&m->lines, len);
	}
	if (map_call_end(c))
		m->running++;
	else if (c->count)
		broken(m, "cannot call");
	else if (r == MAP_BAD)
		bad_line(m, text, len, why);
}

/* One step of giving out what has been read. False: there is nothing to do, or no room. */
static bool give_out(struct map *m)
{
	struct map_call *c;
	const char *text;
	size_t len;
	enum map_line r;

	if (m->code || m->again || !room(m))
		return false;
	r = map_lines_first(&m->lines, &text, &len);
	if (r == MAP_LINE_LONG)
		bad_line(m, text, len, "is too long for a call");
	if (r != MAP_LINE)
		return r == MAP_LINE_LONG;
	c = a_call(m);
	if (c)
		fill(m, c);
	return c != NULL;
}

static bool wants_input(struct map *m)
{
	const char *text;
	size_t len;

	return !m->code && !m->lines.eof && room(m) && (m->running < CALLS_MAX) &&
	       map_lines_first(&m->lines, &text, &len) == MAP_LINE_NONE;
}

/* ---- the daemon ------------------------------------------------------------------------------- */

static void hang_up(struct map_call *c)
{
	close(c->fd);
	c->fd = -1;
	buf_free(&c->in);
	buf_free(&c->out);
	c->searched = 0;
}

/* What was not answered stays so; what other calls still bring is taken. A connection that nothing is waited for
 * on may end: another manager has taken over, and the next call goes to that one. */
static void call_failed(struct map *m, struct map_call *c, enum map_io why)
{
	hang_up(c);
	if (!c->running && why == MAP_LOST)
		return;
	if (why == MAP_LOST && !m->code)
		m->lost = "the daemon closed the connection";
	if (why == MAP_WRONG && !m->code)
		m->lost = "no right answer from the daemon";
	fail(m, why == MAP_LOST ? CREW_EXIT_NO_DAEMON : CREW_EXIT_FAILED);
	if (!c->running)
		return;
	for (unsigned i = 0; i < c->count; i++)
		if (!(c->seen[i / 8] >> i % 8 & 1))
			m->sent_bytes -= c->sizes[i];
	m->unanswered += c->count - c->answered;
	c->running = false;
	m->running--;
}

/* Replies are read while what they become can be put somewhere. Of many long ones that are not whole yet only
 * one at a time is read on. */
static bool may_read(const struct map *m, const struct map_call *c)
{
	const struct map_call *longest = c;
	size_t parts = 0;

	if (m->out.len >= OUT_MARK)
		return false;
	for (unsigned i = 0; i < m->count; i++) {
		parts += m->calls[i]->in.len;
		if (m->calls[i]->in.len > longest->in.len)
			longest = m->calls[i];
	}
	return parts <= PARTS_MARK || longest == c;
}

static void talk(struct map *m, struct map_call *c, short events)
{
	enum map_io r = MAP_OK;

	if (events & POLLOUT)
		r = map_call_write(c);
	/* What was said before it left counts. */
	if ((events & (POLLIN | POLLHUP | POLLERR)) && may_read(m, c))
		r = map_call_read(c, on_answer, m);
	if (r != MAP_OK)
		call_failed(m, c, r);
}

/* ---- standard output -------------------------------------------------------------------------- */

static void pump(struct map *m)
{
	int r = 1;

	while (!m->ctl->unordered && r == 1 && m->out.len < OUT_MARK)
		r = map_order_take(&m->order, &m->out);
	if (r < 0)
		broken(m, "cannot keep results");
}

static bool writable(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents == POLLOUT;
}

static void write_out(struct map *m)
{
	if (m->clear_first)
		progress_clear(&m->progress);
	do {
		size_t size = m->out.len < AT_ONCE || m->any_size ? m->out.len : AT_ONCE;
		ssize_t n = write(STDOUT_FILENO, buf_data(&m->out), size);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return;
		if (n < 0 && errno == EPIPE)
			m->unread = m->stop = true;
		else if (n < 0)
			broken(m, "cannot write to standard output");
		if (n < 0)
			return;
		buf_consume(&m->out, (size_t)n);
	} while (m->out.len && writable());
}

static void look_at_output(struct map *m, short events)
{
	if (events & POLLNVAL) {
		errno = EBADF;
		broken(m, "cannot write to standard output");
	} else if (events & POLLERR)
		m->unread = m->stop = true;
	else if (m->out.len && events)
		write_out(m);
}

/* ---- the loop --------------------------------------------------------------------------------- */

static void look_at_input(struct map *m, short events)
{
	if (events & POLLNVAL)
		errno = EBADF;
	if (events && (events & POLLNVAL || map_lines_read(&m->lines) < 0))
		broken(m, "cannot read standard input");
}

/* -1 where there is nothing to wait for: else a peer that left would be told of again and again. */
static struct pollfd of_call(const struct map *m, const struct map_call *c)
{
	struct pollfd p = { .fd = c->fd };

	if (c->out.len)
		p.events |= POLLOUT;
	if (may_read(m, c))
		p.events |= POLLIN;
	if (!p.events)
		p.fd = -1;
	return p;
}

static void wait_and_act(struct map *m)
{
	struct pollfd p[2 + CALLS_MAX];
	unsigned count = m->count;
	int wait = progress_wait(&m->progress);

	if (m->again && (wait < 0 || wait > RETRY_GAP))
		wait = RETRY_GAP;
	m->again = false;
	p[0] = (struct pollfd){ .fd = wants_input(m) ? STDIN_FILENO : -1, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = STDOUT_FILENO, .events = m->out.len ? POLLOUT : 0 };
	for (unsigned i = 0; i < count; i++)
		p[2 + i] = of_call(m, m->calls[i]);
	if (poll(p, 2 + count, wait) < 0)
		return;
	look_at_output(m, p[1].revents);
	for (unsigned i = 0; i < count && !m->stop; i++)
		if (p[2 + i].revents)
			talk(m, m->calls[i], p[2 + i].revents);
	if (!m->stop)
		look_at_input(m, p[0].revents);
}

static bool finished(struct map *m)
{
	const char *text;
	size_t len;

	if (m->stop)
		return true;
	if (m->running || m->out.len)
		return false;
	return m->code || map_lines_first(&m->lines, &text, &len) == MAP_LINE_END;
}

static void run(struct map *m)
{
	for (;;) {
		while (give_out(m))
			;
		pump(m);
		if (m->joblog && joblog_flush(m->joblog) < 0)
			broken(m, "cannot write the joblog");
		if (finished(m))
			return;
		progress_draw(&m->progress,
			      &(struct progress_now){ .done = m->ended,
						      .failed = m->failed,
						      .bytes = m->bytes + m->lines.skipped });
		wait_and_act(m);
	}
}

/* ---- begin and end ---------------------------------------------------------------------------- */

/* Connections close by themselves, and so the daemon takes back what waits. */
static void on_signal(int signal)
{
	progress_clear_in_handler();
	raise(signal); /* its default is set again, and it is not blocked */
}

static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_NODEFER },
			 was;

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (sigaction(signals[i], NULL, &was) == 0 && was.sa_handler == SIG_DFL)
			sigaction(signals[i], &act, NULL);
}

/* What the tasks of the pool are decides how lines become tasks, and results lines. */
static int ask_for_pool(struct map *m)
{
	const char *pool = m->ctl->args[0], *tasks;
	struct message_reply pools;
	int r = pools_get(m->ctl, &pools);
	bool jsonrpc;

	if (r)
		return r;
	tasks = pools_tasks(&pools, pool);
	jsonrpc = tasks && strcmp(tasks, "jsonrpc") == 0;
	m->results = jsonrpc ? TASK_VALUE : TASK_BYTES;
	if (!tasks) {
		ctl_error("no such pool with tasks: %s", pool);
		r = CREW_EXIT_NO_SUCH;
	} else if (jsonrpc && !m->ctl->method && !m->ctl->json_lines)
		r = ctl_usage(m->ctl, "the tasks of %s are jsonrpc: --method M is missing", pool);
	else if (!jsonrpc && m->ctl->method)
		r = ctl_usage(m->ctl, "the tasks of %s are %s: --method is for jsonrpc", pool,
			      tasks);
	message_reply_free(&pools);
	return r;
}

static int prepare(struct map *m)
{
	struct ctl *ctl = m->ctl;
	int r;

	if (ctl->progress && ctl->no_progress)
		return ctl_usage(ctl, "--progress and --no-progress do not go together");
	r = ask_for_pool(m);
	if (r)
		return r;
	m->spec = (struct map_spec){ .pool = ctl->args[0],
				     .method = ctl->method,
				     .json = ctl->json_lines,
				     .keep = ctl->joblog != NULL };
	m->out.max = m->result.max = OUT_MAX;
	map_lines_init(&m->lines, STDIN_FILENO);
	progress_init(&m->progress, ctl->progress || (!ctl->no_progress && isatty(STDERR_FILENO)),
		      STDIN_FILENO);
	m->clear_first = m->progress.on && isatty(STDOUT_FILENO);
	m->any_size = lseek(STDOUT_FILENO, 0, SEEK_CUR) >= 0;
	if (ctl->joblog && !(m->joblog = joblog_open(ctl->joblog))) {
		ctl_error("--joblog %s: %s", ctl->joblog, strerror(errno));
		return CREW_EXIT_FAILED;
	}
	if (map_order_init(&m->order, WINDOW_LINES, WINDOW_BYTES) == 0)
		return 0;
	ctl_error("no memory");
	return CREW_EXIT_FAILED;
}

static void tell_unanswered(const struct map *m)
{
	char what[128] = "";
	const char *lost = m->lost ? m->lost : "";

	if (m->unanswered)
		snprintf(what, sizeof(what), "%s%llu task%s not answered", m->lost ? "; " : "",
			 (unsigned long long)m->unanswered, m->unanswered == 1 ? " was" : "s were");
	if (m->unread || (!m->lost && !m->unanswered))
		return;
	if (m->ctl->unordered)
		ctl_error("%s%s", lost, what);
	else
		ctl_error("%s%s; the output ends with line %llu", lost, what,
			  (unsigned long long)m->order.first);
}

static int end(struct map *m)
{
	progress_clear(&m->progress);
	if (m->joblog && (joblog_flush(m->joblog) < 0) + (fclose(m->joblog) != 0))
		broken(m, "cannot write the joblog");
	tell_unanswered(m);
	for (unsigned i = 0; i < m->count; i++)
		map_call_free(m->calls[i]);
	map_order_free(&m->order);
	map_lines_free(&m->lines);
	buf_free(&m->out);
	buf_free(&m->result);
	if (m->unread) {
		raise(SIGPIPE);
		return 128 + SIGPIPE;
	}
	if (m->code)
		return m->code;
	return m->failed < FAILED_MAX ? (int)m->failed : FAILED_MAX;
}

int ctl_map(struct ctl *ctl)
{
	struct map m = { .ctl = ctl, .order.file = -1 };
	int r = prepare(&m);

	if (r) {
		if (m.joblog)
			fclose(m.joblog);
		return r;
	}
	catch_signals();
	run(&m);
	return end(&m);
}
