#include "ctl/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct row {
	char *cells[TABLE_COLUMNS];
	enum table_colour colour;
	unsigned colour_column;
};

struct table {
	unsigned columns, count, cap;
	size_t widths[TABLE_COLUMNS];
	struct row *rows;
};

struct table *table_new(unsigned columns, const char *const *heads)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->columns = columns;
	if (table_row(t, heads, TABLE_PLAIN, 0) == 0)
		return t;
	table_free(t);
	return NULL;
}

static int grow(struct table *t)
{
	unsigned cap = t->cap ? t->cap * 2 : 32;
	struct row *bigger = realloc(t->rows, cap * sizeof(*bigger));

	if (!bigger)
		return -1;
	t->rows = bigger;
	t->cap = cap;
	return 0;
}

int table_row(struct table *t, const char *const *cells, enum table_colour colour,
	      unsigned colour_column)
{
	struct row *r;

	if (t->count == t->cap && grow(t) < 0)
		return -1;
	r = &t->rows[t->count++];
	*r = (struct row){ .colour = colour, .colour_column = colour_column };
	for (unsigned i = 0; i < t->columns; i++) {
		size_t len = strlen(cells[i]);

		r->cells[i] = strdup(cells[i]);
		if (!r->cells[i])
			return -1;
		if (len > t->widths[i])
			t->widths[i] = len;
	}
	return 0;
}

static bool in_colour(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no && *no);
}

static void print_cell(const struct table *t, const struct row *r, unsigned i, bool right,
		       bool colour)
{
	static const char *const codes[] = { "", "\033[32m", "\033[33m", "\033[31m" };
	int pad = (int)(t->widths[i] - strlen(r->cells[i]));
	bool paint = colour && r->colour && r->colour_column == i;

	if (i)
		fputs("  ", stdout);
	if (right)
		printf("%*s", pad, "");
	printf("%s%s%s", paint ? codes[r->colour] : "", r->cells[i], paint ? "\033[0m" : "");
	if (!right && i + 1 < t->columns)
		printf("%*s", pad, "");
}

void table_print(const struct table *t, unsigned right)
{
	bool colour = in_colour();

	for (unsigned n = 0; n < t->count; n++) {
		for (unsigned i = 0; i < t->columns; i++)
			print_cell(t, &t->rows[n], i, right >> i & 1, colour);
		putchar('\n');
	}
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (unsigned n = 0; n < t->count; n++)
		for (unsigned i = 0; i < t->columns; i++)
			free(t->rows[n].cells[i]);
	free(t->rows);
	free(t);
}
