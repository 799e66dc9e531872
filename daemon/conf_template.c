/* Templates, and the pools whose workers are forked from them. */
#include <string.h>

#include "daemon/conf_check.h"
#include "lib/bounds.h"

struct check {
	struct conf_source *src;
	struct conf_build *b;
};

static const struct conf_pool *template_named(const struct check *c, const char *name)
{
	const struct conf *head = conf_build_head(c->b);

	for (uint32_t i = 0; i < head->pool_count; i++) {
		const struct conf_pool *p = conf_pool_at(head, i);

		if (p->is_template && strcmp(conf_text(head, p->name), name) == 0)
			return p;
	}
	return NULL;
}

/* What only exec could change: the process is there already, and is what its template is. */
static void check_process(const struct check *c, const struct conf_entry *p,
			  const struct conf_pool *pool)
{
	if (conf_source_says(p, CONF_KEY_COMMAND))
		conf_source_complain(c->src, p, CONF_KEY_COMMAND,
			 "its workers are forked from a template, which has the command; remove "
			 "one of the two");
	if (conf_source_says(p, CONF_KEY_CLEAN_ENVIRONMENT) && pool->clean_environment && !pool->module)
		conf_source_complain(c->src, p, CONF_KEY_CLEAN_ENVIRONMENT,
			 "its workers have the environment of their template; write it there");
}

static bool same_identity(const struct conf_identity *a, const struct conf_identity *b)
{
	return a->uid == b->uid && a->gid == b->gid;
}

/* An inherited user gives way; one that is written has to be the template's. */
static void check_user(const struct check *c, const struct conf_entry *p, uint32_t i,
		       const struct conf_pool *template)
{
	struct conf_pool *pool = conf_build_pool(c->b, i);
	bool user = conf_source_says(p, CONF_KEY_USER), group = conf_source_says(p, CONF_KEY_GROUP);

	if ((user || group) && !same_identity(&pool->identity, &template->identity))
		conf_source_complain(c->src, p, user ? CONF_KEY_USER : CONF_KEY_GROUP,
			 "its workers are forked from a template and run as that does; write it "
			 "there");
	pool->identity = template->identity;
	pool->user = template->user;
	pool->group = template->group;
}

static void check_size(const struct check *c, const struct conf_entry *p,
		       const struct conf_pool *pool)
{
	const struct conf *head = conf_build_head(c->b);
	size_t size = 0;

	for (uint32_t i = 0; i < pool->environment.count; i++)
		size += strlen(conf_item(head, pool->environment, i)) + sizeof("set ");
	if (size > CREW_TEMPLATE_ENVIRONMENT_MAX)
		conf_errors_add(c->src->errors, p->keys[CONF_KEY_ENVIRONMENT].file,
				p->keys[CONF_KEY_ENVIRONMENT].line,
				"pool \"%s\": environment: at most %d bytes for workers that are "
				"forked from a template; write what is large there",
				p->name, CREW_TEMPLATE_ENVIRONMENT_MAX);
}

/* A command of its own is more than a template it inherits. */
static bool has_other_command(const struct conf_entry *p)
{
	return conf_source_says(p, CONF_KEY_COMMAND) && p->keys[CONF_KEY_TEMPLATE].inherited;
}

static void check_pool(const struct check *c, uint32_t i)
{
	const struct conf_entry *p = conf_source_pool(c->src, i);
	struct conf_pool *pool = conf_build_pool(c->b, i);
	const struct conf_pool *template;

	if (pool->tasks == CONF_TASKS_EXEC || has_other_command(p)) /* inherited, or complained of */
		pool->template = 0;
	if (!pool->template)
		return;
	template = template_named(c, conf_text(conf_build_head(c->b), pool->template));
	if (!template) {
		if (conf_source_says(p, CONF_KEY_TEMPLATE))
			conf_source_complain(c->src, p, CONF_KEY_TEMPLATE, "there is no template of that name");
		return;
	}
	check_process(c, p, pool);
	check_user(c, p, i, template);
	check_size(c, p, pool);
	pool->command = (struct conf_list){ 0 };
	if (!pool->module) /* what that says is for the template, which has it */
		pool->clean_environment = false;
}

void conf_check_templates(struct conf_source *src, struct conf_build *b)
{
	const struct check c = { src, b };

	for (uint32_t i = 0; i < conf_source_pools(src); i++) {
		const struct conf_entry *p = conf_source_pool(src, i);
		struct conf_pool *pool = conf_build_pool(b, i);

		if (!p->is_template) {
			check_pool(&c, i);
			continue;
		}
		pool->ready = CONF_READY_NOTIFY;
		if (!p->keys[CONF_KEY_RESTART_LIMIT].line)
			pool->restart_limit = CREW_TEMPLATE_RESTARTS;
	}
}
