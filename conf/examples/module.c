#include <crew.h>
#include <stdlib.h>

#define MAX 10000000UL
static char composite[MAX]; /* made once, shared by all workers */

int crew_preload(void)
{
	for (unsigned long n = 2; n * n < MAX; n++)
		for (unsigned long m = n * n; !composite[n] && m < MAX; m += n)
			composite[m] = 1;
	return 0;
}

void crew_run(struct crew_task *task)
{
	const char *word = crew_task_arg(task, 0, NULL);
	unsigned long n = word ? strtoul(word, NULL, 10) : 0;
	crew_return_json(task, n > 1 && n < MAX && !composite[n] ? "true" : "false");
}
