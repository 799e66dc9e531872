/* What libcrew's files share. */
#ifndef LIBCREW_API_H
#define LIBCREW_API_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/message.h"
#include "libcrew/crew.h"

#define TIME_NEVER INT64_MAX
#define TIME_MOST  (INT64_C(1) << 53) /* microseconds that a timeout may have; more is for ever */

/* When that many seconds are over, as clock_now() counts; TIME_NEVER. CREW_INVALID: not a number. */
static inline int api_deadline(double timeout, int64_t *deadline)
{
	if (timeout != timeout)
		return CREW_INVALID;
	*deadline = timeout < 0 || timeout >= (double)TIME_MOST / USEC_PER_SEC
			    ? TIME_NEVER
			    : clock_now() + (int64_t)(timeout * USEC_PER_SEC);
	return 0;
}

/* Of an errno that the client's side of the protocol has set. */
int api_code(void);
/* A copy with a NUL behind it; NULL: no memory. */
char *api_copy(const void *data, size_t len);

/* ---- client.c, for queues ----------------------------------------------------------------------- */

/* A client that is not connected yet: it will be, by its first call. NULL: no memory. `path` may be NULL. */
struct crew_client *client_prepare(const char *path);
/* The parts of a call. `params` is a JSON object. An error that the daemon replied is a reply. */
int client_begin(struct crew_client *c, const char *method, const char *params, size_t len,
		 unsigned flags, int64_t deadline);
int client_wait(struct crew_client *c, struct message_reply *reply, int64_t deadline);
/* The descriptor that came along; -1: none. The caller's. */
int client_handed(struct crew_client *c);

#endif
