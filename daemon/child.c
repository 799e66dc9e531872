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
#include "daemon/keep.h"
#include "daemon/ledger.h"
#include "daemon/loop.h"
#include "daemon/outbox.h"
#include "daemon/sealed.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

#define PACKETS_A_TURN 128

struct slot {
	uint32_t run;	     /* of the record the keeper told last */
	uint8_t state;	     /* enum wire_state */
	bool noted;	     /* the end of that run has been passed on */
	bool output;	     /* its output has been passed on */
	bool pipes;	     /* the ends of its task pipes have been passed on */
	uint32_t input_over; /* the run whose input was closed last */
};

static struct {
	int fd;
	const struct child_events *events;
	struct loop_io *io;
	struct slot slots[CREW_WORKERS_MAX];
	struct outbox out;
	child_config_fn *config_done;
	bool pong, gone;
	struct loop_timer again; /* asks for slots whose descriptors got lost */
	bool lost_any;
	bool lost[CREW_WORKERS_MAX];
	/* only during the hand-over */
	struct found {
		struct wire_child told; /* run 0: nothing was */
		int output, block, task_in, task_out;
	} * found;
	int serial; /* of the last reading of the configuration */
} child = { .fd = -1 };

/* ---- sending ----------------------------------------------------------------------------------
 */

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void arm(void)
{
	if (child.io)
		loop_io_set(child.io,
			    LOOP_READ | (outbox_waits(&child.out) || child.pong ? LOOP_WRITE : 0));
}

static void enqueue(const struct outbox_item *item)
{
	outbox_put(&child.out, child.gone ? -1 : child.fd, item);
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
	outbox_flush(&child.out, child.fd);
	arm();
}

static void send_about(enum wire_type type, unsigned slot, uint32_t run, int value,
		       enum wire_whom whom)
{
	struct outbox_item q = { .type = type,
				 .slot = slot,
				 .run = run,
				 .value = value,
				 .whom = whom,
				 .fds = { -1, -1 } };

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
		.oom = c->oom,
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

/* What came with the news of a slot; -1: was not to come, or got lost. */
struct came {
	int fds[WIRE_CHILD_FDS];
	bool lost_output, lost_pipes;
};

static struct came sort_fds(const struct wire_child *c, const int fds[], unsigned count)
{
	struct came came;
	unsigned used = 0;
	uint32_t lost = 0;

