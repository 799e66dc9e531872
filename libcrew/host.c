/*
 * crew-host MODULE: the template of a pool that has a module (crewd.conf(5)). Loads the shared object, lets it load
 * what it needs, and forks workers, each of which calls its crew_run() for one task after the other.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include "libcrew/crew.h"

struct module {
	int (*preload)(void); /* NULL: there is nothing to load */
	void (*run)(struct crew_task *task);
};

static void serve_one(struct crew_task *task, void *arg)
{
	const struct module *m = arg;

	m->run(task);
}

/* A function's address, which dlsym() has as an object's. */
static void find(void *object, const char *name, void *out)
{
	void *symbol = dlsym(object, name);

	memcpy(out, &symbol, sizeof(symbol));
}

static int load(const char *path, struct module *m)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	int r;

	if (!object) {
		fprintf(stderr, "cannot load the module: %s\n", dlerror());
		return -1;
	}
	find(object, "crew_run", &m->run);
	if (!m->run) {
		fprintf(stderr, "%s is no module: %s\n", path, dlerror());
		return -1;
	}
	find(object, "crew_preload", &m->preload);
	r = m->preload ? m->preload() : 0;
	if (r)
		fprintf(stderr, "%s: crew_preload() has returned %d\n", path, r);
	return r ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct module m = { 0 };
	int r;

	if (argc != 2) {
		fputs("crew-host is started by crewd, for pools with a module\n", stderr);
		return 2;
	}
	if (load(argv[1], &m) < 0)
		return 1;
	r = crew_template_loop();
	if (r < 0)
		fprintf(stderr, "cannot be a template: %s\n", crew_strerror(r));
	if (r != 1)
		return r != 0;
	return crew_serve(serve_one, &m) != 0;
}
