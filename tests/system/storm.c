/*
 * One participant of a storm, and the account of all of them. It shares nothing with the daemon but the protocol
 * (and lib/shared_queue.h, for queues in shared memory):
 *   storm put HOW WHERE LEDGER LIFE COUNT SEED    puts COUNT items, or, with 0, until it is told that it is over
 *   storm get HOW WHERE LEDGER LIFE SEED          gets until it is over and nothing is left
 *   storm check LEDGER                            what became of every item; prints NAME NUMBER, a line each
 * HOW: `call` (the daemon at WHERE, queue q), `lease` (the same, on loan, and then Done), `ring` (the memory, which is
 * descriptor WHERE). LEDGER is a directory: `over` (an int: 1 no more is put, 2 nothing is left) and a file for each
 * life, which is memory that outlives its process, wherever that is killed.
 *
 * Exit status: 0 has done its part, 75 the daemon has closed the connection (another life goes on), 1 anything else.
 * An item is [ID,"xxx"]: the life of its producer, its number there, and as many x as follow from these.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "lib/shared_queue.h"

#define AGAIN	  75
#define LONG	  20000000 /* usec; a participant that is held up for so long is an error */
#define SHORT	  100000   /* usec that a get waits, before it looks whether it is over */
#define DID_MOST  (1 << 16)
#define PAD_MOST  300
#define ITEM_MOST (PAD_MOST + 32)
#define MANY	  300
#define ROOM	  (MANY * ITEM_MOST + 1024)

/* What a consumer knows of an item: it has it; Done was said; and was answered. Above the item's ID. */
#define HANDED (UINT64_C(0) << 62)
#define ASKED  (UINT64_C(1) << 62)
#define DONE   (UINT64_C(2) << 62)
#define STATE  (UINT64_C(3) << 62)

typedef _Atomic uint64_t entry;

struct life {
	_Atomic uint32_t producer;
	_Atomic uint32_t begun, answered; /* puts */
	_Atomic uint32_t got;		  /* entries */
	_Atomic uint32_t getting; /* the buffer may hold an item that was taken out of the ring */
	_Atomic uint64_t longest; /* of all puts, and gets of something, ns */
	char buffer[ITEM_MOST];
	entry entries[DID_MOST + MANY];
};

static struct life *me;
static const _Atomic int *over;
static uint32_t my_number;
static bool is_ring, leases;
static int sock;
static struct shared_queue *ring;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "storm %u: ", my_number);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void note_time(uint64_t began)
{
	uint64_t took = now() - began;

	if (took > me->longest)
		me->longest = took;
}

/* ---- items ------------------------------------------------------------------------------------ */

static size_t write_item(char *to, uint32_t life, uint32_t number)
{
	size_t pad = (life * 31 + number * 37) % PAD_MOST;
	size_t len = (size_t)sprintf(to, "[%" PRIu64 ",\"", (uint64_t)life << 28 | number);

	memset(to + len, 'x', pad);
	memcpy(to + len + pad, "\"]", 2);
	return len + pad + 2;
}

static uint32_t life_of(uint64_t id)
{
	return (uint32_t)(id >> 28);
}

static uint32_t number_of(uint64_t id)
{
	return (uint32_t)(id & ((1 << 28) - 1));
}

/* Its length; 0: it is none, or damaged. */
static size_t read_item(const char *text, size_t len, uint64_t *id)
{
	char right[ITEM_MOST];
	size_t size;

	*id = 0;
	for (size_t i = 1; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		*id = *id * 10 + (uint64_t)(text[i] - '0');
	size = write_item(right, life_of(*id), number_of(*id));
	return size <= len && memcmp(text, right, size) == 0 ? size : 0;
}

/* ---- the daemon ------------------------------------------------------------------------------- */

static char out[ROOM], in[ROOM];
static size_t out_len, in_len;

static void connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("%s: %s", path, strerror(errno));
}

static void say(const char *text)
{
	out_len += (size_t)sprintf(out + out_len, "%s", text);
}

