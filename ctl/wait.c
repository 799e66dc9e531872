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

/* What is asked of each name. `again`: also of the next manager, should this one be replaced meanwhile; so only
 * what may be asked twice. */
struct question {
	const char *method;
	bool again;
};

static void put_params(const struct ctl *ctl, struct params_out *p, const char *name)
{
	ctl_params(p);
	ctl_param_string(p, "name", name);
	ctl_param_bool(p, "allAtOnce", ctl->all_at_once);
	if (ctl->no_wait) {
		jw_key(&p->json, "wait");
		jw_bool(&p->json, false);
	}
}

static struct asked ask(struct ctl *ctl, const struct question *q, const char *name)
{
	struct asked a = { 0 };
	struct params_out p;

	a.client = ctl_connect(ctl, &a.code);
	if (!a.client)
		return a;
	put_params(ctl, &p, name);
	a.code = ctl_send(a.client, q->method, &p, 0);
	ctl_params_free(&p);
	return a;
}

static int ask_again(struct ctl *ctl, const struct question *q, const char *name)
{
	struct message_reply reply;
	struct params_out p;
	int r;

	put_params(ctl, &p, name);
	r = ctl_call(ctl, q->method, &p, true, &reply);
	if (r == 0)
		message_reply_free(&reply);
	return r;
}

static int hear(struct ctl *ctl, const struct question *q, const char *name, struct asked *a)
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
	if (q->again)
		return ask_again(ctl, q, name);
	ctl_error("the daemon closed the connection");
	return CREW_EXIT_NO_DAEMON;
}

static int ask_all(struct ctl *ctl, const struct question *q)
{
	int code = 0;

	for (int from = 0; from < ctl->count; from += AT_A_TIME) {
		struct asked asked[AT_A_TIME];
		int count = ctl->count - from < AT_A_TIME ? ctl->count - from : AT_A_TIME;

		for (int i = 0; i < count; i++)
			asked[i] = ask(ctl, q, ctl->args[from + i]);
		for (int i = 0; i < count; i++) {
			int r = hear(ctl, q, ctl->args[from + i], &asked[i]);

			code = code ? code : r;
		}
	}
	return code;
}

int ctl_start(struct ctl *ctl)
{
	return ask_all(ctl, &(struct question){ .method = "io.crewd.Worker.Start" });
}

int ctl_terminate(struct ctl *ctl)
{
	return ask_all(ctl, &(struct question){ "io.crewd.Worker.Terminate", .again = true });
}

int ctl_kill(struct ctl *ctl)
{
	return ask_all(ctl, &(struct question){ "io.crewd.Worker.Kill", .again = true });
}

int ctl_restart(struct ctl *ctl)
{
	const struct question q = { .method = "io.crewd.Worker.Restart" };
	int code = 0;

	if (ctl->all_at_once)
		return ask_all(ctl, &q);
	for (int i = 0; i < ctl->count; i++) {
		struct asked a = ask(ctl, &q, ctl->args[i]);
		int r = hear(ctl, &q, ctl->args[i], &a);

		code = code ? code : r;
	}
	return code;
}

/* ---- join ------------------------------------------------------------------------------------- */

#define JOINED_HEAD "{\"exitcode\":null,\"signal\":null,\"workers\":["

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

/* One document, whatever the number of names: of several, what the daemon would say of a name for all of them. */
static void print_ends(const struct ctl *ctl, const struct json_t *params, bool *begun)
{
	struct json_t *workers = json_get(params, "workers");

	if (ctl->json && ctl->count == 1) {
		ctl_print_json(params);
		return;
	}
	for (size_t i = 0; i < json_count(workers); i++) {
		char *text = ctl->json ? json_text(json_at(workers, i)) : NULL;

		if (!ctl->json)
			print_end(json_at(workers, i));
		else if (text)
			printf("%s%s", *begun ? ",\n" : JOINED_HEAD, text);
		*begun = true;
		free(text);
	}
}

static int join_one(struct ctl *ctl, const char *name, int64_t deadline, bool *begun)
{
	struct message_reply reply;
	struct params_out p;
	int r;

	ctl_params(&p);
	ctl_param_string(&p, "name", name);
	ctl_param_deadline(&p, deadline);
	r = ctl_call(ctl, "io.crewd.Worker.Join", &p, true, &reply);
	if (r)
		return r;
	print_ends(ctl, reply.params, begun);
	message_reply_free(&reply);
	return ctl_finish(0);
}

/* A glob of pools that have tasks is an error where one of those pools would be. */
static int join_any(struct ctl *ctl, const struct message_reply *pools, const char *name,
		    int64_t deadline, bool *begun)
{
	const char *open = strpbrk(name, "*?[") ? pools_open(pools, name) : NULL;

	if (!open)
		return join_one(ctl, name, deadline, begun);
	ctl_error("%s is open: close or terminate it first", open);
	return CREW_EXIT_FAILED;
}

int ctl_join(struct ctl *ctl)
{
	int64_t deadline = ctl->timeout < 0 ? INT64_MAX : clock_now() + ctl->timeout;
	struct message_reply pools;
	bool begun = false, several = ctl->count > 1;
	int code = pools_get(ctl, &pools);

	if (code)
		return code;
	for (int i = 0; i < ctl->count; i++) {
		const char *name = ctl->args[i];
		bool tasks = pools_tasks(&pools, name) != NULL;
		int r = tasks ? pool_join(ctl, name, deadline)
			      : join_any(ctl, &pools, name, deadline, &begun);

		several |= tasks;
		code = code ? code : r;
	}
	message_reply_free(&pools);
	if (ctl->json && several && (begun || code == 0))
		puts(begun ? "]}" : JOINED_HEAD "]}");
	return code;
}
