#include "lib/shared_queue_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x6575716477657263) /* "crewdque", and the order of the bytes */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

size_t shared_queue_size(uint64_t max_bytes)
{
	if (max_bytes < SHARED_QUEUE_BYTES_MIN || max_bytes > SHARED_QUEUE_BYTES_MAX) {
		errno = EINVAL;
		return 0;
	}
	return HEAD_SIZE + (size_t)((max_bytes + HEAD_SIZE - 1) / HEAD_SIZE * HEAD_SIZE);
}

static int prepare(int fd, uint32_t maxsize, uint64_t max_bytes)
{
	struct layout first = { .magic = MAGIC,
				.version = SHARED_QUEUE_VERSION,
				.maxsize = maxsize,
				.max_bytes = max_bytes };

	if (ftruncate(fd, (off_t)shared_queue_size(max_bytes)) < 0)
		return -1;
	if (pwrite(fd, &first, sizeof(first), 0) != sizeof(first))
		return -1;
	return fcntl(fd, F_ADD_SEALS, SEALS);
}

int shared_queue_create(const char *name, uint32_t maxsize, uint64_t max_bytes)
{
	int fd, error;

	if (shared_queue_size(max_bytes) == 0 || maxsize > SHARED_QUEUE_ITEMS_MAX)
		return fail(EINVAL);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || prepare(fd, maxsize, max_bytes) == 0)
		return fd;
	error = errno;
	close(fd);
	return fail(error);
}

/* Memory of the kind that stays as large as it is, and needs no huge pages that may be missing. */
static int check_file(int fd, size_t *size)
{
	struct statfs fs;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return fail(EINVAL);
	if (fs.f_type != TMPFS_MAGIC || st.st_size <= HEAD_SIZE ||
	    st.st_size > HEAD_SIZE + SHARED_QUEUE_BYTES_MAX)
		return fail(EINVAL);
	*size = (size_t)st.st_size;
	return 0;
}

static int check_layout(struct shared_queue *q)
{
	const volatile struct layout *m = q->memory; /* each field is read once */
	uint32_t version = m->version;

	q->max_bytes = m->max_bytes;
	q->maxsize = m->maxsize;
	if (m->magic != MAGIC)
		return fail(EINVAL);
	if (version != SHARED_QUEUE_VERSION)
		return fail(EPROTONOSUPPORT);
	if (q->maxsize > SHARED_QUEUE_ITEMS_MAX || shared_queue_size(q->max_bytes) != q->mapped)
		return fail(EINVAL);
	q->capacity = q->max_bytes / UNIT;
	q->limit = q->capacity / LEAST_UNITS;
	if (q->maxsize && q->maxsize < q->limit)
		q->limit = q->maxsize;
	return 0;
}

/* An open file description of this handle's own, which only the mapping keeps: with it the seat goes. */
static int map(struct shared_queue *q)
{
	char path[64];
	void *memory;
	int own, result = -1;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", q->fd);
	own = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK); /* not even for a lease */
	if (own < 0)
		return -1;
	memory = mmap(NULL, q->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
	q->memory = memory == MAP_FAILED ? NULL : memory;
	if (q->memory && madvise(memory, q->mapped, MADV_DONTFORK) == 0)
		result = shared_seat_take(&q->seat, own, q->fd);
	close(own);
	return result;
}

static int begin(struct shared_queue *q)
{
	int error;

	if (map(q) < 0 || check_layout(q) < 0)
		return -1;
	/* The number may be a dead holder's. */
	shared_unlock(&q->memory->lock, &q->seat);
	error = shared_watch_init(&q->items, &q->memory->tail);
	if (!error)
		error = shared_watch_init(&q->room, &q->memory->head);
	return error ? fail(error) : 0;
}

static void let_go(struct shared_queue *q)
{
	if (q->memory)
		munmap(q->memory, q->mapped);
	close(q->fd);
	munmap(q, sizeof(*q));
}

struct shared_queue *shared_queue_attach(int fd)
{
	struct shared_queue *q;
	size_t size;
	int error;

	if (check_file(fd, &size) < 0)
		return NULL;
	q = mmap(NULL, sizeof(*q), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (q == MAP_FAILED)
		return NULL;
	q->mapped = size;
	q->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (q->fd >= 0 && madvise(q, sizeof(*q), MADV_WIPEONFORK) == 0 && begin(q) == 0)
		return q;
	error = errno;
	let_go(q);
	errno = error;
	return NULL;
}

void shared_queue_detach(struct shared_queue *q)
{
	if (!q)
		return;
	if (!q->memory) {
		munmap(q, sizeof(*q));
		return;
	}
	shared_watch_end(&q->items);
	shared_watch_end(&q->room);
	let_go(q);
}
