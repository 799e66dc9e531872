#include "daemon/journal_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "daemon/journal_state.h"

#define KEEP (256 * 1024) /* memory of copies that is kept */

/* ---- moving what is live out of the oldest segment --------------------------------------------- */

bool store_wants_rewrite(const struct store *s)
{
	return !s->err && ji_wants_rewrite(&s->ix, s->least);
}

uint64_t store_oldest_live(const struct store *s)
{
	return s->ix.segments[0].live;
}

uint64_t store_oldest(const struct store *s)
{
	return s->ix.segments[0].number;
}

static void end_moving(struct store *s)
{
	js_close(&s->reader);
	free(s->moving);
	s->moving = NULL;
	s->from = 0;
	s->move_count = s->move_next = 0;
}

static int begin_moving(struct store *s, const struct ji_segment *oldest)
{
	if (s->from == oldest->number)
		return 0;
	end_moving(s);
	if (oldest->items && store_open_segment(s, &s->reader, oldest->number, &s->from_salt) < 0)
		return -1;
	s->moving = ji_sorted(&s->ix, oldest->number, &s->move_count);
	if (!s->moving)
		return -1;
	s->from = oldest->number;
	return 0;
}

/* Copies drafts of at most `most` bytes. -1: cannot be read. */
static int move_items(struct store *s, uint64_t most)
{
	for (; s->move_next < s->move_count; s->move_next++) {
		const struct ji_item *was = &s->moving[s->move_next];
		const struct ji_item *now = ji_find(&s->ix, was->id);
		struct jf_record rec;
		char *room;

		if (!now || now->segment != s->from)
			continue;
		if (s->copies.len + jf_size(now->len) > most)
			return 0;
		if (js_item(&s->reader, s->from_salt, now, &rec) < 0)
			return -1;
		rec.deliveries = now->deliveries;
		room = buf_room(&s->copies, jf_size(rec.len));
		if (!room)
			return errno == ENOBUFS ? 0 : -1;
		jf_draft((unsigned char *)room, &rec);
		s->copies.len += jf_size(rec.len);
	}
	return 0;
}

/* ---- a batch ----------------------------------------------------------------------------------- */

static bool is_about_nothing(const struct store *s, const struct jf_record *r)
{
	return (r->type == JF_TAKE || r->type == JF_DELIVER) && !ji_find(&s->ix, r->id);
}

static int make_room_in_index(struct store *s, const unsigned char *drafts, size_t len)
{
	struct jf_record rec;
	size_t puts = 0;

	for (size_t at = 0; at < len; puts += rec.type == JF_PUT)
		at += jf_draft_read(drafts + at, &rec);
	return ji_reserve(&s->ix, puts);
}

/* Gives each its place, from `offset` on. How many bytes are left of them. */
static size_t seal(struct store *s, unsigned char *drafts, size_t len, uint64_t offset)
{
	size_t kept = 0;

	for (size_t at = 0; at < len;) {
		struct jf_record rec;
		size_t size = jf_draft_read(drafts + at, &rec);

		if (!is_about_nothing(s, &rec)) {
			if (kept != at)
				memmove(drafts + kept, drafts + at, size);
			jf_seal(drafts + kept, s->salt, offset + kept, s->used);
			ji_apply(&s->ix, &rec, s->number, offset + kept);
			kept += size;
		}
		at += size;
	}
	return kept;
}

/* What could not be synced was not answered, and must not be found by whoever looks next: it may be in
 * memory only, and look as if it were on disk. */
static int fail_write(struct store *s)
{
	store_fail(s, "cannot write");
	while (ftruncate(s->fd, (off_t)s->used) < 0 && errno == EINTR)
		;
	errno = s->err;
	return -1;
}

static int put_on_disk(struct store *s, const unsigned char *a, size_t a_len,
		       const unsigned char *b, size_t b_len)
{
	if (!a_len && !b_len)
		return 0;
	if (store_write_at(s->fd, a, a_len, s->used) < 0 ||
	    store_write_at(s->fd, b, b_len, s->used + a_len) < 0 || fdatasync(s->fd) < 0)
		return fail_write(s);
	s->used += a_len + b_len;
	ji_used(&s->ix, s->number, s->used);
	return 0;
}

static int remove_segment(struct store *s, const struct ji_segment *g)
{
	char file[JS_FILE_NAME], aside[JS_FILE_NAME + 16];

	js_segment_name(file, s->name, g->number);
	snprintf(aside, sizeof(aside), "%s.damaged", file);
	return g->damaged ? renameat(s->dir, file, s->dir, aside) : unlinkat(s->dir, file, 0);
}

