#include <jansson.h>

#include "lib/message.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/json_plain.h"

#define HOLLOW_FROM 256 /* strings longer than this; shorter ones cost less than the copy */
#define SECONDS_MAX 9007199254.0 /* keeps microseconds within 2^53 */

/* ---- reading whole messages ------------------------------------------------------------------- */

/* Before a tree is built, as deep text costs the parser's stack and memory. */
static bool nesting_ok(const char *text, size_t len, int max)
{
	int depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
		if (depth > max)
			return false;
	}
	return true;
}

static size_t digits(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && text[n] >= '0' && text[n] <= '9')
		n++;
	return n;
}

/* Whether all of it is a number, by JSON's grammar: what is none must not be hidden from the parser. */
static bool is_number(const char *text, size_t len)
{
	size_t i = len && text[0] == '-', n = digits(text + i, len - i);

	if (!n || (n > 1 && text[i] == '0'))
		return false;
	i += n;
	if (i < len && text[i] == '.') {
		n = digits(text + i + 1, len - i - 1);
		if (!n)
			return false;
		i += n + 1;
	}
	if (i == len)
		return true;
	if (text[i] != 'e' && text[i] != 'E')
		return false;
	i++;
	if (i < len && (text[i] == '+' || text[i] == '-'))
		i++;
	n = digits(text + i, len - i);
	return n && i + n == len;
}

/* A number that is too large becomes an empty object of the same length: no reader of parameters takes that. */
static void mask(size_t at, size_t len, void *arg)
{
	char *text = (char *)arg + at;
	bool large;

	errno = 0;
	if (memchr(text, '.', len) || memchr(text, 'e', len) || memchr(text, 'E', len))
		large = isinf(strtod(text, NULL)) != 0;
	else
		large = strtoll(text, NULL, 10) != 0 && errno == ERANGE;
	if (!large || !is_number(text, len))
		return;
	memset(text, ' ', len);
	text[0] = '{';
	text[len - 1] = '}';
}

/* `nesting`: what is left of it must allow for the objects that stand for numbers. */
static json_t *load(const char *text, size_t len, int nesting, size_t flags, bool *overflow,
		    json_error_t *error)
{
	json_t *root = json_loadb(text, len, flags, error);
	char *copy;

	*overflow = !root && json_error_code(error) == json_error_numeric_overflow;
	copy = *overflow ? malloc(len + 1) : NULL;
	if (!copy)
		return root;
	memcpy(copy, text, len);
	copy[len] = '\0';
	json_slice_numbers((struct json_slice){ text, len }, mask, copy);
	if (nesting_ok(copy, len, nesting))
		root = json_loadb(copy, len, flags, error);
	free(copy);
	return root;
}

static json_t *parse(const char *text, size_t len, size_t flags, bool *overflow, const char **why)
{
	json_error_t error;
	json_t *root;

	if (len > CREW_MESSAGE_MAX) {
		*why = "longer than a message may be";
		return NULL;
	}
	if (!nesting_ok(text, len, CREW_NESTING_MAX)) {
		*why = "nested too deeply";
		return NULL;
	}
	root = load(text, len, CREW_NESTING_MAX, JSON_REJECT_DUPLICATES | flags, overflow, &error);
	if (!root || !json_is_object(root)) {
		json_decref(root);
		*why = root ? "not a JSON object" : "not JSON";
		return NULL;
	}
	return root;
}

/* The parameters of a message: absent, null and {} are the same. */
static bool take_params(json_t *value, json_t **out)
{
	*out = NULL;
	if (!value || json_is_null(value))
		return true;
	if (!json_is_object(value))
		return false;
	if (json_object_size(value))
		*out = value;
	return true;
}

static bool *flag_of(struct message_call *call, const char *key)
{
	if (strcmp(key, "more") == 0)
		return &call->more;
	if (strcmp(key, "oneway") == 0)
		return &call->oneway;
	return strcmp(key, "upgrade") == 0 ? &call->upgrade : NULL;
}

