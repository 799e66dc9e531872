#include "daemon/conf_user.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/text.h"

#define GROUPS_MAX 65536

/* A plain number below (uint32_t)-1, else CONF_NO_ID. */
static uint32_t number(const char *s)
{
	int64_t n;

	return text_int(s, &n) == 0 && n >= 0 && n < CONF_NO_ID ? (uint32_t)n : CONF_NO_ID;
}

static struct passwd *user_entry(const char *user)
{
	struct passwd *pw = getpwnam(user);

	if (!pw && number(user) != CONF_NO_ID)
		pw = getpwuid(number(user));
	return pw;
}

uint32_t conf_user_group(const char *group)
{
	struct group *gr = getgrnam(group);

	if (!gr && number(group) != CONF_NO_ID)
		gr = getgrgid(number(group));
	return gr ? gr->gr_gid : CONF_NO_ID;
}

static bool missing(char *why, const char *kind, const char *name)
{
	snprintf(why, CONF_USER_WHY, "%s = \"%.64s\": there is no such %s", kind, name, kind);
	return false;
}

/* The groups that getgrouplist() knows, and `gid`. */
static bool add_groups(struct conf_build *b, const char *name, struct conf_identity *out)
{
	int count = 64;
	gid_t *groups = NULL;

	for (;;) {
		gid_t *more = realloc(groups, (size_t)count * sizeof(*groups));
		int had = count;

		if (!more)
			break;
		groups = more;
		if (getgrouplist(name, out->gid, groups, &count) >= 0) {
			out->group_count = (uint32_t)count;
			out->groups = conf_build_bytes(b, groups, (size_t)count * sizeof(*groups));
			break;
		}
		if (count <= had || count > GROUPS_MAX)
			break;
	}
	free(groups);
	return out->groups != 0;
}

static bool fill_names(struct conf_build *b, const struct passwd *pw, struct conf_identity *out)
{
	out->user = conf_build_text(b, pw->pw_name);
	out->home = conf_build_text(b, pw->pw_dir && *pw->pw_dir ? pw->pw_dir : "/");
	out->shell = conf_build_text(b, pw->pw_shell && *pw->pw_shell ? pw->pw_shell : "/bin/sh");
	return out->user && out->home && out->shell;
}

static bool fill(struct conf_build *b, const struct passwd *pw, struct conf_identity *out)
{
	out->uid = pw->pw_uid;
	if (out->gid == CONF_NO_ID)
		out->gid = pw->pw_gid;
	if (!fill_names(b, pw, out))
		return false;
	/* The name out of the block: getgrouplist() may overwrite the entry. */
	return add_groups(b, conf_text(conf_build_head(b), out->user), out);
}

bool conf_user_find(struct conf_build *b, const char *user, const char *group,
		    struct conf_identity *out, char why[CONF_USER_WHY])
{
	const struct passwd *pw;

	why[0] = '\0';
	memset(out, 0, sizeof(*out));
	out->uid = out->gid = CONF_NO_ID;
	if (group) {
		out->gid = conf_user_group(group);
		if (out->gid == CONF_NO_ID)
			return missing(why, "group", group);
	}
	if (!user)
		return true;
	pw = user_entry(user);
	if (!pw)
		return missing(why, "user", user);
	return fill(b, pw, out);
}

void conf_user_own_names(struct conf_build *b, struct conf_identity *out)
{
	const struct passwd *pw = getpwuid(geteuid());
	struct conf_identity names = *out; /* the block moves */

	if (pw && fill_names(b, pw, &names))
		*out = names;
}

bool conf_user_is_self(const char *user, const char *group, char why[CONF_USER_WHY])
{
	const struct passwd *pw = user ? user_entry(user) : NULL;
	uint32_t gid = group ? conf_user_group(group) : getegid();

	if (user && !pw)
		return missing(why, "user", user);
	if (gid == CONF_NO_ID)
		return missing(why, "group", group);
	if ((!pw || pw->pw_uid == geteuid()) && gid == getegid())
		return true;
	snprintf(why, CONF_USER_WHY, "%s = \"%.64s\": only a crewd that root started can do that",
		 gid == getegid() ? "user" : "group", gid == getegid() ? user : group);
	return false;
}
