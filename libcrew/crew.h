/*
 * libcrew: programs that call crewd, work for it, and share its queues. Manual: libcrew(3).
 *
 * What holds for all of it
 *  - Functions that can fail return 0 (or what they say) when all is well, and one of enum crew_code, which are
 *    negative, when not; crew_strerror() puts it in words. With CREW_SYSTEM, errno tells more.
 *  - Times are seconds, as a double, by a clock that never jumps (CLOCK_MONOTONIC): 0 does not wait, CREW_FOREVER
 *    (any negative number) waits without limit. Not a number: CREW_INVALID.
 *  - JSON goes in and out as text: UTF-8, ended by a NUL.
 *  - What comes by `char **` or `void **` is the caller's, to be given to free(). It is NULL after an error.
 *    A `const char *` is libcrew's, and valid as long as its function says.
 *  - Signals do not end a wait. No function is for signal handlers.
 *  - A child made by fork() opens its own: calls with what it inherited fail with CREW_FORKED. Closing that is
 *    allowed, and frees memory and descriptors.
 *  - Every descriptor is close-on-exec. Nothing is written to standard output, and to standard error only where
 *    a function says so.
 */
#ifndef LIBCREW_CREW_H
#define LIBCREW_CREW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define CREW_FOREVER (-1.0)

enum crew_code {
	CREW_FULL = -1,		  /* the queue had no room in that time; nothing was put */
	CREW_EMPTY = -2,	  /* the queue had no item in that time */
	CREW_TIMEOUT = -3,	  /* the time given is over */
	CREW_LOST = -4,		  /* the connection ended in a call: whether it was done is not known */
	CREW_NO_DAEMON = -5,	  /* nobody answers at that socket */
	CREW_DENIED = -6,	  /* not permitted */
	CREW_REFUSED = -7,	  /* the daemon replied with an error: crew_client_error() */
	CREW_NO_SUCH = -8,	  /* there is no such queue, or there is none any more */
	CREW_WRONG_KIND = -9,	  /* a queue of this kind cannot do that */
	CREW_BUSY = -10,	  /* not now, try again later */
	CREW_TOO_BIG = -11,	  /* longer than its bound */
	CREW_INVALID = -12,	  /* an argument is not what it has to be */
	CREW_PROTOCOL = -13,	  /* the other side says what it should not */
	CREW_TOO_MANY_DONE = -14, /* more items were said to be done than were put */
	CREW_END = -15,		  /* no more replies will come */
	CREW_FAILED = -16,	  /* a task failed, and the only way to say so is to end */
	CREW_FORKED = -17,	  /* it belongs to the parent of this process */
	CREW_SYSTEM = -18	  /* a system call failed, or memory is short: errno */
};

/* What a code means, in words. Never NULL, never freed. Any thread. */
const char *crew_strerror(int code);

/* ---- client: crew_client(3) -----------------------------------------------------------------------
 *
 * A client makes one call at a time. Threads may use different clients at the same time; the same one only one
 * after the other. A connection that ended is made again by the next call.
 */
struct crew_client;

/* Connects to the control socket at `path`; NULL: where crewctl looks ($XDG_RUNTIME_DIR/crewd/control or
 * /run/crewd/control). *client is to be closed. CREW_NO_DAEMON, CREW_DENIED, CREW_TIMEOUT, CREW_SYSTEM. */
int crew_connect(struct crew_client **client, const char *path, double timeout);

/* NULL is allowed. */
void crew_client_close(struct crew_client *client);

/*
 * Calls a method ("io.crewd.Pool.Apply") and waits for the reply. `params`: JSON text of an object, NULL for
 * none; 1 MiB at most. *reply: JSON text of the reply's parameters, an object; `reply` may be NULL.
 *
 * CREW_REFUSED: an error came, see below. CREW_TIMEOUT: it may still be done; its reply is thrown away. CREW_LOST,
 * CREW_NO_DAEMON, CREW_DENIED, CREW_TOO_BIG, CREW_PROTOCOL, CREW_SYSTEM; CREW_INVALID: no method's name, `params`
 * is no object, or a stream has not ended.
 */
int crew_call(struct crew_client *client, const char *method, const char *params, double timeout,
	      char **reply);

/* After CREW_REFUSED: the error's name ("io.crewd.Pool.Full") and its parameters, JSON text of an object. NULL
 * otherwise. Both are valid until the next call with this client, or its end. */
const char *crew_client_error(const struct crew_client *client);
const char *crew_client_error_params(const struct crew_client *client);

/* Calls a method that replies more than once (Varlink's `more`). The replies are fetched with crew_next(); until
 * CREW_END, an error other than CREW_TIMEOUT, or crew_stream_end(), the client makes no other call. Errors as with
 * crew_call(); `timeout` is for sending. */
int crew_stream(struct crew_client *client, const char *method, const char *params, double timeout);

/* The next reply of a stream. CREW_END: the last one has been fetched. CREW_TIMEOUT: none in that time, ask again.
 * CREW_REFUSED and other errors of crew_call() end the stream. CREW_INVALID: there is no stream. */
