#include "daemon/journal_store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/list.h"

#define ZEROS	   65536
#define COPIES_MAX (4 * JF_RECORD_MAX)
#define KEEP	   (256 * 1024) /* memory of copies that is kept */

struct store {
	struct list link; /* of `opened` */
	dev_t dev;	  /* of the lock's file */
	ino_t ino;
	int dir, lock, fd;
	char name[CREW_NAME_MAX + 1];
	uint64_t least; /* size of a segment */
	struct journal_index ix;

	/* the last segment */
	uint64_t number, salt;
	uint64_t used;	   /* bytes that are written and synced */
	uint64_t capacity; /* bytes that the file system has promised */

	/* the oldest one, being emptied */
	struct js_reader reader;
	uint64_t from, from_salt;
	struct ji_item *moving; /* by id */
	size_t move_count, move_next;
	struct buf copies;

	bool salvage, removed;
	int err;
	char why[JS_TEXT];
};

/* A process's own locks do not keep it from opening a journal twice. The loop's thread only. */
static struct list opened = LIST_INIT(opened);

static int fail(struct store *s, const char *what)
{
	int err = errno;

	s->err = err ? err : EIO;
	snprintf(s->why, sizeof(s->why), "%s: %s", what, strerror(s->err));
	errno = s->err;
	return -1;
}

int store_failed(const struct store *s, const char **why)
{
	*why = s->why;
	return s->err;
}

static void file_name(char out[JS_FILE_NAME], const struct store *s, const char *what)
{
	snprintf(out, JS_FILE_NAME, "%s.%s", s->name, what);
}

/* ---- the lock ---------------------------------------------------------------------------------- */

static bool is_opened(const struct stat *st)
{
	list_foreach(e, next, &opened)
	{
		const struct store *s = list_entry(e, struct store, link);

		if (s->dev == st->st_dev && s->ino == st->st_ino)
			return true;
	}
	return false;
}

