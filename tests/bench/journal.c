/*
 * The journal of durable queues beside its floor and its peers, on one file system and in turns:
 *   journal DIR [SECONDS [SIZE]]
 * raw       pwrite + fdatasync of one record after the other, in a file that was preallocated
 * journal   through the event loop: one put at a time; and as many as it takes, put and taken out
 * sqlite    WAL, synchronous=FULL, prepared statements: one put a commit, and many
 * lmdb      one put a commit, and many
 * Peers that were not there when this was built are left out, and it says so. A line each: what, how
 * many a second. Build: cc -O2 -I. tests/bench/journal.c libcrewd.a libcrewbase.a -levent_core
 * -DHAVE_SQLITE -lsqlite3 -DHAVE_LMDB -llmdb (make tests/bench/journal does it with what there is).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_SQLITE
#include <sqlite3.h>
#endif
#ifdef HAVE_LMDB
#include <lmdb.h>
#endif
#include "daemon/journal.h"
#include "daemon/journal_format.h"
#include "daemon/loop.h"
#include "lib/clock.h"

#define ROUNDS 31
#define MANY   1000  /* operations of a peer's large transaction */
#define LIVE   20000 /* items that the many keep in the journal */

static int dir;
static size_t size = 100;
static int64_t span = USEC_PER_SEC / 10;
static unsigned char item[JF_DATA_MAX];

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "journal: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double rate(uint64_t n, int64_t begin)
{
	return (double)n * (double)USEC_PER_SEC / (double)(clock_now() - begin);
}

/* ---- the floor ---------------------------------------------------------------------------------- */

static double raw(void)
{
	size_t record = jf_size(size), at = 0, most = 64 << 20;
	int fd = openat(dir, "raw", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int64_t begin;
	uint64_t n;
	double r;

	must(fd >= 0 && fallocate(fd, 0, 0, (off_t)most) == 0 && fsync(fd) == 0, "raw");
	begin = clock_now();
	for (n = 0; clock_now() - begin < span; n++, at += record) {
		if (at + record > most)
			at = 0;
		must(pwrite(fd, item, record, (off_t)at) == (ssize_t)record && fdatasync(fd) == 0,
		     "raw");
	}
	r = rate(n, begin);
	close(fd);
	unlinkat(dir, "raw", 0);
	return r;
}

/* ---- the journal -------------------------------------------------------------------------------- */

static struct journal *j;
static bool many, closing;
static uint64_t first;
static uint64_t first_done, last_done; /* tickets */
static int64_t begun, ended;	       /* when these were told */

/* One of each at a time, or all that it accepts. */
static void work(void)
{
	if (closing)
		return;
	if (begun && clock_now() - begun >= span) {
		journal_close(j, true);
		closing = true;
		return;
	}
	if (!many) {
		must(journal_put(j, journal_next_id(j), item, size) > 0 || errno == ENOBUFS, "put");
		return;
	}
	for (int i = 0; i < 10000; i++) {
		if (journal_next_id(j) - first >= LIVE) {
			if (journal_take(j, first) < 0)
				break;
			first++;
		}
		if (journal_put(j, journal_next_id(j), item, size) < 0)
			break;
	}
	must(errno == 0 || errno == ENOBUFS, "put");
}

static int on_item(void *arg, uint64_t id, uint32_t deliveries, const void *data, size_t len)
{
	(void)arg;
	(void)id;
	(void)deliveries;
	(void)data;
	(void)len;
	return 0;
}

static void on_done(void *arg, uint64_t ticket)
{
	(void)arg;
	errno = 0;
	/* Beginning and end of a journal are not what is measured. */
	if (!closing) {
		ended = clock_now();
		last_done = ticket;
	}
	if (!begun) {
		begun = ended;
		first_done = ticket;
	}
	work();
}

static void on_room(void *arg)
{
	(void)arg;
	errno = 0;
	work();
}

static void on_failed(void *arg, int err, const char *why)
{
	(void)arg;
	errno = err;
	must(0, why);
}

static void on_closed(void *arg)
{
	(void)arg;
	loop_stop();
}

/* Puts and takes that were told done, a second. */
static double journal(bool with_many)
{
	static const struct journal_calls calls = { .item = on_item,
						    .done = on_done,
						    .room = on_room,
						    .failed = on_failed,
						    .closed = on_closed };
	struct journal_limits limits = { 0 };
	struct journal_found found;

	must(loop_init() == 0, "loop");
	many = with_many;
	closing = false;
	first = 1;
	begun = 0;
	j = journal_open(dir, "bench", &limits, &calls, NULL, &found);
	must(j != NULL, found.text);
	work();
	loop_run();
	loop_close();
	return (double)(last_done - first_done) * (double)USEC_PER_SEC / (double)(ended - begun);
}

/* ---- SQLite ------------------------------------------------------------------------------------- */

#ifdef HAVE_SQLITE
static void sql(sqlite3 *db, const char *text)
{
	char *why = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK) {
		fprintf(stderr, "journal: sqlite: %s\n", why);
		exit(1);
	}
}

static void step(sqlite3_stmt *s)
{
	must(sqlite3_step(s) == SQLITE_DONE, "sqlite");
	sqlite3_reset(s);
}

