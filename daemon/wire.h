/*
 * What keeper and manager say to one another: fixed structs over a SOCK_SEQPACKET pair, one struct
 * a packet, descriptors by SCM_RIGHTS; a request to spawn may have a tail of bytes. Both are the same binary, so there is no version and no byte
 * order; the keeper all the same believes nothing the manager says (ranges, seals, runs are
 * checked).
 *
 * A slot is an index chosen by the manager, < CREW_WORKERS_MAX, the same for a worker as long as
 * the worker is in the table. A run counts the processes a slot has had: a word about a run that is
 * over is ignored.
 */
#ifndef CREWD_WIRE_H
#define CREWD_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/bounds.h"

/* Where a start failed; the text completes "web-1: cannot ...". */
#define WIRE_STEPS(X)                                                                              \
	X(NONE, "")                                                                                \
	X(SPEC, "use what it was told to run")                                                     \
	X(PIPE, "make a pipe")                                                                     \
	X(FORK, "fork")                                                                            \
	X(CGROUP, "enter its cgroup")                                                              \
	X(SESSION, "make a session")                                                               \
	X(STDIO, "connect its standard input and output")                                          \
	X(LIMITS, "set its limits")                                                                \
	X(NICE, "set its niceness")                                                                \
	X(GROUPS, "set its groups")                                                                \
	X(USER, "become its user")                                                                 \
	X(DIRECTORY, "change to its directory")                                                    \
	X(EXEC, "run its command")
enum wire_step {
#define X(name, text) WIRE_STEP_##name,
	WIRE_STEPS(X)
#undef X
		WIRE_STEP_COUNT
};

enum wire_type {
	/* keeper -> manager */
	WIRE_HELLO = 1, /* fds: see enum wire_hello_fd; then one WIRE_CHILD per used slot */
	WIRE_HELLO_END,
	WIRE_CHILD,  /* the truth about a slot, told at every change until acknowledged */
	WIRE_CONFIG, /* answer to WIRE_READ_CONFIG; fds: block (only if ok), error text */
	WIRE_LOG,    /* answer to WIRE_OPEN_LOG, said by the child that opened it; fd if err is 0 */
	WIRE_PING,
	WIRE_SIGNALLED, /* the keeper was sent SIGTERM, SIGINT or SIGHUP (value) */
	WIRE_HELD,	/* during the hand-over: what a manager has given to hold; fd */
	/* manager -> keeper */
	WIRE_PONG = 64,
	WIRE_SPAWN,  /* fds: as spawn.with says */
	WIRE_SIGNAL, /* value: signal; whom: enum wire_whom */
	WIRE_ACK,    /* that run's end has been noted; value 1: the slot is free, drop its block */
	WIRE_AGAIN,  /* tell that slot again, its descriptors too */
	WIRE_READ_CONFIG, /* value: serial, comes back in the answer */
	WIRE_COMMIT,	  /* value: serial of the configuration that is in force from now on */
	WIRE_OPEN_LOG,	  /* value: index of a pool in the configuration in force */
	WIRE_STATUS,	  /* text: for systemd's STATUS= */
	WIRE_READY,	  /* first: READY=1; value 1: RELOADING=1 instead */
	WIRE_CLOSE_INPUT, /* end of file for that run's standard input */
	WIRE_DONE,	  /* all is ended; value: exit code of crewd */
	WIRE_HOLD,	  /* value 1: hold this for the next manager; fd. 0: let go of it */
};

enum wire_hello_fd {
	WIRE_FD_LISTENER, /* the control socket, listening, non-blocking */
	WIRE_FD_NOTIFY,	  /* datagram socket workers notify, SO_PASSCRED set, non-blocking */
	WIRE_FD_LEDGER,	  /* memfd of ledger_size() bytes: the manager's own memory, see ledger.h */
	WIRE_FD_LOGS,	  /* memfd of CREW_WORKERS_MAX * CREW_LOG_RING bytes: last output by slot */
	WIRE_FD_CONF,	  /* the configuration in force, sealed */
	WIRE_FD_CGROUP,	  /* cgroup.kill of all workers, for writing; absent where there is none */
	WIRE_FD_STATE,	  /* state-dir, for openat(2) only; absent where it cannot be had */
	WIRE_FD_MAX
};

/* What WIRE_CHILD passes on, in this order; all do not wait. */
enum wire_child_fd {
	WIRE_CHILD_LOG,	  /* read end of its output */
	WIRE_CHILD_BLOCK, /* the block of a `run` worker */
	WIRE_CHILD_IN,	  /* of a worker that has tasks: write end of its standard input ... */
	WIRE_CHILD_OUT,	  /* ... and read end of its standard output */
	WIRE_CHILD_FDS
};

