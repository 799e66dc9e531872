#include "ctl/joblog.h"

#include <errno.h>
#include <string.h>
#include "ctl/task.h"
#include "lib/clock.h"

FILE *joblog_open(const char *path)
{
	FILE *log = fopen(path, "we");

	if (log)
		fputs("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n",
		      log);
	return log;
}

/* -1 for a task whose time was over, as there is no status then; 0 beside a signal. */
static int exitval(const struct json_t *task)
{
	int64_t number;
	int status;

	if (!task)
		return CREW_EXIT_FAILED;
	if (task_signal(task))
		return 0;
	if (task_exitcode(task, &number))
		return (int)number;
	status = task_status(task);
	return status == CREW_EXIT_TIME_OVER ? -1 : status;
}

void joblog_write(FILE *log, uint64_t line, const struct json_t *task, const char *text, size_t len,
		  size_t received)
{
	const char *worker = json_get_string(task, "worker");
	double started, finished;

	if (!json_get_double(task, "started", &started) &&
	    !json_get_double(task, "queued", &started))
		started = (double)clock_wall() / (double)USEC_PER_SEC;
	if (!json_get_double(task, "finished", &finished) || finished < started)
		finished = started;
	fprintf(log, "%llu\t%s\t%.3f\t%10.3f\t%zu\t%zu\t%d\t%d\t", (unsigned long long)line + 1,
		worker && *worker ? worker : ":", started, finished - started, len, received,
		exitval(task), task ? task_signal(task) : 0);
	if (len)
		fwrite(text, 1, len, log);
	fputc('\n', log);
}

int joblog_flush(FILE *log)
{
	return fflush(log) == 0 && !ferror(log) ? 0 : -1;
}
