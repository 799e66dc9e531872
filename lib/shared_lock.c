#include "lib/shared_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"

#define SEATS_AT   (INT64_C(1) << 40) /* beyond the end of every queue */
#define SEAT_MASK  UINT32_C(0x7fffffff)
#define SEAT_TRIES 64
#define SPINS	   200
#define LOOK_FIRST (2 * USEC_PER_MSEC) /* after this long: does the holder live? */
#define LOOK_MOST  (50 * USEC_PER_MSEC)
#define HELD_MAX   (10 * USEC_PER_SEC)

_Static_assert(sizeof(off_t) == 8, "the seats lie beyond 4 GiB");

/* {how often taken: 32, seat: 31, somebody may sleep: 1}; seat 0: free. */
static uint32_t holder(uint64_t word)
{
	return (uint32_t)word >> 1;
}

static uint64_t taken_by(uint64_t before, uint32_t number, uint64_t sleepers)
{
	return ((before >> 32) + 1) << 32 | (uint64_t)number << 1 | sleepers;
}

static struct flock seat_byte(short type, uint32_t number)
{
	return (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = SEATS_AT + number, .l_len = 1
	};
}

int shared_seat_take(struct shared_seat *seat, int own, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	*seat = (struct shared_seat){ .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
	for (int i = 0; i < SEAT_TRIES; i++) {
		struct flock byte;

		if (getrandom(&seat->number, sizeof(seat->number), 0) != sizeof(seat->number))
			return -1;
		seat->number &= SEAT_MASK;
		byte = seat_byte(F_WRLCK, seat->number);
		if (seat->number && fcntl(own, F_OFD_SETLK, &byte) == 0)
			return 0;
	}
	return -1;
}

/* True only if the kernel says so: of a descriptor that is no more ours nothing can be learned. */
static bool is_dead(const struct shared_seat *seat, uint32_t number)
{
	struct flock byte = seat_byte(F_WRLCK, number);
	struct stat st;

	if (number == seat->number)
		return false;
	if (fcntl(seat->fd, F_OFD_GETLK, &byte) < 0 || byte.l_type != F_UNLCK)
		return false;
	return fstat(seat->fd, &st) == 0 && st.st_dev == seat->dev && st.st_ino == seat->ino;
}

static bool take_when_free(shared_word *word, uint32_t number, uint64_t sleepers)
{
	uint64_t now = atomic_load_explicit(word, memory_order_relaxed);

	for (int i = 0; i < WORD_TRIES && holder(now) == 0; i++)
		if (atomic_compare_exchange_weak(
			    word, &now, taken_by(now, number, sleepers | (now & WORD_SLEEPERS))))
			return true;
	return false;
}

static bool spin(shared_word *word, uint32_t number)
{
	if (!word_spin_helps())
		return false;
	for (int i = 0; i < SPINS; i++) {
		if (holder(atomic_load_explicit(word, memory_order_relaxed)) == 0 &&
		    take_when_free(word, number, 0))
			return true;
		word_pause();
	}
	return false;
}

/* One holding of the lock by somebody else, and how long it has been watched. */
struct watched {
	uint64_t word;
	int64_t since, look; /* look: after this long it is asked whether the holder lives */
};

static void watch(struct watched *w, uint64_t seen, int64_t now)
{
	if (w->since && (w->word | WORD_SLEEPERS) == (seen | WORD_SLEEPERS))
		return;
	*w = (struct watched){ .word = seen, .since = now, .look = LOOK_FIRST };
}

static void sleep_on(shared_word *word, uint64_t seen, int64_t until)
{
	uint64_t asleep = seen | WORD_SLEEPERS;

	if (seen == asleep || atomic_compare_exchange_strong(word, &seen, asleep))
		word_futex_wait(word, asleep, until);
}

/* From that holding and no later one. */
static bool take_from_dead(shared_word *word, const struct shared_seat *seat, struct watched *w)
{
	uint64_t seen = atomic_load(word);

	w->look = w->look * 2 < LOOK_MOST ? w->look * 2 : LOOK_MOST;
	if ((seen | WORD_SLEEPERS) != (w->word | WORD_SLEEPERS) || !is_dead(seat, holder(seen)))
		return false;
	return atomic_compare_exchange_strong(word, &seen,
					      taken_by(seen, seat->number, WORD_SLEEPERS));
}

/* Once asleep, nobody knows who else is: whoever takes the lock then leaves the bit set. */
int shared_lock_wait(shared_word *word, const struct shared_seat *seat, int64_t deadline)
{
	struct watched w = { 0 };
	int64_t now = clock_now(), until;

	for (int i = 0; i < WORD_TRIES; i++) {
		uint64_t seen = atomic_load(word);

		if (holder(seen) == 0) {
			if (take_when_free(word, seat->number, WORD_SLEEPERS))
				return 0;
			continue;
		}
		watch(&w, seen, now);
		if (now >= deadline) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (now - w.since > HELD_MAX)
			break;
		until = now + w.look;
		sleep_on(word, seen, deadline < until ? deadline : until);
		now = clock_now();
		if (now - w.since >= w.look && take_from_dead(word, seat, &w))
			return 0;
	}
	errno = ENOTRECOVERABLE;
	return -1;
}

bool shared_lock_at_once(shared_word *word, const struct shared_seat *seat)
{
	return take_when_free(word, seat->number, 0) || spin(word, seat->number);
}

void shared_unlock(shared_word *word, const struct shared_seat *seat)
{
	uint64_t now = atomic_load_explicit(word, memory_order_relaxed);

	for (int i = 0; i < WORD_TRIES && holder(now) == seat->number; i++) {
		uint64_t generation = now >> 32 << 32;

		if (!atomic_compare_exchange_weak(word, &now, generation))
			continue;
		if (now & WORD_SLEEPERS)
			word_futex_wake(word, 1);
		return;
	}
}
