/*
 * notify: what a service manager hands over, and is told (sd_notify(3), sd_listen_fds(3)).
 *
 * The protocol is a few words in the environment and datagrams of a few lines: less code than the
 * library for it would load into a daemon that stands in the network.
 */
#ifndef H2ECHOD_DAEMON_NOTIFY_H
#define H2ECHOD_DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    int fd; /* kept open, so that want of descriptors silences nobody; -1 = nobody is told */
    struct sockaddr_un address;
    socklen_t length;
    int64_t watchdog_us; /* the manager waits so long for WATCHDOG=1; 0 = it does not */
};

/*
 * notify_open(notify):
 * Find out from NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID who wants to be told what, and take
 * them out of the environment. What is wrong with them is logged, and nobody is told then. Before
 * the first thread starts.
 */
void notify_open(struct notify *notify);

/*
 * notify_send(notify, message):
 * Send ${message}, lines of NAME=VALUE, if somebody wants to be told; wait no longer than a second.
 * Return false with errno if that failed.
 */
bool notify_send(const struct notify *notify, const char *message);

/*
 * notify_close(notify):
 * Tell nobody any more.
 */
void notify_close(struct notify *notify);

/*
 * notify_take_sockets(first, count, names):
 * Let ${first} and ${count} be the descriptors that LISTEN_FDS hands to this process (LISTEN_PID),
 * one after the other, none of which is left to a program that it may run; none if there is no such
 * word. ${names} are those of LISTEN_FDNAMES, one for each with colons between them, for the caller
 * to free; NULL if they have none. The sockets are the caller's, who has to see what they are. The
 * words are taken out of the environment, before the first thread starts. Return 0, or log what is
 * wrong with them and return the process's exit code: 71 memory ran out, 78 otherwise.
 */
int notify_take_sockets(int *first, size_t *count, char **names);

#endif
