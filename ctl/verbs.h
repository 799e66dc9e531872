/* The verbs of crewctl, a row each. */
#ifndef CREW_CTL_VERBS_H
#define CREW_CTL_VERBS_H

#include "ctl/ctl.h"

/* Options a verb takes, as letters of this table (see verbs.c):
 * w --no-wait, A --all-at-once, f --follow, n --lines, t --timeout, d --dry-run, j --join, N --name,
 * r --restart, e --env, D --dir, W --watch; of tasks: i --input, I --input-file, m --method, p --params, J --json-args,
 * u --unordered, L --joblog, l --json-lines, P --progress, q --no-progress; of queues: M --maxsize, B --max-bytes,
 * K --kind, U --durable, E --dead, V --max-deliveries, o --json-item */
struct verb {
	const char *name, *alias, *usage, *help;
	const char *options;
	int min, max; /* arguments; max -1: any number */
	bool stops;   /* options end at the first argument: a command follows */
	bool first;   /* ... or at the second one: a pool, and what belongs to the task */
	bool quiet;   /* has nothing to tell but that it is done: with --json, {} */
	int (*run)(struct ctl *ctl);
};

extern const struct verb verbs[];		/* ends with name NULL */
const struct verb *verb_find(const char *name); /* by name or alias; NULL: none */
/* The verb that the words begin with: one of them, or two; *words as many. NULL: none. */
const struct verb *verb_of(char *const *argv, int argc, int *words);
/* Whether there are verbs of two words that begin with this one. */
bool verb_is_noun(const char *word);
/* Takes the verb's options off argv (argv[0] is the verb). 0, or an exit code after a message. */
int verb_options(struct ctl *ctl, int argc, char **argv);
void verb_help(FILE *to, const struct verb *verb); /* NULL: all */
void verb_help_noun(FILE *to, const char *noun);

/* worker.c */
int ctl_status(struct ctl *ctl);
int ctl_is_alive(struct ctl *ctl);
int ctl_signal(struct ctl *ctl);
int ctl_forget(struct ctl *ctl);
int ctl_logs(struct ctl *ctl);
/* memory.c */
int ctl_memory(struct ctl *ctl);
/* wait.c */
int ctl_start(struct ctl *ctl);
int ctl_terminate(struct ctl *ctl);
int ctl_kill(struct ctl *ctl);
int ctl_restart(struct ctl *ctl);
int ctl_join(struct ctl *ctl);
/* run.c */
int ctl_run(struct ctl *ctl);
/* manager.c */
int ctl_scale(struct ctl *ctl);
int ctl_reload(struct ctl *ctl);
int ctl_shutdown(struct ctl *ctl);
int ctl_events(struct ctl *ctl);
/* apply.c */
int ctl_apply(struct ctl *ctl);
int ctl_apply_async(struct ctl *ctl);
int ctl_result(struct ctl *ctl);
/* map.c */
int ctl_map(struct ctl *ctl);
/* pool.c */
int ctl_tasks(struct ctl *ctl);
int ctl_cancel(struct ctl *ctl);
int ctl_close(struct ctl *ctl);
/* queue.c */
int ctl_queue_create(struct ctl *ctl);
int ctl_queue_delete(struct ctl *ctl);
int ctl_queue_list(struct ctl *ctl);
int ctl_queue_put(struct ctl *ctl);
int ctl_queue_get(struct ctl *ctl);
int ctl_queue_qsize(struct ctl *ctl);
int ctl_queue_empty(struct ctl *ctl);
int ctl_queue_full(struct ctl *ctl);
int ctl_queue_task_done(struct ctl *ctl);
int ctl_queue_join(struct ctl *ctl);

#endif
