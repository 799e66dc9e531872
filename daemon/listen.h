/*
 * The control socket's place in the file system: one crewd a path, told by a lock beside it
 * (PATH.lock, holding the pid); with the lock held, a socket file that is there is stale.
 */
#ifndef CREWD_LISTEN_H
#define CREWD_LISTEN_H

#include <sys/types.h>

/* Makes the directory of `path` if only that is missing. */
void listen_make_directory(const char *path);
/* Descriptor that holds the lock, or -1: with errno EWOULDBLOCK another has it, then *holder is its pid. */
int listen_lock(const char *path, pid_t *holder);
/* A listening stream socket, non-blocking; removes a stale one. gid (uid_t)-1: as it is. -1 with errno. */
int listen_unix(const char *path, mode_t mode, gid_t gid);
/* Datagram socket for workers' notifications, at a fresh abstract address; its NOTIFY_SOCKET form ("@...")
 * is written to `name`. -1 with errno. */
int listen_notify(char *name, size_t size);

#endif
