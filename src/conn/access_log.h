/*
 * access: the access log's line for a request, as text or as one JSON object.
 */
#ifndef H2ECHOD_CONN_ACCESS_LOG_H
#define H2ECHOD_CONN_ACCESS_LOG_H

#include "base/clock.h"
#include "http2/session.h"

#include <stdint.h>

/* The connection that a request came by. */
struct access_log_origin {
    uint64_t connection;
    const char *peer;
    const char *protocol; /* for people: may be several words */
};

/*
 * access_log_text(origin, request, now):
 * Log one readable line about a request whose stream is closed ${now}.
 */
void access_log_text(const struct access_log_origin *origin, const struct session_request *request,
                     struct instant now);

/*
 * access_log_json(origin, request, now):
 * Log one line that is a JSON object. If memory runs out, log that a line is missing.
 */
void access_log_json(const struct access_log_origin *origin, const struct session_request *request,
                     struct instant now);

#endif
