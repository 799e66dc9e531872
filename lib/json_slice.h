/*
 * Where a value stands in a JSON text. A tree of numbers is not what was written: 0.1, -0 and integers beyond
 * 64 bits come out of it as something else. Who has to hand on a value as it came takes its text.
 *
 * The text must have been parsed before: nothing here checks it, though no text makes it read outside.
 */
#ifndef CREW_JSON_SLICE_H
#define CREW_JSON_SLICE_H

#include <stdbool.h>
#include <stddef.h>

struct json_slice {
	const char *text;
	size_t len;
};

/* The value of an object's member; false: it is no object, or has none of that name (ASCII). */
bool json_slice_member(struct json_slice object, const char *key, struct json_slice *value);
/* The elements of an array one by one: begin with *at = 0. False: no more (or it is no array). */
bool json_slice_next(struct json_slice array, size_t *at, struct json_slice *element);
/* Copies it without the white space between its parts; `to` has room for slice.len. Returns its length. */
size_t json_slice_compact(struct json_slice slice, char *to);
/* Copies it with strings emptied that are longer than `longest`, of ASCII without escapes, and elements of arrays or
 * members called `key`: the copy is JSON if and only if the text is, with all else where it was. Whoever takes such
 * values by their text need not have them parsed. `to` has room for slice.len. Returns its length. */
size_t json_slice_hollow(struct json_slice slice, const char *key, size_t longest, char *to);
/* Calls `each` for every number. */
void json_slice_numbers(struct json_slice slice, void (*each)(size_t at, size_t len, void *arg),
			void *arg);

#endif
