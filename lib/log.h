/*
 * crewd's own log, on standard error: with sd-daemon priority prefixes when that is the journal,
 * plain and time-stamped otherwise. One line a message; never blocks (a line that standard error
 * does not take at once is dropped, and the next one that goes out says how many were).
 * No allocation: usable in the keeper.
 */
#ifndef CREW_LOG_H
#define CREW_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* Decides by JOURNAL_STREAM and fd 2 whether the prefix form is right. */
void log_init(void);
/* After log_init(): whether standard error is the journal. */
bool log_is_journal(void);
/* Messages above this level are left out; LOG_LEVEL_INFO at start. */
void log_set_level(enum log_level level);
/* `object` is whom the line is about ("web-3", "keeper"), NULL for crewd itself. */
void log_line(enum log_level level, const char *object, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(object, ...)	 log_line(LOG_LEVEL_ERROR, object, __VA_ARGS__)
#define log_warning(object, ...) log_line(LOG_LEVEL_WARNING, object, __VA_ARGS__)
#define log_info(object, ...)	 log_line(LOG_LEVEL_INFO, object, __VA_ARGS__)
#define log_debug(object, ...)	 log_line(LOG_LEVEL_DEBUG, object, __VA_ARGS__)

#endif
