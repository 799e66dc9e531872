/*
 * A bounded first-in first-out queue of items (any bytes; by the daemon's convention JSON text) in one
 * sealed memfd, for any number of producers and consumers in processes that trust the kernel, but not one
 * another. Whoever has the descriptor may attach; then put and get ask nobody.
 *
 * What holds
 *  - An item is in the queue from the one instruction that commits its put to the one that commits its
 *    get. SIGKILL of any participant at any instruction loses no item whose put has returned, delivers
 *    none twice, and leaves nothing locked. A get is committed after the whole item is in the
 *    caller's buffer: who is killed in a get has either taken nothing, or has all of it there.
 *  - Consumers take no lock (compare-and-swap of one word). Producers take one among themselves; when
 *    its holder was killed, those who wait find that out from the kernel after some milliseconds and
 *    take it over (lib/shared_lock.h says how, and why it is not a robust mutex). A producer that is
 *    *stopped* between two instructions of a put (SIGSTOP, freezer) holds up the other producers until
 *    it goes on; consumers never.
 *  - Items come out in the order in which their puts were committed. Of those who sleep, the one who
 *    has slept longest is woken first, as the kernel's futex queue has it (among threads of the same
 *    priority); somebody who comes along just then may be faster. A put of a large item may wait long
 *    while small ones find room.
 *  - Whoever was to wake a sleeper and is killed just before, or is killed just after being woken,
 *    delays the sleeper by at most a second: each looks again by itself that often.
 *  - Participants may be in different PID and mount namespaces and have different uids.
 *  - Whatever a participant writes into the memory, at any time: the others neither crash nor touch a
 *    byte outside the mapping, nor go round in circles. They may get EPROTO, wrong items, or none.
 *    Who may write the memory can empty the queue; it protects against accidents and takes no power.
 *  - The ring is used from end to end: with time it takes max_bytes of memory, and gives none back.
 *  - Nobody can shrink the memory (seals), so that touching it never raises SIGBUS for that reason.
 *
 * Threads may share a handle. A child made by fork may not use it: its calls fail with EBADF; it attaches
 * for itself. Not for signal handlers; a thread that is cancelled or longjmps out of a call may
 * leave the lock held for as long as its process lives.
 *
 * Every call that can fail returns -1 with errno. Besides what stands at each:
 *   EBADF            this is a child made by fork
 *   EPROTO           the memory is not what it should be: somebody has written over it
 *   ENOTRECOVERABLE  (put) one producer alone has held the others up for 10 s and is alive, or the memory
 *                    says so; nothing was put, and another try is allowed
 *
 * Timeouts are in microseconds (CLOCK_MONOTONIC): 0 not to wait, -1 to wait for ever. Signals do not end
 * a wait.
 */
#ifndef CREW_SHARED_QUEUE_H
#define CREW_SHARED_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARED_QUEUE_VERSION   1
#define SHARED_QUEUE_BYTES_MIN 64
#define SHARED_QUEUE_BYTES_MAX (INT64_C(1) << 31)
#define SHARED_QUEUE_ITEMS_MAX (1u << 30)

struct shared_queue;

/* What an item of `size` bytes takes of max-bytes: 8 more, both rounded up to 8, at least 16. */
size_t shared_queue_cost(size_t size);

/* Bytes of the memfd for a queue with that max_bytes; 0 with errno EINVAL if it is out of range. */
size_t shared_queue_size(uint64_t max_bytes);

/* A new, empty queue: its memfd, close-on-exec and sealed, which the caller hands on (SCM_RIGHTS) and
 * closes. `maxsize`: items it may hold, 0: no limit but max_bytes. `name` is for /proc/PID/maps only.
 * Errors: EINVAL (a size is out of range), those of memfd_create(2) and ftruncate(2). */
int shared_queue_create(const char *name, uint32_t maxsize, uint64_t max_bytes);

/* NULL with errno: EINVAL (not such a memfd: kind, size, seals, magic), EPROTONOSUPPORT (another version),
 * those of mmap(2) and open(2): it opens /proc/self/fd/FD, so /proc must be mounted. `fd` stays the
 * caller's and may be closed. */
struct shared_queue *shared_queue_attach(int fd);

/* NULL is allowed, and so is a handle that a child inherited. Nobody may be inside another call. */
void shared_queue_detach(struct shared_queue *q);

/* A copy of the item at the end of the queue. EAGAIN (no room in that time; with timeout 0 also when
 * another producer keeps the lock for 10 ms), EMSGSIZE (would not fit into the empty queue). */
int shared_queue_put(struct shared_queue *q, const void *item, size_t size, int64_t timeout);

/* The first item, into the caller's buffer of *size bytes; *size is then its length. EAGAIN (none in that
 * time), ERANGE (the buffer is too small: *size is what is needed, and nothing was taken). What the
 * buffer holds after an error is undefined. */
int shared_queue_get(struct shared_queue *q, void *buffer, size_t *size, int64_t timeout);

/* The same into memory of malloc's, the caller's to free, with a NUL added that does not count. Also
 * ENOMEM; then nothing was taken. */
int shared_queue_get_alloc(struct shared_queue *q, void **item, size_t *size, int64_t timeout);

/* Exact at one moment during the call. full: an item of one byte would be refused. */
int64_t shared_queue_qsize(struct shared_queue *q);
int shared_queue_empty(struct shared_queue *q); /* 1, 0, -1 */
int shared_queue_full(struct shared_queue *q);	/* 1, 0, -1 */
int64_t
shared_queue_bytes(struct shared_queue *q); /* of max_bytes, as shared_queue_cost() counts */
int64_t shared_queue_unfinished(struct shared_queue *q); /* puts without their task_done */
uint32_t shared_queue_maxsize(const struct shared_queue *q);
uint64_t shared_queue_max_bytes(const struct shared_queue *q);

/* As JoinableQueue has it: each put is one task more, each task_done one less. EINVAL: more task_done than
 * puts. join waits until there was a moment without tasks; EAGAIN: there was none in that time. */
int shared_queue_task_done(struct shared_queue *q);
int shared_queue_join(struct shared_queue *q, int64_t timeout);

/*
 * For a loop of one's own: an eventfd that is readable while there may be items (room). It belongs to the
 * handle; only poll it, never read or close it. A get (put) with timeout 0 that failed with EAGAIN makes
 * it unreadable until there is something again, so: when it is readable, get with timeout 0 until EAGAIN
 * or as often as one likes. The first call starts a thread in this process, which waits in its stead: an
 * eventfd that all processes share could be made to block, or to be silent, by any of them.
 */
int shared_queue_items_fd(struct shared_queue *q);
int shared_queue_room_fd(struct shared_queue *q);

#endif
