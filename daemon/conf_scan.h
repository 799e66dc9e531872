/*
 * What libconfuse does not notice: the grammar with its lines, unknown keys, keys given twice, one
 * value where a list belongs, names, includes. Notes in the source where each key stands, and writes
 * a clean text for libconfuse: the same lines, without comments, includes and whatever was wrong.
 */
#ifndef CREWD_CONF_SCAN_H
#define CREWD_CONF_SCAN_H

#include "daemon/conf_source.h"

/* What include("PATTERN") is to do. */
typedef void conf_include_fn(const char *pattern, unsigned line, void *arg);

struct conf_scan {
	struct conf_source *src;
	const char *file;
	conf_include_fn *include;
	void *include_arg;
};

/* The clean text (lives as long as the source), or NULL when the file ends before it should or is
 * otherwise not to be understood to its end; then the source is `broken`. */
char *conf_scan(const struct conf_scan *scan, const char *text, size_t size);

#endif
