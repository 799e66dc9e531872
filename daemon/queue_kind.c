#include "daemon/queue_kind.h"

#include <string.h>

static const struct queue_kind *const kinds[] = {
	[CONF_QUEUE_MANAGER] = &queue_manager,
	[CONF_QUEUE_SHARED] = &queue_shared,
#ifdef HAVE_REDIS
	[CONF_QUEUE_REDIS] = &queue_redis,
#else
	[CONF_QUEUE_REDIS] = NULL,
#endif
};

const struct queue_kind *queue_kind_of(enum conf_queue_kind kind, bool durable)
{
	return durable && kind == CONF_QUEUE_MANAGER ? &queue_durable : kinds[kind];
}

bool queue_kind_named(const char *name, enum conf_queue_kind *kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (!kinds[i] || strcmp(kinds[i]->name, name) != 0)
			continue;
		*kind = (enum conf_queue_kind)i;
		return true;
	}
	return false;
}
