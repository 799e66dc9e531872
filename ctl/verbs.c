#include "ctl/verbs.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "lib/bounds.h"
#include "lib/clock.h"
#include "lib/text.h"

const struct verb verbs[] = {
	{ .name = "status",
	  .usage = "[NAME...]",
	  .help = "state of workers",
	  .options = "",
	  .max = -1,
	  .run = ctl_status },
	{ .name = "memory",
	  .usage = "[--watch] [--timeout S] [NAME...]",
	  .help = "memory of workers, and what they share",
	  .options = "Wt",
	  .max = -1,
	  .run = ctl_memory },
	{ .name = "start",
	  .usage = "NAME...",
	  .help = "start; returns when running",
	  .options = "",
	  .min = 1,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_start },
	{ .name = "terminate",
	  .alias = "stop",
	  .usage = "[--no-wait] NAME...",
	  .help = "end, and do not restart; returns when gone",
	  .options = "w",
	  .min = 1,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_terminate },
	{ .name = "kill",
	  .usage = "NAME...",
	  .help = "SIGKILL now, and do not restart",
	  .options = "",
	  .min = 1,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_kill },
	{ .name = "signal",
	  .usage = "SIG NAME...",
	  .help = "send a signal",
	  .options = "",
	  .min = 2,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_signal },
	{ .name = "restart",
	  .usage = "[--all-at-once] NAME...",
	  .help = "end and start again, one after the other",
	  .options = "A",
	  .min = 1,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_restart },
	{ .name = "is-alive",
	  .usage = "NAME",
	  .help = "print alive or dead; exit 0 or 3",
	  .options = "",
	  .min = 1,
	  .max = 1,
	  .run = ctl_is_alive },
	{ .name = "join",
	  .usage = "[--timeout S] NAME...",
	  .help = "wait until ended for good",
	  .options = "t",
	  .min = 1,
	  .max = -1,
	  .run = ctl_join },
	{ .name = "run",
	  .usage = "[--name N] [--restart P] [--env K=V]... [--dir D] [--join] [--] COMMAND "
		   "[ARG...]",
	  .help = "start a worker that is not in the configuration",
	  .options = "NreDj",
	  .min = 1,
	  .max = -1,
	  .stops = true,
	  .run = ctl_run },
	{ .name = "forget",
	  .usage = "NAME...",
	  .help = "drop a finished worker of run",
	  .options = "",
	  .min = 1,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_forget },
	{ .name = "scale",
	  .usage = "POOL N",
	  .help = "set the number of workers",
	  .options = "",
	  .min = 2,
	  .max = 2,
	  .quiet = true,
	  .run = ctl_scale },
	{ .name = "logs",
	  .usage = "[-f] [-n LINES] NAME",
	  .help = "what it printed",
	  .options = "fn",
	  .min = 1,
	  .max = 1,
	  .run = ctl_logs },
	{ .name = "reload",
	  .usage = "[--dry-run]",
	  .help = "read the configuration again",
	  .options = "d",
	  .run = ctl_reload },
	{ .name = "shutdown",
	  .usage = "[--join]",
	  .help = "end the daemon and its workers",
	  .options = "j",
	  .quiet = true,
	  .run = ctl_shutdown },
	{ .name = "apply",
	  .usage = "[--timeout S] [--input TEXT | --input-file FILE] [--method M] [--params JSON] "
		   "[--json-args] POOL [ARG...]",
	  .help = "one task; waits, and prints its result",
	  .options = "tiImpa",
	  .min = 1,
	  .max = -1,
	  .first = true,
	  .run = ctl_apply },
	{ .name = "apply-async",
	  .usage = "[--input TEXT | --input-file FILE] [--method M] [--params JSON] [--json-args] "
		   "POOL "
		   "[ARG...]",
	  .help = "one task; prints its ID at once",
	  .options = "iImpa",
	  .min = 1,
	  .max = -1,
	  .first = true,
	  .run = ctl_apply_async },
	{ .name = "map",
	  .usage = "[--unordered] [--joblog FILE] [--method M] [--json-lines] [--progress | "
		   "--no-progress] POOL",
	  .help = "a task for each line of standard input",
	  .options = "uLmlPq",
	  .min = 1,
	  .max = 1,
	  .run = ctl_map },
	{ .name = "result",
	  .usage = "[--timeout S] ID",
	  .help = "wait for a task, and print its result",
	  .options = "t",
	  .min = 1,
	  .max = 1,
	  .run = ctl_result },
	{ .name = "tasks",
	  .usage = "[POOL...]",
	  .help = "the tasks that wait or run",
	  .options = "",
	  .max = -1,
	  .run = ctl_tasks },
	{ .name = "cancel",
	  .usage = "ID...",
	  .help = "take a task back, or end it",
	  .options = "",
	  .min = 1,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_cancel },
	{ .name = "close",
	  .usage = "POOL...",
	  .help = "take no more tasks; workers end when all is done",
	  .options = "",
	  .min = 1,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_close },
	{ .name = "queue create",
	  .usage = "[--maxsize N] [--max-bytes SIZE] [--kind K] [--durable] [--dead NAME] "
		   "[--max-deliveries N] NAME",
	  .help = "make a queue",
	  .options = "MBKUEV",
	  .min = 1,
	  .max = 1,
	  .quiet = true,
	  .run = ctl_queue_create },
	{ .name = "queue delete",
	  .usage = "NAME...",
	  .help = "delete it with all that is in it",
	  .options = "",
	  .min = 1,
	  .max = -1,
	  .quiet = true,
	  .run = ctl_queue_delete },
	{ .name = "queue list",
	  .usage = "",
	  .help = "the queues",
	  .options = "",
	  .min = 0,
	  .max = 0,
	  .run = ctl_queue_list },
	{ .name = "queue put",
	  .usage = "[--no-wait | --timeout S] [--json-item] NAME [ITEM]",
	  .help = "put an item, or standard input; waits while full",
	  .options = "wto",
	  .min = 1,
	  .max = 2,
	  .quiet = true,
	  .run = ctl_queue_put },
	{ .name = "queue get",
	  .usage = "[--no-wait | --timeout S] NAME",
	  .help = "take an item and print it; waits while empty",
	  .options = "wt",
	  .min = 1,
	  .max = 1,
	  .run = ctl_queue_get },
	{ .name = "queue qsize",
	  .usage = "NAME",
	  .help = "print how many items are there",
	  .options = "",
	  .min = 1,
	  .max = 1,
	  .run = ctl_queue_qsize },
	{ .name = "queue empty",
	  .usage = "NAME",
	  .help = "print true or false",
	  .options = "",
	  .min = 1,
	  .max = 1,
	  .run = ctl_queue_empty },
	{ .name = "queue full",
	  .usage = "NAME",
	  .help = "print true or false",
	  .options = "",
	  .min = 1,
	  .max = 1,
	  .run = ctl_queue_full },
	{ .name = "queue task-done",
	  .usage = "NAME",
	  .help = "an item that was got is done",
	  .options = "",
	  .min = 1,
	  .max = 1,
	  .quiet = true,
	  .run = ctl_queue_task_done },
	{ .name = "queue join",
	  .usage = "[--timeout S] NAME",
	  .help = "wait until all items are done",
	  .options = "t",
	  .min = 1,
	  .max = 1,
	  .quiet = true,
	  .run = ctl_queue_join },
	{ .name = "events",
	  .usage = "",
	  .help = "a line for each change of state",
	  .options = "",
	  .run = ctl_events },
	{ .name = NULL },
};

