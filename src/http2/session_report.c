#include "http2/session_internal.h"

#include "base/arena.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* For detailed answers; if memory has run out, they tell less. */
static void remember(struct session *session, int32_t stream_id, const char *text)
{
    struct detail_reports *reported = session->reported;
    struct detail_report *latest;

    if (reported == NULL)
        reported = arena_allocate_zeroed(session->memory.lasting, 1, sizeof(*reported));
    if (reported == NULL)
        return;
    session->reported = reported;
    latest = &reported->latest[reported->count++ % DETAIL_REPORTS];
    latest->stream_id = stream_id;
    snprintf(latest->text, sizeof(latest->text), "%.*s", DETAIL_REPORT_MAX - 1, text);
}

/* A word about what came, or was sent: of each level a connection has so many. ${remembered} is
 * ${text} without what belongs to one request alone: a proxy may share its connection among people,
 * and the next of them may ask for detail. */
void session_report_redacted(struct session *session, enum log_level level, int32_t stream_id,
                             const char *text, const char *remembered)
{
    char last[64];

    if (session->reports[level] == REPORTS_MAX)
        return;
    remember(session, stream_id, remembered);
    session->observer.report(level, stream_id, text, session->observer.argument);
    if (++session->reports[level] < REPORTS_MAX)
        return;
    snprintf(last, sizeof(last), "more reports of level %s are left out", log_level_name(level));
    session->observer.report(level, 0, last, session->observer.argument);
}

__attribute__((format(printf, 4, 5))) void session_report(struct session *session,
                                                          enum log_level level, int32_t stream_id,
                                                          const char *format, ...)
{
    char text[REPORT_MAX];
    va_list arguments;

    if (level == LOG_LEVEL_DEBUG && !log_enabled(level))
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    session_report_redacted(session, level, stream_id, text, text);
}

/* The last word, why the connection ends: it has that one however much was told before. */
__attribute__((format(printf, 4, 5))) void session_report_end(const struct session *session,
                                                              enum log_level level,
                                                              int32_t stream_id, const char *format,
                                                              ...)
{
    char text[REPORT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    session->observer.report(level, stream_id, text, session->observer.argument);
}

/* Errors and refusals are worth a notice; how peers part in peace is for who looks closely. */
enum log_level session_report_level(uint32_t error)
{
    return error == NGHTTP2_NO_ERROR ? LOG_LEVEL_DEBUG : LOG_LEVEL_NOTICE;
}

/* A code that RFC 9113 section 7 does not name is shown as its number. */
const char *session_error_name(char buffer[static ERROR_NAME_MAX], uint32_t code)
{
    const char *name = nghttp2_http2_strerror(code);

    if (strcmp(name, "unknown") != 0)
        return name;
    snprintf(buffer, ERROR_NAME_MAX, "0x%" PRIx32, code);
    return buffer;
}

/* The stream that the connection's end is about; 0 where there is none, or none is known. */
int32_t session_stream_at_fault(const struct session *session)
{
    if (session->at_fault != 0)
        return session->at_fault;
    return session->block != NULL ? session->block->id : 0;
}
