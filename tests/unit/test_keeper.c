/*
 * The keeper, alive, with managers that do only what a test wants: this program is keeper, reader, manager
 * and worker, as crewd is. A scenario is a list of what one manager after the other does; each ends by
 * SIGKILL, the last one by child_done(), whose exit code is the keeper's and so the test's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "daemon/child.h"
#include "daemon/conf_read.h"
#include "daemon/keeper/keeper.h"
#include "daemon/ledger.h"
#include "daemon/loop.h"
#include "daemon/sealed.h"
#include "daemon/wire.h"
#include "lib/clock.h"

#define CHANNEL	 3
#define DEADLINE (30 * USEC_PER_SEC) /* only ever a limit for what has gone wrong */
#define SLOTS	 600

enum { PLAIN, LINES, EXEC, AS_USER }; /* pools, in the order of the configuration */

/* ---- a worker --------------------------------------------------------------------------------- */

/* "0p1p2p": each descriptor there is, and whether it is a pipe, /dev/null or memory. */
static void say_descriptors(void)
{
	for (int fd = 0; fd < 65536; fd++) {
		char path[64], to[64] = "";

		if (fcntl(fd, F_GETFD) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, to, sizeof(to) - 1) < 0)
			to[0] = '?';
		printf("%d%c", fd, to[0] == '/' ? to[1] : to[0]);
	}
}

/* Answers each line by the same with a ! behind; "fds" and "exit N" are told apart. */
static int work_on_lines(void)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "exit ", 5) == 0)
			return atoi(line + 5);
		if (strcmp(line, "fds") == 0)
			say_descriptors();
		else
			fputs(line, stdout);
		puts("!");
		fflush(stdout);
	}
	puts("end of input");
	return 0;
}

/* Nobody may change what the manager handed over, not even by opening it anew. */
static const char *try_to_change_input(void)
{
	struct stat st;
	int fd;

	if (fstat(0, &st) < 0 || !S_ISREG(st.st_mode))
		return "kept";
	fd = open("/proc/self/fd/0", O_RDWR);
	if (write(0, "x", 1) >= 0 || (fd >= 0 && pwrite(fd, "x", 1, 0) >= 0))
		return "changed";
	return "kept";
}

static int work_on_task(int count, char **args)
{
	size_t total = 0;
	char part[65536];
	ssize_t n;

	for (int i = 0; i < count; i++)
		total += strlen(args[i]);
	say_descriptors();
	printf(" %s %d %zu %s:", try_to_change_input(), count, total, count ? args[0] : "");
	fflush(stdout);
	while ((n = read(0, part, sizeof(part))) > 0)
		for (ssize_t at = 0; at < n;) {
			ssize_t done = write(1, part + at, (size_t)(n - at));

			if (done < 0)
				return 1;
			at += done;
		}
	return 3;
}

/* ---- a manager -------------------------------------------------------------------------------- */

static struct child_hello hello;
static struct seen {
	bool running, pipes, ended, told; /* told: running or ended */
	int in, out;
	pid_t pid;
	struct child_end end;
} seen[SLOTS];
static bool close_all; /* of what comes */

static void __attribute__((noreturn)) finish(int code)
{
	child_done(code);
	_exit(0);
}

static void check(bool ok, const char *what, int line)
{
	if (ok)
		return;
	fprintf(stderr, "test_keeper.c:%d: %s (manager %u)\n", line, what, hello.incarnation);
	finish(9);
}
#define CHECK(condition) check(condition, #condition, __LINE__)

static void on_forked(unsigned slot, pid_t pid)
{
	seen[slot].pid = pid;
}

static void on_running(unsigned slot, pid_t pid, int64_t started)
{
	(void)started;
	seen[slot].running = seen[slot].told = true;
	seen[slot].pid = pid;
}

static void on_ended(unsigned slot, const struct child_end *end)
{
	seen[slot].ended = seen[slot].told = true;
	seen[slot].end = *end;
}

static void on_output(unsigned slot, int fd)
{
	(void)slot;
	close(fd);
}

