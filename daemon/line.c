#include "daemon/line.h"

#include <string.h>

static struct {
	struct line_entry ring[CREW_WORKERS_MAX];
	unsigned head, count;
} line;

bool line_is_full(void)
{
	return line.count == CREW_WORKERS_MAX;
}

void line_put(struct line_entry e)
{
	line.ring[(line.head + line.count++) % CREW_WORKERS_MAX] = e;
}

bool line_take(struct line_entry *e)
{
	if (!line.count)
		return false;
	*e = line.ring[line.head];
	line.head = (line.head + 1) % CREW_WORKERS_MAX;
	line.count--;
	return true;
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

	for (unsigned i = 0; i < line.count; i++) {
		uint32_t *pool = &line.ring[(line.head + i) % CREW_WORKERS_MAX].pool;

		if (*pool != was)
			is = index_in(now, next, was = *pool);
		*pool = is;
	}
}
