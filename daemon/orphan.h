/*
 * The keeper is gone (SIGKILL): the manager, which may have no right to signal anybody, ends the workers.
 *
 * The keeper has made each worker's process group the owner (F_SETOWN) of the read end of its output pipe. The
 * kernel checks the right to signal against who set the owner: the keeper. So whoever holds that
 * descriptor can have the group signalled, by asking for a signal (F_SETSIG, O_ASYNC) and then letting
 * a byte arrive. No PID is named, so none can be a reused one.
 */
#ifndef CREWD_ORPHAN_H
#define CREWD_ORPHAN_H

/* Stop signal to all, SIGKILL to those left after their stop-timeout. Returns when no worker holds its output any
 * more, or has been killed; one that had closed its output before has a second to end. Waits: nothing else is left
 * to do. cgroup_kill: -1 if there is none. */
void orphan_end_all(int cgroup_kill);

#endif