static void on_pipes(unsigned slot, int in, int out)
{
	CHECK(!seen[slot].pipes && !seen[slot].running);
	seen[slot].pipes = true;
	seen[slot].in = in;
	seen[slot].out = out;
	if (close_all) {
		close(in);
		close(out);
	}
}

static void on_keeper_gone(void)
{
	_exit(1);
}

static const struct child_events events = {
	.forked = on_forked,
	.running = on_running,
	.ended = on_ended,
	.output = on_output,
	.pipes = on_pipes,
	.keeper_gone = on_keeper_gone,
};

static void on_tick(void *arg)
{
	(void)arg;
	loop_stop();
}

/* Listens to the keeper, and says what there is to say, until it is so. */
static void wait_for(const bool *condition, int line)
{
	static struct loop_timer tick = { .fn = on_tick };
	int64_t until = clock_now() + DEADLINE;

	while (!*condition) {
		check(clock_now() < until, "it does not come", line);
		loop_timer_at(&tick, clock_now() + USEC_PER_MSEC);
		loop_run();
	}
}
#define WAIT(flag) wait_for(&(flag), __LINE__)

/* One more byte range of what a worker says, until `end` bytes or end of file: what came. */
static size_t hear(int fd, char *text, size_t want)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t have = 0;

	while (have < want && poll(&p, 1, (int)(DEADLINE / USEC_PER_MSEC)) > 0) {
		ssize_t n = read(fd, text + have, want - have);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return have;
}

static void expect(int fd, const char *text, int line)
{
	char got[256];
	size_t n = hear(fd, got, strlen(text));

	got[n] = '\0';
	if (strcmp(got, text) != 0)
		fprintf(stderr, "got: %s\n", got);
	check(strcmp(got, text) == 0, text, line);
}
#define EXPECT(fd, text) expect(fd, text, __LINE__)

static void expect_end(int fd, int line)
{
	char more;

	check(hear(fd, &more, 1) == 0, "it should end here", line);
}
#define EXPECT_END(fd) expect_end(fd, __LINE__)

