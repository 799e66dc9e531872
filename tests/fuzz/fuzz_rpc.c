/* Any bytes as a call, by somebody who may do everything, against a fake crew. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>
#include "daemon/control.h"
#include "daemon/ledger.h"
#include "daemon/queue_kind.h"
#include "lib/bounds.h"
#include "tests/unit/fake_crew.h"
#include "tests/unit/fake_loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A queue "q" with room for one item, and "s" in shared memory. */
static void make_queues(void)
{
	static const struct queue_settings set = { .maxsize = 1,
						   .max_bytes = 100,
						   .max_deliveries = 2 };
	static const struct queue_settings shared = { .maxsize = 2, .max_bytes = 4096 };
	static bool ready;
	struct queue *q;

	if (!ready && ledger_init(-1) < 0)
		abort();
	ready = true;
	ledger_clear_queue("q");
	queue_init(1);
	ledger_clear_queue("s");
	if (queue_create("q", &queue_manager, &set, &q) != QUEUE_OK ||
	    queue_create("s", &queue_shared, &shared, &q) != QUEUE_OK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conn conn = { .fd = -1, .trusted = true, .out = { .max = CREW_OUTPUT_MAX } };
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	conn.dead = true; /* nothing is sent */
	fake_crew_reset();
	make_queues();
	rpc_dispatch(&conn, text, strlen(text));
	fake_loop_turn();
	rpc_conn_gone(&conn);
	if (fake_busy)
		fake_reload_done(NULL, "");
	queue_close();
	buf_free(&conn.out);
	pass_drop(&conn.passing);
	free(text);
	return 0;
}