const struct verb *verb_find(const char *name)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (strcmp(v->name, name) == 0 || (v->alias && strcmp(v->alias, name) == 0))
			return v;
	return NULL;
}

const struct verb *verb_of(char *const *argv, int argc, int *words)
{
	const struct verb *v = verb_find(argv[0]);
	char both[64];

	*words = 1;
	if (v || argc < 2)
		return v;
	*words = 2;
	return snprintf(both, sizeof(both), "%s %s", argv[0], argv[1]) < (int)sizeof(both)
		       ? verb_find(both)
		       : NULL;
}

/* Whether the verb is two words, and this the first. */
static bool is_of_noun(const struct verb *v, const char *noun)
{
	size_t len = strlen(noun);

	return strncmp(v->name, noun, len) == 0 && v->name[len] == ' ';
}

bool verb_is_noun(const char *word)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (is_of_noun(v, word))
			return true;
	return false;
}

/* ---- options of verbs ------------------------------------------------------------------------- */

static const struct option long_options[] = {
	{ "no-wait", no_argument, NULL, 'w' },
	{ "all-at-once", no_argument, NULL, 'A' },
	{ "follow", no_argument, NULL, 'f' },
	{ "lines", required_argument, NULL, 'n' },
	{ "timeout", required_argument, NULL, 't' },
	{ "dry-run", no_argument, NULL, 'd' },
	{ "join", no_argument, NULL, 'j' },
	{ "name", required_argument, NULL, 'N' },
	{ "restart", required_argument, NULL, 'r' },
	{ "env", required_argument, NULL, 'e' },
	{ "dir", required_argument, NULL, 'D' },
	{ "watch", no_argument, NULL, 'W' },
	{ "input", required_argument, NULL, 'i' },
	{ "input-file", required_argument, NULL, 'I' },
	{ "method", required_argument, NULL, 'm' },
	{ "params", required_argument, NULL, 'p' },
	{ "json-args", no_argument, NULL, 'a' },
	{ "unordered", no_argument, NULL, 'u' },
	{ "joblog", required_argument, NULL, 'L' },
	{ "json-lines", no_argument, NULL, 'l' },
	{ "progress", no_argument, NULL, 'P' },
	{ "no-progress", no_argument, NULL, 'q' },
	{ "maxsize", required_argument, NULL, 'M' },
	{ "max-bytes", required_argument, NULL, 'B' },
	{ "kind", required_argument, NULL, 'K' },
	{ "durable", no_argument, NULL, 'U' },
	{ "dead", required_argument, NULL, 'E' },
	{ "max-deliveries", required_argument, NULL, 'V' },
	{ "json-item", no_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, 'J' },
	{ "socket", required_argument, NULL, 's' },
	{ NULL, 0, NULL, 0 },
};

