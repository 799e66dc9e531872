#include "daemon/task_kind.h"

static const struct task_kind *const kinds[] = {
	[CONF_TASKS_NONE] = NULL,
	[CONF_TASKS_EXEC] = &task_exec,
	[CONF_TASKS_LINES] = &task_lines,
	[CONF_TASKS_JSONRPC] = &task_jsonrpc,
	[CONF_TASKS_MODULE] = &task_module,
};

const struct task_kind *task_kind_of(const struct conf_pool *def)
{
	return kinds[def->tasks];
}
