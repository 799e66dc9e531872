#include "daemon/conf_place.h"

#include <stddef.h>
#include <sys/vfs.h>

/* statfs(2)'s f_type: NFS, SMB (three), FUSE, Ceph, 9P, AFS (two), Coda, autofs, GFS2, OCFS2, Lustre */
static const unsigned long may_hang[] = {
	0x6969,	    0x517b,	0xff534d42, 0xfe534d42, 0x65735546, 0x00c36400, 0x01021997,
	0x5346414f, 0x6b414653, 0x73757245, 0x0187,	0x01161970, 0x7461636f, 0x0bd00bd0,
};

bool conf_place_may_hang(const char *path)
{
	struct statfs fs;

	if (!path || statfs(path, &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof(may_hang) / sizeof(*may_hang); i++)
		if ((unsigned long)fs.f_type == may_hang[i])
			return true;
	return false;
}