	for (unsigned i = 0; i < WIRE_CHILD_FDS; i++) {
		bool announced = c->fds >> i & 1;

		came.fds[i] = announced && used < count ? fds[used++] : -1;
		if (announced && came.fds[i] < 0)
			lost |= 1u << i;
	}
	while (used < count)
		close(fds[used++]);
	came.lost_output = lost >> WIRE_CHILD_LOG & 1;
	came.lost_pipes = lost & (1u << WIRE_CHILD_IN | 1u << WIRE_CHILD_OUT);
	if (came.lost_pipes) { /* both or none */
		close_fd(came.fds[WIRE_CHILD_IN]);
		close_fd(came.fds[WIRE_CHILD_OUT]);
		came.fds[WIRE_CHILD_IN] = came.fds[WIRE_CHILD_OUT] = -1;
	}
	return came;
}

static void take_output(const struct wire_child *c, const struct came *came)
{
	struct slot *s = &child.slots[c->slot];
	int fd = came->fds[WIRE_CHILD_LOG];

	if (fd >= 0 && s->output)
		close(fd); /* told again, known already */
	else if (fd >= 0)
		child.events->output(c->slot, fd);
	else if (came->lost_output && !s->output)
		note_lost(c->slot);
	s->output |= fd >= 0;
}

/* Those of a run that is over already are nobody's. */
static void take_pipes(const struct wire_child *c, const struct came *came)
{
	struct slot *s = &child.slots[c->slot];
	int in = came->fds[WIRE_CHILD_IN], out = came->fds[WIRE_CHILD_OUT];

	if (came->lost_pipes && !s->pipes)
		note_lost(c->slot);
	if (s->input_over == c->run) { /* it was told before it knew */
		close_fd(in);
		in = -1;
	}
	if (out >= 0 && !s->pipes && c->run == ledger_run(c->slot) && child.events->pipes) {
		child.events->pipes(c->slot, in, out);
	} else {
		close_fd(in);
		close_fd(out);
	}
	s->pipes |= out >= 0;
}

static void take_fds(const struct wire_child *c, const int fds[], unsigned count)
{
	struct came came = sort_fds(c, fds, count);

	close_fd(came.fds[WIRE_CHILD_BLOCK]); /* wanted only at the hand-over */
	take_output(c, &came);
	take_pipes(c, &came);
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
		*s = (struct slot){ .run = c->run, .input_over = s->input_over };
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
	if (c->state == WIRE_STARTING && !c->pid)
		return; /* what comes with it is all that there is so far */
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

static void on_measured(const struct wire *w, int fds[], unsigned count)
{
	while (count)
		close(fds[--count]);
	if (child.events->measured)
		child.events->measured((uint32_t)w->value);
}

static void (*const handlers[])(const struct wire *w, int fds[], unsigned count) = {
	[WIRE_CHILD] = on_child, [WIRE_CONFIG] = on_config,	  [WIRE_LOG] = on_log,
	[WIRE_PING] = on_ping,	 [WIRE_SIGNALLED] = on_signalled, [WIRE_MEASURED] = on_measured,
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

/* A slot is told twice when something happens to it meanwhile; its descriptors come with the first word. */
static void merge_found(struct found *f, const struct wire_child *told, const struct came *came)
{
	bool again = f->told.run == told->run;
	int *const mine[WIRE_CHILD_FDS] = { [WIRE_CHILD_LOG] = &f->output,
					    [WIRE_CHILD_BLOCK] = &f->block,
					    [WIRE_CHILD_IN] = &f->task_in,
					    [WIRE_CHILD_OUT] = &f->task_out };

	for (unsigned i = 0; i < WIRE_CHILD_FDS; i++) {
		if (f->told.run && (!again || came->fds[i] >= 0))
			close_fd(*mine[i]);
		if (!again || came->fds[i] >= 0)
			*mine[i] = came->fds[i];
	}
	f->told = *told;
}

static void keep_child(const struct wire *w, int fds[], unsigned count)
{
	struct came came = sort_fds(&w->child, fds, count);
	const struct wire_child *c = &w->child;
	struct found *f;

	if (c->slot >= CREW_WORKERS_MAX || !c->run) {
		for (unsigned i = 0; i < WIRE_CHILD_FDS; i++)
			close_fd(came.fds[i]);
		return;
	}
	f = &child.found[c->slot];
	merge_found(f, c, &came);
	child.slots[c->slot] = (struct slot){ .run = c->run,
					      .state = (uint8_t)c->state,
					      .output = f->output >= 0,
					      .pipes = f->task_out >= 0 };
	if (came.lost_output || came.lost_pipes)
		note_lost(c->slot);
}

/* Its descriptor is not one to be done without: what is in it would be lost. */
static int take_held(const struct wire *w, int fds[], unsigned count)
{
	if (!count)
		return errno = EMFILE, -1;
	while (count > 1)
		close(fds[--count]);
	keep_found(w->hold.cell, w->hold.name, fds[0]);
	return 0;
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
			keep_child(&w, fds, count);
		else if (w.type == WIRE_HELD && take_held(&w, fds, count) < 0)
			return -1;
		else if (w.type == WIRE_PING)
			send_pong();
	}
	return 0;
}

static void hold(unsigned cell, const char *name, int fd)
{
	struct outbox_item q = {
		.type = WIRE_HOLD, .slot = cell, .value = fd >= 0, .name = name, .fds = { -1, -1 }
	};

	if (fd >= 0) {
		q.fds[0] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (q.fds[0] < 0)
			log_error(name,
				  "the keeper cannot hold its memory, which ends with this "
				  "manager: %s",
				  strerror(errno));
	}
	enqueue(&q);
}

static bool holding_waits(void)
{
	return outbox_waits(&child.out);
}

int child_init(int fd, const struct child_events *events, struct child_hello *hello)
{
	child.fd = fd;
	child.events = events;
	keep_init(hold, holding_waits);
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
				       .block = known ? f->block : -1,
				       .task_in = known ? f->task_in : -1,
				       .task_out = known ? f->task_out : -1 };
	if (!child.events->pipes) {
		close_fd(found->task_in);
		close_fd(found->task_out);
		found->task_in = found->task_out = -1;
	}
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
	outbox_free(&child.out);
	free(child.found);
	child.found = NULL;
}

/* ---- what policy asks for ---------------------------------------------------------------------
 */

static void spawn(struct outbox_item *q, unsigned slot, const char *name, uint32_t pool)
{
	q->type = WIRE_SPAWN;
	q->slot = slot;
	q->run = ledger_run(slot) + 1;
	q->pool = pool;
	q->name = name;
	ledger_set_run(slot, q->run);
	enqueue(q);
}

void child_spawn(unsigned slot, const char *name, uint32_t pool, int run_block)
{
	struct outbox_item q = { .fds = { -1, -1 } };

	if (run_block >= 0) {
		q.with = WIRE_WITH_BLOCK;
		q.fds[0] = fcntl(run_block, F_DUPFD_CLOEXEC, 3);
	}
	spawn(&q, slot, name, pool);
}

void child_fork(unsigned slot, const char *name, uint32_t pool, unsigned from)
{
	struct outbox_item q = { .with = WIRE_WITH_TEMPLATE,
				 .from = from,
				 .from_run = ledger_run(from),
				 .fds = { -1, -1 } };

	spawn(&q, slot, name, pool);
}

int child_spawn_task(unsigned slot, const char *name, uint32_t pool, const struct child_task *task)
{
	struct outbox_item q = { .with = WIRE_WITH_TASK, .args = task->count, .fds = { -1, -1 } };
	int err;

	if (task->count > CREW_TASK_ARGS_MAX || task->args_size > CREW_TASK_ARGS_SIZE)
		return errno = E2BIG, -1;
	if (task->count && task->args_size <= WIRE_TAIL_MAX) {
		q.with |= WIRE_WITH_TAIL;
		q.tail = task->args;
		q.tail_len = task->args_size;
	} else if (task->count) {
		q.with |= WIRE_WITH_ARGS;
		q.fds[0] = sealed_memory("crewd-args", task->args, task->args_size);
		if (q.fds[0] < 0)
			return -1;
	}
	if (task->input_size) {
		q.with |= WIRE_WITH_INPUT;
		q.fds[1] = sealed_memory("crewd-input", task->input, task->input_size);
		if (q.fds[1] < 0) {
			err = errno;
			close_fd(q.fds[0]);
			return errno = err, -1;
		}
	}
	spawn(&q, slot, name, pool);
	return 0;
}

void child_close_input(unsigned slot)
{
	child.slots[slot].input_over = ledger_run(slot);
	send_about(WIRE_CLOSE_INPUT, slot, ledger_run(slot), 0, WIRE_MAIN);
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

void child_measure(int fd, uint32_t serial)
{
	struct outbox_item q = { .type = WIRE_MEASURE,
				 .value = (int)serial,
				 .fds = { fcntl(fd, F_DUPFD_CLOEXEC, 3), -1 } };

	enqueue(&q);
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
	while (outbox_waits(&child.out) && !child.gone && poll(&p, 1, -1) >= 0 &&
	       !(p.revents & (POLLERR | POLLHUP)))
		flush();
}

bool child_status(const char *text)
{
	struct wire w = { .type = WIRE_STATUS };

	strncpy(w.text, text, sizeof(w.text) - 1);
	/* Only the newest matters: the next change tells it again. */
	return !child.gone && wire_send(child.fd, &w, NULL, 0) == 0;
}
