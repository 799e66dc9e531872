/*
 * Configuration file -> block. Runs in a process of its own that may be killed or crash: it opens
 * files, looks up users, and lets libconfuse parse. (conf_read.c: the sequence; conf_file.c: bytes
 * of files; conf_lex.c, conf_scan.c: what libconfuse does not notice; conf_parse.c: the only file
 * that knows libconfuse; conf_source.c: what was written, and where; conf_keys.c: one row a key;
 * conf_value.c: texts to fields; conf_check.c: across keys; conf_user.c: who runs it;
 * conf_show.c, conf_print.c: the way back.)
 */
#ifndef CREWD_CONF_READ_H
#define CREWD_CONF_READ_H

#include "daemon/conf.h"

/* Errors as lines `FILE:LINE: what is wrong, and what would be right`, all in one go, at most
 * CREW_CONF_ERRORS_MAX bytes of them (then a line that says how many more). */
struct conf_errors {
	char *text; /* malloc()ed, NUL-terminated; NULL while there is none */
	size_t len;
	unsigned count, left_out;
};

void conf_errors_add(struct conf_errors *e, const char *file, unsigned line, const char *format,
		     ...) __attribute__((format(printf, 4, 5)));
/* A line that is no error: `FILE:LINE: warning: ...`; not counted. */
void conf_errors_warn(struct conf_errors *e, const char *file, unsigned line, const char *format,
		      ...) __attribute__((format(printf, 4, 5)));
/* The last line, if some were left out: how many. */
void conf_errors_end(struct conf_errors *e, const char *file);
void conf_errors_free(struct conf_errors *e);

/* Reads `path` and all it includes. A block to free(), and perhaps warnings in `e`; or NULL with at
 * least one error in it.
 * `as_root`: whether identities are to be looked up as for a crewd that root started. */
struct conf *conf_read(const char *path, bool as_root, size_t *size, struct conf_errors *e);

/* Prints the block in the file's own language to `f`; reading that back gives the same block. */
void conf_print(const struct conf *conf, void *f /* FILE * */);

/* The reader process: `crewd --internal=reader FILE`, block to fd 3, errors to fd 4 (two memfds).
 * Sets its own limits (CPU, memory) and empties its environment. Returns the exit code: 0, 78. */
int conf_reader_main(const char *path);

#endif