#define FOR_ALL "Js" /* options of crewctl itself, which may stand behind the verb as well */

/* Seconds as a number, or with a unit. */
static int take_timeout(struct ctl *ctl, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (*text && !*end && seconds >= 0 && seconds < 1e10) {
		ctl->timeout = (int64_t)(seconds * (double)USEC_PER_SEC);
		return 0;
	}
	if (text_duration(text, &ctl->timeout) == 0)
		return 0;
	return ctl_usage(ctl, "--timeout %s is no time; 5, 0.5 or 500ms is", text);
}

static int take_environment(struct ctl *ctl, const char *pair)
{
	if (!strchr(pair, '=') || *pair == '=')
		return ctl_usage(ctl, "--env %s is not KEY=VALUE", pair);
	if (ctl->environment_count == CREW_ARGS_MAX)
		return ctl_usage(ctl, "more than %d times --env", CREW_ARGS_MAX);
	ctl->environment[ctl->environment_count++] = pair;
	return 0;
}

static int take_lines(struct ctl *ctl, const char *text)
{
	if (text_int(text, &ctl->lines) < 0 || ctl->lines < 0 || ctl->lines > CREW_LOG_RING)
		return ctl_usage(ctl, "-n %s is no number of lines from 0 to %d", text,
				 CREW_LOG_RING);
	return 0;
}

static int take_option(struct ctl *ctl, int letter)
{
	bool *const flags[] = {
		['w'] = &ctl->no_wait,	   ['A'] = &ctl->all_at_once, ['f'] = &ctl->follow,
		['d'] = &ctl->dry_run,	   ['j'] = &ctl->join,	      ['a'] = &ctl->json_args,
		['l'] = &ctl->json_lines,  ['u'] = &ctl->unordered,   ['P'] = &ctl->progress,
		['q'] = &ctl->no_progress, ['J'] = &ctl->json,	      ['o'] = &ctl->json_item,
		['U'] = &ctl->durable,	   ['W'] = &ctl->watch,
	};
	const char **const texts[] = {
		['N'] = &ctl->name,    ['r'] = &ctl->restart,	    ['D'] = &ctl->directory,
		['i'] = &ctl->input,   ['I'] = &ctl->input_file,    ['m'] = &ctl->method,
		['p'] = &ctl->params,  ['L'] = &ctl->joblog,	    ['s'] = &ctl->socket,
		['M'] = &ctl->maxsize, ['K'] = &ctl->kind,	    ['B'] = &ctl->max_bytes,
		['E'] = &ctl->dead,    ['V'] = &ctl->max_deliveries
	};

	if (letter == 't')
		return take_timeout(ctl, optarg);
	if (letter == 'n')
		return take_lines(ctl, optarg);
	if (letter == 'e')
		return take_environment(ctl, optarg);
	if ((size_t)letter < sizeof(texts) / sizeof(*texts) && texts[letter])
		*texts[letter] = optarg;
	else
		*flags[letter] = true;
	return 0;
}

