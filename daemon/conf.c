/*
 * Trusts nothing: the bytes may come from a manager that somebody took over. Every check is a few
 * comparisons, and how many there are is bounded by the bounds of lib/bounds.h, not by the block.
 */
#include "daemon/conf.h"

#include <stdalign.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/conf_limit.h"
#include "lib/bounds.h"
#include "lib/text.h"

#define DURATION_MAX (INT64_C(400) * 86400 * 1000000)
#define GROUPS_MAX   65536
#define SIGNAL_MAX   64

struct block {
	const char *bytes;
	size_t size;
};

/* `count` things of `each` bytes at `off`, behind the head. No overflow: all are below 2^32. */
static bool array_ok(const struct block *b, conf_off off, uint64_t count, uint64_t each,
		     uint32_t align)
{
	return off >= sizeof(struct conf) && off % align == 0 && off + count * each <= b->size;
}

/* The block's last byte is NUL, so a string that begins inside ends inside. */
static bool text_ok(const struct block *b, conf_off off)
{
	return off >= sizeof(struct conf) && off < b->size;
}

/* Looks at no more of it than a name may have. */
static bool name_ok(const struct block *b, conf_off off)
{
	return text_ok(b, off) && strnlen(b->bytes + off, CREW_NAME_MAX + 1) <= CREW_NAME_MAX &&
	       text_name_ok(b->bytes + off);
}

static bool text_or_none(const struct block *b, conf_off off)
{
	return off == 0 || text_ok(b, off);
}

static bool list_ok(const struct block *b, struct conf_list list)
{
	const conf_off *items;

	if (list.count == 0)
		return true;
	if (list.count > CREW_ARGS_MAX ||
	    !array_ok(b, list.items, list.count, sizeof(conf_off), alignof(conf_off)))
		return false;
	items = (const conf_off *)(const void *)(b->bytes + list.items);
	for (uint32_t i = 0; i < list.count; i++)
		if (!text_ok(b, items[i]))
			return false;
	return true;
}

static bool identity_ok(const struct block *b, const struct conf_identity *id)
{
	if (id->uid == CONF_NO_ID)
		return text_or_none(b, id->user) && text_or_none(b, id->home) &&
		       text_or_none(b, id->shell);
	return id->gid != CONF_NO_ID && id->group_count <= GROUPS_MAX &&
	       (id->group_count == 0 ||
		array_ok(b, id->groups, id->group_count, sizeof(uint32_t), alignof(uint32_t))) &&
	       text_ok(b, id->user) && text_ok(b, id->home) && text_ok(b, id->shell);
}

static bool limits_ok(const struct block *b, const struct conf_pool *p)
{
	const struct conf_limit *limits;

	if (p->limit_count == 0)
		return true;
	if (p->limit_count > CONF_LIMITS_MAX ||
	    !array_ok(b, p->limits, p->limit_count, sizeof(*limits), alignof(struct conf_limit)))
		return false;
	limits = (const struct conf_limit *)(const void *)(b->bytes + p->limits);
	for (uint32_t i = 0; i < p->limit_count; i++)
		if (limits[i].resource < 0 || limits[i].resource >= (int32_t)RLIM_NLIMITS ||
		    limits[i].soft > limits[i].hard)
			return false;
	return true;
}

static bool duration_ok(int64_t usec)
{
	return usec >= 0 && usec <= DURATION_MAX;
}

static bool numbers_ok(const struct conf_pool *p)
{
	return p->workers <= CREW_WORKERS_MAX && p->autostart <= 1 && p->clean_environment <= 1 &&
	       p->nice_given <= 1 && p->nice >= -20 && p->nice <= 19 && p->umask >= -1 &&
	       p->umask <= 0777 && p->ready <= CONF_READY_NOTIFY &&
	       p->restart <= CONF_RESTART_NEVER && p->log <= CONF_LOG_FILE && p->stop_signal >= 1 &&
	       p->stop_signal <= SIGNAL_MAX;
}

static bool durations_ok(const struct conf_pool *p)
{
	return duration_ok(p->watchdog) && duration_ok(p->restart_delay) &&
	       duration_ok(p->restart_delay_max) && duration_ok(p->restart_window) &&
	       duration_ok(p->start_timeout) && duration_ok(p->stop_timeout) &&
	       p->restart_delay <= p->restart_delay_max;
}

static bool between(int64_t n, int64_t least, int64_t most)
{
	return n >= least && n <= most;
}

static bool tasks_ok(const struct conf_pool *p)
{
	if (p->tasks > CONF_TASKS_MODULE)
		return false;
	if (p->tasks != CONF_TASKS_NONE && p->restart != CONF_RESTART_ALWAYS)
		return false;
	if (p->tasks == CONF_TASKS_EXEC && (p->ready != CONF_READY_EXEC || p->watchdog))
		return false;
	return (p->min_workers == UINT32_MAX || p->min_workers <= p->workers) &&
	       duration_ok(p->idle_timeout) && between(p->backlog, 1, CREW_TASKS_MAX) &&
	       duration_ok(p->task_timeout) && p->retries <= CREW_RETRIES_MAX &&
	       p->max_tasks_per_worker <= CREW_TASKS_LIFE_MAX &&
	       between(p->prefetch, 1, CREW_PREFETCH_MAX) && p->result_ttl > 0 &&
	       duration_ok(p->result_ttl);
}

