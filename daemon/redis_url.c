#include "daemon/redis_url.h"

#include <arpa/inet.h>
#include <string.h>
#include "lib/text.h"

#define PORT	  6379
#define DB_MAX	  1000000
#define RIGHT_URL "must be redis://HOST:PORT/DB with a numeric address, or unix:///PATH?db=DB"

static bool read_db(const char *text, uint32_t *db)
{
	int64_t n;

	if (!*text)
		return true;
	if (text_int(text, &n) < 0 || n < 0 || n > DB_MAX)
		return false;
	*db = (uint32_t)n;
	return true;
}

static const char *read_socket(const char *rest, struct redis_where *where)
{
	size_t len = strcspn(rest, "?");

	if (*rest != '/' || len < 2 || len >= sizeof(where->path))
		return "must be unix:///PATH?db=DB, PATH of at most 107 characters";
	memcpy(where->path, rest, len);
	if (rest[len] && (strncmp(rest + len, "?db=", 4) != 0 || !rest[len + 4] ||
			  !read_db(rest + len + 4, &where->db)))
		return "behind the path, only ?db=DB may stand, DB a number";
	return NULL;
}

static bool is_address(const char *host)
{
	unsigned char space[16];

	return inet_pton(AF_INET, host, space) == 1 || inet_pton(AF_INET6, host, space) == 1;
}

/* HOST, [HOST]; what is behind it, or NULL. */
static const char *read_host(const char *rest, struct redis_where *where)
{
	bool bracket = *rest == '[';
	const char *host = rest + bracket;
	size_t len = strcspn(host, bracket ? "]" : ":/");

	if (len == 0 || len >= sizeof(where->host) || (bracket && host[len] != ']'))
		return NULL;
	memcpy(where->host, host, len);
	return host + len + bracket;
}

static const char *read_net(const char *rest, struct redis_where *where)
{
	char port[8] = "";
	size_t len;
	int64_t n = PORT;

	if (strchr(rest, '@'))
		return "must be without user and password: there are the keys user and "
		       "password-file";
	rest = read_host(rest, where);
	if (rest && strcmp(where->host, "localhost") == 0) /* a name that needs no looking up */
		strcpy(where->host, "127.0.0.1");
	if (!rest || !is_address(where->host))
		return "must be redis://HOST:PORT/DB, HOST a numeric address or localhost: names "
		       "are not looked up";
	if (*rest == ':') {
		len = strcspn(++rest, "/");
		if (len == 0 || len >= sizeof(port))
			return RIGHT_URL;
		memcpy(port, rest, len);
		rest += len;
		if (text_int(port, &n) < 0 || n < 1 || n > 65535)
			return "must have a port from 1 to 65535";
	}
	where->port = (uint16_t)n;
	if (*rest && (*rest != '/' || !read_db(rest + 1, &where->db)))
		return RIGHT_URL;
	return NULL;
}

const char *redis_where_read(const char *url, struct redis_where *where)
{
	memset(where, 0, sizeof(*where));
	if (strncmp(url, "unix://", 7) == 0)
		return read_socket(url + 7, where);
	if (strncmp(url, "redis://", 8) == 0)
		return read_net(url + 8, where);
	return RIGHT_URL;
}
