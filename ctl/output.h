/* Tables for people: aligned columns, colour only on a terminal and without NO_COLOR. */
#ifndef CREW_CTL_OUTPUT_H
#define CREW_CTL_OUTPUT_H

#include <stdbool.h>

#define TABLE_COLUMNS 8

enum table_colour { TABLE_PLAIN, TABLE_GREEN, TABLE_YELLOW, TABLE_RED };

struct table; /* opaque */

struct table *table_new(unsigned columns, const char *const *heads); /* NULL: no memory */
/* A row; cells are copied. `right`: bit n set, column n is aligned to the right. */
int table_row(struct table *t, const char *const *cells, enum table_colour colour,
	      unsigned colour_column);
void table_print(const struct table *t, unsigned right);
void table_free(struct table *t);

#endif
