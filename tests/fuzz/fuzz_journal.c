/*
 * Any bytes as the files of a journal. Since no fuzzer finds checksums, the input is a list of what to
 * write: records with any fields, which are then sealed, stretches of raw bytes, and new segments with
 * any header. Whatever is there: it is refused with a text, or can be told, started, written, closed,
 * and is then opened again with the same items.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "daemon/journal_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT_SIZE 16384
#define SEGMENTS     6
#define SALT	     UINT64_C(0x5a17)

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int dir = -1;
static char place[64];

static void remove_files(void)
{
	DIR *d = fdopendir(dup(dir));
	struct dirent *e;

	must(d != NULL);
	rewinddir(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dir, e->d_name, 0);
	closedir(d);
}

static void at_end(void)
{
	remove_files();
	rmdir(place);
}

static struct {
	const uint8_t *p;
	size_t left;
} in;

static uint64_t take(size_t bytes)
{
	uint64_t v = 0;

	while (bytes-- && in.left) {
		v = v << 8 | *in.p++;
		in.left--;
	}
	return v;
}

static struct {
	unsigned char bytes[SEGMENT_SIZE];
	size_t used;
	uint64_t number, batch;
} seg;

static void end_segment(void)
{
	char file[JS_FILE_NAME];
	int fd;

	if (!seg.number)
		return;
	js_segment_name(file, "q", seg.number);
	fd = openat(dir, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, seg.bytes, seg.used) == (ssize_t)seg.used);
	close(fd);
}

/* Mostly the header that would be right; any other when the input says so. */
static void begin_segment(unsigned how)
{
	struct jf_header h = { .number = seg.number + 1, .salt = SALT, .first = 1, .next_id = 1 };

	h.prev_end = seg.number ? seg.used : 0;
	end_segment();
	if (how & 1)
		h.first = take(1);
	if (how & 2)
		h.next_id = take(8);
	if (how & 4)
		h.prev_end = take(2);
	seg.number = h.number + (how & 8 ? take(1) % 3 : 0);
	if (how & 16)
		h.number = seg.number;
	jf_header_write(seg.bytes, &h);
	seg.used = how & 32 ? take(1) % JF_HEADER : JF_HEADER;
	seg.batch = seg.used;
}

static void add_record(unsigned how)
{
	struct jf_record r = { .type = (enum jf_type)(how % 7) };

	r.id = take(1);
	r.deliveries = (uint32_t)take(1);
	if (r.type == JF_PUT)
		r.len = (uint32_t)take(1);
	r.data = in.p;
	if (r.len > in.left)
		r.len = (uint32_t)in.left;
	if (seg.used + jf_size(r.len) > SEGMENT_SIZE)
		return;
	if (how & 64)
		seg.batch = seg.used;
	jf_draft(seg.bytes + seg.used, &r);
	jf_seal(seg.bytes + seg.used, SALT, seg.used, how & 32 ? take(2) * 8 : seg.batch);
	seg.used += jf_size(r.len);
}

static void add_raw(unsigned how)
{
	size_t len = take(1), back = how & 64 ? take(2) % (seg.used + 1) : 0;

	seg.used -= back;
	for (size_t i = 0; i < len && seg.used < SEGMENT_SIZE; i++)
		seg.bytes[seg.used++] = (unsigned char)(how & 32 ? 0 : take(1));
}

static void make_files(void)
{
	unsigned count = 0;

	memset(&seg, 0, sizeof(seg));
	begin_segment(0);
	while (in.left) {
		unsigned how = (unsigned)take(1);

		if (how < 128)
			add_record(how);
		else if (how < 224)
			add_raw(how);
		else if (++count < SEGMENTS)
			begin_segment((unsigned)take(1));
	}
	end_segment();
}

static uint64_t told, last;

static int on_item(void *arg, uint64_t id, uint32_t deliveries, const void *data, size_t len)
{
	uint64_t *sum = arg;

	must(id > last);
	last = id;
	told++;
	*sum = *sum * 31 + id * 7 + deliveries + jf_crc32c(0, data, len);
	return 0;
}

static struct store *open_store(uint64_t *sum)
{
	struct store_found found;
	struct store *s = store_open(dir, "q", 1024, &found);

	if (!s) {
		must(found.text[0] && errno);
		return NULL;
	}
	*sum = told = last = 0;
	must(store_tell(s, on_item, sum, &found) == 0);
	must(told == found.items && told == store_items(s) && last < store_next_id(s));
	return s;
}

static void use(struct store *s)
{
	unsigned char draft[JF_HEAD];
	struct jf_record r = { .type = JF_TAKE, .id = last };

	must(store_start(s, 1024) == 0);
	must(store_room(s, 1024) >= 0);
	jf_draft(draft, &r);
	for (int i = 0; i < 10; i++) {
		must(store_grow(s, 2048, 1024) == 0);
		must(store_write(s, draft, i == 0 && last ? JF_HEAD : 0, 2048) == 0);
	}
	must(store_end(s, 1024) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t sum, again, items;
	struct store *s;

	if (dir < 0) {
		/* In memory where there is such a place: syncs are not what is looked for. */
		strcpy(place, "/dev/shm/crewd-fuzz-journal-XXXXXX");
		if (!mkdtemp(place)) {
			strcpy(place, "/tmp/crewd-fuzz-journal-XXXXXX");
			must(mkdtemp(place) != NULL);
		}
		dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		must(dir >= 0);
		atexit(at_end);
	}
	if (size < 2)
		return 0;
	in.p = data + 1;
	in.left = size - 1;
	make_files();
	if (data[0] & 1)
		close(openat(dir, "q.salvage", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	s = open_store(&sum);
	must(s || !(data[0] & 1));
	if (s) {
		use(s);
		items = store_items(s);
		store_close(s);
		s = open_store(&again);
		must(s && told == items);
		store_close(s);
	}
	remove_files();
	return 0;
}
