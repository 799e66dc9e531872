#include "daemon/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "daemon/wire.h"
#include "daemon/ledger.h"
#include "daemon/loop.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

#define PACKETS_A_TURN 128

/* What could not be sent at once, in order. Much smaller than a packet, as thousands may wait. */
struct waiting {
	uint8_t type;
	uint8_t whom;
	int value;
	uint32_t slot, run, pool;
	int fd;
	const char *name;
};

struct slot {
	uint32_t run;  /* of the record the keeper told last */
	uint8_t state; /* enum wire_state */
	bool noted;    /* the end of that run has been passed on */
	bool output;   /* its output has been passed on */
};

static struct {
	int fd;
	const struct child_events *events;
	struct loop_io *io;
	struct slot slots[CREW_WORKERS_MAX];
	struct waiting *queue; /* ring */
	unsigned head, count, cap;
	child_config_fn *config_done;
	bool pong, gone;
	struct loop_timer again; /* asks for slots whose descriptors got lost */
	bool lost_any;
	bool lost[CREW_WORKERS_MAX];
	/* only during the hand-over */
	struct found {
		struct wire_child told;
		int output, block;
	} * found;
	int serial; /* of the last reading of the configuration */
} child = { .fd = -1 };

/* ---- sending ----------------------------------------------------------------------------------
 */

static void compose(struct wire *w, const struct waiting *q)
{
	memset(w, 0, sizeof(*w));
	w->type = q->type;
	w->value = q->value;
	if (q->type == WIRE_SPAWN) {
		w->spawn = (struct wire_spawn){ .slot = q->slot, .run = q->run, .pool = q->pool };
		strncpy(w->spawn.name, q->name, CREW_NAME_MAX);
		return;
	}
	w->about.slot = q->slot;
	w->about.run = q->run;
	w->about.whom = q->whom;
}

static int send_one(const struct waiting *q)
{
	struct wire w;

	compose(&w, q);
	if (wire_send(child.fd, &w, &q->fd, q->fd >= 0) < 0)
		return -1;
	if (q->fd >= 0)
		close(q->fd);
	return 0;
}

static void grow_queue(void)
{
	unsigned cap = child.cap ? child.cap * 2 : 64;
	struct waiting *bigger = calloc(cap, sizeof(*bigger));

	if (!bigger) { /* what was accepted must not be lost: let the next manager do it */
		log_error(NULL, "no memory to talk to the keeper");
		abort();
	}
	for (unsigned i = 0; i < child.count; i++)
		bigger[i] = child.queue[(child.head + i) % child.cap];
	free(child.queue);
	child.queue = bigger;
	child.head = 0;
	child.cap = cap;
}

static void arm(void)
{
	if (child.io)
		loop_io_set(child.io, LOOP_READ | (child.count || child.pong ? LOOP_WRITE : 0));
}

static void enqueue(const struct waiting *q)
{
	if (child.gone) {
		if (q->fd >= 0)
			close(q->fd);
		return;
	}
	if (!child.count && send_one(q) == 0)
		return;
	if (child.count == child.cap)
		grow_queue();
	child.queue[(child.head + child.count++) % child.cap] = *q;
	arm();
}

static void send_pong(void)
{
	struct wire w = { .type = WIRE_PONG };

	child.pong = wire_send(child.fd, &w, NULL, 0) < 0 && errno == EAGAIN;
}

static void flush(void)
{
	if (child.pong)
		send_pong();
	while (child.count && send_one(&child.queue[child.head]) == 0) {
		child.head = (child.head + 1) % child.cap;
		child.count--;
	}
	if (!child.count) {
		free(child.queue);
		child.queue = NULL;
		child.cap = child.head = 0;
	}
	arm();
}

static void send_about(enum wire_type type, unsigned slot, uint32_t run, int value,
		       enum wire_whom whom)
{
	struct waiting q = {
		.type = type, .slot = slot, .run = run, .value = value, .whom = whom, .fd = -1
	};

	enqueue(&q);
}

static void send_value(enum wire_type type, int value)
{
	send_about(type, 0, 0, value, WIRE_MAIN);
}

/* ---- what the keeper says ---------------------------------------------------------------------
 */