static int bad_option(const struct ctl *ctl, char **argv)
{
	const char *what =
		optopt && optopt < 256 && !strchr("wAfntdjNreDWiImpauLlPqMBKUEVohJs", optopt)
			? "unknown option"
			: "option";

	return ctl_usage(ctl, "%s %s is not known, or lacks its value", what, argv[optind - 1]);
}

static int check_count(struct ctl *ctl)
{
	const struct verb *v = ctl->verb;

	if (ctl->count < v->min)
		return ctl_usage(ctl, "something is missing");
	if (v->max >= 0 && ctl->count > v->max)
		return ctl_usage(ctl, "unexpected argument %s", ctl->args[v->max]);
	return 0;
}

static int take_options(struct ctl *ctl, int argc, char **argv)
{
	const struct verb *v = ctl->verb;
	const char *letters = v->stops || v->first ? "+hfn:s:" : "hfn:s:";
	int letter;

	while ((letter = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		int r;

		if (letter == 'h') {
			verb_help(stdout, v);
			exit(ctl_finish(CREW_EXIT_OK));
		}
		if (letter == '?' || letter == ':')
			return bad_option(ctl, argv);
		if (!strchr(v->options, letter) && !strchr(FOR_ALL, letter))
			return ctl_usage(ctl, "option %s is not for this verb", argv[optind - 1]);
		r = take_option(ctl, letter);
		if (r)
			return r;
	}
	return 0;
}

/* True if the word is one of the verb's own options, in full. */
static bool own_option(const struct verb *v, const char *word)
{
	size_t len = strcspn(word, "=");

	if (strncmp(word, "--", 2) != 0)
		return false;
	for (const struct option *o = long_options; o->name; o++)
		if (strlen(o->name) == len - 2 && strncmp(o->name, word + 2, len - 2) == 0)
			return strchr(v->options, o->val) != NULL;
	return false;
}

/* `apply POOL --timeout 5 ARG...`: own options may follow the first argument; `--`, or anything else, begins
 * what belongs to the task. */
static int options_after_first(struct ctl *ctl, int argc, char **argv)
{
	char *first = argv[optind];
	bool ended = strcmp(argv[optind - 1], "--") == 0; /* getopt() has taken it */
	int r = 0;

	while (r == 0 && !ended && optind + 1 < argc && own_option(ctl->verb, argv[optind + 1])) {
		optind++;
		r = take_options(ctl, argc, argv);
		optind--;
		ended = strcmp(argv[optind], "--") == 0;
	}
	if (!ended && optind + 1 < argc && strcmp(argv[optind + 1], "--") == 0)
		optind++;
	argv[optind] = first;
	return r;
}

int verb_options(struct ctl *ctl, int argc, char **argv)
{
	int r;

	opterr = 0;
	optind = 0;
	r = take_options(ctl, argc, argv);
	if (r == 0 && ctl->verb->first && optind < argc)
		r = options_after_first(ctl, argc, argv);
	if (r)
		return r;
	ctl->args = argv + optind;
	ctl->count = argc - optind;
	return check_count(ctl);
}

void verb_help(FILE *to, const struct verb *verb)
{
	if (verb) {
		fprintf(to, "Usage: crewctl %s %s\n%s%s%s\n", verb->name, verb->usage, verb->help,
			verb->alias ? "; also: " : "", verb->alias ? verb->alias : "");
		return;
	}
	fputs("Usage: crewctl [-s SOCKET] [--json] VERB ...\n"
	      "Controls crewd. A NAME is a worker, a pool (all its workers), or a glob of "
	      "either.\n\n",
	      to);
	for (const struct verb *v = verbs; v->name; v++)
		fprintf(to, "  %-16s %s\n", v->name, v->help);
	fputs("\n  -s, --socket PATH  control socket\n      --json         one JSON document; "
	      "streams: an object a line\n"
	      "      --version, --help\n\ncrewctl help VERB tells more of one.\n",
	      to);
}

void verb_help_noun(FILE *to, const char *noun)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (is_of_noun(v, noun))
			fprintf(to, "Usage: crewctl %s %s\n       %s\n", v->name, v->usage,
				v->help);
}
