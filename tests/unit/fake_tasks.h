/* For tests of task pools: a pool "p" as the test wants it, callers that wait, requests. */
#ifndef TEST_FAKE_TASKS_H
#define TEST_FAKE_TASKS_H

#include "daemon/taskpool.h"
#include "tests/unit/fake.h"
#include "tests/unit/fake_channel.h"

/* How pool "p" is defined by start_pool() and reload_pool(); set back to what is usual by usual(). */
struct pool_setup {
	enum conf_tasks tasks;
	uint32_t workers, min_workers, prefetch, retries, backlog, max_tasks, umask, recycle, refork_after;
	int64_t task_timeout, result_ttl, idle_timeout;
	uint32_t restart_limit;
	bool no_autostart, absent;
	const char *after; /* a pool without tasks, defined too */
	const char *queue; /* its tasks come from there, too */
	bool plain;	   /* "p" has no tasks, and restarts always */
};
extern struct pool_setup setup;
void usual(enum conf_tasks tasks, uint32_t workers);
void start_pool(void);	/* from nothing */
void reload_pool(void); /* with `setup` as it is now */
void next_manager(void);

struct taskpool *the_pool(void);
struct worker *w_of(unsigned number);
struct channel *pipe_of(unsigned number);
void up(unsigned number); /* its exec succeeds */
void all_up(void);	  /* of all that are starting */
void assert_worker(unsigned number, enum worker_state state);

/* What a caller that waits has been told. */
struct caller {
	struct task_owner owner; /* first */
	unsigned ended;
	enum task_state state;
	enum task_error error;
	bool has_code;
	int64_t code;
	int exitcode, task_exitcode, signal;
	unsigned attempts, worker;
	char message[256], result[256], data[64];
	size_t result_len;
	struct task *task; /* NULL: it has ended */
};
/* A task with one argument (or that method), owned by `c`, or kept when it is NULL. */
struct task *submit(struct caller *c, const char *arg);
struct task *submit_as(struct caller *c, const struct task_request *r, enum taskpool_error expect);
void assert_refused(enum taskpool_error expect, const char *why);
/* Those that were given to it and have not ended, as "a b c", the arguments of lines. */
const char *hand_of(unsigned number);
const char *queue_of_pool(void);

#define assert_ended(c, s) assert_ended_at(c, s, __LINE__)
void assert_ended_at(const struct caller *c, enum task_state state, int line);

#endif