static struct child_end end_of(const struct wire_child *c)
{
	return (struct child_end){
		.step = c->step,
		.err = c->err,
		.code = c->code,
		.status = c->status,
		.started = c->started,
		.ended = c->ended,
		.run = c->run,
	};
}

static void on_again(void *arg)
{
	(void)arg;
	child.lost_any = false;
	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++)
		if (child.lost[i]) {
			child.lost[i] = false;
			send_about(WIRE_AGAIN, i, child.slots[i].run, 0, WIRE_MAIN);
		}
}

/* Descriptors did not fit (EMFILE): ask later, when some are free again. */
static void note_lost(unsigned slot)
{
	if (!child.lost_any)
		log_warning("manager", "out of file descriptors: a worker's output has to wait");
	child.lost[slot] = child.lost_any = true;
	child.again.fn = on_again;
	if (!child.again.armed)
		loop_timer_at(&child.again, clock_now() + USEC_PER_SEC);
}

static void take_fds(const struct wire_child *c, int fds[], unsigned count)
{
	unsigned i = 0;

	if (c->fds & 1 && i < count) {
		int fd = fds[i];

		fds[i++] = -1;
		if (child.slots[c->slot].output)
			close(fd); /* told again, known already */
		else
			child.events->output(c->slot, fd);
		child.slots[c->slot].output = true;
	} else if (c->fds & 1 && !child.slots[c->slot].output) {
		note_lost(c->slot);
	}
	for (; i < count; i++) /* a run block: wanted only at the hand-over */
		if (fds[i] >= 0)
			close(fds[i]);
}

static void pass_end(const struct wire_child *c, struct slot *s)
{
	struct child_end end = end_of(c);

	if (s->noted)
		return;
	s->noted = true;
	/* It was too quick for the keeper to say so in between, but it has been running. */
	if (s->state != WIRE_RUNNING && c->pid && !c->step)
		child.events->running(c->slot, c->pid, c->started);
	s->state = WIRE_GONE;
	child.events->ended(c->slot, &end);
	if (ledger_run(c->slot) == c->run) /* else the next start has said so already */
		send_about(WIRE_ACK, c->slot, c->run, 0, WIRE_MAIN);
}

static void on_child(const struct wire *w, int fds[], unsigned count)
{
	const struct wire_child *c = &w->child;
	struct slot *s;
	bool fresh;

	if (c->slot >= CREW_WORKERS_MAX)
		return;
	s = &child.slots[c->slot];
	fresh = c->run != s->run;
	if (fresh)
		*s = (struct slot){ .run = c->run };
	take_fds(c, fds, count);
	if (c->run != ledger_run(c->slot)) {
		if (c->state == WIRE_GONE)
			send_about(WIRE_ACK, c->slot, c->run, 0, WIRE_MAIN);
		return;
	}
	if (!fresh && c->state == s->state)
		return;
	if (c->state == WIRE_GONE) {
		pass_end(c, s);
		return;
	}
	s->state = (uint8_t)c->state;
	if (c->state == WIRE_STARTING)
		child.events->forked(c->slot, c->pid);
	else if (c->state == WIRE_RUNNING)
		child.events->running(c->slot, c->pid, c->started);
}

/* The texts come in a memfd that the keeper's reader wrote; its size was bounded there, and is
 * again here. */
static char *read_text(int fd)
{
	char *text = calloc(1, CREW_CONF_ERRORS_MAX + 4096);
	ssize_t n = text && fd >= 0 ? pread(fd, text, CREW_CONF_ERRORS_MAX + 4095, 0) : -1;

	if (n < 0 && text)
		text[0] = '\0';
	return text;
}

/* Something to say in every case: a reader that was killed has said nothing itself. */
static const char *why_not(const struct wire *w, char *text)
{
	static char why[128];

	if (text && text[0])
		return text;
	if (w->config.code == CLD_EXITED)
		snprintf(why, sizeof(why), "the configuration was not accepted\n");
	else
		snprintf(why, sizeof(why), "the reader of the configuration was killed by %s\n",
			 text_signal_name(w->config.status));
	return why;
}

static void on_config(const struct wire *w, int fds[], unsigned count)
{
	child_config_fn *done = child.config_done;
	int block = w->config.ok && count > 0 ? fds[0] : -1;
	int errors = w->config.ok ? (count > 1 ? fds[1] : -1) : (count ? fds[count - 1] : -1);
	char *text = read_text(errors);

	if (errors >= 0)
		close(errors);
	if (!w->config.ok && count > 1)
		close(fds[0]);
	child.config_done = NULL;
	if (done)
		done(block, w->config.serial, why_not(w, text));
	else if (block >= 0)
		close(block);
	free(text);
}

