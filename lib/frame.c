#include "lib/frame.h"

#include <errno.h>
#include <string.h>
#include "lib/bounds.h"

int frame_next(const struct buf *b, size_t *searched, const char **text, size_t *length)
{
	const char *begin, *end;

	if (*searched >= b->len)
		return 0;
	begin = buf_data(b);
	end = memchr(begin + *searched, '\0', b->len - *searched);
	if ((end ? (size_t)(end - begin) : b->len) > CREW_MESSAGE_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	if (!end) {
		*searched = b->len;
		return 0;
	}
	*text = begin;
	*length = (size_t)(end - begin);
	return 1;
}
