#include "daemon/redis.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <hiredis/hiredis.h>
#include "daemon/loop.h"
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/log.h"

#define DELAY_FIRST  (100 * USEC_PER_MSEC)
#define DELAY_MAX    (5 * USEC_PER_SEC)
#define READS_A_TURN 64 /* of 16 KiB */
#define GREETINGS    3	/* AUTH, SELECT, CLIENT SETNAME */

static const char away[] = "redis cannot be reached";
static const char no_memory[] = "no memory to talk to redis";

struct redis {
	char name[CREW_NAME_MAX + 1];
	struct redis_where where;
	char *user, *password_file;
	const struct redis_events *events;
	void *arg;
	redisContext *c; /* NULL: none */
	struct loop_io *io;
	enum { REDIS_IDLE, REDIS_CONNECTING, REDIS_GREETING, REDIS_UP } state;
	unsigned greetings;   /* answers to them that are missing */
	unsigned outstanding; /* answers that are missing */
	const char *why;
	bool finishing, freed;
	int64_t delay;
	struct loop_timer retry, patience;
	struct loop_task bury;
};

/* ---- answers ---------------------------------------------------------------------------------- */

/* What a server may make us allocate is bounded before it is. */
static redisReplyObjectFunctions bounded;
static void *(*plain_array)(const redisReadTask *task, int count);

static void *bounded_array(const redisReadTask *task, int count)
{
	return count > CREW_REDIS_LIST_MAX || task->parent ? NULL : plain_array(task, count);
}

static void bound_reader(redisReader *reader)
{
	if (!plain_array) {
		bounded = *reader->fn;
		plain_array = bounded.createArray;
		bounded.createArray = bounded_array;
	}
	reader->fn = &bounded;
}

static const redisReply *reply_of(const struct redis_reply *reply)
{
	return (const void *)reply;
}

static const redisReply *element(const struct redis_reply *list, size_t i)
{
	return i < redis_count(list) ? reply_of(list)->element[i] : NULL;
}

const char *redis_error(const struct redis_reply *reply)
{
	return reply_of(reply)->type == REDIS_REPLY_ERROR ? reply_of(reply)->str : NULL;
}

size_t redis_count(const struct redis_reply *reply)
{
	return reply_of(reply)->type == REDIS_REPLY_ARRAY ? reply_of(reply)->elements : 0;
}

bool redis_number(const struct redis_reply *list, size_t i, int64_t *out)
{
	const redisReply *e = element(list, i);

	if (!e || e->type != REDIS_REPLY_INTEGER)
		return false;
	*out = e->integer;
	return true;
}

const char *redis_text(const struct redis_reply *list, size_t i, size_t *len)
{
	const redisReply *e = element(list, i);

	if (!e || e->type != REDIS_REPLY_STRING)
		return NULL;
	*len = (size_t)e->len;
	return e->str;
}

