/*
 * url: parsing the URL of --probe. No I/O, no look-up of names.
 */
#ifndef H2ECHOD_PROBE_URL_H
#define H2ECHOD_PROBE_URL_H

#include <stdbool.h>

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX };

enum {
    URL_HOST_MAX = 256, /* sizes in bytes, with the NUL */
    URL_PORT_MAX = 6,
    URL_AUTHORITY_MAX = 264,
    URL_PATH_MAX = 1024,
};

struct url {
    enum url_scheme scheme;
    char host[URL_HOST_MAX]; /* a name or an address, without brackets; for URL_UNIX the path of the
                                socket, or "@" and its abstract name */
    char port[URL_PORT_MAX]; /* digits; "" for URL_UNIX */
    char authority[URL_AUTHORITY_MAX]; /* for the :authority of a request */
    char path[URL_PATH_MAX];           /* for its :path, with the query */
};

/*
 * url_parse(text, url):
 * Parse ${text}: "http://HOST[:PORT][/PATH][?QUERY]", the same with "https", or "unix:PATH". An
 * IPv6 address is in brackets, and may have a zone: "[fe80::1%eth0]". Return false if the text is
 * none of these, or contains a byte that is not allowed in a request; ${url} is undefined then.
 */
bool url_parse(const char *text, struct url *url);

#endif
