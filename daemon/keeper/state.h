/* What the keeper knows, all of it, in one static place; and what its files offer to one another. */
#ifndef CREWD_STATE_H
#define CREWD_STATE_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "daemon/conf.h"
#include "daemon/keeper/table.h"

struct snapshot {
	int fd; /* sealed, -1: none */
	const struct conf *conf;
	int serial;
};

struct keeper {
	const char *config;
	bool root, activated;
	int64_t started;
	char socket[PATH_MAX];
	int lock, epoll, signals, tick;
	int listener, notify, ledger, logs, cgroup, state; /* handed to every manager */
	struct snapshot now, next;

	int link;	 /* to the manager, -1: none */
	pid_t manager;	 /* 0: none */
	bool saying;	 /* EPOLLOUT is asked for */
	bool hello_over; /* this manager has been told who is there */
	bool ready;	 /* ... and has said that it is ready */
	unsigned incarnation;
	bool retry;			       /* what could not be said is said at the next tick */
	int64_t begun, heard, begin_at, delay; /* last PONG; when to start the next one */
	struct conf_identity as;	       /* whom managers run as; the same for all of them */

	struct {
		pid_t pid;
		int block, text, serial, code, status;
		int64_t deadline;
		bool finished; /* the answer is still to be sent */
		bool again;    /* asked for anew meanwhile: this answer is not wanted */
	} reader;

	unsigned untold; /* signals to be passed on, a bit each */
	int stopping;	 /* first SIGTERM or SIGINT */
	bool finishing;	 /* the manager is done, or is not waited for */
	int exitcode;
};
extern struct keeper k;

/* start.c */
/* Both return 0 or crewd's exit code; errors are printed. */
int start_read(const char *config, struct snapshot *snap);
int start_all(const char *config, const char *socket);
void start_undo(void);
void start_begin_read(int serial); /* its end comes by start_read_done() */
void start_read_done(const siginfo_t *si);
void start_forget_read(void); /* nobody wants the answer any more */
bool start_take(int block, int serial, struct snapshot *snap); /* seals and checks; owns block */
void start_drop(struct snapshot *snap);
/* link.c */
void link_begin(void);	       /* starts a manager */
void link_lost(bool killed);   /* it is dead; killed: by SIGKILL, so not of itself */
void link_io(bool to_the_end); /* hears what the manager says: a turn's worth, or all */
void link_talk(void);	       /* sends what there is to say, as far as it goes */
void link_tick(int64_t now);
/* keeper.c */
void keeper_watch(int fd, uint32_t events, uint64_t what, bool is_new);
void keeper_spawn(struct slot *s, uint32_t pool, const struct wire_tail *tail);
void keeper_kill(const struct slot *s, int sig); /* everything it has started */
void keeper_kill_all(void);
#define WATCH_SIGNALS UINT64_C(0x100000000)
#define WATCH_TICK    UINT64_C(0x200000000)
#define WATCH_LINK    UINT64_C(0x300000000)

#endif
