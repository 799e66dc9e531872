#include "tests/unit/fake_tasks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "lib/clock.h"

struct pool_setup setup;

void usual(enum conf_tasks tasks, uint32_t workers)
{
	setup = (struct pool_setup){ .tasks = tasks,
				     .workers = workers,
				     .min_workers = UINT32_MAX,
				     .prefetch = 1,
				     .backlog = 1000,
				     .restart_limit = 10,
				     .result_ttl = 300 * USEC_PER_SEC,
				     .idle_timeout = 60 * USEC_PER_SEC };
}

static void describe_plain(struct conf_build *b, uint32_t i, const char *name)
{
	static const char *const command[] = { "/bin/work" };
	conf_off title = conf_build_text(b, name);
	struct conf_list list = conf_build_list(b, command, 1);
	struct conf_pool *p = conf_build_pool(b, i);

	p->name = title;
	p->command = list;
}

static void describe_tasks(struct conf_pool *p)
{
	p->tasks = (uint8_t)setup.tasks;
	p->workers = setup.workers;
	p->min_workers = setup.min_workers;
	p->prefetch = setup.prefetch;
	p->retries = setup.retries;
	p->backlog = setup.backlog;
	p->max_tasks_per_worker = setup.max_tasks;
	p->recycle_private = setup.recycle;
	if (setup.refork_after)
		p->refork_after = setup.refork_after;
	p->task_timeout = setup.task_timeout;
	p->result_ttl = setup.result_ttl;
	p->idle_timeout = setup.idle_timeout;
	p->restart_limit = setup.restart_limit;
	p->autostart = !setup.no_autostart;
	if (setup.umask)
		p->umask = (int32_t)setup.umask;
}

static void describe(struct conf_build *b)
{
	uint32_t i = 0;

	if (!setup.absent) {
		conf_off queue = setup.queue ? conf_build_text(b, setup.queue) : 0;
		struct conf_list after = { 0 };

		describe_plain(b, i, "p");
		if (setup.after)
			after = conf_build_list(b, &setup.after, 1);
		conf_build_pool(b, i)->after = after;
		conf_build_pool(b, i)->workers = setup.workers;
		if (!setup.plain)
			describe_tasks(conf_build_pool(b, i));
		conf_build_pool(b, i)->queue = setup.plain ? 0 : queue;
		i++;
	}
	if (setup.after || setup.absent)
		describe_plain(b, i, setup.after ? setup.after : "other");
}

static struct conf *block(size_t *size)
{
	uint32_t pools = !setup.absent + (setup.after || setup.absent);

	return fake_block(pools, describe, size);
}

void start_pool(void)
{
	struct conf *b;
	size_t size;

	fake_reset();
	b = block(&size);
	fake_crew(b, size);
}

static void on_reloaded(const struct crew_plan *plan, const char *errors, void *arg)
{
	(void)errors;
	(void)arg;
	assert_non_null(plan);
}

void reload_pool(void)
{
	size_t size;
	struct conf *b = block(&size);

	assert_int_equal(crew_reload(false, on_reloaded, NULL), 0);
	fake_next_config(b, size);
}

void next_manager(void)
{
	struct conf *b;
	size_t size;

	fake_manager_dies();
	b = block(&size);
	fake_crew(b, size);
}

struct taskpool *the_pool(void)
{
	assert_non_null(crew_pool("p"));
	assert_non_null(crew_pool("p")->tasks);
	return crew_pool("p")->tasks;
}

struct worker *w_of(unsigned number)
{
	char name[32];
	struct worker *w;

	snprintf(name, sizeof(name), "p-%u", number);
	w = crew_worker(name);
	assert_non_null(w);
	return w;
}

struct channel *pipe_of(unsigned number)
{
	struct runner *r = w_of(number)->runner;

	assert_non_null(r);
	assert_non_null(r->channel);
	return r->channel;
}

void up(unsigned number)
{
	fake_exec(w_of(number));
}

void all_up(void)
{
	const struct pool *p = crew_pool("p");

	for (unsigned i = 0; i < p->count; i++)
		if (p->workers[i]->state == WORKER_STARTING)
			fake_exec(p->workers[i]);
}

void assert_worker(unsigned number, enum worker_state state)
{
	assert_string_equal(worker_state_name(w_of(number)->state), worker_state_name(state));
}

/* ---- callers ----------------------------------------------------------------------------------
 */

static void note(struct caller *c, const struct task *t)
{
	const struct task_failure *f = t->failure;
	size_t len = t->result_len < sizeof(c->result) - 1 ? t->result_len : sizeof(c->result) - 1;

	c->state = (enum task_state)t->state;
	c->attempts = t->attempts;
	c->worker = t->worker;
	c->task_exitcode = t->exitcode;
	c->result_len = t->result_len;
	if (t->result)
		memcpy(c->result, t->result, len);
	c->result[t->result ? len : 0] = '\0';
	if (!f)
		return;
	c->error = f->error;
	c->signal = f->signal;
	c->exitcode = f->exitcode;
	c->has_code = f->has_code;
	c->code = f->code;
	snprintf(c->message, sizeof(c->message), "%s", f->message);
	snprintf(c->data, sizeof(c->data), "%s", f->data ? f->data : "");
}

static void on_ended(struct task *t, struct task_owner *owner)
{
	struct caller *c = (struct caller *)(void *)owner;

	c->ended++;
	c->task = NULL;
	note(c, t);
	taskpool_fetched(t);
}

struct task *submit_as(struct caller *c, const struct task_request *r, enum taskpool_error expect)
{
	struct task *t = NULL;
	const char *parameter, *why = NULL;
	enum taskpool_error e;

	assert_int_equal(the_pool()->kind->check(r, &parameter, &why), 0);
	if (c)
		*c = (struct caller){ .owner.ended = on_ended };
	e = taskpool_submit(the_pool(), r, c ? &c->owner : NULL, 0, &t, &why);
	assert_int_equal(e, expect);
	if (e != TASKPOOL_OK)
		return NULL;
	if (c && !c->ended)
		c->task = t;
	fake_turn();
	return t;
}

struct task *submit(struct caller *c, const char *arg)
{
	struct task_request r = { .args = &arg, .count = 1 };

	if (the_pool()->kind->json)
		r = (struct task_request){ .method = arg };
	return submit_as(c, &r, TASKPOOL_OK);
}

void assert_refused(enum taskpool_error expect, const char *why)
{
	const char *arg = "x", *said = NULL;
	struct task_request r = { .args = &arg, .count = 1 };
	struct task *t;

	if (the_pool()->kind->json)
		r = (struct task_request){ .method = arg };
	assert_int_equal(taskpool_submit(the_pool(), &r, NULL, 0, &t, &said), expect);
	assert_string_equal(said, why);
}

static const char *names_of(const struct list *tasks)
{
	static char text[512];
	size_t at = 0;

	text[0] = '\0';
	for (const struct list *e = tasks->next; e != tasks; e = e->next) {
		const struct task *t = list_entry(e, const struct task, link);

		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s", at ? " " : "",
				       (int)t->size - 1, t->payload);
	}
	return text;
}

const char *hand_of(unsigned number)
{
	return names_of(&w_of(number)->runner->in_hand);
}

const char *queue_of_pool(void)
{
	return names_of(&the_pool()->queue);
}

void assert_ended_at(const struct caller *c, enum task_state state, int line)
{
	if (c->ended != 1 || c->state != state)
		fail_msg("line %d: told %u times, state %s, \"%s\"", line, c->ended,
			 task_state_name(c->state), c->message);
}
