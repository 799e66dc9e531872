#include "daemon/journal_format.h"

#include <assert.h>
#include <endian.h>
#include <pthread.h>
#include <string.h>

/* ---- CRC-32C, eight bytes at a time ------------------------------------------------------------ */

#define POLYNOMIAL 0x82f63b78u /* Castagnoli's, bits reversed */

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
		table[0][i] = crc;
	}
	for (int k = 1; k < 8; k++)
		for (int i = 0; i < 256; i++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

static uint32_t get32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static void set32(unsigned char *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void set64(unsigned char *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

uint32_t jf_crc32c(uint32_t crc, const void *data, size_t len)
{
	const unsigned char *p = data;

	pthread_once(&table_once, make_table);
	crc = ~crc;
	for (; len >= 8; len -= 8, p += 8) {
		uint32_t a = crc ^ get32(p), b = get32(p + 4);

		crc = table[7][a & 0xff] ^ table[6][a >> 8 & 0xff] ^ table[5][a >> 16 & 0xff] ^
		      table[4][a >> 24] ^ table[3][b & 0xff] ^ table[2][b >> 8 & 0xff] ^
		      table[1][b >> 16 & 0xff] ^ table[0][b >> 24];
	}
	for (; len; len--, p++)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return ~crc;
}

/* ---- the header of a segment ------------------------------------------------------------------- */

/* Where its fields stand. */
enum {
	H_MAGIC = 0,
	H_VERSION = 8,
	H_NUMBER = 16,
	H_SALT = 24,
	H_FIRST = 32,
	H_NEXT_ID = 40,
	H_PREV_END = 48,
	H_CRC = 60
};
static const char magic[8] = "crewdjrn";

void jf_header_write(unsigned char out[JF_HEADER], const struct jf_header *h)
{
	memset(out, 0, JF_HEADER);
	memcpy(out + H_MAGIC, magic, sizeof(magic));
	set32(out + H_VERSION, JF_VERSION);
	set64(out + H_NUMBER, h->number);
	set64(out + H_SALT, h->salt);
	set64(out + H_FIRST, h->first);
	set64(out + H_NEXT_ID, h->next_id);
	set64(out + H_PREV_END, h->prev_end);
	set32(out + H_CRC, jf_crc32c(0, out, H_CRC));
}

const char *jf_header_read(const unsigned char in[JF_HEADER], struct jf_header *h)
{
	if (memcmp(in + H_MAGIC, magic, sizeof(magic)) != 0)
		return "is not a segment of a journal";
	if (get32(in + H_CRC) != jf_crc32c(0, in, H_CRC))
		return "has a damaged header";
	if (get32(in + H_VERSION) != JF_VERSION)
		return "was written by another version of crewd";
	h->number = get64(in + H_NUMBER);
	h->salt = get64(in + H_SALT);
	h->first = get64(in + H_FIRST);
	h->next_id = get64(in + H_NEXT_ID);
	h->prev_end = get64(in + H_PREV_END);
	if (h->first > h->number || h->prev_end % JF_ALIGN || h->prev_end > JF_SEGMENT_MAX ||
	    h->next_id > JF_ID_MAX)
		return "has a header that makes no sense";
	return NULL;
}

/* ---- records ----------------------------------------------------------------------------------- */

enum {
	R_CRC = 0,	/* of the rest of the head, the salt and the place */
	R_DATA_CRC = 4, /* of the data and what fills it up to a multiple of 8 */
	R_LEN = 8,
	R_BATCH = 12, /* in units of 8 bytes */
	R_ID = 16,
	R_DELIVERIES = 24,
	R_TYPE = 28 /* then three bytes that are 0 */
};

void jf_draft(unsigned char *out, const struct jf_record *r)
{
	size_t size = jf_size(r->len);

	assert(r->len <= JF_DATA_MAX);
	memset(out, 0, JF_HEAD);
	set32(out + R_LEN, r->len);
	set64(out + R_ID, r->id);
	set32(out + R_DELIVERIES, r->deliveries);
	out[R_TYPE] = (unsigned char)r->type;
	if (!r->len)
		return;
	memset(out + size - JF_ALIGN, 0, JF_ALIGN);
	memcpy(out + JF_HEAD, r->data, r->len);
}

size_t jf_draft_read(const unsigned char *draft, struct jf_record *r)
{
	*r = (struct jf_record){ .type = (enum jf_type)draft[R_TYPE],
				 .deliveries = get32(draft + R_DELIVERIES),
				 .id = get64(draft + R_ID),
				 .batch = (uint64_t)get32(draft + R_BATCH) * JF_ALIGN,
				 .data = draft + JF_HEAD,
				 .len = get32(draft + R_LEN) };
	return jf_size(r->len);
}

static uint32_t head_crc(const unsigned char *head, uint64_t salt, uint64_t offset)
{
	unsigned char place[16];

	set64(place, salt);
	set64(place + 8, offset);
	return jf_crc32c(jf_crc32c(0, head + R_DATA_CRC, JF_HEAD - R_DATA_CRC), place,
			 sizeof(place));
}

void jf_seal(unsigned char *draft, uint64_t salt, uint64_t offset, uint64_t batch)
{
	size_t data = jf_size(get32(draft + R_LEN)) - JF_HEAD;

	set32(draft + R_BATCH, (uint32_t)(batch / JF_ALIGN));
	set32(draft + R_DATA_CRC, jf_crc32c(0, draft + JF_HEAD, data));
	set32(draft + R_CRC, head_crc(draft, salt, offset));
}

/* What a head says that is right by its checksum, but that was never written so. */
static bool sensible(const struct jf_record *r, const unsigned char *head, uint64_t offset)
{
	static const unsigned char zeros[3];

	return r->type >= JF_PUT && r->type <= JF_END && r->len <= JF_DATA_MAX &&
	       r->id < JF_ID_MAX && (r->type == JF_PUT ? r->id != 0 : r->len == 0) &&
	       r->batch >= JF_HEADER && r->batch <= offset &&
	       memcmp(head + R_TYPE + 1, zeros, sizeof(zeros)) == 0;
}

enum jf_found jf_read(const unsigned char *in, size_t avail, uint64_t salt, uint64_t offset,
		      struct jf_record *r, size_t *need)
{
	*need = JF_HEAD;
	if (avail < JF_HEAD || in[R_TYPE] < JF_PUT || in[R_TYPE] > JF_END)
		return JF_NONE;
	if (get32(in + R_CRC) != head_crc(in, salt, offset))
		return JF_NONE;
	*need = jf_draft_read(in, r);
	if (!sensible(r, in, offset))
		return JF_NONE;
	if (avail < *need)
		return JF_MORE;
	if (get32(in + R_DATA_CRC) != jf_crc32c(0, in + JF_HEAD, *need - JF_HEAD))
		return JF_DAMAGED;
	return JF_FOUND;
}