static void say(int fd, const char *text)
{
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void start(unsigned slot, uint32_t pool)
{
	static char names[SLOTS][16];

	seen[slot] = (struct seen){ .in = -1, .out = -1 };
	snprintf(names[slot], sizeof(names[slot]), "w-%u", slot + 1);
	child_spawn(slot, names[slot], pool, -1);
}

static int start_task(unsigned slot, uint32_t pool, const struct child_task *task)
{
	static char names[SLOTS][16];

	seen[slot] = (struct seen){ .in = -1, .out = -1 };
	snprintf(names[slot], sizeof(names[slot]), "t-%u", slot + 1);
	return child_spawn_task(slot, names[slot], pool, task);
}

static void exited(unsigned slot, int code, int line)
{
	const struct child_end *e = &seen[slot].end;

	wait_for(&seen[slot].ended, line);
	if (e->step || e->code != CLD_EXITED || e->status != code)
		fprintf(stderr, "step %d, err %d, code %d, status %d\n", e->step, e->err, e->code,
			e->status);
	check(!e->step && e->code == CLD_EXITED && e->status == code, "exit code", line);
}
#define EXITED(slot, code) exited(slot, code, __LINE__)

static void refused(unsigned slot, int step, int err, int line)
{
	const struct child_end *e = &seen[slot].end;

	wait_for(&seen[slot].ended, line);
	if (e->step != step || e->err != err)
		fprintf(stderr, "step %d, err %d, code %d, status %d\n", e->step, e->err, e->code,
			e->status);
	check(e->step == step && e->err == err, "refused", line);
}
#define REFUSED(slot, step, err) refused(slot, step, err, __LINE__)

/* ---- scenarios -------------------------------------------------------------------------------- */

static bool waits_not(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK && fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static void lines(void)
{
	int pending = -1;

	start(0, LINES);
	WAIT(seen[0].running);
	CHECK(seen[0].pipes && waits_not(seen[0].in) && waits_not(seen[0].out));
	start(1, LINES);
	start(2, PLAIN);
	WAIT(seen[1].running);
	WAIT(seen[2].running);
	CHECK(!seen[2].pipes);
	say(seen[0].in, "a\nfds\n");
	EXPECT(seen[0].out, "a!\n0p1p2p!\n");
	say(seen[1].in, "b\n");
	EXPECT(seen[1].out, "b!\n");

	/* Only when both have closed it there is an end; what was started since holds no end of it. */
	close(seen[0].in);
	child_close_input(0);
	EXITED(0, 0);
	EXPECT(seen[0].out, "end of input\n"); /* it is dead, what it said is there */
	EXPECT_END(seen[0].out);
	CHECK(!seen[1].ended && !seen[2].ended);

	/* What a dead worker has not read can be counted. */
	child_signal(1, SIGSTOP, false);
	say(seen[1].in, "twelve bytes");
	child_signal(1, SIGKILL, true);
	WAIT(seen[1].ended);
	CHECK(ioctl(seen[1].in, FIONREAD, &pending) == 0 && (pending == 12 || pending == 0));
	CHECK(write(seen[1].in, "x", 1) < 0 && errno == EPIPE);
	finish(0);
}

/* The input stays open as long as the keeper holds it, whatever the manager does with its own end. */
static void hand_over(void)
{
	struct child_found f[2];

	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++) {
		struct child_found found;

		child_found(i, &found);
		if (i < 2)
			f[i] = found;
	}
	if (hello.incarnation == 1) {
		start(0, LINES);
		start(1, LINES);
		WAIT(seen[0].running);
		WAIT(seen[1].running);
		say(seen[0].in, "one\n");
		say(seen[1].in, "last\nexit 7\n");
		raise(SIGKILL);
	}
	CHECK(f[0].run == 1 && f[0].task_out >= 0 && waits_not(f[0].task_out));
	if (hello.incarnation == 2) {
		CHECK(f[0].alive && f[0].task_in >= 0 && waits_not(f[0].task_in));
		EXPECT(f[0].task_out, "one!\n");
		say(f[0].task_in, "two\n");
		EXPECT(f[0].task_out, "two!\n");
		/* The other one ended between the two managers, or does so now. */
		EXPECT(f[1].task_out, "last!\n");
		EXPECT_END(f[1].task_out);
		if (f[1].alive)
			EXITED(1, 7);
		else
			CHECK(f[1].end.status == 7);
		child_close_input(0);
		raise(SIGKILL);
	}
	CHECK(f[0].task_in < 0);
	EXPECT(f[0].task_out, "end of input\n");
	EXPECT_END(f[0].task_out);
	finish(0);
}

static void close_early(void)
{
	start(0, LINES);
	child_close_input(0);
	EXITED(0, 0);
	CHECK(seen[0].pipes && seen[0].in < 0);
	EXPECT(seen[0].out, "end of input\n");
	EXPECT_END(seen[0].out);
	/* It was about that run only. */
	start(0, LINES);
	WAIT(seen[0].running);
	say(seen[0].in, "again\n");
	EXPECT(seen[0].out, "again!\n");
	finish(0);
}

/* The answer of a task, to its end. */
static void answer(unsigned slot, const char *head, const char *input, size_t size, int line)
{
	size_t length = strlen(head), want = length + size + 1;
	char *got = malloc(want);

	wait_for(&seen[slot].pipes, line);
	check(got && seen[slot].in < 0 && seen[slot].out >= 0, "its pipes", line);
	check(hear(seen[slot].out, got, want) == want - 1, "length of the answer", line);
	if (memcmp(got, head, length) != 0)
		fprintf(stderr, "got: %.*s\n", (int)length, got);
	check(memcmp(got, head, length) == 0, head, line);
	check(!size || memcmp(got + length, input, size) == 0, "its input", line);
	close(seen[slot].out);
	free(got);
	exited(slot, 3, line);
}
#define ANSWER(slot, head, input, size) answer(slot, head, input, size, __LINE__)

static void exec_tasks(void)
{
	static char big[CREW_TASK_ARGS_SIZE];
	struct child_task task = { .args = "first\0second", .args_size = 13, .count = 2 };

	CHECK(start_task(0, EXEC, &task) == 0);
	ANSWER(0, "0d1p2p kept 2 11 first:", NULL, 0);
	task.input = "hello";
	task.input_size = 5;
	CHECK(start_task(0, EXEC, &task) == 0);
	ANSWER(0, "0m1p2p kept 2 11 first:", "hello", 5);
	/* no arguments: nothing is left of those before */
	task = (struct child_task){ 0 };
	CHECK(start_task(0, EXEC, &task) == 0);
	ANSWER(0, "0d1p2p kept 0 0 :", NULL, 0);

	/* as much as goes into a packet, and one more */
	for (size_t size = WIRE_TAIL_MAX; size <= WIRE_TAIL_MAX + 1; size++) {
		char head[64];

		memset(big, 'y', size);
		memcpy(big, "long", 5);
		big[size - 1] = '\0';
		task = (struct child_task){ .args = big, .args_size = size, .count = 2 };
		CHECK(start_task(0, EXEC, &task) == 0);
		snprintf(head, sizeof(head), "0d1p2p kept 2 %zu long:", size - 2);
		ANSWER(0, head, NULL, 0);
	}

	/* 9 arguments of 99,999 characters, and 1 MiB of input */
	memset(big, 'x', sizeof(big));
	for (int i = 1; i <= 9; i++)
		big[i * 100000 - 1] = '\0';
	memcpy(big, "big", 4);
	task = (struct child_task){ .args = big,
				    .args_size = 900000,
				    .count = 10,
				    .input = big,
				    .input_size = sizeof(big) };
	CHECK(start_task(1, EXEC, &task) == 0);
	ANSWER(1, "0m1p2p kept 10 899990 big:", big, sizeof(big));
	finish(0);
}

static void too_big(void)
{
	static char big[CREW_TASK_ARGS_SIZE + 1];
	struct child_task task = { .args = big, .args_size = 200001, .count = 1 };

	memset(big, 'x', 200000); /* more than the kernel takes of one string */
	CHECK(start_task(0, EXEC, &task) == 0);
	REFUSED(0, WIRE_STEP_EXEC, E2BIG);
	task = (struct child_task){ .args = big, .args_size = sizeof(big), .count = 1 };
	CHECK(start_task(1, EXEC, &task) < 0 && errno == E2BIG);
	memset(big, 0, sizeof(big));
	task.args_size = task.count = CREW_TASK_ARGS_MAX + 1;
	CHECK(start_task(1, EXEC, &task) < 0 && errno == E2BIG);
	CHECK(ledger_run(1) == 0); /* nothing was asked for */
	/* as many as there may be: empty ones */
	task.args_size = task.count = CREW_TASK_ARGS_MAX;
	CHECK(start_task(1, EXEC, &task) == 0);
	ANSWER(1, "0d1p2p kept 65536 0 :", NULL, 0);
	finish(0);
}

/* More than may be on their way to exec at a time. */
static void many_tasks(void)
{
	char args[SLOTS][16];

	for (unsigned i = 0; i < SLOTS; i++) {
		int n = snprintf(args[i], sizeof(args[i]), "task %u", i);
		struct child_task task = { .args = args[i],
					   .args_size = (size_t)n + 1,
					   .count = 1,
					   .input = args[i],
					   .input_size = (size_t)n };

		CHECK(start_task(i, EXEC, &task) == 0);
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		char head[64];

		snprintf(head, sizeof(head), "0m1p2p kept 1 %zu %s:", strlen(args[i]), args[i]);
		ANSWER(i, head, args[i], strlen(args[i]));
	}
	finish(0);
}

/* The same of one that does not borrow the keeper's memory: those that wait have their arguments all the same. */
static void many_of_a_user(void)
{
	static char texts[200][32];

	for (unsigned i = 0; i < 200; i++) {
		int n = snprintf(texts[i], sizeof(texts[i]), "x%ctask %u", 0, i);
		struct child_task task = { .args = texts[i],
					   .args_size = (size_t)n + 1,
					   .count = 2 };

		CHECK(start_task(i, AS_USER, &task) == 0);
	}
	for (unsigned i = 0; i < 200; i++) {
		WAIT(seen[i].pipes);
		EXPECT(seen[i].out, texts[i] + 2);
		EXPECT_END(seen[i].out);
		close(seen[i].out);
		EXITED(i, 0);
	}
	finish(0);
}

/* Tasks that the keeper was asked for are done, whatever becomes of the manager; those in line too. */
static void hand_over_tasks(void)
{
	bool theirs[SLOTS] = { false }; /* those whose end the first manager has not heard of */

	if (hello.incarnation == 1) {
		for (unsigned i = 0; i < SLOTS; i++) {
			struct child_task task = { .args = "x", .args_size = 2, .count = 1 };

			CHECK(start_task(i, EXEC, &task) == 0);
		}
		WAIT(seen[0].told);
		raise(SIGKILL);
	}
	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++) {
		struct child_found f;

		child_found(i, &f);
		if (!f.run)
			continue;
		theirs[i] = true;
		if (f.output >= 0)
			close(f.output);
		seen[i] = (struct seen){ .pipes = f.task_out >= 0,
					 .ended = !f.alive,
					 .in = f.task_in,
					 .out = f.task_out,
					 .end = f.end };
	}
	for (unsigned i = 0; i < SLOTS; i++)
		if (theirs[i])
			ANSWER(i, "0d1p2p kept 1 1 x:", NULL, 0);
	finish(0);
}

