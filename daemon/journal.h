/*
 * What a durable queue remembers on disk: a write-ahead journal. The loop only queues records; a thread
 * of its own writes all that waits and makes it durable with one fdatasync, and the loop is told through
 * an eventfd. So a put waits for the disk once, however many do.
 *
 *     journal_open   every live item is told, by rising id; nothing is written yet
 *     journal_put    a ticket; when done(ticket) comes, or a later one, it is on disk
 *     journal_take   the same for an item that is gone. Its place on disk was reserved by the put, so a
 *                    full disk refuses puts only
 *     journal_close  what waits is written, then closed() comes
 *
 * Once a write or a sync has failed, nothing more is accepted, and no later ticket is ever told done:
 * failed() comes once, and whoever waits must not be answered that it is done (whether it will be there
 * after the next start is not known). Nothing is tried again on that file. The owner may hand out from
 * memory what it has; that comes back after the next start, and the log says so.
 *
 * Limits of what can be known: damage to what was written last, before a kill or a power cut and not
 * followed by anything, looks like a write that was cut short, and is cut off and told. After a close in
 * order, and in front of anything that was written later, all damage is found, and refused. A deliver on
 * a full disk is not noted. journal_open() reads all that is live, in the loop: a second for a million
 * items; it syncs nothing, the thread does.
 *
 * All functions are for the loop's thread. Of the files tells journal_store.h, of the bytes
 * journal_format.h.
 */
#ifndef CREWD_JOURNAL_H
#define CREWD_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;

/* 0: the default of lib/bounds.h. */
struct journal_limits {
	size_t segment; /* least bytes of one */
	size_t queue;	/* bytes that wait for the disk */
};

struct journal_calls {
	/* While it is being opened. -1 with errno: no more; journal_open() fails with that. */
	int (*item)(void *arg, uint64_t id, uint32_t deliveries, const void *data, size_t len);
	void (*done)(void *arg, uint64_t ticket); /* all tickets up to this one */
	/* There is room again after a put or take was refused with ENOBUFS, or ENOSPC. */
	void (*room)(void *arg);
	void (*failed)(void *arg, int err, const char *why);
	void (*closed)(void *arg); /* and it is gone; after journal_close() only */
};

struct journal_found {
	uint64_t items;
	uint64_t torn;	/* bytes of a write that was never answered, cut off at the end */
	char text[768]; /* when it failed: a sentence for a person, with what to do */
};

/* In the directory `dir` (which need not stay open). NULL with errno and found->text: EBADMSG (damaged),
 * EBUSY (in use) … `name` is a queue's. */
struct journal *journal_open(int dir, const char *name, const struct journal_limits *limits,
			     const struct journal_calls *calls, void *arg,
			     struct journal_found *found);

/* Whether there ever was one of that name, and it was not removed. */
bool journal_exists(int dir, const char *name);

/* The ticket (they rise), or -1 with errno:
 *   ENOSPC     the disk is full (puts only)
 *   ENOBUFS    too much waits: again after room()
 *   EIO        it has failed
 *   EMSGSIZE   longer than JF_DATA_MAX
 *   EINVAL     an id that is not above all before it
 *   ESHUTDOWN  it is being closed
 *   ENOMEM */
int64_t journal_put(struct journal *j, uint64_t id, const void *data, size_t len);
int64_t journal_take(struct journal *j,
		     uint64_t id); /* of one that is not there: changes nothing */
/* How often it was handed out. 0: it was not noted, as the disk is full. */
int64_t journal_deliver(struct journal *j, uint64_t id, uint32_t deliveries);

/* Above every id that was ever put, in this run or before. */
uint64_t journal_next_id(const struct journal *j);
/* The last ticket that was given. */
uint64_t journal_last(const struct journal *j);

/* What waits is written first. `remove`: and then all its files go. closed() comes later. */
void journal_close(struct journal *j, bool remove);
/* For the end of the process, after journal_close(): waits for it, usec at most; closed() is called from
 * within, after done() or failed(). False: the time is over (the thread is left alone). */
bool journal_wait(struct journal *j, int64_t usec);

struct journal_stat {
	uint64_t items, live, disk; /* bytes: of live records, of all files */
	bool full;		    /* the disk */
	int err;
};
void journal_stat(struct journal *j, struct journal_stat *st);

#endif
