/* Resource limits as the configuration writes them: "nofile=1024", "as=512M:1G". */
#ifndef CREWD_CONF_LIMIT_H
#define CREWD_CONF_LIMIT_H

#include "daemon/conf.h"

#define CONF_LIMITS_MAX 16 /* there are no more kinds of limit */

/* 0, or -1 when `text` is none. */
int conf_limit_read(const char *text, struct conf_limit *out);
/* All names, for messages. */
const char *conf_limit_names(void);

#endif
