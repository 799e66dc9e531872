/* Verbs about queues. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctl/output.h"
#include "ctl/ring.h"
#include "ctl/task.h"
#include "ctl/verbs.h"
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/text.h"

#define ITEM_NESTING 2 /* what encloses an item: message, parameters */

static void begin(const struct ctl *ctl, struct params_out *p)
{
	ctl_params(p);
	ctl_param_string(p, "name", ctl->args[0]);
}

static int64_t deadline_of(const struct ctl *ctl)
{
	return ctl->timeout < 0 ? INT64_MAX : clock_now() + ctl->timeout;
}

/* --no-wait, --timeout. */
static int put_wait(const struct ctl *ctl, struct params_out *p)
{
	if (ctl->no_wait && ctl->timeout >= 0)
		return ctl_usage(ctl, "--no-wait and --timeout do not go together");
	if (ctl->no_wait) {
		jw_key(&p->json, "block");
		jw_bool(&p->json, false);
	}
	ctl_param_deadline(p, deadline_of(ctl));
	return 0;
}

/* ---- create, delete ---------------------------------------------------------------------------- */

static int put_number(const struct ctl *ctl, struct params_out *p, const char *key,
		      const char *option, const char *text, int64_t max)
{
	int64_t number;

	if (!text)
		return 0;
	if (text_int(text, &number) < 0 || number < 0 || number > max)
		return ctl_usage(ctl, "%s %.40s is no number from 0 to %lld", option, text,
				 (long long)max);
	jw_key(&p->json, key);
	jw_int(&p->json, number);
	return 0;
}

static int put_size(const struct ctl *ctl, struct params_out *p)
{
	uint64_t bytes;

	if (!ctl->max_bytes)
		return 0;
	if (text_size(ctl->max_bytes, &bytes) < 0 || bytes > INT64_MAX)
		return ctl_usage(ctl, "--max-bytes %.40s is no size; 64K, 512M or 1000 is",
				 ctl->max_bytes);
	jw_key(&p->json, "maxBytes");
	jw_int(&p->json, (int64_t)bytes);
	return 0;
}

int ctl_queue_create(struct ctl *ctl)
{
	struct params_out p;
	int r;

	begin(ctl, &p);
	ctl_param_string(&p, "kind", ctl->kind);
	ctl_param_bool(&p, "durable", ctl->durable);
	ctl_param_string(&p, "dead", ctl->dead);
	r = put_number(ctl, &p, "maxsize", "--maxsize", ctl->maxsize, CREW_QUEUE_ITEMS_MAX);
	if (r == 0)
		r = put_number(ctl, &p, "maxDeliveries", "--max-deliveries", ctl->max_deliveries,
			       CREW_DELIVERIES_MAX);
	if (r == 0)
		r = put_size(ctl, &p);
	if (r == 0)
		return ctl_do(ctl, "io.crewd.Queue.Create", &p);
	ctl_params_free(&p);
	return r;
}

int ctl_queue_delete(struct ctl *ctl)
{
	int code = 0;

	for (int i = 0; i < ctl->count; i++) {
		struct params_out p;
		int r;

		ctl_params(&p);
		ctl_param_string(&p, "name", ctl->args[i]);
		r = ctl_do(ctl, "io.crewd.Queue.Delete", &p);
		code = code ? code : r;
	}
	return code;
}

/* ---- list -------------------------------------------------------------------------------------- */

static int64_t number(const struct json_t *queue, const char *key)
{
	int64_t n = 0;

	json_get_int(queue, key, &n);
	return n;
}

static void add_queue(struct table *table, const struct json_t *queue)
{
	char size[24], maxsize[24] = "-", bytes[24], leased[24], unfinished[24], waiting[24];
	int64_t most = number(queue, "maxsize");

	snprintf(size, sizeof(size), "%lld", (long long)number(queue, "qsize"));
	if (most)
		snprintf(maxsize, sizeof(maxsize), "%lld", (long long)most);
	text_size_show(bytes, sizeof(bytes), (uint64_t)number(queue, "bytes"));
	snprintf(leased, sizeof(leased), "%lld", (long long)number(queue, "leased"));
	snprintf(unfinished, sizeof(unfinished), "%lld", (long long)number(queue, "unfinished"));
	snprintf(waiting, sizeof(waiting), "%lld",
		 (long long)(number(queue, "waitingPut") + number(queue, "waitingGet")));
	table_row(table,
		  (const char *const[]){ json_get_string(queue, "name") ?: "?",
					 json_get_string(queue, "kind") ?: "?", size, maxsize,
					 bytes, leased, unfinished, waiting },
		  TABLE_PLAIN, 0);
}

