#include "lib/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include "lib/text.h"

/* Most often there is room already. */
static inline void put(struct json_writer *w, const char *s, size_t len)
{
	struct buf *b = w->out;

	if (w->failed)
		return;
	if (b->data && len <= b->cap - b->start - b->len) {
		memcpy(b->data + b->start + b->len, s, len);
		b->len += len;
	} else if (buf_append(b, s, len) < 0) {
		w->failed = true;
	}
}

static void before_value(struct json_writer *w)
{
	if (w->comma)
		put(w, ",", 1);
	w->comma = true;
}

static void begin(struct json_writer *w, const char *bracket)
{
	before_value(w);
	put(w, bracket, 1);
	w->comma = false;
}

static void end(struct json_writer *w, const char *bracket)
{
	put(w, bracket, 1);
	w->comma = true;
}

void jw_object(struct json_writer *w)
{
	begin(w, "{");
}

void jw_end_object(struct json_writer *w)
{
	end(w, "}");
}

void jw_array(struct json_writer *w)
{
	begin(w, "[");
}

void jw_end_array(struct json_writer *w)
{
	end(w, "]");
}

static void put_special(struct json_writer *w, unsigned char c)
{
	static const char names[32] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};
	char text[8];

	if (c == '"' || c == '\\')
		snprintf(text, sizeof(text), "\\%c", c);
	else if (names[c])
		snprintf(text, sizeof(text), "\\%c", names[c]);
	else
		snprintf(text, sizeof(text), "\\u%04x", c);
	put(w, text, strlen(text));
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void put_text(struct json_writer *w, const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t plain = 0, i = 0;

	while (i < len) {
		size_t n;

		if (is_plain(u[i])) {
			i++;
			continue;
		}
		n = u[i] ? text_utf8_sequence(s + i, len - i) : 1;
		if (n > 1) {
			i += n;
			continue;
		}
		put(w, s + plain, i - plain);
		if (n)
			put_special(w, u[i]);
		else
			put(w, "\xef\xbf\xbd", 3);
		plain = ++i;
	}
	put(w, s + plain, len - plain);
}

void jw_string_n(struct json_writer *w, const char *s, size_t len)
{
	before_value(w);
	put(w, "\"", 1);
	put_text(w, s, len);
	put(w, "\"", 1);
}

void jw_string(struct json_writer *w, const char *s)
{
	if (s)
		jw_string_n(w, s, strlen(s));
	else
		jw_null(w);
}

void jw_key(struct json_writer *w, const char *key)
{
	jw_string(w, key);
	put(w, ":", 1);
	w->comma = false;
}

void jw_raw(struct json_writer *w, const char *text, size_t len)
{
	before_value(w);
	put(w, text, len);
}

static size_t encode(const unsigned char *u, size_t len, char out[4])
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t v =
		(uint32_t)u[0] << 16 | (len > 1 ? (uint32_t)u[1] << 8 : 0) | (len > 2 ? u[2] : 0);

	for (int i = 0; i < 4; i++)
		out[i] = digits[v >> (18 - 6 * i) & 63];
	if (len < 3)
		out[3] = '=';
	if (len < 2)
		out[2] = '=';
	return len < 3 ? len : 3;
}

void jw_base64(struct json_writer *w, const void *data, size_t len)
{
	const unsigned char *u = data;
	char four[4];

	before_value(w);
	put(w, "\"", 1);
	for (size_t i = 0; i < len;) {
		i += encode(u + i, len - i, four);
		put(w, four, sizeof(four));
	}
	put(w, "\"", 1);
}

void jw_int(struct json_writer *w, int64_t v)
{
	char text[TEXT_DIGITS + 1];
	size_t n = 0;

	if (v < 0)
		text[n++] = '-';
	n += text_digits(text + n, v < 0 ? -(uint64_t)v : (uint64_t)v);
	jw_raw(w, text, n);
}

void jw_seconds(struct json_writer *w, int64_t usec)
{
	uint64_t size = usec < 0 ? -(uint64_t)usec : (uint64_t)usec, part = size % 1000000;
	char text[TEXT_DIGITS + 8];
	size_t n = 0;

	if (usec < 0)
		text[n++] = '-';
	n += text_digits(text + n, size / 1000000);
	text[n++] = '.';
	for (unsigned digit = 100000; digit; digit /= 10)
		text[n++] = (char)('0' + part / digit % 10);
	jw_raw(w, text, n);
}

void jw_double(struct json_writer *w, double v)
{
	char text[400];
	int n;

	if (!isfinite(v)) {
		jw_null(w);
		return;
	}
	n = snprintf(text, sizeof(text), "%.6f", v);
	jw_raw(w, text, (size_t)n);
}

void jw_bool(struct json_writer *w, bool v)
{
	jw_raw(w, v ? "true" : "false", v ? 4 : 5);
}

void jw_null(struct json_writer *w)
{
	jw_raw(w, "null", 4);
}
