#include "lib/json_slice.h"

#include <string.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(struct json_slice s, size_t i)
{
	while (i < s.len && is_space(s.text[i]))
		i++;
	return i;
}

static size_t find(struct json_slice s, char c, size_t from, size_t end)
{
	const char *at = from < end ? memchr(s.text + from, c, end - from) : NULL;

	return at ? (size_t)(at - s.text) : end;
}

/* From the opening quote to behind the closing one. Nothing is looked at twice, however many escapes there are. */
static size_t skip_string(struct json_slice s, size_t i)
{
	size_t quote = find(s, '"', ++i, s.len);

	for (;;) {
		i = find(s, '\\', i, quote);
		if (i >= quote)
			break;
		i += 2;
		if (i > quote) /* that one was escaped */
			quote = find(s, '"', i, s.len);
	}
	return quote < s.len ? quote + 1 : s.len;
}

/* A number or a word. */
static size_t skip_plain(struct json_slice s, size_t i)
{
	while (i < s.len && !is_space(s.text[i]) && !strchr(",:]}[{\"", s.text[i]))
		i++;
	return i;
}

/* Behind the value that begins at i. */
static size_t skip_value(struct json_slice s, size_t i)
{
	size_t depth = 0;

	if (i < s.len && s.text[i] != '{' && s.text[i] != '[')
		return s.text[i] == '"' ? skip_string(s, i) : skip_plain(s, i);
	while (i < s.len) {
		char c = s.text[i];

		if (c == '"') {
			i = skip_string(s, i);
			continue;
		}
		i++;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			break;
	}
	return i;
}

static int hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;

	return at ? (int)(at - digits) : 16;
}

/* The character an escape stands for, *i behind it; -1: none that a key of ours has. */
static int escaped(struct json_slice s, size_t *i)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at = *i < s.len && s.text[*i] ? strchr(from, s.text[*i]) : NULL;
	int code = 0;

	if (at) {
		++*i;
		return to[at - from];
	}
	if (s.len - *i < 5 || s.text[*i] != 'u')
		return -1;
	for (size_t n = 1; n <= 4; n++)
		code = code * 16 + hex(s.text[*i + n]);
	*i += 5;
	return code < 0x80 ? code : -1;
}

/* Whether the string, with its quotes, is `key`; it may be written with escapes. */
static bool is_key(struct json_slice s, const char *key)
{
	size_t i = 1;

	for (; *key; key++) {
		int c = i < s.len ? s.text[i++] : -1;

		if (c == '"')
			return false;
		if (c == '\\')
			c = escaped(s, &i);
		if (c != *key)
			return false;
	}
	return i + 1 == s.len;
}

bool json_slice_member(struct json_slice object, const char *key, struct json_slice *value)
{
	size_t i = skip_space(object, 0);

	if (i >= object.len || object.text[i] != '{')
		return false;
	for (;;) {
		struct json_slice name;
		size_t end;

		i = skip_space(object, i + 1); /* behind { or , */
		if (i >= object.len || object.text[i] != '"')
			return false;
		end = skip_string(object, i);
		name = (struct json_slice){ object.text + i, end - i };
		i = skip_space(object, end);
		if (i >= object.len)
			return false;
		i = skip_space(object, i + 1); /* behind : */
		end = skip_value(object, i);
		if (is_key(name, key)) {
			*value = (struct json_slice){ object.text + i, end - i };
			return true;
		}
		i = skip_space(object, end);
		if (i >= object.len || object.text[i] != ',')
			return false;
	}
}

bool json_slice_next(struct json_slice array, size_t *at, struct json_slice *element)
{
	size_t i = skip_space(array, *at), end;

	if (i >= array.len || array.text[i] != (*at ? ',' : '['))
		return false;
	i = skip_space(array, i + 1);
	if (i >= array.len || array.text[i] == ']')
		return false;
	end = skip_value(array, i);
	*element = (struct json_slice){ array.text + i, end - i };
	*at = end;
	return true;
}

size_t json_slice_compact(struct json_slice slice, char *to)
{
	size_t used = 0;

	for (size_t i = 0; i < slice.len;) {
		size_t end = i + 1;

		if (slice.text[i] == '"')
			end = skip_string(slice, i);
		if (!is_space(slice.text[i])) {
			memcpy(to + used, slice.text + i, end - i);
			used += end - i;
		}
		i = end;
	}
	return used;
}

void json_slice_numbers(struct json_slice slice, void (*each)(size_t at, size_t len, void *arg),
			void *arg)
{
	for (size_t i = 0; i < slice.len;) {
		char c = slice.text[i];
		size_t end = i + 1;

		if (c == '"')
			end = skip_string(slice, i);
		else if (c == '-' || (c >= '0' && c <= '9'))
			end = skip_plain(slice, i);
		if (end > i + 1 || (c >= '0' && c <= '9'))
			if (c != '"')
				each(i, end - i, arg);
		i = end;
	}
}

/* Whether the string between the quotes is right as it stands, and stands for itself. */
static bool is_plain_text(const char *text, size_t len)
{
	unsigned char odd = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		odd |= c < 0x20 || c > 0x7e || c == '\\';
	}
	return !odd;
}

/* A string that ends before `end` is no key, and what stands before it is a bracket, a comma or that key. */
static bool is_in_place(struct json_slice s, char before, bool keyed, size_t end)
{
	size_t i = skip_space(s, end);

	return (i >= s.len || s.text[i] != ':') &&
	       (before == '[' || before == ',' || (before == ':' && keyed));
}

size_t json_slice_hollow(struct json_slice slice, const char *key, size_t longest, char *to)
{
	size_t used = 0, from = 0;
	bool keyed = false;
	char before = 0;

	for (size_t i = 0; i < slice.len;) {
		size_t begin = i, end;

		if (slice.text[i] != '"') {
			before = is_space(slice.text[i]) ? before : slice.text[i];
			i++;
			continue;
		}
		i = end = skip_string(slice, i);
		if (end - begin > longest + 2 && is_in_place(slice, before, keyed, end) &&
		    is_plain_text(slice.text + begin + 1, end - begin - 2)) {
			memcpy(to + used, slice.text + from, begin + 1 - from);
			used += begin + 1 - from;
			from = end - 1;
		}
		keyed = is_key((struct json_slice){ slice.text + begin, end - begin }, key);
		before = '"';
	}
	memcpy(to + used, slice.text + from, slice.len - from);
	return used + slice.len - from;
}
