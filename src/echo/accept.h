/*
 * accept: which media types a client's accept field names (RFC 9110 section 12.5.1). Pure.
 */
#ifndef H2ECHOD_ECHO_ACCEPT_H
#define H2ECHOD_ECHO_ACCEPT_H

#include "base/span.h"

#include <stdbool.h>

/*
 * accept_names(value, type):
 * Return true if one of the media ranges in ${value}, an accept field's value, is the media type
 * ${type} (in lower case) itself, with a weight other than 0. A range with an asterisk does not
 * name any type.
 */
bool accept_names(struct span value, const char *type);

#endif
