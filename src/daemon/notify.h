/*
 * notify: the protocol of a service manager such as systemd: messages to it (sd_notify(3)), and
 * sockets from it (sd_listen_fds(3)).
 *
 * It consists of environment variables and datagrams of a few lines, so there is no need for
 * libsystemd, which would be much code in a process that faces the network.
 */
#ifndef H2ECHOD_DAEMON_NOTIFY_H
#define H2ECHOD_DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    int fd; /* kept open, so that a lack of descriptors does not matter; -1 = no service manager */
    struct sockaddr_un address;
    socklen_t length;
    int64_t watchdog_us; /* how often the manager has to get WATCHDOG=1; 0 = never */
};

/*
 * notify_open(notify):
 * Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and remove them from the environment. If
 * their values are wrong, log a warning and do without. Call it before the first thread is created.
 */
void notify_open(struct notify *notify);

/*
 * notify_send(notify, message):
 * Send ${message}, lines of NAME=VALUE, if there is a service manager; it takes a second at most.
 * Return false with errno if that fails.
 */
bool notify_send(const struct notify *notify, const char *message);

/*
 * notify_close(notify):
 * Close the socket; notify_send does nothing from then on.
 */
void notify_close(struct notify *notify);

/*
 * notify_take_sockets(first, count, names):
 * Find the sockets that LISTEN_FDS and LISTEN_PID pass to this process: ${count} descriptors from
 * ${first} on, which the caller owns and has to check; 0 if there are none. They are closed on
 * exec.
 * ${names} becomes a copy of LISTEN_FDNAMES, one name for each with colons between them, for the
 * caller to free; NULL if it is not set. The variables are removed from the environment, so call it
 * before the first thread is created. Return 0, or log the error and return the process's exit
 * code: 71 memory ran out, 78 otherwise.
 */
int notify_take_sockets(int *first, size_t *count, char **names);

#endif
