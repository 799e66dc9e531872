#include "daemon/keep.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include "lib/bounds.h"

static struct {
	void (*send)(unsigned cell, const char *name, int fd);
	bool (*waits)(void);
	unsigned
		next; /* they are used in turn: what is on its way to the keeper points to a name here */
	struct cell {
		enum { FREE, FOUND, HELD } state;
		int fd; /* FOUND */
		char name[CREW_NAME_MAX + 1];
	} cells[CREW_QUEUES_SHARED_MAX];
} keep;

void keep_init(void (*send)(unsigned cell, const char *name, int fd), bool (*waits)(void))
{
	keep.send = send;
	keep.waits = waits;
}

void keep_found(unsigned cell, const char *name, int fd)
{
	struct cell *c = cell < CREW_QUEUES_SHARED_MAX ? &keep.cells[cell] : NULL;

	if (!c || c->state != FREE) {
		close(fd);
		return;
	}
	c->state = FOUND;
	c->fd = fd;
	strncpy(c->name, name, CREW_NAME_MAX);
}

int keep_take(const char *name, unsigned *cell)
{
	for (unsigned i = 0; i < CREW_QUEUES_SHARED_MAX; i++) {
		struct cell *c = &keep.cells[i];

		if (c->state != FOUND || strcmp(c->name, name) != 0)
			continue;
		c->state = HELD;
		*cell = i;
		return c->fd;
	}
	return -1;
}

bool keep_put(const char *name, int fd, unsigned *cell)
{
	for (unsigned tried = 0; tried < CREW_QUEUES_SHARED_MAX; tried++) {
		unsigned i = keep.next++ % CREW_QUEUES_SHARED_MAX;
		struct cell *c = &keep.cells[i];

		if (c->state != FREE)
			continue;
		c->state = HELD;
		memset(c->name, 0, sizeof(c->name));
		strncpy(c->name, name, CREW_NAME_MAX);
		if (keep.send)
			keep.send(i, c->name, fd);
		*cell = i;
		return true;
	}
	return false;
}

void keep_drop(unsigned cell)
{
	struct cell *c = &keep.cells[cell];

	c->state = FREE;
	if (keep.send)
		keep.send(cell, c->name, -1);
}

void keep_forget(const char *name)
{
	unsigned cell;
	int fd = keep_take(name, &cell);

	if (fd < 0)
		return;
	close(fd);
	keep_drop(cell);
}

bool keep_waits(void)
{
	return keep.waits && keep.waits();
}

const char *keep_left(void)
{
	for (unsigned i = 0; i < CREW_QUEUES_SHARED_MAX; i++)
		if (keep.cells[i].state == FOUND)
			return keep.cells[i].name;
	return NULL;
}
