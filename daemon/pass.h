/*
 * Descriptors that go along with what is sent over a stream socket, as systemd's services do it with Varlink:
 * each comes with the first byte of the message that it belongs to. Few of them, never waiting.
 */
#ifndef CREWD_PASS_H
#define CREWD_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PASS_MAX 8 /* waiting for one client */

struct passing {
	unsigned count;
	struct {
		int fd;
		size_t before; /* bytes that are to be sent before it */
	} at[PASS_MAX];
};

/* A copy of the descriptor goes with the byte that follows the next `before`. False with errno: ENOSPC, as many wait
 * as may; EMFILE. */
bool pass_add(struct passing *p, int fd, size_t before);
/* As send(2), without waiting: as much as goes in one piece, and the descriptor that belongs to it. */
ssize_t pass_send(struct passing *p, int socket, const char *data, size_t len);
void pass_drop(struct passing *p); /* nobody gets them any more */

#endif
