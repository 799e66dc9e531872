#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "daemon/conf.h"
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/frame.h"
#include "lib/log.h"

#define ACCEPTS_A_TURN 16
#define READ_SIZE      65536
#define CALLS_A_TURN   256		   /* of one connection ... */
#define TIME_A_TURN    (5 * USEC_PER_MSEC) /* ... or as many as fit in here */
#define PIPELINED_MAX  READ_SIZE	   /* read ahead while a call waits */
#define DEAF_INTERVAL  (USEC_PER_SEC / 2)  /* how often those not read from are looked at */
#define ACCEPT_AGAIN   USEC_PER_SEC	   /* after descriptors were short */
#define GROUPS_MAX     65536		   /* the kernel's own bound */

static struct {
	int fd; /* listening; -1: none */
	struct loop_io *io;
	int spare; /* given up for a moment when descriptors are short, to turn a client away */
	uint32_t own_uid, socket_gid;
	struct list conns, dead;
	unsigned count, ordinary; /* connections; those without a claim to what is kept */
	struct loop_timer accept_again, deaf;
	struct loop_task bury;
} control = { .fd = -1, .spare = -1 };

/* ---- who it is --------------------------------------------------------------------------------
 */

static bool has_group(const gid_t *groups, socklen_t size)
{
	for (size_t i = 0; i < size / sizeof(gid_t); i++)
		if (groups[i] == control.socket_gid)
			return true;
	return false;
}

static bool peer_has_group(int fd)
{
	gid_t few[64], *many;
	socklen_t size = sizeof(few);
	bool found = false;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &size) == 0)
		return has_group(few, size);
	if (errno != ERANGE || size > GROUPS_MAX * sizeof(gid_t))
		return false;
	many = malloc(size);
	if (many && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, many, &size) == 0)
		found = has_group(many, size);
	free(many);
	return found;
}

static void judge(struct conn *conn)
{
	conn->kept = conn->uid == 0 || conn->uid == control.own_uid;
	conn->trusted =
		conn->kept || (control.socket_gid != CONF_NO_ID &&
			       (conn->gid == control.socket_gid || peer_has_group(conn->fd)));
}

static int identify(struct conn *conn)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -1;
	conn->uid = cred.uid;
	conn->gid = cred.gid;
	conn->pid = cred.pid;
	judge(conn);
	return 0;
}

void control_set_group(uint32_t socket_gid)
{
	control.socket_gid = socket_gid;
	list_foreach(e, n, &control.conns) judge(list_entry(e, struct conn, link));
}

/* ---- the end of a connection ------------------------------------------------------------------
 */

static void listen_on(bool on)
{
	if (control.io)
		loop_io_set(control.io, on ? LOOP_READ : 0);
}

