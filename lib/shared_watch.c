#include "lib/shared_watch.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

#define STOP_AGAIN (10 * USEC_PER_MSEC) /* the thread may just have been about to sleep */

int shared_watch_init(struct shared_watch *w, shared_word *word)
{
	pthread_condattr_t attr;
	int error = pthread_condattr_init(&attr);

	if (error)
		return error;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	error = pthread_cond_init(&w->changed, &attr);
	pthread_condattr_destroy(&attr);
	atomic_store(&w->fd, -1);
	w->word = word;
	return error ? error : pthread_mutex_init(&w->mutex, NULL);
}

/* What it was woken for is somebody else's as well, who may be faster than the loop. */
static void tell(struct shared_watch *w)
{
	w->armed = false;
	eventfd_write(atomic_load(&w->fd), 1);
	word_wake_next(w->word);
}

static void *watch(void *arg)
{
	struct shared_watch *w = arg;

	pthread_mutex_lock(&w->mutex);
	while (!w->stopped) {
		uint64_t since = w->since;

		if (!w->armed) {
			pthread_cond_wait(&w->changed, &w->mutex);
		} else if (!word_same(atomic_load(w->word), since)) {
			tell(w);
		} else {
			pthread_mutex_unlock(&w->mutex);
			word_sleep(w->word, since, WORD_FOREVER);
			pthread_mutex_lock(&w->mutex);
		}
	}
	w->ended = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->mutex);
	return NULL;
}

/* Signals are for the program's own threads. */
static int start(struct shared_watch *w)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&w->thread, NULL, watch, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

int shared_watch_fd(struct shared_watch *w)
{
	int fd, error;

	pthread_mutex_lock(&w->mutex);
	fd = atomic_load(&w->fd);
	if (fd < 0) {
		fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		error = fd < 0 ? errno : start(w);
		if (error && fd >= 0)
			close(fd);
		fd = error ? -1 : fd;
		errno = error ? error : errno;
		atomic_store(&w->fd, fd);
	}
	pthread_mutex_unlock(&w->mutex);
	return fd;
}

void shared_watch_arm(struct shared_watch *w, uint64_t since)
{
	eventfd_t ignored;

	if (atomic_load(&w->fd) < 0)
		return;
	pthread_mutex_lock(&w->mutex);
	eventfd_read(atomic_load(&w->fd), &ignored);
	w->since = since;
	w->armed = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->mutex);
}

static void stop(struct shared_watch *w)
{
	pthread_mutex_lock(&w->mutex);
	w->stopped = true;
	pthread_cond_signal(&w->changed);
	while (!w->ended) {
		int64_t until = clock_now() + STOP_AGAIN;
		struct timespec t = { .tv_sec = (time_t)(until / USEC_PER_SEC),
				      .tv_nsec = (long)(until % USEC_PER_SEC * 1000) };

		word_wake_all(w->word);
		pthread_cond_timedwait(&w->changed, &w->mutex, &t);
	}
	pthread_mutex_unlock(&w->mutex);
	pthread_join(w->thread, NULL);
}

void shared_watch_end(struct shared_watch *w)
{
	int fd = atomic_load(&w->fd);

	if (fd >= 0) {
		stop(w);
		close(fd);
	}
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->mutex);
}
