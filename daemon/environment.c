#include "daemon/environment.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "lib/bounds.h"

#define VARIABLES_MAX (2 * CREW_ARGS_MAX)

static char *vector[VARIABLES_MAX + 1];
static unsigned count;
static char texts[16384];
static size_t used;

/* Said of crewd itself, by systemd or by another crewd; its workers would take it for theirs. */
static const char *const of_itself[] = {
	"CREW_TASKS",
	"NOTIFY_SOCKET",
	"LISTEN_PID",
	"LISTEN_FDS",
	"LISTEN_FDNAMES",
	"WATCHDOG_USEC",
	"WATCHDOG_PID",
	"INVOCATION_ID",
	"JOURNAL_STREAM",
	"MAINPID",
	"MANAGERPID",
	"SYSTEMD_EXEC_PID",
	"CREDENTIALS_DIRECTORY",
	"STATE_DIRECTORY",
	"RUNTIME_DIRECTORY",
	"LOGS_DIRECTORY",
	"CACHE_DIRECTORY",
	"CONFIGURATION_DIRECTORY",
	"MEMORY_PRESSURE_WATCH",
	"MEMORY_PRESSURE_WRITE",
	"FDSTORE",
	NULL,
};
static const char *const of_clean[] = { "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", NULL };

static bool listed(const char *pair, const char *const *names)
{
	size_t len = strcspn(pair, "=");

	for (; *names; names++)
		if (strlen(*names) == len && strncmp(*names, pair, len) == 0)
			return true;
	return false;
}

bool environment_put(const char *pair)
{
	size_t len = strcspn(pair, "=") + 1;
	unsigned i = 0;

	while (i < count && strncmp(vector[i], pair, len) != 0)
		i++;
	if (i == VARIABLES_MAX)
		return false;
	vector[i] = (char *)(uintptr_t)pair;
	count += i == count;
	return true;
}

bool environment_set(const char *name, const char *value)
{
	size_t left = sizeof(texts) - used;
	int n = value ? snprintf(texts + used, left, "%s=%s", name, value) : 0;

	if (!value)
		return true;
	if (n < 0 || (size_t)n >= left || !environment_put(texts + used))
		return false;
	used += (size_t)n + 1;
	return true;
}

const char *environment_get(const char *name)
{
	size_t len = strlen(name);

	for (unsigned i = 0; i < count; i++)
		if (strncmp(vector[i], name, len) == 0 && vector[i][len] == '=')
			return vector[i] + len + 1;
	return NULL;
}

bool environment_begin(bool clean)
{
	bool ok = true;

	count = 0;
	used = 0;
	memset(vector, 0, sizeof(vector));
	for (char **e = environ; *e; e++)
		if (clean ? listed(*e, of_clean) : !listed(*e, of_itself))
			ok = ok && environment_put(*e);
	if (!environment_get("PATH"))
		ok = ok &&
		     environment_put(
			     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	return ok;
}

char *const *environment_vector(void)
{
	return vector;
}
