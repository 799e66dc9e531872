#include "daemon/crew.h"

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/crew_run.h"
#include "daemon/ledger.h"
#include "daemon/pool_template.h"
#include "daemon/taskpool.h"
#include "lib/log.h"
#include "lib/text.h"

#define BUCKETS 4096

static struct {
	struct crew_setup setup;
	const struct conf *conf;
	struct list pools;
	struct worker *slots[CREW_WORKERS_MAX];
	unsigned first_free; /* no slot below it is free */
	struct list by_name[BUCKETS], by_pid[BUCKETS];
	unsigned next_pool_id;
	enum ledger_shutdown shutdown;
	struct loop_task shutdown_step;
} crew;

const struct conf *crew_conf(void)
{
	return crew.conf;
}

/* ---- finding ----------------------------------------------------------------------------------
 */

static struct list *name_bucket(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return &crew.by_name[h % BUCKETS];
}

struct worker *crew_worker(const char *name)
{
	list_foreach(e, next, name_bucket(name))
	{
		struct worker *w = list_entry(e, struct worker, by_name);

		if (strcmp(w->name, name) == 0)
			return w;
	}
	return NULL;
}

struct worker *crew_slot(unsigned slot)
{
	return slot < CREW_WORKERS_MAX ? crew.slots[slot] : NULL;
}

struct worker *crew_pid(pid_t pid)
{
	if (pid <= 0)
		return NULL;
	list_foreach(e, next, &crew.by_pid[(unsigned)pid % BUCKETS])
	{
		struct worker *w = list_entry(e, struct worker, by_pid);

		if (w->pid == pid)
			return w;
	}
	return NULL;
}

struct pool *crew_pool(const char *name)
{
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (!p->is_run && strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

struct pool *crew_pool_by_index(uint32_t index)
{
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (!p->is_run && !p->removed && p->index == index)
			return p;
	}
	return NULL;
}

struct list *crew_pools(void)
{
	return &crew.pools;
}

/* Returns false when `each` wants no more. */
static bool match_in(struct pool *p, const char *pattern, bool whole,
		     bool (*each)(struct worker *w, void *arg), void *arg, unsigned *found)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct worker *w = p->workers[i];

		if (!w || (!whole && fnmatch(pattern, w->name, 0) != 0))
			continue;
		++*found;
		if (!each(w, arg))
			return false;
	}
	return true;
}

unsigned crew_match(const char *pattern, bool (*each)(struct worker *w, void *arg), void *arg)
{
	struct worker *w = crew_worker(pattern);
	struct pool *exact;
	unsigned found = 0;

	if (w) {
		each(w, arg);
		return 1;
	}
	exact = crew_pool(pattern);
	if (exact) {
		match_in(exact, pattern, true, each, arg, &found);
		return found;
	}
	if (!strpbrk(pattern, "*?[") || strlen(pattern) > CREW_GLOB_MAX)
		return 0;
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);
		bool whole = !p->is_run && fnmatch(pattern, p->name, 0) == 0;

		if (!match_in(p, pattern, whole, each, arg, &found))
			break;
	}
	return found;
}

unsigned crew_running(void)
{
	unsigned n = 0;

	list_foreach(e, next, &crew.pools)
	{
		const struct pool *p = list_entry(e, struct pool, link);

		n += p->in_state[WORKER_STARTING] + p->in_state[WORKER_RUNNING] +
		     p->in_state[WORKER_STOPPING];
	}
	return n;
}

unsigned crew_total(void)
{
	unsigned n = crew_running();

	list_foreach(e, next, &crew.pools)
	{
		const struct pool *p = list_entry(e, struct pool, link);

		n += p->in_state[WORKER_BACKOFF] + p->in_state[WORKER_FAILED] + p->fresh;
	}
	return n;
}

/* ---- workers come and go ----------------------------------------------------------------------
 */

