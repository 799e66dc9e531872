#include "daemon/journal_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW	  (2 * 1024 * 1024) /* more than one record */
#define READ_PART (256 * 1024)
#define FILES_MAX 65536
#define SUFFIX	  ".journal"
#define DIGITS	  16

/* ---- names ------------------------------------------------------------------------------------- */

void js_segment_name(char out[JS_FILE_NAME], const char *name, uint64_t number)
{
	snprintf(out, JS_FILE_NAME, "%.*s.%0*" PRIx64 SUFFIX, CREW_NAME_MAX, name, DIGITS, number);
}

uint64_t js_segment_number(const char *name, const char *file)
{
	char again[JS_FILE_NAME];
	size_t len = strlen(name);
	uint64_t number;

	if (strncmp(file, name, len) != 0 || file[len] != '.')
		return 0;
	number = strtoull(file + len + 1, NULL, 16);
	js_segment_name(again, name, number);
	return strcmp(again, file) == 0 && number < JF_ID_MAX ? number : 0;
}

/* ---- reading ----------------------------------------------------------------------------------- */

int js_open(struct js_reader *r, int dir, const char *file)
{
	struct stat st;

	*r = (struct js_reader){ .fd = -1 };
	/* Not to wait for whoever might write into a pipe of that name. */
	r->fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (r->fd < 0)
		return -1;
	if (fstat(r->fd, &st) < 0)
		goto fail;
	errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > 2 * JF_SEGMENT_MAX)
		goto fail;
	r->size = (uint64_t)st.st_size;
	r->room = r->size < WINDOW ? (size_t)r->size + 1 : WINDOW;
	r->window = malloc(r->room);
	if (r->window)
		return 0;
fail:
	js_close(r);
	return -1;
}

void js_close(struct js_reader *r)
{
	int err = errno;

	if (r->fd >= 0)
		close(r->fd);
	free(r->window);
	*r = (struct js_reader){ .fd = -1 };
	errno = err;
}

/* Makes the window begin at `offset`, keeping what it has of it. */
static void move(struct js_reader *r, uint64_t offset)
{
	size_t keep = 0;

	if (offset >= r->at && offset < r->at + r->len) {
		keep = (size_t)(r->at + r->len - offset);
		memmove(r->window, r->window + (offset - r->at), keep);
	}
	r->at = offset;
	r->len = keep;
}

