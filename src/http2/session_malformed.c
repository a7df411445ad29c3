/*
 * session_malformed: requests that nghttp2, or we, treat as malformed (RFC 9113 section 8.1.1). The
 * stream is reset; this file finds out which field broke which rule, and logs it.
 */
#include "http2/session_internal.h"

#include "http2/diagnose.h"

#include <stdio.h>
#include <string.h>

/* Did a field named ${name}, which may occur only once, come before? */
static bool is_repeated(const struct stream *stream, const struct field_section *section,
                        nghttp2_vec name)
{
    if (stream->in_trailers)
        return field_section_repeats(&stream->request, name) ||
               field_section_repeats(&section->request, name);
    return echo_has(&section->echo, (struct span){name.base, name.len});
}

static void report_field(struct session *session, const struct stream *stream,
                         const struct field_section *section, nghttp2_vec name, nghttp2_vec value)
{
    struct diagnose_context context = {
        .trailers = stream->in_trailers,
        .repeated = is_repeated(stream, section, name),
        .after_regular = echo_has_regular(&section->echo),
    };
    size_t value_length = diagnose_value_length((struct span){name.base, name.len},
                                                (struct span){value.base, value.len});
    const char *rule = diagnose_field(&context, (struct span){name.base, name.len},
                                      (struct span){value.base, value_length});
    char shown_name[LOG_ESCAPE_MAX / 2];
    char shown_value[LOG_ESCAPE_MAX];
    char text[SESSION_LOG_TEXT_MAX];
    char remembered[SESSION_LOG_TEXT_MAX];

    log_escape(shown_name, sizeof(shown_name), name.base, name.len);
    log_escape(shown_value, sizeof(shown_value), value.base, value_length);
    snprintf(text, sizeof(text), "malformed request: field \"%s\": \"%s\": %s", shown_name,
             shown_value, rule);
    snprintf(remembered, sizeof(remembered), "malformed request: field \"%s\": %s", shown_name,
             rule);
    session_report_private(session, LOG_LEVEL_NOTICE, stream->id, text, remembered);
}

static bool has_field(const struct field_section *section, const char *name)
{
    return echo_has(&section->echo, span_of(name));
}

static void report_section(struct session *session, const struct stream *stream,
                           const struct field_section *section, bool ends)
{
    struct diagnose_presence presence = {
        .trailers = stream->in_trailers,
        .ends = ends,
        .connect = section->request.connect,
        .method = has_field(section, ":method"),
        .scheme = has_field(section, ":scheme"),
        .path = has_field(section, ":path"),
        .authority = has_field(section, ":authority"),
        .host = has_field(section, "host"),
        .content_length = section->request.content_length > 0,
    };
    struct diagnosis diagnosis = diagnose_section(&presence);

    if (stream->too_large) /* not all of its fields were kept, so the diagnosis may be wrong */
        session_report(session, LOG_LEVEL_NOTICE, stream->id,
                       "malformed request, and its fields exceed max-header-list-size");
    else
        session_report(session, LOG_LEVEL_NOTICE, stream->id, "malformed request: field \"%s\": %s",
                       diagnosis.field, diagnosis.rule);
}

/* Log why a field is refused. Return false if memory ran out. */
static bool explain_field(struct session *session, struct stream *stream, nghttp2_vec name,
                          nghttp2_vec value)
{
    const struct field_section *section = field_section_peek(session->block.reader);

    if (section == NULL)
        return false;
    report_field(session, stream, section, name, value);
    stream->reason_logged = true;
    return true;
}

/* A function of its own, in a file of its own, because its callees' buffers would make the compiler
 * add a stack guard to on_header, which runs for each field. */
int malformed_refuse_field(struct session *session, struct stream *stream, nghttp2_rcbuf *name,
                           nghttp2_rcbuf *value)
{
    bool explained =
        explain_field(session, stream, nghttp2_rcbuf_get_buf(name), nghttp2_rcbuf_get_buf(value));

    session_abort_block(session); /* nghttp2 ignores the rest of it as well */
    return explained && nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id,
                                                  NGHTTP2_PROTOCOL_ERROR) == 0
               ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* A regular field has bytes that are not allowed. nghttp2 would drop the field if we returned 0;
 * the request is malformed instead. */
