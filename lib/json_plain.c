#include "lib/json_plain.h"

#include <string.h>
#include "lib/text.h"

#define DEPTH_MAX  8
#define DIGITS_MAX 15 /* as many are exact in a double and fit into an integer */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t space(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r'))
		i++;
	return i;
}

static size_t string(const char *s, size_t len)
{
	for (size_t i = 1; i < len;) {
		unsigned char c = (unsigned char)s[i];
		size_t n = 1;

		if (c == '"')
			return i + 1;
		if (c < 0x20 || c == '\\')
			return 0;
		if (c >= 0x80)
			n = text_utf8_sequence(s + i, len - i);
		if (!n)
			return 0;
		i += n;
	}
	return 0;
}

static size_t digits(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len && is_digit(s[i]))
		i++;
	return i;
}

static size_t integer(const char *s, size_t len)
{
	size_t minus = len && s[0] == '-', n = digits(s + minus, len - minus);

	if (!n || n > DIGITS_MAX || (n > 1 && s[minus] == '0'))
		return 0;
	return minus + n;
}

static size_t number(const char *s, size_t len)
{
	size_t i = integer(s, len), n;

	if (i && i < len && s[i] == '.') {
		n = digits(s + i + 1, len - i - 1);
		i = n && i + n <= DIGITS_MAX ? i + 1 + n : 0;
	}
	return i && i < len && (s[i] == 'e' || s[i] == 'E') ? 0 : i;
}

static size_t word(const char *s, size_t len)
{
	static const char *const words[] = { "null", "true", "false" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		size_t n = strlen(words[i]);

		if (n <= len && memcmp(s, words[i], n) == 0)
			return n;
	}
	return 0;
}

static size_t value(const char *s, size_t len, int depth);

static size_t array(const char *s, size_t len, int depth)
{
	size_t i = 1 + space(s + 1, len - 1), n;

	if (i < len && s[i] == ']')
		return i + 1;
	while (i < len && depth < DEPTH_MAX) {
		n = value(s + i, len - i, depth + 1);
		i += n + space(s + i + n, len - i - n);
		if (!n || i >= len)
			return 0;
		if (s[i] == ']')
			return i + 1;
		if (s[i++] != ',')
			return 0;
		i += space(s + i, len - i);
	}
	return 0;
}

static size_t value(const char *s, size_t len, int depth)
{
	if (!len)
		return 0;
	if (s[0] == '"')
		return string(s, len);
	if (s[0] == '[')
		return array(s, len, depth);
	return s[0] == '-' || is_digit(s[0]) ? number(s, len) : word(s, len);
}

size_t json_plain_value(const char *text, size_t len)
{
	return value(text, len, 0);
}

/* ---- a response ------------------------------------------------------------------------------- */

struct response {
	int64_t id;
	const char *result;
	size_t result_len;
};

static size_t take_version(const char *s, size_t len, struct response *r)
{
	(void)r;
	return len >= 5 && memcmp(s, "\"2.0\"", 5) == 0 ? 5 : 0;
}

static size_t take_id(const char *s, size_t len, struct response *r)
{
	size_t n = integer(s, len), minus = n && s[0] == '-';

	for (size_t i = minus; i < n; i++)
		r->id = r->id * 10 + (s[i] - '0');
	if (minus)
		r->id = -r->id;
	return n; /* what goes on as a fraction is followed by no comma */
}

static size_t take_result(const char *s, size_t len, struct response *r)
{
	r->result = s;
	r->result_len = value(s, len, 0);
	return r->result_len;
}

static const struct member {
	const char *key;
	size_t (*take)(const char *s, size_t len, struct response *r);
} members[] = {
	{ "\"jsonrpc\"", take_version },
	{ "\"id\"", take_id },
	{ "\"result\"", take_result },
};
#define ALL 7u

/* One member, with the space around it; 0: it is another one, or one that was there already. */
static size_t member(const char *s, size_t len, struct response *r, unsigned *seen)
{
	for (unsigned k = 0; k < sizeof(members) / sizeof(*members); k++) {
		size_t i = strlen(members[k].key), n;

		if (*seen & 1u << k || i > len || memcmp(s, members[k].key, i) != 0)
			continue;
		i += space(s + i, len - i);
		if (i >= len || s[i++] != ':')
			return 0;
		i += space(s + i, len - i);
		n = members[k].take(s + i, len - i, r);
		i += n;
		*seen |= 1u << k;
		return n ? i + space(s + i, len - i) : 0;
	}
	return 0;
}

bool json_plain_response(const char *text, size_t len, int64_t *id, const char **result,
			 size_t *result_len)
{
	struct response r = { 0 };
	unsigned seen = 0;
	size_t i = space(text, len), n;

	while (i < len && text[i] == (seen ? ',' : '{')) {
		i++;
		i += space(text + i, len - i);
		n = member(text + i, len - i, &r, &seen);
		if (!n)
			return false;
		i += n;
	}
	if (seen != ALL || i >= len || text[i] != '}' ||
	    i + 1 + space(text + i + 1, len - i - 1) != len)
		return false;
	*id = r.id;
	*result = r.result;
	*result_len = r.result_len;
	return true;
}
