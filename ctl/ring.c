#include "ctl/ring.h"

#include <errno.h>
#include <string.h>
#include "lib/clock.h"
#include "libcrew/crew.h"

/* The exit code, after an error message. `late`: what it says when the time is over. */
static int report(const char *name, int code, const char *late)
{
	switch (code) {
	case CREW_FULL:
	case CREW_EMPTY:
		ctl_error("%s is %s, try again later", name, late);
		return CREW_EXIT_TRY_LATER;
	case CREW_TIMEOUT:
		ctl_error("the time given is over: %s", name);
		return CREW_EXIT_TIME_OVER;
	case CREW_NO_SUCH:
		ctl_error("no such queue: %s", name);
		return CREW_EXIT_NO_SUCH;
	case CREW_DENIED:
		ctl_error("not permitted: only root, crewd's own user and members of its "
			  "socket-group may");
		return CREW_EXIT_NOT_PERMITTED;
	case CREW_NO_DAEMON:
	case CREW_LOST:
		return ctl_lost();
	case CREW_TOO_BIG:
		ctl_error("%s: the item is longer than the queue's max-bytes", name);
		return CREW_EXIT_USAGE;
	case CREW_BUSY:
		ctl_error("%s: not now, try again later", name);
		return CREW_EXIT_TRY_LATER;
	case CREW_PROTOCOL:
		ctl_error("%s: somebody has written over its memory", name);
		return CREW_EXIT_FAILED;
	default:
		ctl_error("%s: %s", name,
			  code == CREW_SYSTEM ? strerror(errno) : crew_strerror(code));
		return CREW_EXIT_FAILED;
	}
}

static double left(int64_t deadline)
{
	int64_t usec = deadline == INT64_MAX ? INT64_MAX : deadline - clock_now();

	return deadline == INT64_MAX ? CREW_FOREVER : usec > 0 ? (double)usec / USEC_PER_SEC : 0;
}

/* NULL after an error message, *exit as it should be. */
static struct crew_queue *attach(const struct ctl *ctl, const char *name, int *exit)
{
	struct crew_queue *queue;
	int code = crew_queue_attach(&queue, ctl->socket, name, CREW_FOREVER);

	*exit = code ? report(name, code, "") : 0;
	return queue;
}

static int finish(struct crew_queue *queue, const char *name, int code, const char *late)
{
	if (code)
		code = report(name, code, late);
	crew_queue_close(queue);
	return code;
}

int ring_put(const struct ctl *ctl, const char *name, const char *text, size_t len,
	     int64_t deadline)
{
	int exit, code;
	struct crew_queue *queue = attach(ctl, name, &exit);

	if (!queue)
		return exit;
	code = crew_queue_put(queue, text, len, left(deadline));
	if (code == CREW_NO_SUCH) { /* as it was there a moment ago */
		ctl_error("no such queue: %s: it was deleted, or removed from the configuration, "
			  "and takes no more",
			  name);
		crew_queue_close(queue);
		return CREW_EXIT_NO_SUCH;
	}
	return finish(queue, name, code, "full");
}

int ring_get(const struct ctl *ctl, const char *name, void **item, size_t *len, int64_t deadline)
{
	int exit, code;
	struct crew_queue *queue = attach(ctl, name, &exit);

	if (!queue)
		return exit;
	code = crew_queue_get(queue, item, len, left(deadline));
	return finish(queue, name, code, "empty");
}

int ring_join(const struct ctl *ctl, const char *name, int64_t deadline)
{
	int exit, code;
	struct crew_queue *queue = attach(ctl, name, &exit);

	if (!queue)
		return exit;
	code = crew_queue_join(queue, left(deadline));
	return finish(queue, name, code, "");
}