int crew_next(struct crew_client *client, double timeout, char **reply);

/* Ends a stream early. Nothing when there is none. */
void crew_stream_end(struct crew_client *client);

/* For a loop of one's own: readable when crew_next(client, 0, ...) may have something new, to be polled after it
 * said CREW_TIMEOUT. The client's: never read or close it; another one after the next crew_stream(). CREW_INVALID:
 * no stream. */
int crew_client_fd(const struct crew_client *client);

/* ---- JSON text: crew_client(3) --------------------------------------------------------------------
 *
 * Enough to write parameters and to read replies; numbers are for strtod(3) and strtoll(3). `json` has to be
 * JSON: what libcrew hands out is. Text that is none never makes them read beyond its end. All of them return
 * memory to be freed, or NULL: there is none such, or (errno) ENOMEM, EILSEQ (not UTF-8). Any thread.
 */
/* `len` bytes as a JSON string, quotes and escapes included. */
char *crew_json_quote(const char *text, size_t len);
/* The text of an object's member (`key`: ASCII), or of an array's element (from 0). */
char *crew_json_get(const char *json, const char *key);
char *crew_json_at(const char *json, size_t index);
/* What is in a JSON string, with a NUL added; it may have others inside: *len, if not NULL, counts. */
char *crew_json_string(const char *json, size_t *len);

/* ---- worker: crew_worker(3) -----------------------------------------------------------------------
 *
 * Says how the worker is, by sd_notify(3)'s protocol, to whoever NOTIFY_SOCKET names: crewd, for a pool with
 * ready = "notify" or a watchdog, or systemd. 1: said. 0: nobody wants to hear (NOTIFY_SOCKET is not set).
 * CREW_INVALID (it is neither a path nor an abstract name), CREW_NO_DAEMON, CREW_DENIED, CREW_TIMEOUT (it does not
 * take it within 5 s), CREW_SYSTEM. Any thread, as long as none changes the environment.
 */
int crew_ready(void);
int crew_stopping(void);
int crew_watchdog(void);
/* One line for people; control characters become blanks, more than 1000 bytes are cut. */
int crew_status(const char *text);

/* 1: crew_watchdog() has to be called at least every *interval seconds, best twice as often. 0: no. CREW_INVALID:
 * WATCHDOG_USEC is no number. `interval` may be NULL. */
int crew_watchdog_enabled(double *interval);

/* A task that was handed to this worker. It is valid, with all that its functions return, until the function that
 * got it returns, and for that thread only. */
struct crew_task;
typedef void (*crew_task_fn)(struct crew_task *task, void *arg);

/*
 * Serves the tasks of a pool with tasks = "lines" or "jsonrpc", whichever the environment's CREW_TASKS names, until
 * there will be no more (0). It begins with crew_ready(). `fn` is called for one task after the other, and answers
 * each with exactly one of the functions below; one without an answer has failed.
 *
 * Meanwhile standard input and output are its own: what `fn` reads from the one is empty, what it prints on the
 * other goes to standard error. Answers are written together when tasks are waiting, but none is held for more than
 * about a millisecond, nor when the process crashes or exits. While it waits for tasks, and between them, it keeps
 * a watchdog content; a task that takes longer calls crew_watchdog() itself.
 *
 * CREW_INVALID: CREW_TASKS is neither, or it is being served already. CREW_TOO_BIG: a line has more than 1 MiB
 * (with jsonrpc that task fails, and all goes on). CREW_FAILED: a task of kind lines failed, for which there is
 * no answer: main() should return, so that the pool learns of it. CREW_LOST: the input ended within a line, or nobody
 * reads the answers. CREW_SYSTEM. Why it ends is said on standard error, in one line.
 */
int crew_serve(crew_task_fn fn, void *arg);

/* The method; NULL with lines. */
const char *crew_task_method(const struct crew_task *task);
/* How many arguments there are: 1 with lines, with jsonrpc the elements of `params` (0 if it is an object). */
size_t crew_task_count(const struct crew_task *task);
/* One of them: a string's text (*len, if not NULL, counts, a NUL is added), any other value as JSON text. NULL:
 * there is none such, or (ENOMEM) memory is short. */
const char *crew_task_arg(struct crew_task *task, size_t index, size_t *len);
/* All of them as JSON text, an array or an object. NULL: memory is short; with lines also if it is not UTF-8. */
const char *crew_task_params(struct crew_task *task);

/* Answers with a text of `len` bytes: with lines a line, which has no newline inside; with jsonrpc a string (or
 * {"base64": ...} where it is not UTF-8). CREW_INVALID: a newline, or it has an answer. CREW_TOO_BIG: a result has
 * 1 MiB at most. CREW_SYSTEM. After an error the task still has no answer. */
int crew_return(struct crew_task *task, const char *data, size_t len);
/* Answers with a value, JSON text; with lines that text is the line. CREW_INVALID also: it is no JSON, or
 * one that a result cannot be: with U+0000 in a string, or a number beyond a double. */
