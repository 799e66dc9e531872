#include "daemon/conf_keys.h"

#include <string.h>

#include "lib/bounds.h"
#include "lib/text.h"

#define MS    INT64_C(1000)
#define YEAR  (INT64_C(366) * 86400 * 1000000)
#define IN(f) offsetof(struct conf_pool, f)
#define AT(f) offsetof(struct conf, f)
#define OF(f) offsetof(struct conf_queue, f)

/* Kinds of pools: whose workers stay for more than one task, and all that have tasks. */
#define EXEC	(UINT32_C(1) << CONF_TASKS_EXEC)
#define SERVING (UINT32_C(1) << CONF_TASKS_LINES | UINT32_C(1) << CONF_TASKS_JSONRPC)
#define MODULE	(UINT32_C(1) << CONF_TASKS_MODULE)
#define LASTING (SERVING | MODULE)
#define TASKS	(EXEC | LASTING)
#define PLAIN	(UINT32_C(1) << CONF_TASKS_NONE)
#define POOLS	(PLAIN | TASKS) /* all but templates */

/* In the order of the enums in conf.h. */
static const char *const restart_words[] = { "always", "on-failure", "never", NULL };
static const char *const ready_words[] = { "exec", "notify", NULL };
static const char *const tasks_words[] = { "exec", "lines", "jsonrpc", "module", NULL }; /* from 1 on */
static const char *const kind_words[] = { "manager", "shared", "redis", NULL };
static const char *const log_words[] = { "journal", "inherit", "discard", NULL };

