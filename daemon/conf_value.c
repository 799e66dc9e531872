#include "daemon/conf_value.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf_limit.h"
#include "daemon/redis_url.h"
#include "lib/bounds.h"
#include "lib/text.h"

/* What is being read, and where its complaint goes. */
struct setting {
	struct conf_build *b;
	uint32_t index; /* of the pool or queue */
	const struct conf_key *key;
	struct conf_values values;
	char *why;
	size_t why_size;
};

/* The field; not to be kept across a call that adds to the block. */
static void *field(const struct setting *s)
{
	char *base;

	if (s->index == CONF_VALUE_GLOBAL)
		base = (char *)conf_build_head(s->b);
	else if (s->key->section == CONF_SECTION_QUEUE)
		base = (char *)conf_build_queue(s->b, s->index);
	else
		base = (char *)conf_build_pool(s->b, s->index);
	return base + s->key->offset;
}

static struct conf_pool *pool_of(const struct setting *s)
{
	return conf_build_pool(s->b, s->index);
}

__attribute__((format(printf, 3, 4))) static bool bad(const struct setting *s, const char *value,
						      const char *right, ...)
{
	va_list ap;
	int n;

	if (!s->why_size) /* a default: its reader does not ask why */
		return false;
	n = snprintf(s->why, s->why_size, "%s = \"%.80s\"%s: ", s->key->name, value,
		     strlen(value) > 80 ? "..." : "");
	va_start(ap, right);
	vsnprintf(s->why + n, s->why_size - (size_t)n, right, ap);
	va_end(ap);
	return false;
}

static bool put_text(const struct setting *s, const char *text)
{
	conf_off off = conf_build_text(s->b, text);

	if (!off)
		return false;
	*(conf_off *)field(s) = off;
	return true;
}

static bool set_text(const struct setting *s)
{
	const char *v = s->values.items[0];

	return *v ? put_text(s, v) : bad(s, v, "must not be empty");
}

static bool set_path(const struct setting *s)
{
	const char *v = s->values.items[0];

	if (*v != '/')
		return bad(s, v, "must be an absolute path, one that begins with /");
	if (s->key->max && strlen(v) > (size_t)s->key->max)
		return bad(s, v, "must have at most %d characters", (int)s->key->max);
	return put_text(s, v);
}

static bool put_list(const struct setting *s)
{
	struct conf_list list = conf_build_list(s->b, s->values.items, s->values.count);

	if (list.count && !list.items)
		return false;
	*(struct conf_list *)field(s) = list;
	return true;
}

static bool set_command(const struct setting *s)
{
	if (s->values.count == 0 || !*s->values.items[0])
		return bad(s, "", "must name a program, as in {\"/usr/bin/sleep\", \"60\"}");
	return put_list(s);
}

static bool is_variable(const char *v, size_t length)
{
	if (length == 0 || isdigit((unsigned char)*v))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)v[i]) && v[i] != '_')
			return false;
	return true;
}

static bool set_environment(const struct setting *s)
{
	for (uint32_t i = 0; i < s->values.count; i++) {
		const char *v = s->values.items[i];
		size_t length = strcspn(v, "=");

		if (!v[length] || !is_variable(v, length))
			return bad(s, v, "must be KEY=VALUE, KEY of letters, digits and _");
		for (uint32_t j = 0; j < i; j++)
			if (strncmp(s->values.items[j], v, length + 1) == 0)
				return bad(s, v, "%.*s is given twice", (int)length, v);
	}
	return put_list(s);
}

static bool set_bool(const struct setting *s)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
	const char *v = s->values.items[0];

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp(v, words[i]) == 0) {
			*(uint8_t *)field(s) = i % 2;
			return true;
		}
	}
	return bad(s, v, "must be true or false");
}

/* A leading zero is refused: some read 010 as ten, some as eight. */
static bool read_number(const struct setting *s, const char *v, int64_t *out)
{
	const char *digits = v + (*v == '-');

	if (digits[0] == '0' && isdigit((unsigned char)digits[1]))
		return bad(s, v, "must be written without the leading zero");
	if (text_int(v, out) < 0 || *out < s->key->min || *out > s->key->max)
		return bad(s, v, "must be a number from %lld to %lld", (long long)s->key->min,
			   (long long)s->key->max);
	return true;
}

static bool set_count(const struct setting *s)
{
	int64_t n;

	if (!read_number(s, s->values.items[0], &n))
		return false;
	*(uint32_t *)field(s) = (uint32_t)n;
	return true;
}

static bool set_nice(const struct setting *s)
{
	int64_t n;

	if (!read_number(s, s->values.items[0], &n))
		return false;
	pool_of(s)->nice = (int32_t)n;
	pool_of(s)->nice_given = true;
	return true;
}