int crew_return_json(struct crew_task *task, const char *json);
/* The task has failed. With lines the message goes to standard error, and crew_serve() returns CREW_FAILED. */
int crew_fail(struct crew_task *task, int code, const char *message);
/* Writes the answers that are held now. CREW_LOST: nobody reads them. */
int crew_flush(struct crew_task *task);

/* ---- template: crew_template(3) -------------------------------------------------------------------
 *
 * For a program that is the command of a template (crewd-template(7)): once it has loaded what is heavy, it
 * calls this, which says that it is warm and forks a worker each time crewd asks for one. 1: returned in such
 * a worker, with everything that is its own; its name is in CREW_WORKER. 0: in the template, when crewd wants no more
 * of them. CREW_INVALID: this process was not started as a template. CREW_PROTOCOL, CREW_SYSTEM. The process
 * must have one thread only, or crewd refuses it; and nothing of libcrew's should be open, as it belongs to the parent.
 */
int crew_template_loop(void);

/* A module (module = "..." in crewd.conf(5)) defines these two instead, and crew-host, which crewd ships, does the
 * rest. crew_preload(), which may be left out, is called once, in the template: what it loads, all workers share;
 * anything but 0 and the module has failed. crew_run() is called for each task, in a worker, as crew_serve() calls
 * its function. Both are to be exported: no thread may be left by crew_preload(). */
int crew_preload(void);
void crew_run(struct crew_task *task);

/* ---- queues: crew_queue(3) ------------------------------------------------------------------------
 *
 * The same functions for queues of each kind. One in shared memory is attached to, and then put to and got from
 * without asking the daemon; it is asked now and then whether the queue is still there, and may be started again
 * meanwhile. Others are called for. Threads may share a queue.
 *
 * Besides what stands at each, all may fail with CREW_NO_SUCH, CREW_NO_DAEMON (none for 5 s), CREW_DENIED,
 * CREW_BUSY, CREW_PROTOCOL (shared: somebody has written over its memory), CREW_REFUSED, CREW_FORKED, CREW_SYSTEM;
 * of other kinds than shared also with CREW_TIMEOUT: the daemon has not replied 5 s after `timeout`, or at all. A
 * put, and a task_done, that lost its connection fails with CREW_LOST; everything else asks again.
 */
struct crew_queue;

/* Opens a queue, of whatever kind. `path` as crew_connect() has it. *queue is to be closed. Who may only look can
 * open it as well, and ask; the rest is CREW_DENIED. CREW_TIMEOUT, CREW_INVALID: not a queue's name. */
int crew_queue_open(struct crew_queue **queue, const char *path, const char *name, double timeout);
/* The same for queues in shared memory only; others are CREW_WRONG_KIND. */
int crew_queue_attach(struct crew_queue **queue, const char *path, const char *name, double timeout);
/* No thread may be inside another call. NULL is allowed. */
void crew_queue_close(struct crew_queue *queue);

/* "shared", "manager", "redis". Valid as long as the queue is open. */
const char *crew_queue_kind(const struct crew_queue *queue);

/* Puts a copy of the item at the end: JSON text. In shared memory it may be any bytes, and is not checked.
 * CREW_FULL, CREW_TOO_BIG, CREW_LOST, CREW_INVALID: no JSON. */
int crew_queue_put(struct crew_queue *queue, const void *item, size_t len, double timeout);
/* Takes the first item, with a NUL added that does not count; `len` may be NULL. CREW_EMPTY. */
int crew_queue_get(struct crew_queue *queue, void **item, size_t *len, double timeout);
/* The same for items that are JSON strings, given and taken as their text. CREW_INVALID: not UTF-8. What somebody
 * put that is no JSON string comes as it is. */
int crew_queue_put_text(struct crew_queue *queue, const char *text, size_t len, double timeout);
int crew_queue_get_text(struct crew_queue *queue, char **text, size_t *len, double timeout);

/* How many items can be got; whether there are none; whether a put would have to wait (1, 0). True at one moment
 * during the call. */
int64_t crew_queue_qsize(struct crew_queue *queue);
int crew_queue_empty(struct crew_queue *queue);
int crew_queue_full(struct crew_queue *queue);

/* As JoinableQueue has it: one item that was got is done. CREW_TOO_MANY_DONE, CREW_LOST. */
int crew_queue_task_done(struct crew_queue *queue);
/* Waits until all that was put is done. CREW_TIMEOUT. */
int crew_queue_join(struct crew_queue *queue, double timeout);

/* For a loop of one's own, shared memory only: an eventfd that is readable while there may be items (room). It is
 * the queue's: only poll it. When it is readable, get (put) with timeout 0 until CREW_EMPTY (CREW_FULL), which
 * makes it silent until there is something again. The first call starts a thread. CREW_WRONG_KIND. */
int crew_queue_items_fd(struct crew_queue *queue);
int crew_queue_room_fd(struct crew_queue *queue);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