static void on_worker_changed(struct worker *w, enum worker_state from)
{
	if (crew.shutdown)
		loop_defer(&crew.shutdown_step);
	crew.setup.events->worker_changed(w, from);
	if (w->runner)
		runner_on_changed(w->runner);
}

static void on_worker_able(struct worker *w)
{
	if (w->runner)
		runner_on_changed(w->runner);
}

static int64_t on_worker_ending(struct worker *w, const struct child_end *end)
{
	return w->runner ? runner_on_ended(w->runner, end) : -1;
}

static void on_worker_pid(struct worker *w, pid_t was)
{
	(void)was;
	list_remove(&w->by_pid);
	if (w->pid > 0)
		list_append(&crew.by_pid[(unsigned)w->pid % BUCKETS], &w->by_pid);
}

static int free_slot(void)
{
	for (unsigned i = crew.first_free; i < CREW_WORKERS_MAX; i++)
		if (!crew.slots[i]) {
			crew.first_free = i;
			return (int)i;
		}
	return -1;
}

unsigned crew_room(void)
{
	unsigned n = 0;

	for (unsigned i = crew.first_free; i < CREW_WORKERS_MAX; i++)
		n += !crew.slots[i];
	return n;
}

static bool room_for(struct pool *p, unsigned number)
{
	struct worker **bigger;

	if (number <= p->count)
		return true;
	bigger = realloc(p->workers, number * sizeof(*bigger));
	if (!bigger)
		return false;
	for (unsigned i = p->count; i < number; i++)
		bigger[i] = NULL;
	p->workers = bigger;
	p->count = number;
	return true;
}

static struct worker *place(struct pool *p, unsigned index, unsigned slot, const char *name)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w || !room_for(p, index + 1)) {
		free(w);
		return NULL;
	}
	w->slot = slot;
	w->number = p->is_run ? 0 : index + 1;
	w->pool = p;
	w->state = WORKER_STOPPED;
	snprintf(w->name, sizeof(w->name), "%s", name);
	p->workers[index] = w;
	crew.slots[slot] = w;
	list_append(name_bucket(w->name), &w->by_name);
	return w;
}

/* A new one, not started yet. */
static struct worker *add_worker(struct pool *p, unsigned number)
{
	char name[CREW_NAME_MAX + 16];
	int slot = free_slot();
	struct worker *w;

	if (slot < 0) {
		log_error(p->name, "no room for worker %u: crewd keeps %u at most", number,
			  CREW_WORKERS_MAX);
		return NULL;
	}
	snprintf(name, sizeof(name), p->is_run ? "%s" : "%s-%u", p->name, number);
	w = place(p, number - 1, (unsigned)slot, name);
	if (!w)
		return NULL;
	worker_enter(w);
	taskpool_enter(w);
	crew.setup.events->worker_changed(w, w->state);
	return w;
}

/* The last one of its pool. */
static void drop_worker(struct worker *w)
{
	struct pool *p = w->pool;

	crew.setup.events->worker_gone(w);
	taskpool_leave(w);
	worker_leave(w);
	list_remove(&w->by_name);
	list_remove(&w->by_pid);
	crew.slots[w->slot] = NULL;
	if (w->slot < crew.first_free)
		crew.first_free = w->slot;
	ledger_clear_worker(w->slot);
	child_forget(w->slot);
	p->workers[--p->count] = NULL;
	free(w);
}

static void unmap_unused(const struct conf *conf)
{
	if (!conf || conf == crew.conf)
		return;
	list_foreach(e, next,
		     &crew.pools) if (list_entry(e, struct pool, link)->conf == conf) return;
	munmap((void *)(uintptr_t)conf, conf->size);
}

static void drop_pool(struct pool *p)
{
	const struct conf *conf = p->conf;

	crew.setup.events->pool_gone(p);
	taskpool_gone(p);
	loop_undefer(&p->step);
	list_remove(&p->link);
	if (!p->is_run)
		ledger_clear_pool(p->name);
	if (p->run_block >= 0)
		close(p->run_block);
	free(p->workers);
	free(p);
	if (conf != &crew_lost_conf)
		unmap_unused(conf);
}

