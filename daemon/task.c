#include "daemon/task.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/loop.h"
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

#define BUCKETS 65536

static struct {
	const struct task_observer *observer;
	uint32_t salt, incarnation;
	char prefix[TASK_ID_SIZE]; /* what IDs begin with, of these two */
	size_t prefix_len;
	uint64_t last;	      /* number given out last */
	struct list *buckets; /* made with the first task */
	unsigned count;
	size_t bytes;
	bool refused; /* one, for lack of room */
} table;

static const char *const states[] = {
#define X(name, text) [TASK_##name] = text,
	TASK_STATES(X)
#undef X
};

/* What stands for a failure that there was no memory to tell. */
static struct task_failure no_memory = { .error = TASK_BAD_ANSWER,
					 .message = NULL,
					 .exitcode = -1 };

void task_observe(const struct task_observer *o)
{
	table.observer = o;
}

void task_init(uint32_t salt, uint32_t incarnation)
{
	table.salt = salt;
	table.incarnation = incarnation;
	table.prefix_len = (size_t)snprintf(table.prefix, sizeof(table.prefix),
					    "%08" PRIx32 "-%" PRIu32 "-", salt, incarnation);
	table.last = 0;
}

const char *task_state_name(enum task_state s)
{
	return states[s];
}

bool task_has_ended(const struct task *t)
{
	return t->state != TASK_QUEUED && t->state != TASK_RUNNING;
}

unsigned task_count(void)
{
	return table.count;
}

/* ---- the table --------------------------------------------------------------------------------
 */

static struct list *bucket(uint64_t number)
{
	return &table.buckets[number % BUCKETS];
}

static bool make_table(void)
{
	if (table.buckets)
		return true;
	table.buckets = malloc(BUCKETS * sizeof(*table.buckets));
	if (!table.buckets)
		return false;
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&table.buckets[i]);
	return true;
}

static size_t weight(const struct task *t)
{
	return sizeof(*t) + t->size + (t->owns_result ? t->result_len : 0) +
	       (t->failure ? t->failure->size : 0);
}

/* Asked once a turn. */
static int64_t wall_offset(void)
{
	static int64_t offset, asked;

	if (asked != loop_now() || !offset)
		offset = clock_wall() - clock_now();
	asked = loop_now();
	return offset;
}

struct task *task_new(struct taskpool *pool, size_t size)
{
	struct task *t;

	if (table.count >= CREW_TASK_TABLE_MAX ||
	    table.bytes + size + sizeof(*t) > CREW_TASK_BYTES_MAX) {
		table.refused = true;
		errno = ENOBUFS;
		return NULL;
	}
	t = make_table() ? malloc(sizeof(*t) + size) : NULL;
	if (!t) {
		errno = ENOMEM;
		return NULL;
	}
	memset(t, 0, sizeof(*t));
	t->number = ++table.last;
	t->pool = pool;
	t->state = TASK_QUEUED;
	t->exitcode = -1;
	t->queued = loop_now();
	t->wall = wall_offset();
	t->size = size;
	list_append(bucket(t->number), &t->by_id);
	table.count++;
	table.bytes += weight(t);
	return t;
}

static void drop_failure(struct task *t)
{
	struct task_failure *f = t->failure;

	table.bytes -= weight(t);
	t->failure = NULL;
	table.bytes += weight(t);
	if (!f || f == &no_memory)
		return;
	free(f->message);
	free(f->data);
	free(f);
}

static void drop_result(struct task *t)
{
	table.bytes -= weight(t);
	if (t->owns_result)
		free((char *)(uintptr_t)t->result);
	t->owns_result = false;
	t->result = NULL;
	t->result_len = 0;
	table.bytes += weight(t);
}

void task_free(struct task *t)
{
	drop_result(t);
	drop_failure(t);
	list_remove(&t->link);
	list_remove(&t->by_id);
	table.bytes -= weight(t);
	table.count--;
	free(t);
	if (table.refused) {
		table.refused = false;
		table.observer->has_room();
	}
}

