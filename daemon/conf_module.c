#include "daemon/conf_module.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "lib/bounds.h"

#define SUFFIX ".module"

static bool says_module(const struct conf_entry *p)
{
	const struct conf_given *tasks = &p->keys[CONF_KEY_TASKS];

	return tasks->line && tasks->values.count && strcmp(tasks->values.items[0], "module") == 0;
}

/* ---- what the pool says ------------------------------------------------------------------------ */

/* A command, a template or other tasks of its own are more than a module that it inherits. */
static bool has_other(const struct conf_entry *p)
{
	return conf_source_says(p, CONF_KEY_COMMAND) || conf_source_says(p, CONF_KEY_TEMPLATE) ||
	       (conf_source_says(p, CONF_KEY_TASKS) && !says_module(p));
}

static void drop(struct conf_entry *p, enum conf_pool_key key)
{
	p->keys[key] = (struct conf_given){ 0 };
}

/* Of two that exclude each other the inherited one gives way. */
static void settle_other(struct conf_source *src, struct conf_entry *p, enum conf_pool_key key)
{
	if (conf_source_says(p, key))
		conf_source_complain(src, p, key,
			 "its workers are forked from crewd's own template for modules; remove "
			 "one of the two");
	drop(p, key);
}

static void settle_tasks(struct conf_source *src, struct conf_entry *p)
{
	static const char *const word[] = { "module" };
	struct conf_given *tasks = &p->keys[CONF_KEY_TASKS];

	if (conf_source_says(p, CONF_KEY_TASKS) && !says_module(p))
		conf_source_complain(src, p, CONF_KEY_TASKS,
			 "a pool with a module has tasks = \"module\", which need not be said");
	*tasks = p->keys[CONF_KEY_MODULE];
	tasks->values = (struct conf_values){ 1, word };
}

/* True: its workers are to be those of a module. */
static bool settle(struct conf_source *src, struct conf_entry *p)
{
	if (p->keys[CONF_KEY_MODULE].inherited && has_other(p)) {
		drop(p, CONF_KEY_MODULE);
		if (says_module(p) && p->keys[CONF_KEY_TASKS].inherited)
			drop(p, CONF_KEY_TASKS);
	}
	if (!p->keys[CONF_KEY_MODULE].line) {
		if (says_module(p))
			conf_source_complain(src, p, CONF_KEY_TASKS,
				 "needs the module; add module = \"/path/of/libthing.so\"");
		return false;
	}
	settle_other(src, p, CONF_KEY_COMMAND);
	settle_other(src, p, CONF_KEY_TEMPLATE);
	settle_tasks(src, p);
	return true;
}

/* ---- its template ------------------------------------------------------------------------------ */

/* Beside crewd itself, where it is run from the directory it was built in; else where it is installed. */
static const char *host(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("crew-host"));
	char *slash;

	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		if (slash) {
			strcpy(slash + 1, "crew-host");
			if (access(path, X_OK) == 0)
				return path;
		}
	}
	return CREW_HOST;
}

static const char *name_of(struct conf_source *src, const struct conf_entry *p)
{
	char name[2 * CREW_NAME_MAX];
	int n = snprintf(name, sizeof(name), "%s" SUFFIX, p->name);

	if (n <= CREW_NAME_MAX)
		return conf_source_copy(src, name, (size_t)n);
	conf_source_complain(src, p, CONF_KEY_MODULE, "its pool's name may have at most 57 characters");
	return NULL;
}

static void give_command(struct conf_source *src, struct conf_entry *t,
			 const struct conf_given *module)
{
	const char **items = conf_source_take(src, 2 * sizeof(*items));
	const char *path = host();

	if (!items)
		return;
	items[0] = conf_source_copy(src, path, strlen(path));
	items[1] = module->values.count ? module->values.items[0] : "";
	t->keys[CONF_KEY_COMMAND] = *module;
	t->keys[CONF_KEY_COMMAND].values = (struct conf_values){ 2, items };
}

/* What is wrong with a value is said of the pool: here all are inherited. */
static void add_template(struct conf_source *src, uint32_t i)
{
	static const enum conf_pool_key shared[] = {
		CONF_KEY_ENVIRONMENT,	CONF_KEY_CLEAN_ENVIRONMENT,
		CONF_KEY_DIRECTORY,	CONF_KEY_USER,
		CONF_KEY_GROUP,		CONF_KEY_UMASK,
		CONF_KEY_NICE,		CONF_KEY_LIMITS,
		CONF_KEY_START_TIMEOUT, CONF_KEY_STOP_TIMEOUT,
		CONF_KEY_LOG,		CONF_KEY_MODULE,
	};
	const struct conf_entry *p = conf_source_pool(src, i);
	const char *name = name_of(src, p);
	struct conf_entry *t;

	if (!name)
		return;
	t = conf_source_add(src, CONF_SECTION_TEMPLATE, name, p->file, p->line);
	if (!t)
		return;
	p = conf_source_pool(src, i);
	give_command(src, t, &p->keys[CONF_KEY_MODULE]);
	for (size_t k = 0; k < sizeof(shared) / sizeof(*shared); k++)
		t->keys[shared[k]] = p->keys[shared[k]];
	for (unsigned k = 0; k < CONF_POOL_KEYS; k++)
		t->keys[k].inherited = true;
}

void conf_module_expand(struct conf_source *src)
{
	uint32_t count = conf_source_pools(src);

	for (uint32_t i = 0; i < count && !src->broken; i++)
		if (!conf_source_pool(src, i)->is_template && settle(src, conf_source_pool(src, i)))
			add_template(src, i);
}

/* ---- values ------------------------------------------------------------------------------------ */

void conf_module_fill(const struct conf_source *src, struct conf_build *b)
{
	for (uint32_t i = 0; i < conf_source_pools(src); i++) {
		const struct conf_entry *p = conf_source_pool(src, i);
		char name[2 * CREW_NAME_MAX];
		conf_off template;

		if (p->is_template || conf_build_pool(b, i)->tasks != CONF_TASKS_MODULE)
			continue;
		snprintf(name, sizeof(name), "%s" SUFFIX, p->name);
		template = conf_build_text(b, name);
		conf_build_pool(b, i)->template = template;
		if (!p->keys[CONF_KEY_PREFETCH].line)
			conf_build_pool(b, i)->prefetch = CONF_MODULE_PREFETCH;
	}
}
