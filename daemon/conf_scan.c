#include "daemon/conf_scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/conf_lex.h"
#include "lib/bounds.h"
#include "lib/text.h"

struct scan {
	const struct conf_scan *in;
	struct conf_source *src;
	struct conf_lex lex;
	char *out; /* room for all that can come of the text */
	size_t used;
	unsigned out_line;
};

/* Where the clean text stood, to take back what came after. */
struct mark {
	size_t used;
	unsigned line;
};

__attribute__((format(printf, 3, 4))) static bool complain(struct scan *s, unsigned line,
							   const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	conf_errors_add(s->src->errors, s->in->file, line, "%s", text);
	return false;
}

static bool next(struct scan *s)
{
	if (conf_lex_next(&s->lex) != CONF_LEX_BAD)
		return true;
	return complain(s, s->lex.token_line, "%s", s->lex.problem);
}

/* Something else stands where `wanted` should. */
static bool unexpected(struct scan *s, const char *wanted)
{
	if (s->lex.kind == CONF_LEX_END)
		return complain(s, s->lex.token_line, "the file ends where %s should follow",
				wanted);
	return complain(s, s->lex.token_line, "%s expected instead of %.*s", wanted,
			s->lex.length > 60 ? 60 : (int)s->lex.length, s->lex.token);
}

static bool next_is(struct scan *s, char mark, const char *wanted)
{
	return next(s) && (conf_lex_is(&s->lex, mark) || unexpected(s, wanted));
}

/* ---- the clean text ---------------------------------------------------------------------------- */

static struct mark mark(const struct scan *s)
{
	return (struct mark){ s->used, s->out_line };
}

static void take_back(struct scan *s, struct mark m)
{
	s->used = m.used;
	s->out_line = m.line;
}

static void emit(struct scan *s, char c)
{
	s->out[s->used++] = c;
	s->out_line += c == '\n';
}

static void emit_line(struct scan *s)
{
	while (s->out_line < s->lex.token_line)
		emit(s, '\n');
}

/* Inside double quotes libconfuse would put the environment in place of ${X}. */
static void emit_string(struct scan *s)
{
	const char *t = s->lex.token;

	for (size_t i = 0; i < s->lex.length; i++) {
		if (*t == '"' && t[i] == '$')
			emit(s, '\\');
		emit(s, t[i]);
		if (t[i] == '\\')
			emit(s, t[++i]);
	}
}

static void emit_token(struct scan *s)
{
	emit_line(s);
	if (s->lex.kind == CONF_LEX_STRING) {
		emit_string(s);
		return;
	}
	for (size_t i = 0; i < s->lex.length; i++)
		emit(s, s->lex.token[i]);
	if (s->lex.kind == CONF_LEX_WORD)
		emit(s, ' ');
}

/* ---- keys -------------------------------------------------------------------------------------- */

static bool is_value(const struct scan *s)
{
	return s->lex.kind == CONF_LEX_WORD || s->lex.kind == CONF_LEX_STRING;
}

/* After its {: up to and with its }. */
static bool scan_list(struct scan *s)
{
	bool first = true;

	for (;;) {
		if (!next(s))
			return false;
		if (conf_lex_is(&s->lex, '}')) {
			emit_token(s);
			return true;
		}
		if (!is_value(s))
			return unexpected(s, "a value or }");
		if (!first)
			emit(s, ',');
		first = false;
		emit_token(s);
		if (!next(s))
			return false;
		if (conf_lex_is(&s->lex, '}')) {
			emit_token(s);
			return true;
		}
		if (!conf_lex_is(&s->lex, ','))
			return unexpected(s, ", or }");
	}
}

/* From = on. */
static bool scan_value(struct scan *s, bool *list)
{
	if (!next_is(s, '=', "="))
		return false;
	emit_token(s);
	if (!next(s))
		return false;
	*list = conf_lex_is(&s->lex, '{');
	if (!*list && !is_value(s))
		return unexpected(s, "a value");
	emit_token(s);
	return !*list || scan_list(s);
}

struct table {
	const struct conf_key *keys;
	unsigned count;
	struct conf_given *given;
	const char *where; /* for messages */
	bool of_template;  /* some of the keys are for pools only */
};

