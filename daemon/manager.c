#include "daemon/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/child.h"
#include "daemon/control.h"
#include "daemon/crew.h"
#include "daemon/wire.h"
#include "daemon/ledger.h"
#include "daemon/memory.h"
#include "daemon/notify.h"
#include "daemon/orphan.h"
#include "daemon/output.h"
#include "daemon/queue_conf.h"
#include "daemon/sink.h"
#include "daemon/slice.h"
#include "daemon/taskpool.h"
#include "lib/clock.h"
#include "lib/log.h"

#define CHANNEL	     3
#define RELOAD_AGAIN (20 * USEC_PER_MSEC)
#define FILES_LINGER (5 * USEC_PER_SEC)
#define LAST_LINES   5
#define LINGER	     (2 * USEC_PER_SEC) /* for answers that clients are slow to read at the end */

static struct manager_info info;
static struct loop_task status_task;
static struct loop_timer linger;
static int cgroup_kill = -1;

const struct manager_info *manager_info(void)
{
	return &info;
}

/* ---- what the keeper says ---------------------------------------------------------------------
 */

static void on_forked(unsigned slot, pid_t pid)
{
	struct worker *w = crew_slot(slot);

	if (!w)
		return;
	worker_on_forked(w, pid);
	output_begin(w);
	notify_forked(w, pid);
}

static void on_running(unsigned slot, pid_t pid, int64_t started)
{
	struct worker *w = crew_slot(slot);

	if (!w)
		return;
	worker_on_running(w, pid, started);
	output_begin(w);
	notify_forked(w, pid);
}

static void on_ended(unsigned slot, const struct child_end *end)
{
	struct worker *w = crew_slot(slot);

	if (!w)
		return;
	output_ended(w);
	worker_on_ended(w, end);
}

static void on_output(unsigned slot, int fd)
{
	struct worker *w = crew_slot(slot);

	if (!w) {
		close(fd);
		return;
	}
	output_attach(w, fd);
	if (!w->pid) /* it comes with the pipe, or a little later */
		output_wait(w);
}

static void on_pipes(unsigned slot, int in, int out)
{
	struct worker *w = crew_slot(slot);

	if (w && w->runner && worker_is_alive(w)) {
		runner_on_pipes(w->runner, in, out);
		return;
	}
	if (in >= 0)
		close(in);
	close(out);
}

static void on_log_file(uint32_t index, int fd, int err)
{
	struct pool *p = crew_pool_by_index(index);

	if (p && p->def->log == CONF_LOG_FILE)
		output_pool_file(p, fd, err);
	else if (fd >= 0)
		close(fd);
}

static void on_reload_done(const struct crew_plan *plan, const char *errors, void *arg)
{
	(void)arg;
	if (!plan)
		log_error(NULL, "%s", errors);
	child_ready(false);
}

/* The reload that is under way may have read the file before what this one is about was written. */
static void reload_by_signal(void *arg)
{
	static struct loop_timer again = { .fn = reload_by_signal };

	(void)arg;
	if (crew_reload(false, on_reload_done, NULL) == 0)
		child_ready(true);
	else if (crew_is_shutting_down())
		log_warning(NULL, "not reloaded: crewd is shutting down");
	else
		loop_timer_at(&again, loop_now() + RELOAD_AGAIN);
}

static void on_signalled(int sig)
{
	if (sig == SIGHUP)
		reload_by_signal(NULL);
	else
		crew_shutdown(false);
}

/* Nobody is left who may restart or reap: no worker may stay behind, and nobody may think that
 * crewd still answers. */
static void on_keeper_gone(void)
{
	log_error("manager", "the keeper is gone, ending all workers");
	control_close();
	orphan_end_all(cgroup_kill);
	_exit(1);
}

/* ---- what policy says --------------------------------------------------------------------------
 */

/* Where each task is a process this is asked all the time. */
static void tell_status(void *arg)
{
	static char told[128];
	char text[sizeof(told)];

	(void)arg;
	snprintf(text, sizeof(text), "%u of %u workers running", crew_running(), crew_total());
	if (strcmp(text, told) != 0 && child_status(text))
		strcpy(told, text);
}

/* Of all that a template may have said these are what matters to those who wait for it. */
static void tell_last_words(struct worker *w)
{
	char words[1024];

	output_catch_up(w);
	if (*output_last_words(w, LAST_LINES, words, sizeof(words)))
		log_warning(w->name, "its last lines: %s", words);
}

static void on_worker_changed(struct worker *w, enum worker_state from)
{
	if (w->state == WORKER_FAILED && w->pool->def->is_template)
		tell_last_words(w);
	loop_defer(&status_task);
	rpc_worker_changed(w, from);
}

static void on_worker_gone(struct worker *w)
{
	rpc_worker_gone(w);
	output_forget(w);
}

