/*
 * A connection to Redis or Valkey that is made again whenever it is lost. redis.c is the only file that knows
 * hiredis, and no call here waits: what comes, comes by the four events, from the loop.
 *
 * Commands are answered in their order. All that were not yet answered when the connection is lost never will be:
 * `down` tells so, once, whether it was up before or could not be made. It is tried again with growing delays, and
 * a server that does not answer within REDIS_PATIENCE is as good as lost.
 */
#ifndef CREWD_REDIS_H
#define CREWD_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "daemon/redis_url.h"

#define REDIS_PATIENCE 5000000 /* microseconds */

/* An answer: one value, or a list of values without lists in it. Lives as long as the event. */
struct redis_reply;
const char *redis_error(const struct redis_reply *reply); /* NULL: it is none */
size_t redis_count(const struct redis_reply *reply);	  /* of a list; else 0 */
bool redis_number(const struct redis_reply *list, size_t i, int64_t *out);
const char *redis_text(const struct redis_reply *list, size_t i,
		       size_t *len); /* NULL: none there */

struct redis_events {
	void (*up)(void *arg);
	void (*down)(const char *why, void *arg); /* why: static */
	void (*answer)(const struct redis_reply *reply, void *arg);
	/* In a channel that was subscribed to: "message", the channel, the text. NULL: there is none. */
	void (*message)(const struct redis_reply *list, void *arg);
};

struct redis;
struct redis_login {
	const char *user,
		*password_file; /* NULL: none; the file is read whenever a connection is made */
};
/* NULL: no memory. `name` is for the log; NULL: it says nothing there. Begins to connect. */
struct redis *redis_new(const char *name, const struct redis_where *where,
			const struct redis_login *login, const struct redis_events *events,
			void *arg);
/* No event comes any more. May be called from one. NULL is fine. */
void redis_free(struct redis *r);
/* The same, once what was sent has been answered. */
void redis_finish(struct redis *r);
bool redis_is_up(const struct redis *r);
/* Why it is not up; NULL: it is, or the first attempt is still under way. */
const char *redis_why(const struct redis *r);
/* False: it is down, or has just gone down: there will be no answer. */
bool redis_send(struct redis *r, size_t count, const char *const *words, const size_t *lens);

/* What an error of the server means, in few words (static). */
const char *redis_meaning(const char *error);
/* A number that no other process has. */
uint64_t redis_unique(void);

#endif
