/* The keeper's validator: any bytes it takes can be used to their last string. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf_plan.h"
#include "daemon/conf_read.h"
#include "lib/bounds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sum; /* so that what is read has to be */

static void use(const struct conf *conf)
{
	FILE *f = fopen("/dev/null", "w");

	if (!f)
		abort();
	conf_print(conf, f);
	fclose(f);
	for (uint32_t i = 0; i < conf->pool_count; i++) {
		const struct conf_pool *p = conf_pool_at(conf, i);

		sum += conf_process_hash(conf, p);
		for (uint32_t j = 0; j < p->limit_count; j++)
			sum += conf_limits(conf, p)[j].hard;
		for (uint32_t j = 0; p->identity.uid != CONF_NO_ID && j < p->identity.group_count;
		     j++)
			sum += conf_groups(conf, &p->identity)[j];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *block;

	if (size < sizeof(*block) || size > 65536)
		return 0;
	block = aligned_alloc(8, (size + 7) & ~(size_t)7);
	if (!block)
		abort();
	memcpy(block, data, size);
	/* What no fuzzer needs to find out. */
	block->magic = CONF_MAGIC;
	block->version = CONF_VERSION;
	block->size = (uint32_t)size;
	if (conf_valid(block, size))
		use(block);
	free(block);
	return 0;
}
