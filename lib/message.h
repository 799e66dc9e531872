/*
 * Varlink messages. The only header (with message.c) that knows the JSON library for reading.
 *
 * A call is read with bounds first (size, nesting, no duplicate key), then shape: `method` a
 * string, `parameters` an object or absent or null, at most one of the flags. Typed field readers
 * below check one parameter each and remember which were read, so that message_params_done() can
 * refuse the others.
 */
#ifndef CREW_MESSAGE_H
#define CREW_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/buf.h"
#include "lib/json_slice.h"
#include "lib/json_writer.h"

struct json_t; /* jansson's */

struct message_call {
	struct json_t *root;   /* owned */
	const char *method;    /* inside root */
	struct json_t *params; /* inside root; NULL when absent, null or {} */
	bool more, oneway, upgrade;
	/* Some numbers are too large for the tree, which has {} instead: only who takes values by their text
	 * may go on. */
	bool overflow;
	struct json_slice text; /* as it came; the caller's */
};

/* 0; or -1 when the text is no call (then the connection is to be closed), *why says it (static).
 */
int message_read_call(const char *text, size_t len, struct message_call *call, const char **why);
/* The same; but long strings that lists have, or that are called `item`, may be empty in the tree: *hollow. */
int message_read_hollow(const char *text, size_t len, struct message_call *call, bool *hollow,
			const char **why);
void message_call_free(struct message_call *call);

struct message_reply {
	struct json_t *root;   /* owned */
	const char *error;     /* NULL: no error; inside root */
	struct json_t *params; /* inside root; NULL when absent */
	bool continues;
	struct json_slice text; /* as it came; owned */
};
int message_read_reply(const char *text, size_t len, struct message_reply *reply, const char **why);
void message_reply_free(struct message_reply *reply);

/* The text of a member of the parameters, with its numbers as they were written. */
bool message_param_text(struct json_slice message, const char *name, struct json_slice *value);

/* A JSON-RPC 2.0 response: exactly one of plain, result and error is not NULL. */
struct message_response {
	struct json_t *root; /* owned */
	bool has_id;	     /* it is an integer */
	int64_t id;
	struct json_t *result, *error; /* inside root */
	/* Instead of root and result, of one that is read without a tree: the result's text, inside the text. */
	const char *plain;
	size_t plain_len;
};
/* 0; or -1 when the text is none, *why says it (static). */
int message_read_response(const char *text, size_t len, struct message_response *r,
			  const char **why);
void message_response_free(struct message_response *r);

/*
 * Reading parameters. Set up with params_begin(); each reader returns true when there is a value
 * and it is right. An optional one that is absent or null: false, without an error. What is wrong
 * sets `bad` to the parameter's name (first one wins), and all later readers return false.
 * Names are kept as they are: they have to live as long as `struct params`.
 */
#define PARAMS_MAX 16 /* a method has fewer */
struct params {
	struct json_t *object; /* may be NULL */
	const char *bad;       /* NULL: none so far */
	const char *bad_why;   /* what would be right: "an integer from 0 to 10000" */
	char why_space[96];
	const char *asked[PARAMS_MAX]; /* names that have been read, there or not */
	unsigned asked_count;
};
void params_begin(struct params *p, struct json_t *object);
bool params_string(struct params *p, const char *name, bool required,
		   const char **out); /* no NUL inside */
bool params_bool(struct params *p, const char *name, bool *out);
bool params_int(struct params *p, const char *name, bool required, int64_t min, int64_t max,
		int64_t *out);
/* A span of time in seconds, >= 0; microseconds out, cut at 2^53. */
bool params_seconds(struct params *p, const char *name, int64_t *usec);
/* A list of strings, at most `max`: *out is malloc()ed (the array, not the strings). */
bool params_strings(struct params *p, const char *name, bool required, unsigned max,
		    const char ***out, unsigned *count);
/* Any value; NULL out when absent or null. */
bool params_value(struct params *p, const char *name, bool required, struct json_t **out);
/* A list. */
bool params_array(struct params *p, const char *name, bool required, struct json_t **out);
/* A string that may have NUL inside. */
bool params_bytes(struct params *p, const char *name, const char **out, size_t *len);
/* The tree of that parameter is not needed any more: a call that waits for long should not hold it. To be called
 * after params_done(). */
void params_forget(struct params *p, const char *name);
/* True if nothing was wrong and no unknown parameter is there; else `bad` is set. */
bool params_done(struct params *p);

/* Writing whole frames, the NUL included. 0, or -1 with errno (ENOBUFS: over the buffer's max). */
/* Call: `params` is JSON text of an object or NULL. */
enum message_flags { MESSAGE_MORE = 1, MESSAGE_ONEWAY = 2 };
int message_write_call(struct buf *out, const char *method, const char *params, size_t len,
		       unsigned flags);
/* Reply in two steps, so that parameters stream straight into `out`: between the two, write exactly
 * one JSON object with the writer. end: on any failure takes back what was written since begin. */
struct message_write {
	struct json_writer json;
	size_t mark;
};
void message_write_reply(struct message_write *m, struct buf *out);
int message_write_reply_end(struct message_write *m, bool continues);
void message_write_error(struct message_write *m, struct buf *out, const char *error);
int message_write_error_end(struct message_write *m);

/* Reading replies: members of an object, for clients. NULL/default when absent or of another type.
 */
struct json_t *json_get(const struct json_t *object, const char *key);
const char *json_get_string(const struct json_t *object, const char *key);
const char *json_as_string(const struct json_t *value); /* NULL: it is none */
/* The bytes of a string, which may have NUL inside; NULL: it is none. */
const char *json_as_bytes(const struct json_t *value, size_t *len);
/* '{', '[', '"', '0' (a number), 't', 'f', 'n' (null, or no value). */
char json_kind(const struct json_t *value);
bool json_get_int(const struct json_t *object, const char *key, int64_t *out);
bool json_get_double(const struct json_t *object, const char *key, double *out);
bool json_get_bool(const struct json_t *object, const char *key, bool *out);
bool json_is_plain(const struct json_t *value); /* a string without NUL */
size_t json_size(const struct json_t *object);	/* how many members it has; 0 when it is none */
size_t json_count(const struct json_t *array);	/* 0 when it is no array */
struct json_t *json_at(const struct json_t *array, size_t i);
/* Text of any value, compact: malloc()ed, or NULL. */
char *json_text(const struct json_t *value);

/* A value that a user wrote, to be put into a call `spare` levels deep. To be freed; or NULL, *why says what is
 * wrong (until the next call). */
struct json_t *json_read(const char *text, size_t len, int spare, const char **why);
/* A value out of a call that was read before: its strings may have NUL inside. NULL: one of its numbers is too
 * large for the tree, or there is no memory. */
struct json_t *json_read_back(const char *text, size_t len);
void json_free(struct json_t *value); /* NULL is fine */
/* Whether it is a value, whatever the size of its numbers; else *why as above. */
bool json_valid(const char *text, size_t len, int spare, const char **why);

#endif
