/*
 * url: the text that says where a daemon is to be reached, taken apart. Pure.
 */
#ifndef H2ECHOD_PROBE_URL_H
#define H2ECHOD_PROBE_URL_H

#include <stdbool.h>

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX };

enum {
    URL_HOST_MAX = 256, /* bytes of each, with a NUL */
    URL_PORT_MAX = 6,
    URL_AUTHORITY_MAX = 264,
    URL_PATH_MAX = 1024,
};

struct url {
    enum url_scheme scheme;
    char host[URL_HOST_MAX]; /* a name or an address, without brackets; of URL_UNIX the socket's
                                path, or "@" and its abstract name */
    char port[URL_PORT_MAX]; /* of URL_UNIX "" */
    char authority[URL_AUTHORITY_MAX]; /* what a request to it has as :authority */
    char path[URL_PATH_MAX];           /* and as :path, with the query */
};

/*
 * url_parse(text, url):
 * Take ${text} apart: "http://HOST[:PORT][/PATH][?QUERY]", the same with "https", or "unix:PATH".
 * An IPv6 address stands in brackets, "%ZONE" after it for a link-local one. Return false if it is
 * none of these, or has a byte that must not go into a request; ${url} has no meaning then.
 */
bool url_parse(const char *text, struct url *url);

#endif
