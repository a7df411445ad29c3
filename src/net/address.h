/*
 * address: socket addresses as text, and comparing their hosts. Pure.
 *
 * IPv4, IPv6 and Unix sockets. An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), which an
 * IPv6 socket reports for an IPv4 client, is treated as IPv4 throughout.
 */
#ifndef H2ECHOD_NET_ADDRESS_H
#define H2ECHOD_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    ADDRESS_TEXT_MAX = 512, /* bytes for any address as text, even a fully escaped Unix path */
    ADDRESS_PATH_MAX = 109, /* bytes for any Unix path and its NUL */
};

/* As accept, getsockname and bind take it. */
struct address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/*
 * address_text(text, address):
 * Write ${address} into ${text}: "127.0.0.1:8080", "[::1]:8080", "unix:/path" with the path escaped
 * for the log, or "unix" for a Unix socket without a name. Return ${text}.
 */
const char *address_text(char text[static ADDRESS_TEXT_MAX], const struct address *address);

/*
 * address_unix_path(path, address):
 * Write the path of the Unix socket ${address} into ${path}, unescaped; "" if it has none or has an
 * abstract name. Return ${path}, or NULL if ${address} belongs to another family.
 */
const char *address_unix_path(char path[static ADDRESS_PATH_MAX], const struct address *address);

/*
 * address_port(address):
 * Return the TCP port, or 0 if ${address} has none.
 */
unsigned address_port(const struct address *address);

/*
 * address_is_local(address):
 * Return true if "localhost" reaches a socket that listens on ${address}: 127.0.0.1, ::1, or a
 * wildcard address.
 */
bool address_is_local(const struct address *address);

/*
 * address_same_host(a, b):
 * Return true if limits should treat both as one host: the same IPv4 address, or the same first 64
 * bits of an IPv6 address, since one host usually has all addresses of such a network. Always false
 * for Unix sockets.
 */
bool address_same_host(const struct address *a, const struct address *b);

#endif