/* 1: locked. 0: the file was removed meanwhile by whoever had the lock, try again. */
static int try_lock(struct store *s, const char *file)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat mine, there;

	/* Closing a second descriptor would take the lock from the first one. */
	if (fstatat(s->dir, file, &there, AT_SYMLINK_NOFOLLOW) == 0 && is_opened(&there)) {
		errno = EBUSY;
		return -1;
	}
	s->lock =
		openat(s->dir, file, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (s->lock < 0)
		return -1;
	if (fcntl(s->lock, F_SETLK, &lock) < 0) {
		errno = errno == EACCES || errno == EAGAIN ? EBUSY : errno;
		return -1;
	}
	if (fstat(s->lock, &mine) < 0)
		return -1;
	if (fstatat(s->dir, file, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    there.st_ino == mine.st_ino && there.st_dev == mine.st_dev) {
		s->dev = mine.st_dev;
		s->ino = mine.st_ino;
		return 1;
	}
	close(s->lock);
	s->lock = -1;
	return 0;
}

static int take_lock(struct store *s)
{
	char file[JS_FILE_NAME];
	int result;

	file_name(file, s, "lock");
	do {
		result = try_lock(s, file);
	} while (result == 0);
	return result < 0 ? -1 : 0;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static int say(struct store_found *found, const char *what)
{
	int err = errno;

	snprintf(found->text, sizeof(found->text), "%s: %s", what,
		 err == EBUSY ? "it is in use, by another crewd or another queue" : strerror(err));
	errno = err;
	return -1;
}

static int read_all(struct store *s, struct store_found *found)
{
	struct js_scan scan = {
		.dir = s->dir, .name = s->name, .salvage = s->salvage, .ix = &s->ix
	};
	int result = js_scan(&scan);

	if (result == 0 && scan.count) {
		const struct js_segment *last = &scan.segments[scan.count - 1];

		s->number = last->number;
		s->salt = last->header.salt;
		s->used = last->end;
	}
	found->torn = scan.torn;
	found->unread = scan.unread;
	found->missing = scan.missing;
	found->salvaged = s->salvage;
	found->items = s->ix.count;
	memcpy(found->text, scan.text, sizeof(found->text));
	js_free(&scan);
	return result;
}

static int open_all(struct store *s, int dir, struct store_found *found)
{
	char file[JS_FILE_NAME];

	s->dir = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return say(found, "cannot open the directory");
	if (take_lock(s) < 0)
		return say(found, "cannot lock it");
	list_append(&opened, &s->link);
	file_name(file, s, "salvage");
	s->salvage = faccessat(s->dir, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	return read_all(s, found);
}

struct store *store_open(int dir, const char *name, uint64_t segment, struct store_found *found)
{
	struct store *s = calloc(1, sizeof(*s));
	int err;

	*found = (struct store_found){ .text = "no memory" };
	if (!s)
		return NULL;
	assert(strlen(name) <= CREW_NAME_MAX);
	strcpy(s->name, name);
	s->least = segment;
	s->dir = s->fd = s->lock = s->reader.fd = -1;
	s->copies.max = COPIES_MAX;
	s->ix.next_id = 1;
	if (open_all(s, dir, found) == 0)
		return s;
	err = errno;
	store_close(s);
	errno = err;
	return NULL;
}

void store_close(struct store *s)
{
	char file[JS_FILE_NAME];

	if (!s)
		return;
	list_remove(&s->link);
	js_close(&s->reader);
	if (s->fd >= 0)
		close(s->fd);
	if (s->removed) {
		file_name(file, s, "lock");
		unlinkat(s->dir, file, 0);
	}
	if (s->lock >= 0)
		close(s->lock);
	if (s->dir >= 0)
		close(s->dir);
	buf_free(&s->copies);
	free(s->moving);
	ji_free(&s->ix);
	free(s);
}

/* ---- telling ----------------------------------------------------------------------------------- */

static int open_segment(struct store *s, struct js_reader *r, uint64_t number, uint64_t *salt)
{
	char file[JS_FILE_NAME];
	struct jf_header h;
	const unsigned char *p;
	size_t have;

	js_segment_name(file, s->name, number);
	js_close(r);
	if (js_open(r, s->dir, file) < 0)
		return -1;
	p = js_peek(r, 0, JF_HEADER, &have);
	if (!p)
		return -1;
	if (have < JF_HEADER || jf_header_read(p, &h)) {
		errno = EBADMSG;
		return -1;
	}
	*salt = h.salt;
	return 0;
}

int store_tell(struct store *s, store_item_fn *fn, void *arg, struct store_found *found)
{
	struct js_reader r = { .fd = -1 };
	uint64_t number = 0, salt = 0;
	size_t count = 0;
	struct ji_item *all = ji_sorted(&s->ix, 0, &count);
	int result = all ? 0 : -1;

	for (size_t i = 0; result == 0 && i < count; i++) {
		struct jf_record rec;

		if (all[i].segment != number)
			result = open_segment(s, &r, all[i].segment, &salt);
		number = all[i].segment;
		if (result == 0)
			result = js_item(&r, salt, &all[i], &rec);
		if (result == 0)
			result = fn(arg, rec.id, all[i].deliveries, rec.data, rec.len);
	}
	if (result < 0)
		snprintf(found->text, sizeof(found->text), "cannot read an item: %s",
			 strerror(errno));
	js_close(&r);
	free(all);
	return result;
}

uint64_t store_next_id(const struct store *s)
{
	return s->ix.next_id;
}

uint64_t store_items(const struct store *s)
{
	return s->ix.count;
}

uint64_t store_live(const struct store *s)
{
	return s->ix.live;
}

uint64_t store_disk(const struct store *s)
{
	return s->ix.used + s->capacity - s->used;
}

uint64_t store_biggest(const struct store *s)
{
	uint32_t most = 0;

	for (size_t i = 0; i < s->ix.size; i++)
		if (s->ix.table[i].id && s->ix.table[i].len > most)
			most = s->ix.table[i].len;
	return jf_size(most);
}

/* ---- the disk ---------------------------------------------------------------------------------- */

static int write_at(int fd, const unsigned char *p, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n ? errno : EIO;
			return -1;
		}
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_zeros(int fd, uint64_t from, uint64_t to)
{
	static const unsigned char zeros[ZEROS];

	while (from < to) {
		size_t part = to - from < ZEROS ? (size_t)(to - from) : ZEROS;

		if (write_at(fd, zeros, part, from) < 0)
			return -1;
		from += part;
	}
	return 0;
}

/* Where the file system cannot promise, what is written now need not be found later. */
static int promise(int fd, uint64_t from, uint64_t to)
{
	int result;

	do {
		result = fallocate(fd, 0, (off_t)from, (off_t)(to - from));
	} while (result < 0 && errno == EINTR);
	if (result < 0 && errno == EOPNOTSUPP)
		result = write_zeros(fd, from, to);
	if (result < 0 && (errno == EDQUOT || errno == EFBIG))
		errno = ENOSPC;
	return result;
}

static int sync_dir(struct store *s)
{
	return fsync(s->dir);
}

/* ---- a new segment ----------------------------------------------------------------------------- */

/* Under its other name. The descriptor, or -1 with errno. */
static int make_file(struct store *s, const char *file, const struct jf_header *h,
		     uint64_t capacity)
{
	unsigned char bytes[JF_HEADER];
	int fd, err;

	if (unlinkat(s->dir, file, 0) < 0 && errno != ENOENT)
		return -1;
	fd = openat(s->dir, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	jf_header_write(bytes, h);
	if (promise(fd, 0, capacity) == 0 && write_at(fd, bytes, sizeof(bytes), 0) == 0 &&
	    fdatasync(fd) == 0)
		return fd;
	err = errno;
	close(fd);
	unlinkat(s->dir, file, 0);
	errno = err;
	return -1;
}

static void use(struct store *s, int fd, uint64_t number, uint64_t salt, uint64_t used,
		uint64_t capacity)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = fd;
	s->number = number;
	s->salt = salt;
	s->used = used;
	s->capacity = capacity;
}

/* What the segment before it has kept free is needed no more. -1 ENOSPC: nothing has changed; the store
 * has failed otherwise. */
static int new_segment(struct store *s, uint64_t room, uint64_t biggest)
{
	uint64_t capacity = JF_HEADER + ji_kept_free(&s->ix, biggest) + room;
	struct jf_header h = { .number = s->number + 1,
			       .first = s->ix.first ? s->ix.first : 1,
			       .next_id = s->ix.next_id,
			       .prev_end = s->used };
	char temporary[JS_FILE_NAME], file[JS_FILE_NAME];
	int fd;

	if (capacity > JF_SEGMENT_MAX) {
		errno = ENOSPC;
		return -1;
	}
	file_name(temporary, s, "new");
	js_segment_name(file, s->name, h.number);
	if (ji_reserve(&s->ix, 0) < 0 || getrandom(&h.salt, sizeof(h.salt), 0) != sizeof(h.salt))
		return fail(s, "cannot make a segment");
	fd = make_file(s, temporary, &h, capacity);
	if (fd < 0)
		return errno == ENOSPC ? -1 : fail(s, "cannot make a segment");
	if (renameat(s->dir, temporary, s->dir, file) < 0 || sync_dir(s) < 0) {
		close(fd);
		return fail(s, "cannot make a segment");
	}
	/* What is damaged is kept as it is. */
	if (s->fd >= 0 && !s->salvage && ftruncate(s->fd, (off_t)s->used) < 0) {
		close(fd);
		return fail(s, "cannot give back room");
	}
	use(s, fd, h.number, h.salt, JF_HEADER, capacity);
	ji_add_segment(&s->ix, h.number, h.first, h.next_id);
	return 0;
}

/* ---- starting ---------------------------------------------------------------------------------- */

/* What was read may be in memory only: the one who wrote it was killed before it was synced. */
static int sync_last(struct store *s)
{
	char file[JS_FILE_NAME];
	struct stat st;

	if (!s->number)
		return 0;
	js_segment_name(file, s->name, s->number);
	s->fd = openat(s->dir, file, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) < 0 || fdatasync(s->fd) < 0 || sync_dir(s) < 0)
		return -1;
	s->capacity = (uint64_t)st.st_size;
	return 0;
}

/* Those that a record says are not needed, but that were still there. */
static int remove_dropped(struct store *s)
{
	struct js_scan scan = { .dir = s->dir, .name = s->name };
	int result = js_list(&scan);
	bool any = false;

	for (size_t i = 0; result == 0 && i < scan.count; i++) {
		char file[JS_FILE_NAME];

		if (scan.segments[i].number >= s->ix.first)
			break;
		js_segment_name(file, s->name, scan.segments[i].number);
		result = unlinkat(s->dir, file, 0);
		any = true;
	}
	js_free(&scan);
	return result == 0 && any ? sync_dir(s) : result;
}

/* No room for another segment: the torn end of the last one becomes zeros, and it goes on. */
static int resume(struct store *s, uint64_t biggest)
{
	uint64_t least = s->used + ji_kept_free(&s->ix, biggest);

	if (!s->number) {
		errno = ENOSPC;
		return -1;
	}
	if (s->capacity < least)
		s->capacity = least;
	if (promise(s->fd, 0, s->capacity) < 0 || write_zeros(s->fd, s->used, s->capacity) < 0)
		return -1;
	return fdatasync(s->fd);
}

/* When all that was there before has been moved or put aside. */
static int end_salvage(struct store *s)
{
	char file[JS_FILE_NAME];

	if (!s->salvage || s->ix.segments[0].number < s->ix.rewrite)
		return 0;
	file_name(file, s, "salvage");
	if (unlinkat(s->dir, file, 0) < 0 && errno != ENOENT)
		return fail(s, "cannot end the repair");
	s->salvage = false;
	return 0;
}

int store_start(struct store *s, uint64_t biggest)
{
	if (s->err)
		return -1;
	if (sync_last(s) < 0)
		return fail(s, "cannot sync what was there");
	if (remove_dropped(s) < 0)
		return fail(s, "cannot remove segments that are not needed");
	if (s->salvage)
		s->ix.rewrite = s->number + 1;
	if (new_segment(s, s->least, biggest) == 0)
		return end_salvage(s);
	if (s->err)
		return -1;
	if (s->salvage || resume(s, biggest) < 0)
		return fail(s, "no room to record what is taken out");
	return 0;
}

/* ---- room -------------------------------------------------------------------------------------- */

int64_t store_room(const struct store *s, uint64_t biggest)
{
	return (int64_t)(s->capacity - s->used) - (int64_t)ji_kept_free(&s->ix, biggest);
}

bool store_is_full(const struct store *s)
{
	return s->used >= ji_segment_full(&s->ix, s->least);
}

int store_grow(struct store *s, uint64_t room, uint64_t biggest)
{
	uint64_t capacity = s->used + ji_kept_free(&s->ix, biggest) + room;

	if (s->err)
		return -1;
	if (store_is_full(s) || capacity > JF_SEGMENT_MAX)
		return new_segment(s, room, biggest);
	if (capacity <= s->capacity)
		return 0;
	if (promise(s->fd, s->capacity, capacity) == 0) {
		s->capacity = capacity;
		return 0;
	}
	if (errno != ENOSPC)
		return fail(s, "cannot get room");
	/* A part of it may have been given. */
	if (ftruncate(s->fd, (off_t)s->capacity) < 0)
		return fail(s, "cannot give back room");
	errno = ENOSPC;
	return -1;
}

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
	if (oldest->items && open_segment(s, &s->reader, oldest->number, &s->from_salt) < 0)
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
	fail(s, "cannot write");
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
	if (write_at(s->fd, a, a_len, s->used) < 0 ||
	    write_at(s->fd, b, b_len, s->used + a_len) < 0 || fdatasync(s->fd) < 0)
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
	if (result < 0 || sync_dir(s) < 0)
		return fail(s, "cannot remove a segment");
	return end_salvage(s);
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
		return fail(s, "cannot move items out of the oldest segment");
	if (s->move_next < s->move_count)
		return 0;
	return add_drop(s) < 0 ? fail(s, "cannot empty the oldest segment") : 1;
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
		return fail(s, "no memory");
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
		file_name(file, s, others[i]);
		if (unlinkat(s->dir, file, 0) < 0 && errno != ENOENT)
			result = -1;
	}
	s->removed = result == 0;
	return result == 0 ? sync_dir(s) : -1;
}
