/*
 * session_report: the lines that a session logs. session.h's observer writes them; this file limits
 * their number and remembers the latest for detailed answers.
 */
#include "http2/session_internal.h"

#include "base/arena.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINES_MAX = 32 }; /* of each level, for one connection */

/* If memory runs out, detailed answers show fewer lines; nothing else depends on them. */
static void remember_line(struct session *session, int32_t stream_id, const char *text)
{
    struct detail_reports *remembered = session->log.remembered;
    struct detail_report *latest;

    if (remembered == NULL)
        remembered = arena_allocate_zeroed(session->memory.lasting, 1, sizeof(*remembered));
    if (remembered == NULL)
        return;
    session->log.remembered = remembered;
    latest = &remembered->latest[remembered->count++ % DETAIL_REPORTS];
    latest->stream_id = stream_id;
    snprintf(latest->text, sizeof(latest->text), "%.*s", DETAIL_REPORT_MAX - 1, text);
}

void session_report_private(struct session *session, enum log_level level, int32_t stream_id,
                            const char *text, const char *remembered)
{
    uint8_t *count = &session->log.counts[level];
    char last[64];

    if (*count == LINES_MAX)
        return;
    remember_line(session, stream_id, remembered);
    session->observer.report(level, stream_id, text, session->observer.argument);
    if (++*count < LINES_MAX)
        return;
    snprintf(last, sizeof(last), "no more %s messages for this connection", log_level_name(level));
    session->observer.report(level, 0, last, session->observer.argument);
}

void session_report(struct session *session, enum log_level level, int32_t stream_id,
                    const char *format, ...)
{
    char text[SESSION_LOG_TEXT_MAX];
    va_list arguments;

    if (level == LOG_LEVEL_DEBUG && !log_enabled(level))
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    session_report_private(session, level, stream_id, text, text);
}

void session_report_end(const struct session *session, enum log_level level, int32_t stream_id,
                        const char *format, ...)
{
    char text[SESSION_LOG_TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    session->observer.report(level, stream_id, text, session->observer.argument);
}

enum log_level session_error_level(uint32_t code)
{
    return code == NGHTTP2_NO_ERROR ? LOG_LEVEL_DEBUG : LOG_LEVEL_NOTICE;
}

const char *session_error_name(char buffer[static SESSION_ERROR_NAME_MAX], uint32_t code)
{
    const char *name = nghttp2_http2_strerror(code);

    if (strcmp(name, "unknown") != 0)
        return name;
    snprintf(buffer, SESSION_ERROR_NAME_MAX, "0x%" PRIx32, code);
    return buffer;
}

int32_t session_stream_at_fault(const struct session *session)
{
    const struct stream *in_block = session->block.stream;

    if (session->end.stream_at_fault != 0)
        return session->end.stream_at_fault;
    return in_block != NULL ? in_block->id : 0;
}