const struct conf_key conf_pool_keys[CONF_POOL_KEYS] = {
	[CONF_KEY_COMMAND] = { .name = "command",
			       .type = CONF_TYPE_COMMAND,
			       .class = CONF_RESTART,
			       .offset = IN(command) },
	[CONF_KEY_ENVIRONMENT] = { .name = "environment",
				   .type = CONF_TYPE_ENVIRONMENT,
				   .class = CONF_RESTART,
				   .offset = IN(environment) },
	[CONF_KEY_CLEAN_ENVIRONMENT] = { .name = "clean-environment",
					 .type = CONF_TYPE_BOOL,
					 .class = CONF_RESTART,
					 .offset = IN(clean_environment),
					 .fallback = "false" },
	[CONF_KEY_DIRECTORY] = { .name = "directory",
				 .type = CONF_TYPE_PATH,
				 .class = CONF_RESTART,
				 .offset = IN(directory) },
	[CONF_KEY_USER] = { .name = "user",
			    .type = CONF_TYPE_TEXT,
			    .class = CONF_RESTART,
			    .offset = IN(user) },
	[CONF_KEY_GROUP] = { .name = "group",
			     .type = CONF_TYPE_TEXT,
			     .class = CONF_RESTART,
			     .offset = IN(group) },
	[CONF_KEY_UMASK] = { .name = "umask",
			     .type = CONF_TYPE_OCTAL,
			     .class = CONF_RESTART,
			     .offset = IN(umask),
			     .max = 0777 },
	[CONF_KEY_NICE] = { .name = "nice",
			    .type = CONF_TYPE_NICE,
			    .class = CONF_RESTART,
			    .offset = IN(nice),
			    .min = -20,
			    .max = 19 },
	[CONF_KEY_LIMITS] = { .name = "limits",
			      .type = CONF_TYPE_LIMITS,
			      .class = CONF_RESTART,
			      .offset = IN(limits_text) },
	[CONF_KEY_WORKERS] = { .name = "workers",
			       .type = CONF_TYPE_COUNT,
			       .class = CONF_LIVE,
			       .offset = IN(workers),
			       .fallback = "1",
			       .max = CREW_WORKERS_MAX,
			       .only = POOLS },
	[CONF_KEY_AUTOSTART] = { .name = "autostart",
				 .type = CONF_TYPE_BOOL,
				 .class = CONF_LIVE,
				 .offset = IN(autostart),
				 .fallback = "true",
				 .only = POOLS },
	[CONF_KEY_RESTART] = { .name = "restart",
			       .type = CONF_TYPE_WORD,
			       .class = CONF_LIVE,
			       .offset = IN(restart),
			       .fallback = "always",
			       .words = restart_words,
			       .fixed = TASKS,
			       .only = POOLS },
	[CONF_KEY_RESTART_DELAY] = { .name = "restart-delay",
				     .type = CONF_TYPE_DURATION,
				     .class = CONF_LIVE,
				     .offset = IN(restart_delay),
				     .fallback = "100ms",
				     .min = 0,
				     .max = YEAR },
	[CONF_KEY_RESTART_DELAY_MAX] = { .name = "restart-delay-max",
					 .type = CONF_TYPE_DURATION,
					 .class = CONF_LIVE,
					 .offset = IN(restart_delay_max),
					 .fallback = "30s",
					 .min = 0,
					 .max = YEAR },
	[CONF_KEY_RESTART_LIMIT] = { .name = "restart-limit",
				     .type = CONF_TYPE_COUNT,
				     .class = CONF_LIVE,
				     .offset = IN(restart_limit),
				     .fallback = "10",
				     .max = 1000000 },
	[CONF_KEY_RESTART_WINDOW] = { .name = "restart-window",
				      .type = CONF_TYPE_DURATION,
				      .class = CONF_LIVE,
				      .offset = IN(restart_window),
				      .fallback = "60s",
				      .min = MS,
				      .max = YEAR },
	[CONF_KEY_SUCCESS_EXIT] = { .name = "success-exit",
				    .type = CONF_TYPE_CODES,
				    .class = CONF_LIVE,
				    .offset = IN(success_exit),
				    .fallback = "0",
				    .max = 255,
				    .only = POOLS },
	[CONF_KEY_READY] = { .name = "ready",
			     .type = CONF_TYPE_WORD,
			     .class = CONF_RESTART,
			     .offset = IN(ready),
			     .fallback = "exec",
			     .words = ready_words,
			     .fixed = EXEC,
			     .only = POOLS },
	[CONF_KEY_START_TIMEOUT] = { .name = "start-timeout",
				     .type = CONF_TYPE_DURATION,
				     .class = CONF_LIVE,
				     .offset = IN(start_timeout),
				     .fallback = "30s",
				     .min = MS,
				     .max = YEAR },
	[CONF_KEY_WATCHDOG] = { .name = "watchdog",
				.type = CONF_TYPE_DURATION,
				.class = CONF_RESTART,
				.offset = IN(watchdog),
				.fallback = "off",
				.max = YEAR,
				.fixed = EXEC,
				.only = POOLS },
	[CONF_KEY_STOP_SIGNAL] = { .name = "stop-signal",
				   .type = CONF_TYPE_SIGNAL,
				   .class = CONF_LIVE,
				   .offset = IN(stop_signal),
				   .fallback = "TERM",
				   .min = 1,
				   .max = 64 },
	[CONF_KEY_STOP_TIMEOUT] = { .name = "stop-timeout",
				    .type = CONF_TYPE_DURATION,
				    .class = CONF_LIVE,
				    .offset = IN(stop_timeout),
				    .fallback = "10s",
				    .max = YEAR },
	[CONF_KEY_AFTER] = { .name = "after",
			     .type = CONF_TYPE_NAMES,
			     .class = CONF_LIVE,
			     .offset = IN(after),
			     .only = POOLS },
	[CONF_KEY_LOG] = { .name = "log",
			   .type = CONF_TYPE_LOG,
			   .class = CONF_LIVE,
			   .offset = IN(log),
			   .fallback = "inherit",
			   .words = log_words },
	[CONF_KEY_INHERITS] = { .name = "inherits",
				.type = CONF_TYPE_TEXT,
				.class = CONF_LIVE,
				.offset = IN(inherits),
				.only = POOLS },
	[CONF_KEY_TASKS] = { .name = "tasks",
			     .type = CONF_TYPE_TASKS,
			     .class = CONF_RESTART,
			     .offset = IN(tasks),
			     .words = tasks_words,
			     .only = POOLS },
	[CONF_KEY_MIN_WORKERS] = { .name = "min-workers",
				   .type = CONF_TYPE_COUNT,
				   .class = CONF_LIVE,
				   .offset = IN(min_workers),
				   .max = CREW_WORKERS_MAX,
				   .only = LASTING },
	[CONF_KEY_IDLE_TIMEOUT] = { .name = "idle-timeout",
				    .type = CONF_TYPE_DURATION,
				    .class = CONF_LIVE,
				    .offset = IN(idle_timeout),
				    .fallback = "60s",
				    .max = YEAR,
				    .no_off = true,
				    .only = LASTING },
	[CONF_KEY_BACKLOG] = { .name = "backlog",
			       .type = CONF_TYPE_COUNT,
			       .class = CONF_LIVE,
			       .offset = IN(backlog),
			       .fallback = "100000",
			       .min = 1,
			       .max = CREW_TASKS_MAX,
			       .only = TASKS },
	[CONF_KEY_TASK_TIMEOUT] = { .name = "task-timeout",
				    .type = CONF_TYPE_DURATION,
				    .class = CONF_LIVE,
				    .offset = IN(task_timeout),
				    .fallback = "off",
				    .min = MS,
				    .max = YEAR,
				    .only = TASKS },
	[CONF_KEY_RETRIES] = { .name = "retries",
			       .type = CONF_TYPE_COUNT,
			       .class = CONF_LIVE,
			       .offset = IN(retries),
			       .fallback = "0",
			       .max = CREW_RETRIES_MAX,
			       .only = TASKS },
	[CONF_KEY_MAX_TASKS_PER_WORKER] = { .name = "max-tasks-per-worker",
					    .type = CONF_TYPE_COUNT,
					    .class = CONF_LIVE,
					    .offset = IN(max_tasks_per_worker),
					    .fallback = "0",
					    .max = CREW_TASKS_LIFE_MAX,
					    .only = LASTING },
	[CONF_KEY_PREFETCH] = { .name = "prefetch",
				.type = CONF_TYPE_COUNT,
				.class = CONF_LIVE,
				.offset = IN(prefetch),
				.fallback = "1",
				.min = 1,
				.max = CREW_PREFETCH_MAX,
				.only = LASTING },
	[CONF_KEY_RESULT_TTL] = { .name = "result-ttl",
				  .type = CONF_TYPE_DURATION,
				  .class = CONF_LIVE,
				  .offset = IN(result_ttl),
				  .fallback = "5min",
				  .min = MS,
				  .max = YEAR,
				  .only = TASKS },
	[CONF_KEY_QUEUE] = { .name = "queue",
			     .type = CONF_TYPE_QUEUE_NAME,
			     .class = CONF_LIVE,
			     .offset = IN(queue),
			     .only = TASKS },
	[CONF_KEY_TEMPLATE] = { .name = "template",
				.type = CONF_TYPE_TEXT,
				.class = CONF_RESTART,
				.offset = IN(template),
				.only = PLAIN | SERVING },
	[CONF_KEY_MODULE] = { .name = "module",
			      .type = CONF_TYPE_TEXT,
			      .class = CONF_LIVE,
			      .offset = IN(module),
			      .only = MODULE },
	[CONF_KEY_RECYCLE_PRIVATE] = { .name = "recycle-private",
				       .type = CONF_TYPE_SIZE,
				       .class = CONF_LIVE,
				       .offset = IN(recycle_private),
				       .min = 1,
				       .max = INT64_MAX,
				       .only = LASTING },
	[CONF_KEY_REFORK_AFTER] = { .name = "refork-after",
				    .type = CONF_TYPE_COUNT,
				    .class = CONF_LIVE,
				    .offset = IN(refork_after),
				    .fallback = "100",
				    .min = 1,
				    .max = CREW_TASKS_LIFE_MAX,
				    .only = LASTING },
};

