#include "daemon/slice.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORTEST     100000 /* ns, the least that there is */
#define RESET_FORKED 1	    /* SCHED_FLAG_RESET_ON_FORK */

/* As sched_setattr(2) has it; the C library of Debian 12 has neither. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void slice_make_short(void)
{
	struct attributes a = { .size = sizeof(a),
				.policy = SCHED_OTHER,
				.flags = RESET_FORKED,
				.runtime = SHORTEST };

	errno = 0;
	a.nice = getpriority(PRIO_PROCESS, 0);
	/* A negative niceness would not be inherited either. */
	if (errno || a.nice < 0 || sched_getscheduler(0) != SCHED_OTHER)
		return;
	syscall(SYS_sched_setattr, 0, &a, 0u);
}