/* What WIRE_SPAWN comes with; descriptors, all of them sealed memory, in this order. */
enum wire_with {
	WIRE_WITH_BLOCK = 1, /* fd: the one-pool block of a `run` worker */
	WIRE_WITH_ARGS = 2,  /* fd: arguments, each with its NUL, that follow the pool's command */
	WIRE_WITH_INPUT = 4, /* fd: standard input */
	WIRE_WITH_TASK = 8,  /* it is for a pool whose tasks are `exec`, and for no other */
	WIRE_WITH_TAIL = 16, /* no fd: such arguments are the packet's tail, as they are short */
};

enum wire_whom {
	WIRE_MAIN /* the worker's main process */,
	WIRE_ALL /* everything it has started */
};

/* FREE -> STARTING (forked) -> RUNNING (exec done) -> GONE (ended, not yet acknowledged) -> FREE.
 */
enum wire_state { WIRE_FREE, WIRE_STARTING, WIRE_RUNNING, WIRE_GONE };

struct wire_child {
	uint32_t slot, run;
	uint32_t state; /* enum wire_state */
	int32_t pid;
	int32_t step, err;	/* GONE before exec: enum wire_step and errno; else 0 */
	int32_t code, status;	/* GONE: CLD_EXITED and the exit code, CLD_KILLED/CLD_DUMPED and the
				   signal */
	int32_t oom;		/* GONE: the kernel killed it for lack of memory */
	uint32_t fds;		/* attached: bit n is enum wire_child_fd n */
	int64_t started, ended; /* CLOCK_MONOTONIC, microseconds */
	int64_t cpu;		/* GONE: user + system time, microseconds */
	int64_t maxrss;		/* GONE: bytes */
};

struct wire_spawn {
	uint32_t slot, run; /* run must be greater than any before in this slot */
	uint32_t pool; /* index in the configuration in force; UINT32_MAX: the slot's `run` block */
	uint32_t with; /* enum wire_with */
	uint32_t args; /* how many arguments */
	char name[CREW_NAME_MAX + 1];
};

struct wire_hello {
	int32_t keeper;	      /* its pid */
	uint32_t incarnation; /* 1 for the first manager */
	uint32_t children;    /* how many WIRE_CHILD follow */
	uint32_t fds;	  /* bit n: descriptor n of enum wire_hello_fd is attached, in that order */
	int32_t root;	  /* crewd was started by root */
	int32_t journal;  /* standard error is the journal */
	uint32_t uid;	  /* crewd's own uid */
	int32_t stopping; /* signal that asked the keeper to stop, 0 if none has */
	int64_t started;  /* of the keeper, CLOCK_MONOTONIC */
	uint32_t serial;  /* of the configuration in force */
};

struct wire {
	uint32_t type; /* enum wire_type */
	int32_t value; /* as the type says */
	union {
		struct wire_child child;
		struct wire_spawn spawn;
		struct {
			uint32_t slot, run, whom;
		} about; /* SIGNAL, ACK, AGAIN, CLOSE_INPUT */
		struct wire_hello hello;
		struct {
			uint32_t serial;
			int32_t ok;
			int32_t code, status; /* how the reader ended, as in wire_child */
		} config;
		struct {
			uint32_t pool, serial;
			int32_t err; /* 0, or errno of open(2) */
		} log;
		struct {
			uint32_t cell; /* < CREW_QUEUES_SHARED_MAX, chosen by the manager */
			char name[CREW_NAME_MAX + 1];
		} hold;		/* HOLD, HELD */
		char text[256]; /* STATUS, NUL-terminated */
	};
};

#define WIRE_FDS_MAX  8
#define WIRE_TAIL_MAX 4096

struct wire_tail {
	size_t len; /* 0: the packet has none */
	char data[WIRE_TAIL_MAX];
};

/* Sends without waiting. 0, or -1 with errno EAGAIN (full: try when writable) or what sendmsg(2)
 * says. */
int wire_send(int fd, const struct wire *w, const int *fds, unsigned count);
/* With `len` bytes behind it, at most WIRE_TAIL_MAX. */
int wire_send_tail(int fd, const struct wire *w, const char *tail, size_t len, const int *fds,
		   unsigned count);
/* One packet; fds received are close-on-exec, *count of them. 1, 0 when the other side is gone, or
 * -1 with errno (EAGAIN; EMFILE: the packet came, but descriptors were lost; EPROTO: not one of
 * ours). */
int wire_receive(int fd, struct wire *w, int fds[WIRE_FDS_MAX], unsigned *count);
/* The same of one that may have a tail; to wire_receive() such a one is not one of ours. */
int wire_receive_tail(int fd, struct wire *w, struct wire_tail *tail, int fds[WIRE_FDS_MAX],
		      unsigned *count);

#endif
