/*
 * What workers print: reads their pipes, keeps the last CREW_LOG_RING bytes of each in the log
 * memory (a memfd that outlives the manager), and hands lines on to where `log` says (sink.h).
 */
#ifndef CREWD_OUTPUT_H
#define CREWD_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include "daemon/worker.h"

/* Maps the log memory. 0, or -1 with errno. */
int output_init(int logs_fd);
/* Size of the log memory: the rings, and behind them what is known of each. A smaller memfd is made
 * larger by output_init(). */
size_t output_logs_size(void);
/* Starts reading a worker's pipe; owns fd. */
void output_attach(struct worker *w, int fd);
/* Nothing is read until its process is known: its lines are given out with the pid. */
void output_wait(struct worker *w);
void output_begin(struct worker *w);
/* Its process has ended: takes in what is in its pipe, which is done with unless somebody else holds it. */
void output_ended(struct worker *w);
/* The worker leaves the table: gives its log memory back. */
void output_forget(struct worker *w);

/* Positions count bytes the worker has ever printed. What is kept is [first, end). */
void output_range(const struct worker *w, uint64_t *first, uint64_t *end);
/* Copies up to `size` bytes from position `from` (moved up to the first kept); returns the count,
 * and sets *from to the position after them. */
size_t output_read(const struct worker *w, uint64_t *from, char *to, size_t size);
/* Position from which the last `lines` lines begin. */
uint64_t output_last_lines(const struct worker *w, unsigned lines);
/* The last lines in one, what stands between them being " | ". Returns buf. */
char *output_last_words(const struct worker *w, unsigned lines, char *buf, size_t size);
/* Takes in what waits in its pipe, as far as that may be read now. */
void output_catch_up(struct worker *w);
/* Called when a worker has printed something; one observer (rpc). */
void output_observe(void (*fn)(struct worker *w));

/* The file that `log` names has been opened (fd is output's now), or not: fd -1 and errno. */
void output_pool_file(struct pool *p, int fd, int err);
/* The pool leaves: lets go of its file. */
void output_pool_gone(struct pool *p);
/* Read end of the worker's pipe, -1: none. */
int output_fd(const struct worker *w);
/* The same, but it is there as long as the process is, though that may have closed its output. */
int output_owner(const struct worker *w);

#endif
