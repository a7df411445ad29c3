/*
 * listener: the settings' addresses become listening sockets.
 */
#ifndef H2ECHOD_LISTENER_H
#define H2ECHOD_LISTENER_H

#include "address.h"
#include "settings.h"

#include <stdbool.h>
#include <stddef.h>

struct listener {
    int fd; /* non-blocking; small answers to what is accepted leave at once (TCP_NODELAY) */
    struct address address;
    bool is_tls;
};

struct listeners {
    struct listener *list; /* owned */
    size_t count;
    char *unix_path; /* owned: the socket file that is ours to remove; NULL = none */
    bool inherited;  /* what the settings say of listening is not in force */
};

/*
 * listeners_open(settings, listeners):
 * Open a socket for every address that ${settings} name and log each. Return 0 and fill
 * ${listeners}, or log why not, leave nothing open and return the process's exit code: 69 address
 * in use or not available, 71 the system refused, 77 no permission.
 */
int listeners_open(const struct settings *settings, struct listeners *listeners);

/*
 * listeners_inherit(first, count, names, listeners):
 * Take over ${count} sockets from descriptor ${first} on, which somebody else listens on, too, or
 * will again: they are never shut down, nor is a file removed. ${names} has one for each, with
 * colons between them, or is NULL: a socket named "tls" is for TLS. Log each. Return 0 and fill
 * ${listeners}, or log why not, leave it empty and return the process's exit code: 71 the system
 * refused, 78 one is no stream socket of the Internet's or Unix's on which somebody listens.
 */
int listeners_inherit(int first, size_t count, const char *names, struct listeners *listeners);

/*
 * listeners_close(listeners):
 * Close every socket and remove the Unix socket's file. For listeners closed already, do nothing.
 */
void listeners_close(struct listeners *listeners);

#endif
