/* What a worker is sent, whatever it is: each line becomes a task that is looked at from all sides and answered with
 * what it was given; an answer is one line, and with jsonrpc one that the daemon can read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "lib/message.h"
#include "libcrew/answers.h"
#include "libcrew/task.h"

static bool json;
static const struct crew_task *current;

/* As the daemon numbers its requests. */
static bool is_number(struct json_slice id)
{
	size_t i = 0;

	while (i < id.len && id.text[i] >= '0' && id.text[i] <= '9')
		i++;
	return i == id.len && i < 19;
}

/* Instead of libcrew/answers.c. */
int answers_add(const char *data, size_t len, bool hold)
{
	struct message_response m;
	const char *why;

	(void)hold;
	if (!len || data[len - 1] != '\n' || memchr(data, '\n', len - 1))
		abort();
	if (!json || !is_number(current->id))
		return 0;
	if (message_read_response(data, len - 1, &m, &why) < 0)
		abort();
	message_response_free(&m);
	return 0;
}

int answers_flush(void)
{
	return 0;
}

static void answer(struct crew_task *t)
{
	size_t count = crew_task_count(t), len;
	const char *text;

	for (size_t i = 0; i <= count; i++) {
		text = crew_task_arg(t, i, &len);
		if ((text != NULL) != (i < count) || (text && text[len]))
			abort();
	}
	text = crew_task_params(t);
	if (t->json && !text)
		abort();
	if (count && crew_return(t, crew_task_arg(t, 0, &len), len) == 0)
		return;
	if (!text || crew_return_json(t, text) < 0)
		crew_fail(t, 1, crew_task_method(t));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct crew_task t = { 0 };
	char *line;

	if (!size || memchr(data + 1, '\n', size - 1))
		return 0;
	t.json = json = data[0] & 1;
	current = &t;
	line = malloc(size);
	if (!line)
		return 0;
	memcpy(line, data + 1, size - 1);
	line[size - 1] = '\0';
	if (!json && strlen(line) != size - 1) /* the daemon sends no NUL */
		line[0] = '\0';
	if (t.json && !task_take(&t, line, size - 1) && !t.answered)
		abort();
	if (!t.json)
		task_take(&t, line, strlen(line));
	if (!t.answered)
		answer(&t);
	task_let_go(&t);
	buf_free(&t.answer);
	free(line);
	return 0;
}