#define SHARED (UINT32_C(1) << CONF_QUEUE_SHARED)
#define REDIS  (UINT32_C(1) << CONF_QUEUE_REDIS)
#define OWN    (UINT32_C(1) << CONF_QUEUE_MANAGER)

const struct conf_key conf_queue_keys[CONF_QUEUE_KEYS] = {
	[CONF_KEY_KIND] = { .name = "kind",
			    .section = CONF_SECTION_QUEUE,
			    .type = CONF_TYPE_KIND,
			    .class = CONF_DAEMON,
			    .offset = OF(kind),
			    .fallback = "manager",
			    .words = kind_words },
	[CONF_KEY_MAXSIZE] = { .name = "maxsize",
			       .section = CONF_SECTION_QUEUE,
			       .type = CONF_TYPE_COUNT,
			       .class = CONF_LIVE,
			       .offset = OF(maxsize),
			       .fallback = "0",
			       .max = CREW_QUEUE_ITEMS_MAX },
	[CONF_KEY_MAX_BYTES] = { .name = "max-bytes",
				 .section = CONF_SECTION_QUEUE,
				 .type = CONF_TYPE_SIZE,
				 .class = CONF_LIVE,
				 .offset = OF(max_bytes),
				 .fallback = "64M",
				 .min = 1,
				 .max = CREW_QUEUE_BYTES_MAX },
	[CONF_KEY_DURABLE] = { .name = "durable",
			       .section = CONF_SECTION_QUEUE,
			       .type = CONF_TYPE_BOOL,
			       .class = CONF_DAEMON,
			       .offset = OF(durable),
			       .fallback = "false",
			       .only = OWN },
	[CONF_KEY_DEAD] = { .name = "dead",
			    .section = CONF_SECTION_QUEUE,
			    .type = CONF_TYPE_QUEUE_NAME,
			    .class = CONF_LIVE,
			    .offset = OF(dead),
			    .only = OWN | REDIS },
	[CONF_KEY_MAX_DELIVERIES] = { .name = "max-deliveries",
				      .section = CONF_SECTION_QUEUE,
				      .type = CONF_TYPE_COUNT,
				      .class = CONF_LIVE,
				      .offset = OF(max_deliveries),
				      .fallback = "5",
				      .min = 1,
				      .max = CREW_DELIVERIES_MAX,
				      .only = OWN | REDIS },
	[CONF_KEY_PATH] = { .name = "path",
			    .section = CONF_SECTION_QUEUE,
			    .type = CONF_TYPE_PATH,
			    .class = CONF_DAEMON,
			    .offset = OF(path),
			    .only = SHARED },
	[CONF_KEY_URL] = { .name = "url",
			   .section = CONF_SECTION_QUEUE,
			   .type = CONF_TYPE_URL,
			   .class = CONF_DAEMON,
			   .offset = OF(url),
			   .only = REDIS },
	[CONF_KEY_QUEUE_USER] = { .name = "user",
				  .section = CONF_SECTION_QUEUE,
				  .type = CONF_TYPE_TEXT,
				  .class = CONF_DAEMON,
				  .offset = OF(user),
				  .only = REDIS },
	[CONF_KEY_PASSWORD_FILE] = { .name = "password-file",
				     .section = CONF_SECTION_QUEUE,
				     .type = CONF_TYPE_PATH,
				     .class = CONF_DAEMON,
				     .offset = OF(password_file),
				     .only = REDIS },
};

