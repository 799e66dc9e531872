/* A queue as a handle: in shared memory, or behind calls. For libcrew/queue*.c. */
#ifndef LIBCREW_QUEUE_H
#define LIBCREW_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include "lib/bounds.h"
#include "lib/buf.h"
#include "lib/json_writer.h"
#include "lib/shared_queue.h"
#include "libcrew/api.h"

#define QUEUE_IDLE_MAX 4 /* connections kept for the next calls */
#define QUEUE_GRACE                                                                                \
	(5 * USEC_PER_SEC) /* for a reply behind its time, and for a daemon to be there again */
#define QUEUE_TRY_EACH (50 * USEC_PER_MSEC)
#define QUEUE_KIND_MAX 16

struct crew_queue {
	char name[CREW_NAME_MAX + 1], kind[QUEUE_KIND_MAX];
	char *path; /* NULL: the default */
	pid_t owner;
	pthread_mutex_t mutex; /* below it: */
	struct crew_client *idle[QUEUE_IDLE_MAX];
	unsigned idle_count;

	struct shared_queue *ring; /* NULL: it is called for */
	struct crew_client
		*watch; /* who would hear that it is gone; NULL: the manager is being replaced */
	int64_t lost, tried; /* since when; when it was last asked for */
	dev_t dev;	     /* of the memory */
	ino_t ino;
	_Atomic int64_t looked;
	_Atomic int gone;     /* a code, for good */
	_Atomic bool leaving; /* it takes no more */
};

/* ---- queue.c ------------------------------------------------------------------------------------ */

/* What the name of the daemon's error means. */
int queue_code(const char *error);
/* Parameters, begun: its name is in them. To be ended by queue_params_end(). */
struct queue_params {
	struct buf text;
	struct json_writer json;
};
void queue_params(struct queue_params *p, const struct crew_queue *q);
bool queue_params_end(struct queue_params *p); /* false: over the bound of a call, or no memory */
/* Waits a moment before something is tried again. */
void queue_pause(void);

/* ---- queue_calls.c: kinds that are called for ----------------------------------------------------- */

int calls_put(struct crew_queue *q, const void *item, size_t len, double timeout);
int calls_get(struct crew_queue *q, void **item, size_t *len, double timeout);
int64_t calls_number(struct crew_queue *q, const char *method, const char *key);
int calls_task_done(struct crew_queue *q);
int calls_join(struct crew_queue *q, double timeout);

/* ---- queue_attached.c: shared memory ------------------------------------------------------------------ */

/* Finds out what kind the queue is (q->kind), and attaches when it is shared. */
int attached_open(struct crew_queue *q, int64_t deadline);
int attached_put(struct crew_queue *q, const void *item, size_t len, double timeout);
int attached_get(struct crew_queue *q, void **item, size_t *len, double timeout);
int attached_task_done(struct crew_queue *q);
int attached_join(struct crew_queue *q, double timeout);
/* Of a call of lib/shared_queue.h that failed. `over`: what it means that the time is over. */
int attached_code(int over);

#endif