/* ---- IDs --------------------------------------------------------------------------------------
 */

char *task_id(const struct task *t, char buf[TASK_ID_SIZE])
{
	size_t n = table.prefix_len;

	memcpy(buf, table.prefix, n);
	n += text_digits(buf + n, t->number);
	buf[n] = '\0';
	return buf;
}

/* Only what task_id() would write: digits, without a sign or zeros before. */
static bool read_id(const char *id, uint32_t *salt, uint32_t *incarnation, uint64_t *number)
{
	char again[TASK_ID_SIZE];

	if (sscanf(id, "%8" SCNx32 "-%10" SCNu32 "-%20" SCNu64, salt, incarnation, number) != 3)
		return false;
	snprintf(again, sizeof(again), "%08" PRIx32 "-%" PRIu32 "-%" PRIu64, *salt, *incarnation,
		 *number);
	return strcmp(again, id) == 0;
}

struct task *task_by_number(uint64_t number)
{
	if (!table.buckets)
		return NULL;
	list_foreach(e, next, bucket(number))
	{
		struct task *t = list_entry(e, struct task, by_id);

		if (t->number == number)
			return t;
	}
	return NULL;
}

enum task_found task_find(const char *id, struct task **out)
{
	uint32_t salt, incarnation;
	uint64_t number;

	if (!read_id(id, &salt, &incarnation, &number) || salt != table.salt)
		return TASK_UNKNOWN;
	if (incarnation != table.incarnation)
		return incarnation < table.incarnation ? TASK_OF_ANOTHER_MANAGER : TASK_UNKNOWN;
	*out = task_by_number(number);
	return *out ? TASK_FOUND : TASK_UNKNOWN;
}

/* ---- what becomes of it -----------------------------------------------------------------------
 */

void task_set_state(struct task *t, enum task_state state)
{
	t->state = (uint8_t)state;
	if (state == TASK_RUNNING)
		t->started = loop_now();
	else if (state != TASK_QUEUED)
		t->finished = loop_now();
	table.observer->changed(t);
}

void task_tell_awaited(struct task *t)
{
	table.observer->awaited_ended(t);
}

void task_lend_result(struct task *t, const char *data, size_t len, enum task_form form)
{
	drop_result(t);
	t->result = data;
	t->result_len = len;
	t->form = (uint8_t)form;
}

void task_keep_result(struct task *t)
{
	char *copy;

	if (!t->result || t->owns_result)
		return;
	copy = table.bytes + t->result_len <= CREW_TASK_BYTES_MAX ? malloc(t->result_len + 1)
								  : NULL;
	if (!copy) {
		drop_result(t);
		if (t->state != TASK_SUCCEEDED)
			return;
		task_note_failure(t, TASK_BAD_ANSWER, "there was no memory to keep its result");
		t->state = TASK_FAILED;
		return;
	}
	memcpy(copy, t->result, t->result_len);
	copy[t->result_len] = '\0';
	table.bytes -= weight(t);
	t->result = copy;
	t->owns_result = true;
	table.bytes += weight(t);
}

static struct task_failure *failure_new(enum task_error error, const char *message)
{
	struct task_failure *f = calloc(1, sizeof(*f));

	if (f)
		f->message = strdup(message);
	if (!f || !f->message) {
		free(f);
		return NULL;
	}
	f->error = error;
	f->exitcode = -1;
	f->size = sizeof(*f) + strlen(message);
	return f;
}

struct task_failure *task_note_failure(struct task *t, enum task_error error, const char *message)
{
	struct task_failure *f = failure_new(error, message);

	drop_failure(t);
	if (!f)
		log_error(NULL, "no memory to tell why a task failed: %s", message);
	table.bytes -= weight(t);
	t->failure = f ? f : &no_memory;
	table.bytes += weight(t);
	return f;
}

void task_note_data(struct task *t, char *data)
{
	table.bytes -= weight(t);
	t->failure->data = data;
	t->failure->size += strlen(data);
	table.bytes += weight(t);
}
