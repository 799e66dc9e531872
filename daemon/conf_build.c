#include "daemon/conf_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf_keys.h"
#include "daemon/conf_value.h"
#include "lib/bounds.h"

struct conf_build {
	char *data;
	size_t size, room; /* bytes used, allocated; what is not used is zero */
	int error;
};

/* Offset of `size` new zero bytes, aligned to 8; 0 with errno. */
static size_t take(struct conf_build *b, size_t size)
{
	size_t at = (b->size + 7) & ~(size_t)7;

	if (size > CREW_CONF_MAX || at + size + 8 > CREW_CONF_MAX) {
		errno = b->error = EFBIG;
		return 0;
	}
	if (at + size > b->room) {
		size_t room = (at + size) * 2;
		char *data = realloc(b->data, room);
		if (!data) {
			b->error = ENOMEM;
			return 0;
		}
		memset(data + b->room, 0, room - b->room);
		b->data = data;
		b->room = room;
	}
	b->size = at + size;
	return at;
}

static void head_init(struct conf_build *b, uint32_t pools, uint32_t queues, conf_off at)
{
	struct conf *head = conf_build_head(b);

	head->magic = CONF_MAGIC;
	head->version = CONF_VERSION;
	head->socket_gid = CONF_NO_ID;
	head->manager.uid = head->manager.gid = CONF_NO_ID;
	head->run = head->manager;
	head->pool_count = pools;
	head->pools = at;
	head->queue_count = queues;
	head->queues = at + pools * (conf_off)sizeof(struct conf_pool);
}

static bool queue_defaults(struct conf_build *b, uint32_t queues)
{
	for (uint32_t i = 0; i < queues; i++)
		for (unsigned k = 0; k < CONF_QUEUE_KEYS; k++)
			if (!conf_value_default(b, i, &conf_queue_keys[k]))
				return false;
	return true;
}

static bool defaults(struct conf_build *b, uint32_t pools)
{
	for (unsigned k = 0; k < CONF_GLOBAL_KEYS; k++)
		if (!conf_value_default(b, CONF_VALUE_GLOBAL, &conf_global_keys[k]))
			return false;
	for (uint32_t i = 0; i < pools; i++) {
		struct conf_pool *p = conf_build_pool(b, i);

		p->identity.uid = p->identity.gid = CONF_NO_ID;
		p->umask = -1;
		if (i > 0) { /* parsed once; no default refers to anything in the block */
			memcpy(p, conf_build_pool(b, 0), sizeof(*p));
			continue;
		}
		for (unsigned k = 0; k < CONF_POOL_KEYS; k++)
			if (!conf_value_default(b, i, &conf_pool_keys[k]))
				return false;
	}
	return true;
}

struct conf_build *conf_build_new(uint32_t pools, uint32_t queues)
{
	struct conf_build *b = calloc(1, sizeof(*b));
	size_t at;

	if (!b)
		return NULL;
	/* The head is at 0, which take() returns for a failure too: hence the one call for both. */
	if (pools > CREW_POOLS_MAX || queues > CREW_QUEUES_MAX)
		goto fail;
	at = (sizeof(struct conf) + 7) & ~(size_t)7;
	take(b, at + pools * sizeof(struct conf_pool) + queues * sizeof(struct conf_queue));
	if (!b->data)
		goto fail;
	_Static_assert(sizeof(struct conf_pool) % 8 == 0, "queues behind pools are aligned");
	head_init(b, pools, queues, (conf_off)at);
	if (defaults(b, pools) && queue_defaults(b, queues))
		return b;
fail:
	conf_build_free(b);
	errno = ENOMEM;
	return NULL;
}

void conf_build_free(struct conf_build *b)
{
	if (!b)
		return;
	free(b->data);
	free(b);
}

struct conf *conf_build_head(struct conf_build *b)
{
	return (struct conf *)(void *)b->data;
}

struct conf_pool *conf_build_pool(struct conf_build *b, uint32_t i)
{
	return (struct conf_pool *)(void *)(b->data + conf_build_head(b)->pools) + i;
}

struct conf_queue *conf_build_queue(struct conf_build *b, uint32_t i)
{
	return (struct conf_queue *)(void *)(b->data + conf_build_head(b)->queues) + i;
}

conf_off conf_build_bytes(struct conf_build *b, const void *data, size_t size)
{
	size_t at = take(b, size);

	if (at && size)
		memcpy(b->data + at, data, size);
	return (conf_off)at;
}

conf_off conf_build_text(struct conf_build *b, const char *s)
{
	return conf_build_bytes(b, s, strlen(s) + 1);
}

struct conf_list conf_build_list(struct conf_build *b, const char *const *items, uint32_t count)
{
	struct conf_list list = { count, 0 };
	size_t at = take(b, count * sizeof(conf_off));

	for (uint32_t i = 0; at && i < count; i++) {
		conf_off item = conf_build_text(b, items[i]);
		if (!item)
			return list;
		memcpy(b->data + at + i * sizeof(item), &item, sizeof(item));
	}
	list.items = (conf_off)at;
	return list;
}

int conf_build_error(const struct conf_build *b)
{
	return b->error;
}

struct conf *conf_build_finish(struct conf_build *b, size_t *size)
{
	struct conf *block = NULL;

	/* A last zero byte: no string of the block can run over its end (conf_valid()). */
	if (!b->error && take(b, 8)) {
		block = conf_build_head(b);
		block->size = (uint32_t)b->size;
		*size = b->size;
		b->data = NULL;
	}
	errno = b->error;
	conf_build_free(b);
	return block;
}
