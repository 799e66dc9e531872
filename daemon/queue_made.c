#include "daemon/queue_made.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "daemon/conf.h"
#include "daemon/journal.h"
#include "daemon/loop.h"
#include "lib/clock.h"
#include "lib/list.h"
#include "lib/log.h"
#include "lib/text.h"

#define FILES	   "@queues" /* no queue's name */
#define OPEN_AGAIN (20 * USEC_PER_MSEC)
#define TEXT_MAX   512

struct made {
	struct list link;
	struct ledger_queue def;
	uint64_t id;	 /* in the journal; 0: not put yet */
	uint64_t ticket; /* of what was asked last; 0: to be asked */
	bool dropped;
	bool settled; /* what was asked last is on disk */
};

static struct {
	int dir;
	struct journal *journal;
	void (*found)(const struct ledger_queue *r);
	void (*news)(void);
	struct list all; /* of struct made */
	const char *trouble;
	char why[1024];
	struct loop_timer again;
} made = { .dir = -1, .all = LIST_INIT(made.all) };

/* ---- text -------------------------------------------------------------------------------------- */

static int print(char text[TEXT_MAX], const struct ledger_queue *r)
{
	return snprintf(text, TEXT_MAX, "1 %s %u %" PRIu32 " %" PRIu64 " %" PRIu32 " %s", r->name,
			r->kind, r->maxsize, r->max_bytes, r->max_deliveries, r->dead);
}

static bool scan(const void *data, size_t len, struct ledger_queue *r)
{
	char text[TEXT_MAX];
	unsigned kind;
	int n;

	if (len >= sizeof(text))
		return false;
	memcpy(text, data, len);
	text[len] = '\0';
	*r = (struct ledger_queue){ .durable = true };
	n = sscanf(text, "1 %64s %u %" SCNu32 " %" SCNu64 " %" SCNu32 " %64s", r->name, &kind,
		   &r->maxsize, &r->max_bytes, &r->max_deliveries, r->dead);
	r->kind = (uint8_t)kind;
	return n >= 5 && text_name_ok(r->name) && (n == 5 || text_name_ok(r->dead)) &&
	       kind == CONF_QUEUE_MANAGER && r->maxsize <= CREW_QUEUE_ITEMS_MAX &&
	       r->max_bytes >= 1 && r->max_bytes <= CREW_QUEUE_BYTES_MAX &&
	       r->max_deliveries >= 1 && r->max_deliveries <= CREW_DELIVERIES_MAX;
}

/* ---- what is asked of the journal -------------------------------------------------------------- */

static struct made *find(const char *name)
{
	list_foreach(e, n, &made.all)
	{
		struct made *m = list_entry(e, struct made, link);

		if (strcmp(m->def.name, name) == 0)
			return m;
	}
	return NULL;
}

static void remove_made(struct made *m)
{
	list_remove(&m->link);
	free(m);
}

static int64_t ask(struct made *m)
{
	char text[TEXT_MAX];
	int len;

	if (m->dropped)
		return journal_take(made.journal, m->id);
	len = print(text, &m->def);
	m->id = journal_next_id(made.journal);
	return journal_put(made.journal, m->id, text, (size_t)len);
}

static void set_trouble(const char *why)
{
	snprintf(made.why, sizeof(made.why), "%s", why);
	made.trouble = made.why;
}

/* What the journal has no room for yet is asked again. */
static void ask_all(void)
{
	list_foreach(e, n, &made.all)
	{
		struct made *m = list_entry(e, struct made, link);
		int64_t ticket = m->ticket ? 0 : ask(m);

		if (ticket > 0) {
			m->ticket = (uint64_t)ticket;
			made.trouble = NULL;
		}
		if (ticket < 0 && !m->dropped)
			m->id = 0;
		if (ticket < 0 && errno != ENOBUFS)
			made.trouble = errno == ENOSPC ? "no space left in state-dir"
						       : "the journal of definitions has failed";
		if (ticket < 0)
			return;
	}
}

