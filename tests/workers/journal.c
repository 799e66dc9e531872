/*
 * A program that uses a journal and writes down what it was answered, so that whoever kills it can
 * look afterwards:
 *   journal script DIR SEED OPS SEGMENT   puts and takes at random, some at a time
 *   journal many DIR OPS SIZE             as many puts as there is room for, then takes, without a pause
 *   journal fill DIR SIZE                 puts until the disk is full, then takes all
 *   journal list DIR                      what is there
 *   journal remove DIR                    removes it
 * On standard output, a line each, before and after: "P ID LEN" a put is asked for, "p ID" it was
 * answered; "T ID", "t ID" a take; "D ID N", "d ID N" a delivery; "item ID DELIVERIES LEN CRC" what was
 * told at the start; "next ID"; "refused ERRNO"; "failed ERRNO"; "closed". An item's bytes are its id,
 * again and again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "daemon/journal.h"
#include "daemon/journal_format.h"
#include "daemon/loop.h"

#define ITEMS 4000000
#define MOST  (1024 * 1024)

static struct journal *j;
static struct {
	uint64_t id;
	int64_t ticket; /* 0: answered */
	char what;	/* 'p', 't', 'd'; 0: told at the start */
	uint32_t n;
} * asked; /* a ring of what is not answered */
static size_t asked_first, asked_count;
static uint64_t *live; /* ids, in no order */
static size_t live_count;
static uint64_t state; /* of the random numbers */
static char *bytes;
static const char *mode;
static long ops, size;
static bool failed, listing, draining;
static int refused;

/* One write a line: what is printed has been printed when the process is killed. */
static void say(const char *format, ...)
{
	char line[128];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(3);
}

static uint64_t next_random(void)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return state >> 33;
}

static void make_bytes(uint64_t id, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(id >> 8 * (i % 8));
}

static int on_item(void *arg, uint64_t id, uint32_t deliveries, const void *data, size_t len)
{
	(void)arg;
	if (live_count < ITEMS)
		live[live_count++] = id;
	if (listing)
		say("item %llu %u %zu %u\n", (unsigned long long)id, deliveries, len,
		    jf_crc32c(0, data, len));
	return 0;
}

static void ask(char what, uint64_t id, uint32_t n, int64_t ticket)
{
	size_t at = (asked_first + asked_count++) % ITEMS;

	asked[at].id = id;
	asked[at].what = what;
	asked[at].n = n;
	asked[at].ticket = ticket;
}

static int64_t put(uint64_t id, size_t len)
{
	int64_t ticket;

	make_bytes(id, len);
	say("P %llu %zu\n", (unsigned long long)id, len);
	ticket = journal_put(j, id, bytes, len);
	if (ticket > 0) {
		ask('p', id, 0, ticket);
		ops--;
	} else {
		refused = errno;
	}
	return ticket;
}

static int64_t take_at(size_t at)
{
	uint64_t id = live[at];
	int64_t ticket;

	say("T %llu\n", (unsigned long long)id);
	ticket = journal_take(j, id);
	if (ticket < 0) {
		refused = errno;
		return -1;
	}
	ask('t', id, 0, ticket);
	live[at] = live[--live_count];
	ops--;
	return ticket;
}

static void deliver_at(size_t at)
{
	uint32_t n = (uint32_t)(next_random() % 100) + 1;
	int64_t ticket;

	say("D %llu %u\n", (unsigned long long)live[at], n);
	ticket = journal_deliver(j, live[at], n);
	if (ticket > 0)
		ask('d', live[at], n, ticket);
	ops--;
}

static void script_turn(void)
{
	for (uint64_t n = next_random() % 6; ops > 0; n--) {
		uint64_t what = next_random() % 16;
		size_t len = next_random() % 8 ? next_random() % 200 : next_random() % 3000;

		if (!live_count || what < 8) {
			if (put(journal_next_id(j), len) < 0)
				return;
		} else if (what < 15) {
			/* Mostly the oldest, as a queue does. */
			if (take_at(next_random() % 4 ? 0 : next_random() % live_count) < 0)
				return;
		} else {
			deliver_at(next_random() % live_count);
		}
		if (!n)
			return;
	}
}

static void many_turn(void)
{
	while (ops > 0) {
		if (live_count > 1000 ? take_at(0) < 0 : put(journal_next_id(j), (size_t)size) < 0)
			return;
	}
}

static void fill_turn(void)
{
	while (!draining && put(journal_next_id(j), (size_t)size) > 0)
		;
	if (!draining && refused == ENOSPC) {
		say("refused %d\n", refused);
		draining = true;
	}
	while (draining && live_count && take_at(live_count - 1) > 0)
		;
	ops = !draining || live_count;
}

static void turn(void)
{
	if (failed || listing)
		ops = 0;
	else if (strcmp(mode, "script") == 0 && !asked_count)
		script_turn();
	else if (strcmp(mode, "many") == 0)
		many_turn();
	else if (strcmp(mode, "fill") == 0)
		fill_turn();
	if (ops <= 0 && (!asked_count || failed))
		journal_close(j, strcmp(mode, "remove") == 0);
}

static void on_done(void *arg, uint64_t ticket)
{
	(void)arg;
	while (asked_count && asked[asked_first].ticket <= (int64_t)ticket) {
		uint64_t id = asked[asked_first].id;

		if (asked[asked_first].what == 'd')
			say("d %llu %u\n", (unsigned long long)id, asked[asked_first].n);
		else
			say("%c %llu\n", asked[asked_first].what, (unsigned long long)id);
		if (asked[asked_first].what == 'p')
			live[live_count++] = id;
		asked_first = (asked_first + 1) % ITEMS;
		asked_count--;
	}
	turn();
}

static void on_room(void *arg)
{
	(void)arg;
	turn();
}

static void on_failed(void *arg, int err, const char *why)
{
	(void)arg;
	(void)why;
	failed = true;
	say("failed %d\n", err);
	turn();
}

static void on_closed(void *arg)
{
	(void)arg;
	say("closed\n");
	loop_stop();
}

static const struct journal_calls calls = {
	.item = on_item, .done = on_done, .room = on_room, .failed = on_failed, .closed = on_closed
};

int main(int argc, char **argv)
{
	struct journal_limits limits = { 0 };
	struct journal_found found;
	int dir;

	if (argc < 3)
		return 2;
	mode = argv[1];
	dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	listing = strcmp(mode, "list") == 0;
	if (strcmp(mode, "script") == 0 && argc > 5) {
		state = strtoull(argv[3], NULL, 10);
		ops = atol(argv[4]);
		limits.segment = strtoull(argv[5], NULL, 10);
	} else if (strcmp(mode, "many") == 0 && argc > 4) {
		ops = atol(argv[3]);
		size = atol(argv[4]);
	} else if (strcmp(mode, "fill") == 0 && argc > 3) {
		ops = 1;
		size = atol(argv[3]);
	}
	live = calloc(ITEMS, sizeof(*live));
	asked = calloc(ITEMS, sizeof(*asked));
	bytes = malloc(MOST);
	if (dir < 0 || !live || !asked || !bytes || loop_init() < 0)
		return 2;
	j = journal_open(dir, "q", &limits, &calls, NULL, &found);
	if (!j) {
		fprintf(stderr, "%s\n", found.text);
		return errno == EBADMSG ? 65 : errno == EBUSY ? 75 : 1;
	}
	say("next %llu\n", (unsigned long long)journal_next_id(j));
	turn();
	loop_run();
	loop_close();
	return failed;
}