static double sqlite(int batch, const char *path)
{
	sqlite3 *db;
	sqlite3_stmt *in, *out;
	char file[4096];
	int64_t begin, now = 1, old = 1;
	uint64_t n = 0;
	double r;

	snprintf(file, sizeof(file), "%s/bench.db", path);
	must(sqlite3_open(file, &db) == SQLITE_OK, "sqlite");
	sql(db, "pragma journal_mode=wal; pragma synchronous=full;"
		"create table q (id integer primary key, item blob)");
	must(sqlite3_prepare_v2(db, "insert into q values (?, ?)", -1, &in, NULL) == SQLITE_OK &&
		     sqlite3_prepare_v2(db, "delete from q where id = ?", -1, &out, NULL) ==
			     SQLITE_OK,
	     "sqlite");
	begin = clock_now();
	while (clock_now() - begin < span) {
		sql(db, "begin");
		for (int i = 0; i < batch; i++, n++) {
			if (batch > 1 && now - old >= LIVE) {
				sqlite3_bind_int64(out, 1, old++);
				step(out);
				continue;
			}
			sqlite3_bind_int64(in, 1, now++);
			sqlite3_bind_blob(in, 2, item, (int)size, SQLITE_STATIC);
			step(in);
		}
		sql(db, "commit");
	}
	r = rate(n, begin);
	sqlite3_finalize(in);
	sqlite3_finalize(out);
	sqlite3_close(db);
	unlinkat(dir, "bench.db", 0);
	return r;
}
#endif

/* ---- LMDB --------------------------------------------------------------------------------------- */

#ifdef HAVE_LMDB
static double lmdb(unsigned batch, const char *path)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	uint64_t n = 0, now = 1, old = 1;
	int64_t begin;
	char file[4096];
	double r;

	snprintf(file, sizeof(file), "%s/bench.mdb", path);
	must(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, 1 << 30) == 0 &&
		     mdb_env_open(env, file, MDB_NOSUBDIR, 0600) == 0,
	     "lmdb");
	must(mdb_txn_begin(env, NULL, 0, &txn) == 0 &&
		     mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi) == 0 && mdb_txn_commit(txn) == 0,
	     "lmdb");
	begin = clock_now();
	while (clock_now() - begin < span) {
		must(mdb_txn_begin(env, NULL, 0, &txn) == 0, "lmdb");
		for (unsigned i = 0; i < batch; i++, n++) {
			MDB_val key = { sizeof(now), &now }, value = { size, item };

			if (batch > 1 && now - old >= LIVE) {
				key.mv_data = &old;
				must(mdb_del(txn, dbi, &key, NULL) == 0, "lmdb");
				old++;
				continue;
			}
			must(mdb_put(txn, dbi, &key, &value, MDB_APPEND) == 0, "lmdb");
			now++;
		}
		must(mdb_txn_commit(txn) == 0, "lmdb");
	}
	r = rate(n, begin);
	mdb_env_close(env);
	unlinkat(dir, "bench.mdb", 0);
	unlinkat(dir, "bench.mdb-lock", 0);
	return r;
}
#endif

/* ---- in turns ----------------------------------------------------------------------------------- */

enum { RAW, ONE, SQLITE_ONE, LMDB_ONE, EVERY, SQLITE_MANY, LMDB_MANY, WHATS };
static const char *const names[WHATS] = {
	[RAW] = "raw fdatasync",
	[ONE] = "journal, one at a time",
	[SQLITE_ONE] = "sqlite, one a commit",
	[LMDB_ONE] = "lmdb, one a commit",
	[EVERY] = "journal, many",
	[SQLITE_MANY] = "sqlite, 1000 a commit",
	[LMDB_MANY] = "lmdb, 1000 a commit",
};

static double measure(int what, const char *path)
{
	(void)path;
	switch (what) {
	case RAW:
		return raw();
	case ONE:
		return journal(false);
	case EVERY:
		return journal(true);
#ifdef HAVE_SQLITE
	case SQLITE_ONE:
		return sqlite(1, path);
	case SQLITE_MANY:
		return sqlite(MANY, path);
#endif
#ifdef HAVE_LMDB
	case LMDB_ONE:
		return lmdb(1, path);
	case LMDB_MANY:
		return lmdb(MANY, path);
#endif
	default:
		return -1;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	double found[WHATS][ROUNDS], ratio[ROUNDS];

	if (argc < 2) {
		fprintf(stderr, "usage: journal DIR [SECONDS [SIZE]]\n");
		return 2;
	}
	if (argc > 2)
		span = (int64_t)(atof(argv[2]) * (double)USEC_PER_SEC);
	if (argc > 3)
		size = strtoul(argv[3], NULL, 10);
	memset(item, 'x', sizeof(item));
	dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(dir >= 0 && size <= JF_DATA_MAX, argv[1]);
	for (int i = 0; i < ROUNDS; i++)
		for (int what = 0; what < WHATS; what++)
			found[what][i] = measure(what, argv[1]);
	for (int i = 0; i < ROUNDS; i++)
		ratio[i] = found[ONE][i] / found[RAW][i];
	for (int what = 0; what < WHATS; what++) {
		qsort(found[what], ROUNDS, sizeof(double), compare);
		if (found[what][0] >= 0)
			printf("%-24s %10.0f /s  (%.0f to %.0f)\n", names[what],
			       found[what][ROUNDS / 2], found[what][0], found[what][ROUNDS - 1]);
		else
			printf("%-24s left out: the library was not there at build time\n",
			       names[what]);
	}
	qsort(ratio, ROUNDS, sizeof(double), compare);
	printf("%-24s %10.2f     (median of %d rounds; %zu bytes an item)\n", "journal one / raw",
	       ratio[ROUNDS / 2], ROUNDS, size);
	return 0;
}