static void on_up_changed(struct pool *was)
{
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		for (uint32_t i = 0; i < p->def->after.count; i++)
			if (strcmp(conf_item(p->conf, p->def->after, i), was->name) == 0)
				pool_mark(p);
		if (p->def->template && strcmp(conf_text(p->conf, p->def->template), was->name) == 0)
			pool_mark(p);
	}
}

struct pool *crew_make_pool(const char *name)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	pool_init(p, name);
	p->id = ++crew.next_pool_id;
	list_append(&crew.pools, &p->link);
	return p;
}

void crew_note_pool_defined(struct pool *p)
{
	crew.setup.events->pool_defined(p);
}

const struct conf *crew_map(int fd, size_t max)
{
	struct stat st;
	void *block = MAP_FAILED;

	if (fstat(fd, &st) == 0 && st.st_size > 0 && (size_t)st.st_size <= max)
		block = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (block == MAP_FAILED)
		return NULL;
	if (conf_valid(block, (size_t)st.st_size))
		return block;
	munmap(block, (size_t)st.st_size);
	errno = EINVAL;
	return NULL;
}

void crew_put_in_force(const struct conf *conf)
{
	const struct conf *was = crew.conf;

	crew.conf = conf;
	unmap_unused(was);
	crew.setup.events->reloaded(conf);
}

/* ---- `run` -------------------------------------------------------------------------------------
 */

static bool name_taken(const char *name)
{
	if (crew_worker(name) || crew_pool(name))
		return true;
	list_foreach(e, next, &crew.pools)
	{
		const struct pool *p = list_entry(e, struct pool, link);

		if (!p->is_run && text_is_worker_of(name, p->name))
			return true;
	}
	return false;
}

static struct pool *make_run_pool(const char *name, int block)
{
	int again = dup(block);
	const struct conf *conf = again < 0 ? NULL : crew_map(again, CREW_RUN_SPEC_MAX);
	struct pool *p = conf && conf->pool_count == 1 ? crew_make_pool(name) : NULL;

	if (!p) {
		if (conf)
			munmap((void *)(uintptr_t)conf, conf->size);
		return NULL;
	}
	p->is_run = p->wanted = true;
	p->run_block = block;
	pool_define(p, conf, conf_pool_at(conf, 0), UINT32_MAX);
	return p;
}

static void forget_run(struct worker *w)
{
	struct pool *p = w->pool;

	drop_worker(w);
	drop_pool(p);
}

int crew_forget(struct worker *w)
{
	if (!w->pool->is_run)
		return errno = EPERM, -1;
	if (!worker_is_settled(w))
		return errno = EBUSY, -1;
	forget_run(w);
	return 0;
}

/* Keeps the table of those that have finished within its bound: the oldest go. */
static void make_room(void)
{
	unsigned finished = 0;

	list_foreach(e, next, &crew.pools)
	{
		const struct pool *p = list_entry(e, struct pool, link);

		finished += p->is_run && p->count && worker_is_settled(p->workers[0]);
	}
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (finished < CREW_RUN_FINISHED_MAX)
			break;
		if (!p->is_run || !p->count || !worker_is_settled(p->workers[0]))
			continue;
		forget_run(p->workers[0]);
		finished--;
	}
}

static enum crew_run_error choose_name(const struct crew_run *run, char name[CREW_NAME_MAX + 1])
{
	struct worker *old;

	if (!run->name) {
		/* all of run-N may be the workers of a pool "run"; no pool's worker is called run.N */
		char mark = crew_pool("run") ? '.' : '-';

		for (unsigned n = 1;; n++) {
			snprintf(name, CREW_NAME_MAX + 1, "run%c%u", mark, n);
			if (!name_taken(name))
				return CREW_RUN_OK;
		}
	}
	if (!text_name_ok(run->name))
		return CREW_RUN_BAD_NAME;
	old = crew_worker(run->name);
	if (old && crew_forget(old) < 0)
		return CREW_RUN_EXISTS;
	if (name_taken(run->name))
		return CREW_RUN_EXISTS;
	snprintf(name, CREW_NAME_MAX + 1, "%s", run->name);
	return CREW_RUN_OK;
}