static void on_pool_defined(struct pool *p)
{
	if (p->def->log == CONF_LOG_FILE && !p->is_run)
		child_open_log(p->index);
}

static void on_reloaded(const struct conf *conf)
{
	control_set_group(conf->socket_gid);
	loop_defer(&status_task);
	rpc_reloaded();
}

static void finish(void *arg)
{
	(void)arg;
	loop_stop();
}

static void wait_for_readers(void *arg)
{
	(void)arg;
	if (control_idle())
		loop_stop();
	else
		loop_timer_at(&linger, loop_now() + 20 * USEC_PER_MSEC);
}

static void on_shut_down(void)
{
	static struct loop_timer limit = { .fn = finish };

	if (limit.armed)
		return;
	control_stop();
	linger.fn = wait_for_readers;
	loop_timer_at(&linger, loop_now());
	loop_timer_at(&limit, loop_now() + LINGER);
}

/* ---- start -------------------------------------------------------------------------------------
 */

static const struct child_events child_events = {
	.forked = on_forked,
	.running = on_running,
	.ended = on_ended,
	.output = on_output,
	.pipes = on_pipes,
	.log_file = on_log_file,
	.signalled = on_signalled,
	.measured = memory_on_measured,
	.keeper_gone = on_keeper_gone,
};

static const struct crew_events crew_events = {
	.worker_changed = on_worker_changed,
	.worker_gone = on_worker_gone,
	.shut_down = on_shut_down,
	.output = output_attach,
	.pool_defined = on_pool_defined,
	.pool_gone = output_pool_gone,
	.reloaded = on_reloaded,
};

static int fail(const char *what)
{
	log_error("manager", "cannot %s: %s", what, strerror(errno));
	return 1;
}

static void note_info(const struct child_hello *hello)
{
	info = (struct manager_info){ .keeper = hello->keeper,
				      .started = hello->started,
				      .incarnation = hello->incarnation,
				      .root = hello->root,
				      .journal = hello->journal,
				      .uid = hello->uid };
}

static int start(void)
{
	struct crew_setup setup = { .events = &crew_events };
	struct child_hello hello;

	if (loop_init() < 0)
		return fail("make an event loop");
	if (child_init(CHANNEL, &child_events, &hello) < 0)
		return fail("take over from the keeper");
	note_info(&hello);
	task_init((uint32_t)(hello.started ^ hello.started >> 32) ^ (uint32_t)hello.keeper << 16,
		  hello.incarnation);
	rpc_task_init();
	queue_init((uint32_t)(hello.started ^ hello.started >> 32) ^ hello.incarnation << 20);
	cgroup_kill = hello.fds[WIRE_FD_CGROUP];
	setup.root = hello.root;
	setup.journal = hello.journal;
	if (ledger_init(hello.fds[WIRE_FD_LEDGER]) < 0 || output_init(hello.fds[WIRE_FD_LOGS]) < 0)
		return fail("map what the manager before left");
	if (sink_init() < 0)
		return fail("start the thread that writes logs");
	if (crew_init(&setup, hello.fds[WIRE_FD_CONF]) < 0)
		return fail("take the configuration");
	if (queue_conf_init(crew_conf(), hello.fds[WIRE_FD_STATE], rpc_queue_changed) < 0)
		return fail("make the queues");
	if (notify_init(hello.fds[WIRE_FD_NOTIFY]) < 0)
		return fail("listen to workers");
	if (control_init(hello.fds[WIRE_FD_LISTENER], hello.uid, crew_conf()->socket_gid) < 0)
		return fail("listen for clients");
	status_task.fn = tell_status;
	loop_defer(&status_task);
	child_ready(false);
	if (hello.stopping)
		crew_shutdown(false);
	return 0;
}

/* Signals are the keeper's business: what reaches the manager by a process group must not end it.
 */
static void ignore_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

/* All that was answered is on disk already; this is for what may come back else. */
static void end_queues(void)
{
	int64_t until = clock_now() + FILES_LINGER;

	queue_conf_end();
	while (!queue_conf_wait(50 * USEC_PER_MSEC))
		if (clock_now() >= until) {
			log_warning("manager",
				    "durable queues: the disk is slow, the last items that were "
				    "taken may come back");
			return;
		}
}

int manager_main(void)
{
	struct stat st;

	if (fstat(CHANNEL, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fputs("crewd: --internal=manager is not for use by hand\n", stderr);
		return 2;
	}
	log_init();
	prctl(PR_SET_NAME, "crewd");
	fcntl(CHANNEL, F_SETFD, FD_CLOEXEC);
	fcntl(CHANNEL, F_SETFL, O_NONBLOCK);
	ignore_signals();
	slice_make_short();
	if (start() != 0)
		return 1;
	loop_run();
	control_close();
	end_queues();
	sink_close();
	child_done(0);
	child_close();
	return 0;
}
