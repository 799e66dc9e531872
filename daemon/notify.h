/*
 * The notify protocol, both ways: the socket that crewd offers to its own workers (READY=1,
 * WATCHDOG=1, STATUS=, STOPPING=1, BARRIER=1), and what the keeper says to systemd (sd_notify). A
 * sender is known by SCM_CREDENTIALS: a worker's main process, or a process of its session.
 */
#ifndef CREWD_NOTIFY_H
#define CREWD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct worker;

/* Manager's side: starts reading the datagram socket. 0, or -1 with errno. */
int notify_init(int fd);
void notify_close(void);
/* A process of this worker is known now: what it may have said before is taken in. */
void notify_forked(struct worker *w, pid_t pid);

/* Keeper's side. All do nothing when there is no NOTIFY_SOCKET. */
void notify_systemd(const char *state); /* "READY=1\nSTATUS=..." */
/* Interval at which systemd wants to hear from us, microseconds; 0: not at all. */
int64_t notify_watchdog_interval(void);
/* The first listening AF_UNIX stream socket systemd passed (any name; "varlink" preferred), or -1;
 * makes it close-on-exec, non-blocking; removes LISTEN_* from the environment. */
int notify_listen_fd(void);

#endif