enum crew_run_error crew_run(const struct crew_run *run, struct worker **out)
{
	char name[CREW_NAME_MAX + 1];
	enum crew_run_error e;
	struct pool *p;
	int block;

	if (crew.shutdown)
		return CREW_RUN_SHUTTING_DOWN;
	if (crew.setup.root && crew.conf->run.uid == CONF_NO_ID)
		return CREW_RUN_NO_USER;
	make_room();
	if (free_slot() < 0)
		return CREW_RUN_TOO_MANY;
	e = choose_name(run, name);
	if (e != CREW_RUN_OK)
		return e;
	block = crew_run_block(run, name, crew.setup.journal);
	if (block < 0)
		return errno == EFBIG ? CREW_RUN_TOO_BIG : CREW_RUN_FAILED;
	p = make_run_pool(name, block);
	if (!p) {
		close(block);
		return CREW_RUN_FAILED;
	}
	crew_note_pool_defined(p);
	*out = add_worker(p, 1);
	if (!*out) {
		drop_pool(p);
		return CREW_RUN_FAILED;
	}
	worker_start_now(*out);
	return CREW_RUN_OK;
}

/* ---- shutdown ----------------------------------------------------------------------------------
 */

static bool has_ended(const struct pool *p)
{
	if (p->tasks && (p->tasks->queued || p->tasks->in_hand))
		return false;
	return !pool_is_alive(p) && !p->in_state[WORKER_BACKOFF];
}

/* Pools that a living one comes after have to wait for it. */
static void hold_back(const struct pool *p)
{
	struct pool *template = pool_template_pool(p);

	for (uint32_t i = 0; i < p->def->after.count; i++) {
		struct pool *before = crew_pool(conf_item(p->conf, p->def->after, i));

		if (before && before->stop_mark == 0)
			before->stop_mark = 2;
	}
	if (template && template->stop_mark == 0)
		template->stop_mark = 2;
}

static void stop_pool(struct pool *p)
{
	p->stop_mark = 1;
	for (unsigned i = 0; i < p->count; i++)
		worker_stop(p->workers[i]);
}

static void on_shutdown_step(void *arg)
{
	bool any = false;

	(void)arg;
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (p->stop_mark == 2)
			p->stop_mark = 0;
	}
	list_foreach(e, next, &crew.pools) if (!has_ended(list_entry(e, struct pool, link)))
		hold_back(list_entry(e, struct pool, link));
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (has_ended(p))
			continue;
		any = true;
		/* a template never ends by itself */
		if (p->stop_mark == 0 &&
		    (crew.shutdown != LEDGER_SHUTDOWN_JOIN || p->def->is_template))
			stop_pool(p);
	}
	if (!any)
		crew.setup.events->shut_down();
}

/* What waits to be restarted has ended by itself already. */
static void stop_waiting(void)
{
	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++)
		if (crew.slots[i] && !worker_is_alive(crew.slots[i]))
			worker_stop(crew.slots[i]);
}

/* Who waits for a task is told; with `join` what was accepted is done first. */
static void shut_task_pools(bool join)
{
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (p->tasks && join)
			taskpool_close(p->tasks);
		else if (p->tasks)
			taskpool_terminate(p->tasks);
	}
}

void crew_shutdown(bool join)
{
	if (crew.shutdown == LEDGER_SHUTDOWN || (crew.shutdown && join))
		return;
	log_info(NULL, join ? "shutting down when every worker has ended" : "shutting down");
	crew.shutdown = join ? LEDGER_SHUTDOWN_JOIN : LEDGER_SHUTDOWN;
	ledger_set_shutdown(crew.shutdown);
	worker_hold_restarts(true);
	shut_task_pools(join);
	stop_waiting();
	loop_defer(&crew.shutdown_step);
}

