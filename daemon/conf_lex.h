/* The words of a configuration file, with the line each is on. Knows no grammar. */
#ifndef CREWD_CONF_LEX_H
#define CREWD_CONF_LEX_H

#include <stdbool.h>
#include <stddef.h>

enum conf_token {
	CONF_LEX_END,
	CONF_LEX_WORD,	 /* without quotes */
	CONF_LEX_STRING, /* with its quotes, as written */
	CONF_LEX_MARK,	 /* one of = { } ( ) , */
	CONF_LEX_BAD,	 /* `problem` says why */
};

struct conf_lex {
	const char *at, *end;
	unsigned line; /* of `at` */

	/* The last one read. */
	enum conf_token kind;
	const char *token;
	size_t length;
	unsigned token_line;
	char problem[128];
};

void conf_lex_start(struct conf_lex *lex, const char *text, size_t size);
enum conf_token conf_lex_next(struct conf_lex *lex);
/* True if the last one read is the mark `c`. */
bool conf_lex_is(const struct conf_lex *lex, char c);

#endif
