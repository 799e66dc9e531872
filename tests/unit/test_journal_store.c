/*
 * A journal on disk, without its thread: against a model in memory, cut at every byte, with each bit
 * flipped, and with the power cut between a write and its sync, so that any of its sectors may miss.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/journal_store.h"

#define SEGMENT 2048
#define BIGGEST 1024
#define IDS	20000
#define SECTOR	512
#define COPY	4096 /* bytes moved in one batch */

static char place[64];
static int dir;
static struct store *store;
static struct store_found found;

/* What is, and what may be: `asked` when the power went. */
static struct {
	bool live, asked_put, asked_take;
	unsigned len, deliveries;
} model[IDS];
static uint64_t next_id;
static unsigned char batch[65536];
static size_t batch_len;

/* ---- a disk that loses power -------------------------------------------------------------------- */

ssize_t __real_pwrite(int fd, const void *data, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t at);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);

static int syncs_left; /* before the power goes; 0: never */
static bool power_lost;
static struct {
	int fd;
	off_t at;
	char before[SECTOR];
} pending[4096];
static size_t pending_count;

static void remember(int fd, off_t from, off_t to)
{
	for (off_t at = from / SECTOR * SECTOR; at < to; at += SECTOR) {
		bool known = false;

		for (size_t i = 0; i < pending_count; i++)
			known |= pending[i].fd == fd && pending[i].at == at;
		if (known)
			continue;
		assert_true(pending_count < sizeof(pending) / sizeof(*pending));
		memset(pending[pending_count].before, 0, SECTOR);
		assert_true(pread(fd, pending[pending_count].before, SECTOR, at) >= 0);
		pending[pending_count].fd = fd;
		pending[pending_count++].at = at;
	}
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (power_lost) {
		errno = EIO;
		return -1;
	}
	remember(fd, at, at + (off_t)len);
	return __real_pwrite(fd, data, len, at);
}

/* Any of the sectors may have got there, in any order. */
static void lose_power(void)
{
	power_lost = true;
	for (size_t i = 0; i < pending_count; i++)
		if (rand() % 2)
			assert_int_equal(__real_pwrite(pending[i].fd, pending[i].before, SECTOR,
						       pending[i].at),
					 SECTOR);
	pending_count = 0;
}

int __wrap_fdatasync(int fd)
{
	if (syncs_left && --syncs_left == 0)
		lose_power();
	if (power_lost) {
		errno = EIO;
		return -1;
	}
	pending_count = 0;
	return __real_fdatasync(fd);
}

int __wrap_ftruncate(int fd, off_t len)
{
	if (power_lost) {
		errno = EIO;
		return -1;
	}
	return __real_ftruncate(fd, len);
}

/* ---- a journal and its model -------------------------------------------------------------------- */

static int setup(void **state)
{
	(void)state;
	strcpy(place, "/tmp/crewd-journal-XXXXXX");
	if (!mkdtemp(place))
		return -1;
	dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	store = NULL;
	memset(model, 0, sizeof(model));
	next_id = 1;
	batch_len = 0;
	syncs_left = 0;
	power_lost = false;
	pending_count = 0;
	srand(1);
	return dir < 0 ? -1 : 0;
}

static void remove_files(void)
{
	DIR *d = fdopendir(dup(dir));
	struct dirent *e;

	rewinddir(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dir, e->d_name, 0);
	closedir(d);
}

static int teardown(void **state)
{
	(void)state;
	store_close(store);
	remove_files();
	close(dir);
	return rmdir(place);
}

static void fill(unsigned char *p, uint64_t id, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(id * 31 + i);
}

static void put(unsigned len)
{
	unsigned char data[BIGGEST];
	struct jf_record r = { .type = JF_PUT, .id = next_id, .data = data, .len = len };

	fill(data, next_id, len);
	jf_draft(batch + batch_len, &r);
	batch_len += jf_size(len);
	model[next_id].asked_put = true;
	model[next_id].len = len;
	next_id++;
}

static void about(enum jf_type type, uint64_t id, uint32_t n)
{
	struct jf_record r = { .type = type, .id = id, .deliveries = n };

	jf_draft(batch + batch_len, &r);
	batch_len += JF_HEAD;
	if (type == JF_TAKE)
		model[id].asked_take = true;
	else if (model[id].live)
		model[id].deliveries = n;
}

