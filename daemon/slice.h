/*
 * How long this process may run at a time, to the scheduler. crewd has little to do at a time, and those it starts are
 * waited for while it waits: with a short slice it comes on as soon as there is something, in the middle of a
 * worker's slice instead of at its end.
 */
#ifndef CREWD_SLICE_H
#define CREWD_SLICE_H

/* For this process and not for those that it starts. It gets no larger share of the processor by that. Kernels before
 * 6.12 take no notice; nothing is done for one that was started with a priority or policy of its own. */
void slice_make_short(void);

#endif
