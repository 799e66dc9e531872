/* A worker for tasks = "lines", as fast as one can be: the answer to a line is the line, after the first argument if
 * there is one. Answers are written when the input has run dry. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK	 (256 * 1024)
#define LINE_MAX (64 * 1024 * 1024)

static struct text {
	char *data;
	size_t len, cap;
} in, out;

static void *room(struct text *t, size_t size)
{
	while (t->cap - t->len < size) {
		t->cap = t->cap ? t->cap * 2 : BLOCK;
		t->data = t->cap > LINE_MAX ? NULL : realloc(t->data, t->cap);
		if (!t->data) {
			fputs("echo_lines: a line is too long\n", stderr);
			exit(1);
		}
	}
	return t->data + t->len;
}

static void put(const char *data, size_t size)
{
	memcpy(room(&out, size), data, size);
	out.len += size;
}

static void flush(void)
{
	for (size_t done = 0; done < out.len;) {
		ssize_t n = write(STDOUT_FILENO, out.data + done, out.len - done);

		if (n < 0 && errno != EINTR)
			exit(1);
		done += n > 0 ? (size_t)n : 0;
	}
	out.len = 0;
}

/* Answers the whole lines; what is left begins the next one. */
static void answer(const char *prefix)
{
	char *line = in.data, *end = in.data + in.len, *newline;

	while ((newline = memchr(line, '\n', (size_t)(end - line)))) {
		put(prefix, strlen(prefix));
		put(line, (size_t)(newline - line) + 1);
		line = newline + 1;
	}
	in.len = (size_t)(end - line);
	memmove(in.data, line, in.len);
}

int main(int argc, char **argv)
{
	ssize_t n;

	for (;;) {
		char *to = room(&in, BLOCK);

		n = read(STDIN_FILENO, to, BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0;
		in.len += (size_t)n;
		answer(argc > 1 ? argv[1] : "");
		flush();
	}
}
