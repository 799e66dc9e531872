/*
 * The bytes of a queue's journal, and nothing else: no file, no clock, no memory of its own. A journal
 * is a row of segments; a segment is a header and then records, each at a multiple of 8. What is not
 * written yet is zero.
 *
 * Every bit counts in some checksum (CRC-32C), and a record's head is bound to its segment (a random
 * salt) and to its place, so that no bytes from elsewhere pass for it. A head is checked before its
 * length is believed. All that is written by one fdatasync is a batch, and each record tells where its
 * batch begins: a batch is written only when the one before it is on disk, so a good record of a later
 * batch proves that what stands before it once was whole. Numbers are little endian.
 */
#ifndef CREWD_JOURNAL_FORMAT_H
#define CREWD_JOURNAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JF_VERSION     1u
#define JF_HEADER      64u /* bytes of a segment's header */
#define JF_HEAD	       32u /* of a record's head; a record without data is just that */
#define JF_ALIGN       8u
#define JF_DATA_MAX    (1024u * 1024u)
#define JF_RECORD_MAX  (JF_HEAD + JF_DATA_MAX)
#define JF_ID_MAX      (UINT64_C(1) << 62)
#define JF_SEGMENT_MAX (UINT64_C(1) << 30) /* no segment grows beyond */

enum jf_type {
	JF_PUT = 1, /* an item; a second one with the same id is its copy, and holds from now on */
	JF_TAKE,    /* that item is gone */
	JF_DELIVER, /* it was handed out that often */
	JF_DROP,    /* segments before the one that `id` numbers are not needed any more */
	JF_END	    /* the journal was closed in order: all before was on disk */
};

struct jf_header {
	uint64_t number;
	uint64_t salt;
	uint64_t first;	  /* segments before this one were not needed when it was made */
	uint64_t next_id; /* above every id that was ever used */
	uint64_t
		prev_end; /* where the segment before ends: all of it is on disk. 0: there was none */
};

struct jf_record {
	enum jf_type type;
	uint32_t deliveries;
	uint64_t id;
	uint64_t batch; /* offset of its batch */
	const void *data;
	uint32_t len;
};

uint32_t jf_crc32c(uint32_t crc, const void *data, size_t len); /* begins with 0 */

static inline size_t jf_size(size_t len)
{
	return JF_HEAD + ((len + JF_ALIGN - 1) & ~(size_t)(JF_ALIGN - 1));
}

void jf_header_write(unsigned char out[JF_HEADER], const struct jf_header *h);
/* NULL, or what is wrong with it. */
const char *jf_header_read(const unsigned char in[JF_HEADER], struct jf_header *h);

/* A record as it waits for its place: without batch and checksums. `out` has jf_size(len) bytes. */
void jf_draft(unsigned char *out, const struct jf_record *r);
/* What a draft says (trusted bytes); the size it takes. */
size_t jf_draft_read(const unsigned char *draft, struct jf_record *r);
/* Makes a draft a record that stands at `offset` of the segment with that salt. */
void jf_seal(unsigned char *draft, uint64_t salt, uint64_t offset, uint64_t batch);

enum jf_found {
	JF_FOUND,   /* a whole, undamaged record */
	JF_MORE,    /* its head is good; it takes *need bytes, and there are fewer */
	JF_DAMAGED, /* its head is good, its data is not; the next one is *need bytes on */
	JF_NONE	    /* not a record */
};
/* Reads what stands at `offset`, of which `avail` bytes are at `in`. */
enum jf_found jf_read(const unsigned char *in, size_t avail, uint64_t salt, uint64_t offset,
		      struct jf_record *r, size_t *need);

#endif
