/*
 * The manager's view of the keeper: the only file that speaks its wire. Down: spawn, signal,
 * forget. Up: callbacks given at start. Unit tests of policy link a fake instead.
 */
#ifndef CREWD_CHILD_H
#define CREWD_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child_end {
	int step, err;	  /* it did not get as far as exec: enum wire_step, errno; else 0, 0 */
	int code, status; /* CLD_EXITED and exit code, CLD_KILLED or CLD_DUMPED and signal */
	bool oom;	  /* the kernel killed it for lack of memory */
	int64_t started, ended; /* CLOCK_MONOTONIC microseconds */
	uint32_t run;		/* which of the slot's processes it was */
};

/* Called from the loop, never from inside a call below (but for child_catch_up()). */
struct child_events {
	void (*forked)(unsigned slot, pid_t pid);
	void (*running)(unsigned slot, pid_t pid, int64_t started); /* exec has succeeded */
	void (*ended)(unsigned slot, const struct child_end *end);
	/* The worker's output: a descriptor (non-blocking, now the callee's) to read. Comes with or
	 * before `running`, or later when descriptors were short. */
	void (*output)(unsigned slot, int fd);
	/* The other ends of a task worker's standard input (-1: it has none of ours, or it was closed) and
	 * output, both non-blocking, now the callee's. The same is true of them as of `output`. May be
	 * NULL: then nobody wants them. */
	void (*pipes)(unsigned slot, int in, int out);
	/* A log file has been opened, or not (fd -1, errno). fd is the callee's. */
	void (*log_file)(uint32_t pool, int fd, int err);
	void (*signalled)(int sig); /* crewd was sent SIGTERM, SIGINT or SIGHUP */
	void (*measured)(uint32_t serial); /* the answer to child_measure(); may be NULL */
	void (*keeper_gone)(void);
};

/* What the keeper said at the hand-over. */
struct child_hello {
	pid_t keeper;
	int64_t started;
	uint32_t incarnation, serial, uid;
	bool root, journal;
	int stopping; /* signal that asked crewd to stop, 0: none */
	int fds[8];   /* enum wire_hello_fd; -1: absent; the callee's */
};
struct child_found {
	uint32_t run; /* 0: the keeper knows nothing of this slot */
	bool alive, executed;
	pid_t pid;
	struct child_end end;  /* when not alive */
	int output;	       /* read end of its output, or -1; the callee's */
	int block;	       /* sealed block of a `run` worker, or -1; the callee's */
	int task_in, task_out; /* as in child_events.pipes, or -1; the callee's */
};

/* Takes over the channel and waits (it is the only wait) until the keeper has told all. 0, or -1
 * with errno. */
int child_init(int fd, const struct child_events *events, struct child_hello *hello);
void child_close(void);
/* Of each slot, once, after child_init(). */
void child_found(unsigned slot, struct child_found *found);
/* Takes in what the keeper has said so far, so that a pid is known before its first message is
 * looked at. */
void child_catch_up(void);

/* Asks for a process; `name` must live as long as the worker. `run_block` < 0: pool `pool` of the
 * configuration in force, else a sealed memfd with a one-pool block (duplicated; still the
 * caller's). The answer is `running` or `ended`, always. */
void child_spawn(unsigned slot, const char *name, uint32_t pool, int run_block);
/* The same, forked from the process of a template that is there: another slot. The answer may be that it is there no
 * more: step WIRE_STEP_TEMPLATE, ECONNRESET. Nothing tells how long a template takes: child_signal() ends the wait. */
void child_fork(unsigned slot, const char *name, uint32_t pool, unsigned from);
/* A process for one task of a pool whose tasks are `exec` (of others it is refused, as child_spawn() is of
 * such a pool): its command, then these arguments; `input` is its standard input, empty: /dev/null. All is
 * copied. 0, or -1 with errno (E2BIG, or no memory or descriptor): then there is no answer. */
struct child_task {
	const char *args; /* `count` strings, each with its NUL, one behind the other; bounds.h */
	size_t args_size;
	unsigned count;
	const char *input;
	size_t input_size;
};
int child_spawn_task(unsigned slot, const char *name, uint32_t pool, const struct child_task *task);
/* No more comes on its standard input: the keeper gives up its end too, and once the caller has closed its own
 * the worker reads end of file. Nothing if the worker is gone, or has no such input. */
void child_close_input(unsigned slot);
/* To its main process, or to everything it has started. Nothing if it is gone. */
void child_signal(unsigned slot, int sig, bool all);
/* After child_found(): an end that it told has been noted, the keeper need not tell it again.
 * (After events->ended this is done by itself.) */
void child_noted(unsigned slot);
/* The slot may be used for another worker. Only when it has no process. */
void child_forget(unsigned slot);

/* Reads the configuration file in a process of its own. `done` is called once, later: `block` is a
 * sealed memfd (the callee's) or -1, then `errors` says why. One at a time: -1 with errno EBUSY. */
typedef void child_config_fn(int block, uint32_t serial, const char *errors);
int child_read_config(child_config_fn *done);
/* Asks for struct wire_measure's of the memory to be filled in; fd is copied. The answer may not come. */
void child_measure(int fd, uint32_t serial);
void child_commit(uint32_t serial);  /* that configuration is in force from now on */
void child_open_log(uint32_t pool);  /* answer: log_file */
bool child_status(const char *text); /* for systemd's STATUS=; false: it was not said */
void child_ready(bool reloading);    /* READY=1, or RELOADING=1 */
void child_done(int exitcode);	     /* everything has ended: crewd may exit */

#endif
