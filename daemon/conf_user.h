/* Users and groups by name or number, looked up while the file is read. */
#ifndef CREWD_CONF_USER_H
#define CREWD_CONF_USER_H

#include "daemon/conf_build.h"

#define CONF_USER_WHY 192 /* bytes of a reason */

/* Either may be NULL. The groups, home and shell go into the block. False with the reason;
 * an empty one: no room, see conf_build_error(). */
bool conf_user_find(struct conf_build *b, const char *user, const char *group,
		    struct conf_identity *out, char why[CONF_USER_WHY]);
/* The group's number, or CONF_NO_ID when there is none of that name or number. */
uint32_t conf_user_group(const char *group);
/* Whether a crewd that runs as its own user can do as these say without changing anything. */
bool conf_user_is_self(const char *user, const char *group, char why[CONF_USER_WHY]);

/* Names of crewd's own user, where it has an entry: user, home, shell; uid and gid stay as they are. */
void conf_user_own_names(struct conf_build *b, struct conf_identity *out);

#endif