void crew_shutdown_now(void)
{
	crew_shutdown(false);
	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++)
		if (crew.slots[i])
			worker_kill(crew.slots[i]);
}

bool crew_is_ending(void)
{
	return crew.shutdown == LEDGER_SHUTDOWN;
}

void crew_look_at_end(void)
{
	loop_defer(&crew.shutdown_step);
}

bool crew_is_shutting_down(void)
{
	return crew.shutdown != LEDGER_NO_SHUTDOWN;
}

/* ---- start, and after another manager ----------------------------------------------------------
 */

static int define_pools(const struct conf *conf)
{
	for (uint32_t i = 0; i < conf->pool_count; i++) {
		const struct conf_pool *def = conf_pool_at(conf, i);
		struct ledger_pool known = { 0 };
		struct pool *p = crew_make_pool(conf_text(conf, def->name));

		if (!p)
			return -1;
		p->wanted = def->autostart;
		if (ledger_load_pool(p->name, &known)) {
			p->wanted = known.wanted;
			p->scale = known.scale;
			p->generation = known.generation;
		}
		pool_define(p, conf, def, i);
		if (p->tasks)
			taskpool_restore(p->tasks, known.gate);
		pool_save(p);
		crew_note_pool_defined(p);
	}
	return 0;
}

/* The pool of a worker that the manager before knew: its own, or one that is being drained. */
static struct pool *pool_of(const struct ledger_worker *r, const struct child_found *f)
{
	struct pool *p;

	if (r->is_run)
		return f->block >= 0 ? make_run_pool(r->name, f->block) : NULL;
	p = crew_pool(r->pool);
	if (p)
		return p;
	p = crew_make_pool(r->pool);
	if (!p)
		return NULL;
	pool_define(p, &crew_lost_conf, &crew_lost_pool, UINT32_MAX);
	pool_remove(p);
	return p;
}

static struct worker *take_over(unsigned slot, const struct ledger_worker *r,
				const struct child_found *f)
{
	struct pool *p = pool_of(r, f);
	unsigned index = r->is_run ? 0 : r->number - 1;
	struct worker *w;

	if (!p || index >= CREW_WORKERS_MAX || (index < p->count && p->workers[index]))
		return NULL;
	w = place(p, index, slot, r->name);
	if (!w)
		return NULL;
	w->state = r->state < WORKER_STATE_COUNT ? r->state : WORKER_STOPPED;
	w->has_end = r->has_end;
	w->off = r->off;
	w->fresh = r->fresh;
	w->start_again = r->start_again;
	w->leaving = r->leaving;
	w->unready = r->unready;
	w->failing = r->failing;
	w->forced = r->forced;
	w->signalled = r->signalled;
	w->blame = r->blame;
	w->restarts = r->restarts;
	w->failures = r->failures;
	w->window_count = r->window_count;
	w->window_ran = r->window_ran;
	w->started = r->started;
	w->changed = r->changed;
	w->due = r->due;
	w->process_hash = r->process_hash;
	w->end = r->end;
	return w;
}

/* Nobody's: the manager before dropped it, or had no time to note it. */
static void disown(unsigned slot, const struct child_found *f)
{
	if (f->output >= 0)
		close(f->output);
	if (f->block >= 0)
		close(f->block);
	if (f->task_in >= 0)
		close(f->task_in);
	if (f->task_out >= 0)
		close(f->task_out);
	ledger_clear_worker(slot);
	if (f->run && f->alive)
		child_signal(slot, SIGKILL, true);
	else if (f->run)
		child_forget(slot);
}

/* Numbers of a pool have no gaps, whatever was lost. */
static void fill_gaps(void)
{
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		for (unsigned i = 0; i < p->count; i++)
			if (!p->workers[i])
				add_worker(p, i + 1);
	}
}

