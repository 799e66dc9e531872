#include "daemon/task_read.h"

#include <stdlib.h>
#include <string.h>
#include "lib/bounds.h"
#include "lib/message.h"

static bool is_wrong(struct task_read *q, const char *parameter, const char *why)
{
	q->parameter = parameter;
	q->why = why;
	return false;
}

static bool take_strings(struct task_read *q)
{
	size_t n = json_count(q->given_args);

	if (n > CREW_TASK_ARGS_MAX)
		return is_wrong(q, "args", "a shorter list");
	q->args = calloc(n + 1, sizeof(*q->args));
	if (!q->args)
		return is_wrong(q, "args", "a shorter list: there is no memory for this one");
	for (size_t i = 0; i < n; i++) {
		if (!json_is_plain(json_at(q->given_args, i)))
			return is_wrong(q, "args", "a list of strings without NUL");
		q->args[i] = json_as_string(json_at(q->given_args, i));
	}
	q->r.args = q->args;
	q->r.count = (unsigned)n;
	return true;
}

/* JSON-RPC knows one `params`: the args as an array, or what was given as such. */
static bool take_params(struct task_read *q, bool dry)
{
	const struct json_t *given = q->given_params ? q->given_params : q->given_args;

	if (q->given_params && q->given_args)
		return is_wrong(q, "params", "left out where args are given");
	if (given && json_kind(given) != '[' && json_kind(given) != '{')
		return is_wrong(q, "params", "an array or an object");
	if (!given || dry)
		return true;
	q->params = json_text(given);
	if (!q->params)
		return is_wrong(q, "params", "shorter: there is no memory for them");
	q->r.params = q->params;
	q->r.params_len = strlen(q->params);
	return true;
}

bool task_read_given(struct task_read *q, const struct task_kind *kind, bool dry)
{
	if (q->given_args && json_kind(q->given_args) != '[')
		return is_wrong(q, "args", "a list");
	if (kind->json) {
		if (!take_params(q, dry))
			return false;
	} else if (q->given_params) {
		return is_wrong(q, "params", "left out: the pool's tasks are not jsonrpc");
	} else if (q->given_args && !take_strings(q)) {
		return false;
	}
	return kind->check(&q->r, &q->parameter, &q->why) == 0;
}

void task_read_free(struct task_read *q)
{
	free(q->args);
	free(q->params);
	json_free(q->root);
}

/* The members of an element that is an object, none but those. */
static bool take_members(struct task_read *q, const struct json_t *element)
{
	const struct json_t *input = json_get(element, "input"), *method;
	size_t known = 0;

	method = json_get(element, "method");
	q->given_args = json_get(element, "args");
	q->given_params = json_get(element, "params");
	known = (input != NULL) + (method != NULL) + (q->given_args != NULL) +
		(q->given_params != NULL);
	if (known != json_size(element) || (input && !json_as_string(input)) ||
	    (method && !json_is_plain(method)))
		return is_wrong(q, "tasks", "objects with args, input, method, params only");
	if (input)
		q->r.input = json_as_bytes(input, &q->r.input_len);
	q->r.method = method ? json_as_string(method) : NULL;
	return true;
}

bool task_read_element(struct task_read *q, const struct task_kind *kind,
		       const struct json_t *element, bool dry)
{
	/* The usual case is spared a list of one. */
	if (json_is_plain(element) && (!kind->json || kind->bare)) {
		q->only = json_as_string(element);
		q->r.args = &q->only;
		q->r.count = 1;
		return kind->check(&q->r, &q->parameter, &q->why) == 0;
	}
	if (json_kind(element) == '{') {
		if (!take_members(q, element))
			return false;
	} else if (json_kind(element) == '[') {
		q->given_args = (struct json_t *)(uintptr_t)element;
	} else {
		return is_wrong(q, "tasks",
				kind->json && !kind->bare ? "arrays, or objects with method"
					   : "strings without NUL, arrays, or objects");
	}
	return task_read_given(q, kind, dry);
}

bool task_read_text(struct task_read *q, const struct task_kind *kind, const char *text, size_t len)
{
	q->root = json_read_back(text, len);
	if (!q->root)
		return is_wrong(q, "item", "smaller numbers, or less of them: it cannot be read");
	return task_read_element(q, kind, q->root, false);
}
