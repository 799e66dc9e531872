/* The whole reader, from bytes to block: whatever it takes is valid, and is the same after it was
 * printed and read again. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/conf_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf *read_bytes(const void *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct conf_errors e = { 0 };
	struct conf *conf;
	size_t block = 0;
	char path[64];

	assert(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf = conf_read(path, false, &block, &e);
	close(fd);
	assert(conf ? e.count == 0 && conf_valid(conf, block) : e.count > 0 && e.text);
	conf_errors_free(&e);
	return conf;
}

static char *print(const struct conf *conf, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	assert(f);
	conf_print(conf, f);
	assert(fclose(f) == 0);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf;
	size_t once_size, twice_size;
	char *once, *twice;

	/* Other files are not this program's to read, and slow. */
	if (memmem(data, size, "include", 7))
		return 0;
	conf = read_bytes(data, size);
	if (!conf)
		return 0;
	once = print(conf, &once_size);
	free(conf);
	conf = read_bytes(once, once_size);
	assert(conf);
	twice = print(conf, &twice_size);
	assert(once_size == twice_size && memcmp(once, twice, once_size) == 0);
	free(conf);
	free(once);
	free(twice);
	return 0;
}
