#include "daemon/conf_source.h"

#include <stdlib.h>
#include <string.h>

#include "lib/bounds.h"

struct chunk {
	struct chunk *next;
	max_align_t data[];
};

static void *out_of_memory(struct conf_source *src)
{
	if (!src->broken)
		conf_errors_add(src->errors, "crewd", 0, "out of memory");
	src->broken = true;
	return NULL;
}

void conf_source_free(struct conf_source *src)
{
	for (struct chunk *c = src->memory, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(src->pools);
}

void *conf_source_take(struct conf_source *src, size_t size)
{
	struct chunk *c = calloc(1, sizeof(*c) + size);

	if (!c)
		return out_of_memory(src);
	c->next = src->memory;
	src->memory = c;
	return c->data;
}

char *conf_source_copy(struct conf_source *src, const char *text, size_t length)
{
	char *copy = conf_source_take(src, length + 1);

	if (copy)
		memcpy(copy, text, length);
	return copy;
}

static bool grow(struct conf_source *src)
{
	uint32_t room = src->pool_room ? src->pool_room * 2 : 16;
	struct conf_entry *pools;

	if (src->pool_count < src->pool_room)
		return true;
	pools = realloc(src->pools, room * sizeof(*pools));
	if (!pools)
		return out_of_memory(src) != NULL;
	src->pools = pools;
	src->pool_room = room;
	return true;
}

struct conf_entry *conf_source_add(struct conf_source *src, const char *name, const char *file,
				   unsigned line)
{
	struct conf_entry *p;

	for (uint32_t i = 0; i < src->pool_count; i++) {
		p = &src->pools[i];
		if (strcmp(p->name, name) != 0)
			continue;
		conf_errors_add(src->errors, file, line,
				"pool \"%s\" is already defined at %s:%u; give one of them another "
				"name",
				name, p->file, p->line);
		return NULL;
	}
	if (src->pool_count == CREW_POOLS_MAX) {
		conf_errors_add(src->errors, file, line, "more than %d pools; use fewer",
				CREW_POOLS_MAX);
		src->broken = true;
		return NULL;
	}
	if (!grow(src))
		return NULL;
	p = &src->pools[src->pool_count++];
	memset(p, 0, sizeof(*p));
	p->name = name;
	p->file = file;
	p->line = line;
	return p;
}
