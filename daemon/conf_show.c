#include "daemon/conf_show.h"

#include <stdio.h>
#include <string.h>

#include "lib/text.h"

struct field {
	struct conf_sink *sink;
	const struct conf *conf;
	const struct conf_key *key;
	const void *at;
};

static void put(struct conf_sink *sink, const char *text)
{
	sink->put(sink, text, strlen(text));
}

void conf_show_quoted(struct conf_sink *sink, const char *text)
{
	put(sink, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		size_t plain =
			strcspn(text, "\"\\\x7f\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e"
				      "\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b"
				      "\x1c\x1d\x1e\x1f");
		char escape[8];

		if (plain) {
			sink->put(sink, text, plain);
			text += plain - 1;
			continue;
		}
		if (c == '"' || c == '\\')
			snprintf(escape, sizeof(escape), "\\%c", c);
		else
			snprintf(escape, sizeof(escape), "\\x%02x", c);
		put(sink, escape);
	}
	put(sink, "\"");
}

static void show_text(const struct field *f)
{
	const char *text = conf_text(f->conf, *(const conf_off *)f->at);

	if (text)
		conf_show_quoted(f->sink, text);
}

static void show_list(const struct field *f)
{
	const struct conf_list *list = f->at;

	if (f->key->type == CONF_TYPE_COMMAND && !list->count) /* it has a template */
		return;
	put(f->sink, "{");
	for (uint32_t i = 0; i < list->count; i++) {
		if (i)
			put(f->sink, ", ");
		conf_show_quoted(f->sink, conf_item(f->conf, *list, i));
	}
	put(f->sink, "}");
}

static void show_bool(const struct field *f)
{
	put(f->sink, *(const uint8_t *)f->at ? "true" : "false");
}

static void show_number(const struct field *f, const char *format, long long n)
{
	char text[24];

	snprintf(text, sizeof(text), format[0] == 'o' ? "0%03llo" : "%lld", n);
	put(f->sink, text);
}

static void show_count(const struct field *f)
{
	uint32_t n = *(const uint32_t *)f->at;

	if (n != UINT32_MAX)
		show_number(f, "decimal", n);
}

static void show_octal(const struct field *f)
{
	int32_t n = *(const int32_t *)f->at;

	if (n >= 0)
		show_number(f, "octal", n);
}

/* nice and its flag live in the pool, not at one offset. */
static const struct conf_pool *pool_of(const struct field *f)
{
	return (const void *)((const char *)f->at - f->key->offset);
}

static void show_nice(const struct field *f)
{
	if (pool_of(f)->nice_given)
		show_number(f, "decimal", pool_of(f)->nice);
}

static void show_codes(const struct field *f)
{
	const char *before = "";

	put(f->sink, "{");
	for (int code = 0; code < 256; code++) {
		if (!conf_is_success(pool_of(f), code))
			continue;
		put(f->sink, before);
		show_number(f, "decimal", code);
		before = ", ";
	}
	put(f->sink, "}");
}

static void show_duration(const struct field *f)
{
	int64_t usec = *(const int64_t *)f->at;
	char text[96];

	if (usec == 0 && f->key->fallback && strcmp(f->key->fallback, "off") == 0)
		conf_show_quoted(f->sink, "off");
	else
		conf_show_quoted(f->sink, text_duration_print(text, sizeof(text), usec));
}

static void show_word(const struct field *f)
{
	conf_show_quoted(f->sink, f->key->words[*(const uint8_t *)f->at]);
}

static void show_tasks(const struct field *f)
{
	uint8_t tasks = *(const uint8_t *)f->at;

	if (tasks != CONF_TASKS_NONE)
		conf_show_quoted(f->sink, f->key->words[tasks - 1]);
}

static void show_log(const struct field *f)
{
	if (*(const uint8_t *)f->at == CONF_LOG_FILE)
		conf_show_quoted(f->sink, conf_text(f->conf, pool_of(f)->log_file));
	else
		show_word(f);
}

static void show_signal(const struct field *f)
{
	conf_show_quoted(f->sink, text_signal_name(*(const int32_t *)f->at));
}

static void show_size(const struct field *f)
{
	char text[32];

	if (*(const uint64_t *)f->at || f->key->fallback)
		conf_show_quoted(f->sink, text_size_print(text, sizeof(text), *(const uint64_t *)f->at));
}

static void (*const showers[CONF_TYPE_COUNT_OF])(const struct field *f) = {
	[CONF_TYPE_TEXT] = show_text,	    [CONF_TYPE_PATH] = show_text,
	[CONF_TYPE_COMMAND] = show_list,    [CONF_TYPE_ENVIRONMENT] = show_list,
	[CONF_TYPE_NAMES] = show_list,	    [CONF_TYPE_BOOL] = show_bool,
	[CONF_TYPE_COUNT] = show_count,	    [CONF_TYPE_DURATION] = show_duration,
	[CONF_TYPE_WORD] = show_word,	    [CONF_TYPE_OCTAL] = show_octal,
	[CONF_TYPE_NICE] = show_nice,	    [CONF_TYPE_SIGNAL] = show_signal,
	[CONF_TYPE_LIMITS] = show_list,	    [CONF_TYPE_CODES] = show_codes,
	[CONF_TYPE_LOG] = show_log,	    [CONF_TYPE_TASKS] = show_tasks,
	[CONF_TYPE_SIZE] = show_size,	    [CONF_TYPE_KIND] = show_word,
	[CONF_TYPE_QUEUE_NAME] = show_text, [CONF_TYPE_URL] = show_text,
};

void conf_show(struct conf_sink *sink, const struct conf *conf, const void *base,
	       const struct conf_key *key)
{
	struct field f = { sink, conf, key, (const char *)base + key->offset };

	showers[key->type](&f);
}
