/*
 * Pools of a module: written as one section, they are two. The pool's workers are forked from a template that is
 * made here, POOL.module, whose command is crew-host with the module, and which has the pool's keys of how a process
 * is started.
 */
#ifndef CREWD_CONF_MODULE_H
#define CREWD_CONF_MODULE_H

#include "daemon/conf_build.h"
#include "daemon/conf_source.h"

#define CONF_MODULE_PREFETCH 16 /* of pools that do not say */

/* Once everything inherited is in its place, and before it is read as values. */
void conf_module_expand(struct conf_source *src);
/* What follows from the other values, of all such pools and their templates; before templates are checked. */
void conf_module_fill(const struct conf_source *src, struct conf_build *b);

#endif
