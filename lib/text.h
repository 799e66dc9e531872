/*
 * Words, numbers and units as users write them: names, durations, sizes, signals. Pure functions,
 * used by the configuration, the protocol and crewctl alike.
 */
#ifndef CREW_TEXT_H
#define CREW_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* [A-Za-z0-9_.-]{1,64}, and neither "." nor "..". */
bool text_name_ok(const char *s);
/* A pool's name: as above, and not ending in -DIGITS. */
bool text_pool_name_ok(const char *s);
/* True if `s` is POOL-DIGITS of the pool named `pool`. */
bool text_is_worker_of(const char *s, const char *pool);

/* Decimal integer, whole string, no sign but '-', no octal. 0, or -1 with errno EINVAL or ERANGE.
 */
int text_int(const char *s, int64_t *out);
/* "500ms", "10s", "1min 30s", "2h", "1d"; a bare number is refused except 0. Microseconds. 0/-1. */
int text_duration(const char *s, int64_t *usec);
/* "64K", "512M", "2G", "1T" or plain bytes; powers of 1024. 0/-1. */
int text_size(const char *s, uint64_t *bytes);
/* "TERM", "SIGTERM", "15", "RTMIN+3". Number 1..64, or -1. */
int text_signal(const char *s);
/* "SIGTERM", "SIGRTMIN+3"; never NULL (static storage). */
const char *text_signal_name(int sig);

/* For people: "2min 3s", "400ms", "3d 4h": at most the two largest units. Returns `buf`. */
char *text_duration_show(char *buf, size_t size, int64_t usec);
/* The file's own language, exact: what text_duration() reads back to the same value. */
char *text_duration_print(char *buf, size_t size, int64_t usec);
/* For people: "3.4M", "512K", "17B". */
char *text_size_show(char *buf, size_t size, uint64_t bytes);
/* Exact: what text_size() reads back ("64K", "1000"). */
char *text_size_print(char *buf, size_t size, uint64_t bytes);

/* Decimal digits of v, without a NUL behind them. How many there are. */
#define TEXT_DIGITS 20
size_t text_digits(char *out, uint64_t v);

/* Length of the UTF-8 sequence that begins at `s`, at most `left` bytes; 0 if there is none (NUL too). */
size_t text_utf8_sequence(const char *s, size_t left);
/* True if `s` is valid UTF-8 without NUL in `len` bytes. */
bool text_utf8_ok(const char *s, size_t len);

#endif
