#include "daemon/conf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/bounds.h"

/* Why this file is not to be used, or NULL. */
static const char *objection(const struct stat *st, bool as_root)
{
	if (!S_ISREG(st->st_mode))
		return "is not a regular file";
	if (st->st_size > CREW_CONF_FILE_MAX)
		return "is larger than 1 MiB";
	if (as_root && st->st_uid != 0 && st->st_uid != geteuid())
		return "belongs to somebody else than root; chown root";
	if (as_root && (st->st_mode & S_IWOTH))
		return "can be written by anybody; chmod o-w";
	return NULL;
}

/* All bytes, at most one more than allowed: the file may grow meanwhile. */
static ssize_t read_all(int fd, char *text, size_t room)
{
	size_t used = 0;

	while (used < room) {
		ssize_t n = read(fd, text + used, room - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

static unsigned line_of(const char *text, const char *at)
{
	unsigned line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

/* Why `fd` cannot be read, or NULL and its bytes. */
static const char *take(struct conf_source *src, int fd, bool as_root, char **text, size_t *size)
{
	static const char unreadable[] = "cannot be read";
	const char *why;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return unreadable;
	why = objection(&st, as_root);
	if (why)
		return why;
	*text = conf_source_take(src, (size_t)st.st_size + 2);
	if (!*text)
		return "is too large for the memory there is";
	n = read_all(fd, *text, (size_t)st.st_size + 1);
	if (n < 0)
		return unreadable;
	if (n > st.st_size)
		return "grew while it was read; try again";
	*size = (size_t)n;
	return NULL;
}

static char *refuse(struct conf_source *src, const char *path, const char *from, unsigned line,
		    const char *why)
{
	src->broken = true;
	if (line)
		conf_errors_add(src->errors, from, line, "include: %s %s", path, why);
	else
		conf_errors_add(src->errors, path, 1, "the file %s", why);
	return NULL;
}

char *conf_file_read(struct conf_source *src, const char *path, bool as_root, const char *from,
		     unsigned line, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *why, *nul;
	char text[256], *bytes = NULL;

	if (fd < 0) {
		snprintf(text, sizeof(text), "cannot be opened: %s", strerror(errno));
		return refuse(src, path, from, line, text);
	}
	why = take(src, fd, as_root, &bytes, size);
	close(fd);
	if (why)
		return refuse(src, path, from, line, why);
	nul = memchr(bytes, '\0', *size);
	if (!nul)
		return bytes;
	conf_errors_add(src->errors, path, line_of(bytes, nul),
			"a NUL byte; a configuration is text only");
	src->broken = true;
	return NULL;
}

/* `pattern` behind the directory of `file`, whose own stars are no stars. */
static char *beside(struct conf_source *src, const char *file, const char *pattern)
{
	const char *slash = strrchr(file, '/');
	size_t length = slash ? (size_t)(slash - file) + 1 : 0, used = 0;
	char *path;

	if (*pattern == '/')
		length = 0;
	path = conf_source_take(src, 2 * length + strlen(pattern) + 1);
	if (!path)
		return NULL;
	for (size_t i = 0; i < length; i++) {
		if (strchr("*?[]\\", file[i]))
			path[used++] = '\\';
		path[used++] = file[i];
	}
	strcpy(path + used, pattern);
	return path;
}

void conf_file_expand(struct conf_source *src, const char *pattern, const char *file, unsigned line,
		      void (*each)(const char *path, void *arg), void *arg)
{
	char *path = beside(src, file, pattern);
	bool wild = strpbrk(pattern, "*?[") != NULL;
	glob_t found = { 0 };
	int r;

	if (!path)
		return;
	r = glob(path, 0, NULL, &found);
	for (size_t i = 0; r == 0 && i < found.gl_pathc; i++)
		each(found.gl_pathv[i], arg);
	/* A directory of snippets may be empty; a file that is named must be there. */
	if (r == GLOB_NOMATCH && !wild)
		refuse(src, path, file, line, "cannot be opened: No such file or directory");
	else if (r != 0 && r != GLOB_NOMATCH)
		refuse(src, path, file, line, "cannot be searched for");
	globfree(&found);
}
