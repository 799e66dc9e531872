/* What the nouns of rpc share about the manager, pools and events. */
#ifndef CREWD_RPC_MANAGER_H
#define CREWD_RPC_MANAGER_H

#include "daemon/pool.h"
#include "daemon/rpc.h"

/* PACKAGE_VERSION comes from the build. */
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

/* Parks the call until the configuration has been read again. `quiet`: the reply says no more than
 * that it worked. */
void rpc_manager_reload(struct rpc_call *call, bool dry_run, bool quiet);

/* A change of state, to everyone who has subscribed. */
void rpc_tell_change(struct worker *w, enum worker_state from);

/* One object: name, workers, running, state. Used by GetStatus and Pool.List alike. */
void rpc_write_pool(struct json_writer *json, const struct pool *p);

/* Seconds since 1970 of a moment of clock_now(). Of the same moment it is always the same, whichever
 * manager is asked, unless somebody sets the clock. */
double rpc_wall_time(int64_t moment);

#endif
