#include "daemon/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "daemon/loop.h"

#define PORTION	   65536
#define OUT_MAX	   (4u * 1024 * 1024)
#define READS_TURN 4

struct channel {
	int in, out;
	struct loop_io *io_in, *io_out;
	const struct channel_events *events;
	void *arg;
	struct buf requests;
	uint64_t written;
	bool deaf;   /* it does not read any more */
	bool *freed; /* set while events are told: the channel may go meanwhile */
	struct loop_task send;
};

static void on_send(void *arg);
static void on_readable(int fd, unsigned events, void *arg);
static void on_writable(int fd, unsigned events, void *arg);

struct channel *channel_new(int in, int out, const struct channel_events *events, void *arg)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (!c)
		goto fail;
	*c = (struct channel){ .in = in, .out = out, .events = events, .arg = arg };
	c->requests.max = OUT_MAX;
	c->send.fn = on_send;
	c->send.arg = c;
	if (in >= 0)
		c->io_in = loop_io_new(in, 0, on_writable, c);
	c->io_out = loop_io_new(out, LOOP_READ, on_readable, c);
	if ((in < 0 || c->io_in) && c->io_out)
		return c;
	loop_io_free(c->io_in);
	loop_io_free(c->io_out);
	free(c);
fail:
	if (in >= 0)
		close(in);
	close(out);
	errno = ENOMEM;
	return NULL;
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	loop_undefer(&c->send);
	loop_io_free(c->io_in);
	loop_io_free(c->io_out);
	if (c->in >= 0)
		close(c->in);
	close(c->out);
	buf_free(&c->requests);
	free(c);
}

void channel_close_input(struct channel *c)
{
	loop_io_free(c->io_in);
	if (c->in >= 0)
		close(c->in);
	c->io_in = NULL;
	c->in = -1;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

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

size_t channel_waiting(const struct channel *c)
{
	return c->requests.len;
}

uint64_t channel_read_by_worker(const struct channel *c)
{
	int left = 0;

	if (c->in < 0 || ioctl(c->in, FIONREAD, &left) < 0 || left < 0)
		left = 0;
	return c->written - (uint64_t)left;
}

static void tell_closed(struct channel *c)
{
	if (c->io_in)
		loop_io_set(c->io_in, 0);
	loop_io_set(c->io_out, 0);
	c->events->closed(c->arg);
}

static void on_send(void *arg)
{
	struct channel *c = arg;
	ssize_t n;

	if (c->deaf || c->in < 0 || !c->requests.len)
		return;
	c->events->writing(c->arg);
	n = write(c->in, buf_data(&c->requests), c->requests.len);
	if (n > 0) {
		c->written += (uint64_t)n;
		buf_consume(&c->requests, (size_t)n);
	}
	c->deaf = n < 0 && errno != EAGAIN && errno != EINTR;
	loop_io_set(c->io_in, c->requests.len && !c->deaf ? LOOP_WRITE : 0);
	c->events->written(c->arg);
	if (c->deaf)
		tell_closed(c);
}

static void on_writable(int fd, unsigned events, void *arg)
{
	(void)fd;
	(void)events;
	on_send(arg);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

/* One portion. What read(2) returned; the channel may be gone after it, then *freed is set. */
static ssize_t read_some(struct channel *c, size_t most, bool *freed)
{
	static char data[PORTION];
	ssize_t n = read(c->out, data, most < sizeof(data) ? most : sizeof(data));

	if (n > 0) {
		c->freed = freed;
		c->events->data(c->arg, data, (size_t)n);
		if (!*freed)
			c->freed = NULL;
	}
	return n;
}

static void on_readable(int fd, unsigned events, void *arg)
{
	struct channel *c = arg;
	bool freed = false;
	ssize_t n = 0;

	(void)fd;
	(void)events;
	for (int i = 0; i < READS_TURN; i++) {
		n = read_some(c, PORTION, &freed);
		if (freed)
			return;
		if (n < PORTION)
			break;
	}
	c->freed = &freed;
	c->events->told(c->arg);
	if (freed)
		return;
	c->freed = NULL;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		tell_closed(c);
}

/* No more than there is now: others may hold its end, and go on writing for ever. */
void channel_drain(struct channel *c)
{
	bool freed = false;
	int left = 0;

	if (ioctl(c->out, FIONREAD, &left) < 0)
		return;
	while (left > 0) {
		ssize_t n = read_some(c, (size_t)left, &freed);

		if (freed || n <= 0)
			return;
		left -= (int)n;
	}
}
