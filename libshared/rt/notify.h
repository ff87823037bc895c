/* SPDX-License-Identifier: Apache-2.0 */
/* Telling whoever started us how we are: a newline on a descriptor, systemd's datagram, or both. */
#ifndef QUORATE_NOTIFY_H
#define QUORATE_NOTIFY_H

/* Writes one newline to fd and closes it; -1: nobody asked. A failure is logged, no more. */
void notify_fd(int fd);

/*
 * One datagram to $NOTIFY_SOCKET, such as "READY=1" (sd_notify(3)). Nothing if it is not set.
 * ERR_OK or ERR_IO; never waits.
 */
int notify_manager(const char *state);

#endif
