/* What describes a worker that is not in the configuration file: a block with one pool. */
#ifndef CREWD_CREW_RUN_H
#define CREWD_CREW_RUN_H

#include "daemon/crew.h"

/* A sealed memfd, or -1 with errno (EFBIG: over CREW_RUN_SPEC_MAX). */
int crew_run_block(const struct crew_run *run, const char *name, bool journal);

/* Stands in for a definition that was lost: that of a removed pool being drained when the manager
 * died. */
extern const struct conf crew_lost_conf;
extern const struct conf_pool crew_lost_pool;

#endif