const char *redis_meaning(const char *error)
{
	static const struct {
		const char *code, *meaning;
	} rows[] = {
		{ "LOADING ", "redis is loading its data" },
		{ "READONLY ", "redis is a replica, which takes no writes" },
		{ "OOM ", "redis has as much memory as it may" },
		{ "MISCONF ", "redis cannot write to its disk" },
		{ "MASTERDOWN ", "redis has lost its master" },
		{ "NOREPLICAS ", "redis has too few replicas" },
		{ "BUSY ", "redis runs a script that does not end" },
		{ "NOAUTH ", "redis wants a password" },
		{ "WRONGPASS ", "redis refuses the user or the password" },
		{ "NOPERM ", "redis does not permit it to this user" },
		{ "WRONGTYPE ", "a key of the queue is of another type in redis" },
		{ "MOVED ", "redis is a cluster, and the queue's keys are elsewhere" },
		{ "CLUSTERDOWN ", "the cluster of redis is down" },
		{ "ERR Error running script", "redis cannot run the queue's script" },
		{ "ERR max number of clients", "redis has as many clients as it may" },
		{ "ERR Client sent AUTH", "redis knows no password" },
		{ "ERR DB index", "redis has no such database" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (strstr(error, rows[i].code))
			return rows[i].meaning;
	return "redis answers with an error";
}

/* ---- the connection is gone ------------------------------------------------------------------- */

static void hang_up(struct redis *r)
{
	loop_io_free(r->io);
	r->io = NULL;
	if (r->c)
		redisFree(r->c);
	r->c = NULL;
	r->state = REDIS_IDLE;
	r->outstanding = r->greetings = 0;
	loop_timer_off(&r->patience);
}

static void bury(void *arg)
{
	struct redis *r = arg;

	free(r->user);
	free(r->password_file);
	free(r);
}

void redis_free(struct redis *r)
{
	if (!r || r->freed)
		return;
	hang_up(r);
	loop_timer_off(&r->retry);
	r->freed = true;
	loop_defer(&r->bury);
}

/* `detail` is logged when what is wrong is new. */
static void fail(struct redis *r, const char *why, const char *detail)
{
	if (r->freed)
		return;
	if (r->why != why && *r->name)
		log_warning(r->name, "%s%s%s", why, *detail ? ": " : "", detail);
	hang_up(r);
	r->why = why;
	if (r->finishing) {
		redis_free(r);
		return;
	}
	loop_timer_at(&r->retry, loop_now() + r->delay);
	r->delay = r->delay * 2 < DELAY_MAX ? r->delay * 2 : DELAY_MAX;
	r->events->down(why, r->arg);
}

static void fail_io(struct redis *r)
{
	static const char lost[] = "redis is gone", odd[] = "redis does not speak its protocol";
	char detail[sizeof(r->c->errstr)];
	bool was_up = r->state == REDIS_UP;

	snprintf(detail, sizeof(detail), "%s", r->c->errstr);
	if (r->c->err == REDIS_ERR_PROTOCOL || r->c->err == REDIS_ERR_OOM)
		fail(r, odd, detail);
	else
		fail(r, was_up ? lost : away, detail);
}

static void on_patience(void *arg)
{
	fail(arg, "redis does not answer", "");
}

/* ---- greeting --------------------------------------------------------------------------------- */

static void watch(struct redis *r)
{
	bool more = r->state == REDIS_CONNECTING || sdslen(r->c->obuf) > 0;

	loop_io_set(r->io, LOOP_READ | (more ? LOOP_WRITE : 0));
}

static bool append(struct redis *r, size_t count, const char *const *words, const size_t *lens)
{
	const char **argv = (const char **)(uintptr_t)words;

	if (redisAppendCommandArgv(r->c, (int)count, argv, lens) != REDIS_OK)
		return false;
	if (r->outstanding++ == 0)
		loop_timer_at(&r->patience, loop_now() + REDIS_PATIENCE);
	return true;
}

static bool greet(struct redis *r, size_t count, const char *const *words)
{
	r->greetings++;
	return append(r, count, words, NULL);
}

/* The file's first line. The length, or -1 with errno. */
static ssize_t read_password(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	errno = EINVAL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -1;
	buf[n] = '\0';
	buf[strcspn(buf, "\r\n")] = '\0';
	return (ssize_t)strlen(buf);
}

static bool log_in(struct redis *r)
{
	char password[1024];
	const char *words[3] = { "AUTH" };
	size_t count = 1;
	bool ok;

	if (!r->password_file)
		return true;
	if (read_password(r->password_file, password, sizeof(password)) < 0) {
		fail(r, "the password-file cannot be read", strerror(errno));
		return false;
	}
	if (r->user)
		words[count++] = r->user;
	words[count++] = password;
	ok = greet(r, count, words);
	explicit_bzero(password, sizeof(password));
	if (!ok)
		fail(r, no_memory, "");
	return ok;
}

static void say_hello(struct redis *r)
{
	char db[16];
	const char *const select_db[] = { "SELECT", db };
	const char *const set_name[] = { "CLIENT", "SETNAME", "crewd" };

	r->state = REDIS_GREETING;
	if (!log_in(r))
		return;
	snprintf(db, sizeof(db), "%u", r->where.db);
	if (!greet(r, 2, select_db) || !greet(r, 3, set_name))
		fail(r, no_memory, "");
}

static void on_greeting(struct redis *r, const struct redis_reply *reply)
{
	const char *error = redis_error(reply);

	r->greetings--;
	/* Its name is for people: a server that gives no name away serves as well. */
	if (error && (r->greetings > 0 || strncmp(error, "LOADING ", 8) == 0)) {
		fail(r, redis_meaning(error), error);
		return;
	}
	if (r->greetings > 0)
		return;
	if (r->why && *r->name)
		log_info(r->name, "redis is back");
	r->state = REDIS_UP;
	r->why = NULL;
	r->delay = DELAY_FIRST;
	r->events->up(r->arg);
}

/* ---- talking ---------------------------------------------------------------------------------- */

static bool is_message(const struct redis_reply *reply)
{
	size_t len;
	const char *word = redis_text(reply, 0, &len);

	return word && len == 7 && memcmp(word, "message", 7) == 0;
}

static void dispatch(struct redis *r, const struct redis_reply *reply)
{
	if (r->events->message && r->state == REDIS_UP && is_message(reply)) {
		r->events->message(reply, r->arg);
		return;
	}
	if (!r->outstanding) {
		const char *error = redis_error(reply);

		/* With too many clients, it says so and hangs up. */
		fail(r, error ? redis_meaning(error) : "redis says what it was not asked",
		     error ? error : "");
		return;
	}
	if (--r->outstanding)
		loop_timer_at(&r->patience, loop_now() + REDIS_PATIENCE);
	else
		loop_timer_off(&r->patience);
	if (r->state == REDIS_GREETING)
		on_greeting(r, reply);
	else
		r->events->answer(reply, r->arg);
	if (r->finishing && !r->outstanding && r->state != REDIS_GREETING)
		redis_free(r);
}

/* False: the connection is gone, or another one. */
static bool dispatch_all(struct redis *r)
{
	redisContext *c = r->c;
	void *reply;

	for (;;) {
		if (redisGetReplyFromReader(c, &reply) != REDIS_OK) {
			fail_io(r);
			return false;
		}
		if (!reply)
			return true;
		dispatch(r, reply);
		freeReplyObject(reply);
		if (r->freed || r->c != c)
			return false;
	}
}

static void on_readable(struct redis *r)
{
	for (int i = 0; i < READS_A_TURN; i++) {
		size_t before = r->c->reader->len;

		if (redisBufferRead(r->c) != REDIS_OK) {
			fail_io(r);
			return;
		}
		if (r->c->reader->len == before) /* there was nothing more */
			return;
		if (!dispatch_all(r))
			return;
		if (r->c->reader->len - r->c->reader->pos > CREW_REDIS_ANSWER_MAX) {
			fail(r, "redis answers with more than was asked for", "");
			return;
		}
	}
}

static int connect_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

static void on_writable(struct redis *r)
{
	int done;

	if (r->state == REDIS_CONNECTING) {
		int error = connect_error(r->c->fd);

		if (error) {
			fail(r, away, strerror(error));
			return;
		}
		loop_timer_off(&r->patience);
		say_hello(r);
		if (!r->c)
			return;
	}
	if (redisBufferWrite(r->c, &done) != REDIS_OK) {
		fail_io(r);
		return;
	}
	watch(r);
}

static void on_io(int fd, unsigned events, void *arg)
{
	struct redis *r = arg;
	redisContext *c = r->c;

	(void)fd;
	if (events & LOOP_WRITE || r->state == REDIS_CONNECTING)
		on_writable(r);
	if (events & LOOP_READ && !r->freed && c && r->c == c && r->state != REDIS_CONNECTING)
		on_readable(r);
	if (!r->freed && r->c)
		watch(r);
}

bool redis_send(struct redis *r, size_t count, const char *const *words, const size_t *lens)
{
	if (r->state != REDIS_UP || r->finishing)
		return false;
	if (!append(r, count, words, lens)) {
		fail(r, no_memory, "");
		return false;
	}
	watch(r); /* written in the next turn, with all that follows in this one */
	return true;
}

/* ---- it comes and goes ------------------------------------------------------------------------ */

static void try(void *arg)
{
	struct redis *r = arg;
	const struct redis_where *w = &r->where;

	r->c = *w->host ? redisConnectNonBlock(w->host, w->port)
			: redisConnectUnixNonBlock(w->path);
	if (!r->c || r->c->err) {
		fail(r, away, r->c ? r->c->errstr : "no memory");
		return;
	}
	fcntl(r->c->fd, F_SETFD, FD_CLOEXEC);
	bound_reader(r->c->reader);
	r->io = loop_io_new(r->c->fd, LOOP_READ | LOOP_WRITE, on_io, r);
	if (!r->io) {
		fail(r, away, "no memory");
		return;
	}
	r->state = REDIS_CONNECTING;
	loop_timer_at(&r->patience, loop_now() + REDIS_PATIENCE);
}

static bool copy(const char *text, char **to)
{
	*to = text ? strdup(text) : NULL;
	return !text || *to;
}

struct redis *redis_new(const char *name, const struct redis_where *where,
			const struct redis_login *login, const struct redis_events *events,
			void *arg)
{
	struct redis *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	snprintf(r->name, sizeof(r->name), "%s", name ? name : "");
	r->where = *where;
	r->events = events;
	r->arg = arg;
	r->delay = DELAY_FIRST;
	r->retry = (struct loop_timer){ .fn = try, .arg = r };
	r->patience = (struct loop_timer){ .fn = on_patience, .arg = r };
	r->bury = (struct loop_task){ .fn = bury, .arg = r };
	if (!copy(login->user, &r->user) || !copy(login->password_file, &r->password_file)) {
		bury(r);
		return NULL;
	}
	loop_timer_at(&r->retry, loop_now());
	return r;
}

static void ignore_answer(const struct redis_reply *reply, void *arg)
{
	(void)reply;
	(void)arg;
}

void redis_finish(struct redis *r)
{
	static const struct redis_events nobody = { .answer = ignore_answer };

	if (!r)
		return;
	r->events = &nobody;
	r->finishing = true;
	if (!r->outstanding || r->state != REDIS_UP)
		redis_free(r);
}

bool redis_is_up(const struct redis *r)
{
	return r->state == REDIS_UP;
}

const char *redis_why(const struct redis *r)
{
	return r->state == REDIS_UP ? NULL : r->why;
}

uint64_t redis_unique(void)
{
	uint64_t n;

	/* This early in boot, there may be none yet: the clock is all there is. */
	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = (uint64_t)clock_now() ^ (uint64_t)getpid() << 40;
	return n;
}