static void on_log(const struct wire *w, int fds[], unsigned count)
{
	int fd = count ? fds[0] : -1;

	child.events->log_file(w->log.pool, fd, fd >= 0 ? 0 : (w->log.err ? w->log.err : EMFILE));
}

static void on_ping(const struct wire *w, int fds[], unsigned count)
{
	(void)w;
	(void)fds;
	(void)count;
	send_pong();
	arm();
}

static void on_signalled(const struct wire *w, int fds[], unsigned count)
{
	(void)fds;
	(void)count;
	child.events->signalled(w->value);
}

static void (*const handlers[])(const struct wire *w, int fds[], unsigned count) = {
	[WIRE_CHILD] = on_child, [WIRE_CONFIG] = on_config,	  [WIRE_LOG] = on_log,
	[WIRE_PING] = on_ping,	 [WIRE_SIGNALLED] = on_signalled,
};

static void lose_keeper(void)
{
	if (child.gone)
		return;
	child.gone = true;
	loop_io_free(child.io);
	child.io = NULL;
	child.events->keeper_gone();
}

/* False when there is nothing more to read for now. */
static bool receive_one(void)
{
	int fds[WIRE_FDS_MAX];
	unsigned count = 0;
	struct wire w;
	int n = child.gone ? 0 : wire_receive(child.fd, &w, fds, &count);

	if (n == 0) {
		lose_keeper();
		return false;
	}
	if (n < 0 && errno != EMFILE) {
		if (errno != EAGAIN && errno != EPROTO)
			lose_keeper();
		return errno == EPROTO;
	}
	if (w.type < sizeof(handlers) / sizeof(*handlers) && handlers[w.type])
		handlers[w.type](&w, fds, count);
	else
		while (count)
			close(fds[--count]);
	return true;
}

static void on_io(int fd, unsigned events, void *arg)
{
	(void)fd;
	(void)arg;
	if (events & LOOP_WRITE)
		flush();
	if (events & LOOP_READ)
		for (int i = 0; i < PACKETS_A_TURN && receive_one(); i++)
			;
}

void child_catch_up(void)
{
	for (int i = 0; i < PACKETS_A_TURN && receive_one(); i++)
		;
}

/* ---- hand-over --------------------------------------------------------------------------------
 */

static void keep_found(const struct wire *w, int fds[], unsigned count)
{
	unsigned slot = w->child.slot, i = 0;
	struct found *f;

	if (slot < CREW_WORKERS_MAX) {
		f = &child.found[slot];
		*f = (struct found){ .told = w->child, .output = -1, .block = -1 };
		child.slots[slot] =
			(struct slot){ .run = w->child.run, .state = (uint8_t)w->child.state };
		if (w->child.fds & 1 && i < count)
			f->output = fds[i++];
		else if (w->child.fds & 1)
			note_lost(slot);
		if (w->child.fds & 2 && i < count)
			f->block = fds[i++];
		child.slots[slot].output = f->output >= 0;
	}
	while (i < count)
		close(fds[i++]);
}

static void take_hello(const struct wire *w, const int fds[], unsigned count,
		       struct child_hello *hello)
{
	const struct wire_hello *h = &w->hello;
	unsigned used = 0;

	*hello = (struct child_hello){ .keeper = h->keeper,
				       .started = h->started,
				       .incarnation = h->incarnation,
				       .serial = h->serial,
				       .uid = h->uid,
				       .root = h->root,
				       .journal = h->journal,
				       .stopping = h->stopping };
	for (unsigned i = 0; i < WIRE_FD_MAX; i++)
		hello->fds[i] = h->fds >> i & 1 && used < count ? fds[used++] : -1;
}

static int wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return -1;
	return 0;
}

