/*
 * priority: how soon a client needs a response (RFC 9218). Pure.
 */
#ifndef H2ECHOD_ECHO_PRIORITY_H
#define H2ECHOD_ECHO_PRIORITY_H

#include "base/span.h"

#include <stdbool.h>

/* RFC 9218 section 4. */
struct priority {
    int urgency; /* 0 to 7, 0 the most urgent */
    bool incremental;
};

/* What holds where the client does not say anything else. */
#define PRIORITY_DEFAULT ((struct priority){.urgency = 3, .incremental = false})

/*
 * priority_parse(value, priority):
 * Change ${priority} as ${value} says, the value of a priority field or of a PRIORITY_UPDATE frame
 * (RFC 9218 sections 5 and 7). Members that are unknown or malformed change nothing.
 */
void priority_parse(struct span value, struct priority *priority);

#endif
