/*
 * Makes a configuration block (conf.h) piece by piece. Used by the reader for the file, and by the
 * manager for the one pool that describes a `run` worker. The builder owns what it allocates until
 * conf_build_finish().
 */
#ifndef CREWD_CONF_BUILD_H
#define CREWD_CONF_BUILD_H

#include "daemon/conf.h"

struct conf_build; /* opaque */

/* Room for so many pools and queues, all with the defaults of crewd.conf(5). NULL with errno ENOMEM. */
struct conf_build *conf_build_new(uint32_t pools, uint32_t queues);
void conf_build_free(struct conf_build *b); /* NULL is fine */

/* The structs being filled in; the pointers are valid only until the next call that adds. */
struct conf *conf_build_head(struct conf_build *b);
struct conf_pool *conf_build_pool(struct conf_build *b, uint32_t i);
struct conf_queue *conf_build_queue(struct conf_build *b, uint32_t i);

/* Copies a string / list / array into the block; offset, or 0 with errno ENOMEM or EFBIG. */
conf_off conf_build_text(struct conf_build *b, const char *s);
struct conf_list conf_build_list(struct conf_build *b, const char *const *items,
				 uint32_t count); /* items 0 and count>0: failed */
conf_off conf_build_bytes(struct conf_build *b, const void *data, size_t size); /* 8-aligned */

/* 0, or why something did not fit: ENOMEM, EFBIG. It stays, and conf_build_finish() fails by it. */
int conf_build_error(const struct conf_build *b);

/* The finished block and its size; the caller free()s it. NULL with errno. Frees the builder. */
struct conf *conf_build_finish(struct conf_build *b, size_t *size);

#endif
