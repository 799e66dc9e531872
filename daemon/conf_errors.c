#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf_read.h"
#include "lib/bounds.h"

#define LINE_MAX_BYTES 5120 /* a path, and a sentence */

/* One line a message, whatever a value contains. */
static void flatten(char *line)
{
	for (; *line; line++)
		if ((unsigned char)*line < ' ' || *line == 0x7f)
			*line = '?';
}

static void append(struct conf_errors *e, char *line, size_t max)
{
	size_t n = strlen(line);
	char *text;

	flatten(line);
	line[n++] = '\n';
	text = e->len + n < max ? realloc(e->text, e->len + n + 1) : NULL;
	if (!text) {
		e->left_out++;
		return;
	}
	memcpy(text + e->len, line, n);
	e->text = text;
	e->len += n;
	text[e->len] = '\0';
}

__attribute__((format(printf, 5, 0))) static void add(struct conf_errors *e, const char *file,
						      unsigned line, const char *kind,
						      const char *format, va_list ap)
{
	char text[LINE_MAX_BYTES];
	/* Line 0: about the file as a whole. */
	int n = line ? snprintf(text, sizeof(text) / 2, "%s:%u: %s", file, line, kind)
		     : snprintf(text, sizeof(text) / 2, "%s: %s", file, kind);

	if (n >= (int)sizeof(text) / 2)
		n = (int)sizeof(text) / 2 - 1;
	vsnprintf(text + n, sizeof(text) - (size_t)n - 1, format, ap);
	append(e, text, CREW_CONF_ERRORS_MAX);
}

void conf_errors_add(struct conf_errors *e, const char *file, unsigned line, const char *format,
		     ...)
{
	va_list ap;

	va_start(ap, format);
	add(e, file, line, "", format, ap);
	va_end(ap);
	e->count++;
}

void conf_errors_warn(struct conf_errors *e, const char *file, unsigned line, const char *format,
		      ...)
{
	va_list ap;

	va_start(ap, format);
	add(e, file, line, "warning: ", format, ap);
	va_end(ap);
}

void conf_errors_end(struct conf_errors *e, const char *file)
{
	unsigned left_out = e->left_out;
	char text[LINE_MAX_BYTES];

	if (left_out == 0)
		return;
	snprintf(text, sizeof(text) - 1, "%.4096s: and %u more", file, left_out);
	append(e, text, CREW_CONF_ERRORS_MAX + sizeof(text));
}

void conf_errors_free(struct conf_errors *e)
{
	free(e->text);
	memset(e, 0, sizeof(*e));
}
