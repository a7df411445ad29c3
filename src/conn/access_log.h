/*
 * access_log: one line for each request, as text or as a JSON object.
 *
 * Called when the request's stream is closed. Lines have the level info.
 */
#ifndef H2ECHOD_CONN_ACCESS_LOG_H
#define H2ECHOD_CONN_ACCESS_LOG_H

#include "base/clock.h"
#include "http2/session.h"

#include <stdint.h>

/* The connection that a request was received on. */
struct access_log_origin {
    uint64_t connection;  /* its number */
    const char *peer;     /* the client's address, escaped for the log */
    const char *protocol; /* "h2c by upgrade": may contain spaces */
};

/*
 * access_log_text(origin, request, now):
 * Log a line of text about ${request}, whose stream was closed at ${now}.
 */
void access_log_text(const struct access_log_origin *origin, const struct session_request *request,
                     struct instant now);

/*
 * access_log_json(origin, request, now):
 * Log a line with a JSON object about ${request}, whose stream was closed at ${now}. If memory ran
 * out, log that a line is missing.
 */
void access_log_json(const struct access_log_origin *origin, const struct session_request *request,
                     struct instant now);

#endif