static bool set_codes(const struct setting *s)
{
	uint8_t codes[32] = { 0 };

	for (uint32_t i = 0; i < s->values.count; i++) {
		int64_t n;

		if (!read_number(s, s->values.items[i], &n))
			return false;
		codes[n / 8] |= (uint8_t)(1U << (n % 8));
	}
	memcpy(field(s), codes, sizeof(codes));
	return true;
}

static bool may_be_off(const struct conf_key *key)
{
	return key->min == 0 ? !key->no_off : key->fallback && strcmp(key->fallback, "off") == 0;
}

static bool set_duration(const struct setting *s)
{
	const char *v = s->values.items[0];
	char least[64], most[64];
	int64_t usec;

	if (strcmp(v, "off") == 0 && may_be_off(s->key)) {
		*(int64_t *)field(s) = 0;
		return true;
	}
	if (text_duration(v, &usec) < 0)
		return bad(s, v, "must be a duration such as \"500ms\", \"10s\" or \"1min 30s\"");
	if (usec < s->key->min || usec > s->key->max)
		return bad(s, v, "must be from %s to %s",
			   text_duration_show(least, sizeof(least), s->key->min),
			   text_duration_show(most, sizeof(most), s->key->max));
	*(int64_t *)field(s) = usec;
	return true;
}

/* Index of `v` in the row's words, or -1. */
static int word_index(const struct conf_key *key, const char *v)
{
	for (int i = 0; key->words[i]; i++)
		if (strcmp(key->words[i], v) == 0)
			return i;
	return -1;
}

/* `"a", "b" or "c"` of the row's words; `last` is what stands for the or. */
static const char *word_list(const struct conf_key *key, const char *last, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (int i = 0; key->words[i] && n < size; i++) {
		const char *before = i == 0 ? "" : key->words[i + 1] ? ", " : last;
		n += (size_t)snprintf(buf + n, size - n, "%s\"%s\"", before, key->words[i]);
	}
	return buf;
}

static bool set_word(const struct setting *s)
{
	int i = word_index(s->key, s->values.items[0]);
	char words[128];

	if (i < 0)
		return bad(s, s->values.items[0], "must be %s",
			   word_list(s->key, " or ", words, sizeof(words)));
	*(uint8_t *)field(s) = (uint8_t)i;
	return true;
}

static bool set_tasks(const struct setting *s)
{
	const char *v = s->values.items[0];
	int i = word_index(s->key, v);
	char words[128];

	word_list(s->key, " or ", words, sizeof(words));
	if (i < 0)
		return bad(s, v, "must be %s", words);
	*(uint8_t *)field(s) = (uint8_t)(i + 1);
	return true;
}

static bool set_octal(const struct setting *s)
{
	const char *v = s->values.items[0];
	size_t digits = strspn(v, "01234567");
	long n = digits > 0 && digits <= 4 && !v[digits] ? strtol(v, NULL, 8) : -1;

	if (n < 0 || n > s->key->max)
		return bad(s, v, "must be octal permission bits, from 0000 to 0%llo",
			   (unsigned long long)s->key->max);
	*(uint32_t *)field(s) = (uint32_t)n;
	return true;
}

static bool set_signal(const struct setting *s)
{
	int sig = text_signal(s->values.items[0]);

	if (sig < 0)
		return bad(s, s->values.items[0],
			   "must be a signal such as \"TERM\", \"INT\" or \"RTMIN+3\"");
	*(int32_t *)field(s) = sig;
	return true;
}

static bool set_limits(const struct setting *s)
{
	struct conf_limit limits[CONF_LIMITS_MAX];
	uint32_t count = s->values.count;
	conf_off off;

	for (uint32_t i = 0; i < count; i++) {
		const char *v = s->values.items[i];

		if (i == CONF_LIMITS_MAX || conf_limit_read(v, &limits[i]) < 0)
			return bad(s, v, "must be NAME=SOFT or NAME=SOFT:HARD, NAME one of %s",
				   conf_limit_names());
		for (uint32_t j = 0; j < i; j++)
			if (limits[j].resource == limits[i].resource)
				return bad(s, v, "this limit is given twice");
	}
	off = conf_build_bytes(s->b, limits, count * sizeof(*limits));
	if (!off)
		return false;
	pool_of(s)->limits = off;
	pool_of(s)->limit_count = count;
	return put_list(s);
}

