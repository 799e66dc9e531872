/* A journal without a disk or a thread: what it is asked is kept, and it says what the test wants it to say. */
#ifndef TESTS_FAKE_JOURNAL_H
#define TESTS_FAKE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include "daemon/journal.h"

struct fake_journal {
	int err;	  /* journal_open() fails with it, as do puts; 0: all is well */
	unsigned room;	  /* puts and takes that are accepted, then ENOBUFS */
	char disk[65536]; /* what is on it of the journal that was opened last: "1:text 2:text " */
	char said[65536]; /* all it was told: "put 1 a, take 1, deliver 2 3, close, " */
};
extern struct fake_journal fake_journal;

void fake_journal_reset(void);
/* All that it was told is on disk. */
void fake_journal_done(const char *name);
void fake_journal_room(const char *name, unsigned room);
void fake_journal_fail(const char *name, const char *why);
/* One that is being closed. */
void fake_journal_closed(const char *name);

#endif