static void answered(void)
{
	for (uint64_t id = 1; id < next_id; id++) {
		model[id].live = (model[id].live || model[id].asked_put) && !model[id].asked_take;
		model[id].asked_put = model[id].asked_take = false;
	}
}

/* As the thread does it: room first, then the batch, and what is to be moved. */
static int write_batch(void)
{
	int result = 0;

	if (store_room(store, BIGGEST) < (int64_t)(2 * batch_len + COPY))
		result = store_grow(store, 2 * batch_len + COPY, BIGGEST);
	if (result == 0)
		result = store_write(store, batch, batch_len, COPY);
	batch_len = 0;
	if (result == 0)
		answered();
	return result;
}

static int on_item(void *arg, uint64_t id, uint32_t deliveries, const void *data, size_t len)
{
	unsigned char want[BIGGEST];
	uint64_t *last = arg;

	assert_true(id > *last && id < next_id);
	*last = id;
	assert_int_equal(len, model[id].len);
	fill(want, id, len);
	assert_memory_equal(data, want, len);
	assert_true(model[id].live || model[id].asked_put);
	if (!power_lost)
		assert_int_equal(deliveries, model[id].deliveries);
	model[id].live = true;
	model[id].asked_put = model[id].asked_take = false;
	model[id].deliveries = deliveries;
	return 0;
}

static bool try_open(void)
{
	store = store_open(dir, "q", SEGMENT, &found);
	return store != NULL;
}

/* All that was answered is there, and what was not may be. */
static void check_items(void)
{
	uint64_t last = 0, expected = 0;

	assert_int_equal(store_tell(store, on_item, &last, &found), 0);
	for (uint64_t id = 1; id < next_id; id++) {
		/* Told: on_item() has cleared this. Not told: it was being taken out. */
		if (model[id].asked_take || model[id].asked_put)
			model[id].live = false;
		expected += model[id].live;
		model[id].asked_put = model[id].asked_take = false;
	}
	assert_int_equal(store_items(store), expected);
}

static void open_and_check(void)
{
	if (!try_open())
		fail_msg("%s", found.text);
	check_items();
	assert_true(store_next_id(store) <= next_id);
	power_lost = false;
}

static void start(void)
{
	assert_int_equal(store_start(store, BIGGEST), 0);
}

static void close_store(bool in_order)
{
	if (in_order)
		assert_int_equal(store_end(store, BIGGEST), 0);
	store_close(store);
	store = NULL;
}

static void random_batch(void)
{
	for (int n = rand() % 5; n >= 0; n--) {
		uint64_t id = 1 + (uint64_t)rand() % next_id;

		if (rand() % 2)
			put(rand() % 8 ? (unsigned)rand() % 100 : (unsigned)rand() % BIGGEST);
		else if (id < next_id && model[id].live && !model[id].asked_take)
			about(rand() % 4 ? JF_TAKE : JF_DELIVER, id, (uint32_t)rand() % 9);
	}
}

/* ---- tests -------------------------------------------------------------------------------------- */

static void test_empty(void **state)
{
	(void)state;
	open_and_check();
	start();
	close_store(false);
	open_and_check();
	assert_int_equal(store_next_id(store), 1);
}

static void write_only(void)
{
	assert_int_equal(store_write(store, batch, batch_len, 0), 0);
	batch_len = 0;
	answered();
}

static void test_what_is_not_there_is_not_written(void **state)
{
	int64_t room;

	(void)state;
	open_and_check();
	start();
	put(10);
	write_only();
	room = store_room(store, BIGGEST);
	about(JF_TAKE, 55, 0);
	about(JF_DELIVER, 56, 1);
	write_only();
	assert_int_equal(store_room(store, BIGGEST), room);
	about(JF_TAKE, 1, 0);
	write_only();
	/* Its place was kept free. */
	assert_int_equal(store_room(store, BIGGEST), room);
	/* What comes behind it is. */
	about(JF_TAKE, 57, 0);
	put(20);
	about(JF_TAKE, 58, 0);
	put(30);
	write_only();
	close_store(false);
	open_and_check();
	assert_int_equal(store_items(store), 2);
}

