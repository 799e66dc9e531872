/*
 * The template's side of crewd-template(7): a process that has loaded what is heavy says that it is warm, and from
 * then on forks a worker each time crewd asks for one.
 *
 *	load();
 *	switch (template_serve(&worker)) {
 *	case 1: return work(worker.name);	// a worker, with everything that is its own
 *	case 0: return 0;			// crewd wants no more of them
 *	default: perror(...);
 *	}
 *
 * The process must have one thread only, or crewd refuses it; workers may start as many as they like.
 */
#ifndef CREW_TEMPLATE_H
#define CREW_TEMPLATE_H

#include "lib/bounds.h"

struct template_worker {
	char name[CREW_NAME_MAX + 1]; /* POOL-N */
};

/* Says READY=1 and waits for requests. Returns in each worker that it forks (1): a child of crewd's, in a session
 * of its own, with its standard input, output and error, its environment, umask and directory. In the template it
 * returns when crewd is gone (0), or with errno (-1): EINVAL, this process was not started as a template. */
int template_serve(struct template_worker *worker);

#endif
