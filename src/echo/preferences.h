/*
 * wishes: what a client's accept and priority fields ask for. Pure.
 */
#ifndef H2ECHOD_ECHO_PREFERENCES_H
#define H2ECHOD_ECHO_PREFERENCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 9218 section 4. */
struct priority {
    int urgency; /* 0 to 7, 0 the most urgent */
    bool incremental;
};

/*
 * accept_names(value, length, type):
 * Return true if one of the media ranges in ${value}, an accept field's (RFC 9110 section 12.5.1),
 * is ${type}, in lower case, itself, and its weight not 0. A range with an asterisk names nothing.
 */
bool accept_names(const uint8_t *value, size_t length, const char *type);

/*
 * priority_parse(value, length, priority):
 * Let ${priority} be as the members of ${value} say that are known and well-formed, a priority
 * field's or a PRIORITY_UPDATE frame's (RFC 9218 section 4); the others change nothing.
 */
void priority_parse(const uint8_t *value, size_t length, struct priority *priority);

#endif
