#include <stdio.h>

#include "daemon/conf_read.h"
#include "daemon/conf_show.h"

/* Writes `before` ahead of the first piece and remembers that there was one. */
struct line {
	struct conf_sink sink;
	FILE *f;
	const char *indent, *name;
	bool begun;
};

static void line_put(struct conf_sink *sink, const char *text, size_t length)
{
	struct line *line = (struct line *)(void *)sink;

	if (!line->begun)
		fprintf(line->f, "%s%s = ", line->indent, line->name);
	line->begun = true;
	fwrite(text, 1, length, line->f);
}

static void print_keys(FILE *f, const struct conf *conf, const void *base, unsigned variant,
		       const struct conf_key *keys, unsigned count, const char *indent)
{
	for (unsigned i = 0; i < count; i++) {
		struct line line = { { line_put }, f, indent, keys[i].name, false };

		if (!conf_key_applies(&keys[i], variant))
			continue;
		conf_show(&line.sink, conf, base, &keys[i]);
		if (line.begun)
			fputc('\n', f);
	}
}

void conf_print(const struct conf *conf, void *f)
{
	print_keys(f, conf, conf, CONF_TASKS_NONE, conf_global_keys, CONF_GLOBAL_KEYS, "");
	for (uint32_t i = 0; i < conf->pool_count; i++) {
		const struct conf_pool *p = conf_pool_at(conf, i);

		if (p->is_template && p->module) /* it follows from its pool */
			continue;
		fprintf(f, "\n%s \"%s\" {\n", p->is_template ? "template" : "pool",
			conf_text(conf, p->name));
		print_keys(f, conf, p, conf_variant(p), conf_pool_keys, CONF_POOL_KEYS, "\t");
		fputs("}\n", f);
	}
	for (uint32_t i = 0; i < conf->queue_count; i++) {
		const struct conf_queue *q = conf_queue_at(conf, i);

		fprintf(f, "\nqueue \"%s\" {\n", conf_text(conf, q->name));
		print_keys(f, conf, q, q->kind, conf_queue_keys, CONF_QUEUE_KEYS, "\t");
		fputs("}\n", f);
	}
}
