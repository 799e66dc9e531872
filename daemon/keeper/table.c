#include "daemon/keeper/table.h"

#include <string.h>
#include <sys/mman.h>

#define BUCKETS 4096

static struct table {
	unsigned alive, used;
	int first_dirty, last_dirty, first_held;
	int by_pid[BUCKETS];
	struct slot slots[CREW_WORKERS_MAX];
} * table;

int table_init(void)
{
	void *p = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED)
		return -1;
	table = p;
	table->first_dirty = table->last_dirty = table->first_held = -1;
	memset(table->by_pid, 0xff, sizeof(table->by_pid));
	return 0;
}

/* A slot is set up when it is first asked for: what is never used costs no memory. */
struct slot *table_slot(unsigned slot)
{
	if (slot >= CREW_WORKERS_MAX)
		return NULL;
	for (; table->used <= slot; table->used++) {
		struct slot *s = &table->slots[table->used];

		s->told.slot = table->used;
		slot_init(s);
	}
	return &table->slots[slot];
}

unsigned table_used(void)
{
	return table->used;
}

unsigned table_alive(void)
{
	return table->alive;
}

static int *bucket(pid_t pid)
{
	return &table->by_pid[(unsigned)pid % BUCKETS];
}

struct slot *table_pid(pid_t pid)
{
	for (int i = *bucket(pid); i >= 0; i = table->slots[i].next_pid)
		if (table->slots[i].told.pid == pid)
			return &table->slots[i];
	return NULL;
}

void table_forked(struct slot *s, pid_t pid)
{
	s->told.pid = pid;
	s->next_pid = *bucket(pid);
	*bucket(pid) = (int)s->told.slot;
	table->alive++;
}

void table_reaped(struct slot *s)
{
	int *link = bucket(s->told.pid);

	while (*link >= 0 && *link != (int)s->told.slot)
		link = &table->slots[*link].next_pid;
	if (*link >= 0)
		*link = s->next_pid;
	table->alive--;
}

bool table_is_alive(const struct slot *s)
{
	return s->told.state == WIRE_STARTING || s->told.state == WIRE_RUNNING;
}

void table_mark(struct slot *s)
{
	int i = (int)s->told.slot;

	if (s->dirty)
		return;
	s->dirty = true;
	s->next_dirty = -1;
	if (table->last_dirty >= 0)
		table->slots[table->last_dirty].next_dirty = i;
	else
		table->first_dirty = i;
	table->last_dirty = i;
}

struct slot *table_news(void)
{
	return table->first_dirty < 0 ? NULL : &table->slots[table->first_dirty];
}

void table_told(struct slot *s)
{
	s->dirty = false;
	table->first_dirty = s->next_dirty;
	if (table->first_dirty < 0)
		table->last_dirty = -1;
}

void table_mark_all(void)
{
	for (unsigned i = 0; i < table->used; i++) {
		struct slot *s = &table->slots[i];

		s->fds_told = false;
		if (s->told.state != WIRE_FREE || s->block >= 0)
			table_mark(s);
	}
}

void table_began(struct slot *s)
{
	if (!(s->with & WIRE_WITH_TASK) || !table_is_alive(s)) {
		table_mark(s);
	} else if (!s->held) {
		s->held = true;
		s->next_held = table->first_held;
		table->first_held = (int)s->told.slot;
	}
}

bool table_holds(void)
{
	return table->first_held >= 0;
}

void table_release(int64_t until)
{
	for (int *link = &table->first_held; *link >= 0;) {
		struct slot *s = &table->slots[*link];
		bool alive = table_is_alive(s) && s->told.pid;

		if (alive && s->told.started > until) {
			link = &s->next_held;
			continue;
		}
		*link = s->next_held;
		s->held = false;
		if (alive)
			table_mark(s);
	}
}
