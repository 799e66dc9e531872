/* io.crewd.Worker.List. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "daemon/crew.h"
#include "daemon/rpc_manager.h"
#include "daemon/rpc_worker.h"
#include "lib/clock.h"

#define ROWS_A_REPLY 256
#define NAMES_MAX    4096

struct listing {
	struct rpc_targets targets;
	unsigned next;
};

static void drop_listing(struct rpc_call *call)
{
	struct listing *l = call->state;

	if (l)
		rpc_targets_free(&l->targets);
	free(l);
}

/* ---- a row ------------------------------------------------------------------------------------
 */

/* Resident memory of a process in bytes, -1: not known. */
static int64_t memory_of(pid_t pid)
{
	char path[32], text[128];
	long long pages = -1;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%*s %lld", &pages) != 1)
		return -1;
	return pages * sysconf(_SC_PAGESIZE);
}

static void int_or_null(struct json_writer *json, const char *key, bool known, int64_t value)
{
	jw_key(json, key);
	if (known)
		jw_int(json, value);
	else
		jw_null(json);
}

static void seconds_or_null(struct json_writer *json, const char *key, bool known, double seconds)
{
	jw_key(json, key);
	if (known)
		jw_double(json, seconds);
	else
		jw_null(json);
}

static void write_times(struct json_writer *json, const struct worker *w)
{
	int64_t age = clock_now() - w->started;
	bool alive = w->pid != 0;

	seconds_or_null(json, "started", w->started != 0, rpc_wall_time(w->started));
	seconds_or_null(json, "uptime", alive && w->started != 0, (double)age / USEC_PER_SEC);
}

static void write_row(struct json_writer *json, const struct worker *w)
{
	int64_t memory = w->pid ? memory_of(w->pid) : -1;
	char why[512];

	jw_object(json);
	jw_key(json, "name");
	jw_string(json, w->name);
	jw_key(json, "pool");
	jw_string(json, w->pool->is_run ? NULL : w->pool->name);
	jw_key(json, "state");
	jw_string(json, worker_state_name(w->state));
	jw_key(json, "alive");
	jw_bool(json, worker_is_alive(w));
	int_or_null(json, "pid", w->pid != 0, w->pid);
	rpc_write_end(json, w->has_end, &w->end);
	jw_key(json, "restarts");
	jw_int(json, w->restarts);
	write_times(json, w);
	int_or_null(json, "memory", memory >= 0, memory);
	jw_key(json, "why");
	jw_string(json, rpc_why(w, why, sizeof(why)));
	jw_end_object(json);
}

/* ---- the answer, in parts with `more` ---------------------------------------------------------
 */

static void write_rows(struct rpc_call *call, struct listing *l, unsigned until)
{
	struct json_writer *json = rpc_reply(call);

	jw_object(json);
	jw_key(json, "workers");
	jw_array(json);
	for (; l->next < until && jw_ok(json); l->next++) {
		const struct worker *w = rpc_target(l->targets.at[l->next]);

		if (w)
			write_row(json, w);
	}
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, until < l->targets.count);
}

static void resume(struct rpc_call *call)
{
	struct listing *l = call->state;
	unsigned left = l->targets.count - l->next;

	if (rpc_is_congested(call))
		return;
	write_rows(call, l, l->next + (left < ROWS_A_REPLY ? left : ROWS_A_REPLY));
	if (!call->done)
		rpc_park(call, RPC_KEY_NEXT, resume);
}

static bool find_all(struct rpc_call *call, struct listing *l, const char **names, unsigned count)
{
	if (!names)
		return rpc_targets_add_all(&l->targets, call);
	for (unsigned i = 0; i < count; i++)
		if (!rpc_targets_add(&l->targets, call, names[i]))
			return false;
	return true;
}

static void begin(struct rpc_call *call, const char **names, unsigned count)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l) {
		rpc_no_memory(call);
		return;
	}
	call->state = l;
	call->drop = drop_listing;
	if (!find_all(call, l, names, count))
		return;
	if (call->message.more)
		resume(call);
	else
		write_rows(call, l, l->targets.count);
}

void rpc_worker_list(struct rpc_call *call)
{
	const char **names = NULL;
	unsigned count = 0;

	params_strings(&call->params, "names", false, NAMES_MAX, &names, &count);
	if (rpc_params_done(call))
		begin(call, names, count);
	free(names);
}
