/*
 * The keys of crewd.conf(5), one row each: what reads, checks, prints, plans and hashes the
 * configuration goes through these rows, so that adding a key is adding a field and a row.
 */
#ifndef CREWD_CONF_KEYS_H
#define CREWD_CONF_KEYS_H

#include "daemon/conf.h"
#include "daemon/conf_plan.h"

/* How a value is written, and which field it fills (conf_value.c reads, conf_show.c writes). */
enum conf_type {
	CONF_TYPE_TEXT,	       /* conf_off: any string but "" */
	CONF_TYPE_PATH,	       /* conf_off: absolute, of at most max characters, 0: any number */
	CONF_TYPE_COMMAND,     /* struct conf_list: at least one string */
	CONF_TYPE_ENVIRONMENT, /* struct conf_list: KEY=VALUE, no KEY twice */
	CONF_TYPE_NAMES,       /* struct conf_list: names of pools */
	CONF_TYPE_BOOL,	       /* uint8_t */
	CONF_TYPE_COUNT,       /* uint32_t from min to max; UINT32_MAX: not given */
	CONF_TYPE_DURATION,    /* int64_t, microseconds from min to max; 0 may be written "off" */
	CONF_TYPE_WORD,	       /* uint8_t: index into words */
	CONF_TYPE_OCTAL,       /* 32 bits up to max; -1: not given */
	CONF_TYPE_NICE,	       /* nice and nice_given */
	CONF_TYPE_SIGNAL,      /* int32_t */
	CONF_TYPE_LIMITS,      /* limits, limit_count, limits_text */
	CONF_TYPE_CODES,       /* success_exit */
	CONF_TYPE_LOG,	       /* log and log_file */
	CONF_TYPE_TASKS,       /* uint8_t: enum conf_tasks, 0: not given */
	CONF_TYPE_SIZE,	       /* uint64_t: bytes from min to max */
	CONF_TYPE_KIND,	       /* uint8_t: enum conf_queue_kind */
	CONF_TYPE_QUEUE_NAME,  /* conf_off: a name */
	CONF_TYPE_URL,	       /* conf_off: of a redis */
	CONF_TYPE_COUNT_OF,
};

/* What a file is made of. */
enum conf_section {
	CONF_SECTION_POOL,
	CONF_SECTION_QUEUE,
	CONF_SECTION_TEMPLATE, /* stands among the pools, and has those of their keys that apply to it */
	CONF_SECTIONS
};

struct conf_key {
	const char *name;
	enum conf_section section; /* means nothing for global keys */
	enum conf_type type;
	enum conf_class class;
	size_t offset;	      /* of the field, in struct conf_pool, conf_queue or conf */
	const char *fallback; /* the default, as a file would say it; NULL: not given */
	int64_t min, max;
	const char *const *words; /* CONF_TYPE_WORD, _LOG, _TASKS: ended by NULL */
	bool no_off;		  /* a duration of 0 is not what "off" would mean */
	/* Bit n: of pools whose variant is n (conf_variant()), of queues whose kind is n (enum conf_queue_kind). */
	unsigned only;	/* where the key may stand; 0: everywhere */
	unsigned fixed; /* where nothing but its default will do */
};

/* Rows of a pool that other modules ask for by name. */
enum conf_pool_key {
	CONF_KEY_COMMAND,
	CONF_KEY_ENVIRONMENT,
	CONF_KEY_CLEAN_ENVIRONMENT,
	CONF_KEY_DIRECTORY,
	CONF_KEY_USER,
	CONF_KEY_GROUP,
	CONF_KEY_UMASK,
	CONF_KEY_NICE,
	CONF_KEY_LIMITS,
	CONF_KEY_WORKERS,
	CONF_KEY_AUTOSTART,
	CONF_KEY_RESTART,
	CONF_KEY_RESTART_DELAY,
	CONF_KEY_RESTART_DELAY_MAX,
	CONF_KEY_RESTART_LIMIT,
	CONF_KEY_RESTART_WINDOW,
	CONF_KEY_SUCCESS_EXIT,
	CONF_KEY_READY,
	CONF_KEY_START_TIMEOUT,
	CONF_KEY_WATCHDOG,
	CONF_KEY_STOP_SIGNAL,
	CONF_KEY_STOP_TIMEOUT,
	CONF_KEY_AFTER,
	CONF_KEY_LOG,
	CONF_KEY_INHERITS,
	CONF_KEY_TASKS,
	CONF_KEY_MIN_WORKERS,
	CONF_KEY_IDLE_TIMEOUT,
	CONF_KEY_BACKLOG,
	CONF_KEY_TASK_TIMEOUT,
	CONF_KEY_RETRIES,
	CONF_KEY_MAX_TASKS_PER_WORKER,
	CONF_KEY_PREFETCH,
	CONF_KEY_RESULT_TTL,
	CONF_KEY_QUEUE,
	CONF_KEY_TEMPLATE,
	CONF_KEY_MODULE,
	CONF_KEY_RECYCLE_PRIVATE,
	CONF_KEY_REFORK_AFTER,
	CONF_POOL_KEYS,
};

enum conf_queue_key {
	CONF_KEY_KIND,
	CONF_KEY_MAXSIZE,
	CONF_KEY_MAX_BYTES,
	CONF_KEY_DURABLE,
	CONF_KEY_DEAD,
	CONF_KEY_MAX_DELIVERIES,
	CONF_KEY_PATH,
	CONF_KEY_URL,
	CONF_KEY_QUEUE_USER,
	CONF_KEY_PASSWORD_FILE,
	CONF_QUEUE_KEYS,
};

enum conf_global_key {
	CONF_KEY_SOCKET,
	CONF_KEY_SOCKET_MODE,
	CONF_KEY_SOCKET_GROUP,
	CONF_KEY_STATE_DIR,
	CONF_KEY_MANAGER_USER,
	CONF_KEY_RUN_USER,
	CONF_GLOBAL_KEYS,
};

extern const struct conf_key conf_pool_keys[CONF_POOL_KEYS];
extern const struct conf_key conf_queue_keys[CONF_QUEUE_KEYS];
extern const struct conf_key conf_global_keys[CONF_GLOBAL_KEYS];

/* A section's word, keys, and how many of it there may be. */
struct conf_section_row {
	const char *word, *words; /* one, and many of them */
	const struct conf_key *keys;
	unsigned key_count;
	uint32_t max;
	bool (*name_ok)(const char *name);
	const char *name_rule; /* behind "1 to 64 of A-Z a-z 0-9 _ . -" */
};
extern const struct conf_section_row conf_sections[CONF_SECTIONS];

/* Index of the row called `name`, or -1. */
int conf_key_find(const struct conf_key *keys, unsigned count, const char *name);
/* The row's name most like `name`, or NULL where none is. */
const char *conf_key_like(const struct conf_key *keys, unsigned count, const char *name);
/* Whether the key may stand in a pool of this variant, or a queue whose kind is this. */
bool conf_key_applies(const struct conf_key *key, unsigned variant);
/* Whether values are written as {"a", "b"}. */
bool conf_key_is_list(const struct conf_key *key);

#endif
