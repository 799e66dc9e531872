#include "lib/shared_word.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

#define SPIN_MOST   50	/* microseconds */
#define SPIN_PAUSES 32	/* between two looks at the clock */
#define SPIN_AGAIN  256 /* after so many times in vain, one long try */

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(shared_word) == 8,
	       "processes share 64-bit words: they must be atomic without a lock");

int64_t word_look_again = USEC_PER_SEC;

/* The kernel compares 32 bits: those with the sleepers and the lower bits of the count. */
static void *half(shared_word *word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return word;
#else
	return (char *)word + 4;
#endif
}

void word_futex_wait(shared_word *word, uint64_t seen, int64_t deadline)
{
	struct timespec until = { .tv_sec = (time_t)(deadline / USEC_PER_SEC),
				  .tv_nsec = (long)(deadline % USEC_PER_SEC * 1000) };

	syscall(SYS_futex, half(word), FUTEX_WAIT_BITSET, (uint32_t)seen,
		deadline == WORD_FOREVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

long word_futex_wake(shared_word *word, int count)
{
	return syscall(SYS_futex, half(word), FUTEX_WAKE, count, NULL, NULL, 0);
}

bool word_spin_helps(void)
{
	static _Atomic int cpus; /* 0: not counted yet */
	int known = atomic_load_explicit(&cpus, memory_order_relaxed);
	cpu_set_t set;

	if (known == 0) {
		/* More CPUs than a set has room for are more than one. */
		known = sched_getaffinity(0, sizeof(set), &set) < 0 ? 2 : CPU_COUNT(&set);
		atomic_store_explicit(&cpus, known, memory_order_relaxed);
	}
	return known > 1;
}

bool word_commit(shared_word *word, uint64_t from, uint64_t to, uint64_t *sleepers)
{
	uint64_t expected = from;

	for (int i = 0; i < WORD_TRIES && word_same(expected, from); i++) {
		uint64_t next = (to & ~WORD_SLEEPERS) | (expected & WORD_SLEEPERS);

		if (atomic_compare_exchange_strong(word, &expected, next)) {
			*sleepers = next & WORD_SLEEPERS;
			return true;
		}
	}
	return false;
}

static int64_t spin_time(struct word_patience *p)
{
	uint32_t in_vain = atomic_load_explicit(&p->in_vain, memory_order_relaxed) % SPIN_AGAIN;

	return in_vain < 16 ? SPIN_MOST >> in_vain : 0;
}

bool word_spin(shared_word *word, uint64_t seen, struct word_patience *p)
{
	int64_t time = word_spin_helps() ? spin_time(p) : 0, until = time ? clock_now() + time : 0;

	if (time == 0) {
		atomic_fetch_add_explicit(&p->in_vain, 1, memory_order_relaxed);
		return false;
	}
	do {
		for (int i = 0; i < SPIN_PAUSES; i++) {
			if (!word_same(atomic_load_explicit(word, memory_order_relaxed), seen)) {
				atomic_store_explicit(&p->in_vain, 0, memory_order_relaxed);
				return true;
			}
			word_pause();
		}
	} while (clock_now() < until);
	atomic_fetch_add_explicit(&p->in_vain, 1, memory_order_relaxed);
	return false;
}

void word_sleep(shared_word *word, uint64_t seen, int64_t deadline)
{
	uint64_t now = atomic_load(word), asleep = now | WORD_SLEEPERS;
	int64_t again = clock_now() + word_look_again;

	if (!word_same(now, seen))
		return;
	if (now != asleep && !atomic_compare_exchange_strong(word, &now, asleep))
		return;
	word_futex_wait(word, asleep, deadline < again ? deadline : again);
}

void word_wake_one(shared_word *word, uint64_t now)
{
	if (word_futex_wake(word, 1) > 0)
		return;
	/* Whoever comes between these two lines finds the bit, and sleeps without setting it. */
	if (atomic_compare_exchange_strong(word, &now, now & ~WORD_SLEEPERS))
		word_futex_wake(word, INT_MAX);
}

void word_wake_next(shared_word *word)
{
	if (atomic_load(word) & WORD_SLEEPERS)
		word_futex_wake(word, 1);
}

void word_wake_all(shared_word *word)
{
	word_futex_wake(word, INT_MAX);
}