static int receive_hello(int fd, struct child_hello *hello)
{
	struct wire w = { 0 };

	while (w.type != WIRE_HELLO_END) {
		int fds[WIRE_FDS_MAX];
		unsigned count = 0;
		int n = wire_receive(fd, &w, fds, &count);

		if (n == 0)
			return errno = EPIPE, -1;
		if (n < 0 && errno == EAGAIN && wait_readable(fd) == 0)
			continue;
		if (n < 0 && errno != EMFILE)
			return -1;
		if (w.type == WIRE_HELLO)
			take_hello(&w, fds, count, hello);
		else if (w.type == WIRE_CHILD)
			keep_found(&w, fds, count);
		else if (w.type == WIRE_PING)
			send_pong();
	}
	return 0;
}

int child_init(int fd, const struct child_events *events, struct child_hello *hello)
{
	child.fd = fd;
	child.events = events;
	child.found = calloc(CREW_WORKERS_MAX, sizeof(*child.found));
	if (!child.found || receive_hello(fd, hello) < 0)
		return -1;
	child.serial = (int)hello->serial;
	child.io = loop_io_new(fd, LOOP_READ, on_io, NULL);
	return child.io ? 0 : -1;
}

void child_found(unsigned slot, struct child_found *found)
{
	const struct found *f = &child.found[slot];
	const struct wire_child *c = &f->told;
	bool known = c->run != 0;

	*found = (struct child_found){ .run = c->run,
				       .alive = c->state == WIRE_STARTING ||
						c->state == WIRE_RUNNING,
				       .executed = c->state == WIRE_RUNNING,
				       .pid = c->pid,
				       .end = end_of(c),
				       .output = known ? f->output : -1,
				       .block = known ? f->block : -1 };
	child.slots[slot].noted = c->state == WIRE_GONE;
	if (slot == CREW_WORKERS_MAX - 1) {
		free(child.found);
		child.found = NULL;
	}
}

void child_close(void)
{
	loop_timer_off(&child.again);
	loop_io_free(child.io);
	child.io = NULL;
	free(child.queue);
	free(child.found);
	child.queue = NULL;
	child.found = NULL;
	child.count = child.cap = 0;
}

/* ---- what policy asks for ---------------------------------------------------------------------
 */

void child_spawn(unsigned slot, const char *name, uint32_t pool, int run_block)
{
	struct waiting q = { .type = WIRE_SPAWN,
			     .slot = slot,
			     .run = ledger_run(slot) + 1,
			     .pool = pool,
			     .name = name,
			     .fd = -1 };

	ledger_set_run(slot, q.run);
	if (run_block >= 0)
		q.fd = fcntl(run_block, F_DUPFD_CLOEXEC, 3);
	enqueue(&q);
}

void child_signal(unsigned slot, int sig, bool all)
{
	send_about(WIRE_SIGNAL, slot, ledger_run(slot), sig, all ? WIRE_ALL : WIRE_MAIN);
}

void child_noted(unsigned slot)
{
	if (child.slots[slot].state == WIRE_GONE)
		send_about(WIRE_ACK, slot, child.slots[slot].run, 0, WIRE_MAIN);
}

void child_forget(unsigned slot)
{
	send_about(WIRE_ACK, slot, ledger_run(slot), 1, WIRE_MAIN);
}

int child_read_config(child_config_fn *done)
{
	if (child.config_done)
		return errno = EBUSY, -1;
	child.config_done = done;
	child.serial = child.serial < INT32_MAX ? child.serial + 1 : 1;
	send_value(WIRE_READ_CONFIG, child.serial);
	return 0;
}

void child_commit(uint32_t serial)
{
	send_value(WIRE_COMMIT, (int)serial);
}

void child_open_log(uint32_t pool)
{
	send_value(WIRE_OPEN_LOG, (int)pool);
}

void child_ready(bool reloading)
{
	send_value(WIRE_READY, reloading);
}

/* The last word: it is waited for, as nothing comes after it. */
void child_done(int exitcode)
{
	struct pollfd p = { .fd = child.fd, .events = POLLOUT };

	send_value(WIRE_DONE, exitcode);
	while (child.count && !child.gone && poll(&p, 1, -1) >= 0 &&
	       !(p.revents & (POLLERR | POLLHUP)))
		flush();
}

void child_status(const char *text)
{
	struct wire w = { .type = WIRE_STATUS };

	strncpy(w.text, text, sizeof(w.text) - 1);
	if (!child.gone) /* only the newest matters: the next change tells it again */
		(void)wire_send(child.fd, &w, NULL, 0);
}
