/* Memory that is handed to another process and cannot change any more: a memfd with all its seals. */
#ifndef CREWD_SEALED_H
#define CREWD_SEALED_H

#include <stdbool.h>
#include <stddef.h>

/* A descriptor (close-on-exec, at its beginning) with a copy of the bytes, or -1 with errno. */
int sealed_memory(const char *name, const void *data, size_t size);
/* Whether this is such memory: the bytes at hand are there to stay, and reading them never waits. */
bool sealed_is(int fd);

#endif
