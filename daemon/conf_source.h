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
	bool is_template;
	struct conf_given *keys; /* as many as its section has */
};

struct conf_entries {
	struct conf_entry *at; /* moves while being read */
	uint32_t count, room;
};

struct conf_source {
	struct conf_given globals[CONF_GLOBAL_KEYS];
	struct conf_entries in[CONF_SECTIONS];
	unsigned files;
	bool broken; /* a file could not be read to its end: what is missing may be there */
	void *memory;
	struct conf_errors *errors;
};

void conf_source_free(struct conf_source *src);
/* Memory that lives as long as the source. NULL: no memory, and said so. */
void *conf_source_take(struct conf_source *src, size_t size);
char *conf_source_copy(struct conf_source *src, const char *text, size_t length);
/* A new pool, queue or template. NULL when there is one of that name, too many, or no memory: said so. */
struct conf_entry *conf_source_add(struct conf_source *src, enum conf_section section,
				   const char *name, const char *file, unsigned line);

/* Whether a pool says this itself, and has not got it from the one it inherits. */
bool conf_source_says(const struct conf_entry *p, enum conf_pool_key key);
/* An error at a pool's key, with its (first) value: `why` is what is wrong, and what would be right. */
void conf_source_complain(struct conf_source *src, const struct conf_entry *p,
			  enum conf_pool_key key, const char *why);

/* Where entries of a section are kept. */
static inline enum conf_section conf_source_place(enum conf_section section)
{
	return section == CONF_SECTION_TEMPLATE ? CONF_SECTION_POOL : section;
}

static inline struct conf_entry *conf_source_pool(const struct conf_source *src, uint32_t i)
{
	return &src->in[CONF_SECTION_POOL].at[i];
}

static inline uint32_t conf_source_pools(const struct conf_source *src)
{
	return src->in[CONF_SECTION_POOL].count;
}

#endif
