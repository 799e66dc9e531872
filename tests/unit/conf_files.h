/* Configuration files for tests, in a directory of their own, and what reading them gives. */
#ifndef CREWD_TESTS_CONF_FILES_H
#define CREWD_TESTS_CONF_FILES_H

#include "daemon/conf_read.h"

/* cmocka setup and teardown of a test: a new directory, which becomes the working directory. */
int files_setup(void **state);
int files_teardown(void **state);

/* With the names of the caller in place of @USER@ and @GROUP@: only root may ask for others. */
void files_write(const char *name, const char *text);
void files_write_bytes(const char *name, const void *bytes, size_t size);

/* Reads "t.conf" in that directory as an ordinary user's crewd would; fails the test on an error.
 * The block is valid, and to be freed. */
struct conf *files_read(void);
/* The same after writing `text` into it. */
struct conf *files_conf(const char *text);
/* Fails the test unless reading `text` gives exactly these lines. */
void files_errors(const char *text, const char *lines);
/* Fails the test unless reading what "t.conf" now is gives exactly these lines. */
void files_now_errors(const char *lines);
/* conf_print() of it, to be freed. */
char *files_print(const struct conf *conf);

#endif
