/* A worker's words about itself, by sd_notify(3)'s protocol, to whoever NOTIFY_SOCKET names. */
#ifndef CREW_NOTIFY_SEND_H
#define CREW_NOTIFY_SEND_H

/* 1: said. 0: nobody wants to hear, NOTIFY_SOCKET is not set. -1 with errno: EINVAL, it names neither a path nor an
 * abstract socket; EAGAIN, it has not been taken within 5 s; of connecting and sending. Waits that long. */
int notify_send(const char *text);

#endif
