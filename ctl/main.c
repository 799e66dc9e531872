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

static int help(const char *name)
{
	const struct verb *v = name ? verb_find(name) : NULL;
	struct ctl none = { 0 };

	if (name && !v)
		return ctl_usage(&none, "no such verb: %s", name);
	verb_help(stdout, v);
	return ctl_finish(CREW_EXIT_OK);
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .timeout = -1, .lines = -1 };
	int r = global_options(&ctl, argc, argv);

	if (r >= 0)
		return r;
	argc -= optind;
	argv += optind;
	if (argc == 0)
		return ctl_usage(&ctl, "a verb is missing");
	if (strcmp(argv[0], "help") == 0)
		return help(argv[1]);
	ctl.verb = verb_find(argv[0]);
	if (!ctl.verb)
		return ctl_usage(&ctl, "no such verb: %s", argv[0]);
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
