/* Who is who: the identities of pools, of the manager and of `crewctl run`. */
#include <string.h>

#include "daemon/conf_check.h"
#include "daemon/conf_user.h"

#define MANAGER_DEFAULT	 "crewd"
#define MANAGER_FALLBACK "nobody"

struct who {
	struct conf_source *src;
	struct conf_build *b;
	bool as_root, fell_back;
	const char *main_file;
	/* Pools often say the same: what the last lookup was for, and what came of it. */
	const char *user, *group;
	struct conf_identity last;
	struct conf_identity own; /* only its names, once they are asked for */
};

/* An empty one was complained of already. */
static const char *given_text(const struct conf_given *given)
{
	return given->line && given->values.count == 1 && *given->values.items[0]
		       ? given->values.items[0]
		       : NULL;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool look_up(struct who *w, const char *user, const char *group, struct conf_identity *out,
		    char *why)
{
	if ((user || group) && same(user, w->user) && same(group, w->group)) {
		*out = w->last;
		return true;
	}
	if (!conf_user_find(w->b, user, group, out, why))
		return false;
	w->user = user;
	w->group = group;
	w->last = *out;
	return true;
}

static void complain(const struct who *w, const struct conf_given *at, const char *what,
		     const char *name, const char *why)
{
	if (!at->inherited && *why)
		conf_errors_add(w->src->errors, at->file, at->line, "%s%s%s%s", what, name,
				*name ? "\": " : "", why);
}

/* A worker under the manager's uid could trace it. Where crewd has no user of its own, nobody is
 * shared by everyone, and a warning must do. */
static void check_apart(const struct who *w, const struct conf_given *at, const char *what,
			const char *name, const struct conf_identity *id)
{
	if (!w->as_root || id->uid == CONF_NO_ID || id->uid != conf_build_head(w->b)->manager.uid)
		return;
	if (!w->fell_back)
		complain(w, at, *name ? what : "run-user: ", name,
			 "must not be crewd's manager-user; choose another one");
	else if (!at->inherited)
		conf_errors_warn(w->src->errors, at->file, at->line,
				 "%s%s%sis the user of crewd's manager too; add a user \"%s\"",
				 what, name, *name ? "\": user " : " ", MANAGER_DEFAULT);
}

static void pool_identity(struct who *w, uint32_t i)
{
	const struct conf_entry *p = conf_source_pool(w->src, i);
	const struct conf_given *at = &p->keys[CONF_KEY_USER];
	const char *user = given_text(at), *group = given_text(&p->keys[CONF_KEY_GROUP]);
	char why[CONF_USER_WHY];
	struct conf_identity id;

	if (!user && !group)
		return;
	if (!user)
		at = &p->keys[CONF_KEY_GROUP];
	if (!w->as_root) {
		if (!conf_user_is_self(user, group, why))
			complain(w, at, "pool \"", p->name, why);
		return;
	}
	if (!look_up(w, user, group, &id, why)) {
		bool of_group = strncmp(why, "group", 5) == 0;

		complain(w, of_group ? &p->keys[CONF_KEY_GROUP] : at, "pool \"", p->name, why);
		if (of_group && user && !look_up(w, user, NULL, &id, why))
			complain(w, at, "pool \"", p->name, why);
		return;
	}
	conf_build_pool(w->b, i)->identity = id;
	check_apart(w, at, "pool \"", p->name, &id);
}

/* A clean environment is to have them even where crewd's own lacks them. */
static void pool_names(struct who *w, uint32_t i)
{
	struct conf_identity id = conf_build_pool(w->b, i)->identity;

	if (!conf_build_pool(w->b, i)->clean_environment || id.user)
		return;
	if (!w->own.user)
		conf_user_own_names(w->b, &w->own);
	id.user = w->own.user;
	id.home = w->own.home;
	id.shell = w->own.shell;
	conf_build_pool(w->b, i)->identity = id;
}

static void manager_identity(struct who *w)
{
	const struct conf_given *at = &w->src->globals[CONF_KEY_MANAGER_USER];
	const char *file = at->line ? at->file : w->main_file;
	const char *user = given_text(at) ? given_text(at) : MANAGER_DEFAULT;
	unsigned line = at->line ? at->line : 1;
	char why[CONF_USER_WHY];
	struct conf_identity id;
	conf_off text = conf_build_text(w->b, user);

	conf_build_head(w->b)->manager_user = text;
	if (!w->as_root)
		return;
	w->fell_back = !conf_user_find(w->b, user, NULL, &id, why);
	if (w->fell_back && conf_user_find(w->b, MANAGER_FALLBACK, NULL, &id, why))
		conf_errors_warn(w->src->errors, file, line,
				 "manager-user: there is no user \"%.64s\", \"%s\" is taken", user,
				 MANAGER_FALLBACK);
	else if (w->fell_back)
		conf_errors_add(w->src->errors, file, line, "manager-%s", why);
	if (id.uid == 0)
		conf_errors_add(w->src->errors, file, line,
				"manager-user = \"%.64s\": must not be root", user);
	conf_build_head(w->b)->manager = id;
}

static void run_identity(struct who *w)
{
	const struct conf_given *at = &w->src->globals[CONF_KEY_RUN_USER];
	const char *user = given_text(at);
	char why[CONF_USER_WHY];
	struct conf_identity id;

	if (!w->as_root || !user)
		return;
	if (!look_up(w, user, NULL, &id, why)) {
		complain(w, at, "run-", "", why);
		return;
	}
	conf_build_head(w->b)->run = id;
	check_apart(w, at, "run-user", "", &id);
}

static void socket_group(struct who *w)
{
	const struct conf_given *at = &w->src->globals[CONF_KEY_SOCKET_GROUP];
	const char *group = given_text(at);
	uint32_t gid;

	if (!group && !w->as_root)
		return;
	gid = conf_user_group(group ? group : MANAGER_DEFAULT);
	if (group && gid == CONF_NO_ID)
		conf_errors_add(w->src->errors, at->file, at->line,
				"socket-group = \"%.64s\": there is no such group", group);
	if (!group && gid != CONF_NO_ID) {
		conf_off text = conf_build_text(w->b, MANAGER_DEFAULT);
		conf_build_head(w->b)->socket_group = text;
	}
	conf_build_head(w->b)->socket_gid = gid;
}

void conf_check_identities(struct conf_source *src, struct conf_build *b, bool as_root)
{
	struct who w = { .src = src,
			 .b = b,
			 .as_root = as_root,
			 .main_file = conf_text(conf_build_head(b), conf_build_head(b)->file) };
	char *file = conf_source_copy(src, w.main_file, strlen(w.main_file));

	if (!file)
		return;
	w.main_file = file; /* the block moves */
	manager_identity(&w);
	run_identity(&w);
	socket_group(&w);
	for (uint32_t i = 0; i < conf_source_pools(src); i++) {
		pool_identity(&w, i);
		pool_names(&w, i);
	}
}