static int on_item(void *arg, uint64_t id, uint32_t deliveries, const void *data, size_t len)
{
	struct made *m = calloc(1, sizeof(*m));

	(void)arg;
	(void)deliveries;
	if (!m)
		return -1;
	if (!scan(data, len, &m->def) || find(m->def.name)) {
		log_warning("queues",
			    "a definition in state-dir makes no sense, it is passed over");
		free(m);
		return 0;
	}
	m->id = id;
	m->ticket = 1;
	m->settled = true;
	list_append(&made.all, &m->link);
	return 0;
}

static void on_done(void *arg, uint64_t ticket)
{
	(void)arg;
	list_foreach(e, n, &made.all)
	{
		struct made *m = list_entry(e, struct made, link);

		if (!m->ticket || m->ticket > ticket)
			continue;
		m->settled = true;
		if (m->dropped)
			remove_made(m);
	}
	made.news();
}

static void on_room(void *arg)
{
	(void)arg;
	made.trouble = NULL;
	ask_all();
	made.news();
}

static void on_failed(void *arg, int err, const char *why)
{
	(void)arg;
	(void)err;
	set_trouble(why);
	made.news();
}

static void on_closed(void *arg)
{
	(void)arg;
	made.journal = NULL;
}

static const struct journal_calls calls = {
	.item = on_item, .done = on_done, .room = on_room, .failed = on_failed, .closed = on_closed
};

/* ---- opening ----------------------------------------------------------------------------------- */

static void forget_all(void)
{
	while (!list_empty(&made.all))
		remove_made(list_entry(made.all.next, struct made, link));
}

static void open_journal(void *arg)
{
	const struct journal_limits limits = { 0 };
	struct journal_found found;
	bool again = made.trouble != NULL;

	(void)arg;
	made.journal = journal_open(made.dir, FILES, &limits, &calls, NULL, &found);
	made.trouble = NULL;
	if (made.journal)
		return;
	forget_all();
	set_trouble(found.text);
	if (errno == EBUSY)
		loop_timer_at(&made.again, loop_now() + OPEN_AGAIN);
	if (!again)
		log_error("queues", "cannot read which durable queues clients made: %s", made.why);
}

static void tell_found(void)
{
	list_foreach(e, n, &made.all) made.found(&list_entry(e, struct made, link)->def);
}

static void open_again(void *arg)
{
	open_journal(arg);
	if (made.journal)
		tell_found();
	made.news();
}

void queue_made_init(int dir, void (*found)(const struct ledger_queue *r), void (*news)(void))
{
	made.dir = dir;
	made.found = found;
	made.news = news;
	made.again.fn = open_again;
	if (dir < 0 || !journal_exists(dir, FILES))
		return; /* it is made when it is needed */
	open_journal(NULL);
	tell_found();
}

const char *queue_made_trouble(void)
{
	return made.trouble;
}

bool queue_made_has(const char *name)
{
	return find(name) != NULL;
}

bool queue_made_saved(const char *name)
{
	const struct made *m = find(name);

	return m && m->settled && !m->dropped;
}

bool queue_made_save(const struct ledger_queue *r)
{
	struct made *m = calloc(1, sizeof(*m));

	if (!m)
		return false;
	if (!made.journal && !made.trouble)
		open_journal(NULL);
	m->def = *r;
	list_append(&made.all, &m->link);
	if (made.journal)
		ask_all();
	return true;
}

void queue_made_drop(const char *name)
{
	struct made *m = find(name);

	if (!m || m->dropped)
		return;
	if (!m->id) {
		remove_made(m);
		return;
	}
	m->dropped = true;
	m->settled = false;
	m->ticket = 0;
	if (made.journal)
		ask_all();
}

void queue_made_close(void)
{
	loop_timer_off(&made.again);
	if (made.journal)
		journal_close(made.journal, false);
}

bool queue_made_wait(int64_t usec)
{
	return !made.journal || journal_wait(made.journal, usec);
}
