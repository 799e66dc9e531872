#include "ctl/map_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "ctl/ctl.h"
#include "ctl/task.h"
#include "lib/bounds.h"
#include "lib/text.h"

#define READ_SIZE 65536
#define TAIL	  64 /* bytes that end a call: `]},"more":true}` */

struct map_call *map_call_new(void)
{
	struct map_call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = -1;
	c->in.max = CREW_OUTPUT_MAX + READ_SIZE;
	c->out.max = CREW_MESSAGE_MAX + 1;
	c->lines.max = CREW_MESSAGE_MAX;
	return c;
}

void map_call_free(struct map_call *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->lines);
	free(c);
}

/* ---- the call --------------------------------------------------------------------------------- */

void map_call_begin(struct map_call *c, const struct map_spec *spec, uint64_t first)
{
	c->first = first;
	c->count = c->answered = 0;
	memset(c->seen, 0, sizeof(c->seen));
	buf_free(&c->lines);
	c->json = json_writer(&c->out);
	jw_object(&c->json);
	jw_key(&c->json, "method");
	jw_string(&c->json, "io.crewd.Pool.Map");
	jw_key(&c->json, "more");
	jw_bool(&c->json, true);
	jw_key(&c->json, "parameters");
	jw_object(&c->json);
	jw_key(&c->json, "pool");
	jw_string(&c->json, spec->pool);
	jw_key(&c->json, "tasks");
	jw_array(&c->json);
}

static void put_with_method(struct json_writer *w, const struct map_spec *spec, const char *text,
			    size_t len, bool raw)
{
	jw_object(w);
	jw_key(w, "method");
	jw_string(w, spec->method);
	jw_key(w, "args");
	if (!raw)
		jw_array(w);
	if (raw)
		jw_raw(w, text, len);
	else
		jw_string_n(w, text, len);
	if (!raw)
		jw_end_array(w);
	jw_end_object(w);
}

static bool is_blank(const char *text, size_t len)
{
	return strspn(text, " \t\r") >= len;
}

/* An object: `method` is put in front of what it has, unless it has one. */
static void put_object(struct json_writer *w, const struct map_spec *spec, const char *text,
		       size_t len, bool has_method)
{
	const char *open = memchr(text, '{', len), *close = memrchr(text, '}', len);

	if (!spec->method || has_method) {
		jw_raw(w, text, len);
		return;
	}
	jw_object(w);
	jw_key(w, "method");
	jw_string(w, spec->method);
	if (!is_blank(open + 1, (size_t)(close - open - 1)))
		jw_raw(w, open + 1, (size_t)(close - open - 1));
	jw_end_object(w);
}

static const char *put_json(struct json_writer *w, const struct map_spec *spec, const char *text,
			    size_t len)
{
	const char *why = NULL;
	struct json_t *value = json_read(text, len, TASK_NESTING, &why);
	char kind = value ? json_kind(value) : 0;

	if (kind == '{')
		put_object(w, spec, text, len, json_get(value, "method") != NULL);
	else if (kind == '[' && spec->method)
		put_with_method(w, spec, text, len, true);
	else if (kind == '[')
		jw_raw(w, text, len);
	else if (value)
		why = "neither a JSON array nor an object";
	json_free(value);
	return kind == '{' || kind == '[' ? NULL : why;
}

static const char *put_line(struct json_writer *w, const struct map_spec *spec, const char *text,
			    size_t len)
{
	if (spec->json)
		return put_json(w, spec, text, len);
	if (len && !text_utf8_ok(text, len))
		return memchr(text, 0, len) ? "has a NUL byte" : "is not UTF-8";
	if (spec->method)
		put_with_method(w, spec, text, len, false);
	else
		jw_string_n(w, text, len);
	return NULL;
}

