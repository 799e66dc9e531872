#include "tests/unit/fake_journal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/list.h"

struct journal {
	struct list link;
	char name[80];
	const struct journal_calls *calls;
	void *arg;
	uint64_t next_id, last;
	bool failed, closing;
};

struct fake_journal fake_journal = { .room = UINT32_MAX };
static struct list all = LIST_INIT(all);

static void say(const char *format, ...)
{
	size_t n = strlen(fake_journal.said);
	va_list args;

	va_start(args, format);
	vsnprintf(fake_journal.said + n, sizeof(fake_journal.said) - n, format, args);
	va_end(args);
}

static struct journal *named(const char *name)
{
	list_foreach(e, n, &all)
	{
		struct journal *j = list_entry(e, struct journal, link);

		if (strcmp(j->name, name) == 0)
			return j;
	}
	fail_msg("no journal %s", name);
	return NULL;
}

void fake_journal_reset(void)
{
	while (!list_empty(&all))
		fake_journal_closed(list_entry(all.next, struct journal, link)->name);
	fake_journal = (struct fake_journal){ .room = UINT32_MAX };
}

void fake_journal_done(const char *name)
{
	struct journal *j = named(name);

	j->calls->done(j->arg, j->last);
}

void fake_journal_room(const char *name, unsigned room)
{
	struct journal *j = named(name);

	fake_journal.room = room;
	j->calls->room(j->arg);
}

void fake_journal_fail(const char *name, const char *why)
{
	struct journal *j = named(name);

	j->failed = true;
	j->calls->failed(j->arg, EIO, why);
}

void fake_journal_closed(const char *name)
{
	struct journal *j = named(name);
	const struct journal_calls *calls = j->calls;
	void *arg = j->arg;

	list_remove(&j->link);
	free(j);
	calls->closed(arg);
}

/* Items of "1:text 2:text ", the second one delivered twice, and so on. */
static void tell_items(struct journal *j)
{
	const char *p = fake_journal.disk;
	unsigned long id;
	char text[256];
	int n;

	while (sscanf(p, "%lu:%255s %n", &id, text, &n) == 2) {
		assert_int_equal(j->calls->item(j->arg, id, (uint32_t)id, text, strlen(text)), 0);
		j->next_id = id + 1;
		p += n;
	}
}

struct journal *journal_open(int dir, const char *name, const struct journal_limits *limits,
			     const struct journal_calls *calls, void *arg,
			     struct journal_found *found)
{
	struct journal *j;

	(void)dir;
	(void)limits;
	if (fake_journal.err) {
		snprintf(found->text, sizeof(found->text), "no such luck");
		errno = fake_journal.err;
		return NULL;
	}
	j = calloc(1, sizeof(*j));
	assert_non_null(j);
	snprintf(j->name, sizeof(j->name), "%s", name);
	j->calls = calls;
	j->arg = arg;
	j->next_id = 1;
	list_append(&all, &j->link);
	tell_items(j);
	return j;
}

bool journal_exists(int dir, const char *name)
{
	(void)dir;
	(void)name;
	return false;
}

static int64_t accept_one(struct journal *j)
{
	assert_false(j->closing && fake_journal.room == 0);
	if (j->failed)
		return errno = EIO, -1;
	if (!fake_journal.room)
		return errno = ENOBUFS, -1;
	fake_journal.room--;
	return (int64_t)++j->last;
}

int64_t journal_put(struct journal *j, uint64_t id, const void *data, size_t len)
{
	int64_t ticket;

	if (fake_journal.err)
		return errno = fake_journal.err, -1;
	assert_true(id >= j->next_id);
	ticket = accept_one(j);
	if (ticket < 0)
		return -1;
	j->next_id = id + 1;
	say("put %lu %.*s, ", (unsigned long)id, (int)len, (const char *)data);
	return ticket;
}

int64_t journal_take(struct journal *j, uint64_t id)
{
	int64_t ticket = accept_one(j);

	if (ticket > 0)
		say("take %lu, ", (unsigned long)id);
	return ticket;
}

int64_t journal_deliver(struct journal *j, uint64_t id, uint32_t deliveries)
{
	int64_t ticket = accept_one(j);

	if (ticket > 0)
		say("deliver %lu %u, ", (unsigned long)id, deliveries);
	return ticket;
}

uint64_t journal_next_id(const struct journal *j)
{
	return j->next_id;
}

uint64_t journal_last(const struct journal *j)
{
	return j->last;
}

void journal_close(struct journal *j, bool remove)
{
	j->closing = true;
	say(remove ? "remove, " : "close, ");
}

bool journal_wait(struct journal *j, int64_t usec)
{
	(void)usec;
	fake_journal_closed(j->name);
	return true;
}
