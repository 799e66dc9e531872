#include "daemon/rpc.h"

#include <string.h>
#include "daemon/rpc_manager.h"
#include "lib/idl.h"
#include "lib/log.h"

static void get_info(struct rpc_call *call)
{
	struct json_writer *json;

	if (!rpc_params_done(call))
		return;
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "vendor");
	jw_string(json, "crewd");
	jw_key(json, "product");
	jw_string(json, "crewd");
	jw_key(json, "version");
	jw_string(json, PACKAGE_VERSION);
	jw_key(json, "url");
	jw_string(json, "");
	jw_key(json, "interfaces");
	jw_array(json);
	for (const struct idl *i = idl_all; i->name; i++)
		jw_string(json, i->name);
	jw_end_array(json);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static const struct idl *find_interface(const char *name)
{
	for (const struct idl *i = idl_all; i->name; i++)
		if (strcmp(i->name, name) == 0)
			return i;
	return NULL;
}

static void get_interface_description(struct rpc_call *call)
{
	const struct idl *idl;
	const char *name = NULL;
	struct json_writer *json;

	params_string(&call->params, "interface", true, &name);
	if (!rpc_params_done(call))
		return;
	idl = find_interface(name);
	if (!idl) {
		rpc_error_text(call, CREW_ERROR_INTERFACE_NOT_FOUND, "interface", name);
		return;
	}
	json = rpc_reply(call);
	jw_object(json);
	jw_key(json, "description");
	jw_string(json, idl->text);
	jw_end_object(json);
	rpc_reply_end(call, false);
}

static void ping(struct rpc_call *call)
{
	if (rpc_params_done(call))
		rpc_reply_empty(call);
}

/* Levels are syslog's; below errors crewd has nothing to say. */
static void set_log_level(struct rpc_call *call)
{
	int64_t level = 0;

	params_int(&call->params, "level", true, 0, LOG_LEVEL_DEBUG, &level);
	if (!rpc_params_done(call))
		return;
	log_set_level(level < LOG_LEVEL_ERROR ? LOG_LEVEL_ERROR : (enum log_level)level);
	rpc_reply_empty(call);
}

static void reload(struct rpc_call *call)
{
	if (rpc_params_done(call))
		rpc_manager_reload(call, false, true);
}

const struct rpc_method rpc_service_methods[] = {
	{ .name = "org.varlink.service.GetInfo", .handle = get_info },
	{ .name = "org.varlink.service.GetInterfaceDescription",
	  .handle = get_interface_description },
	{ .name = "io.systemd.service.Ping", .handle = ping },
	{ .name = "io.systemd.service.Reload", .handle = reload, .writes = true },
	{ .name = "io.systemd.service.SetLogLevel", .handle = set_log_level, .writes = true },
	{ .name = NULL },
};
