/* The log of a map: a line for each task that has ended, with the columns of GNU parallel's --joblog. */
#ifndef CREW_CTL_JOBLOG_H
#define CREW_CTL_JOBLOG_H

#include <stdint.h>
#include <stdio.h>

struct json_t;

FILE *joblog_open(const char *path); /* NULL with errno */
/* `line` from 0; `task` NULL: its line could not be given to the daemon. */
void joblog_write(FILE *log, uint64_t line, const struct json_t *task, const char *text, size_t len,
		  size_t received);
/* 0, or -1 with errno: something could not be written. */
int joblog_flush(FILE *log);

#endif
