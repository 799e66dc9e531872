#include "ctl/task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctl/verbs.h"
#include "lib/bounds.h"
#include "lib/text.h"

/* ---- from the command line -------------------------------------------------------------------- */

static int put_json(struct ctl *ctl, struct params_out *p, const char *what, const char *text,
		    const char *kinds)
{
	const char *why;
	struct json_t *value = json_read(text, strlen(text), TASK_NESTING, &why);

	if (!value)
		return ctl_usage(ctl, "%s %.60s: %s", what, text, why);
	if (kinds && !strchr(kinds, json_kind(value))) {
		json_free(value);
		return ctl_usage(ctl, "%s %.60s is neither an array nor an object", what, text);
	}
	json_free(value);
	jw_raw(&p->json, text, strlen(text));
	return 0;
}

static int put_args(struct ctl *ctl, struct params_out *p)
{
	int r = 0;

	if (ctl->count < 2)
		return 0;
	jw_key(&p->json, "args");
	jw_array(&p->json);
	for (int i = 1; r == 0 && i < ctl->count; i++)
		if (ctl->json_args)
			r = put_json(ctl, p, "argument", ctl->args[i], NULL);
		else if (text_utf8_ok(ctl->args[i], strlen(ctl->args[i])))
			jw_string(&p->json, ctl->args[i]);
		else
			r = ctl_usage(ctl, "argument %d is not UTF-8", i);
	jw_end_array(&p->json);
	return r;
}

