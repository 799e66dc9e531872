/*
 * The checked configuration: one flat block of plain structs that refers to itself by offsets.
 *
 * A disposable child (the reader, conf_read.h) makes it from the file; keeper and manager map the
 * same sealed memfd and use it in place. conf_valid() checks a block that comes from elsewhere: a
 * block it accepts can be used without further checks. No function here allocates.
 *
 * Offsets count bytes from the start of the block; offset 0 means "not given" (NULL). Every string
 * is NUL-terminated inside the block. Durations are microseconds, sizes bytes.
 */
#ifndef CREWD_CONF_H
#define CREWD_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_MAGIC   UINT32_C(0x63726577)
#define CONF_VERSION 6
#define CONF_NO_ID   UINT32_MAX /* uid, gid: not given */

typedef uint32_t conf_off;

/* `items` is the offset of `count` conf_off, each the offset of a string; none is 0. */
struct conf_list {
	uint32_t count;
	conf_off items;
};

/* Whom to run as, looked up (getpwnam, getgrouplist) when the file was read. */
struct conf_identity {
	uint32_t uid, gid;	    /* CONF_NO_ID: stay what crewd is */
	uint32_t group_count;	    /* supplementary groups; meaningful when uid is given */
	conf_off groups;	    /* offset of group_count uint32_t */
	conf_off user, home, shell; /* strings; 0 when of no use */
};

/* What a pool is, as far as its keys go: one of enum conf_tasks, or this. */
#define CONF_VARIANT_TEMPLATE 5

enum conf_restart { CONF_RESTART_ALWAYS, CONF_RESTART_ON_FAILURE, CONF_RESTART_NEVER };
enum conf_ready { CONF_READY_EXEC, CONF_READY_NOTIFY };
enum conf_tasks {
	CONF_TASKS_NONE,
	CONF_TASKS_EXEC,
	CONF_TASKS_LINES,
	CONF_TASKS_JSONRPC,
	CONF_TASKS_MODULE
};
enum conf_queue_kind { CONF_QUEUE_MANAGER, CONF_QUEUE_SHARED, CONF_QUEUE_REDIS };
enum conf_log { CONF_LOG_JOURNAL, CONF_LOG_INHERIT, CONF_LOG_DISCARD, CONF_LOG_FILE };

struct conf_limit {
	int32_t resource; /* RLIMIT_* */
	uint32_t pad;
	uint64_t soft, hard; /* RLIM_INFINITY for "unlimited" */
};

struct conf_pool {
	conf_off name, file; /* its file and line, for messages */
	uint32_t line;

	/* how a process is started: a change needs a restart of the pool's workers */
	struct conf_list command, environment; /* KEY=VALUE */
	uint8_t clean_environment;
	conf_off directory;
	conf_off user, group; /* as written, 0 when not given */
	struct conf_identity identity;
	int32_t umask; /* -1: not given */
	int32_t nice;  /* added to crewd's own; meaningful when nice_given */
	uint8_t nice_given;
	conf_off limits; /* offset of limit_count struct conf_limit, 8-aligned */
	uint32_t limit_count;
	struct conf_list limits_text; /* as written, to print and compare */
	uint8_t may_hang; /* no key: its program or directory lies on a file system that may hang */
	uint8_t ready;	  /* enum conf_ready */
	int64_t watchdog; /* 0: off */
	uint8_t tasks;	  /* enum conf_tasks */
	uint8_t is_template; /* a `template`: its process is what workers of other pools are forked from */
	conf_off template;   /* name of the one that this pool's workers are forked from; 0: none, they exec */

	/* The shared object whose crew_run() its workers call, forked from a template that exists for this pool alone
	 * and has this too; 0: none. Live, as it is the template that a change replaces, and the workers follow it. */
	conf_off module;

	/* policy: a change takes effect at once */
	uint32_t workers;
	uint8_t autostart;
	uint8_t restart; /* enum conf_restart */
	int64_t restart_delay, restart_delay_max;
	uint32_t restart_limit; /* 0: never give up */
	int64_t restart_window;
	uint8_t success_exit[32]; /* bit n set: exit code n is success */
	int64_t start_timeout;
	int32_t stop_signal;
	int64_t stop_timeout;
	struct conf_list after;
	uint8_t log; /* enum conf_log */
	conf_off log_file;
	conf_off inherits; /* as written; already applied */