/* One that is forked from a template execs nothing; a template is nobody's child but the keeper's. */
static bool template_ok(const struct block *b, const struct conf_pool *p)
{
	if ((p->tasks == CONF_TASKS_MODULE) != (p->module && !p->is_template))
		return false;
	if (!text_or_none(b, p->module) || (p->module && !p->is_template && !p->template))
		return false;
	if (p->template)
		return !p->is_template && name_ok(b, p->template) && p->command.count == 0 &&
		       p->tasks != CONF_TASKS_EXEC;
	return p->command.count >= 1 && p->is_template <= 1 &&
	       (!p->is_template ||
		(p->ready == CONF_READY_NOTIFY && p->tasks == CONF_TASKS_NONE && p->workers == 1));
}

static bool pool_ok(const struct block *b, const struct conf_pool *p)
{
	/* A `run` worker's name is looser than a pool's: "run-1". */
	return name_ok(b, p->name) && text_or_none(b, p->file) && template_ok(b, p) &&
	       list_ok(b, p->command) && list_ok(b, p->environment) &&
	       text_or_none(b, p->directory) && text_or_none(b, p->user) &&
	       text_or_none(b, p->group) && identity_ok(b, &p->identity) && limits_ok(b, p) &&
	       list_ok(b, p->limits_text) && list_ok(b, p->after) && text_or_none(b, p->inherits) &&
	       numbers_ok(p) && durations_ok(p) && tasks_ok(p) &&
	       (p->queue == 0 || name_ok(b, p->queue)) && p->refork_after >= 1 &&
	       (p->log == CONF_LOG_FILE ? text_ok(b, p->log_file) : p->log_file == 0);
}

static bool pools_ok(const struct block *b, const struct conf *conf)
{
	uint64_t workers = 0;

	if (conf->pool_count > CREW_POOLS_MAX)
		return false;
	if (conf->pool_count && !array_ok(b, conf->pools, conf->pool_count,
					  sizeof(struct conf_pool), alignof(struct conf_pool)))
		return false;
	for (uint32_t i = 0; i < conf->pool_count; i++) {
		if (!pool_ok(b, conf_pool_at(conf, i)))
			return false;
		workers += conf_pool_at(conf, i)->workers;
	}
	return workers <= CREW_WORKERS_MAX;
}

static bool queue_ok(const struct block *b, const struct conf_queue *q)
{
	return name_ok(b, q->name) && text_or_none(b, q->file) && q->kind <= CONF_QUEUE_REDIS &&
	       q->durable <= 1 && text_or_none(b, q->path) && text_or_none(b, q->url) &&
	       text_or_none(b, q->user) && text_or_none(b, q->password_file) &&
	       (q->kind != CONF_QUEUE_REDIS || q->url) && q->maxsize <= CREW_QUEUE_ITEMS_MAX &&
	       between((int64_t)q->max_bytes, 1, CREW_QUEUE_BYTES_MAX) &&
	       between(q->max_deliveries, 1, CREW_DELIVERIES_MAX) &&
	       (q->dead == 0 || name_ok(b, q->dead));
}

static bool queues_ok(const struct block *b, const struct conf *conf)
{
	if (conf->queue_count > CREW_QUEUES_MAX)
		return false;
	if (conf->queue_count && !array_ok(b, conf->queues, conf->queue_count,
					   sizeof(struct conf_queue), alignof(struct conf_queue)))
		return false;
	for (uint32_t i = 0; i < conf->queue_count; i++)
		if (!queue_ok(b, conf_queue_at(conf, i)))
			return false;
	return true;
}

bool conf_valid(const void *block, size_t size)
{
	const struct block b = { block, size };
	const struct conf *conf = block;

	if (size <= sizeof(*conf) || size > CREW_CONF_MAX ||
	    (uintptr_t)block % alignof(struct conf))
		return false;
	return conf->magic == CONF_MAGIC && conf->version == CONF_VERSION && conf->size == size &&
	       b.bytes[size - 1] == '\0' && text_or_none(&b, conf->file) &&
	       text_or_none(&b, conf->socket) && conf->socket_mode <= 0777 &&
	       text_or_none(&b, conf->socket_group) && text_or_none(&b, conf->state_dir) &&
	       text_or_none(&b, conf->manager_user) && text_or_none(&b, conf->run_user) &&
	       identity_ok(&b, &conf->manager) && identity_ok(&b, &conf->run) &&
	       pools_ok(&b, conf) && queues_ok(&b, conf);
}
