/*
 * address: socket addresses as people read them, and who counts as one host.
 */
#ifndef H2ECHOD_NET_ADDRESS_H
#define H2ECHOD_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    ADDRESS_TEXT_MAX = 512, /* bytes that hold any address, a Unix path escaped in full */
    ADDRESS_PATH_MAX = 109, /* bytes that hold any Unix path, and a NUL */
};

struct address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/*
 * address_text(text, address):
 * Write ${address} into ${text}: "127.0.0.1:8080", "[::1]:8080", "unix:/path" (escaped for the
 * log), or "unix" for a Unix socket without a name. An IPv4 address in IPv6 form is written as
 * IPv4. Return ${text}.
 */
const char *address_text(char text[static ADDRESS_TEXT_MAX], const struct address *address);

/*
 * address_unix_path(path, address):
 * Write the path of the Unix socket ${address} into ${path}, "" if it has none, and return ${path};
 * NULL for an address of another family.
 */
const char *address_unix_path(char path[static ADDRESS_PATH_MAX], const struct address *address);

/*
 * address_port(address):
 * Return the TCP port, or 0 for an address that has none.
 */
unsigned address_port(const struct address *address);

/*
 * address_is_local(address):
 * Return true if "localhost" reaches a socket that listens on ${address}: 127.0.0.1, ::1, or every
 * one.
 */
bool address_is_local(const struct address *address);

/*
 * address_same_host(a, b):
 * Return true if both come from one host as far as a limit goes: the same IPv4 address, or the
 * same 64 bits of IPv6 network, since one host owns all of those. Unix peers are nobody's same.
 */
bool address_same_host(const struct address *a, const struct address *b);

#endif
