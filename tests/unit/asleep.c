#include "tests/unit/asleep.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/clock.h"

#define LONG  (30 * USEC_PER_SEC) /* only a mistake meets it */
#define PAUSE 200		  /* usec */

void wait_asleep(pid_t pid)
{
	char path[64], text[64];
	int64_t give_up = clock_now() + LONG;

	snprintf(path, sizeof(path), "/proc/%d/wchan", (int)pid);
	for (;;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		close(fd);
		text[n > 0 ? n : 0] = '\0';
		if (strstr(text, "futex"))
			return;
		assert_true(clock_now() < give_up);
		usleep(PAUSE);
	}
}
