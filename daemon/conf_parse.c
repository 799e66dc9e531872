#include "daemon/conf_parse.h"

#include <confuse.h>
#include <stdio.h>
#include <string.h>

/* libconfuse hands its error function nothing of ours. */
static struct {
	struct conf_errors *errors;
	const char *file;
} current;

static void on_error(cfg_t *cfg, const char *format, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, ap);
	conf_errors_add(current.errors, current.file, cfg ? (unsigned)cfg->line : 0, "%s", text);
}

/* Everything is a string to libconfuse: its numbers take 010 for 8 and -1 for a large one. */
static void declare(const struct conf_key *keys, unsigned count, cfg_opt_t *options)
{
	for (unsigned i = 0; i < count; i++) {
		if (conf_key_is_list(&keys[i]))
			options[i] = (cfg_opt_t)CFG_STR_LIST(keys[i].name, NULL, CFGF_NODEFAULT);
		else
			options[i] = (cfg_opt_t)CFG_STR(keys[i].name, NULL, CFGF_NODEFAULT);
	}
}

static bool fetch(struct conf_source *src, cfg_t *section, const char *name,
		  struct conf_given *given)
{
	unsigned count = cfg_size(section, name);
	const char **items = conf_source_take(src, (count + 1) * sizeof(*items));

	if (!items)
		return false;
	for (unsigned i = 0; i < count; i++) {
		const char *text = cfg_getnstr(section, name, i);
		items[i] = conf_source_copy(src, text ? text : "", text ? strlen(text) : 0);
		if (!items[i])
			return false;
	}
	given->values = (struct conf_values){ count, items };
	return true;
}

/* The strings of each key that the scanner saw in `file`. */
static bool fetch_all(struct conf_source *src, cfg_t *section, const struct conf_key *keys,
		      unsigned count, struct conf_given *given, const char *file)
{
	for (unsigned i = 0; i < count; i++) {
		if (!given[i].line || given[i].file != file)
			continue;
		if (!fetch(src, section, keys[i].name, &given[i]))
			return false;
		if (given[i].values.count != 0 || conf_key_is_list(&keys[i]))
			continue;
		conf_errors_add(src->errors, file, given[i].line, "%s has no value", keys[i].name);
		given[i].line = 0;
	}
	return true;
}

static bool fetch_section(struct conf_source *src, cfg_t *cfg, const char *file,
			  enum conf_section section, uint32_t first)
{
	const struct conf_section_row *row = &conf_sections[section];
	enum conf_section place = conf_source_place(section);
	bool is_template = section == CONF_SECTION_TEMPLATE;
	unsigned n = 0;

	for (uint32_t i = first; i < src->in[place].count; i++) {
		struct conf_entry *entry = &src->in[place].at[i];
		cfg_t *found;

		if (entry->file != file || entry->is_template != is_template)
			continue;
		found = cfg_getnsec(cfg, row->word, n++);
		if (!found || strcmp(cfg_title(found), entry->name) != 0) {
			conf_errors_add(src->errors, file, entry->line,
					"%s \"%s\" was not understood", row->word, entry->name);
			return false;
		}
		if (!fetch_all(src, found, row->keys, row->key_count, entry->keys, file))
			return false;
	}
	return true;
}

static bool fetch_sections(struct conf_source *src, cfg_t *cfg, const char *file,
			   const uint32_t first[CONF_SECTIONS])
{
	for (enum conf_section s = 0; s < CONF_SECTIONS; s++)
		if (!fetch_section(src, cfg, file, s, first[conf_source_place(s)]))
			return false;
	return true;
}

void conf_parse(struct conf_source *src, const char *file, const char *text,
		const uint32_t first[CONF_SECTIONS])
{
	cfg_opt_t pool[CONF_POOL_KEYS + 1] = { [CONF_POOL_KEYS] = CFG_END() };
	cfg_opt_t queue[CONF_QUEUE_KEYS + 1] = { [CONF_QUEUE_KEYS] = CFG_END() };
	cfg_opt_t template[CONF_POOL_KEYS + 1] = { [CONF_POOL_KEYS] = CFG_END() };
	cfg_opt_t top[CONF_GLOBAL_KEYS + 4] = {
		[CONF_GLOBAL_KEYS] = CFG_SEC("pool", pool, CFGF_MULTI | CFGF_TITLE),
		[CONF_GLOBAL_KEYS + 1] = CFG_SEC("queue", queue, CFGF_MULTI | CFGF_TITLE),
		[CONF_GLOBAL_KEYS + 2] = CFG_SEC("template", template, CFGF_MULTI | CFGF_TITLE),
		[CONF_GLOBAL_KEYS + 3] = CFG_END(),
	};
	bool ok = false;
	cfg_t *cfg;

	declare(conf_pool_keys, CONF_POOL_KEYS, pool);
	declare(conf_pool_keys, CONF_POOL_KEYS, template);
	declare(conf_queue_keys, CONF_QUEUE_KEYS, queue);
	declare(conf_global_keys, CONF_GLOBAL_KEYS, top);
	current.errors = src->errors;
	current.file = file;
	cfg = cfg_init(top, CFGF_NONE);
	if (cfg) {
		cfg_set_error_function(cfg, on_error);
		ok = cfg_parse_buf(cfg, text) == CFG_SUCCESS &&
		     fetch_all(src, cfg, conf_global_keys, CONF_GLOBAL_KEYS, src->globals, file) &&
		     fetch_sections(src, cfg, file, first);
		cfg_free(cfg);
	}
	if (ok)
		return;
	if (src->errors->count == 0)
		conf_errors_add(src->errors, file, 0, "could not be parsed: %s",
				cfg ? "libconfuse refused it" : "no memory");
	src->broken = true;
}
