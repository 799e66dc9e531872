/*
 * Producers and consumers that are killed at any moment, and replaced: each item whose put has returned is
 * got exactly once, whoever was killed meanwhile, and nobody waits for the dead.
 *
 * Each incarnation writes down what it did in memory that outlives it. What a consumer was killed over is
 * in its buffer: taken, if nobody else has it.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/clock.h"
#include "lib/shared_queue.h"

#define LONG	  (60 * USEC_PER_SEC) /* only a mistake meets it */
#define KILLS	  600
#define PRODUCERS 3
#define CONSUMERS 3
#define LIVES	  (KILLS + PRODUCERS + 2 * CONSUMERS)
#define DID_MOST  (1 << 16) /* of one incarnation: then it has done its part */
#define BODY_MOST 500

struct item {
	uint32_t life, number; /* the producer's, from 0 */
	unsigned char body[BODY_MOST];
};

struct life {
	_Atomic uint32_t did; /* puts or gets that have returned */
	_Atomic bool getting; /* the buffer may hold an item that was taken */
	struct item buffer;
	uint64_t got[DID_MOST];
};

struct storm {
	_Atomic bool over;
	struct life lives[LIVES];
};

static struct storm *storm;
static int memory;

static size_t size_of(uint32_t number)
{
	return offsetof(struct item, body) + number * 37 % BODY_MOST;
}

static void fill(struct item *item, uint32_t life, uint32_t number)
{
	item->life = life;
	item->number = number;
	memset(item->body, (int)(life + number), size_of(number) - offsetof(struct item, body));
}

static bool is_whole(const struct item *item, size_t size)
{
	struct item right;

	if (size < offsetof(struct item, body) || item->life >= LIVES)
		return false;
	fill(&right, item->life, item->number);
	return size == size_of(item->number) && memcmp(item, &right, size) == 0;
}

static int produce(struct shared_queue *q, uint32_t me)
{
	struct life *l = &storm->lives[me];
	struct item item;

	while (!storm->over && l->did < DID_MOST) {
		fill(&item, me, l->did);
		if (shared_queue_put(q, &item, size_of(l->did), LONG) < 0)
			return 1;
		l->did++;
	}
	return 0;
}

static int consume(struct shared_queue *q, uint32_t me)
{
	struct life *l = &storm->lives[me];
	uint32_t last[LIVES] = { 0 };

	while (l->did < DID_MOST) {
		struct item *item = &l->buffer;
		size_t size = sizeof(*item);

		l->getting = true;
		if (shared_queue_get(q, item, &size, LONG) < 0)
			return 2;
		if (size == 1)
			return 0;
		if (!is_whole(item, size))
			return 3;
		/* First in, first out: of one producer never an older one after a newer one. */
		if (item->number + 1 <= last[item->life])
			return 4;
		last[item->life] = item->number + 1;
		l->got[l->did] = (uint64_t)item->life << 32 | item->number;
		l->did++; /* written down, and from here on not in the buffer */
		l->getting = false;
		if (shared_queue_task_done(q) < 0)
			return 5;
	}
	return 0;
}

static pid_t begin(uint32_t life, bool producer)
{
	pid_t parent = getpid(), pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct shared_queue *q;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		q = getppid() == parent ? shared_queue_attach(memory) : NULL;
		if (!q)
			_exit(97);
		_exit(producer ? produce(q, life) : consume(q, life));
	}
	return pid;
}

/* It may be through with its part. */
static void kill_one(pid_t pid, const struct life *l)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && (WEXITSTATUS(status) || l->did < DID_MOST))
		fail_msg("a participant ended by itself with %d", WEXITSTATUS(status));
}