static bool unknown_key(struct scan *s, const struct table *t, const char *name, unsigned line)
{
	const char *like = conf_key_like(t->keys, t->count, name);

	if (like)
		return complain(s, line, "unknown key \"%.64s\"%s; did you mean \"%s\"?", name,
				t->where, like);
	return complain(s, line, "unknown key \"%.64s\"%s; crewd.conf(5) has them all", name,
			t->where);
}

/* Whether the key may stand here; notes where it stands. */
static bool note_key(struct scan *s, const struct table *t, const char *name, unsigned line,
		     bool list)
{
	int i = conf_key_find(t->keys, t->count, name);
	struct conf_given *given;

	if (i < 0)
		return unknown_key(s, t, name, line);
	if (t->of_template && !conf_key_applies(&t->keys[i], CONF_VARIANT_TEMPLATE))
		return complain(s, line, "%s is a key of pools, not of templates", name);
	given = &t->given[i];
	if (given->line)
		return complain(s, line, "%s is given twice, first at %s:%u", name, given->file,
				given->line);
	given->file = s->in->file;
	given->line = line;
	if (list == conf_key_is_list(&t->keys[i]))
		return true;
	given->line = 0;
	if (list)
		return complain(s, line, "%s takes one value, not a list", name);
	return complain(s, line, "%s takes a list, as in %s = {\"...\"}", name, name);
}

static bool scan_key(struct scan *s, const struct table *t)
{
	unsigned line = s->lex.token_line;
	struct mark before = mark(s);
	char *name = conf_source_copy(s->src, s->lex.token, s->lex.length);
	bool list;

	if (!name)
		return false;
	emit_token(s);
	if (!scan_value(s, &list))
		return false;
	if (!note_key(s, t, name, line, list))
		take_back(s, before);
	return true;
}

/* Whether NAME { or NAME "TITLE" { begins at the word just read. */
static bool begins_section(struct conf_lex ahead)
{
	conf_lex_next(&ahead);
	if (ahead.kind == CONF_LEX_WORD || ahead.kind == CONF_LEX_STRING)
		conf_lex_next(&ahead);
	return conf_lex_is(&ahead, '{');
}

/* ---- sections ---------------------------------------------------------------------------------- */

/* The name of a section without its quotes; one with an escape in it is no good name anyway. */
static char *section_name(struct scan *s)
{
	bool quoted = s->lex.kind == CONF_LEX_STRING;

	return conf_source_copy(s->src, s->lex.token + quoted, s->lex.length - 2 * quoted);
}

static bool scan_body(struct scan *s, const struct table *t, const char *word, const char *name,
		      unsigned line)
{
	for (;;) {
		if (!next(s))
			return false;
		if (s->lex.kind == CONF_LEX_END)
			return complain(s, line, "%s \"%s\" is not closed: a } is missing", word,
					name);
		if (conf_lex_is(&s->lex, '}')) {
			emit_token(s);
			return true;
		}
		if (s->lex.kind != CONF_LEX_WORD)
			return unexpected(s, "a key or }");
		if (begins_section(s->lex))
			return complain(s, s->lex.token_line,
					"a section inside %s \"%s\"; is a } missing above?", word,
					name);
		if (!scan_key(s, t))
			return false;
	}
}

static bool section_name_ok(struct scan *s, const struct conf_section_row *row, const char *name,
			    unsigned line)
{
	if (row->name_ok(name))
		return true;
	return complain(s, line, "\"%.80s\" is no name for a %s: 1 to %d of A-Z a-z 0-9 _ . -%s",
			name, row->word, CREW_NAME_MAX, row->name_rule);
}

