#include "daemon/journal_index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_MIN    64
#define SEGMENTS_MAX 64 /* more of them are emptied, however full they are */
#define SEGMENT_PART 8	/* a segment holds at least this part of what is live */

void ji_free(struct journal_index *ix)
{
	free(ix->table);
	free(ix->segments);
	*ix = (struct journal_index){ 0 };
}

/* ---- the table of items ------------------------------------------------------------------------ */

/* Ids follow one another; a multiplication spreads them. */
static size_t home(const struct journal_index *ix, uint64_t id)
{
	return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (ix->size - 1);
}

/* Where it is, or where it would be put. */
static struct ji_item *place(const struct journal_index *ix, uint64_t id)
{
	size_t i = home(ix, id);

	while (ix->table[i].id && ix->table[i].id != id)
		i = (i + 1) & (ix->size - 1);
	return &ix->table[i];
}

struct ji_item *ji_find(const struct journal_index *ix, uint64_t id)
{
	struct ji_item *item = ix->size && id ? place(ix, id) : NULL;

	return item && item->id ? item : NULL;
}

static int resize(struct journal_index *ix, size_t size)
{
	struct journal_index old = *ix;

	ix->table = calloc(size, sizeof(*ix->table));
	if (!ix->table) {
		ix->table = old.table;
		errno = ENOMEM;
		return -1;
	}
	ix->size = size;
	for (size_t i = 0; i < old.size; i++)
		if (old.table[i].id)
			*place(ix, old.table[i].id) = old.table[i];
	free(old.table);
	return 0;
}

static int reserve_segment(struct journal_index *ix)
{
	size_t size = ix->segment_size ? 2 * ix->segment_size : 16;
	struct ji_segment *more;

	if (ix->segment_count < ix->segment_size)
		return 0;
	more = reallocarray(ix->segments, size, sizeof(*more));
	if (!more)
		return -1;
	ix->segments = more;
	ix->segment_size = size;
	return 0;
}

int ji_reserve(struct journal_index *ix, size_t items)
{
	size_t size = ix->size ? ix->size : TABLE_MIN;

	while (size / 4 * 3 < ix->count + items)
		size *= 2;
	if (size != ix->size && resize(ix, size) < 0)
		return -1;
	return reserve_segment(ix);
}

/* Those behind it that would not be found any more move up. */
static void clear(struct journal_index *ix, struct ji_item *item)
{
	size_t hole = (size_t)(item - ix->table), mask = ix->size - 1;

	for (size_t i = (hole + 1) & mask; ix->table[i].id; i = (i + 1) & mask) {
		size_t from = home(ix, ix->table[i].id);

		if (((i - from) & mask) >= ((i - hole) & mask)) {
			ix->table[hole] = ix->table[i];
			hole = i;
		}
	}
	ix->table[hole].id = 0;
	ix->count--;
}

/* ---- segments ---------------------------------------------------------------------------------- */

