/* Verbs that wait: a connection a NAME, all asked before any is waited for. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/pool.h"
#include "ctl/verbs.h"
#include "lib/clock.h"
#include "lib/text.h"

#define AT_A_TIME 256

struct asked {
	struct client *client;
	int code;
};

static struct asked ask(struct ctl *ctl, const char *method, const char *name)
{
	struct asked a = { 0 };
	struct params_out p;

	a.client = ctl_connect(ctl, &a.code);
	if (!a.client)
		return a;
	ctl_params(&p);
	ctl_param_string(&p, "name", name);
	ctl_param_bool(&p, "allAtOnce", ctl->all_at_once);
	if (ctl->no_wait) {
		jw_key(&p.json, "wait");
		jw_bool(&p.json, false);
	}
	a.code = ctl_send(a.client, method, &p, 0);
	ctl_params_free(&p);
	return a;
}

static int hear(struct asked *a)
{
	struct message_reply reply;
	int r = a->code;

	if (!a->client)
		return r;
	if (r == 0) {
		r = ctl_receive(a->client, &reply);
		if (r == 0)
			message_reply_free(&reply);
	}
	client_close(a->client);
	if (r != CTL_LOST)
		return r;
	ctl_error("the daemon closed the connection");
	return CREW_EXIT_NO_DAEMON;
}

static int ask_all(struct ctl *ctl, const char *method)
{
	int code = 0;

	for (int from = 0; from < ctl->count; from += AT_A_TIME) {
		struct asked asked[AT_A_TIME];
		int count = ctl->count - from < AT_A_TIME ? ctl->count - from : AT_A_TIME;

		for (int i = 0; i < count; i++)
			asked[i] = ask(ctl, method, ctl->args[from + i]);
		for (int i = 0; i < count; i++) {
			int r = hear(&asked[i]);

			code = code ? code : r;
		}
	}
	return code;
}

int ctl_start(struct ctl *ctl)
{
	return ask_all(ctl, "io.crewd.Worker.Start");
}

int ctl_terminate(struct ctl *ctl)
{
	return ask_all(ctl, "io.crewd.Worker.Terminate");
}

int ctl_kill(struct ctl *ctl)
{
	return ask_all(ctl, "io.crewd.Worker.Kill");
}

int ctl_restart(struct ctl *ctl)
{
	int code = 0;

	if (ctl->all_at_once)
		return ask_all(ctl, "io.crewd.Worker.Restart");
	for (int i = 0; i < ctl->count; i++) {
		struct asked a = ask(ctl, "io.crewd.Worker.Restart", ctl->args[i]);
		int r = hear(&a);

		code = code ? code : r;
	}
	return code;
}

/* ---- join ------------------------------------------------------------------------------------- */

static void print_end(const struct json_t *w)
{
	const char *name = json_get_string(w, "name"), *why = json_get_string(w, "why");
	const char *state = json_get_string(w, "state");
	int64_t number;

	if (!name)
		name = "?";
	if (json_get_int(w, "exitcode", &number))
		printf("%s exited %lld\n", name, (long long)number);
	else if (json_get_int(w, "signal", &number))
		printf("%s killed by %s\n", name, text_signal_name((int)number));
	else if (state && strcmp(state, "failed") == 0)
		printf("%s failed: %s\n", name, why && *why ? why : "unknown");
	else
		printf("%s not started\n", name);
}

static int join_one(struct ctl *ctl, const char *name, int64_t deadline)
{
	struct message_reply reply;
	struct params_out p;
	struct json_t *workers;
	int r;

	ctl_params(&p);
	ctl_param_string(&p, "name", name);
	ctl_param_deadline(&p, deadline);
	r = ctl_call(ctl, "io.crewd.Worker.Join", &p, true, &reply);
	if (r)
		return r;
	workers = json_get(reply.params, "workers");
	for (size_t i = 0; !ctl->json && i < json_count(workers); i++)
		print_end(json_at(workers, i));
	if (ctl->json)
		ctl_print_json(reply.params);
	message_reply_free(&reply);
	return ctl_finish(0);
}

int ctl_join(struct ctl *ctl)
{
	int64_t deadline = ctl->timeout < 0 ? INT64_MAX : clock_now() + ctl->timeout;
	struct message_reply pools;
	int code = pools_get(ctl, &pools);

	if (code)
		return code;
	for (int i = 0; i < ctl->count; i++) {
		const char *name = ctl->args[i];
		int r = pools_tasks(&pools, name) ? pool_join(ctl, name, deadline)
						  : join_one(ctl, name, deadline);

		code = code ? code : r;
	}
	message_reply_free(&pools);
	return code;
}
