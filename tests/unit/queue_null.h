/* A kind of queue that keeps nothing and answers when the test says so: what a kind is that has to ask somebody. */
#ifndef TEST_QUEUE_NULL_H
#define TEST_QUEUE_NULL_H

#include "daemon/queue_kind.h"

#define NULL_PENDING 32

struct queue_null {
	uint64_t pending[NULL_PENDING]; /* numbers of requests, in the order in which they came */
	unsigned count;
	unsigned backs;	 /* items that came back */
	bool full;	 /* puts have to wait */
	bool may_cancel; /* requests can be taken back */
	unsigned cancelled;
};
extern struct queue_null queue_null_state;
extern const struct queue_kind queue_null;

/* Answers the oldest request; one that gets, with an item of that text. */
void queue_null_answer(enum queue_error error, const char *text);

#endif
