/* Varlink's framing: JSON texts, each ended by one NUL byte. Knows nothing of JSON. */
#ifndef CREW_FRAME_H
#define CREW_FRAME_H

#include "lib/buf.h"

/*
 * Looks for one whole frame at the front of `b`, not searching again what was searched before
 * (*searched, 0 for a fresh buffer). Returns 1 and its text (NUL-terminated inside `b`, valid until
 * b changes) and length without the NUL; 0 when there is none yet; -1 with errno EMSGSIZE when it
 * is longer than CREW_MESSAGE_MAX. After use: buf_consume(b, length + 1).
 */
int frame_next(const struct buf *b, size_t *searched, const char **text, size_t *length);

#endif
