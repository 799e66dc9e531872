#include "daemon/conf_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/conf_check.h"
#include "daemon/conf_file.h"
#include "daemon/conf_module.h"
#include "daemon/conf_parse.h"
#include "daemon/conf_place.h"
#include "daemon/conf_scan.h"
#include "lib/bounds.h"
#include "lib/errors.h"
#include "lib/log.h"

#define DEPTH_MAX 8	      /* files that include one another */
#define CPU_MAX	  5	      /* seconds */
#define AS_MAX	  (512 << 20) /* bytes */

/* A sanitizer's shadow is larger than any sensible bound of memory. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED
#endif

/* ---- files ------------------------------------------------------------------------------------ */

/* A file being read, and the one that included it. */
struct reading {
	struct conf_source *src;
	bool as_root;
	unsigned depth;
	const char *file; /* the pointer tells apart what came from one reading */
	unsigned line;	  /* of the include that is being followed */
};

static void read_file(struct reading *parent, const char *path);

static void on_path(const char *path, void *arg)
{
	read_file(arg, path);
}

static void on_include(const char *pattern, unsigned line, void *arg)
{
	struct reading *r = arg;

	r->line = line;
	conf_file_expand(r->src, pattern, r->file, line, on_path, r);
}

static bool may_include(const struct reading *r)
{
	const char *why = NULL;

	if (r->depth >= DEPTH_MAX)
		why = "nested too deep; does a file include itself?";
	else if (r->src->files >= CREW_CONF_FILES_MAX)
		why = "too many files";
	if (!why)
		return true;
	if (!r->src->broken)
		conf_errors_add(r->src->errors, r->file, r->line, "include: %s", why);
	r->src->broken = true;
	return false;
}

static void read_file(struct reading *parent, const char *path)
{
	struct reading r = { parent->src, parent->as_root, parent->depth + 1, NULL, 0 };
	struct conf_scan scan = { r.src, NULL, on_include, &r };
	uint32_t first[CONF_SECTIONS];
	char *text, *clean;
	size_t size;

	if (!may_include(parent))
		return;
	for (int i = 0; i < CONF_SECTIONS; i++)
		first[i] = r.src->in[i].count;
	r.src->files++;
	scan.file = r.file = conf_source_copy(r.src, path, strlen(path));
	if (!r.file)
		return;
	text = conf_file_read(r.src, path, r.as_root, parent->file, parent->line, &size);
	clean = text ? conf_scan(&scan, text, size) : NULL;
	if (clean)
		conf_parse(r.src, r.file, clean, first);
}

/* ---- from what was written to the block --------------------------------------------------------- */

/* `word` and `name`: of the section; word NULL for global keys. */
struct place {
	const char *word, *name;
};

static void complain(struct conf_source *src, struct place at, const struct conf_given *given,
		     const char *why)
{
	if (!at.word)
		conf_errors_add(src->errors, given->file, given->line, "%s", why);
	else
		conf_errors_add(src->errors, given->file, given->line, "%s \"%s\": %s", at.word,
				at.name, why);
}

/* A list is refused for its first wrong item: here all of them are told. True: there is one that is
 * wrong by itself. What is right among them does no harm, as nothing of the block is used any more. */
static bool complain_of_items(struct conf_source *src, struct conf_build *b, uint32_t index,
			      const struct conf_key *key, const struct conf_given *given,
			      struct place at)
{
	bool any = false;

	if (key->type != CONF_TYPE_ENVIRONMENT && key->type != CONF_TYPE_LIMITS &&
	    key->type != CONF_TYPE_CODES)
		return false;
	for (uint32_t i = 0; i < given->values.count; i++) {
		struct conf_values one = { 1, &given->values.items[i] };
		char why[512];

		if (conf_value_set(b, index, key, one, why, sizeof(why)) || !*why)
			continue;
		complain(src, at, given, why);
		any = true;
	}
	return any;
}

