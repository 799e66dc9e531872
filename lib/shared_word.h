/*
 * One 64-bit word in memory that processes share: whoever changes it commits with one compare-and-swap,
 * and may wake those who sleep on it. From the top: a place (28 bits), a count (35 bits), and the bit
 * "somebody may sleep here". As that bit is part of what is compared, nobody commits without having
 * seen it, and nobody goes to sleep on a word that has changed.
 */
#ifndef CREW_SHARED_WORD_H
#define CREW_SHARED_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint64_t shared_word;

#define WORD_SLEEPERS	 UINT64_C(1)
#define WORD_COUNT_BITS	 35
#define WORD_COUNT_MASK	 ((UINT64_C(1) << WORD_COUNT_BITS) - 1)
#define WORD_PLACE_BITS	 28
#define WORD_PLACE_MASK	 ((UINT64_C(1) << WORD_PLACE_BITS) - 1)
#define WORD_PLACE_SHIFT (WORD_COUNT_BITS + 1)

/* No honest participant fails this often in a row: each failure means that another one succeeded. */
#define WORD_TRIES (1 << 20)

/* A sleeper looks again by itself after this long, in microseconds (a second): whoever should have woken
 * it may have been killed between committing and waking, or the one who was woken in its stead may. As
 * nothing else needs it, tests in which nobody is killed set it to hours. */
extern int64_t word_look_again;

#define WORD_FOREVER INT64_MAX

static inline uint64_t word_make(uint64_t place, uint64_t count, uint64_t sleepers)
{
	return (place & WORD_PLACE_MASK) << WORD_PLACE_SHIFT | (count & WORD_COUNT_MASK) << 1 |
	       sleepers;
}

static inline uint64_t word_place(uint64_t word)
{
	return word >> WORD_PLACE_SHIFT;
}

static inline uint64_t word_count(uint64_t word)
{
	return word >> 1 & WORD_COUNT_MASK;
}

/* How far `later` has counted beyond `earlier`. */
static inline uint64_t word_ahead(uint64_t later, uint64_t earlier)
{
	return (word_count(later) - word_count(earlier)) & WORD_COUNT_MASK;
}

/* The same but for who sleeps. */
static inline bool word_same(uint64_t a, uint64_t b)
{
	return (a | WORD_SLEEPERS) == (b | WORD_SLEEPERS);
}

/* From `from` (as loaded) to `to`, whoever has gone to sleep meanwhile: their bit is kept. False when
 * place or count have changed; else true, and the bit is set in *sleepers if it was in the word. */
bool word_commit(shared_word *word, uint64_t from, uint64_t to, uint64_t *sleepers);

/* How long it is worth watching a word before sleeping: longer after it has helped, shorter after it has
 * not (the other side is slow, or needs this very CPU). Zero-initialised is right. */
struct word_patience {
	_Atomic uint32_t in_vain; /* times in a row */
};

/* Watches the word for up to 50 microseconds, where there is a second CPU that may change it: true if it
 * has another place or count than `seen`. */
bool word_spin(shared_word *word, uint64_t seen, struct word_patience *p);

/* Sleeps until somebody wakes, at most until `deadline` (CLOCK_MONOTONIC, microseconds) and not much
 * longer than word_look_again; not at all if the word is no more what it was. Look again afterwards. */
void word_sleep(shared_word *word, uint64_t seen, int64_t deadline);

/* Wakes the one who has slept longest. `now` is the word as committed, with the bit. When nobody slept
 * the bit is taken away, so that the next one who commits makes no system call. */
void word_wake_one(shared_word *word, uint64_t now);

/* Hands on to the next sleeper what this thread was woken for and cannot use. */
void word_wake_next(shared_word *word);
void word_wake_all(shared_word *word);

/* More than one CPU for this thread: watching a word may see it change. */
bool word_spin_helps(void);
static inline void word_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/* Sleeps while the lower half of the word is that of `seen`, at most until `deadline`. */
void word_futex_wait(shared_word *word, uint64_t seen, int64_t deadline);
long word_futex_wake(shared_word *word, int count);

#endif