static bool scan_section(struct scan *s, enum conf_section section)
{
	const struct conf_section_row *row = &conf_sections[section];
	struct conf_given nowhere[CONF_POOL_KEYS] = { 0 };
	struct conf_entry *entry;
	unsigned line = s->lex.token_line;
	struct mark before = mark(s);
	char where[32], what[32], *name;
	struct table t = { row->keys, row->key_count, NULL, where,
			   section == CONF_SECTION_TEMPLATE };

	_Static_assert((int)CONF_QUEUE_KEYS <= (int)CONF_POOL_KEYS, "room for keys nowhere");
	snprintf(where, sizeof(where), " in a %s", row->word);
	snprintf(what, sizeof(what), "the %s's name", row->word);

	emit_token(s);
	if (!next(s))
		return false;
	if (!is_value(s))
		return unexpected(s, what);
	name = section_name(s);
	if (!name)
		return false;
	emit_token(s);
	if (!next_is(s, '{', "{"))
		return false;
	emit_token(s);
	entry = section_name_ok(s, row, name, line)
			? conf_source_add(s->src, section, name, s->in->file, line)
			: NULL;
	if (s->src->broken && !entry)
		return false;
	t.given = entry ? entry->keys : nowhere;
	if (!scan_body(s, &t, row->word, name, line))
		return false;
	if (!entry)
		take_back(s, before);
	return true;
}

/* A section of a kind that is not known: past its }. */
static bool skip_section(struct scan *s)
{
	unsigned line = s->lex.token_line, depth = 0;

	while (!conf_lex_is(&s->lex, '{'))
		if (!next(s))
			return false;
	do {
		if (s->lex.kind == CONF_LEX_END)
			return complain(s, line, "this section is not closed: a } is missing");
		if (conf_lex_is(&s->lex, '{') && ++depth > CREW_NESTING_MAX)
			return complain(s, s->lex.token_line, "sections nest too deep");
		depth -= conf_lex_is(&s->lex, '}');
	} while (depth > 0 && next(s));
	return depth == 0;
}

static bool scan_include(struct scan *s)
{
	unsigned line = s->lex.token_line;
	char *pattern;

	if (!next_is(s, '(', "(") || !next(s))
		return false;
	if (s->lex.kind != CONF_LEX_STRING)
		return unexpected(s, "a file name in quotes");
	if (memchr(s->lex.token, '\\', s->lex.length) || memchr(s->lex.token, '\n', s->lex.length))
		return complain(s, line, "no escapes or line breaks in the name of an include");
	pattern = section_name(s);
	if (!pattern || !next_is(s, ')', ")"))
		return false;
	s->in->include(pattern, line, s->in->include_arg);
	return true;
}

static bool is_word(const struct scan *s, const char *word)
{
	return s->lex.kind == CONF_LEX_WORD && s->lex.length == strlen(word) &&
	       memcmp(s->lex.token, word, s->lex.length) == 0;
}

/* A word that begins neither an include nor a pool, queue or template: a key, or a section nobody knows. */
static bool scan_other(struct scan *s)
{
	struct table t = { conf_global_keys, CONF_GLOBAL_KEYS, s->src->globals,
			   " outside of pools and queues", false };

	if (!begins_section(s->lex))
		return scan_key(s, &t);
	complain(s, s->lex.token_line,
		 "unknown section \"%.*s\"; only \"pool\", \"queue\" and \"template\" are known",
		 s->lex.length > 60 ? 60 : (int)s->lex.length, s->lex.token);
	return skip_section(s);
}

/* The section whose word was just read, or CONF_SECTIONS. */
static enum conf_section section_word(const struct scan *s)
{
	enum conf_section section = 0;

	while (section < CONF_SECTIONS && !is_word(s, conf_sections[section].word))
		section++;
	return section;
}

static bool scan_file(struct scan *s)
{
	for (;;) {
		enum conf_section section;
		bool ok;

		if (!next(s))
			return false;
		if (s->lex.kind == CONF_LEX_END)
			return true;
		if (s->lex.kind != CONF_LEX_WORD)
			return unexpected(s, "a key, pool, queue, template or include");
		section = section_word(s);
		if (section != CONF_SECTIONS)
			ok = scan_section(s, section);
		else if (is_word(s, "include"))
			ok = scan_include(s);
		else
			ok = scan_other(s);
		if (!ok)
			return false;
	}
}

char *conf_scan(const struct conf_scan *scan, const char *text, size_t size)
{
	struct scan s = { .in = scan, .src = scan->src, .out_line = 1 };

	/* The worst are words: one character becomes two; then a NUL. */
	s.out = conf_source_take(s.src, 2 * size + 2);
	if (!s.out)
		return NULL;
	conf_lex_start(&s.lex, text, size);
	if (!scan_file(&s)) {
		s.src->broken = true;
		return NULL;
	}
	emit(&s, '\n');
	emit(&s, '\0');
	return s.out;
}
