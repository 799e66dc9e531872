/*
 * What was written, before it means anything: the strings of every key with the place they stand
 * at. The scanner notes the places, libconfuse brings the strings, `inherits` copies them from pool
 * to pool, and only then are they read as values. All of it is freed at once.
 */
#ifndef CREWD_CONF_SOURCE_H
#define CREWD_CONF_SOURCE_H

#include "daemon/conf_keys.h"
#include "daemon/conf_read.h"
#include "daemon/conf_value.h"

struct conf_given {
	const char *file;
	unsigned line; /* 0: not given */
	bool inherited;
	struct conf_values values;
};

struct conf_entry {
	const char *name, *file;
	unsigned line;
	struct conf_given keys[CONF_POOL_KEYS];
};

struct conf_source {
	struct conf_given globals[CONF_GLOBAL_KEYS];
	struct conf_entry *pools; /* CREW_POOLS_MAX of them at most; moves while being read */
	uint32_t pool_count, pool_room;
	unsigned files;
	bool broken; /* a file could not be read to its end: what is missing may be there */
	void *memory;
	struct conf_errors *errors;
};

void conf_source_free(struct conf_source *src);
/* Memory that lives as long as the source. NULL: no memory, and said so. */
void *conf_source_take(struct conf_source *src, size_t size);
char *conf_source_copy(struct conf_source *src, const char *text, size_t length);
/* A new pool. NULL when there is one of that name, too many, or no memory: said so. */
struct conf_entry *conf_source_add(struct conf_source *src, const char *name, const char *file,
				   unsigned line);

#endif