/* One member of a call. NULL, or why it is wrong. Keys with a dot are extensions, to be ignored. */
static const char *take_member(struct message_call *call, const char *key, json_t *value)
{
	bool *flag = flag_of(call, key);

	if (flag) {
		*flag = json_is_true(value);
		return json_is_boolean(value) || json_is_null(value) ? NULL
								     : "a flag is not a boolean";
	}
	if (strcmp(key, "method") == 0) {
		call->method = json_is_plain(value) ? json_string_value(value) : NULL;
		return call->method ? NULL : "method is not a string without NUL";
	}
	if (strcmp(key, "parameters") == 0)
		return take_params(value, &call->params) ? NULL : "parameters is not an object";
	return strchr(key, '.') ? NULL : "an unknown key";
}

static const char *take_call(struct message_call *call)
{
	const char *key, *why;
	json_t *value;

	json_object_foreach(call->root, key, value)
	{
		why = take_member(call, key, value);
		if (why)
			return why;
	}
	if (!call->method || !strchr(call->method, '.'))
		return "no method of an interface is named";
	if (call->more + call->oneway + call->upgrade > 1)
		return "more than one flag";
	return NULL;
}

/* `text` is what is parsed, `whole` what has come. */
static int read_call(struct json_slice text, struct json_slice whole, struct message_call *call,
		     const char **why)
{
	memset(call, 0, sizeof(*call));
	/* Strings with U+0000 are for readers of parameters to refuse. */
	call->root = parse(text.text, text.len, JSON_ALLOW_NUL, &call->overflow, why);
	if (!call->root)
		return -1;
	call->text = whole;
	*why = take_call(call);
	if (!*why)
		return 0;
	message_call_free(call);
	return -1;
}

int message_read_call(const char *text, size_t len, struct message_call *call, const char **why)
{
	struct json_slice whole = { text, len };

	return read_call(whole, whole, call, why);
}

int message_read_hollow(const char *text, size_t len, struct message_call *call, bool *hollow,
			const char **why)
{
	struct json_slice whole = { text, len }, rest = whole;
	char *copy = len > HOLLOW_FROM && len <= CREW_MESSAGE_MAX ? malloc(len) : NULL;
	int done;

	if (copy)
		rest = (struct json_slice){ copy,
					    json_slice_hollow(whole, "item", HOLLOW_FROM, copy) };
	*hollow = rest.len != len;
	done = read_call(rest, whole, call, why);
	free(copy);
	return done;
}

void message_call_free(struct message_call *call)
{
	json_decref(call->root);
	memset(call, 0, sizeof(*call));
}

/* Replies may be larger than calls: their bound is that of the output. */
int message_read_reply(const char *text, size_t len, struct message_reply *reply, const char **why)
{
	bool overflow;
	json_error_t error;
	json_t *value;
	char *copy;

	memset(reply, 0, sizeof(*reply));
	*why = "not a reply";
	/* What was the item of a call may be one of the items of a reply. */
	if (!nesting_ok(text, len, CREW_NESTING_MAX + 1))
		return -1;
	copy = malloc(len + 1);
	if (!copy)
		return -1;
	memcpy(copy, text, len);
	reply->text = (struct json_slice){ copy, len };
	/* A task's result may be any string, one with U+0000 too. */
	reply->root = load(text, len, CREW_NESTING_MAX + 1, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
			   &overflow, &error);
	value = json_object_get(reply->root, "error");
	reply->error = json_string_value(value);
	reply->continues = json_is_true(json_object_get(reply->root, "continues"));
	if (!json_is_object(reply->root) || (value && !reply->error) ||
	    !take_params(json_object_get(reply->root, "parameters"), &reply->params)) {
		message_reply_free(reply);
		return -1;
	}
	return 0;
}

