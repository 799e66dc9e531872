#include "daemon/conf_lex.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void conf_lex_start(struct conf_lex *lex, const char *text, size_t size)
{
	memset(lex, 0, sizeof(*lex));
	lex->at = text;
	lex->end = text + size;
	lex->line = 1;
}

static bool more(const struct conf_lex *lex, size_t n)
{
	return (size_t)(lex->end - lex->at) > n;
}

static void step(struct conf_lex *lex)
{
	if (*lex->at == '\n')
		lex->line++;
	lex->at++;
}

static enum conf_token bad(struct conf_lex *lex, unsigned line, const char *problem)
{
	lex->token_line = line;
	snprintf(lex->problem, sizeof(lex->problem), "%s", problem);
	return CONF_LEX_BAD;
}

static void skip_line(struct conf_lex *lex)
{
	while (more(lex, 0) && *lex->at != '\n')
		step(lex);
}

/* False: the comment never ends. */
static bool skip_block(struct conf_lex *lex)
{
	lex->at += 2;
	while (more(lex, 1)) {
		if (lex->at[0] == '*' && lex->at[1] == '/') {
			lex->at += 2;
			return true;
		}
		step(lex);
	}
	return false;
}

/* Blanks and comments. False: `problem` says why. */
static bool skip(struct conf_lex *lex)
{
	while (more(lex, 0)) {
		bool slash = *lex->at == '/' && more(lex, 1);

		if (strchr(" \t\r\n", *lex->at)) {
			step(lex);
		} else if (*lex->at == '#' || (slash && lex->at[1] == '/')) {
			skip_line(lex);
		} else if (slash && lex->at[1] == '*') {
			unsigned line = lex->line;
			if (!skip_block(lex))
				return bad(lex, line, "this comment is not ended by */") == 0;
		} else {
			break;
		}
	}
	return true;
}

/* How many characters the escape at `s` takes, which begins with a backslash; 0: not a known one.
 * Those that make a NUL are unknown, as a value would end there. */
static size_t escape_length(const char *s, size_t left)
{
	size_t n = 0;

	if (left < 2)
		return 0;
	if (strchr("nrtbfaev\\\"'$\n", s[1]))
		return s[1] ? 2 : 0;
	if (s[1] == 'x') {
		while (n < 2 && n + 2 < left && isxdigit((unsigned char)s[n + 2]))
			n++;
		return n == 0 || strspn(s + 2, "0") >= n ? 0 : n + 2;
	}
	while (n < 3 && n + 1 < left && s[n + 1] >= '0' && s[n + 1] <= '7')
		n++;
	if (n == 3 && s[1] > '3')
		return 0;
	return n == 0 || strspn(s + 1, "0") >= n ? 0 : n + 1;
}

static enum conf_token lex_double(struct conf_lex *lex)
{
	unsigned line = lex->line;

	for (step(lex); more(lex, 0) && *lex->at != '"'; step(lex)) {
		size_t n;

		if (*lex->at != '\\')
			continue;
		n = escape_length(lex->at, (size_t)(lex->end - lex->at));
		if (n == 0)
			return bad(lex, lex->line,
				   "unknown escape after \\ in a string; \\\\ is a backslash");
		while (--n > 0)
			step(lex);
	}
	if (!more(lex, 0))
		return bad(lex, line, "this string is not ended: a \" is missing");
	step(lex);
	return CONF_LEX_STRING;
}

static enum conf_token lex_single(struct conf_lex *lex)
{
	unsigned line = lex->line;

	for (step(lex); more(lex, 0) && *lex->at != '\''; step(lex))
		if (*lex->at == '\\' && more(lex, 1))
			step(lex);
	if (!more(lex, 0))
		return bad(lex, line, "this string is not ended: a ' is missing");
	step(lex);
	return CONF_LEX_STRING;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("_-.:/@%~", c));
}

static enum conf_token lex_word(struct conf_lex *lex)
{
	while (more(lex, 0) && is_word(*lex->at))
		step(lex);
	return CONF_LEX_WORD;
}

static enum conf_token lex_other(struct conf_lex *lex)
{
	char c = *lex->at;
	char text[96];

	if (strchr("={}(),", c)) {
		step(lex);
		return CONF_LEX_MARK;
	}
	if (c == '+' && more(lex, 1) && lex->at[1] == '=')
		return bad(lex, lex->line, "+= is not known here; give the whole list with =");
	if (c > ' ' && c < 0x7f)
		snprintf(text, sizeof(text), "unexpected %c; write the value in double quotes", c);
	else
		snprintf(text, sizeof(text), "unexpected byte 0x%02x outside quotes",
			 (unsigned char)c);
	return bad(lex, lex->line, text);
}

enum conf_token conf_lex_next(struct conf_lex *lex)
{
	if (!skip(lex))
		return lex->kind = CONF_LEX_BAD;
	lex->token = lex->at;
	lex->token_line = lex->line;
	if (!more(lex, 0))
		lex->kind = CONF_LEX_END;
	else if (*lex->at == '"')
		lex->kind = lex_double(lex);
	else if (*lex->at == '\'')
		lex->kind = lex_single(lex);
	else if (is_word(*lex->at))
		lex->kind = lex_word(lex);
	else
		lex->kind = lex_other(lex);
	lex->length = (size_t)(lex->at - lex->token);
	return lex->kind;
}

bool conf_lex_is(const struct conf_lex *lex, char c)
{
	return lex->kind == CONF_LEX_MARK && *lex->token == c;
}
