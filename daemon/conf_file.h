/* One configuration file -> its bytes, or an error that says why not. */
#ifndef CREWD_CONF_FILE_H
#define CREWD_CONF_FILE_H

#include "daemon/conf_source.h"

/* Reads `path`, a regular file of at most CREW_CONF_FILE_MAX bytes without NUL, and as root one that
 * nobody else can write. NULL: an error was added, at `from`:`line` if an include asked for it. The
 * bytes live as long as the source. */
char *conf_file_read(struct conf_source *src, const char *path, bool as_root, const char *from,
		     unsigned line, size_t *size);

/* The paths that `pattern`, written in `file`, stands for: calls `each` in order. */
void conf_file_expand(struct conf_source *src, const char *pattern, const char *file, unsigned line,
		      void (*each)(const char *path, void *arg), void *arg);

#endif