static void test_ids_are_not_given_again(void **state)
{
	(void)state;
	open_and_check();
	start();
	put(10);
	assert_int_equal(write_batch(), 0);
	about(JF_TAKE, 1, 0);
	assert_int_equal(write_batch(), 0);
	for (int i = 0; i < 3; i++) {
		close_store(true);
		open_and_check();
		assert_int_equal(store_next_id(store), 2);
		start();
		assert_int_equal(store_write(store, batch, 0, COPY), 0);
	}
}

/* In order or killed, any number of times. */
static void test_random(void **state)
{
	(void)state;
	for (int round = 0; round < 40; round++) {
		open_and_check();
		start();
		for (int i = rand() % 60; i > 0; i--) {
			random_batch();
			assert_int_equal(write_batch(), 0);
			assert_true(store_room(store, BIGGEST) >= 0);
		}
		close_store(rand() % 2);
		assert_int_equal(found.torn, 0);
	}
}

static void test_size_is_bounded(void **state)
{
	uint64_t low = 1;

	(void)state;
	open_and_check();
	start();
	/* One item that stays, while all others come and go. */
	put(100);
	for (int i = 0; i < 3000; i++) {
		put(100);
		if (next_id > 20)
			about(JF_TAKE, ++low, 0);
		assert_int_equal(write_batch(), 0);
		assert_true(store_disk(store) < 2 * store_live(store) + 6 * SEGMENT + COPY);
	}
	close_store(false);
	open_and_check();
}

static void test_power_lost(void **state)
{
	int torn = 0;

	(void)state;
	for (int round = 0; round < 400; round++) {
		syncs_left = 0;
		open_and_check();
		torn += found.torn > 0;
		syncs_left = 1 + rand() % 20;
		if (store_start(store, BIGGEST) == 0)
			do
				random_batch();
			while (next_id < IDS - 10 && write_batch() == 0);
		assert_true(power_lost);
		batch_len = 0;
		close_store(false);
	}
	assert_true(torn > 10);
}

