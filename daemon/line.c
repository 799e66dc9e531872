#include "daemon/line.h"

#include <string.h>
#include "daemon/keeper/table.h"
#include "lib/clock.h"

static struct {
	struct {
		uint32_t slot, run;
	} at[CREW_WORKERS_MAX]; /* a ring */
	unsigned head, count;
} line;

bool line_is_full(void)
{
	return line.count == CREW_WORKERS_MAX;
}

void line_put(const struct slot *s)
{
	unsigned next = (line.head + line.count) % CREW_WORKERS_MAX;

	line.at[next].slot = s->told.slot;
	line.at[next].run = s->told.run;
	line.count++;
}

struct slot *line_take(void)
{
	while (line.count) {
		struct slot *s = table_slot(line.at[line.head].slot);
		uint32_t run = line.at[line.head].run;

		line.head = (line.head + 1) % CREW_WORKERS_MAX;
		line.count--;
		if (s->told.state == WIRE_STARTING && s->told.run == run)
			return s;
	}
	return NULL;
}

void line_drop(struct slot *s)
{
	slot_drop_pipes(s);
	s->told.state = WIRE_GONE;
	s->told.ended = clock_now();
	table_mark(s);
}

void line_fail(struct slot *s, int step, int err)
{
	line_drop(s);
	s->told.step = step;
	s->told.err = err;
}

void line_clear(void)
{
	line.count = 0;
}

/* What has index i in the configuration in force: its index in the next one, if it is there. */
static uint32_t index_in(const struct conf *now, const struct conf *next, uint32_t i)
{
	const char *name = i < now->pool_count ? conf_text(now, conf_pool_at(now, i)->name) : NULL;

	for (uint32_t j = 0; name && j < next->pool_count; j++)
		if (strcmp(name, conf_text(next, conf_pool_at(next, j)->name)) == 0)
			return j;
	return name ? UINT32_MAX - 1 : i;
}

void line_renumber(const struct conf *now, const struct conf *next)
{
	uint32_t was = UINT32_MAX, is = UINT32_MAX;

	for (unsigned i = 0; i < table_used(); i++) {
		struct slot *s = table_slot(i);

		if (s->told.state != WIRE_STARTING || s->told.pid)
			continue;
		if (s->pool != was)
			is = index_in(now, next, was = s->pool);
		s->pool = is;
	}
}
