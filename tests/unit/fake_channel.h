/* channel.h without pipes: the test sees what was written to a worker, and says what the worker does. */
#ifndef TEST_FAKE_CHANNEL_H
#define TEST_FAKE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include "daemon/channel.h"

extern unsigned fake_channels; /* that there are */

/* All that was ever written to the pipe, as text. */
const char *fake_sent(struct channel *c);
/* The pipe takes so many more bytes; at first it takes all. */
void fake_room(struct channel *c, size_t bytes);
/* The worker has taken so many bytes out of the pipe, of all that were ever written. */
void fake_has_read(struct channel *c, size_t bytes);
void fake_has_read_all(struct channel *c);
bool fake_input_closed(const struct channel *c);

/* The worker writes: it is told, and the turn ends. The channel may be gone after each. */
void fake_says(struct channel *c, const char *text);
void fake_says_bytes(struct channel *c, const char *data, size_t len);
/* The same, but the turn goes on, and more may come in it. */
void fake_says_more(struct channel *c, const char *data, size_t len);
/* It has written that, and nobody has read it yet: the worker is about to end. */
void fake_leaves_in_pipe(struct channel *c, const char *text);
/* It has closed its end. */
void fake_closes(struct channel *c);

#endif
