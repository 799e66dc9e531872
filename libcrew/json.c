/* JSON text in, text out: what is needed to write parameters and to read replies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "lib/json_writer.h"
#include "lib/text.h"
#include "libcrew/api.h"

static bool is_utf8(const char *text, size_t len)
{
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		n = text[i] ? text_utf8_sequence(text + i, len - i) : 1;
		if (n == 0)
			return false;
	}
	return true;
}

char *crew_json_quote(const char *text, size_t len)
{
	struct buf out = { .max = SIZE_MAX / 2 };
	struct json_writer json = json_writer(&out);

	if (!is_utf8(text, len)) {
		errno = EILSEQ;
		return NULL;
	}
	jw_string_n(&json, text, len);
	if (jw_ok(&json) && buf_append(&out, "", 1) == 0)
		return out.data; /* nothing was consumed: it begins there */
	buf_free(&out);
	errno = ENOMEM;
	return NULL;
}

static struct json_slice all_of(const char *json)
{
	return (struct json_slice){ json, strlen(json) };
}

char *crew_json_get(const char *json, const char *key)
{
	struct json_slice value;

	errno = 0;
	return json_slice_member(all_of(json), key, &value) ? api_copy(value.text, value.len)
							    : NULL;
}

char *crew_json_at(const char *json, size_t index)
{
	struct json_slice value;
	size_t at = 0;

	errno = 0;
	do
		if (!json_slice_next(all_of(json), &at, &value))
			return NULL;
	while (index--);
	return api_copy(value.text, value.len);
}

char *crew_json_string(const char *json, size_t *len)
{
	struct json_t *value = json_read_back(json, strlen(json));
	size_t size;
	const char *bytes = json_as_bytes(value, &size);
	char *text = NULL;

	errno = 0;
	if (bytes)
		text = api_copy(bytes, size);
	if (text && len)
		*len = size;
	json_free(value);
	return text;
}
