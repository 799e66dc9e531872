#include "daemon/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "daemon/sealed.h"

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void slot_init(struct slot *s)
{
	s->log = s->task_in = s->task_out = s->block = s->status = -1;
	s->log_in = s->status_in = s->child_in = s->child_out = -1;
	s->ask = s->child_ask = -1;
	s->args = s->input = -1;
}

int slot_put_away(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, SLOT_LOW);

	if (high < 0) /* the limit does not reach that far */
		return fd;
	close(fd);
	return high;
}

/* A pipe of which end `side` (0: to read, 1: to write) stays with the keeper, out of the way, and does not
 * wait. The other one is an open file of its own, and waits. */
static int make_pipe(int side, int *ours, int *theirs)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -1;
	if (fd[!side] >= SLOT_LOW || fcntl(fd[side], F_SETFL, O_NONBLOCK) < 0) {
		close(fd[0]);
		close(fd[1]);
		return errno = EMFILE, -1;
	}
	*ours = slot_put_away(fd[side]);
	*theirs = fd[!side];
	return 0;
}

/* The keeper's end does not wait, and is out of the way; the other one waits. */
static int make_pair(int *ours, int *theirs)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		return -1;
	if (fd[1] >= SLOT_LOW || fcntl(fd[0], F_SETFL, O_NONBLOCK) < 0) {
		close(fd[0]);
		close(fd[1]);
		return errno = EMFILE, -1;
	}
	*ours = slot_put_away(fd[0]);
	*theirs = fd[1];
	return 0;
}

/* From a socket it is known who says that it is the worker. */
static int make_status(struct slot *s)
{
	int on = 1;

	if (!(s->with & WIRE_WITH_TEMPLATE))
		return make_pipe(0, &s->status, &s->status_in);
	if (make_pair(&s->status, &s->status_in) < 0)
		return -1;
	return setsockopt(s->status, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
}

int slot_make_ask(struct slot *s)
{
	return make_pair(&s->ask, &s->child_ask);
}

/* The same memory as an open file of its own: at its beginning, whatever the manager does with its own,
 * and only to be read. */
static int open_input(struct slot *s)
{
	char path[32];

	if (s->input < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->input);
	s->child_in = open(path, O_RDONLY | O_CLOEXEC);
	if (s->child_in < SLOT_LOW)
		return s->child_in < 0 ? -1 : 0;
	return errno = EMFILE, -1;
}

static int make_task_pipes(struct slot *s, enum conf_tasks tasks)
{
	if (tasks == CONF_TASKS_NONE)
		return 0;
	if (make_pipe(0, &s->task_out, &s->child_out) < 0)
		return -1;
	if (tasks == CONF_TASKS_EXEC)
		return open_input(s);
	if (make_pipe(1, &s->task_in, &s->child_in) < 0)
		return -1;
	if (s->input_over)
		drop(&s->task_in);
	return 0;
}

int slot_make_pipes(struct slot *s, enum conf_tasks tasks, bool status)
{
	if (make_pipe(0, &s->log, &s->log_in) == 0 &&
	    (!status || make_status(s) == 0) && make_task_pipes(s, tasks) == 0)
		return 0;
	slot_drop_pipes(s);
	return -1;
}

int slot_give_pipes(const struct slot *s, uid_t uid, gid_t gid)
{
	if (s->child_out >= 0 && fchown(s->child_out, uid, gid) < 0)
		return -1;
	return s->task_in >= 0 ? fchown(s->task_in, uid, gid) : 0;
}

void slot_unshared(struct slot *s)
{
	drop(&s->log_in);
	drop(&s->status_in);
	drop(&s->child_in);
	drop(&s->child_out);
	drop(&s->child_ask);
}

void slot_drop_pipes(struct slot *s)
{
	int err = errno;

	slot_unshared(s);
	drop(&s->log);
	drop(&s->status);
	drop(&s->ask);
	drop(&s->task_in);
	drop(&s->task_out);
	errno = err;
}

/* In the order of enum wire_with. What was announced and is missing got lost on its way. */
void slot_take_request(struct slot *s, const struct wire_spawn *q, const int fds[], unsigned count)
{
	int *const to[] = { &s->block, &s->args, &s->input };
	unsigned used = 0;

	slot_clear(s);
	s->with = q->with;
	s->arg_count = q->args;
	s->from = q->from;
	s->from_run = q->from_run;
	s->claims = 0;
	for (unsigned i = 0; i < sizeof(to) / sizeof(*to); i++)
		if (q->with >> i & 1 && used < count) {
			drop(to[i]);
			*to[i] = slot_put_away(fds[used++]);
		}
	while (used < count)
		close(fds[used++]);
}

void slot_keep_tail(struct slot *s, const struct wire_tail *tail)
{
	if (!(s->with & WIRE_WITH_TAIL) || s->with & WIRE_WITH_ARGS)
		return;
	s->args = slot_put_away(sealed_memory("crewd-args", tail->data, tail->len));
	s->with ^= WIRE_WITH_TAIL | WIRE_WITH_ARGS;
}

void slot_drop_request(struct slot *s)
{
	drop(&s->args);
	drop(&s->input);
}

void slot_close_input(struct slot *s)
{
	s->input_over = true;
	drop(&s->task_in);
}

void slot_clear(struct slot *s)
{
	slot_drop_request(s);
	drop(&s->log);
	drop(&s->task_in);
	drop(&s->task_out);
	s->input_over = false;
	s->with = s->arg_count = 0;
}

unsigned slot_fds(const struct slot *s, int fds[WIRE_FDS_MAX], uint32_t *which)
{
	const int all[] = { [WIRE_CHILD_LOG] = s->log,
			    [WIRE_CHILD_BLOCK] = s->block,
			    [WIRE_CHILD_IN] = s->task_in,
			    [WIRE_CHILD_OUT] = s->task_out };
	unsigned count = 0;

	*which = 0;
	for (unsigned i = 0; i < WIRE_CHILD_FDS; i++)
		if (all[i] >= 0) {
			*which |= 1u << i;
			fds[count++] = all[i];
		}
	return count;
}

int slot_tell(struct slot *s, int link)
{
	struct wire w = { .type = WIRE_CHILD, .child = s->told };
	int fds[WIRE_FDS_MAX];
	unsigned count = s->fds_told ? 0 : slot_fds(s, fds, &w.child.fds);

	if (wire_send(link, &w, fds, count) < 0)
		return -1;
	s->fds_told = true;
	return 0;
}
