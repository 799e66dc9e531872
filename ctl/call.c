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

void ctl_params_free(struct params_out *p)
{
	buf_free(&p->text);
}

/* ---- connection ------------------------------------------------------------------------------- */

static struct client *connect_quietly(const struct ctl *ctl, const char **path)
{
	*path = ctl->socket ? ctl->socket : client_default_socket();
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
	const char *error, *format; /* one %s: `name`, or the parameter that `key` names */
	const char *key;
} texts[] = {
	{ "io.crewd.Worker.NoSuchWorker", "no such worker: %s", "name" },
	{ "io.crewd.Pool.NoSuchPool", "no such pool: %s", "name" },
	{ "io.crewd.Worker.TimedOut", "the time given is over: %s", "name" },
	{ "io.crewd.Worker.Exists", "there is a worker or a pool of that name already: %s",
	  "name" },
	{ "io.crewd.Worker.StillAlive", "has not ended yet: %s", "name" },
	{ "io.crewd.Worker.NotAlive", "not alive: %s", "name" },
	{ "io.crewd.Worker.NoRunUser", "not permitted: the configuration names no run-user%s", "" },
	{ "io.crewd.Worker.TooMany", "crewd has no room for that many workers%s", "" },
	{ "io.crewd.Manager.Busy", "not now, try again later: %s", "why" },
	{ "io.crewd.Manager.ShuttingDown", "crewd is shutting down%s", "" },
	{ "org.varlink.service.PermissionDenied",
	  "not permitted: only root, crewd's own user and members of its socket-group may%s", "" },
};

/* Lines as `crewd -t` prints them. */
static void print_config_errors(const char *lines)
{
	ctl_error("the configuration has errors, nothing was changed:");
	fputs(lines ? lines : "", stderr);
}

static void print_error(const struct message_reply *reply)
{
	const char *name = json_get_string(reply->params, "name"),
		   *why = json_get_string(reply->params, "why"),
		   *parameter = json_get_string(reply->params, "parameter");

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		const char *value = json_get_string(reply->params, texts[i].key);

		if (strcmp(texts[i].error, reply->error) != 0)
			continue;
		fflush(stdout);
		fputs("crewctl: ", stderr);
		fprintf(stderr, texts[i].format, value ? value : "");
		fputc('\n', stderr);
		return;
	}
	if (strcmp(reply->error, "org.varlink.service.InvalidParameter") == 0 && parameter && why)
		ctl_error("%s must be %s", parameter, why);
	else if (strcmp(reply->error, "io.crewd.Worker.StartFailed") == 0 && name)
		ctl_error("%s could not be started: %s", name, why ? why : "unknown");
	else if (strcmp(reply->error, "io.crewd.Manager.BadConfig") == 0)
		print_config_errors(json_get_string(reply->params, "errors"));
	else
		print_plain_error(reply);
}

int ctl_receive(struct client *c, struct message_reply *reply)
{
	int code;

	if (client_receive(c, reply, INT64_MAX) < 0) {
		if (errno == EPIPE)
			return CTL_LOST;
		ctl_error("no right answer from the daemon: %s", strerror(errno));
		return CREW_EXIT_FAILED;
	}
	if (!reply->error)
		return 0;
	print_error(reply);
	code = crew_error_exit(reply->error);
	message_reply_free(reply);
	return code;
}

/* ---- whole calls ------------------------------------------------------------------------------ */

static int lost(void)
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
	return r == CTL_LOST ? lost() : r;
}

static int take_one(struct client *c, void *arg)
{
	return ctl_receive(c, arg);
}

int ctl_call(const struct ctl *ctl, const char *method, struct params_out *p, bool again,
	     struct message_reply *reply)
{
	struct attempt t = {
		.ctl = ctl, .method = method, .params = p, .take = take_one, .arg = reply
	};
	int r = try_for_a_while(&t, again);

	ctl_params_free(p);
	return r;
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
