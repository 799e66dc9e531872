/*
 * A client's side of the protocol: one connection, blocking with deadlines. For crewctl and
 * libcrew. Not thread-safe: one connection a thread.
 */
#ifndef CREW_CLIENT_H
#define CREW_CLIENT_H

#include <stdint.h>
#include "lib/message.h"

struct client; /* opaque */

/* /run/crewd/control for root. For others $XDG_RUNTIME_DIR/crewd/control, or the system's where only that one
 * exists; NULL when there is neither. Static. */
const char *client_default_socket(void);
/* The same, in the caller's memory where it has to be made up. */
#define CLIENT_PATH_MAX 108 /* of a socket, its NUL included */
const char *client_default_path(char path[CLIENT_PATH_MAX]);
/* A connected socket, for clients with a loop of their own; -1 with errno (EAGAIN: not now, when `nonblock`). */
int client_dial(const char *path, bool nonblock);
/* Connects; NULL with errno (ENOENT, ECONNREFUSED: no daemon answers; EACCES; ETIMEDOUT). */
struct client *client_connect(const char *path);
/* The same, with a deadline as below: also for the daemon's backlog, when that is full. */
struct client *client_connect_until(const char *path, int64_t deadline);
void client_close(struct client *c); /* NULL is fine */
int client_fd(const struct client *c);

/* The descriptor that came along with what was received (the last of them), the caller's; -1: none. */
int client_take_fd(struct client *c);

/* Sends one call. 0, or -1 with errno (EPIPE: the daemon went away; EMSGSIZE). */
int client_send(struct client *c, const char *method, const char *params, size_t len,
		unsigned flags);
/* The same, or ETIMEDOUT: a part of the call may have been sent, the connection is good for nothing any more. */
int client_send_until(struct client *c, const char *method, const char *params, size_t len,
		      unsigned flags, int64_t deadline);
/* Next reply; `deadline` as clock_now() counts, INT64_MAX: none. 0 and *reply to be freed; or -1
 * with errno: ETIMEDOUT, EPIPE (the daemon closed), EPROTO (not a reply), EINTR (a signal handler
 * ran). */
int client_receive(struct client *c, struct message_reply *reply, int64_t deadline);

#endif
