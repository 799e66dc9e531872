/*
 * A lock in shared memory that outlives its holders: when one is killed, the next one takes it over.
 *
 * Why not a robust mutex of libc. It keeps a list of the mutexes a thread holds *in the mutexes*, and
 * libc writes through these pointers: whoever can scribble over the memory makes another process write
 * where he likes. Why not the kernel's own robust futex with the thread's "pending" entry and nothing
 * in the list: the kernel compares the dying thread's number with the one in the word, each in its own
 * PID namespace, so that the death of thread 7 in one container frees the lock that thread 7 in another
 * one holds. Two writers at once would follow.
 *
 * So here the word names a *seat*, and who has a seat holds a lock of the kernel's (fcntl, open file
 * description) on one byte of the same file, far behind its end. The kernel lets go of it when the
 * process is gone, by exit, exec or SIGKILL, in whatever namespace and under whatever uid, and nobody
 * can say in its stead that it is gone. The description is held by the mapping of the memory alone:
 * there is no descriptor that a closefrom(2) could close, and children made by fork inherit neither
 * mapping nor seat. Finding a holder dead costs those who wait a system call every few milliseconds;
 * taking and leaving the lock when it is free costs none.
 *
 * The word counts each time the lock is taken, in its upper half, so that one who found a holder dead
 * takes over from that holding and no later one.
 */
#ifndef CREW_SHARED_LOCK_H
#define CREW_SHARED_LOCK_H

#include <sys/types.h>

#include "lib/shared_word.h"

struct shared_seat {
	uint32_t number; /* 1 .. 2^31-1, of those who are alive no two the same */
	int fd; /* the file, to ask with whether others live; not the description with the seat */
	dev_t dev; /* what fd must still be: a program may have closed it and opened another */
	ino_t ino;
};

/* Takes a seat for as long as `own`, an open file description that nobody else has, lives. `fd` is
 * another one of the same file, and stays the caller's. 0, or -1 with errno. */
int shared_seat_take(struct shared_seat *seat, int own, int fd);

/* True: it was free, at once or some microseconds later. Not recursive; threads of one process may share
 * a seat. */
bool shared_lock_at_once(shared_word *word, const struct shared_seat *seat);

/* 0, or -1 with errno: ETIMEDOUT (the deadline is over), ENOTRECOVERABLE (one and the same holder has
 * kept it for 10 s and is alive: stopped, or the word is forged). */
int shared_lock_wait(shared_word *word, const struct shared_seat *seat, int64_t deadline);

/* Without effect on a lock that this seat does not hold. */
void shared_unlock(shared_word *word, const struct shared_seat *seat);

#endif
