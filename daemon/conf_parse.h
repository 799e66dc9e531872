/* The only module that knows libconfuse: it brings the strings to the places the scanner noted. */
#ifndef CREWD_CONF_PARSE_H
#define CREWD_CONF_PARSE_H

#include "daemon/conf_source.h"

/* `text`: what conf_scan() made of `file`; its pools and queues are those from number `first` on (of
 * each section) that say they come from `file`, the same pointer. */
void conf_parse(struct conf_source *src, const char *file, const char *text,
		const uint32_t first[CONF_SECTIONS]);

#endif