const struct conf_section_row conf_sections[CONF_SECTIONS] = {
	[CONF_SECTION_POOL] = { .word = "pool",
				.words = "pools",
				.keys = conf_pool_keys,
				.key_count = CONF_POOL_KEYS,
				.max = CREW_POOLS_MAX,
				.name_ok = text_pool_name_ok,
				.name_rule = ", and not ending in - and digits" },
	[CONF_SECTION_QUEUE] = { .word = "queue",
				 .words = "queues",
				 .keys = conf_queue_keys,
				 .key_count = CONF_QUEUE_KEYS,
				 .max = CREW_QUEUES_MAX,
				 .name_ok = text_name_ok,
				 .name_rule = "" },
	[CONF_SECTION_TEMPLATE] = { .word = "template",
				    .words = "templates",
				    .keys = conf_pool_keys,
				    .key_count = CONF_POOL_KEYS,
				    .max = CREW_POOLS_MAX,
				    .name_ok = text_pool_name_ok,
				    .name_rule = ", and not ending in - and digits" },
};

const struct conf_key conf_global_keys[CONF_GLOBAL_KEYS] = {
	[CONF_KEY_SOCKET] = { .name = "socket",
			      .type = CONF_TYPE_PATH,
			      .class = CONF_DAEMON,
			      .offset = AT(socket),
			      .max = CREW_SOCKET_PATH_MAX },
	[CONF_KEY_SOCKET_MODE] = { .name = "socket-mode",
				   .type = CONF_TYPE_OCTAL,
				   .class = CONF_DAEMON,
				   .offset = AT(socket_mode),
				   .fallback = "0660",
				   .max = 0777 },
	[CONF_KEY_SOCKET_GROUP] = { .name = "socket-group",
				    .type = CONF_TYPE_TEXT,
				    .class = CONF_DAEMON,
				    .offset = AT(socket_group) },
	[CONF_KEY_STATE_DIR] = { .name = "state-dir",
				 .type = CONF_TYPE_PATH,
				 .class = CONF_DAEMON,
				 .offset = AT(state_dir) },
	[CONF_KEY_MANAGER_USER] = { .name = "manager-user",
				    .type = CONF_TYPE_TEXT,
				    .class = CONF_DAEMON,
				    .offset = AT(manager_user) },
	[CONF_KEY_RUN_USER] = { .name = "run-user",
				.type = CONF_TYPE_TEXT,
				.class = CONF_LIVE,
				.offset = AT(run_user) },
};

