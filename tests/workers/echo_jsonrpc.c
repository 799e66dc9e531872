/* A worker for tasks = "jsonrpc", as fast as one can be: the result of every method is its params, null without
 * any. It looks for the members it needs and trusts the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static const char *skip_string(const char *s)
{
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s + 1 : s;
}

/* Past one value. */
static const char *skip_value(const char *s)
{
	int depth = 0;

	while (*s) {
		if (*s == '"') {
			s = skip_string(s);
			continue;
		}
		if (depth == 0 && strchr(",}]", *s))
			break;
		depth += strchr("[{", *s) != NULL;
		depth -= strchr("]}", *s) != NULL;
		s++;
	}
	return s;
}

/* The value of a member of the object at `s`; NULL: there is none. */
static const char *member(const char *s, const char *key, size_t *len)
{
	size_t size = strlen(key);

	s = strchr(s, '{');
	while (s && *s && *s != '}') {
		const char *name = s + 1 + strspn(s + 1, " \t"), *value, *end;

		if (*name != '"')
			return NULL;
		value = skip_string(name);
		value += strspn(value, " \t:");
		end = skip_value(value);
		if (strncmp(name + 1, key, size) == 0 && name[1 + size] == '"') {
			*len = (size_t)(end - value);
			return value;
		}
		s = end;
	}
	return NULL;
}

int main(void)
{
	size_t cap = 0, id_len, params_len;
	char *line = NULL;

	while (getline(&line, &cap, stdin) > 0) {
		const char *id = member(line, "id", &id_len);
		const char *params = member(line, "params", &params_len);

		if (!id) /* a notification has no answer */
			continue;
		printf("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":%.*s}\n", (int)id_len, id,
		       params ? (int)params_len : 4, params ? params : "null");
		fflush(stdout);
	}
	free(line);
	return ferror(stdin) != 0;
}
