/*
 * The shared queue: producers behind a lock that can be taken from the dead, consumers with one
 * compare-and-swap, sleepers that are told by a bit in the word they sleep on; and anybody may be killed
 * between any two steps. lib/shared_queue.c, lib/shared_lock.c and lib/shared_word.c say the same in C.
 *
 * What must hold
 *  - the item taken from position n is the one that was committed at position n, whole; head and tail go
 *    up by one, so no item is lost and none is delivered twice;
 *  - when nothing moves any more, nobody alive sleeps beside what he waits for.
 *
 * tests/model/run says which variants pass and which mutants must fail:
 *   KILLS            how many may be killed
 *   LOOK_AGAIN       sleepers look again by themselves, once nothing else moves
 *   COMMIT_FIRST     mutant: the item is written after its commit
 *   TAKE_FROM_LIVING mutant: the lock is taken from a holder who is alive
 *   NO_SECOND_WAKE   mutant: the bit is taken away without waking whoever relied on it
 *   GET_FIRST        mutant: a consumer commits before it has copied
 *   STORE_HEAD       mutant: a consumer commits without comparing
 */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef SLOTS
#define SLOTS 1
#endif
#define PRODUCERS 2
#define CONSUMERS 2
#define ALL	  (PRODUCERS + CONSUMERS)
#ifndef FIRST_PUTS
#define FIRST_PUTS 1 /* items of the first producer; the second one puts one */
#endif
#define ITEMS (FIRST_PUTS + 1)
#define NOBODY	  255

byte lock = NOBODY;
bool dead[ALL];
byte tail, head;
bool tail_bit, head_bit; /* somebody may sleep */
byte first_half[SLOTS], second_half[SLOTS];

byte kills = KILLS;
byte put_at[ITEMS]; /* ghost: what was committed at each position */
byte sleeps[ALL];   /* 0 no, 1 on tail, 2 on head */
byte producers_done;
bool looked;

#define AWAKE 0
#define TAIL  1
#define HEAD  2

/* What a process has in its registers and needs no more. Without it there are many more states. */
#define FORGET                                                                                     \
	h = 0; t = 0; woken = false; cleared = false; same = false; had_bit = false; sleepers = false

/* A step; or the end, just before it. */
#define STEP(what)                                                                                 \
	atomic {                                                                                   \
		if                                                                                 \
		:: kills > 0 -> kills--; goto killed                                               \
		:: true                                                                            \
		fi;                                                                                \
		what                                                                               \
	}

/* futex_wake: whoever, the model does not rely on the order. */
#define WAKE_ANY(on)                                                                               \
	if                                                                                         \
	:: sleeps[0] == on -> sleeps[0] = AWAKE; woken = true                                      \
	:: sleeps[1] == on -> sleeps[1] = AWAKE; woken = true                                      \
	:: sleeps[2] == on -> sleeps[2] = AWAKE; woken = true                                      \
	:: sleeps[3] == on -> sleeps[3] = AWAKE; woken = true                                      \
	:: else -> woken = false                                                                   \
	fi

#define WAKE_ALL(on)                                                                               \
	if :: sleeps[0] == on -> sleeps[0] = AWAKE :: else fi;                                     \
	if :: sleeps[1] == on -> sleeps[1] = AWAKE :: else fi;                                     \
	if :: sleeps[2] == on -> sleeps[2] = AWAKE :: else fi;                                     \
	if :: sleeps[3] == on -> sleeps[3] = AWAKE :: else fi

#ifdef NO_SECOND_WAKE
#define SECOND_WAKE(on)
#else
#define SECOND_WAKE(on) if :: cleared -> STEP(WAKE_ALL(on)) :: else fi;
#endif

/* word_wake_one() */
#define WAKE_ONE(word, bit, now, on)                                                               \
	STEP(WAKE_ANY(on));                                                                        \
	if                                                                                         \
	:: !woken ->                                                                               \
		STEP(cleared = (word == now && bit); if :: cleared -> bit = false :: else fi);     \
		SECOND_WAKE(on)                                                                    \
	:: else                                                                                    \
	fi

