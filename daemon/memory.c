#include "daemon/memory.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "daemon/child.h"
#include "daemon/ledger.h"
#include "daemon/loop.h"
#include "daemon/wire.h"
#include "lib/clock.h"

#define LIMIT (10 * USEC_PER_SEC) /* then a question is answered by "not known" */

static void on_step(void *arg);
static void on_limit(void *arg);

static struct {
	struct list waiting; /* the first is under way while fd is */
	uint32_t serial;
	int fd; /* what the keeper's side fills in, -1: nothing is under way */
	struct loop_task step;
	struct loop_timer limit;
} memory = { .waiting = LIST_INIT(memory.waiting), .fd = -1, .step.fn = on_step, .limit.fn = on_limit };

static struct memory_query *first(void)
{
	return list_empty(&memory.waiting) ? NULL : list_entry(memory.waiting.next, struct memory_query, link);
}

static void over(void)
{
	if (memory.fd >= 0)
		close(memory.fd);
	memory.fd = -1;
	loop_timer_off(&memory.limit);
	loop_defer(&memory.step);
}

static int write_question(const struct memory_query *q)
{
	int fd = memfd_create("crewd-memory", MFD_CLOEXEC);
	size_t size = q->count * sizeof(struct wire_measure);
	struct wire_measure *m = fd < 0 ? NULL : calloc(q->count + 1, sizeof(*m));
	bool ok = m != NULL;

	for (unsigned i = 0; m && i < q->count; i++)
		m[i] = (struct wire_measure){ q->of[i].slot, ledger_run(q->of[i].slot), -1, -1, -1 };
	ok = ok && pwrite(fd, m, size, 0) == (ssize_t)size;
	free(m);
	if (ok || fd < 0)
		return fd;
	close(fd);
	return -1;
}

static void read_answer(struct memory_query *q)
{
	struct wire_measure m;

	for (unsigned i = 0; i < q->count; i++) {
		bool ok = memory.fd >= 0 && pread(memory.fd, &m, sizeof(m), (off_t)(i * sizeof(m))) == sizeof(m);

		q->of[i].rss = ok ? m.rss : -1;
		q->of[i].pss = ok ? m.pss : -1;
		q->of[i].uss = ok ? m.uss : -1;
	}
}

static void tell(struct memory_query *q)
{
	read_answer(q);
	list_remove(&q->link);
	over();
	q->done(q);
}

static void on_step(void *arg)
{
	struct memory_query *q = first();

	(void)arg;
	if (memory.fd >= 0 || !q)
		return;
	memory.fd = write_question(q);
	if (memory.fd < 0) {
		tell(q);
		return;
	}
	child_measure(memory.fd, ++memory.serial);
	loop_timer_at(&memory.limit, loop_now() + LIMIT);
}

/* The next question is asked all the same: the keeper has forked another for it. */
static void on_limit(void *arg)
{
	(void)arg;
	if (first())
		tell(first());
}

void memory_ask(struct memory_query *q)
{
	list_append(&memory.waiting, &q->link);
	loop_defer(&memory.step);
}

void memory_forget(struct memory_query *q)
{
	bool is_under_way;

	if (!list_linked(&q->link))
		return;
	is_under_way = memory.fd >= 0 && first() == q;
	list_remove(&q->link);
	if (is_under_way)
		over();
}

void memory_on_measured(uint32_t serial)
{
	if (memory.fd >= 0 && serial == memory.serial && first())
		tell(first());
}