static int print_table(const struct json_t *queues)
{
	static const char *const heads[] = { "NAME",  "KIND",	"SIZE",	      "MAXSIZE",
					     "BYTES", "LEASED", "UNFINISHED", "WAITING" };
	struct table *table = table_new(8, heads);

	if (!table)
		return CREW_EXIT_FAILED;
	for (size_t i = 0; i < json_count(queues); i++)
		add_queue(table, json_at(queues, i));
	table_print(table, 0xfc);
	table_free(table);
	return 0;
}

int ctl_queue_list(struct ctl *ctl)
{
	struct message_reply reply;
	struct params_out p;
	int r;

	ctl_params(&p);
	r = ctl_call(ctl, "io.crewd.Queue.List", &p, true, &reply);
	if (r)
		return r;
	if (ctl->json)
		ctl_print_json(reply.params);
	else
		r = print_table(json_get(reply.params, "queues"));
	message_reply_free(&reply);
	return r;
}

/* ---- queues in shared memory: who would wait is told to do so there ------------------------------ */

static bool is_for_ring(const struct message_reply *reply)
{
	const char *kind = json_get_string(reply->params, "kind");

	return reply->error && strcmp(reply->error, "io.crewd.Queue.WrongKind") == 0 && kind &&
	       strcmp(kind, "shared") == 0;
}

/* One call. 0 and the reply; RING: it is to be done by ring.h; or an exit code after an error message. */
#define RING (-2)
static int call(const struct ctl *ctl, const char *method, struct params_out *p,
		struct message_reply *reply)
{
	int r = ctl_call_any(ctl, method, p, false, reply);

	if (r || !reply->error)
		return r;
	r = is_for_ring(reply) ? RING : ctl_report(reply);
	message_reply_free(reply);
	return r;
}

/* ---- put --------------------------------------------------------------------------------------- */

static int put_item(const struct ctl *ctl, struct params_out *p, const char *text, size_t len)
{
	const char *why;

	jw_key(&p->json, "item");
	if (!ctl->json_item) {
		if (len && !text_utf8_ok(text, len))
			return ctl_usage(ctl, "the item is not UTF-8 without NUL");
		jw_string_n(&p->json, text, len);
		return 0;
	}
	if (!json_valid(text, len, ITEM_NESTING, &why))
		return ctl_usage(ctl, "the item %.*s: %s", len > 60 ? 60 : (int)len, text, why);
	jw_raw(&p->json, text, len);
	return 0;
}

/* What a line's newline is to a text: not part of it. */
static int put_standard_input(const struct ctl *ctl, struct params_out *p)
{
	struct buf text = { 0 };
	size_t len;
	int r;

	if (read_all(STDIN_FILENO, &text) < 0) {
		ctl_error("cannot read standard input: %s", strerror(errno));
		buf_free(&text);
		return CREW_EXIT_FAILED;
	}
	len = text.len;
	if (len && buf_data(&text)[len - 1] == '\n')
		len--;
	if (len > CREW_MESSAGE_MAX - 1) {
		ctl_error("too long: a call may have %d bytes", CREW_MESSAGE_MAX);
		r = CREW_EXIT_FAILED;
	} else {
		r = put_item(ctl, p, len ? buf_data(&text) : "", len);
	}
	buf_free(&text);
	return r;
}

/* The item's text, to be freed. */
static char *item_text(struct params_out *p, size_t *len)
{
	struct json_slice item;
	char *text;

	if (!p->ended)
		jw_end_object(&p->json);
	p->ended = true;
	if (!jw_ok(&p->json) ||
	    !json_slice_member((struct json_slice){ buf_data(&p->text), p->text.len }, "item",
			       &item))
		return NULL;
	text = malloc(item.len + 1);
	if (text)
		*len = json_slice_compact(item, text);
	return text;
}

static int put(const struct ctl *ctl, struct params_out *p)
{
	int64_t deadline = deadline_of(ctl);
	struct message_reply reply;
	size_t len = 0;
	char *text = item_text(p, &len);
	int r = call(ctl, "io.crewd.Queue.Put", p, &reply);

	if (r == 0)
		message_reply_free(&reply);
	else if (r == RING && text)
		r = ring_put(ctl, ctl->args[0], text, len, deadline);
	free(text);
	if (r != RING)
		return r;
	ctl_error("out of memory");
	return CREW_EXIT_FAILED;
}

int ctl_queue_put(struct ctl *ctl)
{
	struct params_out p;
	int r;

	begin(ctl, &p);
	r = ctl->count > 1 ? put_item(ctl, &p, ctl->args[1], strlen(ctl->args[1]))
			   : put_standard_input(ctl, &p);
	if (r == 0)
		r = put_wait(ctl, &p);
	if (r == 0)
		return put(ctl, &p);
	ctl_params_free(&p);
	return r;
}

/* ---- get --------------------------------------------------------------------------------------- */