static int fill(struct js_reader *r, size_t want)
{
	if (want > r->room)
		want = r->room;
	while (r->len < want) {
		size_t part = r->room - r->len < READ_PART ? r->room - r->len : READ_PART;
		ssize_t n = pread(r->fd, r->window + r->len, part, (off_t)(r->at + r->len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		r->len += (size_t)n;
	}
	return 0;
}

const unsigned char *js_peek(struct js_reader *r, uint64_t offset, size_t most, size_t *len)
{
	size_t have;

	if (offset < r->at || offset + most > r->at + r->len) {
		if (offset < r->at || offset > r->at + r->len || offset - r->at + most > r->room)
			move(r, offset);
		if (fill(r, (size_t)(offset - r->at) + most) < 0)
			return NULL;
	}
	have = (size_t)(r->at + r->len - offset);
	*len = have < most ? have : most;
	return r->window + (offset - r->at);
}

/* What stands at `offset`; JF_MORE when it would not be over at `end`. -1: cannot be read. */
static int record_at(struct js_reader *r, uint64_t salt, uint64_t offset, uint64_t end,
		     struct jf_record *rec, size_t *size)
{
	size_t have, want = JF_HEAD;
	const unsigned char *p;
	enum jf_found found;

	do {
		p = js_peek(r, offset, want, &have);
		if (!p)
			return -1;
		found = jf_read(p, have, salt, offset, rec, size);
		if (found != JF_MORE || *size == want)
			return (int)found;
		want = *size;
	} while (offset + want <= end);
	return JF_MORE;
}

int js_item(struct js_reader *r, uint64_t salt, const struct ji_item *item, struct jf_record *out)
{
	size_t size;
	int found = record_at(r, salt, item->offset, r->size, out, &size);

	if (found < 0)
		return -1;
	if (found == JF_FOUND && out->type == JF_PUT && out->id == item->id)
		return 0;
	errno = EBADMSG;
	return -1;
}

/* ---- one segment ------------------------------------------------------------------------------- */

/* The head of any record at `from` or later, of a batch that begins after `batch_after`: its place,
 * 0: there is none, UINT64_MAX: cannot be read. */
static uint64_t search(struct js_reader *r, uint64_t salt, uint64_t from, uint64_t end,
		       uint64_t batch_after)
{
	for (uint64_t at = from; at + JF_HEAD <= end; at += JF_ALIGN) {
		struct jf_record rec;
		size_t have, need;
		const unsigned char *p = js_peek(r, at, JF_HEAD, &have);

		if (!p)
			return UINT64_MAX;
		if (have < JF_HEAD)
			return 0;
		if (jf_read(p, have, salt, at, &rec, &need) != JF_NONE && rec.batch > batch_after)
			return at;
	}
	return 0;
}

/* Bytes from `from` on up to the last one that is not zero; UINT64_MAX: cannot be read. */
static uint64_t written(struct js_reader *r, uint64_t from)
{
	uint64_t last = from;

	for (uint64_t at = from; at < r->size;) {
		size_t have;
		const unsigned char *p = js_peek(r, at, READ_PART, &have);

		if (!p)
			return UINT64_MAX;
		if (!have)
			break;
		for (size_t i = have; i > 0; i--)
			if (p[i - 1]) {
				last = at + i;
				break;
			}
		at += have;
	}
	return last - from;
}

/* Nothing good stands at `at`. In the last segment, before which no later batch was written, that is a
 * torn write, and the journal ends here. Otherwise it is damage: *at moves to where reading can go on,
 * or to the end. 0, or -1. */
static int stumble(struct js_scan *s, struct js_segment *g, struct js_reader *r, bool last,
		   uint64_t end, uint64_t *at, size_t skip)
{
	uint64_t next;

	if (last && !g->damaged) {
		next = search(r, g->header.salt, *at + JF_ALIGN, end, *at);
		if (next == UINT64_MAX)
			return -1;
		if (!next) {
			next = written(r, *at);
			if (next == UINT64_MAX)
				return -1;
			s->torn += next;
			g->end = *at;
			*at = end;
			return 0;
		}
	}
	if (!g->damaged)
		g->damaged = *at;
	g->why = "is damaged";
	next = search(r, g->header.salt, *at + (skip ? skip : JF_ALIGN), end, 0);
	if (next == UINT64_MAX)
		return -1;
	if (!next)
		next = end;
	g->unread += next - *at;
	*at = next;
	return 0;
}

/* `end` is what the next segment says, or for the last one the file's size. */
static int read_records(struct js_scan *s, struct js_segment *g, struct js_reader *r, bool last,
			uint64_t end)
{
	uint64_t at = JF_HEADER, batch = 0;

	while (at + JF_HEAD <= end) {
		struct jf_record rec;
		size_t size;
		int found = record_at(r, g->header.salt, at, end, &rec, &size);
		bool fits =
			found == JF_FOUND && (rec.batch == at || rec.batch == batch || g->damaged);

		if (found < 0)
			return -1;
		if (!fits) {
			size = found == JF_DAMAGED ? size : 0;
			if (stumble(s, g, r, last, end, &at, size) < 0)
				return -1;
			continue;
		}
		if (rec.type == JF_PUT && ji_reserve(s->ix, 1) < 0)
			return -1;
		ji_apply(s->ix, &rec, g->number, at);
		batch = rec.batch;
		at += size;
		g->end = at;
	}
	return 0;
}

static int scan_segment(struct js_scan *s, struct js_segment *g, const struct js_segment *next)
{
	bool known = next && next->number == g->number + 1 && !next->damaged &&
		     next->header.prev_end >= JF_HEADER;
	uint64_t end = known ? next->header.prev_end : g->size;
	struct js_reader r;
	char file[JS_FILE_NAME];
	int result = 0;

	if (ji_reserve(s->ix, 0) < 0)
		return -1;
	ji_add_segment(s->ix, g->number, g->header.first, g->header.next_id);
	g->end = JF_HEADER;
	if (g->damaged || end > g->size) {
		if (!g->damaged)
			g->why = "was cut off";
		g->unread = end > g->size ? end - g->size : g->size;
		end = g->damaged ? 0 : g->size;
		g->damaged = g->damaged ? g->damaged : g->size;
	}
	js_segment_name(file, s->name, g->number);
	if (end) {
		result = js_open(&r, s->dir, file);
		if (result == 0)
			result = read_records(s, g, &r, !known, end);
		js_close(&r);
	}
	/* A segment that another one follows is whole up to its very end. */
	if (result == 0 && known && !g->damaged && g->end != end) {
		g->damaged = g->end;
		g->why = "is damaged";
		g->unread = end - g->end;
	}
	ji_used(s->ix, g->number, g->end);
	ji_segment(s->ix, g->number)->damaged = g->damaged != 0;
	return result;
}

/* ---- all of them ------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	const struct js_segment *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int add_file(struct js_scan *s, uint64_t number)
{
	struct js_segment *more;

	if (s->count == FILES_MAX) {
		errno = EMFILE;
		return -1;
	}
	if ((s->count & (s->count + 1)) == 0) {
		more = reallocarray(s->segments, 2 * s->count + 1, sizeof(*more));
		if (!more)
			return -1;
		s->segments = more;
	}
	s->segments[s->count++] = (struct js_segment){ .number = number };
	return 0;
}

int js_list(struct js_scan *s)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (result == 0 && (errno = 0, e = readdir(d))) {
		uint64_t number = js_segment_number(s->name, e->d_name);

		if (number)
			result = add_file(s, number);
	}
	if (result == 0 && errno)
		result = -1;
	closedir(d);
	if (s->count)
		qsort(s->segments, s->count, sizeof(*s->segments), by_number);
	return result;
}

static int read_header(struct js_scan *s, struct js_segment *g)
{
	struct js_reader r;
	char file[JS_FILE_NAME];
	const unsigned char *p;
	size_t have;

	js_segment_name(file, s->name, g->number);
	if (js_open(&r, s->dir, file) < 0)
		return -1;
	g->size = r.size;
	p = js_peek(&r, 0, JF_HEADER, &have);
	if (!p) {
		js_close(&r);
		return -1;
	}
	g->no_header = have < JF_HEADER;
	g->why = g->no_header ? "has no header" : jf_header_read(p, &g->header);
	if (!g->why && g->header.number != g->number)
		g->why = "has another segment's header";
	if (g->why) {
		g->header = (struct jf_header){ .number = g->number };
		g->damaged = 1;
	}
	js_close(&r);
	return 0;
}

static int fail_reading(struct js_scan *s, const char *file)
{
	int err = errno;

	snprintf(s->text, sizeof(s->text), "cannot read %s: %s", file,
		 err == EINVAL	? "it is not a file"
		 : err == EFBIG ? "it is larger than crewd makes any"
				: strerror(err));
	errno = err;
	return -1;
}

static int refuse(struct js_scan *s, const char *file, const char *what, uint64_t at)
{
	char where[48] = "";

	if (at > 1)
		snprintf(where, sizeof(where), " at byte %" PRIu64, at);
	snprintf(s->text, sizeof(s->text),
		 "%s %s%s, and answered puts may stand there. Put the file back from a copy, or, "
		 "to go on "
		 "with all that can still be read, make an empty file %s.salvage beside it and "
		 "start "
		 "again: what is damaged is then kept as *.damaged, and items may be missing or "
		 "come twice",
		 file, what, where, s->name);
	errno = EBADMSG;
	return -1;
}

/* From the first segment that is needed on, all must be there and whole. */
static int judge(struct js_scan *s)
{
	uint64_t expect = s->ix->first ? s->ix->first : 1;
	char file[JS_FILE_NAME];

	for (size_t i = 0; i < s->count; i++) {
		struct js_segment *g = &s->segments[i];

		if (g->number < s->ix->first)
			continue;
		if (g->number != expect && !s->salvage) {
			js_segment_name(file, s->name, expect);
			return refuse(s, file, "is missing", 0);
		}
		s->missing += g->number != expect;
		expect = g->number + 1;
		s->unread += g->unread;
		js_segment_name(file, s->name, g->number);
		if (g->damaged && !s->salvage)
			return refuse(s, file, g->why, g->damaged);
	}
	return 0;
}

int js_scan(struct js_scan *s)
{
	char file[JS_FILE_NAME];

	if (js_list(s) < 0)
		return fail_reading(s, "the directory");
	for (size_t i = 0; i < s->count; i++)
		if (read_header(s, &s->segments[i]) < 0) {
			js_segment_name(file, s->name, s->segments[i].number);
			return fail_reading(s, file);
		}
	/* The last one never held a record. */
	if (s->count && s->segments[s->count - 1].no_header)
		s->torn += s->segments[--s->count].size;
	for (size_t i = 0; i < s->count; i++) {
		struct js_segment *next = i + 1 < s->count ? &s->segments[i + 1] : NULL;

		if (scan_segment(s, &s->segments[i], next) < 0) {
			js_segment_name(file, s->name, s->segments[i].number);
			return fail_reading(s, file);
		}
	}
	if (judge(s) < 0)
		return -1;
	ji_drop(s->ix);
	return 0;
}

void js_free(struct js_scan *s)
{
	free(s->segments);
	s->segments = NULL;
	s->count = 0;
}
