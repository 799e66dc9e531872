/*
 * Bytes to and from a worker that takes tasks: its standard input and output, never blocking. Requests are
 * gathered and written at the end of the turn; a worker that does not read makes them wait here, so their
 * producer looks at channel_waiting(). Unit tests of policy link a fake instead.
 */
#ifndef CREWD_CHANNEL_H
#define CREWD_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/buf.h"

struct channel;

struct channel_events {
	/* The worker has written; may free the channel. */
	void (*data)(void *arg, const char *data, size_t len);
	/* All that came in this turn has been told. */
	void (*told)(void *arg);
	/* Before and after something is written to it. */
	void (*writing)(void *arg);
	void (*written)(void *arg);
	/* It has closed its end of either; what it had written before has been told. */
	void (*closed)(void *arg);
};

/* Owns both descriptors (in: the worker's standard input, -1 for none), also when it fails: NULL with
 * errno ENOMEM. */
struct channel *channel_new(int in, int out, const struct channel_events *events, void *arg);
void channel_free(struct channel *c); /* NULL is fine */

/* Requests are appended here, then channel_send(). */
struct buf *channel_out(struct channel *c);
void channel_send(struct channel *c);
/* Positions count the bytes ever appended: of these so many have been written to the pipe, and so many
 * taken out of it by the worker. */
uint64_t channel_written(const struct channel *c);
uint64_t channel_read_by_worker(const struct channel *c);
size_t channel_waiting(const struct channel *c);
/* The worker reads to the end of what was written, and no more comes. */
void channel_close_input(struct channel *c);
/* Tells what is in the pipe now: of a worker that has ended. */
void channel_drain(struct channel *c);

#endif
