#include "ctl/ring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/shared_queue.h"

#define LOOK_EACH    (USEC_PER_SEC / 4)
#define TRY_EACH     50000		/* us */
#define WITHOUT_MOST (5 * USEC_PER_SEC) /* no daemon for so long: there will be none */

struct ring {
	const struct ctl *ctl;
	const char *name;
	struct client *client; /* NULL: the manager is being replaced */
	struct shared_queue *queue;
	int64_t lost; /* since when */
	bool leaving;
	/* what is to be done */
	const void *put;
	void *got;
	size_t len;
};

/* ---- attached --------------------------------------------------------------------------------- */

static void let_go(struct ring *r)
{
	client_close(r->client);
	shared_queue_detach(r->queue);
	r->client = NULL;
	r->queue = NULL;
}

static int use(struct ring *r, struct client *c, const struct message_reply *reply)
{
	int fd = client_take_fd(c);
	struct shared_queue *queue = fd < 0 ? NULL : shared_queue_attach(fd);

	if (!queue)
		ctl_error("%s: cannot attach to its memory: %s", r->name,
			  fd < 0 ? "it did not come along" : strerror(errno));
	if (fd >= 0)
		close(fd);
	if (!queue)
		return CREW_EXIT_FAILED;
	let_go(r);
	r->client = c;
	r->queue = queue;
	json_get_bool(reply->params, "leaving", &r->leaving);
	return 0;
}

static int ask(struct ring *r, struct client *c)
{
	struct message_reply reply;
	struct params_out p;
	int code;

	ctl_params(&p);
	ctl_param_string(&p, "name", r->name);
	code = ctl_send(c, "io.crewd.Queue.Attach", &p, MESSAGE_MORE);
	ctl_params_free(&p);
	if (code == 0)
		code = ctl_receive(c, &reply);
	if (code)
		return code;
	code = use(r, c, &reply);
	message_reply_free(&reply);
	return code;
}

/* CTL_LOST: not yet. */
static int attach_again(struct ring *r)
{
	int code = CTL_LOST;
	struct client *c = ctl_connect_quietly(r->ctl);

	if (c)
		code = ask(r, c);
	if (c && code)
		client_close(c);
	if (code == CTL_LOST && clock_now() - r->lost > WITHOUT_MOST)
		return ctl_lost();
	return code;
}

static int attach(struct ring *r)
{
	int code;

	r->lost = clock_now();
	while ((code = attach_again(r)) == CTL_LOST)
		usleep(TRY_EACH);
	return code;
}

/* ---- now and then: is it still there? --------------------------------------------------------- */

/* 0: nothing new, go on. */
static int look(struct ring *r)
{
	struct pollfd p = { .events = POLLIN };
	struct message_reply reply;
	int code;

	if (!r->client) {
		code = attach_again(r);
		return code == CTL_LOST ? 0 : code;
	}
	p.fd = client_fd(r->client);
	if (poll(&p, 1, 0) != 1)
		return 0;
	code = ctl_receive(r->client, &reply);
	if (code == 0)
		message_reply_free(&reply);
	if (code != CTL_LOST)
		return code;
	client_close(r->client);
	r->client = NULL;
	r->lost = clock_now();
	return 0;
}

/* Does it, waiting if it must. 0; or an exit code, `late` when the time is over. */
static int act(struct ring *r, int (*once)(struct ring *r, int64_t timeout), int64_t deadline,
	       int late)
{
	for (;;) {
		int64_t left = deadline == INT64_MAX ? LOOK_EACH : deadline - clock_now();
		int code;

		if (once(r, left < 0 ? 0 : left < LOOK_EACH ? left : LOOK_EACH) == 0)
			return 0;
		if (errno == EINTR || errno == EAGAIN) {
			if (left <= 0)
				return late;
		} else if (errno != ENOTRECOVERABLE) {
			ctl_error("%s: %s", r->name,
				  errno == EPROTO ? "somebody has written over its memory"
				  : errno == EMSGSIZE
					  ? "the item is longer than the queue's max-bytes"
					  : strerror(errno));
			return errno == EMSGSIZE ? CREW_EXIT_USAGE : CREW_EXIT_FAILED;
		}
		code = look(r);
		if (code)
			return code;
	}
}

static int run(struct ring *r, int (*once)(struct ring *r, int64_t timeout), int64_t deadline,
	       int late)
{
	int code = act(r, once, deadline, late);

	let_go(r);
	return code;
}

/* ---- put, get, join --------------------------------------------------------------------------- */

static int put(struct ring *r, int64_t timeout)
{
	return shared_queue_put(r->queue, r->put, r->len, timeout);
}

static int get(struct ring *r, int64_t timeout)
{
	return shared_queue_get_alloc(r->queue, &r->got, &r->len, timeout);
}

static int join(struct ring *r, int64_t timeout)
{
	return shared_queue_join(r->queue, timeout);
}

int ring_put(const struct ctl *ctl, const char *name, const char *text, size_t len,
	     int64_t deadline)
{
	struct ring r = { .ctl = ctl, .name = name, .put = text, .len = len };
	int code = attach(&r);

	if (code == 0 && r.leaving) {
		ctl_error("no such queue: %s: it was removed from the configuration, and takes no "
			  "more "
			  "until it is gone",
			  name);
		code = CREW_EXIT_NO_SUCH;
		let_go(&r);
	} else if (code == 0) {
		code = run(&r, put, deadline, CREW_EXIT_TRY_LATER);
		if (code == CREW_EXIT_TRY_LATER)
			ctl_error("%s is full, try again later", name);
	}
	return code;
}

int ring_get(const struct ctl *ctl, const char *name, void **item, size_t *len, int64_t deadline)
{
	struct ring r = { .ctl = ctl, .name = name };
	int code = attach(&r);

	if (code == 0)
		code = run(&r, get, deadline, CREW_EXIT_TRY_LATER);
	if (code == CREW_EXIT_TRY_LATER)
		ctl_error("%s is empty, try again later", name);
	*item = r.got;
	*len = r.len;
	return code;
}

int ring_join(const struct ctl *ctl, const char *name, int64_t deadline)
{
	struct ring r = { .ctl = ctl, .name = name };
	int code = attach(&r);

	if (code == 0)
		code = run(&r, join, deadline, CREW_EXIT_TIME_OVER);
	if (code == CREW_EXIT_TIME_OVER)
		ctl_error("the time given is over: %s", name);
	return code;
}
