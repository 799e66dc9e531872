/* The interface texts (lib/\*.varlink), embedded at build. The files are the source of truth. */
#ifndef CREW_IDL_H
#define CREW_IDL_H

struct idl {
	const char *name; /* "io.crewd.Worker" */
	const char *text;
};
extern const struct idl idl_all[]; /* ends with name NULL; org.varlink.service first */

#endif
