/* What crewctl's files share: the invocation, one call at a time, and errors. */
#ifndef CREW_CTL_H
#define CREW_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "lib/client.h"
#include "lib/errors.h"
#include "lib/json_writer.h"

/* One invocation: global options and those of the verb; unset ones are zero. */
struct ctl {
	const char *socket;
	bool json;
	const struct verb *verb;
	char **args; /* what follows the verb and its options */
	int count;

	bool no_wait, all_at_once, follow, dry_run, join, watch;
	int64_t timeout; /* microseconds, -1: none */
	int64_t lines;	 /* -1: not given */
	const char *name, *restart, *directory;
	const char **environment;
	unsigned environment_count;

	/* of tasks */
	const char *input, *input_file, *method, *params, *joblog;
	bool json_args, json_lines, unordered, progress, no_progress;

	/* of queues */
	const char *maxsize, *max_bytes, *kind, *dead, *max_deliveries;
	bool json_item, durable;
};

/* `crewctl: ...` on standard error, one line. */
void ctl_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A usage error: what is wrong, and what would be right. Returns CREW_EXIT_USAGE. */
int ctl_usage(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Flushes standard output. Exit code: `code`, or CREW_EXIT_FAILED if it could not be written. */
int ctl_finish(int code);

/* Parameters of a call, being written: between begin and the call write members. */
struct params_out {
	struct buf text;
	struct json_writer json;
	bool ended; /* the object is closed */
};
void ctl_params(struct params_out *p);
void ctl_param_string(struct params_out *p, const char *key,
		      const char *value);				/* NULL: left out */
void ctl_param_bool(struct params_out *p, const char *key, bool value); /* false: left out */
/* `timeout`: what is left until then, as clock_now() counts; INT64_MAX: left out. */
void ctl_param_deadline(struct params_out *p, int64_t deadline);
void ctl_params_free(struct params_out *p);

/* Connects; NULL after an error message; *exit as it should be (69, 77). */
struct client *ctl_connect(const struct ctl *ctl, int *exit);
/* A connected socket that does not block. -1: *exit as it should be after a message, 0: not now, try again. */
int ctl_dial(const struct ctl *ctl, int *exit);
/* Sends; p stays the caller's and may be sent again. 0, CTL_LOST, or the exit code after an error message. */
int ctl_send(struct client *c, const char *method, struct params_out *p, unsigned flags);
/* Next reply. 0 and *reply; or the exit code after an error message. CTL_LOST: the connection ended, nothing
 * was said. */
#define CTL_LOST (-1)
int ctl_receive(struct client *c, struct message_reply *reply);
int ctl_lost(void); /* says so, for good; its exit code */
/* One call, one reply (to be freed); frees p. Asks again for up to five seconds when the connection is lost and `again`. */
int ctl_call(const struct ctl *ctl, const char *method, struct params_out *p, bool again,
	     struct message_reply *reply);
/* As ctl_call(), but an error is a reply too, and nothing is said of it. */
int ctl_call_any(const struct ctl *ctl, const char *method, struct params_out *p, bool again,
		 struct message_reply *reply);
/* Says in a line what an error reply tells. Exit code. */
int ctl_report(const struct message_reply *reply);
/* As ctl_call(), the reply's parameters are of no interest. */
int ctl_do(const struct ctl *ctl, const char *method, struct params_out *p);
/* Calls with `more`, `each` for every reply until it returns false; asks again from the start when the
 * connection is lost and `again`. Exit code. */
int ctl_stream(const struct ctl *ctl, const char *method, struct params_out *p, bool again,
	       bool (*each)(const struct ctl *ctl, struct json_t *params, void *arg), void *arg);

/* Prints a JSON value and a newline. */
void ctl_print_json(const struct json_t *value);

#endif