static int on_invalid_header(nghttp2_session *nghttp2, const nghttp2_frame *frame,
                             nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags,
                             void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = session->block.stream;

    (void)nghttp2;
    (void)frame;
    (void)flags;
    if (stream == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return explain_field(session, stream, nghttp2_rcbuf_get_buf(name), nghttp2_rcbuf_get_buf(value))
               ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Find the field in an error message of nghttp2's, "..., name: [NAME], value: [VALUE]": there is no
 * other way to get it. Return false if a future version words the message otherwise. */
static bool find_field(const char *message, nghttp2_vec *name, nghttp2_vec *value)
{
    static const char before_name[] = "name: [";
    static const char before_value[] = "], value: [";
    const char *name_at = strstr(message, before_name);
    const char *name_end = name_at != NULL ? strstr(name_at, before_value) : NULL;
    const char *value_end = strrchr(message, ']');

    if (name_end == NULL)
        return false;
    name_at += sizeof(before_name) - 1;
    if (name_end < name_at || value_end < name_end + sizeof(before_value) - 1)
        return false;
    *name = (nghttp2_vec){(uint8_t *)name_at, (size_t)(name_end - name_at)};
    name_end += sizeof(before_value) - 1;
    *value = (nghttp2_vec){(uint8_t *)name_end, (size_t)(value_end - name_end)};
    return true;
}

/* Log nghttp2's message as it is. */
static void report_message(struct session *session, const struct stream *stream,
                           const char *message, size_t length)
{
    char shown[2 * LOG_ESCAPE_MAX];
    char text[sizeof(shown) + LOG_ESCAPE_MAX];

    snprintf(text, sizeof(text), "malformed request: %s",
             log_escape(shown, sizeof(shown), message, length));
    session_report_private(session, LOG_LEVEL_NOTICE, stream->id, text, "malformed request");
}

/* The message is about the connection, or a stream whose fields we do not take. */
static void report_other_message(struct session *session, int error, const char *message,
                                 size_t length)
{
    char shown[2 * LOG_ESCAPE_MAX];

    log_escape(shown, sizeof(shown), message, length);
    session_report_private(session, LOG_LEVEL_NOTICE, 0, shown,
                           error == NGHTTP2_ERR_HTTP_HEADER ? "malformed request" : shown);
}

static int on_error(nghttp2_session *nghttp2, int error, const char *message, size_t length,
                    void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = session->block.stream;
    bool has_memory = true;
    nghttp2_vec name;
    nghttp2_vec value;

    (void)nghttp2;
    if (error == NGHTTP2_ERR_SETTINGS_EXPECTED)
        return 0; /* a GOAWAY follows, and is logged */
    if (error != NGHTTP2_ERR_HTTP_HEADER || stream == NULL) {
        report_other_message(session, error, message, length);
        return 0;
    }
    if (!stream->reason_logged && find_field(message, &name, &value))
        has_memory = explain_field(session, stream, name, value);
    else if (!stream->reason_logged)
        report_message(session, stream, message, length);
    stream->reason_logged = true;
    session_abort_block(session); /* nghttp2 ignores the rest of it as well */
    return has_memory ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Does the error end the connection? For DATA this callback reports only errors of the stream. */
static bool ends_connection(const nghttp2_frame *frame, int error)
{
    return (error == NGHTTP2_ERR_PROTO || error == NGHTTP2_ERR_STREAM_CLOSED) &&
           frame->hd.type != NGHTTP2_DATA;
}

static int on_invalid_frame(nghttp2_session *nghttp2, const nghttp2_frame *frame, int error,
                            void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = stream_find(session, frame->hd.stream_id);
    const struct field_section *section;

    (void)nghttp2;
    if (error == NGHTTP2_ERR_REFUSED_STREAM)
        closed_streams_note_refused(&session->closed_streams, frame->hd.stream_id);
    if (ends_connection(frame, error))
        session->end.stream_at_fault = frame->hd.stream_id;
    if (error != NGHTTP2_ERR_HTTP_MESSAGING || stream == NULL || session->block.stream != stream ||
        stream->reason_logged)
        return 0;
    section = field_section_peek(session->block.reader);
    if (section == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    report_section(session, stream, section, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
    stream->reason_logged = true;
    return 0;
}

void malformed_set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
}
