/*
 * Any bytes as the memory of a shared queue. The first byte says which way:
 *   even   the bytes are the file from its beginning: it is attached, or refused
 *   odd    a good file is attached first; then lock, tail, head, done and ring are overwritten with the
 *          bytes, and what follows is a list of operations and of further writes between them
 * Every call returns, with an item of at most the queue's size or one of the errors it documents.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/shared_queue.h"

#define MAX_BYTES 512
#define SIZE	  8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static size_t take(struct input *in, void *to, size_t size)
{
	size_t n = size < in->size ? size : in->size;

	memcpy(to, in->data, n);
	in->data += n;
	in->size -= n;
	return n;
}

static uint8_t byte(struct input *in)
{
	uint8_t b = 0;

	take(in, &b, 1);
	return b;
}

static void overwrite(struct input *in, int fd, off_t at, size_t size)
{
	uint8_t bytes[MAX_BYTES];
	size_t n = take(in, bytes, size);

	must(pwrite(fd, bytes, n, at) == (ssize_t)n);
}

/* 0 is always allowed, and -1 with one of these. */
static void result_is(int64_t result, int error)
{
	must(result >= 0 ||
	     (result == -1 && (errno == EPROTO || errno == error || errno == ENOTRECOVERABLE)));
}

static void get(struct shared_queue *q, size_t room)
{
	char *buffer = malloc(room + 1); /* the sanitizer watches its end */
	size_t size = room;
	int result;

	must(buffer);
	result = shared_queue_get(q, buffer, &size, 0);
	must(result == 0 || errno == EAGAIN || errno == EPROTO || errno == ERANGE);
	must(result < 0 || size <= room);
	must(result == 0 || errno != ERANGE || (size > room && size <= SIZE));
	free(buffer);
}

static void get_alloc(struct shared_queue *q)
{
	void *item;
	size_t size;

	if (shared_queue_get_alloc(q, &item, &size, 0) < 0) {
		must(errno == EAGAIN || errno == EPROTO);
		return;
	}
	must(size <= SIZE && ((char *)item)[size] == '\0');
	free(item);
}

static void operate(struct shared_queue *q, int fd, struct input *in)
{
	static const char item[SIZE];
	uint8_t what = byte(in);

	errno = 0;
	switch (what % 9) {
	case 0:
		result_is(shared_queue_put(q, item, what, 0),
			  shared_queue_cost(what) > shared_queue_max_bytes(q) ? EMSGSIZE : EAGAIN);
		break;
	case 1:
		get(q, what * 4u);
		break;
	case 2:
		get_alloc(q);
		break;
	case 3:
		result_is(shared_queue_qsize(q), 0);
		break;
	case 4:
		result_is(shared_queue_empty(q), 0);
		result_is(shared_queue_full(q), 0);
		break;
	case 5:
		result_is(shared_queue_task_done(q), EINVAL);
		break;
	case 6:
		result_is(shared_queue_join(q, 0), EAGAIN);
		break;
	case 7:
		overwrite(in, fd, 256 + what / 9 % 3 * 128, 8); /* tail, head, done */
		break;
	default:
		overwrite(in, fd, 4096 + what / 9 % 8 * 8, 8); /* in the ring */
	}
}

static void as_file(const struct input *in)
{
	int fd = shared_queue_create("fuzz", 0, MAX_BYTES);
	struct input rest = *in;
	struct shared_queue *q;

	must(fd >= 0);
	must(pwrite(fd, in->data, in->size < SIZE ? in->size : SIZE, 0) >= 0);
	q = shared_queue_attach(fd);
	must(q || errno == EINVAL || errno == EPROTONOSUPPORT);
	if (q) {
		must(shared_queue_size(shared_queue_max_bytes(q)) == SIZE);
		for (int i = 0; i < 9; i++)
			operate(q, fd, &rest);
	}
	shared_queue_detach(q);
	close(fd);
}

/* The lock is overwritten rarely: to find its holder dead takes milliseconds. */
static void as_memory(struct input *in, bool lock)
{
	int fd = shared_queue_create("fuzz", in->size ? in->data[0] % 8 : 0, MAX_BYTES);
	struct shared_queue *q = shared_queue_attach(fd);

	must(fd >= 0 && q);
	if (lock)
		overwrite(in, fd, 128, 8);
	for (int i = 0; i < 3; i++)
		overwrite(in, fd, 256 + 128 * i, 8);
	overwrite(in, fd, 4096, byte(in) * 2u);
	while (in->size)
		operate(q, fd, in);
	shared_queue_detach(q);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size < 4096 ? size : 4096 };
	uint8_t way = byte(&in);

	if (way % 2 == 0)
		as_file(&in);
	else
		as_memory(&in, way > 250);
	return 0;
}
