/*
 * An eventfd that becomes readable when a shared word is no more what it was: a thread sleeps on the word
 * in the loop's stead. Readable from the start; armed again by whoever has looked and found nothing.
 */
#ifndef CREW_SHARED_WATCH_H
#define CREW_SHARED_WATCH_H

#include <pthread.h>

#include "lib/shared_word.h"

struct shared_watch {
	_Atomic int fd;	   /* -1: there is none */
	shared_word *word; /* not ours */
	pthread_t thread;
	pthread_mutex_t mutex; /* below it: */
	pthread_cond_t changed;
	uint64_t since; /* armed: readable when the word is not this */
	bool armed, stopped, ended;
};

/* 0, or the error number. */
int shared_watch_init(struct shared_watch *w, shared_word *word);

/* The descriptor; the first call makes it, and the thread. -1 with errno. */
int shared_watch_fd(struct shared_watch *w);

/* Not readable until the word differs from `since`. Nothing, when nobody has asked for the descriptor. */
void shared_watch_arm(struct shared_watch *w, uint64_t since);

void shared_watch_end(struct shared_watch *w);

#endif
