/* crew_template_loop(): lib/template.h, in the words of libcrew. */
#include "lib/template.h"

#include <errno.h>
#include "libcrew/api.h"

int crew_template_loop(void)
{
	struct template_worker worker;
	int r = template_serve(&worker);

	if (r >= 0)
		return r;
	return errno == EINVAL ? CREW_INVALID : errno == EPROTO ? CREW_PROTOCOL : CREW_SYSTEM;
}
