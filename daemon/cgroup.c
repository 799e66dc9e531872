#include "daemon/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int workers = -1; /* directory */

static bool read_line(const char *path, const char *want, char *line, int size)
{
	FILE *f = fopen(path, "re");
	bool found = false;

	while (f && !found && fgets(line, size, f))
		found = strstr(line, want) != NULL;
	if (f)
		fclose(f);
	return found;
}

/* Mount point of cgroup 2 and crewd's own place below it. */
static bool find_own(char *path, size_t size)
{
	char mount[PATH_MAX], own[PATH_MAX], line[2 * PATH_MAX];
	const char *place;

	if (!read_line("/proc/self/mountinfo", " - cgroup2 ", line, sizeof(line)) ||
	    sscanf(line, "%*s %*s %*s %*s %4095s", mount) != 1)
		return false;
	if (!read_line("/proc/self/cgroup", "0::", line, sizeof(line)))
		return false;
	place = strstr(line, "0::") + 3;
	snprintf(own, sizeof(own), "%.*s", (int)strcspn(place, "\n"), place);
	return (size_t)snprintf(path, size, "%s%s", mount, strcmp(own, "/") ? own : "") < size;
}

static bool is_delegated(const char *path)
{
	char yes = 0;
	struct stat st;

	if (getxattr(path, "trusted.delegate", &yes, 1) == 1 ||
	    getxattr(path, "user.delegate", &yes, 1) == 1)
		return yes == '1';
	return geteuid() != 0 && stat(path, &st) == 0 && st.st_uid == geteuid();
}

static bool write_to(int dir, const char *file, const char *text)
{
	int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

int cgroup_init(void)
{
	char path[PATH_MAX];
	int own;

	if (!find_own(path, sizeof(path)) || !is_delegated(path))
		return -1;
	own = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	mkdirat(own, "crewd", 0755);
	mkdirat(own, "workers", 0755);
	if (write_to(own, "crewd/cgroup.procs", "0"))
		workers = openat(own, "workers", O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* where there is no such controller, nobody tells who was killed for lack of memory */
	if (workers >= 0 && write_to(own, "cgroup.subtree_control", "+memory"))
		write_to(workers, "cgroup.subtree_control", "+memory");
	if (own >= 0)
		close(own);
	return workers < 0 ? -1 : openat(workers, "cgroup.kill", O_WRONLY | O_CLOEXEC);
}

static const char *place_of(const char *worker, const char *file, char *path, size_t size)
{
	snprintf(path, size, "w.%s%s", worker, file);
	return path;
}

void cgroup_make(const char *worker)
{
	char path[PATH_MAX];

	if (workers >= 0)
		mkdirat(workers, place_of(worker, "", path, sizeof(path)), 0755);
}

void cgroup_move(const char *worker, int pid)
{
	char path[PATH_MAX], number[16];

	snprintf(number, sizeof(number), "%d", pid);
	if (workers >= 0)
		write_to(workers, place_of(worker, "/cgroup.procs", path, sizeof(path)), number);
}

void cgroup_enter(const char *worker)
{
	cgroup_move(worker, 0);
}

void cgroup_kill(const char *worker)
{
	char path[PATH_MAX];

	if (workers >= 0)
		write_to(workers, place_of(worker, "/cgroup.kill", path, sizeof(path)), "1");
}

void cgroup_remove(const char *worker)
{
	char path[PATH_MAX];

	if (workers >= 0)
		unlinkat(workers, place_of(worker, "", path, sizeof(path)), AT_REMOVEDIR);
}

unsigned cgroup_oom_kills_in(const char *events)
{
	const char *line = strstr(events, "oom_kill ");

	return line && (line == events || line[-1] == '\n')
		       ? (unsigned)strtoul(line + strlen("oom_kill "), NULL, 10)
		       : 0;
}

unsigned cgroup_oom_kills(const char *worker)
{
	char path[PATH_MAX], events[512];
	ssize_t n = -1;
	int fd = -1;

	if (workers >= 0)
		fd = openat(workers, place_of(worker, "/memory.events", path, sizeof(path)),
			    O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, events, sizeof(events) - 1);
		close(fd);
	}
	if (n <= 0)
		return 0;
	events[n] = '\0';
	return cgroup_oom_kills_in(events);
}
