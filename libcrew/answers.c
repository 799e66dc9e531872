#include "libcrew/answers.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "lib/bounds.h"
#include "lib/buf.h"
#include "libcrew/api.h"

#define HOLD_BYTES (64 * 1024)
#define HOLD_TIME  USEC_PER_MSEC
#define IDLE_TURNS 100 /* then the thread sleeps until it is needed */
#define LOCK_TRIES 1000

static struct {
	_Atomic bool active;
	_Atomic pid_t owner; /* not a child of it */
	int fd;
	pthread_mutex_t mutex; /* below it: */
	pthread_cond_t changed;
	struct buf held;
	int64_t since; /* of the oldest that is held */
	pthread_t thread;
	bool has_thread, asleep, stopped;
	int failed; /* a code: nobody will ever read */
} a = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* Also for signal handlers. 0, or the error number. */
static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return errno;
		} else if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int write_held(void)
{
	int error = a.held.len ? write_all(a.fd, buf_data(&a.held), a.held.len) : 0;

	a.held.len = 0; /* the memory is for the next ones */
	if (error) {
		errno = error;
		a.failed = error == EPIPE ? CREW_LOST : CREW_SYSTEM;
	}
	return a.failed;
}

/* ---- the thread that sees to it that nothing is held for long ------------------------------------ */

static void wait_until(int64_t until)
{
	struct timespec t = { .tv_sec = (time_t)(until / USEC_PER_SEC),
			      .tv_nsec = (long)(until % USEC_PER_SEC * 1000) };

	pthread_cond_timedwait(&a.changed, &a.mutex, &t);
}

/* While answers come it looks by itself, so that they need not wake it. */
static void *see_to_it(void *arg)
{
	unsigned idle = 0;

	pthread_mutex_lock(&a.mutex);
	while (!a.stopped) {
		int64_t now = clock_now();

		if (a.held.len == 0 && ++idle > IDLE_TURNS) {
			idle = 0;
			a.asleep = true;
			pthread_cond_wait(&a.changed, &a.mutex);
			a.asleep = false;
		} else if (a.held.len == 0) {
			wait_until(now + HOLD_TIME);
		} else if (now - a.since >= HOLD_TIME) {
			idle = 0;
			write_held();
		} else {
			wait_until(a.since + HOLD_TIME);
		}
	}
	pthread_mutex_unlock(&a.mutex);
	return arg;
}

/* Signals are for the program's own threads. */
static bool have_thread(void)
{
	sigset_t all, before;

	if (a.has_thread)
		return true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	a.has_thread = pthread_create(&a.thread, NULL, see_to_it, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return a.has_thread;
}

/* ---- when the process ends ----------------------------------------------------------------------- */

static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS };
#define FATAL_COUNT (sizeof(fatal) / sizeof(*fatal))
static struct sigaction before[FATAL_COUNT];
static char stack[64 * 1024]; /* for who has used up the other one */
static bool has_stack;

/* Whoever has the lock just now is another thread, which goes on: answers are put together before it is taken. */
static void write_last(void)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	if (!a.active || a.owner != getpid())
		return;
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (pthread_mutex_trylock(&a.mutex) == 0) {
			if (a.held.len)
				write_all(a.fd, buf_data(&a.held), a.held.len);
			a.held.len = 0;
			pthread_mutex_unlock(&a.mutex);
			return;
		}
		nanosleep(&moment, NULL);
	}
}

/* It was the default before, and is that again: the signal does what it would have done. */
static void on_fatal(int sig)
{
	write_last();
	raise(sig);
}

static void mind_crashes(void)
{
	struct sigaction mine = { .sa_handler = on_fatal,
				  .sa_flags = SA_RESETHAND | SA_NODEFER | SA_ONSTACK };
	stack_t own = { .ss_sp = stack, .ss_size = sizeof(stack) }, other;

	has_stack = sigaltstack(NULL, &other) == 0 && (other.ss_flags & SS_DISABLE) &&
		    sigaltstack(&own, NULL) == 0;
	for (size_t i = 0; i < FATAL_COUNT; i++) {
		if (sigaction(fatal[i], NULL, &before[i]) < 0 ||
		    (before[i].sa_flags & SA_SIGINFO) || before[i].sa_handler != SIG_DFL)
			before[i].sa_handler = SIG_ERR; /* somebody else minds this one */
		else
			sigaction(fatal[i], &mine, NULL);
	}
}

static void forget_crashes(void)
{
	const stack_t none = { .ss_flags = SS_DISABLE };

	for (size_t i = 0; i < FATAL_COUNT; i++)
		if (before[i].sa_handler == SIG_DFL && !(before[i].sa_flags & SA_SIGINFO))
			sigaction(fatal[i], &before[i], NULL);
	if (has_stack)
		sigaltstack(&none, NULL);
}

/* ---- begin, add, end ----------------------------------------------------------------------------- */

static int prepare(void)
{
	static bool at_exit;
	pthread_condattr_t attr;
	int error = pthread_condattr_init(&attr);

	if (!error) {
		pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		error = pthread_cond_init(&a.changed, &attr);
		pthread_condattr_destroy(&attr);
	}
	if (!error && !at_exit && atexit(write_last) != 0)
		error = ENOMEM;
	at_exit = at_exit || !error;
	errno = error;
	return error ? CREW_SYSTEM : 0;
}

int answers_begin(int fd)
{
	bool no = false;
	int code;

	if (!atomic_compare_exchange_strong(&a.active, &no, true))
		return CREW_INVALID;
	a.owner = getpid();
	a.fd = fd;
	a.failed = 0;
	a.held.max = HOLD_BYTES + CREW_RESULT_MAX + 1;
	a.has_thread = a.asleep = a.stopped = false;
	code = prepare();
	if (code)
		a.active = false;
	else
		mind_crashes();
	return code;
}

int answers_add(const char *data, size_t len, bool hold)
{
	int code = 0;

	pthread_mutex_lock(&a.mutex);
	if (a.held.len == 0)
		a.since = clock_now();
	if (a.failed)
		code = a.failed;
	else if (buf_append(&a.held, data, len) < 0)
		code = CREW_SYSTEM;
	else if (!hold || a.held.len >= HOLD_BYTES || !have_thread())
		code = write_held();
	else if (a.asleep)
		pthread_cond_signal(&a.changed);
	pthread_mutex_unlock(&a.mutex);
	return code;
}

int answers_flush(void)
{
	int code;

	pthread_mutex_lock(&a.mutex);
	code = write_held();
	pthread_mutex_unlock(&a.mutex);
	return code;
}

int answers_end(void)
{
	int code = answers_flush();

	pthread_mutex_lock(&a.mutex);
	a.stopped = true;
	pthread_cond_signal(&a.changed);
	pthread_mutex_unlock(&a.mutex);
	if (a.has_thread)
		pthread_join(a.thread, NULL);
	pthread_cond_destroy(&a.changed);
	forget_crashes();
	buf_free(&a.held);
	a.active = false;
	return code;
}
