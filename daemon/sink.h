/*
 * Where workers' lines end up: the journal, standard error, or a file. A thread of its own does the
 * writing, as none of the three can be written without ever waiting; the loop only fills its
 * bounded queue. sink.c and notify.c are the only files that know libsystemd.
 */
#ifndef CREWD_SINK_H
#define CREWD_SINK_H

#include <stdbool.h>
#include <stddef.h>

#define SINK_QUEUE_MAX (4 * 1024 * 1024) /* bytes waiting for the thread */

int sink_init(void);   /* starts the thread; 0, or -1 with errno */
void sink_close(void); /* writes what waits for at most two seconds, then ends the thread */

/* A destination that is a file; opened by the keeper, handed over. Owned by sink; files are counted
 * so that lines already queued reach the old one. */
struct sink_file;
struct sink_file *sink_file_new(int fd, const char *path); /* NULL: ENOMEM, fd stays the caller's */
void sink_file_unref(struct sink_file *f);		   /* NULL is fine */

enum sink_kind { SINK_JOURNAL, SINK_STDERR, SINK_FILE };
struct sink_to {
	enum sink_kind kind;
	struct sink_file *file; /* SINK_FILE */
	const char *worker;
	const char *pool; /* NULL: none */
	int pid;
};
/* Queues one line (without its newline). False when the queue is full: try again after
 * sink_when_drained() has called back. A line that a full disk does not take is dropped, counted
 * and told once in crewd's own log. */
bool sink_line(const struct sink_to *to, const char *line, size_t len);
/* Called in the loop's thread when there is room again after sink_line() returned false. */
void sink_when_drained(void (*fn)(void));

#endif
