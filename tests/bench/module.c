/* A module whose tasks are as trivial as those of tests/workers/echo_lines.c. */
#include <crew.h>

void crew_run(struct crew_task *task)
{
	size_t len;
	const char *word = crew_task_arg(task, 0, &len);

	if (word)
		crew_return(task, word, len);
}