void message_reply_free(struct message_reply *reply)
{
	json_decref(reply->root);
	free((char *)(uintptr_t)reply->text.text);
	memset(reply, 0, sizeof(*reply));
}

bool message_param_text(struct json_slice message, const char *name, struct json_slice *value)
{
	struct json_slice params;

	return json_slice_member(message, "parameters", &params) &&
	       json_slice_member(params, name, value);
}

void message_response_free(struct message_response *r)
{
	json_decref(r->root);
	memset(r, 0, sizeof(*r));
}

static const char *take_response(struct message_response *r)
{
	const json_t *id = json_object_get(r->root, "id");
	const char *version = json_string_value(json_object_get(r->root, "jsonrpc"));

	r->result = json_object_get(r->root, "result");
	r->error = json_object_get(r->root, "error");
	r->has_id = json_is_integer(id);
	r->id = json_integer_value(id);
	if (!version || strcmp(version, "2.0") != 0)
		return "it lacks \"jsonrpc\":\"2.0\"";
	if (r->error && json_is_null(r->error) && r->result)
		r->error = NULL; /* many write both */
	if (!r->result == !r->error)
		return "it has not exactly one of result and error";
	return r->error && !json_is_object(r->error) ? "its error is not an object" : NULL;
}

int message_read_response(const char *text, size_t len, struct message_response *r,
			  const char **why)
{
	bool overflow;

	memset(r, 0, sizeof(*r));
	r->has_id = len <= CREW_MESSAGE_MAX &&
		    json_plain_response(text, len, &r->id, &r->plain, &r->plain_len);
	if (r->has_id)
		return 0;
	r->root = parse(text, len, 0, &overflow, why);
	if (!r->root)
		return -1;
	*why = overflow ? "a number is too large" : take_response(r);
	if (!*why)
		return 0;
	message_response_free(r);
	return -1;
}

/* ---- parameters ------------------------------------------------------------------------------- */

void params_begin(struct params *p, struct json_t *object)
{
	memset(p, 0, sizeof(*p));
	p->object = object;
}

static bool wrong(struct params *p, const char *name, const char *would_be_right)
{
	p->bad = name;
	p->bad_why = would_be_right;
	return false;
}

/* The member, NULL when there is none (or null), or when something was wrong before. */
static json_t *member(struct params *p, const char *name, bool required, const char *what)
{
	json_t *value = p->bad ? NULL : json_object_get(p->object, name);

	if (p->bad)
		return NULL;
	assert(p->asked_count < PARAMS_MAX);
	p->asked[p->asked_count++] = name;
	if (json_is_null(value))
		value = NULL;
	if (!value && required)
		wrong(p, name, what);
	return value;
}