/* Sends what was said; the reply is in `in`, with its NUL. */
static void call(void)
{
	size_t sent = 0;

	out[out_len++] = '\0';
	while (sent < out_len) {
		ssize_t n = send(sock, out + sent, out_len - sent, MSG_NOSIGNAL);

		if (n <= 0)
			exit(AGAIN);
		sent += (size_t)n;
	}
	out_len = in_len = 0;
	do {
		ssize_t n = recv(sock, in + in_len, ROOM - in_len, 0);

		if (n <= 0)
			exit(AGAIN);
		in_len += (size_t)n;
	} while (in[in_len - 1] && in_len < ROOM);
	if (in[in_len - 1])
		die("the reply is too long");
}

static bool is_error(const char *name)
{
	return strstr(in, "\"error\":") && strstr(in, name);
}

static void must_be_right(void)
{
	if (strstr(in, "\"error\":"))
		die("%s", in);
}

/* ---- put -------------------------------------------------------------------------------------- */

static void put_calls(uint32_t first, uint32_t count)
{
	uint64_t began = now();

	say(count > 1 ? "{\"method\":\"io.crewd.Queue.PutMany\",\"parameters\":{\"name\":\"q\","
			"\"items\":["
		      : "{\"method\":\"io.crewd.Queue.Put\",\"parameters\":{\"name\":\"q\","
			"\"item\":");
	for (uint32_t i = 0; i < count; i++) {
		if (i)
			say(",");
		out_len += write_item(out + out_len, my_number, first + i);
	}
	say(count > 1 ? "]}}" : "}}");
	call();
	must_be_right();
	note_time(began);
}

static void put_ring(uint32_t number)
{
	char text[ITEM_MOST];
	size_t len = write_item(text, my_number, number);
	uint64_t began = now();

	if (shared_queue_put(ring, text, len, LONG) < 0)
		die("put: %s", strerror(errno));
	note_time(began);
}

static uint32_t some(void)
{
	static const uint32_t sizes[] = { 1, 1, 2, 10, 100, MANY };

	return is_ring || leases ? 1 : sizes[random() % 6];
}

static void produce(uint32_t count)
{
	uint32_t most = count ? count : DID_MOST;

	me->producer = 1;
	while (me->answered < most && (count || !*over)) {
		uint32_t first = me->answered, n = some();

		if (n > most - first)
			n = most - first;
		me->begun = first + n;
		if (is_ring)
			put_ring(first);
		else
			put_calls(first, n);
		me->answered = first + n;
	}
}

/* ---- get -------------------------------------------------------------------------------------- */

static entry *note(uint64_t id)
{
	entry *e = &me->entries[me->got];

	*e = id | (leases ? HANDED : DONE);
	me->got++;
	return e;
}

static void set_state(entry *e, uint64_t state)
{
	*e = (*e & ~STATE) | state;
}

/* Every item there is in the reply. */
static entry *note_all(void)
{
	entry *e = NULL;

	for (size_t i = 0; i < in_len; i++) {
		uint64_t id;
		size_t len;

		if (in[i] != '[' || in[i + 1] < '0' || in[i + 1] > '9')
			continue;
		len = read_item(in + i, in_len - i, &id);
		if (!len)
			die("not what was put: %.80s", in + i);
		e = note(id);
		i += len - 1;
	}
	if (!e)
		die("no item: %s", in);
	return e;
}

/* What is in doubt stays ASKED: the connection has ended, or the daemon does not know either. */
static void say_done(entry *e)
{
	char lease[64];
	const char *at = strstr(in, "\"lease\":\"");

	if (!at || sscanf(at, "\"lease\":\"%63[^\"]", lease) != 1)
		die("no lease: %s", in);
	set_state(e, ASKED);
	out_len = (size_t)sprintf(
		out, "{\"method\":\"io.crewd.Queue.Done\",\"parameters\":{\"lease\":\"%s\"}}",
		lease);
	call();
	if (is_error("Queue.BackendUnavailable"))
		return;
	if (is_error("Queue.NoSuchLease")) {
		set_state(e, HANDED);
	} else {
		must_be_right();
		set_state(e, DONE);
	}
}

