/* What went wrong, as a number and in words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "libcrew/api.h"

static const char *const words[] = {
	[-CREW_FULL] = "the queue is full",
	[-CREW_EMPTY] = "the queue is empty",
	[-CREW_TIMEOUT] = "the time given is over",
	[-CREW_LOST] = "the connection ended before an answer came",
	[-CREW_NO_DAEMON] = "no daemon answers",
	[-CREW_DENIED] = "not permitted",
	[-CREW_REFUSED] = "the daemon replied with an error",
	[-CREW_NO_SUCH] = "there is no such queue",
	[-CREW_WRONG_KIND] = "a queue of this kind cannot do that",
	[-CREW_BUSY] = "not now, try again later",
	[-CREW_TOO_BIG] = "too long",
	[-CREW_INVALID] = "an argument is not what it has to be",
	[-CREW_PROTOCOL] = "the other side says what it should not",
	[-CREW_TOO_MANY_DONE] = "more items were said to be done than were put",
	[-CREW_END] = "no more replies will come",
	[-CREW_FAILED] = "a task failed",
	[-CREW_FORKED] = "it belongs to the parent of this process",
	[-CREW_SYSTEM] = "a system call failed",
};

const char *crew_strerror(int code)
{
	if (code >= 0)
		return "no error";
	if (code < CREW_SYSTEM)
		return "unknown error";
	return words[-code];
}

int api_code(void)
{
	switch (errno) {
	case ENOENT:
	case ECONNREFUSED:
	case ENOTSOCK:
		return CREW_NO_DAEMON;
	case EACCES:
	case EPERM:
		return CREW_DENIED;
	case ETIMEDOUT:
		return CREW_TIMEOUT;
	case EPIPE:
	case ECONNRESET:
		return CREW_LOST;
	case EMSGSIZE:
		return CREW_TOO_BIG;
	case EPROTO:
		return CREW_PROTOCOL;
	case ENAMETOOLONG:
		return CREW_INVALID;
	default:
		return CREW_SYSTEM;
	}
}

char *api_copy(const void *data, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}