static void set_keys(struct conf_source *src, struct conf_build *b, uint32_t index,
		     const struct conf_key *keys, unsigned count, const struct conf_given *given,
		     struct place at)
{
	for (unsigned k = 0; k < count; k++) {
		char why[512];

		/* No strings: its file was not understood, which was said. */
		if (!given[k].line || !given[k].values.items ||
		    conf_value_set(b, index, &keys[k], given[k].values, why, sizeof(why)) ||
		    given[k].inherited || !*why)
			continue;
		if (!complain_of_items(src, b, index, &keys[k], &given[k], at))
			complain(src, at, &given[k], why);
	}
}

static void fill_pools(struct conf_source *src, struct conf_build *b)
{
	uint8_t log = log_is_journal() ? CONF_LOG_JOURNAL : CONF_LOG_INHERIT;
	const char *last = NULL;
	conf_off file = 0;

	for (uint32_t i = 0; i < conf_source_pools(src); i++) {
		const struct conf_entry *p = conf_source_pool(src, i);
		conf_off name = conf_build_text(b, p->name);

		if (p->file != last)
			file = conf_build_text(b, p->file);
		last = p->file;
		conf_build_pool(b, i)->name = name;
		conf_build_pool(b, i)->file = file;
		conf_build_pool(b, i)->line = p->line;
		conf_build_pool(b, i)->log = log;
		conf_build_pool(b, i)->is_template = p->is_template;
		set_keys(src, b, i, conf_pool_keys, CONF_POOL_KEYS, p->keys,
			 (struct place){ p->is_template ? "template" : "pool", p->name });
	}
}

static void fill_queues(struct conf_source *src, struct conf_build *b)
{
	const char *last = NULL;
	conf_off file = 0;

	for (uint32_t i = 0; i < src->in[CONF_SECTION_QUEUE].count; i++) {
		const struct conf_entry *q = &src->in[CONF_SECTION_QUEUE].at[i];
		conf_off name = conf_build_text(b, q->name);

		if (q->file != last)
			file = conf_build_text(b, q->file);
		last = q->file;
		conf_build_queue(b, i)->name = name;
		conf_build_queue(b, i)->file = file;
		conf_build_queue(b, i)->line = q->line;
		set_keys(src, b, i, conf_queue_keys, CONF_QUEUE_KEYS, q->keys,
			 (struct place){ "queue", q->name });
	}
}

/* `variable`/`rest`, or 0 when the environment does not say. */
static conf_off below(struct conf_build *b, const char *variable, const char *rest)
{
	const char *base = getenv(variable);
	char path[4096];

	if (!base || *base != '/' ||
	    snprintf(path, sizeof(path), "%s/%s", base, rest) >= (int)sizeof(path))
		return 0;
	return conf_build_text(b, path);
}

static void fill_paths(struct conf_build *b, bool as_root)
{
	conf_off socket, state;

	if (as_root) {
		socket = conf_build_text(b, "/run/crewd/control");
		state = conf_build_text(b, "/var/lib/crewd");
	} else {
		socket = below(b, "XDG_RUNTIME_DIR", "crewd/control");
		state = below(b, "XDG_STATE_HOME", "crewd");
		if (!state)
			state = below(b, "HOME", ".local/state/crewd");
	}
	conf_build_head(b)->socket = socket;
	conf_build_head(b)->state_dir = state;
}

/* Programs that are looked for along PATH are taken to be near. */
static void find_places(const struct conf_source *src, struct conf_build *b)
{
	for (uint32_t i = 0; i < conf_source_pools(src); i++) {
		const struct conf *head = conf_build_head(b);
		struct conf_pool *p = conf_build_pool(b, i);
		const char *program = p->command.count ? conf_item(head, p->command, 0) : "";

		p->may_hang = conf_place_may_hang(conf_text(head, p->directory)) ||
			      (strchr(program, '/') && conf_place_may_hang(program));
	}
}

