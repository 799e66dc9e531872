/* A task in the hands of its function: what it is given, and its answer. For libcrew/serve.c. */
#ifndef LIBCREW_TASK_H
#define LIBCREW_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include "lib/buf.h"
#include "lib/json_slice.h"
#include "libcrew/crew.h"

#define TASK_LINE_MAX (1024 * 1024)
/* JSON-RPC's own codes */
#define TASK_NO_JSON	-32700
#define TASK_NO_REQUEST -32600
#define TASK_NO_ANSWER	-32603

struct task_text {
	char *text; /* owned; NULL: not asked for yet */
	size_t len;
};

struct crew_task {
	bool json;			     /* jsonrpc, else lines */
	bool more;			     /* others wait: the answer may be held */
	bool silent;			     /* nobody wants an answer */
	bool answered, failed;		     /* failed: lines have no answer that says so */
	int lost;			     /* a code: the answer could not be written */
	struct json_slice line, params;	     /* borrowed */
	struct json_slice id;		     /* empty: it is not known */
	struct task_text method, all, *args; /* `all`: of the parameters */
	size_t count;			     /* elements of args */
	struct buf answer;		     /* its memory stays from one task to the next */
};

/* Reads a request out of a line, which has a NUL behind it. False: it was none, and has been answered. */
bool task_take(struct crew_task *t, char *line, size_t len);
/* Frees what was given to one task. */
void task_let_go(struct crew_task *t);
/* Of what cannot be said by an answer, or not only: one line on standard error. */
void task_say(const char *what, const char *more);

#endif
