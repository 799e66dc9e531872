/*
 * Queues: one front, several kinds behind it. The front knows names, who waits, for how long, and who holds
 * what; a kind (queue_kind.h) keeps the items.
 *
 * Whoever wants something makes a request and asks for it. It is answered at once, or later: when its turn has
 * come, its time is over, or the queue is gone. Those who wait for the same thing are served in the order in
 * which they came: a request that does not fit holds up those behind it. Across a wait the asker keeps the
 * request's number; when he leaves, queue_drop() takes it back, and what it was given already returns to the
 * head of its queue. Answers that come later are told at the end of the turn, never from inside a call.
 */
#ifndef CREWD_QUEUE_H
#define CREWD_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "daemon/loop.h"
#include "lib/bounds.h"
#include "lib/list.h"

struct queue_kind;
struct queue_lease;

/* One item: JSON text without white space between its parts, one block of memory. */
struct queue_item {
	struct list link;
	uint32_t len;
	uint32_t deliveries; /* how often it was leased */
	bool leased;	     /* it is out, and still its kind's */
	uint64_t id, ticket; /* its kind's */
	char text[];
};
struct queue_item *queue_item_new(size_t len); /* text to be filled in; NULL: no memory */
void queue_items_free(struct list *items);

/* Who keeps the items of a kind that asks somebody else; NULL: not given. */
struct queue_backend {
	const char *url, *user, *password_file;
};

struct queue_settings {
	uint32_t maxsize; /* items, 0: no limit */
	uint64_t max_bytes;
	bool durable;
	uint32_t max_deliveries;
	char dead[CREW_NAME_MAX + 1];	     /* name of another queue; "": none */
	const struct queue_backend *backend; /* lives as long as queue_create() */
};

enum queue_verb {
	QUEUE_PUT,
	QUEUE_GET,
	QUEUE_JOIN,
	QUEUE_END,	/* waits until the queue is gone: only ever answered by QUEUE_NO_QUEUE */
	QUEUE_WAITS_OF, /* those before it may wait */
	QUEUE_SIZE = QUEUE_WAITS_OF,
	QUEUE_TASK_DONE,
	QUEUE_VERBS
};

enum queue_error {
	QUEUE_OK,
	QUEUE_NOT_YET, /* of a kind: no room, no item, not all done. The front waits, or makes an error of it */
	QUEUE_LATER, /* of a kind: it will call queue_complete(), which may say QUEUE_NOT_YET */
	QUEUE_FULL,
	QUEUE_EMPTY,
	QUEUE_TIMED_OUT,
	QUEUE_NO_QUEUE,
	QUEUE_WRONG_KIND,
	QUEUE_TOO_BIG, /* the first item left would never fit */
	QUEUE_TOO_MANY_DONE,
	QUEUE_UNAVAILABLE,
	QUEUE_EXISTS,
	QUEUE_TOO_MANY,
	QUEUE_NO_MEMORY,
	QUEUE_ERRORS
};

struct queue {
	struct list link, by_name;
	char name[CREW_NAME_MAX + 1];
	const struct queue_kind *kind;
	void *impl; /* the kind's */
	struct queue_settings set;
	bool configured; /* it comes from the configuration */
	bool fresh;	 /* made for a reload that may not come to pass */
	bool leaving;	 /* removed from it: no more puts, and gone when empty */
	bool keep;	 /* only this process forgets it: what is elsewhere stays */
	struct list waiting[QUEUE_WAITS_OF];
	unsigned waiting_count[QUEUE_WAITS_OF];
	struct list pending; /* requests that the kind will answer */
	struct list leases;
	unsigned leased;
};

struct queue_request {
	struct list link, by_id;
	uint64_t id;
	enum queue_verb verb;
	struct queue *queue; /* NULL: it is gone, or has nothing to do with the answer */
	const struct queue_kind *kind;
	enum { QUEUE_ASKING, QUEUE_WAITING, QUEUE_PENDING, QUEUE_ANSWERED } state;

