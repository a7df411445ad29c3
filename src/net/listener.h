/*
 * listener: addresses, or sockets that were passed to the process, become listening sockets.
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
    uint64_t port;   /* 0 = any free one */
    char **address;  /* NULL-terminated; NULL = every address */
    char *unix_path; /* NULL = none */
    uint64_t unix_mode;
    bool reuse_port;
    uint64_t tls_port; /* as port, or LISTENER_NO_PORT */
};

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
 * listeners_open(options, listeners):
 * Open a socket for every address that ${options} name and log each. Return 0 and fill
 * ${listeners}, or log why not, leave nothing open and return the process's exit code: 69 address
 * in use or not available, 71 the system refused, 77 no permission.
 */
int listeners_open(const struct listener_options *options, struct listeners *listeners);

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
