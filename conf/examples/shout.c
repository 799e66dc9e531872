#include <crew.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void shout(struct crew_task *task, void *arg)
{
	const char *word = crew_task_arg(task, 0, NULL);
	char *loud = word ? strdup(word) : NULL;

	for (char *c = loud; c && *c; c++)
		*c = (char)toupper((unsigned char)*c);
	if (loud)
		crew_return(task, loud, strlen(loud));
	else
		crew_fail(task, 1, arg);
	free(loud);
}

int main(void)
{
	return crew_serve(shout, "a word is missing") < 0;
}