int read_all(int fd, struct buf *text)
{
	text->max = CREW_MESSAGE_MAX + 1;
	while (text->len < text->max) {
		size_t want = text->max - text->len < 65536 ? text->max - text->len : 65536;
		char *room = buf_room(text, want);
		ssize_t n = room ? read(fd, room, want) : -1;

		if (n < 0 && room && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		text->len += (size_t)n;
	}
	return 0;
}

static int put_input_file(struct ctl *ctl, struct params_out *p)
{
	bool standard = strcmp(ctl->input_file, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(ctl->input_file, O_RDONLY | O_CLOEXEC);
	struct buf text = { 0 };
	int r = fd < 0 ? -1 : read_all(fd, &text);

	if (r < 0)
		r = ctl_usage(ctl, "--input-file %s: %s", ctl->input_file, strerror(errno));
	else if (text.len > CREW_MESSAGE_MAX)
		r = ctl_usage(ctl, "--input-file %s is too long: a call may have %d bytes",
			      ctl->input_file, CREW_MESSAGE_MAX);
	else if (text.len && !text_utf8_ok(buf_data(&text), text.len))
		r = ctl_usage(ctl, "--input-file %s is not UTF-8 without NUL", ctl->input_file);
	if (r == 0) {
		jw_key(&p->json, "input");
		jw_string_n(&p->json, text.len ? buf_data(&text) : "", text.len);
	}
	if (fd >= 0 && !standard)
		close(fd);
	buf_free(&text);
	return r;
}

static int put_input(struct ctl *ctl, struct params_out *p)
{
	if (ctl->input && ctl->input_file)
		return ctl_usage(ctl, "--input and --input-file do not go together");
	if (ctl->input_file)
		return put_input_file(ctl, p);
	if (ctl->input && !text_utf8_ok(ctl->input, strlen(ctl->input)))
		return ctl_usage(ctl, "--input is not UTF-8");
	ctl_param_string(p, "input", ctl->input);
	return 0;
}

int task_params(struct ctl *ctl, struct params_out *p)
{
	int r;

	if (ctl->params && ctl->count > 1)
		return ctl_usage(ctl, "--params and arguments do not go together");
	ctl_param_string(p, "pool", ctl->args[0]);
	r = put_args(ctl, p);
	if (r == 0)
		r = put_input(ctl, p);
	ctl_param_string(p, "method", ctl->method);
	if (r || !ctl->params)
		return r;
	jw_key(&p->json, "params");
	return put_json(ctl, p, "--params", ctl->params, "[{");
}

/* ---- how it ended ----------------------------------------------------------------------------- */

bool task_succeeded(const struct json_t *task)
{
	const char *state = json_get_string(task, "state");

	return state && strcmp(state, "succeeded") == 0;
}

bool task_exitcode(const struct json_t *task, int64_t *exitcode)
{
	return json_get_int(task, "exitcode", exitcode);
}

int task_signal(const struct json_t *task)
{
	int64_t number;

	return json_get_int(json_get(task, "error"), "signal", &number) && number > 0 &&
			       number < 128
		       ? (int)number
		       : 0;
}

int task_status(const struct json_t *task)
{
	const struct json_t *error = json_get(task, "error");
	const char *name = json_get_string(error, "name");
	int64_t number;

	if (task_succeeded(task))
		return CREW_EXIT_OK;
	if (task_exitcode(task, &number) && number > 0 && number < 256)
		return (int)number;
	if (name && crew_error_exit(name) == CREW_EXIT_TIME_OVER)
		return CREW_EXIT_TIME_OVER;
	if (task_signal(task))
		return 128 + task_signal(task);
	if (json_get_int(error, "exitcode", &number) && number > 0 && number < 256)
		return (int)number; /* that of its worker */
	return name ? crew_error_exit(name) : CREW_EXIT_FAILED;
}

char *one_line(char *buf, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size) /* not in the middle of a character */
		for (len = size - 1; len && ((unsigned char)text[len] & 0xc0) == 0x80;)
			len--;
	for (size_t i = 0; i < len; i++)
		buf[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
	while (len && buf[len - 1] == ' ')
		len--;
	buf[len] = '\0';
	return buf;
}

const char *task_why(const struct json_t *task, char *buf, size_t size)
{
	const struct json_t *error = json_get(task, "error");
	const char *message = json_get_string(error, "message");
	const char *state = json_get_string(task, "state");
	int64_t number;
	size_t len;

	if (message && *message)
		one_line(buf, size, message);
	else if (task_signal(task))
		snprintf(buf, size, "killed by %s", text_signal_name(task_signal(task)));
	else if (task_exitcode(task, &number))
		snprintf(buf, size, "exited %lld", (long long)number);
	else
		one_line(buf, size, state && *state ? state : "failed");
	len = strlen(buf);
	if (json_get_int(error, "code", &number))
		snprintf(buf + len, size - len, " (code %lld)", (long long)number);
	return buf;
}

/* ---- its result ------------------------------------------------------------------------------- */

static const char *base64_of(const struct json_t *result)
{
	return json_kind(result) == '{' ? json_get_string(result, "base64") : NULL;
}

bool task_result_in_doubt(const struct json_t *task)
{
	int64_t exitcode;

	return base64_of(json_get(task, "result")) && !task_exitcode(task, &exitcode);
}

static int sextet(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* False if the text is no base64; then nothing is to be taken from `out`. */
static bool decode(const char *text, char *out, size_t *len)
{
	size_t size = strlen(text), bits = 0;
	unsigned value = 0;

	*len = 0;
	while (size && text[size - 1] == '=')
		size--;
	for (size_t i = 0; i < size; i++) {
		int six = sextet(text[i]);

		if (six < 0)
			return false;
		value = (value << 6 | (unsigned)six) & 0xffffff;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		out[(*len)++] = (char)(value >> bits);
	}
	return true;
}

static int append_value(const struct json_t *result, struct buf *out)
{
	char *text = json_text(result);
	int r = text ? buf_append(out, text, strlen(text)) : -1;

	free(text);
	return r;
}

int task_result(const struct json_t *task, enum task_bytes bytes, struct buf *out)
{
	const struct json_t *result = json_get(task, "result");
	const char *base64 = bytes == TASK_BYTES ? base64_of(result) : NULL;
	size_t len;
	const char *text = json_as_bytes(result, &len);
	char *room;

	if (!result)
		return 0;
	if (text)
		return buf_append(out, text, len);
	if (!base64)
		return append_value(result, out);
	room = buf_room(out, strlen(base64));
	if (!room)
		return -1;
	if (!decode(base64, room, &len))
		return append_value(result, out);
	out->len += len;
	return 0;
}
