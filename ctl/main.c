/* crewctl: controls crewd. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/verbs.h"

enum { OPTION_JSON = 256, OPTION_VERSION, OPTION_HELP };
static const struct option options[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ NULL, 0, NULL, 0 },
};

/* What stands before the verb. -1: go on; else the exit code. */
static int global_options(struct ctl *ctl, int argc, char **argv)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+s:", options, NULL)) != -1)
		switch (option) {
		case 's':
			ctl->socket = optarg;
			break;
		case OPTION_JSON:
			ctl->json = true;
			break;
		case OPTION_VERSION:
			puts("crewctl " PACKAGE_VERSION);
			return ctl_finish(CREW_EXIT_OK);
		case OPTION_HELP:
			verb_help(stdout, NULL);
			return ctl_finish(CREW_EXIT_OK);
		default:
			return ctl_usage(ctl, "option %s is not known, or lacks its value",
					 argv[optind - 1]);
		}
	return -1;
}

/* Of the verb that the words are, or of all. */
static int help(char *const *argv, int argc)
{
	int words;
	const struct verb *v = argc ? verb_of(argv, argc, &words) : NULL;
	struct ctl none = { 0 };

	if (argc && !v && !verb_is_noun(argv[0]))
		return ctl_usage(&none, "no such verb: %s", argv[0]);
	if (argc && !v)
		verb_help_noun(stdout, argv[0]);
	else
		verb_help(stdout, v);
	return ctl_finish(CREW_EXIT_OK);
}

static int no_such_verb(const struct ctl *ctl, char *const *argv, int argc)
{
	if (!verb_is_noun(argv[0]))
		return ctl_usage(ctl, "no such verb: %s", argv[0]);
	if (argc == 1)
		return ctl_usage(ctl, "%s what? crewctl help %s tells", argv[0], argv[0]);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help(argv, 1);
	return ctl_usage(ctl, "no such verb: %s %s", argv[0], argv[1]);
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .timeout = -1, .lines = -1 };
	int r = global_options(&ctl, argc, argv), words;

	if (r >= 0)
		return r;
	argc -= optind;
	argv += optind;
	if (argc == 0)
		return ctl_usage(&ctl, "a verb is missing");
	if (strcmp(argv[0], "help") == 0)
		return help(argv + 1, argc - 1);
	ctl.verb = verb_of(argv, argc, &words);
	if (!ctl.verb)
		return no_such_verb(&ctl, argv, argc);
	argc -= words - 1;
	argv += words - 1;
	ctl.environment = calloc((size_t)argc + 1, sizeof(*ctl.environment));
	if (!ctl.environment)
		return CREW_EXIT_FAILED;
	r = verb_options(&ctl, argc, argv);
	if (r == 0)
		r = ctl.verb->run(&ctl);
	if (r == 0 && ctl.json && ctl.verb->quiet)
		puts("{}");
	free(ctl.environment);
	return ctl_finish(r);
}
