/*
 * Templates as pools: one worker, which others are forked from, and for the time of a change a second one. What
 * a template is asks for no state of its own: the newest that is warm is the one to fork from. Policy only.
 *
 * A new generation (another definition, or by hand) is made beside the one there is; when it is warm, the old one
 * ends, and the pools that are forked from it replace their workers. If it fails, all stays as it is.
 */
#ifndef CREWD_POOL_TEMPLATE_H
#define CREWD_POOL_TEMPLATE_H

#include "daemon/pool.h"

/* For pool.c; a pool that has nothing to do with templates is left as it is. */
void pool_template_step(struct pool *p);
/* What its workers are started with, the template they are forked from included; 0 is none. */
uint64_t pool_template_hash(const struct pool *p);

#endif