static void open_spare(void)
{
	if (control.spare < 0)
		control.spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void accept_again(void *arg)
{
	(void)arg;
	loop_timer_off(&control.accept_again);
	open_spare();
	listen_on(true);
}

/* At the end of the turn, so that whoever closes a connection may still look at it. */
static void bury(void *arg)
{
	struct list *e;

	(void)arg;
	while ((e = list_pop(&control.dead)))
		free(list_entry(e, struct conn, link));
}

static void close_conn(struct conn *conn)
{
	if (conn->dead)
		return;
	conn->dead = true;
	rpc_conn_gone(conn);
	loop_undefer(&conn->again);
	loop_io_free(conn->io);
	close(conn->fd);
	buf_free(&conn->in);
	buf_free(&conn->out);
	pass_drop(&conn->passing);
	list_remove(&conn->link);
	list_append(&control.dead, &conn->link);
	control.count--;
	control.ordinary -= !conn->kept;
	loop_defer(&control.bury);
	if (control.accept_again.armed)
		accept_again(NULL);
}

/* ---- output -----------------------------------------------------------------------------------
 */

static bool reads(const struct conn *conn)
{
	if (conn->eof || conn->closing || conn->out.len > CREW_OUTPUT_MARK)
		return false;
	return conn->in.len <= (conn->current ? PIPELINED_MAX : CREW_MESSAGE_MAX);
}

/* Those that are not read from tell nothing when their client goes: they are asked now and then. */
static void watch(struct conn *conn)
{
	unsigned events = (reads(conn) ? LOOP_READ : 0) | (conn->out.len ? LOOP_WRITE : 0);

	loop_io_set(conn->io, events);
	if (!events && !control.deaf.armed)
		loop_timer_at(&control.deaf, loop_now() + DEAF_INTERVAL);
}

static bool is_finished(const struct conn *conn)
{
	if (conn->out.len || list_linked(&conn->again.link))
		return false;
	return conn->closing || (conn->eof && !conn->current);
}

/* Sends what the socket takes. False: the client is gone, and the connection closed. */
static bool send_out(struct conn *conn)
{
	if (conn->out.len > CREW_OUTPUT_MARK)
		conn->stuffed = true;
	while (conn->out.len) {
		ssize_t n =
			pass_send(&conn->passing, conn->fd, buf_data(&conn->out), conn->out.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
			break;
		if (n < 0) {
			close_conn(conn);
			return false;
		}
		buf_consume(&conn->out, (size_t)n);
	}
	if (conn->stuffed && conn->out.len <= CREW_OUTPUT_MARK / 2)
		loop_defer(&conn->again);
	return true;
}

static void settle(struct conn *conn)
{
	if (is_finished(conn))
		close_conn(conn);
	else
		watch(conn);
}

void control_flush(struct conn *conn)
{
	if (conn->dead || conn->corked)
		return;
	if (send_out(conn))
		settle(conn);
}

void control_flush_later(struct conn *conn)
{
	if (!conn->dead)
		loop_defer(&conn->again);
}

bool control_pass(struct conn *conn, int fd)
{
	return pass_add(&conn->passing, fd, conn->out.len);
}

/* ---- input ------------------------------------------------------------------------------------
 */

static bool may_go_on(const struct conn *conn)
{
	return !conn->dead && !conn->current && !conn->closing && conn->out.len <= CREW_OUTPUT_MARK;
}

/* Takes whole frames off the front of `in`, as many as the turn allows. True: some may be left. */
static bool take_frames(struct conn *conn, struct buf *in, size_t *searched)
{
	int64_t until = clock_now() + TIME_A_TURN;

	for (unsigned calls = 0; calls < CALLS_A_TURN && clock_now() < until; calls++) {
		const char *text;
		size_t len;
		int r;

		if (!may_go_on(conn))
			break;
		r = frame_next(in, searched, &text, &len);
		if (r == 0)
			return false;
		if (r < 0 || !rpc_dispatch(conn, text, len)) {
			conn->closing = true;
			return false;
		}
		*searched = 0;
		in->start += len + 1;
		in->len -= len + 1;
	}
	return in->len > 0;
}

/* Calls that are there already; their replies go out in one piece. */
static void serve_buf(struct conn *conn, struct buf *in, size_t *searched)
{
	bool more;

	conn->corked = true;
	more = take_frames(conn, in, searched);
	conn->corked = false;
	if (more && !conn->dead && !conn->current)
		loop_defer(&conn->again);
}

static void serve(struct conn *conn)
{
	if (!send_out(conn))
		return;
	if (conn->in.len && may_go_on(conn))
		serve_buf(conn, &conn->in, &conn->searched);
	if (!conn->dead && (conn->in.len == 0 || conn->closing))
		buf_free(&conn->in);
	control_flush(conn);
}

static void on_again(void *arg)
{
	struct conn *conn = arg;

	if (conn->stuffed && conn->out.len <= CREW_OUTPUT_MARK / 2) {
		conn->stuffed = false;
		rpc_conn_drained(conn);
	}
	if (!conn->dead)
		serve(conn);
}

void control_continue(struct conn *conn)
{
	if (!conn->dead && conn->in.len)
		loop_defer(&conn->again);
	control_flush(conn);
}

static void keep_rest(struct conn *conn, const struct buf *rest)
{
	if (rest->len && buf_append(&conn->in, buf_data(rest), rest->len) < 0)
		conn->closing = true;
}

/* The usual case, whole calls and nothing left over, never copies them. */
static void take_in(struct conn *conn, char *data, size_t size)
{
	struct buf in = { .data = data, .len = size, .cap = size, .max = size };

	if (conn->in.len || !may_go_on(conn)) {
		keep_rest(conn, &in);
		serve(conn);
		return;
	}
	conn->searched = 0;
	serve_buf(conn, &in, &conn->searched);
	if (!conn->dead && !conn->closing)
		keep_rest(conn, &in);
	control_flush(conn);
}

bool control_is_hung_up(const struct conn *conn)
{
	struct pollfd p = { .fd = conn->fd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

/* It will say no more; it may still want to hear. A call that waits for a client that is gone for
 * good is not worth going on with. */
static void on_eof(struct conn *conn)
{
	conn->eof = true;
	if (conn->current && control_is_hung_up(conn))
		close_conn(conn);
	else
		serve(conn);
}

static void on_readable(struct conn *conn)
{
	static char space[READ_SIZE];
	ssize_t n = recv(conn->fd, space, sizeof(space), MSG_DONTWAIT);

	if (n > 0)
		take_in(conn, space, (size_t)n);
	else if (n == 0)
		on_eof(conn);
	else if (errno != EAGAIN && errno != EINTR)
		close_conn(conn);
}

static void on_conn(int fd, unsigned events, void *arg)
{
	struct conn *conn = arg;

	(void)fd;
	if (events & LOOP_WRITE)
		serve(conn);
	if (!conn->dead && (events & LOOP_READ) && reads(conn))
		on_readable(conn);
}

static void on_deaf(void *arg)
{
	bool any = false;

	(void)arg;
	list_foreach(e, n, &control.conns)
	{
		struct conn *conn = list_entry(e, struct conn, link);

		if (reads(conn) || conn->out.len)
			continue;
		any = true;
		if (control_is_hung_up(conn))
			close_conn(conn);
	}
	if (any)
		loop_timer_at(&control.deaf, loop_now() + DEAF_INTERVAL);
}

/* ---- accepting --------------------------------------------------------------------------------
 */

/* Said if it can be said without waiting. */
static void turn_away(int fd)
{
	static const char busy[] = "{\"error\":\"io.crewd.Manager.Busy\",\"parameters\":{\"why\":"
				   "\"crewd has as many connections as it can serve\"}}";

	if (send(fd, busy, sizeof(busy), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("control", "cannot tell a client why it is refused: %s", strerror(errno));
	close(fd);
}

static bool has_room(const struct conn *conn)
{
	if (control.count >= CREW_CONNECTIONS_MAX)
		return false;
	return conn->kept || control.ordinary < CREW_CONNECTIONS_MAX - CREW_CONNECTIONS_KEPT;
}

static struct conn *conn_new(int fd)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->fd = fd;
	conn->in.max = CREW_MESSAGE_MAX + 1 + READ_SIZE;
	conn->out.max = CREW_OUTPUT_MAX;
	conn->again.fn = on_again;
	conn->again.arg = conn;
	if (identify(conn) == 0 && has_room(conn))
		conn->io = loop_io_new(fd, LOOP_READ, on_conn, conn);
	if (conn->io)
		return conn;
	free(conn);
	return NULL;
}

static void welcome(int fd)
{
	struct conn *conn = conn_new(fd);

	if (!conn) {
		turn_away(fd);
		return;
	}
	control.count++;
	control.ordinary += !conn->kept;
	list_append(&control.conns, &conn->link);
}

/* No descriptor is free: with the spare one the next client is told so, then none is taken for a
 * while, as the listening socket would stay readable and spin. */
static void on_short_of_descriptors(void)
{
	int fd;

	log_warning("control", "cannot accept a client: %s", strerror(errno));
	if (control.spare >= 0) {
		close(control.spare);
		control.spare = -1;
		fd = accept4(control.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			turn_away(fd);
		open_spare();
	}
	listen_on(false);
	loop_timer_at(&control.accept_again, loop_now() + ACCEPT_AGAIN);
}

static void on_listener(int listener, unsigned events, void *arg)
{
	(void)events;
	(void)arg;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			welcome(fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN)
			on_short_of_descriptors();
		return;
	}
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

int control_init(int listener_fd, uint32_t own_uid, uint32_t socket_gid)
{
	control.own_uid = own_uid;
	control.socket_gid = socket_gid;
	list_init(&control.conns);
	list_init(&control.dead);
	control.bury.fn = bury;
	control.accept_again.fn = accept_again;
	control.deaf.fn = on_deaf;
	control.fd = listener_fd;
	open_spare();
	control.io = loop_io_new(listener_fd, LOOP_READ, on_listener, NULL);
	return control.io ? 0 : -1;
}

void control_stop(void)
{
	loop_timer_off(&control.accept_again);
	loop_io_free(control.io);
	control.io = NULL;
}

bool control_idle(void)
{
	list_foreach(e, n,
		     &control.conns) if (list_entry(e, struct conn, link)->out.len) return false;
	return true;
}

unsigned control_connections(void)
{
	return control.count;
}

void control_close(void)
{
	control_stop();
	list_foreach(e, n, &control.conns) close_conn(list_entry(e, struct conn, link));
	loop_timer_off(&control.deaf);
	loop_undefer(&control.bury);
	bury(NULL);
	if (control.fd >= 0)
		close(control.fd);
	if (control.spare >= 0)
		close(control.spare);
	control.fd = control.spare = -1;
}