static void must_end_well(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Gets by producer's life and number. */
static uint8_t *times[LIVES];

static void count_got(uint64_t id)
{
	uint32_t life = (uint32_t)(id >> 32), number = (uint32_t)id;

	assert_true(life < LIVES && number < DID_MOST);
	if (!times[life])
		times[life] = calloc(DID_MOST, 1);
	times[life][number]++;
}

/* An item in a dead consumer's buffer counts when nobody else has it; whether it was written down
 * just before the end, the list tells. */
static uint64_t count_buffer(const struct life *l)
{
	const struct item *item = &l->buffer;
	uint64_t id = (uint64_t)item->life << 32 | item->number;

	if (!l->getting || item->life >= LIVES || item->number >= DID_MOST ||
	    !is_whole(item, size_of(item->number)))
		return 0;
	if (times[item->life] && times[item->life][item->number])
		return 0;
	count_got(id);
	return 1;
}

static void check_lives(const bool *producer, uint32_t lives)
{
	uint64_t puts = 0, gets = 0, buffers = 0;

	for (uint32_t i = 0; i < lives; i++)
		for (uint32_t k = 0; !producer[i] && k < storm->lives[i].did; k++, gets++)
			count_got(storm->lives[i].got[k]);
	for (uint32_t i = 0; i < lives; i++)
		if (!producer[i])
			buffers += count_buffer(&storm->lives[i]);
	for (uint32_t i = 0; i < lives; i++) {
		uint32_t did = storm->lives[i].did;

		if (!producer[i])
			continue;
		puts += did;
		for (uint32_t k = 0; k < DID_MOST; k++) {
			unsigned got = times[i] ? times[i][k] : 0;

			/* One more may have been committed without having returned. */
			if (k < did ? got != 1 : got > (k == did))
				fail_msg("item %u of %u puts in life %u was got %u times", k, did,
					 i, got);
		}
		free(times[i]);
	}
	print_message("%d kills, %llu puts, %llu gets, %llu items in the hands of the dead\n",
		      KILLS, (unsigned long long)puts, (unsigned long long)gets,
		      (unsigned long long)buffers);
	assert_true(puts > KILLS && gets > KILLS);
}

static void end_all(const pid_t *pids)
{
	struct shared_queue *q = shared_queue_attach(memory);

	assert_non_null(q);
	storm->over = true;
	for (int i = 0; i < PRODUCERS; i++)
		must_end_well(pids[i]);
	for (int i = 0; i < CONSUMERS; i++)
		assert_int_equal(shared_queue_put(q, "", 1, LONG), 0);
	for (int i = 0; i < CONSUMERS; i++)
		must_end_well(pids[PRODUCERS + i]);
	assert_int_equal(shared_queue_qsize(q), 0);
	shared_queue_detach(q);
}

struct participants {
	pid_t pids[PRODUCERS + CONSUMERS];
	uint32_t now[PRODUCERS + CONSUMERS]; /* which life each is in */
	bool producer[LIVES];
	uint32_t lives;
};

static void be_born(struct participants *p, int who)
{
	bool producer = who < PRODUCERS;

	p->producer[p->lives] = producer;
	p->now[who] = p->lives;
	p->pids[who] = begin(p->lives++, producer);
}

static void replace(struct participants *p, int who)
{
	kill_one(p->pids[who], &storm->lives[p->now[who]]);
	be_born(p, who);
}

static void test_storm(void **state)
{
	static struct participants p;

	(void)state;
	memory = shared_queue_create("storm", 20, 8192);
	storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(memory >= 0 && storm != MAP_FAILED);
	for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
		be_born(&p, i);
	srandom((unsigned)getpid());
	for (int i = 0; i < KILLS; i++) {
		usleep((useconds_t)(random() % 4000));
		replace(&p, (int)(random() % (PRODUCERS + CONSUMERS)));
	}
	/* Consumers who are through with their part would leave the last items to nobody. */
	for (int i = PRODUCERS; i < PRODUCERS + CONSUMERS; i++)
		replace(&p, i);
	end_all(p.pids);
	check_lives(p.producer, p.lives);
	munmap(storm, sizeof(*storm));
	close(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_storm) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
