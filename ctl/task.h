/*
 * Tasks, as crewctl's users see them: from the arguments of a verb to the parameters of a call, and from a
 * task that has ended to its bytes, its exit status and what happened in a line.
 */
#ifndef CREW_CTL_TASK_H
#define CREW_CTL_TASK_H

#include "ctl/ctl.h"

/* What encloses a value that a user wrote, at most: message, parameters, tasks, task, args. */
#define TASK_NESTING 6

/* Writes pool, args, input, method and params as the command line has them. 0, or the exit code after a
 * message. */
int task_params(struct ctl *ctl, struct params_out *p);

bool task_succeeded(const struct json_t *task);
/* 0, the exit status of its process, 128+N for signal N, or that of the error. */
int task_status(const struct json_t *task);
/* Number of the signal that ended it; 0: none. */
int task_signal(const struct json_t *task);
/* Its process has told an exit status: it is an exec task. */
bool task_exitcode(const struct json_t *task, int64_t *exitcode);
/* What happened to one that has not succeeded, in one line. Returns `buf`. */
const char *task_why(const struct json_t *task, char *buf, size_t size);

/* How bytes are told from a value that looks like them. */
enum task_bytes {
	TASK_BYTES, /* {"base64": ...} is bytes: exec, lines */
	TASK_VALUE, /* it is a value like others: jsonrpc */
};
/* True if it depends on the kind of the pool what the result is. */
bool task_result_in_doubt(const struct json_t *task);
/* Appends the bytes of its result; nothing is added to them. 0, or -1: no memory. */
int task_result(const struct json_t *task, enum task_bytes bytes, struct buf *out);

/* All that can be read, up to one byte more than a call may have. 0, or -1 with errno. */
int read_all(int fd, struct buf *text);
/* Copies `text` as one line: control characters become spaces. Returns `buf`. */
char *one_line(char *buf, size_t size, const char *text);

#endif
