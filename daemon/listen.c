#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/bounds.h"

void listen_make_directory(const char *path)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return;
	*slash = '\0';
	mkdir(dir, 0755);
}

static pid_t read_holder(int fd)
{
	char text[32] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? (pid_t)atoi(text) : 0;
}

/* The file that was locked may have been removed by the one who held it before: then it is no lock. */
static int is_there(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

int listen_lock(const char *path, pid_t *holder)
{
	char lock[PATH_MAX];

	snprintf(lock, sizeof(lock), "%s.lock", path);
	for (;;) {
		int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

		if (fd < 0)
			return -1;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			int err = errno;

			*holder = read_holder(fd);
			close(fd);
			return errno = err, -1;
		}
		if (is_there(fd, lock)) {
			if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", getpid()) < 0)
				return close(fd), -1;
			return fd;
		}
		close(fd);
	}
}

static int bind_and_listen(int fd, const struct sockaddr_un *a, mode_t mode, gid_t gid)
{
	mode_t mask = umask(0777 & ~mode);
	int r = bind(fd, (const struct sockaddr *)a, sizeof(*a));

	umask(mask);
	if (r < 0 || (gid != (gid_t)-1 && chown(a->sun_path, (uid_t)-1, gid) < 0))
		return -1;
	if (chmod(a->sun_path, mode) < 0)
		return -1;
	return listen(fd, CREW_BACKLOG);
}

int listen_unix(const char *path, mode_t mode, gid_t gid)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		return errno = ENAMETOOLONG, -1;
	strcpy(a.sun_path, path);
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind_and_listen(fd, &a, mode, gid) == 0)
		return fd;
	close(fd);
	return -1;
}

int listen_notify(char *name, size_t size)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	unsigned long long random;
	int fd, on = 1, length;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -1;
	length = snprintf(name, size, "@crewd/%d/%016llx", getpid(), random);
	memcpy(a.sun_path + 1, name + 1, (size_t)length - 1);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0 &&
	    bind(fd, (struct sockaddr *)&a,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length)) == 0)
		return fd;
	close(fd);
	return -1;
}
