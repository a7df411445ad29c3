/*
 * token: what method and field names are made of.
 */
#ifndef H2ECHOD_BASE_TOKEN_H
#define H2ECHOD_BASE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/*
 * token_may_have(byte):
 * Return true if ${byte} is a tchar (RFC 9110 section 5.6.2).
 */
static inline bool token_may_have(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

#endif
