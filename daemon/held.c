#include "daemon/held.h"

#include <string.h>
#include <unistd.h>
#include "daemon/slot.h"
#include "lib/log.h"
#include "lib/text.h"

static struct {
	unsigned told; /* cells before it have been told, or there is nobody to be told any more */
	struct cell {
		bool used;
		int fd;
		char name[CREW_NAME_MAX + 1];
	} cells[CREW_QUEUES_SHARED_MAX];
} held = { .told = CREW_QUEUES_SHARED_MAX };

static void let_go(struct cell *c)
{
	if (c->used)
		close(c->fd);
	c->used = false;
}

void held_take(const struct wire *w, const int fds[], unsigned *count)
{
	struct cell *c;

	if (w->hold.cell >= CREW_QUEUES_SHARED_MAX)
		return;
	c = &held.cells[w->hold.cell];
	let_go(c);
	if (!w->value || !memchr(w->hold.name, 0, sizeof(w->hold.name)) ||
	    !text_name_ok(w->hold.name))
		return;
	if (*count != 1) {
		log_error(w->hold.name,
			  "out of file descriptors: should the manager be killed, what is "
			  "in the queue is lost");
		return;
	}
	c->fd = slot_put_away(fds[0]);
	*count = 0;
	memcpy(c->name, w->hold.name, sizeof(c->name));
	c->used = true;
}

bool held_tell(int channel)
{
	for (; held.told < CREW_QUEUES_SHARED_MAX; held.told++) {
		const struct cell *c = &held.cells[held.told];
		struct wire w = { .type = WIRE_HELD, .hold.cell = held.told };

		if (!c->used)
			continue;
		memcpy(w.hold.name, c->name, sizeof(w.hold.name));
		if (wire_send(channel, &w, &c->fd, 1) < 0)
			return false;
	}
	return true;
}

void held_tell_again(void)
{
	held.told = 0;
}