static bool plain_string(const json_t *value)
{
	return json_is_string(value) &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

bool params_string(struct params *p, const char *name, bool required, const char **out)
{
	static const char what[] = "a string without NUL";
	json_t *value = member(p, name, required, what);

	if (!value)
		return false;
	if (!plain_string(value))
		return wrong(p, name, what);
	*out = json_string_value(value);
	return true;
}

bool params_bool(struct params *p, const char *name, bool *out)
{
	json_t *value = member(p, name, false, NULL);

	if (!value)
		return false;
	if (!json_is_boolean(value))
		return wrong(p, name, "true or false");
	*out = json_is_true(value);
	return true;
}

bool params_int(struct params *p, const char *name, bool required, int64_t min, int64_t max,
		int64_t *out)
{
	json_t *value;

	if (!p->bad)
		snprintf(p->why_space, sizeof(p->why_space), "an integer from %lld to %lld",
			 (long long)min, (long long)max);
	value = member(p, name, required, p->why_space);
	if (!value)
		return false;
	if (!json_is_integer(value) || json_integer_value(value) < min ||
	    json_integer_value(value) > max)
		return wrong(p, name, p->why_space);
	*out = json_integer_value(value);
	return true;
}

bool params_seconds(struct params *p, const char *name, int64_t *usec)
{
	json_t *value = member(p, name, false, NULL);
	double seconds;

	if (!value)
		return false;
	seconds = json_number_value(value);
	if (!json_is_number(value) || !isfinite(seconds) || seconds < 0)
		return wrong(p, name, "a number of seconds, 0 or more");
	*usec = (int64_t)((seconds < SECONDS_MAX ? seconds : SECONDS_MAX) * (double)USEC_PER_SEC);
	return true;
}

bool params_strings(struct params *p, const char *name, bool required, unsigned max,
		    const char ***out, unsigned *count)
{
	static const char what[] = "a list of strings without NUL";
	json_t *value = member(p, name, required, what);
	size_t n = json_array_size(value);
	const char **strings;

	if (!value)
		return false;
	if (!json_is_array(value))
		return wrong(p, name, what);
	if (n > max)
		return wrong(p, name, "a shorter list");
	strings = calloc(n + 1, sizeof(*strings));
	if (!strings)
		return wrong(p, name, "a shorter list: there is no memory for this one");
	for (size_t i = 0; i < n; i++) {
		if (!plain_string(json_array_get(value, i))) {
			free(strings);
			return wrong(p, name, what);
		}
		strings[i] = json_string_value(json_array_get(value, i));
	}
	*out = strings;
	*count = (unsigned)n;
	return true;
}

bool params_value(struct params *p, const char *name, bool required, struct json_t **out)
{
	*out = member(p, name, required, "a value");
	return *out;
}

bool params_array(struct params *p, const char *name, bool required, struct json_t **out)
{
	*out = member(p, name, required, "a list");
	if (*out && !json_is_array(*out)) {
		*out = NULL;
		return wrong(p, name, "a list");
	}
	return *out;
}

bool params_bytes(struct params *p, const char *name, const char **out, size_t *len)
{
	json_t *value = member(p, name, false, NULL);

	if (!value)
		return false;
	if (!json_is_string(value))
		return wrong(p, name, "a string");
	*out = json_string_value(value);
	*len = json_string_length(value);
	return true;
}

static bool was_asked(const struct params *p, const char *name)
{
	for (unsigned i = 0; i < p->asked_count; i++)
		if (strcmp(p->asked[i], name) == 0)
			return true;
	return false;
}

void params_forget(struct params *p, const char *name)
{
	json_object_del(p->object, name);
}

bool params_done(struct params *p)
{
	const char *key;
	json_t *value;

	if (p->bad)
		return false;
	json_object_foreach(p->object, key, value)
	{
		if (!was_asked(p, key))
			return wrong(p, key, "left out: there is no such parameter");
	}
	return true;
}

/* ---- writing ---------------------------------------------------------------------------------- */

int message_write_call(struct buf *out, const char *method, const char *params, size_t len,
		       unsigned flags)
{
	struct json_writer w = json_writer(out);
	size_t mark = out->len;

	jw_object(&w);
	jw_key(&w, "method");
	jw_string(&w, method);
	if (params) {
		jw_key(&w, "parameters");
		jw_raw(&w, params, len);
	}
	if (flags) {
		jw_key(&w, flags & MESSAGE_MORE ? "more" : "oneway");
		jw_bool(&w, true);
	}
	jw_end_object(&w);
	if (jw_ok(&w) && buf_append(out, "", 1) == 0)
		return 0;
	out->len = mark;
	return -1;
}

static void write_begin(struct message_write *m, struct buf *out)
{
	m->json = json_writer(out);
	m->mark = out->len;
	jw_object(&m->json);
}

static int write_end(struct message_write *m)
{
	jw_end_object(&m->json);
	if (jw_ok(&m->json) && buf_append(m->json.out, "", 1) == 0)
		return 0;
	m->json.out->len = m->mark;
	return -1;
}

void message_write_reply(struct message_write *m, struct buf *out)
{
	write_begin(m, out);
	jw_key(&m->json, "parameters");
}

int message_write_reply_end(struct message_write *m, bool continues)
{
	if (continues) {
		jw_key(&m->json, "continues");
		jw_bool(&m->json, true);
	}
	return write_end(m);
}

void message_write_error(struct message_write *m, struct buf *out, const char *error)
{
	write_begin(m, out);
	jw_key(&m->json, "error");
	jw_string(&m->json, error);
	jw_key(&m->json, "parameters");
}

int message_write_error_end(struct message_write *m)
{
	return write_end(m);
}

/* ---- looking into replies --------------------------------------------------------------------- */

struct json_t *json_get(const struct json_t *object, const char *key)
{
	return json_object_get(object, key);
}

const char *json_get_string(const struct json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

const char *json_as_string(const struct json_t *value)
{
	return json_string_value(value);
}

bool json_get_int(const struct json_t *object, const char *key, int64_t *out)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		return false;
	*out = json_integer_value(value);
	return true;
}

bool json_get_double(const struct json_t *object, const char *key, double *out)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_number(value))
		return false;
	*out = json_number_value(value);
	return true;
}

