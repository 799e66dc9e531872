#include "daemon/procfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_file(pid_t pid, const char *name, char *text, size_t size)
{
	char path[48];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* Threads are the 20th field, the 18th behind the name, which may contain anything. */
int procfs_threads(pid_t pid)
{
	char text[1024];
	const char *at = read_file(pid, "stat", text, sizeof(text)) ? strrchr(text, ')') : NULL;

	for (int field = 0; at && field < 18; field++)
		at = strchr(at + 1, ' ');
	return at ? atoi(at) : -1;
}

int64_t procfs_resident(pid_t pid)
{
	char text[128];
	long long pages;

	if (!read_file(pid, "statm", text, sizeof(text)) || sscanf(text, "%*s %lld", &pages) != 1)
		return -1;
	return pages * sysconf(_SC_PAGESIZE);
}

/* Bytes of the line that begins so; 0: there is none. */
static int64_t line_of(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line ? strtoll(line + strlen(name), NULL, 10) * 1024 : 0;
}

bool procfs_memory(pid_t pid, struct procfs_memory *m)
{
	char text[4096];

	if (!read_file(pid, "smaps_rollup", text, sizeof(text)) || !strstr(text, "\nRss:"))
		return false;
	m->rss = line_of(text, "\nRss:");
	m->pss = line_of(text, "\nPss:");
	m->uss = line_of(text, "\nPrivate_Clean:") + line_of(text, "\nPrivate_Dirty:") +
		 line_of(text, "\nPrivate_Hugetlb:");
	return true;
}
