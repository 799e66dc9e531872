#include "tests/unit/fake_channel.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/loop.h"
#include "tests/unit/fake.h"

struct channel {
	const struct channel_events *events;
	void *arg;
	struct buf requests, sent;
	uint64_t written, read;
	size_t room;
	bool reads_all, input_closed;
	char *left; /* in the pipe, owned */
	struct loop_task send;
	bool *freed;
};

unsigned fake_channels;

static void on_send(void *arg)
{
	struct channel *c = arg;
	size_t n = c->requests.len < c->room ? c->requests.len : c->room;

	if (!c->requests.len || c->input_closed)
		return;
	c->events->writing(c->arg);
	if (n && buf_append(&c->sent, buf_data(&c->requests), n) < 0)
		abort();
	c->written += n;
	c->room -= n;
	buf_consume(&c->requests, n);
	c->events->written(c->arg);
}

struct channel *channel_new(int in, int out, const struct channel_events *events, void *arg)
{
	struct channel *c = calloc(1, sizeof(*c));

	(void)in;
	(void)out;
	if (!c)
		abort();
	c->events = events;
	c->arg = arg;
	c->requests.max = c->sent.max = 64 * 1024 * 1024;
	c->room = SIZE_MAX;
	c->send.fn = on_send;
	c->send.arg = c;
	fake_channels++;
	return c;
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	loop_undefer(&c->send);
	buf_free(&c->requests);
	buf_free(&c->sent);
	free(c->left);
	free(c);
	fake_channels--;
}

struct buf *channel_out(struct channel *c)
{
	return &c->requests;
}

void channel_send(struct channel *c)
{
	loop_defer(&c->send);
}

uint64_t channel_written(const struct channel *c)
{
	return c->written;
}

uint64_t channel_read_by_worker(const struct channel *c)
{
	return c->reads_all ? c->written : c->read;
}

size_t channel_waiting(const struct channel *c)
{
	return c->requests.len;
}

void channel_close_input(struct channel *c)
{
	c->input_closed = true;
}

/* False: the channel is gone. */
static bool tell(struct channel *c, const char *data, size_t len)
{
	bool freed = false;

	c->freed = &freed;
	c->events->data(c->arg, data, len);
	if (!freed)
		c->freed = NULL;
	return !freed;
}

void channel_drain(struct channel *c)
{
	char *left = c->left;

	c->left = NULL;
	if (left)
		tell(c, left, strlen(left));
	free(left);
}

/* ---- what the test says -----------------------------------------------------------------------
 */

const char *fake_sent(struct channel *c)
{
	if (buf_append(&c->sent, "", 1) < 0)
		abort();
	c->sent.len--;
	return buf_data(&c->sent);
}

void fake_room(struct channel *c, size_t bytes)
{
	c->room = bytes;
	if (c->requests.len)
		on_send(c);
	fake_turn();
}

void fake_has_read(struct channel *c, size_t bytes)
{
	c->read = bytes;
	c->reads_all = false;
}

void fake_has_read_all(struct channel *c)
{
	c->reads_all = true;
}

bool fake_input_closed(const struct channel *c)
{
	return c->input_closed;
}

void fake_says_more(struct channel *c, const char *data, size_t len)
{
	/* Exactly so long, so that reading over the end is noticed. */
	char *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	memcpy(copy, data, len);
	tell(c, copy, len);
	free(copy);
}

void fake_says_bytes(struct channel *c, const char *data, size_t len)
{
	char *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	memcpy(copy, data, len);
	if (tell(c, copy, len))
		c->events->told(c->arg);
	free(copy);
	fake_turn();
}

void fake_says(struct channel *c, const char *text)
{
	fake_says_bytes(c, text, strlen(text));
}

void fake_leaves_in_pipe(struct channel *c, const char *text)
{
	free(c->left);
	c->left = strdup(text);
}

void fake_closes(struct channel *c)
{
	c->events->closed(c->arg);
	fake_turn();
}
