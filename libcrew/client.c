/* A client of the daemon, in public: lib/client.h with codes, JSON as text, and a connection that comes back. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/client.h"
#include "libcrew/api.h"

enum stream {
	STREAM_NONE,
	STREAM_OPEN, /* more may come */
	STREAM_OVER, /* the last one has been fetched, which has not been said yet */
};

struct crew_client {
	char path[CLIENT_PATH_MAX];
	struct client *link; /* NULL: not connected */
	pid_t owner;
	enum stream stream;
	char *error, *params; /* of the last reply, when it was an error */
};

/* ---- connections ------------------------------------------------------------------------------ */

struct crew_client *client_prepare(const char *path)
{
	struct crew_client *c = calloc(1, sizeof(*c));
	char space[CLIENT_PATH_MAX];

	if (!c)
		return NULL;
	c->owner = getpid();
	if (!path)
		path = client_default_path(space);
	if (path && strlen(path) < sizeof(c->path))
		strcpy(c->path, path);
	return c;
}

static void drop(struct crew_client *c)
{
	client_close(c->link);
	c->link = NULL;
}

static void forget_error(struct crew_client *c)
{
	free(c->error);
	free(c->params);
	c->error = c->params = NULL;
}

/* Nothing can come while nothing is asked for: it is the end. */
static bool is_stale(const struct client *link)
{
	struct pollfd p = { .fd = client_fd(link), .events = POLLIN };

	return poll(&p, 1, 0) != 0;
}

static int connected(struct crew_client *c, int64_t deadline)
{
	if (c->link && is_stale(c->link))
		drop(c);
	if (c->link)
		return 0;
	if (!c->path[0])
		return CREW_NO_DAEMON;
	c->link = client_connect_until(c->path, deadline);
	return c->link ? 0 : api_code();
}

int crew_connect(struct crew_client **client, const char *path, double timeout)
{
	struct crew_client *c;
	int64_t deadline;
	int code = api_deadline(timeout, &deadline);

	*client = NULL;
	if (code == 0 && path && (!*path || strlen(path) >= sizeof(c->path)))
		code = CREW_INVALID;
	if (code)
		return code;
	c = client_prepare(path);
	if (!c)
		return CREW_SYSTEM;
	code = connected(c, deadline);
	if (code == 0)
		*client = c;
	else
		crew_client_close(c);
	return code;
}

void crew_client_close(struct crew_client *c)
{
	int error = errno;

	if (!c)
		return;
	drop(c);
	forget_error(c);
	free(c);
	errno = error;
}

/* ---- calls ------------------------------------------------------------------------------------ */

int client_begin(struct crew_client *c, const char *method, const char *params, size_t len,
		 unsigned flags, int64_t deadline)
{
	int code;

	if (c->owner != getpid())
		return CREW_FORKED;
	forget_error(c);
	code = connected(c, deadline);
	if (code)
		return code;
	if (client_send_until(c->link, method, params, len, flags, deadline) == 0)
		return 0;
	code = api_code();
	drop(c); /* a part of the call may be on its way */
	return code;
}

/* After CREW_TIMEOUT the connection is still good, and its reply may come. */
int client_wait(struct crew_client *c, struct message_reply *reply, int64_t deadline)
{
	int r, code;

	if (c->owner != getpid())
		return CREW_FORKED;
	do
		r = client_receive(c->link, reply, deadline);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	code = api_code();
	if (code != CREW_TIMEOUT)
		drop(c);
	return code;
}

int client_handed(struct crew_client *c)
{
	return c->link ? client_take_fd(c->link) : -1;
}

/* The parameters as they came: no number passes through a tree. */
static char *params_text(const struct message_reply *reply)
{
	struct json_slice params;
	char *text;

	if (!reply->params || !json_slice_member(reply->text, "parameters", &params))
		return api_copy("{}", 2);
	text = malloc(params.len + 1);
	if (text)
		text[json_slice_compact(params, text)] = '\0';
	return text;
}

