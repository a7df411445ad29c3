#include "conn/access_log.h"

#include "base/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* In JSON these may take twice their bytes: together they leave room in a record. */
_Static_assert(2 * (SESSION_METHOD_MAX + SESSION_PATH_MAX) < LOG_RECORD_MAX, "no room in a record");

/* How the stream ended; who was cut off by the connection's end may have been reset before. */
static const char *end_of(const struct session_request *request)
{
    if (request->reset != SESSION_NOT_RESET)
        return "RST_STREAM";
    return request->aborted ? "cut" : "END_STREAM";
}

static const char *reset_by(const struct session_request *request)
{
    return request->reset == SESSION_RESET_BY_PEER ? "peer" : "server";
}

static double milliseconds(const struct session_request *request, struct instant now)
{
    return (double)(now.monotonic_us - request->opened_us) / 1000.0;
}

/* A field for people; "-" where none came, as a CONNECT has no path. */
static const char *field_text(char *text, size_t size, const uint8_t *bytes, size_t length)
{
    return bytes == NULL ? "-" : log_escape(text, size, bytes, length);
}

void access_log_text(const struct access_log_origin *origin, const struct session_request *request,
                     struct instant now)
{
    char method[LOG_ESCAPE_MAX / 4];
    char path[2 * LOG_ESCAPE_MAX];
    char reset[64] = "";

    if (!log_enabled(LOG_LEVEL_INFO))
        return;
    if (request->reset != SESSION_NOT_RESET)
        snprintf(reset, sizeof(reset), " reset=%s by=%s", request->reset_code, reset_by(request));
    log_write(LOG_LEVEL_INFO,
              "connection %llu from %s stream %d: %s \"%s %s\" %d received=%llu sent=%llu ms=%.3f "
              "end=%s%s",
              (unsigned long long)origin->connection, origin->peer, request->stream_id,
              origin->protocol,
              field_text(method, sizeof(method), request->method, request->method_length),
              field_text(path, sizeof(path), request->path, request->path_length), request->status,
              (unsigned long long)request->received, (unsigned long long)request->sent,
              milliseconds(request, now), end_of(request), reset);
}

/* How much of a line they take at most: what is not ASCII becomes \uNNNN, of two bytes or more. */
static size_t json_size(const uint8_t *bytes, size_t length)
{
    size_t size = 0;

    for (size_t i = 0; i < length; i++)
        size += bytes[i] >= 0x80 ? 3 : bytes[i] == '"' || bytes[i] == '\\' ? 2 : 1;
    return size;
}

/* A field as a string: its bytes as they are where they are UTF-8 and not too many for a line of
 * the log, else as the log escapes and cuts them, which is noted. */
static json_t *field_string(const uint8_t *bytes, size_t length, size_t max, bool *escaped)
{
    char shown[SESSION_PATH_MAX];
    json_t *string = NULL;

    if (bytes == NULL)
        return NULL;
    if (length < max && json_size(bytes, length) < 2 * max)
        string = json_stringn((const char *)bytes, length);
    if (string != NULL)
        return string;
    *escaped = true;
    return json_string(log_escape(shown, max, bytes, length));
}

/* A member that is there where it is true. */
static json_t *flag(bool is_true)
{
    return is_true ? json_true() : NULL;
}

static json_t *record_of(const struct access_log_origin *origin,
                         const struct session_request *request, struct instant now)
{
    char time[CLOCK_TIMESTAMP_SIZE];
    bool is_reset = request->reset != SESSION_NOT_RESET;
    bool escaped = false;
    json_t *method =
        field_string(request->method, request->method_length, SESSION_METHOD_MAX, &escaped);
    json_t *path = field_string(request->path, request->path_length, SESSION_PATH_MAX, &escaped);

    clock_timestamp(now, time);
    /* "*" leaves a member out where there is no value. */
    return json_pack("{ss sI ss si ss so* so* so* si sI sI sf ss ss* ss* so*}", "time", time,
                     "connection", (json_int_t)origin->connection, "peer", origin->peer, "stream",
                     (int)request->stream_id, "protocol", origin->protocol, "method", method,
                     "path", path, "escaped", flag(escaped), "status", request->status, "received",
                     (json_int_t)request->received, "sent", (json_int_t)request->sent, "ms",
                     milliseconds(request, now), "end", end_of(request), "reset",
                     is_reset ? request->reset_code : NULL, "by",
                     is_reset ? reset_by(request) : NULL, "cut", flag(request->aborted));
}

void access_log_json(const struct access_log_origin *origin, const struct session_request *request,
                     struct instant now)
{
    json_t *record;
    char *line;

    if (!log_enabled(LOG_LEVEL_INFO))
        return;
    record = record_of(origin, request, now);
    /* A log is read at terminals, and some of what is UTF-8 commands them: U+009B as ESC [ does. */
    line = json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
    json_decref(record);
    if (line != NULL)
        log_record(LOG_LEVEL_INFO, line);
    else
        log_write(LOG_LEVEL_ERROR, "out of memory: a line of the access log is missing");
    free(line);
}