	/* what is asked for */
	bool block;
	int64_t timeout;   /* microseconds; -1: none */
	struct list items; /* to put, and what was got; owned */
	unsigned max;	   /* get: at most so many ... */
	size_t max_bytes;  /* ... and no more text than this, one item apart */
	bool lease;
	bool stream; /* it will be asked again and again */

	/* the answer */
	enum queue_error error;
	const char *why; /* static, or the queue's; NULL: nothing to add */
	unsigned moved;	 /* how many were put */
	uint64_t size;
	bool full;

	/* its kind's */
	bool patient; /* with QUEUE_NOT_YET: it will be served soon, and waits even if it was not to */
	uint64_t ticket;
	enum queue_error then;

	size_t held; /* bytes of memory that count as waiting to be put */
	struct loop_timer timer;
	void (*answered)(struct queue_request *r); /* r is the asker's again */
	void *arg;
};

void queue_init(uint32_t seed); /* of the names of leases: another one in each manager */
void queue_close(void);		/* forgets everything */

struct queue *queue_find(const char *name); /* NULL: none */
struct list *queue_all(void);		    /* of struct queue.link */
unsigned queue_count(void);
/* QUEUE_OK and *out; or QUEUE_EXISTS, QUEUE_TOO_MANY, QUEUE_NO_MEMORY. */
enum queue_error queue_create(const char *name, const struct queue_kind *kind,
			      const struct queue_settings *set, struct queue **out);
void queue_change(struct queue *q, const struct queue_settings *set);
/* With all that is in it; who waits gets QUEUE_NO_QUEUE. */
void queue_delete(struct queue *q);
/* The same for this process only: what the queue has elsewhere stays there. */
void queue_forget(struct queue *q);
/* Takes no more puts, and is deleted as soon as it is empty and nothing is leased. */
void queue_leave(struct queue *q);
void queue_return(struct queue *q); /* it may stay after all */
bool queue_is_empty(const struct queue *q);

struct queue_request *queue_request_new(enum queue_verb verb,
					void (*answered)(struct queue_request *r), void *arg);
void queue_request_free(struct queue_request *r); /* an asker's; NULL is fine */
/* True: it is answered, `answered` will not be called. */
bool queue_ask(struct queue *q, struct queue_request *r);
/* The same, but the answer is always told by `answered`; those who wait come first. */
void queue_ask_again(struct queue *q, struct queue_request *r);
/* The asker has left: the request is not his any more. A number that is not known is fine. */
void queue_drop(uint64_t id);
/* What an answered get brought has been handed on: it is the queue's no more. */
void queue_got(struct queue_request *r);
/* ... or nobody is there any more to hear it: they are back at the head. */
void queue_untaken(struct queue_request *r);

/* Whoever may hold leases: they end with him. */
struct queue_owner {
	struct list leases;
	unsigned count; /* how many he holds */
};
struct queue_owner *queue_owner_new(void);    /* NULL: no memory */
void queue_owner_gone(struct queue_owner *o); /* frees it; NULL is fine */
/* The first item of an answered get; of a kind that has leases it asked for one, so that the item stays on its
 * books. NULL: no memory (or no owner), what was got is back. */
const struct queue_lease *queue_lease_new(struct queue_owner *o, struct queue_request *r);
#define QUEUE_LEASE_NAME 40
char *queue_lease_name(const struct queue_lease *l, char buf[QUEUE_LEASE_NAME]);
const struct queue_item *queue_lease_item(const struct queue_lease *l);
/* The item is done, and its lease over. False: there is no such lease. */
bool queue_done(const char *lease);
/* The holder cannot take care of it just now: it is back at the head, as if it had never left. False as above. */
bool queue_hand_back(const char *lease);
/* It will never be done, `why` says why for the log: it goes to the queue's dead ones, or is dropped if it has no
 * queue for them. False as above. */
bool queue_bury(const char *lease, const char *why);

#endif
