#include "daemon/crew.h"
#include "daemon/rpc.h"
#include "daemon/rpc_manager.h"
#include "lib/bounds.h"

static void write_row(struct json_writer *json, const struct pool *p)
{
	jw_object(json);
	rpc_write_pool(json, p);
	jw_key(json, "wanted");
	jw_bool(json, p->wanted);
	jw_key(json, "scaled");
	jw_bool(json, p->scale >= 0);
	jw_end_object(json);
}

static void list(struct rpc_call *call)
{
	struct json_writer *json;

	if (!rpc_params_done(call))
		return;
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "pools");
	jw_array(json);
	list_foreach(e, n, crew_pools())
	{
		const struct pool *p = list_entry(e, struct pool, link);

		if (!p->is_run)
			write_row(json, p);
	}
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void scale(struct rpc_call *call)
{
	const char *name = NULL;
	int64_t workers = 0;
	struct pool *p;

	params_string(&call->params, "name", true, &name);
	params_int(&call->params, "workers", true, 0, CREW_WORKERS_MAX, &workers);
	if (!rpc_params_done(call))
		return;
	p = crew_pool(name);
	if (!p || p->removed) {
		rpc_error_text(call, CREW_ERROR_NO_SUCH_POOL, "name", name);
		return;
	}
	if (workers > p->count && workers - p->count > crew_room()) {
		rpc_error_text(call, CREW_ERROR_TOO_MANY, NULL, NULL);
		return;
	}
	pool_scale(p, (unsigned)workers);
	rpc_reply_empty(call);
}

const struct rpc_method rpc_pool_methods[] = {
	{ .name = "io.crewd.Pool.List", .handle = list },
	{ .name = "io.crewd.Pool.Scale", .handle = scale, .writes = true },
	{ .name = NULL },
};