struct ji_segment *ji_segment(const struct journal_index *ix, uint64_t number)
{
	size_t low = 0, high = ix->segment_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (ix->segments[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == ix->segment_count || ix->segments[low].number != number)
		return NULL;
	return &ix->segments[low];
}

void ji_add_segment(struct journal_index *ix, uint64_t number, uint64_t first, uint64_t next_id)
{
	assert(ix->segment_count < ix->segment_size);
	assert(!ix->segment_count || ix->segments[ix->segment_count - 1].number < number);
	ix->segments[ix->segment_count++] =
		(struct ji_segment){ .number = number, .used = JF_HEADER };
	ix->used += JF_HEADER;
	if (first > ix->first)
		ix->first = first;
	if (next_id > ix->next_id)
		ix->next_id = next_id;
}

void ji_used(struct journal_index *ix, uint64_t number, uint64_t end)
{
	struct ji_segment *s = ji_segment(ix, number);

	ix->used += end - s->used;
	s->used = end;
}

static void account(struct journal_index *ix, const struct ji_item *item, int sign)
{
	struct ji_segment *s = ji_segment(ix, item->segment);
	uint64_t size = jf_size(item->len);

	if (sign > 0) {
		s->live += size;
		s->items++;
		ix->live += size;
	} else {
		s->live -= size;
		s->items--;
		ix->live -= size;
	}
}

void ji_drop(struct journal_index *ix)
{
	uint64_t ghosts = 0;
	size_t gone = 0;

	while (gone < ix->segment_count && ix->segments[gone].number < ix->first)
		ghosts += ix->segments[gone++].items;
	/* Clearing one moves others: look at the same place again. */
	for (size_t i = 0; ghosts && i < ix->size; i++)
		while (ix->table[i].id && ix->table[i].segment < ix->first) {
			account(ix, &ix->table[i], -1);
			clear(ix, &ix->table[i]);
		}
	if (!gone)
		return;
	for (size_t i = 0; i < gone; i++)
		ix->used -= ix->segments[i].used;
	ix->segment_count -= gone;
	memmove(ix->segments, ix->segments + gone, ix->segment_count * sizeof(*ix->segments));
}

/* ---- records ----------------------------------------------------------------------------------- */

static void put(struct journal_index *ix, const struct jf_record *r, uint64_t segment,
		uint64_t offset)
{
	struct ji_item *item = place(ix, r->id);

	if (item->id)
		account(ix, item, -1);
	else
		ix->count++;
	*item = (struct ji_item){ .id = r->id,
				  .segment = segment,
				  .offset = (uint32_t)offset,
				  .len = r->len,
				  .deliveries = r->deliveries };
	account(ix, item, 1);
	if (r->id >= ix->next_id && r->id < UINT64_MAX)
		ix->next_id = r->id + 1;
}

void ji_apply(struct journal_index *ix, const struct jf_record *r, uint64_t segment,
	      uint64_t offset)
{
	struct ji_item *item;

	switch (r->type) {
	case JF_PUT:
		put(ix, r, segment, offset);
		break;
	case JF_TAKE:
		item = ji_find(ix, r->id);
		if (item) {
			account(ix, item, -1);
			clear(ix, item);
		}
		break;
	case JF_DELIVER:
		item = ji_find(ix, r->id);
		if (item)
			item->deliveries = r->deliveries;
		break;
	case JF_DROP:
		if (r->id > ix->first && r->id <= segment)
			ix->first = r->id;
		break;
	case JF_END:
		break;
	}
}

static int by_id(const void *a, const void *b)
{
	const struct ji_item *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

struct ji_item *ji_sorted(const struct journal_index *ix, uint64_t segment, size_t *count)
{
	const struct ji_segment *only = segment ? ji_segment(ix, segment) : NULL;
	size_t n = 0, most = segment ? (only ? only->items : 0) : ix->count;
	struct ji_item *all = calloc(most + 1, sizeof(*all));

	if (!all)
		return NULL;
	for (size_t i = 0; i < ix->size; i++)
		if (ix->table[i].id && (!segment || ix->table[i].segment == segment))
			all[n++] = ix->table[i];
	qsort(all, n, sizeof(*all), by_id);
	*count = n;
	return all;
}

/* ---- policy ------------------------------------------------------------------------------------ */

uint64_t ji_segment_full(const struct journal_index *ix, uint64_t least)
{
	uint64_t part = ix->live / SEGMENT_PART;

	if (part < least)
		part = least;
	return part < JF_SEGMENT_MAX / 4 ? part : JF_SEGMENT_MAX / 4;
}

bool ji_wants_rewrite(const struct journal_index *ix, uint64_t least)
{
	const struct ji_segment *oldest = ix->segments;

	if (ix->segment_count < 2)
		return false;
	return !oldest->items || oldest->number < ix->rewrite || ix->segment_count > SEGMENTS_MAX ||
	       ix->used > ix->live + ix->live / 2 + 2 * least;
}

uint64_t ji_kept_free(const struct journal_index *ix, uint64_t biggest)
{
	return (uint64_t)ix->count * JF_HEAD + biggest + 2 * JF_HEAD;
}
