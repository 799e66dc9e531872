/* The bytes of a journal: checksums that miss no bit, and records that are good in one place only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "daemon/journal_format.h"

#define SALT   UINT64_C(0x0123456789abcdef)
#define OFFSET 640

static unsigned char bytes[JF_RECORD_MAX];

static size_t make(const char *data, size_t len)
{
	struct jf_record r = {
		.type = JF_PUT, .id = 7, .deliveries = 3, .data = data, .len = (uint32_t)len
	};

	jf_draft(bytes, &r);
	jf_seal(bytes, SALT, OFFSET, 64);
	return jf_size(len);
}

/* Of RFC 3720, B.4, and the check value of the polynomial. */
static void test_crc32c(void **state)
{
	unsigned char data[32];

	(void)state;
	assert_int_equal(jf_crc32c(0, "123456789", 9), 0xe3069283);
	memset(data, 0, sizeof(data));
	assert_int_equal(jf_crc32c(0, data, sizeof(data)), 0x8a9136aa);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(jf_crc32c(0, data, sizeof(data)), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)i;
	assert_int_equal(jf_crc32c(0, data, sizeof(data)), 0x46dd794e);
	for (size_t i = 0; i <= sizeof(data); i++)
		assert_int_equal(jf_crc32c(jf_crc32c(0, data, i), data + i, sizeof(data) - i),
				 0x46dd794e);
}

static void test_record_is_read_as_written(void **state)
{
	struct jf_record r;
	size_t need;

	(void)state;
	for (size_t len = 0; len < 40; len++) {
		size_t size = make("0123456789012345678901234567890123456789", len);

		assert_int_equal(jf_read(bytes, size, SALT, OFFSET, &r, &need), JF_FOUND);
		assert_int_equal(need, size);
		assert_int_equal(r.type, JF_PUT);
		assert_int_equal(r.id, 7);
		assert_int_equal(r.deliveries, 3);
		assert_int_equal(r.batch, 64);
		assert_int_equal(r.len, len);
		assert_memory_equal(r.data, "0123456789012345678901234567890123456789", len);
	}
}

static void test_record_that_is_cut(void **state)
{
	size_t size = make("some bytes", 10), need;
	struct jf_record r;

	(void)state;
	for (size_t len = 0; len < size; len++) {
		enum jf_found found = jf_read(bytes, len, SALT, OFFSET, &r, &need);

		assert_int_equal(found, len < JF_HEAD ? JF_NONE : JF_MORE);
		assert_int_equal(need, len < JF_HEAD ? JF_HEAD : size);
	}
}

static void test_each_bit_of_a_record(void **state)
{
	size_t size = make("some bytes", 10), need;
	struct jf_record r;

	(void)state;
	for (size_t bit = 0; bit < 8 * size; bit++) {
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_int_not_equal(jf_read(bytes, size, SALT, OFFSET, &r, &need), JF_FOUND);
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	assert_int_equal(jf_read(bytes, size, SALT, OFFSET, &r, &need), JF_FOUND);
}

static void test_record_of_another_place(void **state)
{
	size_t size = make("some bytes", 10), need;
	struct jf_record r;

	(void)state;
	assert_int_equal(jf_read(bytes, size, SALT, OFFSET + 8, &r, &need), JF_NONE);
	assert_int_equal(jf_read(bytes, size, SALT + 1, OFFSET, &r, &need), JF_NONE);
}

/* Right checksums, but nothing that crewd would write. */
static void test_senseless_records(void **state)
{
	static const struct jf_record bad[] = {
		{ .type = JF_PUT, .id = 0 },
		{ .type = JF_PUT, .id = JF_ID_MAX },
		{ .type = 0, .id = 1 },
		{ .type = JF_END + 1, .id = 1 },
		{ .type = JF_TAKE, .id = 1, .data = "12345678", .len = 8 },
	};
	struct jf_record r;
	size_t need;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		jf_draft(bytes, &bad[i]);
		jf_seal(bytes, SALT, OFFSET, 64);
		assert_int_equal(jf_read(bytes, sizeof(bytes), SALT, OFFSET, &r, &need), JF_NONE);
	}
	make("x", 1);
	jf_seal(bytes, SALT, OFFSET, OFFSET + 8);
	assert_int_equal(jf_read(bytes, sizeof(bytes), SALT, OFFSET, &r, &need), JF_NONE);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(jf_read(bytes, sizeof(bytes), 0, 0, &r, &need), JF_NONE);
}

static void test_each_bit_of_a_header(void **state)
{
	struct jf_header h = {
		.number = 5, .salt = SALT, .first = 3, .next_id = 99, .prev_end = 512
	};
	struct jf_header again;

	(void)state;
	jf_header_write(bytes, &h);
	assert_null(jf_header_read(bytes, &again));
	assert_memory_equal(&h, &again, sizeof(h));
	for (size_t bit = 0; bit < 8 * JF_HEADER; bit++) {
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_non_null(jf_header_read(bytes, &again));
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	h.first = 6;
	jf_header_write(bytes, &h);
	assert_non_null(jf_header_read(bytes, &again));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_record_is_read_as_written),
		cmocka_unit_test(test_record_that_is_cut),
		cmocka_unit_test(test_each_bit_of_a_record),
		cmocka_unit_test(test_record_of_another_place),
		cmocka_unit_test(test_senseless_records),
		cmocka_unit_test(test_each_bit_of_a_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