static struct conf_build *build(struct conf_source *src, const char *path, bool as_root)
{
	struct conf_build *b =
		conf_build_new(conf_source_pools(src), src->in[CONF_SECTION_QUEUE].count);
	conf_off file;

	if (!b) {
		conf_errors_add(src->errors, path, 1, "out of memory");
		return NULL;
	}
	file = conf_build_text(b, path);
	conf_build_head(b)->file = file;
	fill_paths(b, as_root);
	set_keys(src, b, CONF_VALUE_GLOBAL, conf_global_keys, CONF_GLOBAL_KEYS, src->globals,
		 (struct place){ NULL, NULL });
	fill_pools(src, b);
	fill_queues(src, b);
	/* Of a file that could not be read to its end, half would look wrong. */
	if (!src->broken && !conf_build_error(b)) {
		conf_check(src, b);
		conf_check_identities(src, b, as_root);
		conf_module_fill(src, b);
		conf_check_templates(src, b);
		find_places(src, b);
	}
	return b;
}

/* The block, if all of it is there and nothing was wrong. Frees the builder. */
static struct conf *finish(struct conf_build *b, struct conf_errors *e, const char *path,
			   size_t *size)
{
	struct conf *block;

	if (e->count > 0 || !b) {
		conf_build_free(b);
		return NULL;
	}
	block = conf_build_finish(b, size);
	if (!block)
		conf_errors_add(e, path, 1, "%s",
				errno == EFBIG ? "the configuration is too large: more than 16 MiB "
						 "once everything inherited is in its place"
					       : "out of memory");
	return block;
}

struct conf *conf_read(const char *path, bool as_root, size_t *size, struct conf_errors *e)
{
	struct conf_source src = { .errors = e };
	struct reading top = { &src, as_root, 0, path, 0 };
	struct conf *block;

	read_file(&top, path);
	if (!src.broken) {
		conf_check_inherit(&src);
		conf_module_expand(&src);
	}
	block = finish(build(&src, path, as_root), e, path, size);
	conf_source_free(&src);
	conf_errors_end(e, path);
	return block;
}

/* ---- the reader process ------------------------------------------------------------------------- */

/* What defaults depend on is kept; nothing else of the environment can reach the values. */
static int empty_environment(void)
{
	static const char *const names[] = { "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME" };
	enum { COUNT = sizeof(names) / sizeof(*names) };
	char *values[COUNT];
	int r;

	for (int i = 0; i < COUNT; i++) {
		const char *value = getenv(names[i]);
		values[i] = value ? strdup(value) : NULL;
	}
	r = clearenv();
	for (int i = 0; i < COUNT; i++) {
		if (values[i] && setenv(names[i], values[i], 1) < 0)
			r = -1;
		free(values[i]);
	}
	return r;
}

static void limit_self(void)
{
	struct rlimit cpu = { CPU_MAX, CPU_MAX }, core = { 0, 0 };

	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &core);
#ifndef SANITIZED
	struct rlimit as = { AS_MAX, AS_MAX };
	setrlimit(RLIMIT_AS, &as);
#endif
}

static int write_all(int fd, const void *data, size_t size)
{
	for (const char *p = data; size > 0;) {
		ssize_t n = write(fd, p, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int conf_reader_main(const char *path)
{
	struct conf_errors errors = { 0 };
	struct conf *block;
	size_t size = 0;
	bool ok;

	log_init(); /* while JOURNAL_STREAM can be seen */
	limit_self();
	if (empty_environment() < 0)
		return CREW_EXIT_CONFIG;
	block = conf_read(path, geteuid() == 0, &size, &errors);
	ok = block != NULL;
	if (errors.text && write_all(4, errors.text, errors.len) < 0)
		ok = false;
	if (ok && write_all(3, block, size) < 0)
		ok = false;
	free(block);
	conf_errors_free(&errors);
	return ok ? 0 : CREW_EXIT_CONFIG;
}