int conf_key_find(const struct conf_key *keys, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(keys[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* Edit distance (insert, delete, replace), for names that fit into a row of 32. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[33], n = (unsigned)strlen(b);

	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 0; a[i]; i++) {
		unsigned corner = row[0];
		row[0] = i + 1;
		for (unsigned j = 0; j < n; j++) {
			unsigned best = corner + (a[i] != b[j]);
			if (row[j] + 1 < best)
				best = row[j] + 1;
			corner = row[j + 1];
			if (corner + 1 < best)
				best = corner + 1;
			row[j + 1] = best;
		}
	}
	return row[n];
}

const char *conf_key_like(const struct conf_key *keys, unsigned count, const char *name)
{
	const char *best = NULL;
	unsigned nearest = 3;

	if (strlen(name) > 32)
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		unsigned d = distance(name, keys[i].name);
		if (d < nearest && 2 * d < strlen(name)) { /* more is like it than not */
			nearest = d;
			best = keys[i].name;
		}
	}
	return best;
}

bool conf_key_applies(const struct conf_key *key, unsigned variant)
{
	return !key->only || (key->only >> variant & 1);
}

bool conf_key_is_list(const struct conf_key *key)
{
	static const bool lists[CONF_TYPE_COUNT_OF] = {
		[CONF_TYPE_COMMAND] = true, [CONF_TYPE_ENVIRONMENT] = true,
		[CONF_TYPE_NAMES] = true,   [CONF_TYPE_LIMITS] = true,
		[CONF_TYPE_CODES] = true,
	};

	return lists[key->type];
}
