#include "lib/errors.h"

#include <stddef.h>
#include <string.h>

static const struct {
	const char *name;
	int exit;
} errors[CREW_ERROR_COUNT] = {
#define X(id, varlink, code) [CREW_ERROR_##id] = { .name = varlink, .exit = code },
	CREW_ERRORS(X)
#undef X
};

const char *crew_error_name(enum crew_error e)
{
	return errors[e].name;
}

int crew_error_exit(const char *varlink_name)
{
	for (int i = 1; i < CREW_ERROR_COUNT; i++)
		if (strcmp(errors[i].name, varlink_name) == 0)
			return errors[i].exit;
	return CREW_EXIT_FAILED;
}