static void wrong_kind(void)
{
	struct child_task task = { .args = "x", .args_size = 2, .count = 1 };

	start(0, EXEC);
	REFUSED(0, WIRE_STEP_SPEC, ECANCELED);
	CHECK(start_task(1, LINES, &task) == 0);
	REFUSED(1, WIRE_STEP_SPEC, ECANCELED);
	CHECK(start_task(2, PLAIN, &task) == 0);
	REFUSED(2, WIRE_STEP_SPEC, ECANCELED);
	CHECK(start_task(3, 77, &task) == 0);
	REFUSED(3, WIRE_STEP_SPEC, ECANCELED);
	CHECK(start_task(4, UINT32_MAX, &task) == 0);
	REFUSED(4, WIRE_STEP_SPEC, ECANCELED);
	finish(0);
}

/* A request as only a manager that somebody took over would make it; fd -1: none. */
static void ask_tail(unsigned slot, uint32_t with, uint32_t args, int fd, const char *tail,
		     size_t len)
{
	struct wire w = { .type = WIRE_SPAWN };

	seen[slot] = (struct seen){ .in = -1, .out = -1 };
	ledger_set_run(slot, ledger_run(slot) + 1);
	w.spawn = (struct wire_spawn){ .slot = slot,
				       .run = ledger_run(slot),
				       .pool = EXEC,
				       .with = with | WIRE_WITH_TASK,
				       .args = args };
	strcpy(w.spawn.name, "x-1");
	CHECK(wire_send_tail(CHANNEL, &w, tail, len, &fd, fd >= 0) == 0);
	close(fd);
}

