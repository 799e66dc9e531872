/* Where programs and directories lie. Asked by the reader, which may wait for as long as it takes. */
#ifndef CREWD_CONF_PLACE_H
#define CREWD_CONF_PLACE_H

#include <stdbool.h>

/* On a file system that may hang: one of the network, or one that another process serves. */
bool conf_place_may_hang(const char *path); /* NULL: no */

#endif