/* False: there was nothing. */
static bool get_call(void)
{
	uint64_t began = now();
	uint32_t n = some();

	if (n > 1)
		out_len = (size_t)sprintf(out,
					  "{\"method\":\"io.crewd.Queue.GetMany\",\"parameters\":"
					  "{\"name\":\"q\",\"max\":%u,\"timeout\":0.1}}",
					  n);
	else
		say(leases ? "{\"method\":\"io.crewd.Queue.Get\",\"parameters\":{\"name\":\"q\","
			     "\"timeout\":0.1,"
			     "\"lease\":true}}"
			   : "{\"method\":\"io.crewd.Queue.Get\",\"parameters\":{\"name\":\"q\","
			     "\"timeout\":0.1}}");
	call();
	if (is_error("Queue.Empty") || is_error("BackendUnavailable"))
		return false;
	must_be_right();
	note_time(began);
	if (leases)
		say_done(note_all());
	else
		note_all();
	return true;
}

static bool get_ring(void)
{
	size_t size = sizeof(me->buffer);
	uint64_t id, began = now();

	me->getting = 1;
	if (shared_queue_get(ring, me->buffer, &size, SHORT) < 0) {
		if (errno != EAGAIN)
			die("get: %s", strerror(errno));
		me->getting = 0;
		return false;
	}
	note_time(began);
	if (read_item(me->buffer, size, &id) != size)
		die("not what was put");
	note(id); /* from here on it is not in the buffer */
	me->getting = 0;
	return true;
}

static void consume(void)
{
	while (me->got < DID_MOST)
		if (!(is_ring ? get_ring() : get_call()) && *over == 2)
			break;
}

/* ---- the account ------------------------------------------------------------------------------ */

struct times {
	uint8_t handed, asked, done;
};

struct account {
	struct life **lives;
	struct times **times; /* of each producer's items */
	uint32_t count;
	uint64_t puts, in_doubt, gets, hands, invented, disorder, lost, twice, longest;
};

/* NULL: there is none, or its maker was killed before it had its size. */
static void *map(const char *ledger, const char *name, size_t size, bool make)
{
	char path[4096];
	struct stat st;
	void *memory;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", ledger, name);
	fd = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT | O_EXCL : 0), 0600);
	if (fd < 0 && !make && errno == ENOENT)
		return NULL;
	if (fd < 0 || (make && ftruncate(fd, (off_t)size) < 0) || fstat(fd, &st) < 0)
		die("%s: %s", path, strerror(errno));
	memory = (size_t)st.st_size < size
			 ? NULL
			 : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		die("%s: %s", path, strerror(errno));
	close(fd);
	return memory;
}

static void find_lives(struct account *a, const char *ledger)
{
	DIR *d = opendir(ledger);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9' &&
		    strtoul(e->d_name, NULL, 10) >= a->count)
			a->count = (uint32_t)strtoul(e->d_name, NULL, 10) + 1;
	a->lives = calloc(a->count, sizeof(*a->lives));
	a->times = calloc(a->count, sizeof(*a->times));
	for (uint32_t i = 0; i < a->count; i++) {
		char name[16];
		struct life *l;

		snprintf(name, sizeof(name), "%u", i);
		l = map(ledger, name, sizeof(*l), false);
		a->lives[i] = l;
		if (l && l->producer)
			a->times[i] = calloc(l->begun + 1, sizeof(**a->times));
	}
}

static struct times *times_of(struct account *a, uint64_t id)
{
	uint32_t life = life_of(id);

	if (life >= a->count || !a->times[life] || number_of(id) >= a->lives[life]->begun)
		return NULL;
	return &a->times[life][number_of(id)];
}

