/*
 * Those that wait to be forked, the first come the first: what the keeper has to remember of each. Plain data;
 * nothing here allocates.
 */
#ifndef CREWD_LINE_H
#define CREWD_LINE_H

#include <stdbool.h>
#include "daemon/conf.h"
#include "lib/bounds.h"

struct line_entry {
	uint32_t slot, run, pool;
};

bool line_is_full(void); /* as many wait as there may be workers */
void line_put(struct line_entry e);
bool line_take(struct line_entry *e); /* false: nobody waits */
void line_clear(void);
/* Another configuration comes into force: the pools of those that wait have other indices, or are gone. */
void line_renumber(const struct conf *now, const struct conf *next);

#endif