/* What the manager before gave out is lost to those who asked; its worker goes on with it. */
static void recover_pipes(struct worker *w, const struct child_found *f)
{
	taskpool_enter(w);
	if (!w->runner || f->task_out < 0) {
		if (f->task_in >= 0)
			close(f->task_in);
		if (f->task_out >= 0)
			close(f->task_out);
		return;
	}
	runner_on_pipes(w->runner, f->task_in, f->task_out);
}

/* Before it is told of an end: that is not the end of a worker that was idle. */
static void recover_owed(struct worker *w)
{
	bool dirty;
	unsigned owed = ledger_owed(w->slot, &dirty);

	if (w->runner && worker_is_alive(w))
		runner_on_found(w->runner, owed, dirty);
	else
		ledger_set_owed(w->slot, 0, false);
}

static void recover_one(unsigned slot, const struct child_found *f)
{
	struct worker *w = crew.slots[slot];

	if (f->output >= 0)
		crew.setup.events->output(w, f->output);
	recover_pipes(w, f);
	recover_owed(w);
	worker_recover(w, f);
	if (w->runner)
		runner_on_recovered(w->runner);
	if (f->run && !f->alive && f->run == ledger_run(slot))
		child_noted(slot);
}

static void recover_sizes(void)
{
	list_foreach(e, next, &crew.pools)
	{
		struct pool *p = list_entry(e, struct pool, link);

		if (p->tasks)
			taskpool_recovered(p->tasks);
	}
}

static int recover(void)
{
	struct child_found *found = calloc(CREW_WORKERS_MAX, sizeof(*found));
	struct ledger_worker r;

	if (!found)
		return -1;
	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++) {
		child_found(i, &found[i]);
		if (!ledger_load_worker(i, &r) || !take_over(i, &r, &found[i]))
			disown(i, &found[i]);
	}
	fill_gaps();
	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++)
		if (crew.slots[i])
			recover_one(i, &found[i]);
	recover_sizes();
	free(found);
	return 0;
}

int crew_init(const struct crew_setup *setup, int block)
{
	static const struct worker_observer observer = { on_worker_changed, on_worker_pid,
							 on_worker_ending, on_worker_able };
	static const struct pool_events pool_events = { add_worker, drop_worker, drop_pool,
							on_up_changed };

	crew.setup = *setup;
	list_init(&crew.pools);
	for (unsigned i = 0; i < BUCKETS; i++) {
		list_init(&crew.by_name[i]);
		list_init(&crew.by_pid[i]);
	}
	crew.shutdown_step.fn = on_shutdown_step;
	worker_observe(&observer);
	pool_observe(&pool_events);
	crew.conf = crew_map(block, CREW_CONF_MAX);
	if (!crew.conf || define_pools(crew.conf) < 0)
		return -1;
	crew.shutdown = ledger_shutdown();
	worker_hold_restarts(crew.shutdown != LEDGER_NO_SHUTDOWN);
	if (recover() < 0)
		return -1;
	if (crew.shutdown)
		loop_defer(&crew.shutdown_step);
	return 0;
}

static void close_pool(struct pool *p)
{
	taskpool_gone(p);
	for (unsigned i = 0; i < p->count; i++) {
		loop_timer_off(&p->workers[i]->timer);
		crew.slots[p->workers[i]->slot] = NULL;
		free(p->workers[i]);
	}
	if (p->is_run) {
		munmap((void *)(uintptr_t)p->conf, p->conf->size);
		close(p->run_block);
	}
	loop_undefer(&p->step);
	list_remove(&p->link);
	free(p->workers);
	free(p);
}

void crew_close(void)
{
	if (!crew.conf)
		return;
	list_foreach(e, next, &crew.pools) close_pool(list_entry(e, struct pool, link));
	loop_undefer(&crew.shutdown_step);
	munmap((void *)(uintptr_t)crew.conf, crew.conf->size);
	crew.conf = NULL;
	crew.first_free = 0;
}
