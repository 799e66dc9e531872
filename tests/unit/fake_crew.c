#include "tests/unit/fake_crew.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "daemon/manager.h"
#include "daemon/memory.h"
#include "daemon/output.h"
#include "daemon/rpc.h"

struct fake_worker fake_workers[FAKE_WEB + 1];
bool fake_busy, fake_dry_run;
unsigned fake_shutdowns;

static struct conf_pool def = { .workers = FAKE_WEB, .ready = CONF_READY_NOTIFY };
static struct pool web, run_pool;
static struct list pools;
static bool present[FAKE_WEB + 1];
static crew_reload_fn *reload_done;
static void (*observer)(struct worker *w);
static char printed[1024];

void fake_crew_reset(void)
{
	memset(fake_workers, 0, sizeof(fake_workers));
	list_init(&pools);
	web = (struct pool){ .name = "web", .def = &def, .scale = -1, .count = FAKE_WEB };
	run_pool = (struct pool){ .name = "run-1", .def = &def, .scale = -1, .is_run = true };
	list_append(&pools, &web.link);
	list_append(&pools, &run_pool.link);
	for (unsigned i = 0; i <= FAKE_WEB; i++) {
		struct worker *w = &fake_workers[i].w;

		present[i] = true;
		w->slot = i;
		w->pool = i < FAKE_WEB ? &web : &run_pool;
		w->state = WORKER_STOPPED;
		snprintf(w->name, sizeof(w->name), i < FAKE_WEB ? "web-%u" : "run-1", i + 1);
	}
	fake_busy = false;
	fake_shutdowns = 0;
	printed[0] = '\0';
}

void fake_set(unsigned slot, enum worker_state state, pid_t pid)
{
	struct worker *w = &fake_workers[slot].w;
	enum worker_state from = w->state;

	w->state = state;
	w->pid = pid;
	rpc_worker_changed(w, from);
}

void fake_ended(unsigned slot, enum worker_state state, int exitcode)
{
	struct worker *w = &fake_workers[slot].w;

	w->has_end = true;
	w->end = (struct child_end){ .code = CLD_EXITED, .status = exitcode };
	fake_set(slot, state, 0);
}

void fake_leaves(unsigned slot)
{
	rpc_worker_gone(&fake_workers[slot].w);
	present[slot] = false;
}

/* ---- crew.h -----------------------------------------------------------------------------------
 */

struct worker *crew_slot(unsigned slot)
{
	return slot <= FAKE_WEB && present[slot] ? &fake_workers[slot].w : NULL;
}

struct worker *crew_worker(const char *name)
{
	for (unsigned i = 0; i <= FAKE_WEB; i++)
		if (present[i] && strcmp(fake_workers[i].w.name, name) == 0)
			return &fake_workers[i].w;
	return NULL;
}

struct pool *crew_pool(const char *name)
{
	return strcmp(name, "web") == 0 ? &web : NULL;
}

struct list *crew_pools(void)
{
	return &pools;
}

unsigned crew_match(const char *pattern, bool (*each)(struct worker *w, void *arg), void *arg)
{
	unsigned n = 0;

	for (unsigned i = 0; i <= FAKE_WEB; i++) {
		struct worker *w = crew_slot(i);

		if (!w ||
		    (fnmatch(pattern, w->name, 0) != 0 && fnmatch(pattern, w->pool->name, 0) != 0))
			continue;
		n++;
		if (!each(w, arg))
			break;
	}
	return n;
}

unsigned crew_running(void)
{
	return 2;
}

unsigned crew_total(void)
{
	return FAKE_WEB;
}

unsigned crew_room(void)
{
	return CREW_WORKERS_MAX - FAKE_WEB - 1;
}

enum crew_run_error crew_run(const struct crew_run *run, struct worker **out)
{
	if (run->name && strcmp(run->name, "web-1") == 0)
		return CREW_RUN_EXISTS;
	*out = &fake_workers[FAKE_SLOT].w;
	fake_set(FAKE_SLOT, WORKER_STARTING, 0);
	return CREW_RUN_OK;
}

int crew_forget(struct worker *w)
{
	errno = worker_is_alive(w) ? EBUSY : EPERM;
	if (worker_is_alive(w) || !w->pool->is_run)
		return -1;
	fake_leaves(w->slot);
	return 0;
}

int crew_reload(bool dry_run, crew_reload_fn *done, void *arg)
{
	(void)arg;
	errno = EBUSY;
	if (fake_busy)
		return -1;
	fake_busy = true;
	fake_dry_run = dry_run;
	reload_done = done;
	return 0;
}

void fake_reload_done(const struct crew_plan *plan, const char *errors)
{
	fake_busy = false;
	reload_done(plan, errors, NULL);
}

void crew_shutdown(bool join)
{
	(void)join;
	fake_shutdowns++;
}

void crew_look_at_end(void)
{
}

bool crew_is_ending(void)
{
	return false;
}

bool crew_is_shutting_down(void)
{
	return fake_shutdowns > 0;
}

/* ---- worker.h ---------------------------------------------------------------------------------
 */