static void copy(const char *from, const char *to, size_t most)
{
	static char bytes[1 << 20];
	int in = openat(dir, from, O_RDONLY | O_CLOEXEC);
	int out = openat(dir, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = read(in, bytes, sizeof(bytes));

	assert_true(n >= 0 && (size_t)n < sizeof(bytes));
	if ((size_t)n > most)
		n = (ssize_t)most;
	assert_int_equal(write(out, bytes, (size_t)n), n);
	close(in);
	close(out);
}

static size_t size_of(const char *file)
{
	struct stat st;

	assert_int_equal(fstatat(dir, file, &st, 0), 0);
	return (size_t)st.st_size;
}

static uint64_t count_items(void)
{
	uint64_t last = 0, n = store_items(store);

	assert_int_equal(store_tell(store, on_item, &last, &found), 0);
	return n;
}

#define FILE_1 "q.0000000000000001.journal"
#define FILE_2 "q.0000000000000002.journal"

/* Six items in batches of two, and perhaps two more in a second segment. */
static void small_journal_of(bool second, bool first_in_order, bool in_order)
{
	open_and_check();
	start();
	for (int i = 0; i < 3; i++) {
		put(40);
		put(5);
		write_only();
	}
	if (second) {
		close_store(first_in_order);
		open_and_check();
		start();
		put(8);
		put(9);
		write_only();
	}
	close_store(in_order);
}

static void small_journal(bool second, bool in_order)
{
	small_journal_of(second, true, in_order);
}

static void cut_each_byte(const char *file, uint64_t before)
{
	size_t size = size_of(file);
	uint64_t last = before;

	copy(file, "copy", SIZE_MAX);
	for (size_t len = 0; len <= size; len++) {
		copy("copy", file, len);
		if (!try_open())
			fail_msg("cut at %zu: %s", len, found.text);
		/* Items come one by one, in order; on_item() looks at each. */
		assert_in_range(count_items(), last, last + 1);
		last = store_items(store);
		close_store(false);
	}
	assert_int_equal(last, next_id - 1);
}

static void test_cut_at_every_byte(void **state)
{
	(void)state;
	small_journal(false, false);
	cut_each_byte(FILE_1, 0);
}

static void test_second_cut_at_every_byte(void **state)
{
	(void)state;
	small_journal(true, false);
	cut_each_byte(FILE_2, 6);
}

/* And what was cut is written on. */
static void test_goes_on_behind_a_cut(void **state)
{
	size_t size;

	(void)state;
	small_journal(false, false);
	size = JF_HEADER + 3 * (jf_size(40) + jf_size(5));
	for (size_t len = JF_HEADER; len < size; len += 7) {
		remove_files();
		memset(model, 0, sizeof(model));
		next_id = 1;
		small_journal(false, false);
		copy(FILE_1, "copy", SIZE_MAX);
		copy("copy", FILE_1, len);
		assert_true(try_open());
		for (uint64_t id = store_items(store) + 1; id < next_id; id++)
			model[id].live = false;
		check_items();
		start();
		put(33);
		assert_int_equal(write_batch(), 0);
		close_store(false);
		open_and_check();
		close_store(false);
	}
}

/* Returns in how many cases it was refused. */
static size_t flip_each_bit(const char *file, bool in_order)
{
	size_t size = size_of(file), refused = 0;
	int fd = openat(dir, file, O_RDWR | O_CLOEXEC);
	unsigned char c, other;

	for (size_t bit = 0; bit < 8 * size; bit++) {
		assert_int_equal(pread(fd, &c, 1, (off_t)(bit / 8)), 1);
		other = c ^ (unsigned char)(1 << bit % 8);
		assert_int_equal(__real_pwrite(fd, &other, 1, (off_t)(bit / 8)), 1);
		if (try_open()) {
			uint64_t n = count_items();

			/* Only the last batch can be taken for a torn one, and is told. */
			assert_true(n == next_id - 1 ||
				    (!in_order && found.torn && n >= next_id - 3));
			close_store(false);
		} else {
			assert_int_equal(errno, EBADMSG);
			assert_non_null(strstr(found.text, "q.salvage"));
			refused++;
		}
		assert_int_equal(__real_pwrite(fd, &c, 1, (off_t)(bit / 8)), 1);
	}
	close(fd);
	return refused;
}

static void test_each_bit(void **state)
{
	(void)state;
	small_journal(false, true);
	assert_true(flip_each_bit(FILE_1, true) >= 8 * 6 * (JF_HEAD + 8));
}

static void test_each_bit_of_two_segments(void **state)
{
	(void)state;
	small_journal(true, true);
	assert_true(flip_each_bit(FILE_1, true) >= 8 * 6 * (JF_HEAD + 8));
	assert_true(flip_each_bit(FILE_2, true) >= 8 * 2 * (JF_HEAD + 8));
}

/* The second one tells where the first ends, though nobody closed that. */
static void test_each_bit_of_a_followed_segment(void **state)
{
	(void)state;
	small_journal_of(true, false, true);
	assert_true(flip_each_bit(FILE_1, true) >= 8 * 6 * (JF_HEAD + 8));
}

static void test_each_bit_after_a_kill(void **state)
{
	(void)state;
	small_journal(false, false);
	assert_true(flip_each_bit(FILE_1, false) >= 8 * 4 * (JF_HEAD + 8));
}

static void test_segment_is_missing(void **state)
{
	(void)state;
	small_journal(true, true);
	unlinkat(dir, FILE_1, 0);
	assert_false(try_open());
	assert_int_equal(errno, EBADMSG);
	assert_non_null(strstr(found.text, FILE_1 " is missing"));
}

static void test_repair_keeps_the_rest(void **state)
{
	unsigned char c;
	int fd;

	(void)state;
	small_journal(true, true);
	fd = openat(dir, FILE_1, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &c, 1, JF_HEADER + 8), 1);
	c ^= 1;
	assert_int_equal(__real_pwrite(fd, &c, 1, JF_HEADER + 8), 1);
	close(fd);
	assert_false(try_open());
	close(openat(dir, "q.salvage", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_true(try_open());
	assert_true(found.salvaged && found.unread == jf_size(40));
	model[1].live = false;
	check_items();
	start();
	assert_int_equal(store_write(store, batch, 0, COPY), 0);
	assert_int_equal(store_write(store, batch, 0, COPY), 0);
	close_store(true);
	assert_int_not_equal(faccessat(dir, "q.salvage", F_OK, 0), 0);
	assert_int_equal(faccessat(dir, FILE_1 ".damaged", F_OK, 0), 0);
	open_and_check();
	assert_false(found.salvaged);
}

static bool exists(const char *file)
{
	return faccessat(dir, file, F_OK, 0) == 0;
}

/* What two directory operations without a sync between may leave behind: the segment with the put is
 * there again, the one with the take is not. */
static void test_dropped_segment_is_back(void **state)
{
	(void)state;
	open_and_check();
	start();
	put(40);
	put(50);
	write_only();
	close_store(true);
	copy(FILE_1, "copy", SIZE_MAX);
	open_and_check();
	start();
	about(JF_TAKE, 1, 0);
	write_only();
	close_store(true);
	open_and_check();
	start();
	about(JF_TAKE, 2, 0);
	put(10);
	assert_int_equal(write_batch(), 0);
	close_store(true);
	assert_false(exists(FILE_1) || exists(FILE_2));
	copy("copy", FILE_1, SIZE_MAX);
	open_and_check();
	assert_int_equal(store_items(store), 1);
	start();
	assert_false(exists(FILE_1));
}

static void test_opened_twice(void **state)
{
	struct store *second;

	(void)state;
	open_and_check();
	start();
	second = store_open(dir, "q", SEGMENT, &found);
	assert_null(second);
	assert_int_equal(errno, EBUSY);
	/* Another queue's name may begin with this one's. */
	second = store_open(dir, "q.0000000000000001", SEGMENT, &found);
	assert_non_null(second);
	assert_int_equal(store_start(second, BIGGEST), 0);
	store_close(second);
	close_store(true);
	open_and_check();
}

static void test_strange_files(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(mkfifoat(dir, FILE_1, 0600), 0);
	assert_false(try_open());
	assert_non_null(strstr(found.text, "it is not a file"));
	unlinkat(dir, FILE_1, 0);
	assert_int_equal(symlinkat("/dev/zero", dir, FILE_1), 0);
	assert_false(try_open());
	unlinkat(dir, FILE_1, 0);
	close(openat(dir, FILE_1, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	fd = openat(dir, FILE_1, O_WRONLY | O_CLOEXEC);
	assert_int_equal(__real_ftruncate(fd, INT64_C(1) << 40), 0);
	close(fd);
	assert_false(try_open());
	assert_non_null(strstr(found.text, "larger than"));
	unlinkat(dir, FILE_1, 0);
	/* No number that crewd gives, or not written as crewd does. */
	close(openat(dir, "q.ffffffffffffffff.journal", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	close(openat(dir, "q.00000000000000A1.journal", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	close(openat(dir, "q.1.journal", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_true(try_open());
	start();
	put(10);
	write_only();
	close_store(true);
	open_and_check();
}

static void test_remove(void **state)
{
	(void)state;
	small_journal(true, true);
	open_and_check();
	start();
	assert_int_equal(store_remove(store), 0);
	store_close(store);
	memset(model, 0, sizeof(model));
	assert_int_not_equal(faccessat(dir, "q.lock", F_OK, 0), 0);
	open_and_check();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(empty),
		TEST(what_is_not_there_is_not_written),
		TEST(ids_are_not_given_again),
		TEST(random),
		TEST(size_is_bounded),
		TEST(power_lost),
		TEST(cut_at_every_byte),
		TEST(second_cut_at_every_byte),
		TEST(goes_on_behind_a_cut),
		TEST(each_bit),
		TEST(each_bit_of_two_segments),
		TEST(each_bit_of_a_followed_segment),
		TEST(each_bit_after_a_kill),
		TEST(segment_is_missing),
		TEST(repair_keeps_the_rest),
		TEST(dropped_segment_is_back),
		TEST(opened_twice),
		TEST(strange_files),
		TEST(remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
