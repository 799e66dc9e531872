/*
 * One io.crewd.Pool.Map that runs, on a connection of its own that does not block. A connection is used again
 * when its call has ended.
 *
 * begin, put ... (until MAP_FULL or there are no more lines), end; then write and read when poll(2) says so.
 */
#ifndef CREW_CTL_MAP_CALL_H
#define CREW_CTL_MAP_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/buf.h"
#include "lib/json_writer.h"

#define MAP_CHUNK_LINES 2000
#define MAP_CHUNK_BYTES (256 * 1024)

struct map_call {
	int fd; /* -1: no connection */
	bool running;
	uint64_t first;		  /* line of the first task */
	unsigned count, answered; /* tasks */
	unsigned char seen[MAP_CHUNK_LINES / 8];
	uint32_t sizes[MAP_CHUNK_LINES];
	uint32_t starts[MAP_CHUNK_LINES]; /* in `lines` */
	struct buf lines;		  /* the lines, if they are to be kept */
	struct buf out, in;
	size_t searched;
	struct json_writer json; /* between begin and end */
};

/* What a line becomes. */
struct map_spec {
	const char *pool;
	const char *method; /* NULL: none */
	bool json;	    /* each line is a JSON value */
	bool keep;	    /* lines are kept: map_call_line() */
};

enum map_put { MAP_PUT, MAP_FULL, MAP_BAD };

struct json_t;
struct message_reply;
struct map_reply {
	unsigned index; /* of the task in its call */
	struct json_t *task;
	const struct message_reply
		*error; /* not NULL: this, instead of all replies still to come */
};
typedef void map_answer(struct map_call *c, const struct map_reply *reply, void *arg);

struct map_call *map_call_new(void); /* NULL: no memory */
void map_call_free(struct map_call *c);

void map_call_begin(struct map_call *c, const struct map_spec *spec, uint64_t first);
/* One more task. MAP_FULL: it is for the next call; MAP_BAD: it can be none, *why. */
enum map_put map_call_put(struct map_call *c, const struct map_spec *spec, const char *text,
			  size_t len, const char **why);
/* True if there is a call to be sent. */
bool map_call_end(struct map_call *c);
const char *map_call_line(const struct map_call *c, unsigned index); /* not terminated; see sizes */

enum map_io {
	MAP_OK,
	MAP_LOST,  /* the daemon went away */
	MAP_WRONG, /* what it said is no right answer */
	MAP_ERROR, /* it answered by an error */
};
enum map_io map_call_write(struct map_call *c);
enum map_io map_call_read(struct map_call *c, map_answer *answer, void *arg);

#endif
