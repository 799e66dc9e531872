#include "daemon/orphan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>
#include "daemon/crew.h"
#include "daemon/output.h"
#include "lib/clock.h"
#include "lib/log.h"

#define LOOK_AGAIN 20 /* ms */
#define GRACE	   USEC_PER_SEC

static bool at_end(int fd)
{
	char part[4096];
	ssize_t n;

	while ((n = read(fd, part, sizeof(part))) > 0)
		;
	return n == 0;
}

/* The byte needs room in the pipe, and an end to write to that this process has not got: /proc has. */
static void signal_owner(int fd, int sig)
{
	char path[64];
	int in;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	in = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (in < 0)
		return;
	fcntl(fd, F_SETSIG, sig);
	fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC);
	for (int i = 0; i < 100 && write(in, "\n", 1) < 0 && errno == EAGAIN; i++)
		at_end(fd);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	close(in);
}

/* At the end of file nobody holds the output: for all that can be known the worker has ended. One that only
 * closed its output is among those that get SIGKILL at last, after GRACE. Signals those that are there and whose time has come. Returns how many are left. */
static unsigned round_of(bool kill_now, int64_t since)
{
	unsigned left = 0;

	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++) {
		struct worker *w = crew_slot(i);
		int fd = w ? output_owner(w) : -1;

		if (fd < 0 || (at_end(fd) && !kill_now))
			continue;
		left++;
		if (kill_now || clock_now() - since >= w->pool->def->stop_timeout)
			signal_owner(fd, SIGKILL);
	}
	return left;
}

/* True if one of them may be there and not be seen to end. */
static bool stop_all(void)
{
	bool unseen = false;

	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++) {
		struct worker *w = crew_slot(i);

		if (!w || output_owner(w) < 0)
			continue;
		unseen |= output_fd(w) < 0;
		signal_owner(output_owner(w), w->pool->def->stop_signal);
	}
	return unseen;
}

static int64_t longest_timeout(void)
{
	int64_t longest = 0;

	for (unsigned i = 0; i < CREW_WORKERS_MAX; i++) {
		struct worker *w = crew_slot(i);

		if (w && w->pool->def->stop_timeout > longest)
			longest = w->pool->def->stop_timeout;
	}
	return longest;
}

void orphan_end_all(int cgroup_kill)
{
	int64_t since = clock_now(), until = since + longest_timeout() + GRACE;

	int64_t least = stop_all() ? since + GRACE : since;

	while (clock_now() < until && (round_of(false, since) || clock_now() < least))
		poll(NULL, 0, LOOK_AGAIN);
	round_of(true, since);
	if (cgroup_kill >= 0 && write(cgroup_kill, "1", 1) < 0)
		log_warning("manager", "cannot end what is left in the cgroups");
}
