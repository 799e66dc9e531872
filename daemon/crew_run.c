#include "daemon/crew_run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include "daemon/conf_build.h"
#include "daemon/sealed.h"
#include "lib/clock.h"

const struct conf crew_lost_conf = { .magic = CONF_MAGIC,
				     .version = CONF_VERSION,
				     .size = sizeof(struct conf) };
const struct conf_pool crew_lost_pool = {
	.umask = -1,
	.restart = CONF_RESTART_NEVER,
	.restart_delay = 100 * USEC_PER_MSEC,
	.restart_delay_max = 30 * USEC_PER_SEC,
	.restart_window = 60 * USEC_PER_SEC,
	.success_exit = { 1 },
	.start_timeout = 30 * USEC_PER_SEC,
	.stop_signal = SIGTERM,
	.stop_timeout = 10 * USEC_PER_SEC,
	.log = CONF_LOG_DISCARD,
};

/* False when there was no room for it. */
static bool describe(struct conf_build *b, const struct crew_run *run, const char *name,
		     bool journal)
{
	conf_off title = conf_build_text(b, name);
	conf_off directory = run->directory ? conf_build_text(b, run->directory) : 0;
	struct conf_list command = conf_build_list(b, run->command, run->command_count);
	struct conf_list environment = conf_build_list(b, run->environment, run->environment_count);
	struct conf_pool *p = conf_build_pool(b, 0);

	if (!title || (run->directory && !directory) || !command.items ||
	    (run->environment_count && !environment.items))
		return false;
	p->name = title;
	p->directory = directory;
	p->command = command;
	p->environment = environment;
	p->workers = 1;
	p->restart = (uint8_t)run->restart;
	p->log = journal ? CONF_LOG_JOURNAL : CONF_LOG_INHERIT;
	return true;
}

int crew_run_block(const struct crew_run *run, const char *name, bool journal)
{
	struct conf_build *b = conf_build_new(1, 0);
	struct conf *block;
	size_t size;
	int fd;

	if (!b)
		return -1;
	if (!describe(b, run, name, journal)) {
		conf_build_free(b);
		return -1;
	}
	block = conf_build_finish(b, &size);
	if (!block)
		return -1;
	if (size > CREW_RUN_SPEC_MAX) {
		free(block);
		errno = EFBIG;
		return -1;
	}
	fd = sealed_memory("crewd-run", block, size);
	free(block);
	return fd;
}
