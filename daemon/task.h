/*
 * One task: from queued to done, and what became of it. Knows nothing of how it reaches a worker.
 *
 * queued -> running -> succeeded | failed | cancelled; back to queued when its worker died and it may be
 * given out again.
 *
 * Whose it is: a task with an owner (a caller that waits) is handed to it when it has ended, and the owner
 * frees it. One without is kept until its result was fetched or result-ttl is over. IDs are
 * SALT-INCARNATION-NUMBER: salt of this keeper, incarnation of the manager, so that an ID of a manager
 * that is no more is known as such. Times are microseconds of the loop's clock.
 */
#ifndef CREWD_TASK_H
#define CREWD_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/list.h"

struct taskpool;
struct task_kind;
struct task;

/* enum name, text in the protocol */
#define TASK_STATES(X)                                                                             \
	X(QUEUED, "queued")                                                                        \
	X(RUNNING, "running")                                                                      \
	X(SUCCEEDED, "succeeded")                                                                  \
	X(FAILED, "failed")                                                                        \
	X(CANCELLED, "cancelled")
enum task_state {
#define X(name, text) TASK_##name,
	TASK_STATES(X)
#undef X
		TASK_STATE_COUNT
};

/* Why it failed: an error of the task's own, or one of crewd's. */
enum task_error { TASK_OWN, TASK_WORKER_DIED, TASK_TIMED_OUT, TASK_TOO_BIG, TASK_BAD_ANSWER };

struct task_failure {
	enum task_error error;
	char *message;	      /* owned */
	int signal, exitcode; /* of its worker or process; 0 and -1 when they do not apply */
	bool has_code;
	int64_t code; /* of a JSON-RPC error object */
	char *data;   /* JSON text, owned; NULL: none */
	size_t size;  /* of all this */
};

/* A caller that waits; lies inside the caller's state. The task is the owner's from here on. */
struct task_owner {
	void (*ended)(struct task *t, struct task_owner *owner);
};

enum task_form { TASK_TEXT, TASK_JSON };

struct task {
	struct list
		link; /* the pool's queue, the hand of a runner, or the results; when ended: the owner's */
	struct list by_id; /* task.c's */
	uint64_t number;
	struct taskpool *pool; /* never NULL: it lives as long as any task of it */
	const struct task_kind
		*kind;		  /* that its payload is made for; the pool may have another now */
	struct task_owner *owner; /* until it has let go of it */
	uint32_t index;		  /* the owner's */
	uint8_t state;		  /* enum task_state */
	uint8_t form;		  /* of its result: enum task_form */
	bool unwanted;		  /* nobody will ask for its result */
	bool fetched;		  /* somebody has, and it goes as soon as nobody awaits it */
	bool owns_result;
	unsigned awaited;  /* calls that wait for its end without owning it */
	unsigned attempts; /* how often it was given to a worker */
	unsigned worker;   /* number of the worker that has or had it, 0: none */
	int exitcode;	   /* exec; -1: none */
	int64_t queued, started, finished;
	int64_t wall; /* what makes them microseconds since 1970, as the clock was when it came */
	uint64_t begin, end; /* where its request lies in what its worker is sent */
	const char *result;
	size_t result_len;
	struct task_failure *failure; /* owned; only when failed */
	size_t size;		      /* of the payload */
	char payload[];		      /* the kind's encoding */
};

/* Upward talk; set once, all given. */
struct task_observer {
	void (*changed)(const struct task *t); /* its state has another value */
	void (*awaited_ended)(struct task *t); /* somebody waits for it without owning it */
	void (*has_room)(void);		       /* task_new() has refused one, and may not now */
};
void task_observe(const struct task_observer *o);

/* What IDs begin with. */
void task_init(uint32_t salt, uint32_t incarnation);
/* A queued task with room for a payload of `size` bytes; NULL with errno ENOMEM, or ENOBUFS when there are
 * as many tasks, or as many bytes of them, as may be. */
struct task *task_new(struct taskpool *pool, size_t size);
/* Whatever its state; the caller has seen to it that nobody else refers to it. */
void task_free(struct task *t);

#define TASK_ID_SIZE 48
char *task_id(const struct task *t, char buf[TASK_ID_SIZE]);
enum task_found { TASK_FOUND, TASK_UNKNOWN, TASK_OF_ANOTHER_MANAGER };
enum task_found task_find(const char *id, struct task **out);
struct task *task_by_number(uint64_t number); /* NULL: it is no more */
const char *task_state_name(enum task_state s);
bool task_has_ended(const struct task *t);

/* To those who wait for it without owning it. */
void task_tell_awaited(struct task *t);
/* Sets the state and tells. */
void task_set_state(struct task *t, enum task_state state);
/* The result: `data` is only lent for as long as the call that ends it, and copied when it is kept. */
void task_lend_result(struct task *t, const char *data, size_t len, enum task_form form);
/* Copies what is lent; when there is no memory for it the task has failed instead. */
void task_keep_result(struct task *t);
/* Notes why it fails; message is copied. The state is set by the caller. NULL: only that it fails could be
 * noted, for lack of memory. */
struct task_failure *task_note_failure(struct task *t, enum task_error error, const char *message);
/* What else its worker has said of it: JSON text, the task's from now on. A failure has been noted. */
void task_note_data(struct task *t, char *data);

unsigned task_count(void); /* of all pools, ended ones too */

#endif
