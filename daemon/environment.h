/*
 * The environment of a process that is about to be: fixed space, no allocation, for use between fork and
 * exec (each child has a copy of its own). Values come from crewd's own environment, then from the caller;
 * a later one replaces an earlier one of the same name.
 */
#ifndef CREWD_ENVIRONMENT_H
#define CREWD_ENVIRONMENT_H

#include <stdbool.h>

/* Begins with crewd's own less what systemd set for crewd; `clean`: only PATH, HOME, USER, LOGNAME, SHELL
 * and LANG of it. There is always a PATH. All return false when there is no more room. */
bool environment_begin(bool clean);
bool environment_put(const char *pair);			   /* "KEY=VALUE", kept by reference */
bool environment_set(const char *name, const char *value); /* copied; NULL: nothing */
const char *environment_get(const char *name);		   /* NULL: not there */
char *const *environment_vector(void);			   /* for execve */

#endif
