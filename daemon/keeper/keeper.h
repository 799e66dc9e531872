/*
 * The keeper: the process that was started as `crewd`, parent of every worker and of the manager.
 * It forks, reaps, signals and holds descriptors; it does not decide. After start it allocates
 * nothing.
 */
#ifndef CREWD_KEEPER_H
#define CREWD_KEEPER_H

struct keeper_options {
	const char *config; /* path */
	const char *socket; /* overrides the configuration's, or NULL */
};

/* Runs until crewd is told to end. Returns crewd's exit code (crewd(8)). */
int keeper_main(const struct keeper_options *options);

#endif