static void ask(unsigned slot, uint32_t with, uint32_t args, int fd)
{
	ask_tail(slot, with, args, fd, NULL, 0);
}

static int unsealed(const char *text, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK(fd >= 0 && write(fd, text, size) == (ssize_t)size);
	return fd;
}

static int sparse(off_t size)
{
	int fd = unsealed("", 0);

	CHECK(ftruncate(fd, size) == 0);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) == 0);
	return fd;
}

static void hostile(void)
{
	struct child_task task = { .args = "good", .args_size = 5, .count = 1 };
	int p[2];

	CHECK(pipe2(p, O_CLOEXEC) == 0);
	ask(0, WIRE_WITH_ARGS, 1, unsealed("a", 2));
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask(0, WIRE_WITH_ARGS, 1, p[0]); /* which would be waited for */
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask(0, WIRE_WITH_INPUT, 0, p[1]);
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask(0, WIRE_WITH_INPUT, 0, unsealed("a", 1));
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask(0, WIRE_WITH_ARGS, 2, sealed_memory("test", "a", 2));
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask(0, WIRE_WITH_ARGS, 1, sealed_memory("test", "a\0b", 4));
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask(0, WIRE_WITH_ARGS, 2, sealed_memory("test", "a\0b", 3));
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask(0, WIRE_WITH_ARGS, 1, sealed_memory("test", "", 0));
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask(0, WIRE_WITH_ARGS, UINT32_MAX, sparse(CREW_TASK_ARGS_SIZE));
	REFUSED(0, WIRE_STEP_SPEC, E2BIG);
	ask(0, WIRE_WITH_ARGS, 1, sparse((off_t)1 << 40));
	REFUSED(0, WIRE_STEP_SPEC, E2BIG);
	ask(0, WIRE_WITH_ARGS, 1, -1);
	REFUSED(0, WIRE_STEP_SPEC, EMFILE);
	ask(0, WIRE_WITH_ARGS | WIRE_WITH_INPUT, 1, sealed_memory("test", "a", 2));
	REFUSED(0, WIRE_STEP_SPEC, EMFILE);
	ask_tail(0, WIRE_WITH_TAIL, 2, -1, "a", 2);
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask_tail(0, WIRE_WITH_TAIL, 2, -1, "a\0b", 3);
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask_tail(0, WIRE_WITH_TAIL, 1, -1, NULL, 0);
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask_tail(0, WIRE_WITH_TAIL | WIRE_WITH_ARGS, 1, sealed_memory("test", "a", 2), "a", 2);
	REFUSED(0, WIRE_STEP_SPEC, EINVAL);
	ask_tail(0, 0, 0, -1, "a", 2); /* not what it is said to have come with */
	ANSWER(0, "0d1p2p kept 0 0 :", NULL, 0);
	CHECK(start_task(0, EXEC, &task) == 0);
	ANSWER(0, "0d1p2p kept 1 4 good:", NULL, 0);
	finish(0);
}