enum map_put map_call_put(struct map_call *c, const struct map_spec *spec, const char *text,
			  size_t len, const char **why)
{
	struct json_writer before = c->json;
	size_t mark = c->out.len;

	if (c->count == MAP_CHUNK_LINES || (c->count && c->out.len + len > MAP_CHUNK_BYTES))
		return MAP_FULL;
	*why = put_line(&c->json, spec, text, len);
	if (!*why && jw_ok(&c->json) && c->out.len + TAIL <= c->out.max &&
	    (!spec->keep || buf_append(&c->lines, text, len) == 0)) {
		c->starts[c->count] = (uint32_t)(c->lines.len - (spec->keep ? len : 0));
		c->sizes[c->count++] = (uint32_t)len;
		return MAP_PUT;
	}
	c->json = before;
	c->out.len = mark;
	if (*why)
		return MAP_BAD;
	*why = "is too long for a call";
	return c->count ? MAP_FULL : MAP_BAD;
}

bool map_call_end(struct map_call *c)
{
	jw_end_array(&c->json);
	jw_end_object(&c->json);
	jw_end_object(&c->json);
	if (c->count && jw_ok(&c->json) && buf_append(&c->out, "", 1) == 0) {
		c->running = true;
		return true;
	}
	buf_free(&c->out);
	return false;
}

const char *map_call_line(const struct map_call *c, unsigned index)
{
	return c->lines.len ? buf_data(&c->lines) + c->starts[index] : "";
}

/* ---- talking ---------------------------------------------------------------------------------- */

enum map_io map_call_write(struct map_call *c)
{
	ssize_t n;

	if (!c->out.len)
		return MAP_OK;
	n = send(c->fd, buf_data(&c->out), c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? MAP_OK : MAP_LOST;
	buf_consume(&c->out, (size_t)n);
	return MAP_OK;
}

static enum map_io take_reply(struct map_call *c, const struct message_reply *reply,
			      map_answer *answer, void *arg)
{
	struct map_reply r = { .task = json_get(reply->params, "task") };
	int64_t index;

	if (!json_get_int(reply->params, "index", &index) || json_kind(r.task) != '{' ||
	    index < 0 || index >= c->count || c->seen[index / 8] >> index % 8 & 1)
		return MAP_WRONG;
	/* The last reply is the one that does not continue. */
	if (reply->continues != (c->answered + 1 < c->count))
		return MAP_WRONG;
	c->seen[index / 8] |= (unsigned char)(1 << index % 8);
	c->answered++;
	c->running = c->answered < c->count;
	r.index = (unsigned)index;
	answer(c, &r, arg);
	return MAP_OK;
}

static enum map_io take_frame(struct map_call *c, size_t len, map_answer *answer, void *arg)
{
	struct message_reply reply;
	enum map_io r;
	const char *why;

	if (!c->running || message_read_reply(buf_data(&c->in), len, &reply, &why) < 0)
		return MAP_WRONG;
	if (reply.error) {
		answer(c, &(struct map_reply){ .error = &reply }, arg);
		r = MAP_ERROR;
	} else
		r = take_reply(c, &reply, answer, arg);
	message_reply_free(&reply);
	return r;
}

static enum map_io take_frames(struct map_call *c, map_answer *answer, void *arg)
{
	enum map_io r = MAP_OK;

	while (r == MAP_OK && c->searched < c->in.len) {
		const char *data = buf_data(&c->in);
		const char *end = memchr(data + c->searched, '\0', c->in.len - c->searched);

		c->searched = c->in.len;
		if (!end)
			break;
		r = take_frame(c, (size_t)(end - data), answer, arg);
		buf_consume(&c->in, (size_t)(end - data) + 1);
		c->searched = 0;
	}
	return r;
}

enum map_io map_call_read(struct map_call *c, map_answer *answer, void *arg)
{
	char *room = buf_room(&c->in, READ_SIZE);
	ssize_t n;

	if (!room)
		return MAP_WRONG;
	n = recv(c->fd, room, READ_SIZE, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return MAP_OK;
	if (n <= 0)
		return MAP_LOST;
	c->in.len += (size_t)n;
	return take_frames(c, answer, arg);
}
