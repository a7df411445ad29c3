#include "probe/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define DIGITS     "0123456789"
#define NAME_BYTES DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._"

#define UNIX_PATH_MAX sizeof(((struct sockaddr_un *)NULL)->sun_path)

_Static_assert(URL_HOST_MAX >= UNIX_PATH_MAX, "no room for a socket's path");
_Static_assert(URL_AUTHORITY_MAX >= URL_HOST_MAX + 2 + URL_PORT_MAX, "no room for the authority");

/* Copy ${length} bytes as a string. Return false if there are none, or too many. */
static bool copy_part(char *to, size_t size, const char *from, size_t length)
{
    if (length == 0 || length >= size)
        return false;
    memcpy(to, from, length);
    to[length] = '\0';
    return true;
}

/* Return what follows the scheme; NULL if the scheme is not known. */
static const char *parse_scheme(const char *text, struct url *url)
{
    static const char *const schemes[] = {
        [URL_HTTP] = "http://", [URL_HTTPS] = "https://", [URL_UNIX] = "unix:"};

    for (int scheme = URL_HTTP; scheme <= URL_UNIX; scheme++) {
        size_t length = strlen(schemes[scheme]);
        if (strncasecmp(text, schemes[scheme], length) == 0) {
            url->scheme = (enum url_scheme)scheme;
            return text + length;
        }
    }
    return NULL;
}

static bool parse_socket(const char *at, struct url *url)
{
    url->port[0] = '\0';
    (void)snprintf(url->authority, sizeof(url->authority), "localhost");
    (void)snprintf(url->path, sizeof(url->path), "/");
    return copy_part(url->host, UNIX_PATH_MAX, at, strlen(at));
}

/* Parse an address in brackets. A zone means nothing to the server, so the authority has none. */
static const char *parse_ipv6(const char *at, struct url *url)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    size_t length = strspn(at + 1, DIGITS "abcdefABCDEF:.");
    size_t zone = at[1 + length] == '%' ? 1 + strspn(at + 2 + length, NAME_BYTES) : 0;

    if (zone == 1 || at[1 + length + zone] != ']' ||
        !copy_part(address, sizeof(address), at + 1, length) ||
        inet_pton(AF_INET6, address, &binary) != 1 ||
        !copy_part(url->host, sizeof(url->host), at + 1, length + zone))
        return NULL;
    (void)snprintf(url->authority, sizeof(url->authority), "[%s]", address);
    return at + length + zone + 2;
}

static const char *parse_name(const char *at, struct url *url)
{
    size_t length = strspn(at, NAME_BYTES);

    if (!copy_part(url->host, sizeof(url->host), at, length))
        return NULL;
    (void)copy_part(url->authority, sizeof(url->authority), at, length);
    return at + length;
}

/* The authority has a port only if the URL has one. */
static const char *parse_port(const char *at, struct url *url)
{
    size_t used = strlen(url->authority);
    size_t length;
    unsigned long port;

    if (*at != ':') {
        (void)snprintf(url->port, sizeof(url->port), url->scheme == URL_HTTPS ? "443" : "80");
        return at;
    }
    length = strspn(at + 1, DIGITS);
    if (!copy_part(url->port, sizeof(url->port), at + 1, length))
        return NULL;
    port = strtoul(url->port, NULL, 10);
    if (port < 1 || port > 65535)
        return NULL;
    (void)snprintf(url->authority + used, sizeof(url->authority) - used, ":%lu", port);
    return at + 1 + length;
}

/* A fragment is an error, as it would not be sent (RFC 9110 section 7.1). */
static bool parse_path(const char *at, struct url *url)
{
    int length;

    if (*at != '\0' && *at != '/' && *at != '?')
        return false;
    for (const char *byte = at; *byte != '\0'; byte++)
        if (*byte <= ' ' || *byte > '~' || *byte == '#')
            return false;
    length = snprintf(url->path, sizeof(url->path), "%s%s", *at == '/' ? "" : "/", at);
    return (size_t)length < sizeof(url->path);
}

bool url_parse(const char *text, struct url *url)
{
    const char *at = parse_scheme(text, url);

    if (at == NULL)
        return false;
    if (url->scheme == URL_UNIX)
        return parse_socket(at, url);
    at = *at == '[' ? parse_ipv6(at, url) : parse_name(at, url);
    if (at != NULL)
        at = parse_port(at, url);
    return at != NULL && parse_path(at, url);
}