/* Descriptors run out: it is said, and there is room again when a worker is gone. */
static void descriptors_run_out(void)
{
	unsigned n = 0;

	close_all = true; /* this process has not got more of them either */
	do {
		start(n, LINES);
		WAIT(seen[n].told);
	} while (!seen[n].ended && ++n < 100);
	CHECK(n > 3 && n < 100);
	REFUSED(n, WIRE_STEP_PIPE, EMFILE);
	for (unsigned i = 0; i < 2; i++) {
		child_signal(i, SIGKILL, true);
		WAIT(seen[i].ended);
		child_forget(i);
	}
	start(n, LINES);
	WAIT(seen[n].running);
	finish(0);
}

/* A worker that is another user can open its own ends by name. */
static void other_user(void)
{
	struct child_task task = { .input = "through names", .input_size = 13 };
	char got[32] = "";

	CHECK(start_task(0, AS_USER, &task) == 0);
	WAIT(seen[0].pipes);
	CHECK(hear(seen[0].out, got, sizeof(got)) == 13 && strcmp(got, "through names") == 0);
	EXITED(0, 0);
	finish(0);
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Descriptors that the manager has no use for do not stay open in it. */
static void nobody_wants_them(void)
{
	unsigned before = open_fds();

	if (hello.incarnation == 2)
		for (unsigned i = 0; i < CREW_WORKERS_MAX; i++) {
			struct child_found f;

			child_found(i, &f);
			CHECK(f.task_in < 0 && f.task_out < 0);
			if (f.output >= 0)
				close(f.output);
			before -= f.output >= 0;
		}
	if (hello.incarnation == 2) {
		CHECK(open_fds() == before - 2); /* in and out were open until then */
		finish(0);
	}
	start(0, LINES);
	WAIT(seen[0].running);
	CHECK(open_fds() == before);
	raise(SIGKILL);
}

static const struct scenario {
	const char *name;
	void (*run)(void);
	bool no_pipes;
	rlim_t descriptors; /* 0: as many as there may be */
} scenarios[] = {
	{ .name = "lines", .run = lines },
	{ .name = "hand-over", .run = hand_over },
	{ .name = "close early", .run = close_early },
	{ .name = "exec", .run = exec_tasks },
	{ .name = "too big", .run = too_big },
	{ .name = "many tasks", .run = many_tasks },
	{ .name = "many of a user", .run = many_of_a_user },
	{ .name = "hand-over of tasks", .run = hand_over_tasks },
	{ .name = "wrong kind", .run = wrong_kind },
	{ .name = "hostile", .run = hostile },
	{ .name = "descriptors run out", .run = descriptors_run_out, .descriptors = 64 },
	{ .name = "other user", .run = other_user },
	{ .name = "nobody wants them", .run = nobody_wants_them, .no_pipes = true },
};

static int manager(void)
{
	const struct scenario *s = scenarios;
	struct child_events mine = events;

	signal(SIGPIPE, SIG_IGN);
	fcntl(CHANNEL, F_SETFD, FD_CLOEXEC);
	fcntl(CHANNEL, F_SETFL, O_NONBLOCK);
	while (strcmp(s->name, getenv("TEST_SCENARIO")) != 0)
		s++;
	if (s->no_pipes)
		mine.pipes = NULL;
	if (loop_init() < 0 || child_init(CHANNEL, &mine, &hello) < 0 ||
	    ledger_init(hello.fds[WIRE_FD_LEDGER]) < 0)
		return 1;
	s->run();
	return 1;
}

/* ---- the tests -------------------------------------------------------------------------------- */

static char self[4096], directory[64];

static void write_config(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	if (geteuid() == 0)
		fputs("manager-user = \"nobody\"\n", f);
	fprintf(f,
		"state-dir = \"%s/state\"\n"
		"pool plain { command = {\"sleep\", \"1000\"} }\n"
		"pool lines { command = {\"%s\", \"--lines\"} tasks = lines }\n"
		"pool exec { command = {\"%s\", \"--task\"} tasks = exec }\n"
		"pool user { command = {\"sh\", \"-c\", \"cat /dev/stdin >/dev/stdout; printf %%s \\\"$1\\\"\"}\n"
		"  tasks = exec%s }\n",
		directory, self, self, geteuid() == 0 ? " user = games" : "");
	assert_int_equal(fclose(f), 0);
}

static void become_keeper(const struct scenario *s, const char *config, const char *socket)
{
	struct rlimit limit = { s->descriptors, s->descriptors };

	if (s->descriptors)
		setrlimit(RLIMIT_NOFILE, &limit);
	setenv("TEST_SCENARIO", s->name, 1);
	execl(self, self, "--keeper", config, socket, NULL);
	_exit(1);
}

/* Its exit code, -1 if it had to be killed. */
static int wait_keeper(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	assert_true(pidfd >= 0);
	if (poll(&p, 1, (int)(4 * DEADLINE / USEC_PER_MSEC)) <= 0)
		kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(pidfd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_scenario(void **state)
{
	const struct scenario *s = *state;
	char config[128], socket[128];
	pid_t pid;

	snprintf(config, sizeof(config), "%s/crewd.conf", directory);
	snprintf(socket, sizeof(socket), "%s/s", directory);
	write_config(config);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		become_keeper(s, config, socket);
	assert_int_equal(wait_keeper(pid), 0);
}

static int group_setup(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/crewd-test-keeper-XXXXXX");
	return mkdtemp(directory) && chmod(directory, 0755) == 0 ? 0 : -1;
}

static int group_teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command);
}

int main(int argc, char **argv)
{
	enum { COUNT = sizeof(scenarios) / sizeof(*scenarios) };
	struct CMUnitTest tests[COUNT];
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "--internal=manager") == 0)
		return manager();
	if (strcmp(what, "--internal=reader") == 0)
		return conf_reader_main(argv[2]);
	if (strcmp(what, "--keeper") == 0)
		return keeper_main(&(struct keeper_options){ argv[2], argv[3] });
	if (strcmp(what, "--lines") == 0)
		return work_on_lines();
	if (strcmp(what, "--task") == 0)
		return work_on_task(argc - 2, argv + 2);
	if (!realpath("/proc/self/exe", self))
		return 1;
	for (unsigned i = 0; i < COUNT; i++)
		tests[i] = (struct CMUnitTest){ scenarios[i].name, test_scenario, NULL, NULL,
						(void *)(uintptr_t)&scenarios[i] };
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
