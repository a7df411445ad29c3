/*
 * authority: the host and port of a URI (RFC 3986 section 3.2), as in :authority, host and an
 * absolute request target.
 */
#ifndef H2ECHOD_BASE_AUTHORITY_H
#define H2ECHOD_BASE_AUTHORITY_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * authority_may_be_userinfo(byte):
 * Return true if ${byte} may stand in userinfo (RFC 3986 section 3.2.1).
 */
static inline bool authority_may_be_userinfo(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') ||
           (byte != '\0' && strchr("-._~!$&'()*+,;=:%", byte) != NULL);
}

/*
 * authority_has_userinfo(authority):
 * Return true if the host is preceded by userinfo, which may be empty, and "@". An "@" that comes
 * after a byte not allowed in userinfo, such as a slash, does not count.
 */
static inline bool authority_has_userinfo(struct span authority)
{
    size_t at = 0;

    while (at < authority.length && authority_may_be_userinfo(authority.bytes[at]))
        at++;
    return at < authority.length && authority.bytes[at] == '@';
}

#endif
