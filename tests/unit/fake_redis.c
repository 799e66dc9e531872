#include "tests/unit/fake_redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "daemon/queue_redis.h"

#define VALUES 64

struct redis {
	bool there, up, finishing;
	const char *why;
	const struct redis_events *events;
	void *arg;
	char sent[65536];
};
static struct redis connections[FAKE_CONNECTIONS];

struct redis_reply {
	const char *error;
	size_t count;
	struct {
		bool is_text;
		int64_t number;
		char text[256];
	} values[VALUES];
};

const char *redis_error(const struct redis_reply *reply)
{
	return reply->error;
}

size_t redis_count(const struct redis_reply *reply)
{
	return reply->count;
}

bool redis_number(const struct redis_reply *list, size_t i, int64_t *out)
{
	if (i >= list->count || list->values[i].is_text)
		return false;
	*out = list->values[i].number;
	return true;
}

const char *redis_text(const struct redis_reply *list, size_t i, size_t *len)
{
	if (i >= list->count || !list->values[i].is_text)
		return NULL;
	*len = strlen(list->values[i].text);
	return list->values[i].text;
}

const char *redis_meaning(const char *error)
{
	(void)error;
	return "no";
}

uint64_t redis_unique(void)
{
	return 0xcafe;
}

struct redis *redis_new(const char *name, const struct redis_where *where,
			const struct redis_login *login, const struct redis_events *events,
			void *arg)
{
	struct redis *r = &connections[name ? FAKE_LINK : FAKE_BELL];

	(void)where;
	(void)login;
	assert_false(r->there);
	*r = (struct redis){ .there = true, .events = events, .arg = arg };
	return r;
}

void redis_free(struct redis *r)
{
	if (r)
		r->there = r->up = false;
}

void redis_finish(struct redis *r)
{
	redis_free(r);
	r->finishing = true;
}

bool redis_is_up(const struct redis *r)
{
	return r->up;
}

const char *redis_why(const struct redis *r)
{
	return r->up ? NULL : r->why;
}

static const char *name_of(const char *script)
{
	static const char *const names[REDIS_SCRIPTS] = { "check", "ack",  "release", "recover",
							  "tick",  "put",  "get",     "done",
							  "look",  "erase" };
	size_t head = strlen(redis_script_head);

	for (int i = 0; i < REDIS_SCRIPTS; i++)
		if (strcmp(script + head, redis_scripts[i]) == 0)
			return names[i];
	return "?";
}

bool redis_send(struct redis *r, size_t count, const char *const *words, const size_t *lens)
{
	bool script = strcmp(words[0], "EVAL") == 0;
	size_t n = 0;

	if (!r->up)
		return false;
	assert_string_equal(r->sent, ""); /* one at a time */
	if (script)
		n = (size_t)snprintf(r->sent, sizeof(r->sent), "%s", name_of(words[1]));
	for (size_t i = script ? 7 : 0; i < count; i++)
		n += (size_t)snprintf(r->sent + n, sizeof(r->sent) - n, "%s%.*s", n ? " " : "",
				      (int)(lens ? lens[i] : strlen(words[i])), words[i]);
	return true;
}

bool fake_redis_there(int which)
{
	return connections[which].there;
}

void fake_redis_up(int which)
{
	struct redis *r = &connections[which];

	assert_true(r->there && !r->up);
	r->up = true;
	r->why = NULL;
	r->events->up(r->arg);
}

void fake_redis_down(int which)
{
	struct redis *r = &connections[which];

	r->up = false;
	r->sent[0] = '\0';
	r->why = "gone";
	r->events->down(r->why, r->arg);
}

const char *fake_redis_sent(int which)
{
	return connections[which].sent;
}

static void parse(const char *text, struct redis_reply *reply)
{
	memset(reply, 0, sizeof(*reply));
	if (*text == '-') {
		reply->error = text + 1;
		return;
	}
	while (*text) {
		size_t len = strcspn(text, " ");

		assert_true(reply->count < VALUES && len < sizeof(reply->values[0].text));
		reply->values[reply->count].is_text = *text == '\'';
		if (*text == '\'')
			memcpy(reply->values[reply->count].text, text + 1, len - 2);
		else
			reply->values[reply->count].number = strtoll(text, NULL, 10);
		reply->count++;
		text += len + (text[len] == ' ');
	}
}

void fake_redis_answer(int which, const char *text)
{
	struct redis *r = &connections[which];
	struct redis_reply reply;

	assert_string_not_equal(r->sent, "");
	r->sent[0] = '\0';
	parse(text, &reply);
	r->events->answer(&reply, r->arg);
}

void fake_redis_message(const char *what)
{
	struct redis *r = &connections[FAKE_BELL];
	struct redis_reply reply;
	char text[64];

	snprintf(text, sizeof(text), "'message' 'q' '%s'", what);
	parse(text, &reply);
	r->events->message(&reply, r->arg);
}