const char *worker_state_name(enum worker_state s)
{
	static const char *const names[] = {
#define X(name, text, alive) [WORKER_##name] = text,
		WORKER_STATES(X)
#undef X
	};
	return names[s];
}

bool worker_is_alive(const struct worker *w)
{
	return w->state <= WORKER_STOPPING;
}

bool worker_is_settled(const struct worker *w)
{
	return w->state > WORKER_BACKOFF;
}

bool worker_is_up(const struct worker *w)
{
	return w->state == WORKER_RUNNING;
}

char *worker_why(const struct worker *w, char *buf, size_t size)
{
	buf[0] = '\0';
	if (w->has_end)
		snprintf(buf, size, "exited %d", w->end.status);
	return buf;
}

void worker_start(struct worker *w)
{
	fake_workers[w->slot].starts++;
	if (!worker_is_alive(w))
		fake_set(w->slot, WORKER_STARTING, 0);
}

void worker_stop(struct worker *w)
{
	fake_workers[w->slot].stops++;
	if (worker_is_alive(w))
		fake_set(w->slot, WORKER_STOPPING, w->pid);
}

void worker_kill(struct worker *w)
{
	fake_workers[w->slot].kills++;
	worker_stop(w);
}

void worker_signal(struct worker *w, int sig)
{
	fake_workers[w->slot].signal = sig;
}

void worker_restart(struct worker *w)
{
	fake_workers[w->slot].restarts++;
	fake_set(w->slot, WORKER_STARTING, 0);
}

/* ---- pool.h, manager.h, output.h --------------------------------------------------------------
 */

unsigned pool_size(const struct pool *p)
{
	return p->scale >= 0 ? (unsigned)p->scale : p->def->workers;
}

bool pool_is_up(const struct pool *p)
{
	return p->in_state[WORKER_RUNNING] == pool_size(p);
}

void pool_mark(struct pool *p)
{
	(void)p;
}

void pool_save(const struct pool *p)
{
	(void)p;
}

bool pool_may_start(const struct pool *p, const struct pool **why)
{
	(void)p;
	(void)why;
	return true;
}

/* Nobody asks here. */
void memory_ask(struct memory_query *q)
{
	(void)q;
}

void memory_forget(struct memory_query *q)
{
	list_remove(&q->link);
}

struct worker *pool_template(const struct pool *p)
{
	(void)p;
	return NULL;
}

struct pool *pool_template_pool(const struct pool *p)
{
	(void)p;
	return NULL;
}

uint64_t pool_template_hash_now(const struct pool *p)
{
	return p->process_hash;
}

const struct worker *pool_failed_template(const struct pool *p)
{
	(void)p;
	return NULL;
}

char *output_last_words(const struct worker *w, unsigned lines, char *buf, size_t size)
{
	(void)w;
	(void)lines;
	snprintf(buf, size, "%s", "");
	return buf;
}

void pool_renew(struct pool *p)
{
	p->generation++;
}

int pool_renewed(const struct pool *p)
{
	(void)p;
	return 0;
}

void pool_scale(struct pool *p, unsigned workers)
{
	p->scale = (int)workers;
}

const struct manager_info *manager_info(void)
{
	static struct manager_info info = { .keeper = 4711, .started = 1 };

	return &info;
}

/* What is printed is the same for all workers. */
void output_range(const struct worker *w, uint64_t *first, uint64_t *end)
{
	(void)w;
	*first = 0;
	*end = strlen(printed);
}

size_t output_read(const struct worker *w, uint64_t *from, char *to, size_t size)
{
	size_t len = strlen(printed) - *from;

	(void)w;
	if (size > len)
		size = len;
	memcpy(to, printed + *from, size);
	*from += size;
	return size;
}

uint64_t output_last_lines(const struct worker *w, unsigned lines)
{
	(void)w;
	return lines ? 0 : strlen(printed);
}

int output_fd(const struct worker *w)
{
	(void)w;
	return 1;
}

void output_observe(void (*fn)(struct worker *w))
{
	observer = fn;
}

void fake_print(const char *text)
{
	strncat(printed, text, sizeof(printed) - strlen(printed) - 1);
	if (observer)
		observer(&fake_workers[0].w);
}

/* ---- what tasks ask of workers: the two pools of this fake have none ----------------------------
 */

bool pool_is_alive(const struct pool *p)
{
	for (unsigned i = 0; i < p->count; i++)
		if (worker_is_alive(p->workers[i]))
			return true;
	return false;
}

char *worker_describe_end(const struct worker *w, const struct child_end *end, char *buf,
			  size_t size)
{
	(void)end;
	return worker_why(w, buf, size);
}

bool worker_is_per_task(const struct worker *w)
{
	(void)w;
	return false;
}

int worker_start_task(struct worker *w, const struct child_task *task)
{
	(void)w;
	(void)task;
	errno = ENOSYS;
	return -1;
}

void worker_replace(struct worker *w, int sig)
{
	(void)sig;
	worker_restart(w);
}

void worker_distrust(struct worker *w, const char *what)
{
	(void)what;
	worker_kill(w);
}

void child_close_input(unsigned slot)
{
	(void)slot;
}
