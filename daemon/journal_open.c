#include "daemon/journal_store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/journal_state.h"

/* A process's own locks do not keep it from opening a journal twice. The loop's thread only. */
static struct list opened = LIST_INIT(opened);

void store_file(char out[JS_FILE_NAME], const struct store *s, const char *what)
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

	store_file(file, s, "lock");
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
	store_file(file, s, "salvage");
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
	s->copies.max = STORE_COPIES_MAX;
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
		store_file(file, s, "lock");
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

int store_open_segment(struct store *s, struct js_reader *r, uint64_t number, uint64_t *salt)
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
			result = store_open_segment(s, &r, all[i].segment, &salt);
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
