/* One field of the block -> how the file says it. The same text is printed, compared and hashed. */
#ifndef CREWD_CONF_SHOW_H
#define CREWD_CONF_SHOW_H

#include "daemon/conf.h"
#include "daemon/conf_keys.h"

/* Takes the text piece by piece. */
struct conf_sink {
	void (*put)(struct conf_sink *sink, const char *text, size_t length);
};

/* `base`: the pool or queue, or the conf itself for a global key. Puts nothing when it is not given. */
void conf_show(struct conf_sink *sink, const struct conf *conf, const void *base,
	       const struct conf_key *key);
/* `text` in double quotes, escaped. */
void conf_show_quoted(struct conf_sink *sink, const char *text);

#endif
