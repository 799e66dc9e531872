/* What no single key can tell: how pools refer to one another, and who they run as. */
#ifndef CREWD_CONF_CHECK_H
#define CREWD_CONF_CHECK_H

#include "daemon/conf_build.h"
#include "daemon/conf_source.h"

/* Copies what a pool does not give from the pool it `inherits`, and so on up. */
void conf_check_inherit(struct conf_source *src);
/* The rest, when every value is in the block; looks users up and fills the identities. */
void conf_check(struct conf_source *src, struct conf_build *b);
void conf_check_identities(struct conf_source *src, struct conf_build *b, bool as_root);
/* After that: what templates are, and pools take from theirs. */
void conf_check_templates(struct conf_source *src, struct conf_build *b);

#endif
