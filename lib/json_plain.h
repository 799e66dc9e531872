/*
 * JSON-RPC responses as most workers write them most of the time, read without building a tree. What is not of
 * this simple form is no mistake: it is for message_read_response() to judge.
 */
#ifndef CREW_JSON_PLAIN_H
#define CREW_JSON_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the value at `text`, if it is one without objects, escapes, exponents and long numbers; else 0. */
size_t json_plain_value(const char *text, size_t len);
/* True if the text is an object of exactly "jsonrpc":"2.0", an integer "id" and a "result" that is such a value.
 * The result lies inside the text. */
bool json_plain_response(const char *text, size_t len, int64_t *id, const char **result,
			 size_t *result_len);

#endif
