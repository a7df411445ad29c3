#include "net/address.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

_Static_assert(ADDRESS_PATH_MAX > sizeof(((struct sockaddr_un *)NULL)->sun_path), "too short");

/* Convert an IPv4 or IPv4-mapped IPv6 address. Return false for any other. */
static bool to_ipv4(const struct address *address, struct sockaddr_in *out)
{
    struct sockaddr_in6 v6;

    if (address->storage.ss_family == AF_INET) {
        memcpy(out, &address->storage, sizeof(*out));
        return true;
    }
    if (address->storage.ss_family != AF_INET6)
        return false;
    memcpy(&v6, &address->storage, sizeof(v6));
    if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
        return false;
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = v6.sin6_port};
    memcpy(&out->sin_addr, &v6.sin6_addr.s6_addr[12], sizeof(out->sin_addr));
    return true;
}

/* Return how many bytes of sun_path are the name. A path ends at its NUL, or fills sun_path without
 * one; an abstract name starts with a NUL and may contain others. */
static size_t unix_name_length(const struct address *address, const struct sockaddr_un *un)
{
    size_t length = 0;

    if (address->length > offsetof(struct sockaddr_un, sun_path))
        length = address->length - offsetof(struct sockaddr_un, sun_path);
    if (length > sizeof(un->sun_path))
        length = sizeof(un->sun_path);
    if (length > 0 && un->sun_path[0] != '\0')
        length = strnlen(un->sun_path, length);
    return length;
}

static void write_unix(char *text, const struct address *address)
{
    struct sockaddr_un un;
    char path[4 * sizeof(un.sun_path) + 8];
    size_t length;

    memcpy(&un, &address->storage, sizeof(un));
    length = unix_name_length(address, &un);
    if (length == 0)
        snprintf(text, ADDRESS_TEXT_MAX, "unix");
    else
        snprintf(text, ADDRESS_TEXT_MAX, "unix:%s",
                 log_escape(path, sizeof(path), un.sun_path, length));
}

const char *address_text(char text[static ADDRESS_TEXT_MAX], const struct address *address)
{
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (to_ipv4(address, &v4)) {
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(v4.sin_port));
    } else if (address->storage.ss_family == AF_INET6) {
        memcpy(&v6, &address->storage, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(v6.sin6_port));
    } else {
        write_unix(text, address);
    }
    return text;
}

const char *address_unix_path(char path[static ADDRESS_PATH_MAX], const struct address *address)
{
    struct sockaddr_un un;
    size_t length;

    if (address->storage.ss_family != AF_UNIX)
        return NULL;
    memcpy(&un, &address->storage, sizeof(un));
    length = unix_name_length(address, &un);
    memcpy(path, un.sun_path, length);
    path[length] = '\0'; /* an abstract name becomes "" */
    return path;
}

unsigned address_port(const struct address *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (to_ipv4(address, &v4))
        return ntohs(v4.sin_port);
    if (address->storage.ss_family != AF_INET6)
        return 0;
    memcpy(&v6, &address->storage, sizeof(v6));
    return ntohs(v6.sin6_port);
}

bool address_is_local(const struct address *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (to_ipv4(address, &v4))
        return v4.sin_addr.s_addr == htonl(INADDR_ANY) ||
               v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    if (address->storage.ss_family != AF_INET6)
        return false;
    memcpy(&v6, &address->storage, sizeof(v6));
    return IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr) || IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

bool address_same_host(const struct address *a, const struct address *b)
{
    struct sockaddr_in v4[2];
    struct sockaddr_in6 v6[2];
    bool is_v4[2] = {to_ipv4(a, &v4[0]), to_ipv4(b, &v4[1])};

    if (is_v4[0] || is_v4[1])
        return is_v4[0] && is_v4[1] && v4[0].sin_addr.s_addr == v4[1].sin_addr.s_addr;
    if (a->storage.ss_family != AF_INET6 || b->storage.ss_family != AF_INET6)
        return false;
    memcpy(&v6[0], &a->storage, sizeof(v6[0]));
    memcpy(&v6[1], &b->storage, sizeof(v6[1]));
    return memcmp(&v6[0].sin6_addr, &v6[1].sin6_addr, 8) == 0;
}