/* A string as its text, any other value as it was written. */
static int print_item(const struct ctl *ctl, const struct message_reply *reply)
{
	struct json_slice item;
	const char *text = NULL;
	size_t len;

	if (!message_param_text(reply->text, "item", &item)) {
		ctl_error("no right answer from the daemon: there is no item in it");
		return CREW_EXIT_FAILED;
	}
	if (item.len && *item.text == '"')
		text = json_as_bytes(json_get(reply->params, "item"), &len);
	if (ctl->json)
		printf("{\"item\":%.*s}", (int)item.len, item.text);
	else if (text)
		fwrite(text, 1, len, stdout);
	else
		fwrite(item.text, 1, item.len, stdout);
	putchar('\n');
	return 0;
}

static void print_bytes(const struct ctl *ctl, const char *bytes, size_t len)
{
	struct params_out p;

	if (!ctl->json) {
		fwrite(bytes, 1, len, stdout);
		putchar('\n');
		return;
	}
	p = (struct params_out){ .text.max = SIZE_MAX };
	p.json = json_writer(&p.text);
	jw_object(&p.json);
	jw_key(&p.json, "item");
	if (text_utf8_ok(bytes, len)) {
		jw_string_n(&p.json, bytes, len);
	} else {
		jw_object(&p.json);
		jw_key(&p.json, "base64");
		jw_base64(&p.json, bytes, len);
		jw_end_object(&p.json);
	}
	jw_end_object(&p.json);
	fwrite(buf_data(&p.text), 1, p.text.len, stdout);
	putchar('\n');
	ctl_params_free(&p);
}

/* By shared memory anything may come; what is no JSON is printed as it is. */
static int get_from_ring(const struct ctl *ctl, int64_t deadline)
{
	void *item;
	size_t len;
	const char *why;
	int r = ring_get(ctl, ctl->args[0], &item, &len, deadline);
	struct json_t *value;

	if (r)
		return r;
	value = len && *(char *)item == '"' ? json_read(item, len, ITEM_NESTING, &why) : NULL;
	if (value && !ctl->json) {
		size_t size;
		const char *text = json_as_bytes(value, &size);

		print_bytes(ctl, text, size);
	} else if (len && json_valid(item, len, ITEM_NESTING, &why) && ctl->json) {
		printf("{\"item\":%.*s}\n", (int)len, (char *)item);
	} else {
		print_bytes(ctl, item, len);
	}
	json_free(value);
	free(item);
	return ctl_finish(0);
}

/* Never asked twice: an item that was taken is gone. */
int ctl_queue_get(struct ctl *ctl)
{
	int64_t deadline = deadline_of(ctl);
	struct message_reply reply;
	struct params_out p;
	int r;

	begin(ctl, &p);
	r = put_wait(ctl, &p);
	if (r) {
		ctl_params_free(&p);
		return r;
	}
	r = call(ctl, "io.crewd.Queue.Get", &p, &reply);
	if (r == RING)
		return get_from_ring(ctl, deadline);
	if (r)
		return r;
	r = print_item(ctl, &reply);
	message_reply_free(&reply);
	return ctl_finish(r);
}

/* ---- questions, task-done, join ------------------------------------------------------------------ */

static int ask(const struct ctl *ctl, const char *method, const char *key)
{
	struct message_reply reply;
	struct params_out p;
	bool flag;
	int r;

	begin(ctl, &p);
	r = ctl_call(ctl, method, &p, true, &reply);
	if (r)
		return r;
	if (ctl->json)
		ctl_print_json(reply.params);
	else if (json_get_bool(reply.params, key, &flag))
		puts(flag ? "true" : "false");
	else
		printf("%lld\n", (long long)number(reply.params, key));
	message_reply_free(&reply);
	return ctl_finish(0);
}

int ctl_queue_qsize(struct ctl *ctl)
{
	return ask(ctl, "io.crewd.Queue.Qsize", "qsize");
}

int ctl_queue_empty(struct ctl *ctl)
{
	return ask(ctl, "io.crewd.Queue.IsEmpty", "empty");
}

int ctl_queue_full(struct ctl *ctl)
{
	return ask(ctl, "io.crewd.Queue.IsFull", "full");
}

int ctl_queue_task_done(struct ctl *ctl)
{
	struct params_out p;

	begin(ctl, &p);
	return ctl_do(ctl, "io.crewd.Queue.TaskDone", &p);
}

int ctl_queue_join(struct ctl *ctl)
{
	int64_t deadline = deadline_of(ctl);
	struct message_reply reply;
	struct params_out p;
	int r;

	begin(ctl, &p);
	ctl_param_deadline(&p, deadline);
	r = call(ctl, "io.crewd.Queue.Join", &p, &reply);
	if (r == RING)
		return ring_join(ctl, ctl->args[0], deadline);
	if (r == 0)
		message_reply_free(&reply);
	return r;
}