/* Frees the reply. */
static int take(struct crew_client *c, struct message_reply *reply, char **text)
{
	int code = 0;

	if (reply->error) {
		code = CREW_REFUSED;
		c->error = api_copy(reply->error, strlen(reply->error));
		c->params = params_text(reply);
	} else if (text) {
		*text = params_text(reply);
	}
	if (code ? !c->error || !c->params : text && !*text) {
		forget_error(c);
		errno = ENOMEM;
		code = CREW_SYSTEM;
	}
	message_reply_free(reply);
	return code;
}

static bool is_method(const char *s)
{
	size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");

	return len && !s[len] && strchr(s, '.');
}

static int check(const struct crew_client *c, const char *method, const char *params)
{
	const char *why;
	size_t len = params ? strlen(params) : 0;

	if (c->owner != getpid())
		return CREW_FORKED;
	if (c->stream == STREAM_OPEN || !is_method(method))
		return CREW_INVALID;
	if (len > CREW_MESSAGE_MAX)
		return CREW_TOO_BIG;
	if (params &&
	    (params[strspn(params, " \t\r\n")] != '{' || !json_valid(params, len, 1, &why)))
		return CREW_INVALID;
	return 0;
}

static int begin(struct crew_client *c, const char *method, const char *params, unsigned flags,
		 int64_t deadline)
{
	int code = check(c, method, params);

	if (code)
		return code;
	c->stream = STREAM_NONE;
	return client_begin(c, method, params, params ? strlen(params) : 0, flags, deadline);
}

int crew_call(struct crew_client *c, const char *method, const char *params, double timeout,
	      char **reply)
{
	struct message_reply r;
	int64_t deadline;
	int code = api_deadline(timeout, &deadline);

	if (reply)
		*reply = NULL;
	if (code == 0)
		code = begin(c, method, params, 0, deadline);
	if (code)
		return code;
	code = client_wait(c, &r, deadline);
	if (code == CREW_TIMEOUT)
		drop(c); /* its reply would be taken for the next call's */
	return code ? code : take(c, &r, reply);
}

const char *crew_client_error(const struct crew_client *c)
{
	return c->error;
}

const char *crew_client_error_params(const struct crew_client *c)
{
	return c->params;
}

/* ---- streams ---------------------------------------------------------------------------------- */

int crew_stream(struct crew_client *c, const char *method, const char *params, double timeout)
{
	int64_t deadline;
	int code = api_deadline(timeout, &deadline);

	if (code == 0)
		code = begin(c, method, params, MESSAGE_MORE, deadline);
	if (code == 0)
		c->stream = STREAM_OPEN;
	return code;
}

int crew_next(struct crew_client *c, double timeout, char **reply)
{
	struct message_reply r;
	int64_t deadline;
	int code = api_deadline(timeout, &deadline);
	bool last;

	if (reply)
		*reply = NULL;
	if (code || c->stream == STREAM_NONE)
		return CREW_INVALID;
	if (c->stream == STREAM_OVER) {
		c->stream = STREAM_NONE;
		return CREW_END;
	}
	code = client_wait(c, &r, deadline);
	if (code == CREW_TIMEOUT || code == CREW_FORKED)
		return code;
	last = code == 0 && !r.continues;
	if (code == 0)
		code = take(c, &r, reply);
	if (code) {
		if (!last)
			drop(c);
		c->stream = STREAM_NONE;
	} else if (last) {
		c->stream = STREAM_OVER;
	}
	return code;
}

void crew_stream_end(struct crew_client *c)
{
	if (c->stream == STREAM_OPEN && c->owner == getpid())
		drop(c);
	c->stream = STREAM_NONE;
}

int crew_client_fd(const struct crew_client *c)
{
	return c->stream == STREAM_OPEN && c->link ? client_fd(c->link) : CREW_INVALID;
}
