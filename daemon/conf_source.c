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
	for (int i = 0; i < CONF_SECTIONS; i++)
		free(src->in[i].at);
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

static bool grow(struct conf_source *src, struct conf_entries *in)
{
	uint32_t room = in->room ? in->room * 2 : 16;
	struct conf_entry *at;

	if (in->count < in->room)
		return true;
	at = realloc(in->at, room * sizeof(*at));
	if (!at)
		return out_of_memory(src) != NULL;
	in->at = at;
	in->room = room;
	return true;
}

static const char *word_of(const struct conf_entry *e, enum conf_section section)
{
	return conf_sections[e->is_template ? CONF_SECTION_TEMPLATE : conf_source_place(section)]
		.word;
}

/* Whether there may be one more of that name. */
static bool may_add(struct conf_source *src, enum conf_section section, const char *name,
		    const char *file, unsigned line)
{
	const struct conf_section_row *row = &conf_sections[section];
	const struct conf_entries *in = &src->in[conf_source_place(section)];

	for (uint32_t i = 0; i < in->count; i++) {
		if (strcmp(in->at[i].name, name) != 0)
			continue;
		conf_errors_add(src->errors, file, line,
				"%s \"%s\" is already defined at %s:%u; give one of them another "
				"name",
				word_of(&in->at[i], section), name, in->at[i].file,
				in->at[i].line);
		return false;
	}
	if (in->count < row->max)
		return true;
	conf_errors_add(src->errors, file, line, "more than %u %s; use fewer", row->max,
			row->words);
	src->broken = true;
	return false;
}

struct conf_entry *conf_source_add(struct conf_source *src, enum conf_section section,
				   const char *name, const char *file, unsigned line)
{
	struct conf_entries *in = &src->in[conf_source_place(section)];
	struct conf_given *keys;
	struct conf_entry *p;

	if (!may_add(src, section, name, file, line) || !grow(src, in))
		return NULL;
	keys = conf_source_take(src, conf_sections[section].key_count * sizeof(*keys));
	if (!keys)
		return NULL;
	p = &in->at[in->count++];
	*p = (struct conf_entry){ .name = name, .file = file, .line = line, .keys = keys };
	p->is_template = section == CONF_SECTION_TEMPLATE;
	return p;
}

bool conf_source_says(const struct conf_entry *p, enum conf_pool_key key)
{
	return p->keys[key].line && !p->keys[key].inherited;
}

void conf_source_complain(struct conf_source *src, const struct conf_entry *p,
			  enum conf_pool_key key, const char *why)
{
	const struct conf_given *given = &p->keys[key];

	conf_errors_add(src->errors, given->file, given->line, "pool \"%s\": %s = \"%.64s\": %s",
			p->name, conf_pool_keys[key].name,
			given->values.count ? given->values.items[0] : "", why);
}
