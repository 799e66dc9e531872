/*
 * The control socket: listening, connections, credentials, back-pressure. Gives whole frames to
 * rpc.h.
 */
#ifndef CREWD_CONTROL_H
#define CREWD_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "daemon/pass.h"
#include "daemon/rpc.h"

/* Whose word counts: the daemon's own uid and the socket group (CONF_NO_ID: none). */
int control_init(int listener_fd, uint32_t own_uid, uint32_t socket_gid);
void control_set_group(uint32_t socket_gid); /* after a reload */
/* No new connections; output that waits is still sent; then control_idle(). */
void control_stop(void);
bool control_idle(void); /* no output waits for anyone */
void control_close(void);

struct conn {
	int fd;
	uid_t uid;
	gid_t gid;
	pid_t pid;
	bool trusted; /* uid 0, the daemon's own, or a member of socket-group (peer's gid or its
			 groups) */
	bool kept;    /* root or own uid: may use the connections kept for them */
	bool closing; /* close when the output is sent; nothing more is read */
	bool eof;     /* it will send no more, but may still be listening */
	bool corked;  /* replies are gathered, and sent when the batch is done */
	bool stuffed; /* the output has been above its mark, and streams wait */
	bool dead;    /* to be freed at the end of the turn */
	struct buf in, out;
	struct passing passing; /* descriptors that go with what is in out */
	size_t searched;
	struct queue_owner *leases; /* items of queues that it holds; NULL: none ever */
	struct rpc_call *current; /* the call under way, if it is parked: the next is not started */
	struct loop_io *io;
	struct loop_task again; /* there is more to do than one turn should take */
	struct list link;
};

unsigned control_connections(void);

/* Output was added to conn->out: send it (at once, the rest when writable). */
void control_flush(struct conn *conn);
/* The same at the end of the turn, for streams: many replies, one write. */
void control_flush_later(struct conn *conn);
/* The next reply takes a copy of this descriptor along. False with errno as pass_add(). */
bool control_pass(struct conn *conn, int fd);
/* Nobody is there any more, though the loop may not have heard of it yet. */
bool control_is_hung_up(const struct conn *conn);
/* The current call is finished: go on with what was pipelined. */
void control_continue(struct conn *conn);

#endif
