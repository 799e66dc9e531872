#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/verbs.h"
#include "lib/text.h"

/* JSON has no room for other bytes: they would arrive as something else. */
static int check_text(const struct ctl *ctl, const char *text)
{
	if (text_utf8_ok(text, strlen(text)))
		return 0;
	return ctl_usage(ctl, "%s is not UTF-8, which is all that can be handed on", text);
}

static int put_strings(const struct ctl *ctl, struct params_out *p, const char *key,
		       const char *const *strings, int count)
{
	int r = 0;

	jw_key(&p->json, key);
	jw_array(&p->json);
	for (int i = 0; i < count && r == 0; i++) {
		r = check_text(ctl, strings[i]);
		jw_string(&p->json, strings[i]);
	}
	jw_end_array(&p->json);
	return r;
}

/* Of a worker that has ended: its status as a shell would tell it. */
static int status_of(const struct message_reply *reply)
{
	int64_t number;

	if (json_get_int(reply->params, "exitcode", &number))
		return (int)number;
	if (json_get_int(reply->params, "signal", &number))
		return 128 + (int)number;
	return CREW_EXIT_FAILED;
}

static int join_it(struct ctl *ctl, const char *name)
{
	struct message_reply reply;
	struct params_out p;
	int r;

	ctl_params(&p);
	ctl_param_string(&p, "name", name);
	r = ctl_call(ctl, "io.crewd.Worker.Join", &p, true, &reply);
	if (r)
		return r;
	r = status_of(&reply);
	message_reply_free(&reply);
	return r;
}

/* The daemon is elsewhere: what is relative here means nothing there. */
static int put_directory(struct ctl *ctl, struct params_out *p)
{
	char path[PATH_MAX];

	if (!ctl->directory)
		return 0;
	if (!realpath(ctl->directory, path))
		return ctl_usage(ctl, "--dir %s: %s", ctl->directory, strerror(errno));
	ctl_param_string(p, "directory", path);
	return check_text(ctl, path);
}

/* 0, or an exit code after a message. */
static int put_all(struct ctl *ctl, struct params_out *p)
{
	int r = put_strings(ctl, p, "command", (const char *const *)ctl->args, ctl->count);

	ctl_param_string(p, "name", ctl->name);
	ctl_param_string(p, "restart", ctl->restart);
	if (r == 0 && ctl->environment_count)
		r = put_strings(ctl, p, "environment", ctl->environment,
				(int)ctl->environment_count);
	return r ? r : put_directory(ctl, p);
}

int ctl_run(struct ctl *ctl)
{
	struct message_reply reply;
	struct params_out p;
	const char *name;
	int r;

	ctl_params(&p);
	r = put_all(ctl, &p);
	if (r) {
		ctl_params_free(&p);
		return r;
	}
	r = ctl_call(ctl, "io.crewd.Worker.Run", &p, false, &reply);
	if (r)
		return r;
	name = json_get_string(reply.params, "name");
	if (ctl->json)
		ctl_print_json(reply.params);
	else
		puts(name ? name : "");
	r = ctl_finish(0);
	if (r == 0 && ctl->join && name)
		r = join_it(ctl, name);
	message_reply_free(&reply);
	return r;
}
