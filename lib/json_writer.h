/*
 * Writes JSON straight into a buffer. Commas and colons come by themselves. An error (out of room)
 * sticks: jw_ok() tells at the end, nothing needs checking before.
 */
#ifndef CREW_JSON_WRITER_H
#define CREW_JSON_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/buf.h"

struct json_writer {
	struct buf *out;
	bool comma, failed;
};

static inline struct json_writer json_writer(struct buf *out)
{
	return (struct json_writer){ .out = out };
}

void jw_object(struct json_writer *w);	   /* { */
void jw_end_object(struct json_writer *w); /* } */
void jw_array(struct json_writer *w);
void jw_end_array(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key); /* then exactly one value */
void jw_string(struct json_writer *w,
	       const char *s); /* NULL: null. Bytes that are not UTF-8 become U+FFFD */
void jw_string_n(struct json_writer *w, const char *s, size_t len);
/* Bytes as text that needs no escapes (RFC 4648, section 4). */
void jw_base64(struct json_writer *w, const void *data, size_t len);
void jw_int(struct json_writer *w, int64_t v);
void jw_double(struct json_writer *w, double v);      /* microsecond precision; not finite: null */
void jw_seconds(struct json_writer *w, int64_t usec); /* a time, as a number of seconds */
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
/* A value that is JSON text already. */
void jw_raw(struct json_writer *w, const char *text, size_t len);

static inline bool jw_ok(const struct json_writer *w)
{
	return !w->failed;
}

#endif
