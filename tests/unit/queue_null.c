#include "tests/unit/queue_null.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct queue_null queue_null_state;

static int create(struct queue *q)
{
	(void)q;
	return 0;
}

static void destroy(struct queue *q)
{
	(void)q;
}

static enum queue_error later(struct queue *q, struct queue_request *r)
{
	(void)q;
	assert_true(queue_null_state.count < NULL_PENDING);
	queue_null_state.pending[queue_null_state.count++] = r->id;
	return QUEUE_LATER;
}

static enum queue_error put(struct queue *q, struct queue_request *r)
{
	return queue_null_state.full ? QUEUE_NOT_YET : later(q, r);
}

static bool cancel(struct queue *q, struct queue_request *r)
{
	(void)q;
	(void)r;
	queue_null_state.cancelled += queue_null_state.may_cancel;
	return queue_null_state.may_cancel;
}

static void back(struct queue *q, struct queue_item *item)
{
	(void)q;
	queue_null_state.backs++;
	free(item);
}

static void look(const struct queue *q, struct queue_stat *stat)
{
	(void)q;
	memset(stat, 0, sizeof(*stat));
}

void queue_null_answer(enum queue_error error, const char *text)
{
	uint64_t id = queue_null_state.pending[0];
	struct queue_request *r = queue_pending(id);

	assert_true(queue_null_state.count > 0);
	queue_null_state.count--;
	memmove(queue_null_state.pending, queue_null_state.pending + 1,
		queue_null_state.count * sizeof(id));
	if (r && text) {
		struct queue_item *item = queue_item_new(strlen(text));

		assert_non_null(item);
		memcpy(item->text, text, item->len);
		list_append(&r->items, &item->link);
	}
	queue_complete(id, error, NULL);
}

const struct queue_kind queue_null = {
	.name = "null",
	.create = create,
	.destroy = destroy,
	.serve = { [QUEUE_PUT] = put, [QUEUE_GET] = later, [QUEUE_SIZE] = later },
	.cancel = cancel,
	.back = back,
	.stat = look,
};
