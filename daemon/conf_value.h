/* One value of the file -> the field of its row (conf_keys.h). */
#ifndef CREWD_CONF_VALUE_H
#define CREWD_CONF_VALUE_H

#include "daemon/conf_build.h"
#include "daemon/conf_keys.h"

#define CONF_VALUE_GLOBAL UINT32_MAX /* instead of an index: the head */

struct conf_values {
	uint32_t count;
	const char *const *items; /* a scalar is a list of one */
};

/* Fills the field of `key` in pool (or queue, as the key says) number `index`. False: `why` says what is wrong and what would be
 * right; it begins with the key's name. An empty one: there was no room, see conf_build_error(). */
bool conf_value_set(struct conf_build *b, uint32_t index, const struct conf_key *key,
		    struct conf_values values, char *why, size_t why_size);
/* Fills it with the row's default, if it has one. False when there is no memory. */
bool conf_value_default(struct conf_build *b, uint32_t index, const struct conf_key *key);

#endif