bool json_get_bool(const struct json_t *object, const char *key, bool *out)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_boolean(value))
		return false;
	*out = json_is_true(value);
	return true;
}

bool json_is_plain(const struct json_t *value)
{
	return json_is_string(value) && plain_string(value);
}

size_t json_size(const struct json_t *object)
{
	return json_object_size(object);
}

size_t json_count(const struct json_t *array)
{
	return json_array_size(array);
}

struct json_t *json_at(const struct json_t *array, size_t i)
{
	return json_array_get(array, i);
}

const char *json_as_bytes(const struct json_t *value, size_t *len)
{
	*len = json_string_length(value);
	return json_string_value(value);
}

char json_kind(const struct json_t *value)
{
	static const char kinds[] = {
		[JSON_OBJECT] = '{', [JSON_ARRAY] = '[', [JSON_STRING] = '"', [JSON_INTEGER] = '0',
		[JSON_REAL] = '0',   [JSON_TRUE] = 't',	 [JSON_FALSE] = 'f',  [JSON_NULL] = 'n'
	};

	return value ? kinds[json_typeof(value)] : 'n';
}

static json_t *read_value(const char *text, size_t len, int spare, size_t flags, bool *overflow,
			  const char **why)
{
	static __thread char space[JSON_ERROR_TEXT_LENGTH + 64];
	json_error_t error;
	json_t *value;

	*overflow = false;
	*why = "nested too deeply";
	if (!nesting_ok(text, len, CREW_NESTING_MAX - spare))
		return NULL;
	value = load(text, len, CREW_NESTING_MAX - spare,
		     JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, overflow, &error);
	*why = "not JSON: a number is too large";
	if (value)
		return value;
	snprintf(space, sizeof(space), "not JSON: column %d: %s", error.column, error.text);
	*why = space;
	return NULL;
}

struct json_t *json_read(const char *text, size_t len, int spare, const char **why)
{
	bool overflow;
	json_t *value = read_value(text, len, spare, 0, &overflow, why);

	if (!overflow)
		return value;
	json_decref(value);
	return NULL;
}

struct json_t *json_read_back(const char *text, size_t len)
{
	bool overflow;
	const char *why;
	json_t *value = read_value(text, len, 0, JSON_ALLOW_NUL, &overflow, &why);

	if (!overflow)
		return value;
	json_decref(value);
	return NULL;
}

bool json_valid(const char *text, size_t len, int spare, const char **why)
{
	bool overflow;
	json_t *value = read_value(text, len, spare, JSON_ALLOW_NUL, &overflow, why);

	json_decref(value);
	return value != NULL;
}

void json_free(struct json_t *value)
{
	json_decref(value);
}

char *json_text(const struct json_t *value)
{
	return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}
