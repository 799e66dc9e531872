/* crew.h, worker.h and pool.h as far as rpc calls them: two pools, and a `run` worker, whose states
 * the test sets. */
#ifndef TEST_FAKE_CREW_H
#define TEST_FAKE_CREW_H

#include "daemon/crew.h"

#define FAKE_WEB  3 /* workers of pool "web", in slots 0 .. 2 */
#define FAKE_SLOT 3 /* of the `run` worker "run-1" */

struct fake_worker {
	struct worker w;
	unsigned starts, stops, kills, restarts;
	int signal;
};
extern struct fake_worker fake_workers[FAKE_WEB + 1];
extern bool fake_busy;	  /* a reload is under way */
extern bool fake_dry_run; /* as the last one was asked for */
extern unsigned fake_shutdowns;

void fake_crew_reset(void);
void fake_set(unsigned slot, enum worker_state state, pid_t pid);
/* It ended with an exit code. */
void fake_ended(unsigned slot, enum worker_state state, int exitcode);
/* It leaves the table. */
void fake_leaves(unsigned slot);
void fake_reload_done(const struct crew_plan *plan, const char *errors);
/* All workers print it. */
void fake_print(const char *text);

#endif
