/* Templates, and the pools whose workers are forked from them. */
#include <string.h>

#include "daemon/conf_check.h"
#include "lib/bounds.h"

struct check {
	struct conf_source *src;
	struct conf_build *b;
};

static void complain(const struct check *c, const struct conf_entry *p, enum conf_pool_key key,
		     const char *why)
{
	const struct conf_given *given = &p->keys[key];

	conf_errors_add(c->src->errors, given->file, given->line,
			"pool \"%s\": %s = \"%.64s\": %s", p->name, conf_pool_keys[key].name,
			given->values.count ? given->values.items[0] : "", why);
}

static bool is_own(const struct conf_entry *p, enum conf_pool_key key)
{
	return p->keys[key].line && !p->keys[key].inherited;
}

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
	if (is_own(p, CONF_KEY_COMMAND))
		complain(c, p, CONF_KEY_COMMAND,
			 "its workers are forked from a template, which has the command; remove "
			 "one of the two");
	if (is_own(p, CONF_KEY_CLEAN_ENVIRONMENT) && pool->clean_environment && !pool->module)
		complain(c, p, CONF_KEY_CLEAN_ENVIRONMENT,
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
	bool user = is_own(p, CONF_KEY_USER), group = is_own(p, CONF_KEY_GROUP);

	if ((user || group) && !same_identity(&pool->identity, &template->identity))
		complain(c, p, user ? CONF_KEY_USER : CONF_KEY_GROUP,
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
	return is_own(p, CONF_KEY_COMMAND) && p->keys[CONF_KEY_TEMPLATE].inherited;
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
		if (is_own(p, CONF_KEY_TEMPLATE))
			complain(c, p, CONF_KEY_TEMPLATE, "there is no template of that name");
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
