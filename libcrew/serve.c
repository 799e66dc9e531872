/* A worker that stays: tasks in on standard input, a line each, answers out on standard output. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libcrew/answers.h"
#include "libcrew/api.h"
#include "libcrew/task.h"

#define READ_SIZE (64 * 1024)

struct serve {
	crew_task_fn fn;
	void *arg;
	int in, out; /* what standard input and output were */
	struct buf lines;
	size_t searched;
	bool skipping; /* the rest of a line that is too long */
	int64_t beat;  /* microseconds between two words to the watchdog; 0: there is none */
	int64_t next;  /* when it is due */
	struct crew_task task;
};

/* ---- the watchdog ----------------------------------------------------------------------------- */

static void begin_watchdog(struct serve *s)
{
	double interval;

	if (crew_watchdog_enabled(&interval) != 1)
		return;
	s->beat = (int64_t)(interval * USEC_PER_SEC / 2);
	s->beat = s->beat ? s->beat : 1;
	s->next = clock_now() + s->beat;
}

static void watch(struct serve *s)
{
	int64_t now = s->beat ? clock_now() : 0;

	if (!s->beat || now < s->next)
		return;
	crew_watchdog();
	s->next = now + s->beat;
}

/* Until there is something to read; the watchdog hears meanwhile. */
static void wait_for_input(struct serve *s)
{
	struct pollfd p = { .fd = s->in, .events = POLLIN };
	int r;

	do {
		int64_t left = s->beat ? s->next - clock_now() : -1;

		if (s->beat && left < 0)
			left = 0;
		r = poll(&p, 1,
			 left < 0		      ? -1
			 : left > 3600 * USEC_PER_SEC ? 3600000
						      : (int)(left / 1000 + 1));
		watch(s);
	} while (r == 0 || (r < 0 && errno == EINTR));
}

/* ---- tasks ------------------------------------------------------------------------------------ */

static int serve_line(struct serve *s, char *line, size_t len, bool more)
{
	struct crew_task *t = &s->task;
	int code;

	t->more = more;
	if (task_take(t, line, len))
		s->fn(t, s->arg);
	if (!t->answered && !t->failed)
		crew_fail(t, TASK_NO_ANSWER, "its function gave no answer");
	code = t->lost ? t->lost : t->failed ? CREW_FAILED : 0;
	task_let_go(t);
	watch(s);
	return code;
}

/* One that is too long: with jsonrpc there is an answer to that. */
static int too_long(struct serve *s)
{
	struct crew_task *t = &s->task;
	int code;

	if (!t->json)
		return CREW_TOO_BIG;
	t->more = false;
	crew_fail(t, TASK_NO_REQUEST, "the request is longer than 1 MiB");
	code = t->lost;
	task_let_go(t);
	return code;
}

/* Of a line that has not ended yet. */
static int look_at_rest(struct serve *s)
{
	int code = 0;

	s->searched = s->lines.len;
	if (s->lines.len <= TASK_LINE_MAX)
		return 0;
	if (!s->skipping)
		code = too_long(s);
	s->skipping = true;
	buf_consume(&s->lines, s->lines.len);
	s->searched = 0;
	return code;
}

static int serve_lines(struct serve *s)
{
	int code = 0;

	while (code == 0 && s->lines.len) {
		char *begin = s->lines.data + s->lines.start, *stop = begin + s->lines.len, *end;

		end = memchr(begin + s->searched, '\n', s->lines.len - s->searched);
		if (!end)
			return look_at_rest(s);
		*end = '\0';
		if (!s->skipping && end - begin > TASK_LINE_MAX)
			code = too_long(s);
		else if (!s->skipping)
			code = serve_line(s, begin, (size_t)(end - begin),
					  memchr(end + 1, '\n', (size_t)(stop - end - 1)) != NULL);
		s->skipping = false;
		s->searched = 0;
		buf_consume(&s->lines, (size_t)(end - begin) + 1);
	}
	return code;
}

/* 0; CREW_END: there will be no more. */
static int read_some(struct serve *s)
{
	char *room = buf_room(&s->lines, READ_SIZE);
	ssize_t n;

	if (!room)
		return CREW_SYSTEM;
	if (s->beat)
		wait_for_input(s);
	n = read(s->in, room, READ_SIZE);
	if (n < 0 && errno == EAGAIN && !s->beat)
		wait_for_input(s);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : CREW_SYSTEM;
	if (n == 0)
		return s->lines.len || s->skipping ? CREW_LOST : CREW_END;
	s->lines.len += (size_t)n;
	return 0;
}

static int work(struct serve *s)
{
	int code;

	do {
		code = read_some(s);
		if (code == 0)
			code = serve_lines(s);
		if (code == 0)
			code = answers_flush();
	} while (code == 0);
	return code;
}

/* ---- standard input and output ------------------------------------------------------------------ */

/* What a task's function, or what it starts, reads and prints must not get between. */
static int take_descriptors(struct serve *s)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	bool ok;

	fflush(stdout);
	s->in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	s->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	ok = null >= 0 && s->in >= 0 && s->out >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
	     dup2(STDERR_FILENO, STDOUT_FILENO) >= 0;
	if (null > STDERR_FILENO)
		close(null);
	return ok ? 0 : CREW_SYSTEM;
}

static void give_descriptors_back(struct serve *s)
{
	int error = errno;

	fflush(stdout);
	if (s->in >= 0) {
		dup2(s->in, STDIN_FILENO);
		close(s->in);
	}
	if (s->out >= 0) {
		dup2(s->out, STDOUT_FILENO);
		close(s->out);
	}
	errno = error;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static void say_why(int code)
{
	switch (code) {
	case CREW_TOO_BIG:
		task_say("a line is longer than 1 MiB", NULL);
		break;
	case CREW_LOST:
		task_say("the input ended within a line, or nobody reads the answers", NULL);
		break;
	case CREW_SYSTEM:
		task_say("cannot go on with tasks", strerror(errno));
		break;
	default: /* a task that failed has been spoken of */
		break;
	}
}

static int serve(struct serve *s)
{
	int code = answers_begin(s->out), last;

	if (code)
		return code;
	begin_watchdog(s);
	crew_ready();
	code = work(s);
	last = answers_end();
	return code == CREW_END ? last : code;
}

int crew_serve(crew_task_fn fn, void *arg)
{
	const char *kind = getenv("CREW_TASKS");
	struct serve s = { .fn = fn, .arg = arg, .lines.max = TASK_LINE_MAX + 2 * READ_SIZE };
	int code;

	s.task.json = kind && strcmp(kind, "jsonrpc") == 0;
	if (!fn || !kind || (!s.task.json && strcmp(kind, "lines") != 0)) {
		task_say("CREW_TASKS is neither lines nor jsonrpc: this is for the workers of a "
			 "pool with such tasks",
			 NULL);
		return CREW_INVALID;
	}
	code = take_descriptors(&s);
	if (code == 0)
		code = serve(&s);
	say_why(code);
	give_descriptors_back(&s);
	buf_free(&s.lines);
	buf_free(&s.task.answer);
	return code;
}
