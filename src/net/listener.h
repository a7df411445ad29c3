/*
 * listener: the listening sockets, opened here or inherited from a service manager.
 *
 * Only this code calls bind and listen. Errors are logged here, together with what to do, and
 * reported to the caller as an exit code.
 */
#ifndef H2ECHOD_NET_LISTENER_H
#define H2ECHOD_NET_LISTENER_H

#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LISTENER_NO_PORT = 65536 };

/* Where to listen. */
struct listener_options {
    uint64_t port;   /* 0 = any free port, the same for every address */
    char **address;  /* NULL-terminated list of names and addresses; NULL = all addresses */
    char *unix_path; /* NULL = no Unix socket */
    uint64_t unix_mode;
    bool reuse_port;
    uint64_t tls_port; /* as port, or LISTENER_NO_PORT */
};

struct listener {
    int fd; /* owned; non-blocking. Connections accepted from a TCP socket have TCP_NODELAY set */
    struct address address;
    bool is_tls;
};

struct listeners {
    struct listener *list; /* owned */
    size_t count;
    char *unix_path; /* owned: the socket file, which listeners_close removes; NULL = none */
    bool inherited;  /* from a service manager: the settings about listening do not apply */
};

/*
 * listeners_open(options, listeners):
 * Open a socket for every address in ${options}, and log each. Return 0 and fill ${listeners}, to
 * be closed by listeners_close; or log the reason, leave nothing open and return the exit code of
 * the process: EX_UNAVAILABLE (69) = address in use or not available, EX_OSERR (71) = the system
 * refused, EX_NOPERM (77) = no permission.
 */
int listeners_open(const struct listener_options *options, struct listeners *listeners);

/*
 * listeners_inherit(first, count, names, listeners):
 * Take ownership of ${count} listening sockets, starting with descriptor ${first}. The service
 * manager keeps listening on them, so no file will be removed. ${names} is the value of
 * LISTEN_FDNAMES, one name for each socket separated by colons, or NULL: a socket named "tls" is
 * for TLS. Log each. Return 0 and fill ${listeners}, to be closed by listeners_close; or log the
 * reason, leave it empty and return the exit code of the process: EX_OSERR (71) = the system
 * refused, EX_CONFIG (78) = not a listening stream socket for TCP or a Unix socket.
 */
int listeners_inherit(int first, size_t count, const char *names, struct listeners *listeners);

/*
 * listeners_close(listeners):
 * Close every socket and remove the file of the Unix socket. Calling it again does nothing.
 */
void listeners_close(struct listeners *listeners);

#endif