/* The records say already that they are not needed. */
static int remove_oldest(struct store *s)
{
	int result = 0;

	for (size_t i = 0; result == 0 && s->ix.segments[i].number < s->ix.first; i++)
		result = remove_segment(s, &s->ix.segments[i]);
	end_moving(s);
	ji_drop(&s->ix);
	if (result < 0 || store_sync_dir(s) < 0)
		return store_fail(s, "cannot remove a segment");
	return store_end_salvage(s);
}

/* The oldest one, and those behind it that hold nothing either. */
static int add_drop(struct store *s)
{
	struct jf_record rec = { .type = JF_DROP };
	char *room = buf_room(&s->copies, JF_HEAD);
	size_t needed = 1;

	if (!room)
		return -1;
	while (needed < s->ix.segment_count - 1 && !s->ix.segments[needed].items)
		needed++;
	rec.id = s->ix.segments[needed].number;
	jf_draft((unsigned char *)room, &rec);
	s->copies.len += JF_HEAD;
	return 0;
}

/* Fills `copies`. 1: the oldest segment is empty then. */
static int rewrite_oldest(struct store *s, uint64_t most)
{
	const struct ji_segment *oldest = s->ix.segments;

	if (s->copies.cap > KEEP)
		buf_free(&s->copies);
	s->copies.start = s->copies.len = 0;
	if (!most || !ji_wants_rewrite(&s->ix, s->least) || most < JF_HEAD)
		return 0;
	if (begin_moving(s, oldest) < 0 || move_items(s, most - JF_HEAD) < 0)
		return store_fail(s, "cannot move items out of the oldest segment");
	if (s->move_next < s->move_count)
		return 0;
	return add_drop(s) < 0 ? store_fail(s, "cannot empty the oldest segment") : 1;
}

int store_write(struct store *s, unsigned char *drafts, size_t len, uint64_t rewrite)
{
	int emptied;
	size_t moved;

	if (s->err) {
		errno = s->err;
		return -1;
	}
	if (make_room_in_index(s, drafts, len) < 0)
		return store_fail(s, "no memory");
	len = seal(s, drafts, len, s->used);
	emptied = rewrite_oldest(s, rewrite);
	if (emptied < 0)
		return -1;
	moved = seal(s, (unsigned char *)s->copies.data, s->copies.len, s->used + len);
	if (put_on_disk(s, drafts, len, (unsigned char *)s->copies.data, moved) < 0)
		return -1;
	return emptied ? remove_oldest(s) : 0;
}

/* ---- the end ----------------------------------------------------------------------------------- */

int store_end(struct store *s, uint64_t biggest)
{
	unsigned char draft[JF_HEAD];
	struct jf_record rec = { .type = JF_END };
	uint64_t kept;

	if (s->err)
		return -1;
	jf_draft(draft, &rec);
	if (s->used + JF_HEAD + s->ix.count * JF_HEAD <= s->capacity &&
	    store_write(s, draft, sizeof(draft), 0) < 0)
		return -1;
	kept = s->used + ji_kept_free(&s->ix, biggest);
	if (kept < s->capacity && ftruncate(s->fd, (off_t)kept) == 0)
		s->capacity = kept;
	return 0;
}

/* All is taken out and not needed, in one batch, for which there is always room: a removal that is cut
 * short leaves an empty queue. */
static int take_all(struct store *s)
{
	size_t count = 0;
	struct ji_item *all = ji_sorted(&s->ix, 0, &count);
	unsigned char *drafts = all ? malloc((count + 1) * JF_HEAD) : NULL;
	struct jf_record rec = { .type = JF_TAKE };
	int result = -1;

	for (size_t i = 0; drafts && i < count; i++) {
		rec.id = all[i].id;
		jf_draft(drafts + i * JF_HEAD, &rec);
	}
	if (drafts) {
		rec = (struct jf_record){ .type = JF_DROP, .id = s->number };
		jf_draft(drafts + count * JF_HEAD, &rec);
		result = store_write(s, drafts, (count + 1) * JF_HEAD, 0);
	}
	free(drafts);
	free(all);
	return result;
}

int store_remove(struct store *s)
{
	static const char *const others[] = { "new", "salvage" };
	struct js_scan scan = { .dir = s->dir, .name = s->name };
	char file[JS_FILE_NAME];
	int result = s->err ? 0 : take_all(s);

	if (result == 0)
		result = js_list(&scan);
	for (size_t i = 0; i < scan.count && result == 0; i++) {
		js_segment_name(file, s->name, scan.segments[i].number);
		result = unlinkat(s->dir, file, 0);
	}
	js_free(&scan);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		store_file(file, s, others[i]);
		if (unlinkat(s->dir, file, 0) < 0 && errno != ENOENT)
			result = -1;
	}
	s->removed = result == 0;
	return result == 0 ? store_sync_dir(s) : -1;
}