static bool set_log(const struct setting *s)
{
	const char *v = s->values.items[0];
	int word = word_index(s->key, v);
	conf_off off = 0;
	char words[128];

	if (word < 0 && *v != '/')
		return bad(s, v, "must be %s or a file's absolute path",
			   word_list(s->key, ", ", words, sizeof(words)));
	if (word < 0) {
		off = conf_build_text(s->b, v);
		if (!off)
			return false;
	}
	pool_of(s)->log = word < 0 ? CONF_LOG_FILE : (uint8_t)word;
	pool_of(s)->log_file = off;
	return true;
}

static bool set_size(const struct setting *s)
{
	const char *v = s->values.items[0];
	char least[32], most[32];
	uint64_t bytes;

	if (text_size(v, &bytes) < 0)
		return bad(s, v, "must be a size such as \"64K\", \"512M\" or \"1000\"");
	if (bytes < (uint64_t)s->key->min || bytes > (uint64_t)s->key->max)
		return bad(s, v, "must be from %s to %s",
			   text_size_print(least, sizeof(least), (uint64_t)s->key->min),
			   text_size_print(most, sizeof(most), (uint64_t)s->key->max));
	*(uint64_t *)field(s) = bytes;
	return true;
}

/* A kind that is known, and not in this program, is told apart from what is wrong. */
static bool set_kind(const struct setting *s)
{
	static const char *const missing[] = {
		[CONF_QUEUE_MANAGER] = NULL,
		[CONF_QUEUE_SHARED] = NULL,
#ifdef HAVE_REDIS
		[CONF_QUEUE_REDIS] = NULL,
#else
		[CONF_QUEUE_REDIS] = "queues in redis are not built into this crewd; use "
				     "\"manager\" or \"shared\"",
#endif
	};
	int i = word_index(s->key, s->values.items[0]);

	if (i >= 0 && missing[i])
		return bad(s, s->values.items[0], "%s", missing[i]);
	return set_word(s);
}

static bool set_queue_name(const struct setting *s)
{
	const char *v = s->values.items[0];

	if (!text_name_ok(v))
		return bad(s, v, "must be a queue's name: 1 to %d of A-Z a-z 0-9 _ . -",
			   CREW_NAME_MAX);
	return put_text(s, v);
}

static bool set_url(const struct setting *s)
{
	struct redis_where where;
	const char *v = s->values.items[0], *right = redis_where_read(v, &where);

	return right ? bad(s, v, "%s", right) : put_text(s, v);
}

static bool (*const setters[CONF_TYPE_COUNT_OF])(const struct setting *s) = {
	[CONF_TYPE_TEXT] = set_text,
	[CONF_TYPE_PATH] = set_path,
	[CONF_TYPE_COMMAND] = set_command,
	[CONF_TYPE_ENVIRONMENT] = set_environment,
	[CONF_TYPE_NAMES] = put_list,
	[CONF_TYPE_BOOL] = set_bool,
	[CONF_TYPE_COUNT] = set_count,
	[CONF_TYPE_DURATION] = set_duration,
	[CONF_TYPE_WORD] = set_word,
	[CONF_TYPE_OCTAL] = set_octal,
	[CONF_TYPE_NICE] = set_nice,
	[CONF_TYPE_SIGNAL] = set_signal,
	[CONF_TYPE_LIMITS] = set_limits,
	[CONF_TYPE_CODES] = set_codes,
	[CONF_TYPE_LOG] = set_log,
	[CONF_TYPE_TASKS] = set_tasks,
	[CONF_TYPE_SIZE] = set_size,
	[CONF_TYPE_KIND] = set_kind,
	[CONF_TYPE_QUEUE_NAME] = set_queue_name,
	[CONF_TYPE_URL] = set_url,
};

bool conf_value_set(struct conf_build *b, uint32_t index, const struct conf_key *key,
		    struct conf_values values, char *why, size_t why_size)
{
	struct setting s = { b, index, key, values, why, why_size };

	if (why_size)
		why[0] = '\0';
	if (values.count > CREW_ARGS_MAX) {
		snprintf(why, why_size, "%s: %u strings, at most %d are allowed", key->name,
			 values.count, CREW_ARGS_MAX);
		return false;
	}
	return setters[key->type](&s);
}

bool conf_value_default(struct conf_build *b, uint32_t index, const struct conf_key *key)
{
	struct conf_values one = { 1, &key->fallback };
	struct setting s = { .b = b, .index = index, .key = key };

	if (!key->fallback && key->type == CONF_TYPE_COUNT)
		*(uint32_t *)field(&s) = UINT32_MAX;
	if (!key->fallback && key->type == CONF_TYPE_SIZE)
		*(uint64_t *)field(&s) = 0;
	if (!key->fallback && key->type == CONF_TYPE_QUEUE_NAME)
		*(conf_off *)field(&s) = 0;
	return !key->fallback || conf_value_set(b, index, key, one, NULL, 0);
}
