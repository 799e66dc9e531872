#include "ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctl/verbs.h"
#include "lib/bounds.h"
#include "lib/clock.h"

#define RETRY_FOR (5 * USEC_PER_SEC)
#define RETRY_GAP 50000 /* us */

void ctl_error(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("crewctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

int ctl_usage(const struct ctl *ctl, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (ctl->verb)
		ctl_error("%s: %s; usage: crewctl %s %s", ctl->verb->name, text, ctl->verb->name,
			  ctl->verb->usage);
	else
		ctl_error("%s; crewctl --help lists what is right", text);
	return CREW_EXIT_USAGE;
}

int ctl_finish(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	ctl_error("cannot write to standard output: %s", strerror(errno));
	return CREW_EXIT_FAILED;
}

void ctl_params(struct params_out *p)
{
	*p = (struct params_out){ .text.max = CREW_MESSAGE_MAX };
	p->json = json_writer(&p->text);
	jw_object(&p->json);
}

void ctl_param_string(struct params_out *p, const char *key, const char *value)
{
	if (!value)
		return;
	jw_key(&p->json, key);
	jw_string(&p->json, value);
}

void ctl_param_bool(struct params_out *p, const char *key, bool value)
{
	if (!value)
		return;
	jw_key(&p->json, key);
	jw_bool(&p->json, true);
}

void ctl_param_deadline(struct params_out *p, int64_t deadline)
{
	int64_t left = deadline - clock_now();

	if (deadline == INT64_MAX)
		return;
	jw_key(&p->json, "timeout");
	jw_double(&p->json, left > 0 ? (double)left / USEC_PER_SEC : 0);
}

void ctl_params_free(struct params_out *p)
{
	buf_free(&p->text);
}

/* ---- connection ------------------------------------------------------------------------------- */

static const char *socket_path(const struct ctl *ctl)
{
	return ctl->socket ? ctl->socket : client_default_socket();
}

static struct client *connect_quietly(const struct ctl *ctl, const char **path)
{
	*path = socket_path(ctl);
	if (!*path) {
		*path = "XDG_RUNTIME_DIR is not set; use -s SOCKET";
		errno = ENOENT;
		return NULL;
	}
	return client_connect(*path);
}

static int connect_failed(const char *path)
{
	if (errno == EACCES || errno == EPERM) {
		ctl_error("not permitted to connect to %s", path);
		return CREW_EXIT_NOT_PERMITTED;
	}
	ctl_error("no daemon answers at %s: %s", path, strerror(errno));
	return CREW_EXIT_NO_DAEMON;
}

struct client *ctl_connect(const struct ctl *ctl, int *exit)
{
	const char *path;
	struct client *c = connect_quietly(ctl, &path);

	if (!c)
		*exit = connect_failed(path);
	return c;
}

int ctl_dial(const struct ctl *ctl, int *exit)
{
	const char *path = socket_path(ctl);
	int fd = -1;

	errno = ENOENT;
	if (path)
		fd = client_dial(path, true);
	*exit = fd >= 0 || errno == EAGAIN ? 0 : connect_failed(path ? path : "?");
	return fd;
}

int ctl_send(struct client *c, const char *method, struct params_out *p, unsigned flags)
{
	if (!p->ended)
		jw_end_object(&p->json);
	p->ended = true;
	errno = EMSGSIZE;
	if (jw_ok(&p->json) && client_send(c, method, buf_data(&p->text), p->text.len, flags) == 0)
		return 0;
	if (errno == EPIPE || errno == ECONNRESET)
		return CTL_LOST;
	if (errno == EMSGSIZE) {
		ctl_error("too long: a call may have %d bytes", CREW_MESSAGE_MAX);
		return CREW_EXIT_FAILED;
	}
	ctl_error("cannot call %s: %s", method, strerror(errno));
	return CREW_EXIT_FAILED;
}

/* ---- errors ----------------------------------------------------------------------------------- */

/* Name without its interface, and its string parameters, are all there is to say. */
static void print_plain_error(const struct message_reply *reply)
{
	const char *dot = strrchr(reply->error, '.');
	char *params = reply->params ? json_text(reply->params) : NULL;

	ctl_error("%s%s%s", dot ? dot + 1 : reply->error, params ? ": " : "", params ? params : "");
	free(params);
}

static const struct {
	const char *error, *format; /* one %s: the first of `keys` that is there */
	const char *keys[2];
	bool why; /* `why` is worth telling */
} texts[] = {
	{ .error = "io.crewd.Worker.NoSuchWorker",
	  .format = "no such worker: %s",
	  .keys = { "name" } },
	{ .error = "io.crewd.Worker.TimedOut",
	  .format = "the time given is over: %s",
	  .keys = { "name" } },
	{ .error = "io.crewd.Worker.StartFailed",
	  .format = "%s could not be started",
	  .keys = { "name" },
	  .why = true },
	{ .error = "io.crewd.Worker.Exists",
	  .format = "there is a worker or a pool of that name already: %s",
	  .keys = { "name" } },
	{ .error = "io.crewd.Worker.StillAlive",
	  .format = "has not ended yet: %s",
	  .keys = { "name" } },
	{ .error = "io.crewd.Worker.NotAlive", .format = "not alive: %s", .keys = { "name" } },
	{ .error = "io.crewd.Worker.NoRunUser",
	  .format = "not permitted: the configuration names no run-user%s" },
	{ .error = "io.crewd.Worker.TooMany",
	  .format = "crewd has no room for that many workers%s" },
	{ .error = "io.crewd.Pool.NoSuchPool",
	  .format = "no such pool: %s",
	  .keys = { "name" },
	  .why = true },
	{ .error = "io.crewd.Pool.NoSuchTask", .format = "no such task: %s", .keys = { "id" } },
	{ .error = "io.crewd.Pool.Full",
	  .format = "%s takes no task now, try again later",
	  .keys = { "pool" },
	  .why = true },
	{ .error = "io.crewd.Pool.Closed",
	  .format = "%s takes no tasks",
	  .keys = { "pool" },
	  .why = true },
	{ .error = "io.crewd.Pool.StillRunning",
	  .format = "%s is open: close or terminate it first",
	  .keys = { "pool" } },
	{ .error = "io.crewd.Pool.TimedOut",
	  .format = "the time given is over: %s",
	  .keys = { "id", "pool" } },
	{ .error = "io.crewd.Pool.WorkerDied",
	  .format = "%s: its worker died",
	  .keys = { "id" },
	  .why = true },
	{ .error = "io.crewd.Pool.TooBig", .format = "task %s", .keys = { "id" }, .why = true },
	{ .error = "io.crewd.Pool.BadAnswer", .format = "task %s", .keys = { "id" }, .why = true },
	{ .error = "io.crewd.Pool.Lost",
	  .format = "%s was accepted by a manager that is no more; nobody knows what became of it",
	  .keys = { "id" } },
	{ .error = "io.crewd.Queue.NoSuchQueue",
	  .format = "no such queue: %s",
	  .keys = { "name" },
	  .why = true },
	{ .error = "io.crewd.Queue.Full",
	  .format = "%s is full, try again later",
	  .keys = { "name" },
	  .why = true },
	{ .error = "io.crewd.Queue.Empty",
	  .format = "%s is empty, try again later",
	  .keys = { "name" } },
	{ .error = "io.crewd.Queue.Exists",
	  .format = "there is a queue of that name already: %s",
	  .keys = { "name" } },
	{ .error = "io.crewd.Queue.WrongKind",
	  .format = "a queue of kind %s cannot do that",
	  .keys = { "kind" },
	  .why = true },
	{ .error = "io.crewd.Queue.TimedOut",
	  .format = "the time given is over: %s",
	  .keys = { "name" } },
	{ .error = "io.crewd.Queue.TooManyDone",
	  .format = "%s: more items were said to be done than were put",
	  .keys = { "name" } },
	{ .error = "io.crewd.Queue.BackendUnavailable",
	  .format = "%s cannot be reached, try again later",
	  .keys = { "name" },
	  .why = true },
	{ .error = "io.crewd.Manager.Busy",
	  .format = "not now, try again later: %s",
	  .keys = { "why" } },
	{ .error = "io.crewd.Manager.ShuttingDown", .format = "crewd is shutting down%s" },
	{ .error = "org.varlink.service.PermissionDenied",
	  .format = "not permitted: only root, crewd's own user and members of its socket-group "
		    "may%s" },
};

/* Lines as `crewd -t` prints them. */
static void print_config_errors(const char *lines)
{
	ctl_error("the configuration has errors, nothing was changed:");
	fputs(lines ? lines : "", stderr);
}

static const char *first_of(const struct json_t *params, const char *const keys[2])
{
	const char *value = keys[0] ? json_get_string(params, keys[0]) : NULL;

	if (!value && keys[1])
		value = json_get_string(params, keys[1]);
	return value ? value : "";
}

static bool print_known_error(const struct message_reply *reply)
{
	const char *why = json_get_string(reply->params, "why");

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (strcmp(texts[i].error, reply->error) != 0)
			continue;
		fflush(stdout);
		fputs("crewctl: ", stderr);
		fprintf(stderr, texts[i].format, first_of(reply->params, texts[i].keys));
		if (texts[i].why && why && *why)
			fprintf(stderr, ": %s", why);
		fputc('\n', stderr);
		return true;
	}
	return false;
}

int ctl_report(const struct message_reply *reply)
{
	const char *why = json_get_string(reply->params, "why"),
		   *parameter = json_get_string(reply->params, "parameter");

	if (strcmp(reply->error, "org.varlink.service.InvalidParameter") == 0 && parameter && why)
		ctl_error("%s must be %s", parameter, why);
	else if (strcmp(reply->error, "io.crewd.Manager.BadConfig") == 0)
		print_config_errors(json_get_string(reply->params, "errors"));
	else if (!print_known_error(reply))
		print_plain_error(reply);
	return crew_error_exit(reply->error);
}

static int receive_any(struct client *c, struct message_reply *reply)
{
	if (client_receive(c, reply, INT64_MAX) == 0)
		return 0;
	if (errno == EPIPE)
		return CTL_LOST;
	ctl_error("no right answer from the daemon: %s", strerror(errno));
	return CREW_EXIT_FAILED;
}

int ctl_receive(struct client *c, struct message_reply *reply)
{
	int code = receive_any(c, reply);

	if (code || !reply->error)
		return code;
	code = ctl_report(reply);
	message_reply_free(reply);
	return code;
}

/* ---- whole calls ------------------------------------------------------------------------------ */

int ctl_lost(void)
{
	ctl_error("the daemon closed the connection");
	return CREW_EXIT_NO_DAEMON;
}

/* One try: connects, sends, and lets `take` have what comes. CTL_LOST when the connection ended. */
struct attempt {
	const struct ctl *ctl;
	const char *method;
	struct params_out *params;
	unsigned flags;
	int (*take)(struct client *c, void *arg);
	void *arg;
};

static int try_once(const struct attempt *t, bool quiet)
{
	const char *path;
	struct client *c = connect_quietly(t->ctl, &path);
	int r;

	if (!c)
		return quiet ? CTL_LOST : connect_failed(path);
	r = ctl_send(c, t->method, t->params, t->flags);
	if (r == 0)
		r = t->take(c, t->arg);
	client_close(c);
	return r;
}

/* A query asks again while a manager is being replaced; nobody need notice. */
static int try_for_a_while(const struct attempt *t, bool again)
{
	int r = try_once(t, false);
	int64_t until = clock_now() + RETRY_FOR;

	while (r == CTL_LOST && again && clock_now() < until) {
		usleep(RETRY_GAP);
		r = try_once(t, true);
	}
	return r == CTL_LOST ? ctl_lost() : r;
}

static int take_one(struct client *c, void *arg)
{
	return ctl_receive(c, arg);
}

static int take_any(struct client *c, void *arg)
{
	return receive_any(c, arg);
}

static int call_once(const struct ctl *ctl, const char *method, struct params_out *p, bool again,
		     int (*take)(struct client *, void *), struct message_reply *reply)
{
	struct attempt t = {
		.ctl = ctl, .method = method, .params = p, .take = take, .arg = reply
	};
	int r = try_for_a_while(&t, again);

	ctl_params_free(p);
	return r;
}

int ctl_call(const struct ctl *ctl, const char *method, struct params_out *p, bool again,
	     struct message_reply *reply)
{
	return call_once(ctl, method, p, again, take_one, reply);
}

int ctl_call_any(const struct ctl *ctl, const char *method, struct params_out *p, bool again,
		 struct message_reply *reply)
{
	return call_once(ctl, method, p, again, take_any, reply);
}

int ctl_do(const struct ctl *ctl, const char *method, struct params_out *p)
{
	struct message_reply reply;
	int r = ctl_call(ctl, method, p, false, &reply);

	if (r == 0)
		message_reply_free(&reply);
	return r;
}

struct stream {
	const struct ctl *ctl;
	bool (*each)(const struct ctl *ctl, struct json_t *params, void *arg);
	void *arg;
};

static int take_all(struct client *c, void *arg)
{
	const struct stream *s = arg;
	struct message_reply reply;
	bool go_on = true;
	int r;

	while (go_on && (r = ctl_receive(c, &reply)) == 0) {
		go_on = s->each(s->ctl, reply.params, s->arg) && reply.continues;
		message_reply_free(&reply);
	}
	return go_on ? r : 0;
}

int ctl_stream(const struct ctl *ctl, const char *method, struct params_out *p, bool again,
	       bool (*each)(const struct ctl *ctl, struct json_t *params, void *arg), void *arg)
{
	struct stream s = { .ctl = ctl, .each = each, .arg = arg };
	struct attempt t = { .ctl = ctl,
			     .method = method,
			     .params = p,
			     .flags = MESSAGE_MORE,
			     .take = take_all,
			     .arg = &s };
	int r = try_for_a_while(&t, again);

	ctl_params_free(p);
	return r;
}

void ctl_print_json(const struct json_t *value)
{
	char *text = json_text(value);

	puts(text ? text : "null");
	free(text);
}
