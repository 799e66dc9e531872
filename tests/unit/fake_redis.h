/* redis.h without a server: the test says when it is there, and what it answers. */
#ifndef TEST_FAKE_REDIS_H
#define TEST_FAKE_REDIS_H

#include "daemon/redis.h"

/* The first connection is the link, the second listens. */
enum { FAKE_LINK, FAKE_BELL, FAKE_CONNECTIONS };
bool fake_redis_there(int which);
void fake_redis_up(int which);
void fake_redis_down(int which);
/* The command under way: the name of its script and the words behind the keys, as in "put 1 0 1000 1"; of one without
 * a script, all words. "": none. */
const char *fake_redis_sent(int which);
/* An error, "-OOM no"; or a list of numbers, and texts in quotes: "3 10 3 'text'". */
void fake_redis_answer(int which, const char *text);
void fake_redis_message(const char *what);

#endif
