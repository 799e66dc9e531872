/*
 * What travels beside the bytes of a UNIX socket: descriptors (SCM_RIGHTS), and who has sent them (SO_PASSCRED).
 * Nothing here allocates or waits; for either side of a fork.
 */
#ifndef CREW_RIGHTS_H
#define CREW_RIGHTS_H

#include <sys/socket.h>
#include <sys/types.h>

/* Adds `count` (at least one) descriptors, which stay the caller's. msg_control has room for
 * CMSG_SPACE(count * sizeof(int)) zeroed bytes; msg_controllen is set. */
void rights_put(struct msghdr *msg, const int *fds, unsigned count);

/* The descriptors that came with a message, `max` at most: how many; they are the caller's now. */
unsigned rights_take(struct msghdr *msg, int *fds, unsigned max);

/* Who has sent a message, 0: it is not said. Descriptors that came with it are closed. */
pid_t rights_sender(struct msghdr *msg);

#endif