/* word_sleep(): the bit is set if the word is still what was seen; the kernel compares again. */
#define SLEEP(word, bit, seen, on)                                                                 \
	STEP(same = (word == seen); had_bit = bit);                                                \
	if                                                                                         \
	:: same && !had_bit -> STEP(same = (word == seen && !bit);                                 \
				    if :: same -> bit = true :: else fi)                           \
	:: else                                                                                    \
	fi;                                                                                        \
	if                                                                                         \
	:: same -> STEP(if :: word == seen && bit -> sleeps[me] = on :: else fi)                   \
	:: else                                                                                    \
	fi;                                                                                        \
	if                                                                                         \
	:: atomic { sleeps[me] == AWAKE -> skip }                                                  \
	:: atomic { kills > 0 && sleeps[me] != AWAKE -> kills--; sleeps[me] = AWAKE; goto killed } \
	fi

proctype producer(byte me; byte from; byte items)
{
	byte i, t, h, holder = NOBODY;
	bool woken, cleared, same, had_bit, sleepers;

	do
	:: i < items ->
take:
		/* Free, or its holder is found dead: then it is taken from that holder. */
		atomic {
			if
			:: lock == NOBODY -> lock = me; goto locked
#ifdef TAKE_FROM_LIVING
			:: lock != NOBODY -> holder = lock
#else
			:: lock != NOBODY && dead[lock] -> holder = lock
#endif
			:: kills > 0 -> kills--; goto killed
			fi
		}
		STEP(if :: lock == holder -> lock = me; holder = NOBODY
			:: else -> holder = NOBODY; goto take fi);
locked:
		STEP(t = tail);
		STEP(h = head);
		if
		:: t - h == SLOTS ->
			STEP(if :: lock == me -> lock = NOBODY :: else fi);
			SLEEP(head, head_bit, h, HEAD);
			atomic { FORGET; goto take }
		:: else
		fi;
#ifdef COMMIT_FIRST
		STEP(assert(tail == t); put_at[t] = from + i; tail = t + 1; sleepers = tail_bit);
		STEP(first_half[t % SLOTS] = from + i);
		STEP(second_half[t % SLOTS] = from + i);
#else
		STEP(first_half[t % SLOTS] = from + i);
		STEP(second_half[t % SLOTS] = from + i);
		STEP(assert(tail == t); put_at[t] = from + i; tail = t + 1; sleepers = tail_bit;
		     looked = false);
#endif
		STEP(if :: lock == me -> lock = NOBODY :: else fi);
		if
		:: sleepers -> WAKE_ONE(tail, tail_bit, t + 1, TAIL)
		:: else
		fi;
		atomic { FORGET; i++ }
	:: else -> break
	od;
	producers_done++;
	goto gone;
killed:
	dead[me] = true;
	producers_done++;
gone:
	skip
}

#define COPY                                                                                       \
	STEP(a = first_half[h % SLOTS]);                                                           \
	STEP(b = second_half[h % SLOTS])

proctype consumer(byte me)
{
	byte h, t, a, b;
	bool woken, cleared, same, had_bit, sleepers;

again:
	STEP(h = head);
	STEP(t = tail);
	if
	:: h == t ->
		SLEEP(tail, tail_bit, t, TAIL);
		atomic { FORGET; goto again }
	:: else
	fi;
#ifndef GET_FIRST
	COPY;
#endif
	STEP(
#ifndef STORE_HEAD
	     if :: head != h -> FORGET; a = 0; b = 0; goto again :: else fi;
#endif
	     assert(h == head);
#ifndef GET_FIRST
	     assert(a == b && a == put_at[h]);
#endif
	     head = h + 1; sleepers = head_bit; looked = false);
#ifdef GET_FIRST
	COPY;
	assert(a == b && a == put_at[h]);
#endif
	if
	:: sleepers -> WAKE_ONE(head, head_bit, h + 1, HEAD)
	:: else
	fi;
	atomic { FORGET; a = 0; b = 0; goto again };
killed:
	dead[me] = true
}

/* Nobody can move. (As long as somebody may be killed somebody can; so the killer may go home.) */
proctype judge()
{
	do
	:: atomic { kills > 0 -> kills = 0 }
	:: atomic {
		timeout ->
#ifdef LOOK_AGAIN
		if
		:: !looked ->
			looked = true;
			WAKE_ALL(TAIL);
			WAKE_ALL(HEAD)
		:: else -> break
		fi
#else
		break
#endif
	}
	od;
	/* With a consumer alive all is put, and got. */
	assert((dead[PRODUCERS] && dead[PRODUCERS + 1]) ||
	       (producers_done == PRODUCERS && head == tail))
}

init
{
	atomic {
		run producer(0, 1, FIRST_PUTS);
		run producer(1, 1 + FIRST_PUTS, 1);
		run consumer(PRODUCERS);
		run consumer(PRODUCERS + 1);
		run judge()
	}
}
