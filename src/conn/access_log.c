#include "conn/access_log.h"

#include "base/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Method and path may take twice their size in JSON, and must leave room for the other fields. */
_Static_assert(2 * (SESSION_METHOD_MAX + SESSION_PATH_MAX) < LOG_RECORD_MAX, "record too small");

/* How the stream ended. A stream that was reset counts as reset, even if the connection ended
 * first. */
static const char *stream_end(const struct session_request *request)
{
    if (request->reset != SESSION_NOT_RESET)
        return "RST_STREAM";
    return request->aborted ? "cut" : "END_STREAM";
}

static const char *reset_by(const struct session_request *request)
{
    return request->reset == SESSION_RESET_BY_PEER ? "peer" : "server";
}

static double duration_ms(const struct session_request *request, struct instant now)
{
    return (double)(now.monotonic_us - request->opened_us) / 1000.0;
}

/* Write a value escaped for the log; "-" if it is missing, as the path of CONNECT is. */
static const char *escape_value(char *text, size_t size, const uint8_t *bytes, size_t length)
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
    log_write(
        LOG_LEVEL_INFO,
        "connection %llu from %s stream %d: %s \"%s %s\" %d received=%llu sent=%llu ms=%.3f "
        "end=%s%s",
        (unsigned long long)origin->connection, origin->peer, request->stream_id, origin->protocol,
        escape_value(method, sizeof(method), request->method, request->method_length),
        escape_value(path, sizeof(path), request->path, request->path_length), request->status,
        (unsigned long long)request->received, (unsigned long long)request->sent,
        duration_ms(request, now), stream_end(request), reset);
}

/* Return the largest number of bytes that ${bytes} can take in JSON: a character outside ASCII has
 * at least two bytes, and becomes the six bytes of \uNNNN. */
static size_t json_size(const uint8_t *bytes, size_t length)
{
    size_t size = 0;

    for (size_t i = 0; i < length; i++)
        size += bytes[i] >= 0x80 ? 3 : bytes[i] == '"' || bytes[i] == '\\' ? 2 : 1;
    return size;
}

/* Return a value as a JSON string: unchanged if it is UTF-8 and short enough, otherwise escaped and
 * cut, in which case ${escaped} is set. NULL if the value is missing or memory ran out. */
static json_t *value_string(const uint8_t *bytes, size_t length, size_t max, bool *escaped)
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

/* For a member that is left out if it is false. */
static json_t *true_or_null(bool is_true)
{
    return is_true ? json_true() : NULL;
}

static json_t *new_record(const struct access_log_origin *origin,
                          const struct session_request *request, struct instant now)
{
    char time[CLOCK_TIMESTAMP_SIZE];
    bool is_reset = request->reset != SESSION_NOT_RESET;
    bool escaped = false;
    json_t *method =
        value_string(request->method, request->method_length, SESSION_METHOD_MAX, &escaped);
    json_t *path = value_string(request->path, request->path_length, SESSION_PATH_MAX, &escaped);

    clock_timestamp(now, time);
    /* "*" leaves a member out if its value is NULL. */
    return json_pack("{ss sI ss si ss so* so* so* si sI sI sf ss ss* ss* so*}", "time", time,
                     "connection", (json_int_t)origin->connection, "peer", origin->peer, "stream",
                     (int)request->stream_id, "protocol", origin->protocol, "method", method,
                     "path", path, "escaped", true_or_null(escaped), "status", request->status,
                     "received", (json_int_t)request->received, "sent", (json_int_t)request->sent,
                     "ms", duration_ms(request, now), "end", stream_end(request), "reset",
                     is_reset ? request->reset_code : NULL, "by",
                     is_reset ? reset_by(request) : NULL, "cut", true_or_null(request->aborted));
}

void access_log_json(const struct access_log_origin *origin, const struct session_request *request,
                     struct instant now)
{
    json_t *record;
    char *line;

    if (!log_enabled(LOG_LEVEL_INFO))
        return;
    record = new_record(origin, request, now);
    /* ASCII only: the log may be shown on a terminal, for which some characters outside ASCII are
     * control sequences, such as U+009B. */
    line = json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
    json_decref(record);
    if (line != NULL)
        log_write_record(LOG_LEVEL_INFO, line);
    else
        log_write(LOG_LEVEL_ERROR, "out of memory: a line of the access log is missing");
    free(line);
}
