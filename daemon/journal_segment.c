#include "daemon/journal_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/journal_state.h"

#define ZEROS 65536

int store_fail(struct store *s, const char *what)
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

/* ---- the disk ---------------------------------------------------------------------------------- */

int store_write_at(int fd, const unsigned char *p, size_t len, uint64_t at)
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

		if (store_write_at(fd, zeros, part, from) < 0)
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

int store_sync_dir(struct store *s)
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
	if (promise(fd, 0, capacity) == 0 && store_write_at(fd, bytes, sizeof(bytes), 0) == 0 &&
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
	store_file(temporary, s, "new");
	js_segment_name(file, s->name, h.number);
	if (ji_reserve(&s->ix, 0) < 0 || getrandom(&h.salt, sizeof(h.salt), 0) != sizeof(h.salt))
		return store_fail(s, "cannot make a segment");
	fd = make_file(s, temporary, &h, capacity);
	if (fd < 0)
		return errno == ENOSPC ? -1 : store_fail(s, "cannot make a segment");
	if (renameat(s->dir, temporary, s->dir, file) < 0 || store_sync_dir(s) < 0) {
		close(fd);
		return store_fail(s, "cannot make a segment");
	}
	/* What is damaged is kept as it is. */
	if (s->fd >= 0 && !s->salvage && ftruncate(s->fd, (off_t)s->used) < 0) {
		close(fd);
		return store_fail(s, "cannot give back room");
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
	if (s->fd < 0 || fstat(s->fd, &st) < 0 || fdatasync(s->fd) < 0 || store_sync_dir(s) < 0)
		return -1;
	s->capacity = (uint64_t)st.st_size;
	return 0;
}

/* A kill just after a new segment was made has left the one before with what it kept free. */
static int cut_tail(struct store *s, const char *file, uint64_t number)
{
	const struct ji_segment *g = ji_segment(&s->ix, number);
	struct stat st;
	int fd, result;

	if (!g || g->damaged || fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (uint64_t)st.st_size <= g->used)
		return 0;
	fd = openat(s->dir, file, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	result = ftruncate(fd, (off_t)g->used);
	close(fd);
	return result;
}

/* Segments that a record says are not needed, but that were still there. */
static int tidy(struct store *s)
{
	struct js_scan scan = { .dir = s->dir, .name = s->name };
	int result = js_list(&scan);
	bool any = false;

	for (size_t i = 0; result == 0 && i < scan.count; i++) {
		uint64_t number = scan.segments[i].number;
		char file[JS_FILE_NAME];

		js_segment_name(file, s->name, number);
		if (number < s->ix.first) {
			result = unlinkat(s->dir, file, 0);
			any = true;
		} else if (number < s->number) {
			result = cut_tail(s, file, number);
		}
	}
	js_free(&scan);
	return result == 0 && any ? store_sync_dir(s) : result;
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
int store_end_salvage(struct store *s)
{
	char file[JS_FILE_NAME];

	if (!s->salvage || s->ix.segments[0].number < s->ix.rewrite)
		return 0;
	store_file(file, s, "salvage");
	if (unlinkat(s->dir, file, 0) < 0 && errno != ENOENT)
		return store_fail(s, "cannot end the repair");
	s->salvage = false;
	return 0;
}

int store_start(struct store *s, uint64_t biggest)
{
	if (s->err)
		return -1;
	if (sync_last(s) < 0)
		return store_fail(s, "cannot sync what was there");
	if (tidy(s) < 0)
		return store_fail(s, "cannot remove what is not needed");
	if (s->salvage)
		s->ix.rewrite = s->number + 1;
	if (new_segment(s, s->least, biggest) == 0)
		return store_end_salvage(s);
	if (s->err)
		return -1;
	if (s->salvage || resume(s, biggest) < 0)
		return store_fail(s, "no room to record what is taken out");
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
		return store_fail(s, "cannot get room");
	/* A part of it may have been given. */
	if (ftruncate(s->fd, (off_t)s->capacity) < 0)
		return store_fail(s, "cannot give back room");
	errno = ENOSPC;
	return -1;
}
