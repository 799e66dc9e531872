/* Where a Redis is, as the configuration says it. */
#ifndef CREWD_REDIS_URL_H
#define CREWD_REDIS_URL_H

#include <stdint.h>

/* redis://HOST:PORT/DB or unix:///PATH?db=DB; HOST may be localhost, which is 127.0.0.1. */
struct redis_where {
	char host[46];	/* a numeric address; "": a socket */
	char path[108]; /* of the socket */
	uint16_t port;
	uint32_t db;
};
/* NULL, or what would be right. No name is ever looked up. */
const char *redis_where_read(const char *url, struct redis_where *where);

#endif