static void count_entry(struct account *a, uint64_t e)
{
	struct times *t = times_of(a, e & ~STATE);

	a->gets++;
	if (!t) {
		a->invented++;
		return;
	}
	t->handed += t->handed < 255;
	t->asked += (e & STATE) == ASKED && t->asked < 255;
	t->done += (e & STATE) == DONE && t->done < 255;
}

static void count_life(struct account *a, const struct life *l, uint32_t *last)
{
	memset(last, 0, a->count * sizeof(*last));
	for (uint32_t i = 0; i < l->got; i++) {
		uint64_t e = l->entries[i], id = e & ~STATE;

		count_entry(a, e);
		if (life_of(id) >= a->count)
			continue;
		a->disorder += number_of(id) < last[life_of(id)];
		last[life_of(id)] = number_of(id);
	}
}

/* What a consumer was killed over is in its buffer: taken, if nobody else has it. */
static void count_buffer(struct account *a, const struct life *l)
{
	uint64_t id;
	struct times *t = NULL;

	if (l->getting && read_item(l->buffer, sizeof(l->buffer), &id))
		t = times_of(a, id);
	if (!t || t->done)
		return;
	t->done = 1;
	a->hands++;
}

static void count_items(struct account *a, uint32_t producer)
{
	const struct life *l = a->lives[producer];

	a->puts += l->answered;
	for (uint32_t k = 0; k < l->begun; k++) {
		const struct times *t = &a->times[producer][k];

		a->lost += k < l->answered && !t->done && !t->asked;
		a->twice += t->done > 1;
		a->in_doubt += !t->done && t->asked;
	}
}

static int check(const char *ledger)
{
	struct account a = { 0 };
	uint32_t *last;

	find_lives(&a, ledger);
	last = calloc(a.count + 1, sizeof(*last));
	for (uint32_t i = 0; i < a.count; i++)
		if (a.lives[i] && !a.lives[i]->producer)
			count_life(&a, a.lives[i], last);
	for (uint32_t i = 0; i < a.count; i++)
		if (a.lives[i] && !a.lives[i]->producer)
			count_buffer(&a, a.lives[i]);
	for (uint32_t i = 0; i < a.count; i++) {
		if (a.lives[i] && a.lives[i]->longest > a.longest)
			a.longest = a.lives[i]->longest;
		if (a.lives[i] && a.lives[i]->producer)
			count_items(&a, i);
	}
	printf("lives %u\nputs %" PRIu64 "\ngets %" PRIu64 "\nlost %" PRIu64 "\ntwice %" PRIu64
	       "\ninvented %" PRIu64 "\ndisorder %" PRIu64 "\nhands %" PRIu64 "\ndoubt %" PRIu64
	       "\nlongest %" PRIu64 "\n",
	       a.count, a.puts, a.gets, a.lost, a.twice, a.invented, a.disorder, a.hands,
	       a.in_doubt, a.longest / 1000000);
	return 0;
}

/* ---- one life --------------------------------------------------------------------------------- */

static void take_part(const char *how, const char *where)
{
	is_ring = strcmp(how, "ring") == 0;
	leases = strcmp(how, "lease") == 0;
	if (is_ring)
		ring = shared_queue_attach(atoi(where));
	else
		connect_to(where);
	if (is_ring && !ring)
		die("attach: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	bool put = argc == 8 && strcmp(argv[1], "put") == 0;

	if (argc == 3 && strcmp(argv[1], "check") == 0)
		return check(argv[2]);
	if (!put && (argc != 7 || strcmp(argv[1], "get") != 0))
		die("see the head of storm.c");
	my_number = (uint32_t)strtoul(argv[5], NULL, 10);
	srandom((unsigned)strtoul(argv[argc - 1], NULL, 10));
	over = map(argv[4], "over", sizeof(*over), false);
	me = map(argv[4], argv[5], sizeof(*me), true);
	take_part(argv[2], argv[3]);
	if (put)
		produce((uint32_t)strtoul(argv[6], NULL, 10));
	else
		consume();
	return 0;
}
