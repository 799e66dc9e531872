/*
 * Between the files of the redis kind: what a queue knows of its other half.
 *
 * In redis a queue NAME is a stream `crewd:{NAME}` with a consumer group `crewd`, whose entries have a field `item`;
 * a hash `crewd:{NAME}:state` (bytes, unfinished); a sorted set `crewd:{NAME}:free` of entries that were given out
 * and are to be given out again, before all others; and a channel of the stream's name that says when there is
 * something new. Everything is done by scripts, each of which happens as a whole or not at all.
 *
 * One script is under way at a time, for all who have asked for the same thing until then. Who cannot be served
 * waits again in the front's line, until the channel (on a second connection) or the clock says that it is worth
 * another try.
 *
 *   got (in the group's pending list of this crewd) -> told (acknowledged and deleted)
 *                                                   -> leased -> done (the same) | given back (free)
 *   got by a crewd that has died, or whose answer was lost -> free, once it was idle for STALE
 */
#ifndef CREWD_QUEUE_REDIS_H
#define CREWD_QUEUE_REDIS_H

#include "daemon/queue_kind.h"
#include "daemon/redis.h"

#define REDIS_BATCH 128 /* requests that one script serves */
#define REDIS_ID    48	/* an entry's number, with its NUL: behind the text of each item */

enum redis_op {
	REDIS_CHECK, /* whether the put whose answer was lost has happened; if not, it never will */
	REDIS_ACK,
	REDIS_RELEASE,
	REDIS_RECOVER, /* what we have got and know nothing of: its answer was lost */
	REDIS_TICK,    /* says that what we hold is held, and frees what nobody does */
	REDIS_PUT,
	REDIS_GET,
	REDIS_DONE,
	REDIS_LOOK,
	REDIS_OPS,
	REDIS_ERASE = REDIS_OPS, /* its answer does not matter */
	REDIS_SCRIPTS
};
extern const char *const redis_scripts[REDIS_SCRIPTS];
extern const char redis_script_head[];

/* An entry that is to be acknowledged, or given back. */
struct redis_entry {
	struct list link;
	uint32_t deliveries;
	bool done; /* counts as a TaskDone */
	char id[REDIS_ID];
};

struct queue_redis {
	struct queue *queue;
	struct redis *link, *bell; /* bell: NULL until somebody waits */
	struct redis_where where;
	char *user, *password_file;
	char consumer[20], stream[CREW_NAME_MAX + 16], state[CREW_NAME_MAX + 24],
		freed[CREW_NAME_MAX + 24], op[CREW_NAME_MAX + 48];

	int busy;		     /* the operation under way, or -1 */
	enum redis_op last;	     /* whose turn it was */
	const char *held[REDIS_OPS]; /* why it is not tried for now; NULL: it may be */
	const char *complaint;	     /* what was last logged, and about what */
	enum redis_op complained_of;
	bool ready[QUEUE_WAITS_OF];	/* worth another try */
	uint64_t tried[QUEUE_WAITS_OF]; /* the last request that was */
	bool unresolved;		/* a put's answer was lost */
	bool recover, tick;		/* due */
	uint64_t number;		/* of the last put */
	unsigned batch_count;
	uint64_t batch[REDIS_BATCH];	   /* requests that are being served ... */
	unsigned batch_items[REDIS_BATCH]; /* ... and how many of their items, or items wanted */
	struct list acks, releases;	   /* of redis_entry */
	unsigned sent;			   /* how many of them are under way */
	size_t touched;			   /* leases that were named in this round of ticks */
	struct queue_stat stat;
	struct loop_timer clock, hold;
	struct loop_task work;
};

/* Begins the next operation at the end of the turn, if there is one to begin. */
void queue_redis_work(struct queue_redis *s);
void queue_redis_on_answer(const struct redis_reply *reply, void *arg);
/* Everybody who waits for an answer to this gets none, for now. */
void queue_redis_give_up(struct queue_redis *s, enum queue_verb verb, const char *why);
/* A put may have happened: of those who wait for it, the ones who may not wait on are told that we do not know. */
void queue_redis_keep_unresolved(struct queue_redis *s, const char *why);
void queue_redis_run(void *arg); /* a struct queue_redis */
/* An item of an entry is to be acknowledged, or given back. */
void queue_redis_ack(struct queue_redis *s, const char *id, bool done);
void queue_redis_release(struct queue_redis *s, const char *id, uint32_t deliveries);
const char *queue_redis_id(const struct queue_item *item);
/* Why nothing can be had for now; NULL: it can. */
const char *queue_redis_trouble(const struct queue_redis *s, enum queue_verb verb);
void queue_redis_send(struct queue_redis *s, enum redis_op op); /* with what was said before */
/* Whoever waits is served by and by: listen for news. */
void queue_redis_listen(struct queue_redis *s);

#endif
