/* io.crewd.Worker.Logs. */
#include <stdlib.h>
#include <string.h>
#include "daemon/crew.h"
#include "daemon/output.h"
#include "daemon/rpc_worker.h"
#include "lib/bounds.h"

#define LINES_MAX 1000000
#define A_REPLY	  (128 * 1024) /* a part of a stream ends when it has taken in so much */

struct position {
	struct rpc_target target;
	uint64_t at;   /* printed before this: has been sent */
	uint64_t seen; /* printed before this: has been looked at, and may be no whole line yet */
};

struct logs {
	unsigned count, next;
	bool begun;
	struct position of[];
};

/* ---- lines ------------------------------------------------------------------------------------
 */

static void write_line(struct json_writer *json, const char *prefix, const char *line, size_t len)
{
	static char space[CREW_NAME_MAX + 2 + CREW_LOG_RING];
	size_t start = 0;

	if (prefix) {
		start = strlen(prefix);
		memcpy(space, prefix, start);
		memcpy(space + start, ": ", 2);
		start += 2;
	}
	for (size_t i = 0; i < len; i++) /* NUL is not for JSON strings: as what is no UTF-8 */
		space[start + i] = line[i] ? line[i] : '\xff';
	jw_string_n(json, space, start + len);
}

/* Length of the first line in `text` without its newline; *taken also counts that. 0 taken: it is
 * not whole yet. */
static size_t line_in(const char *text, size_t len, bool whole, size_t *taken)
{
	const char *newline = memchr(text, '\n', len);

	if (newline) {
		*taken = (size_t)(newline - text) + 1;
		return *taken - 1;
	}
	*taken = whole ? len : 0;
	return len;
}

/* A worker's new lines; what is not a whole line yet waits, unless nothing more can come, or it is
 * longer than any line. */
static size_t write_worker(struct json_writer *json, struct position *p, const struct worker *w,
			   bool follow, bool prefix)
{
	static char text[CREW_LOG_RING];
	uint64_t end = p->at;
	size_t n = output_read(w, &end, text, sizeof(text)), done = 0, taken;
	bool whole = !follow || output_fd(w) < 0;

	p->at = end - n;
	p->seen = end;
	while (done < n) {
		bool cut = whole || n - done >= CREW_LOG_LINE_MAX;
		size_t len = line_in(text + done, n - done, cut, &taken);

		if (!taken)
			break;
		write_line(json, prefix ? w->name : NULL, text + done, len);
		done += taken;
	}
	p->at += done;
	return done;
}

/* ---- one reply, or a stream -------------------------------------------------------------------
 */

static bool has_news(const struct logs *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		const struct worker *w = rpc_target(l->of[i].target);
		uint64_t first, end;

		if (!w)
			continue;
		output_range(w, &first, &end);
		if (end > l->of[i].seen || (end > l->of[i].at && output_fd(w) < 0))
			return true;
	}
	return false;
}

static bool all_gone(const struct logs *l)
{
	for (unsigned i = 0; i < l->count; i++)
		if (rpc_target(l->of[i].target))
			return false;
	return true;
}

/* Takes workers in turn, so that one that floods does not hide the others. True: all were seen. */
static bool write_lines(struct rpc_call *call, struct logs *l, bool follow)
{
	struct json_writer *json = rpc_reply(call);
	size_t size = 0;
	unsigned seen = 0;

	jw_object(json);
	jw_key(json, "lines");
	jw_array(json);
	for (; seen < l->count && jw_ok(json) && (!follow || size < A_REPLY); seen++) {
		struct position *p = &l->of[l->next];
		const struct worker *w = rpc_target(p->target);

		l->next = (l->next + 1) % l->count;
		if (w)
			size += write_worker(json, p, w, follow, l->count > 1);
	}
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, follow && (seen < l->count || !all_gone(l)));
	return seen == l->count;
}

static void resume(struct rpc_call *call)
{
	struct logs *l = call->state;

	if (rpc_is_congested(call))
		return;
	if (l->begun && !has_news(l) && !all_gone(l)) {
		rpc_park(call, RPC_KEY_OUTPUT, resume);
		return;
	}
	l->begun = true;
	if (!write_lines(call, l, true) && !call->done)
		rpc_park(call, RPC_KEY_NEXT, resume);
	else if (!call->done)
		rpc_park(call, RPC_KEY_OUTPUT, resume);
}

static void on_output(struct worker *w)
{
	(void)w;
	rpc_happened(RPC_KEY_OUTPUT);
}

static struct logs *logs_new(const struct rpc_targets *t, bool limited, unsigned lines)
{
	struct logs *l = calloc(1, sizeof(*l) + t->count * sizeof(l->of[0]));

	if (!l)
		return NULL;
	for (unsigned i = 0; i < t->count; i++) {
		const struct worker *w = rpc_target(t->at[i]);

		l->of[i].target = t->at[i];
		if (w && limited)
			l->of[i].at = output_last_lines(w, lines);
	}
	l->count = t->count;
	return l;
}

static void begin(struct rpc_call *call, const char *name, bool limited, unsigned lines)
{
	struct rpc_targets t = { 0 };
	struct logs *l = NULL;

	if (rpc_targets_add(&t, call, name)) {
		call->state = l = logs_new(&t, limited, lines);
		if (!l)
			rpc_no_memory(call);
	}
	rpc_targets_free(&t);
	if (!l)
		return;
	if (!call->message.more) {
		write_lines(call, l, false);
		return;
	}
	output_observe(on_output);
	resume(call);
}

void rpc_worker_logs(struct rpc_call *call)
{
	const char *name = NULL;
	int64_t lines = 0;
	bool limited;

	params_string(&call->params, "name", true, &name);
	limited = params_int(&call->params, "lines", false, 0, LINES_MAX, &lines);
	if (rpc_params_done(call))
		begin(call, name, limited, (unsigned)lines);
}
