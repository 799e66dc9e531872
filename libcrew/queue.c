/* Queues in public: opened by name, the same functions whatever the kind. */
#include "libcrew/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/errors.h"
#include "lib/text.h"

/* ---- for all kinds ------------------------------------------------------------------------------ */

int queue_code(const char *error)
{
	static const struct {
		enum crew_error error;
		int code;
	} codes[] = {
		{ CREW_ERROR_NO_SUCH_QUEUE, CREW_NO_SUCH },
		{ CREW_ERROR_QUEUE_FULL, CREW_FULL },
		{ CREW_ERROR_QUEUE_EMPTY, CREW_EMPTY },
		{ CREW_ERROR_QUEUE_TIMED_OUT, CREW_TIMEOUT },
		{ CREW_ERROR_QUEUE_WRONG_KIND, CREW_WRONG_KIND },
		{ CREW_ERROR_QUEUE_TOO_MANY_DONE, CREW_TOO_MANY_DONE },
		{ CREW_ERROR_QUEUE_UNAVAILABLE, CREW_BUSY },
		{ CREW_ERROR_MANAGER_BUSY, CREW_BUSY },
		{ CREW_ERROR_PERMISSION_DENIED, CREW_DENIED },
		{ CREW_ERROR_INVALID_PARAMETER, CREW_INVALID },
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (strcmp(crew_error_name(codes[i].error), error) == 0)
			return codes[i].code;
	return CREW_REFUSED;
}

void queue_params(struct queue_params *p, const struct crew_queue *q)
{
	*p = (struct queue_params){ .text.max = CREW_MESSAGE_MAX };
	p->json = json_writer(&p->text);
	jw_object(&p->json);
	jw_key(&p->json, "name");
	jw_string(&p->json, q->name);
}

bool queue_params_end(struct queue_params *p)
{
	jw_end_object(&p->json);
	return jw_ok(&p->json);
}

void queue_pause(void)
{
	const struct timespec moment = { .tv_nsec = QUEUE_TRY_EACH * 1000 };

	nanosleep(&moment, NULL);
}

/* ---- open, close -------------------------------------------------------------------------------- */

static struct crew_queue *make(const char *path, const char *name)
{
	struct crew_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	strcpy(q->name, name);
	q->owner = getpid();
	pthread_mutex_init(&q->mutex, NULL);
	if (path && !(q->path = strdup(path))) {
		crew_queue_close(q);
		return NULL;
	}
	return q;
}

int crew_queue_open(struct crew_queue **queue, const char *path, const char *name, double timeout)
{
	int64_t deadline;
	int code = api_deadline(timeout, &deadline), error;
	struct crew_queue *q;

	*queue = NULL;
	if (code || !text_name_ok(name) || (path && !*path))
		return CREW_INVALID;
	q = make(path, name);
	if (!q)
		return CREW_SYSTEM;
	code = attached_open(q, deadline);
	if (code == 0) {
		*queue = q;
		return 0;
	}
	error = errno;
	crew_queue_close(q);
	errno = error;
	return code;
}

int crew_queue_attach(struct crew_queue **queue, const char *path, const char *name, double timeout)
{
	int code = crew_queue_open(queue, path, name, timeout);

	if (code || (*queue)->ring)
		return code;
	code = strcmp((*queue)->kind, "shared") == 0 ? CREW_DENIED : CREW_WRONG_KIND;
	crew_queue_close(*queue);
	*queue = NULL;
	return code;
}

void crew_queue_close(struct crew_queue *q)
{
	if (!q)
		return;
	crew_client_close(q->watch);
	while (q->idle_count)
		crew_client_close(q->idle[--q->idle_count]);
	shared_queue_detach(q->ring);
	pthread_mutex_destroy(&q->mutex);
	free(q->path);
	free(q);
}

const char *crew_queue_kind(const struct crew_queue *q)
{
	return q->kind;
}

/* ---- items -------------------------------------------------------------------------------------- */

int crew_queue_put(struct crew_queue *q, const void *item, size_t len, double timeout)
{
	return q->ring ? attached_put(q, item, len, timeout) : calls_put(q, item, len, timeout);
}

int crew_queue_get(struct crew_queue *q, void **item, size_t *len, double timeout)
{
	size_t size = 0;
	int code;

	*item = NULL;
	code = q->ring ? attached_get(q, item, &size, timeout) : calls_get(q, item, &size, timeout);
	if (code == 0 && len)
		*len = size;
	return code;
}

int crew_queue_put_text(struct crew_queue *q, const char *text, size_t len, double timeout)
{
	char *item = crew_json_quote(text, len);
	int code;

	if (!item)
		return errno == EILSEQ ? CREW_INVALID : CREW_SYSTEM;
	code = crew_queue_put(q, item, strlen(item), timeout);
	free(item);
	return code;
}

int crew_queue_get_text(struct crew_queue *q, char **text, size_t *len, double timeout)
{
	size_t size = 0;
	void *item;
	char *string = NULL;
	int code = crew_queue_get(q, &item, &size, timeout);

	*text = NULL;
	if (code)
		return code;
	if (size && *(char *)item == '"' && strlen(item) == size)
		string = crew_json_string(item, &size);
	if (string)
		free(item);
	*text = string ? string : item;
	if (len)
		*len = size;
	return 0;
}

/* ---- questions ---------------------------------------------------------------------------------- */

int64_t crew_queue_qsize(struct crew_queue *q)
{
	int64_t n;

	if (!q->ring)
		return calls_number(q, "io.crewd.Queue.Qsize", "qsize");
	n = shared_queue_qsize(q->ring);
	return n < 0 ? attached_code(CREW_SYSTEM) : n;
}

int crew_queue_empty(struct crew_queue *q)
{
	int n;

	if (!q->ring)
		return (int)calls_number(q, "io.crewd.Queue.IsEmpty", "empty");
	n = shared_queue_empty(q->ring);
	return n < 0 ? attached_code(CREW_SYSTEM) : n;
}

int crew_queue_full(struct crew_queue *q)
{
	int n;

	if (!q->ring)
		return (int)calls_number(q, "io.crewd.Queue.IsFull", "full");
	n = shared_queue_full(q->ring);
	return n < 0 ? attached_code(CREW_SYSTEM) : n;
}

int crew_queue_task_done(struct crew_queue *q)
{
	return q->ring ? attached_task_done(q) : calls_task_done(q);
}

int crew_queue_join(struct crew_queue *q, double timeout)
{
	return q->ring ? attached_join(q, timeout) : calls_join(q, timeout);
}

int crew_queue_items_fd(struct crew_queue *q)
{
	int fd = q->ring ? shared_queue_items_fd(q->ring) : CREW_WRONG_KIND;

	return fd == -1 ? attached_code(CREW_SYSTEM) : fd;
}

int crew_queue_room_fd(struct crew_queue *q)
{
	int fd = q->ring ? shared_queue_room_fd(q->ring) : CREW_WRONG_KIND;

	return fd == -1 ? attached_code(CREW_SYSTEM) : fd;
}