	/* of pools that have tasks */
	uint32_t min_workers; /* UINT32_MAX: not given, as many as workers */
	int64_t idle_timeout;
	uint32_t backlog;
	int64_t task_timeout; /* 0: none */
	uint32_t retries;
	uint32_t max_tasks_per_worker; /* 0: no limit */
	uint32_t prefetch;
	int64_t result_ttl;
	conf_off queue; /* name of the queue that tasks come from, too; 0: none */
	uint64_t recycle_private; /* bytes that a worker may own alone before it is made anew; 0: any */
	uint32_t refork_after;	  /* tasks between two looks at that */
};

struct conf_queue {
	conf_off name, file; /* its file and line, for messages */
	uint32_t line;

	/* what it is: another one only once crewd is started again */
	uint8_t kind;	 /* enum conf_queue_kind */
	uint8_t durable; /* a put is on disk before it is answered */
	conf_off path;	 /* shared: the file that the processes map; 0: made from the name */
	conf_off url, user, password_file; /* redis */

	/* policy: a change takes effect at once */
	uint32_t maxsize;   /* items; 0: no limit but max_bytes */
	uint64_t max_bytes; /* of items */
	uint32_t max_deliveries;
	conf_off dead; /* name of the queue for items that were leased too often; 0: none */
};

struct conf {
	uint32_t magic, version;
	uint32_t size;	 /* of the whole block */
	conf_off file;	 /* the main file's path */
	conf_off socket; /* path */
	uint32_t socket_mode;
	conf_off socket_group;
	uint32_t socket_gid; /* CONF_NO_ID: not given */
	conf_off state_dir;
	conf_off manager_user, run_user; /* as written, or the defaults */
	struct conf_identity manager;	 /* CONF_NO_ID unless root started crewd */
	struct conf_identity run;	 /* likewise; CONF_NO_ID as root: `run` is refused */
	uint32_t pool_count;
	conf_off pools; /* offset of pool_count struct conf_pool, 8-aligned, in the file's order */
	uint32_t queue_count;
	conf_off queues; /* likewise, of struct conf_queue */
};

/* True if the `size` bytes at `block` (8-aligned) are a block this program can use: magic, version,
 * every offset, string, list and enum in range. */
bool conf_valid(const void *block, size_t size);

/* NULL for offset 0. The string lives as long as the block. */
static inline const char *conf_text(const struct conf *conf, conf_off off)
{
	return off ? (const char *)conf + off : NULL;
}

static inline const char *conf_item(const struct conf *conf, struct conf_list list, uint32_t i)
{
	return (const char *)conf +
	       ((const conf_off *)(const void *)((const char *)conf + list.items))[i];
}

static inline const struct conf_pool *conf_pool_at(const struct conf *conf, uint32_t i)
{
	return (const struct conf_pool *)(const void *)((const char *)conf + conf->pools) + i;
}

static inline unsigned conf_variant(const struct conf_pool *p)
{
	return p->is_template ? CONF_VARIANT_TEMPLATE : p->tasks;
}

/* What a worker that stays speaks; NULL: it has no tasks, or one that is its process. */
static inline const char *conf_protocol(const struct conf_pool *p)
{
	if (p->tasks == CONF_TASKS_LINES)
		return "lines";
	return p->tasks == CONF_TASKS_JSONRPC || p->tasks == CONF_TASKS_MODULE ? "jsonrpc" : NULL;
}

static inline const struct conf_queue *conf_queue_at(const struct conf *conf, uint32_t i)
{
	return (const struct conf_queue *)(const void *)((const char *)conf + conf->queues) + i;
}

static inline const uint32_t *conf_groups(const struct conf *conf, const struct conf_identity *id)
{
	return (const uint32_t *)(const void *)((const char *)conf + id->groups);
}

static inline const struct conf_limit *conf_limits(const struct conf *conf,
						   const struct conf_pool *p)
{
	return (const struct conf_limit *)(const void *)((const char *)conf + p->limits);
}

static inline bool conf_is_success(const struct conf_pool *p, int exitcode)
{
	return exitcode >= 0 && exitcode <= 255 &&
	       (p->success_exit[exitcode / 8] >> (exitcode % 8) & 1);
}

#endif
