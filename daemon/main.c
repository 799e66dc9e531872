/* crewd's command line; everything else is elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/conf_read.h"
#include "daemon/keeper/keeper.h"
#include "daemon/keeper/state.h"
#include "daemon/manager.h"
#include "lib/errors.h"

static const char usage[] =
	"Usage: crewd [-c FILE] [-s SOCKET] [-t [-v]]\n"
	"Supervises the worker pools that FILE describes; crewctl controls it.\n"
	"\n"
	"  -c, --config FILE  configuration (" SYSCONFDIR "/crewd/crewd.conf)\n"
	"  -s, --socket PATH  control socket, instead of the configuration's\n"
	"  -t, --test         check the configuration and exit\n"
	"  -v, --verbose      with -t: print the checked configuration\n"
	"      --version      print the version and exit\n"
	"      --help         print this and exit\n";

enum { OPTION_VERSION = 256, OPTION_HELP, OPTION_INTERNAL };
static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "socket", required_argument, NULL, 's' },
	{ "test", no_argument, NULL, 't' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "internal", required_argument, NULL, OPTION_INTERNAL },
	{ NULL, 0, NULL, 0 },
};

/* Descriptors 0 to 2 exist: nothing that is opened later may take their place. */
static void open_standard_fds(void)
{
	struct stat st;

	for (int fd = 0; fd <= 2; fd++)
		if (fstat(fd, &st) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(CREW_EXIT_FAILED);
}

static int test_config(const char *path, bool verbose)
{
	struct snapshot snap = { .fd = -1 };
	int r = start_read(path, &snap);

	if (r == 0 && verbose)
		conf_print(snap.conf, stdout);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "crewd: cannot write: %s\n", strerror(errno));
		return CREW_EXIT_FAILED;
	}
	return r;
}

static int internal(const char *what, const char *file)
{
	if (strcmp(what, "manager") == 0)
		return manager_main();
	if (strcmp(what, "reader") == 0 && file)
		return conf_reader_main(file);
	fputs("crewd: --internal is not for use by hand\n", stderr);
	return CREW_EXIT_USAGE;
}

static int usage_error(const char *what, const char *argument)
{
	fprintf(stderr, "crewd: %s%s; crewd --help tells what is right\n", what, argument);
	return CREW_EXIT_USAGE;
}

struct choice {
	struct keeper_options keeper;
	bool test, verbose;
	const char *internal;
	int exit; /* -1: go on */
};

static void take_option(int option, struct choice *c)
{
	switch (option) {
	case 'c':
		c->keeper.config = optarg;
		break;
	case 's':
		c->keeper.socket = optarg;
		break;
	case 't':
		c->test = true;
		break;
	case 'v':
		c->verbose = true;
		break;
	case OPTION_VERSION:
		c->exit = puts("crewd " PACKAGE_VERSION) < 0;
		break;
	case OPTION_HELP:
		c->exit = fputs(usage, stdout) < 0;
		break;
	case OPTION_INTERNAL:
		c->internal = optarg;
		break;
	default: /* getopt has said what is wrong */
		c->exit = CREW_EXIT_USAGE;
	}
}

int main(int argc, char **argv)
{
	struct choice c = { .keeper.config = SYSCONFDIR "/crewd/crewd.conf", .exit = -1 };
	static char name[] = "crewd";
	int option;

	open_standard_fds();
	argv[0] = name;
	while (c.exit < 0 && (option = getopt_long(argc, argv, "c:s:tv", options, NULL)) != -1)
		take_option(option, &c);
	if (c.exit >= 0)
		return c.exit;
	if (c.internal)
		return internal(c.internal, argv[optind]);
	if (optind < argc)
		return usage_error("unexpected argument ", argv[optind]);
	if (c.verbose && !c.test)
		return usage_error("-v goes with -t", "");
	if (c.test)
		return test_config(c.keeper.config, c.verbose);
	return keeper_main(&c.keeper);
}
