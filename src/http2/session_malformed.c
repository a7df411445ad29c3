#include "http2/session_internal.h"

#include <stdio.h>
#include <string.h>

/* Of the fields that nghttp2 refuses to see twice: was ${name} there already? */
static bool is_repeated(const struct stream *stream, const struct field_section *section,
                        nghttp2_vec name)
{
    if (stream->in_trailers)
        return field_section_repeats(&stream->request, name) ||
               field_section_repeats(&section->request, name);
    return echo_has(&section->echo, name.base, name.len);
}

static void report_field(struct session *session, const struct stream *stream,
                         const struct field_section *section, nghttp2_vec name, nghttp2_vec value)
{
    struct diagnose_context context = {
        .trailers = stream->in_trailers,
        .repeated = is_repeated(stream, section, name),
        .after_regular = echo_has_regular(&section->echo),
    };
    size_t value_length = diagnose_value_length(name.base, name.len, value.base, value.len);
    const char *rule = diagnose_field(&context, name.base, name.len, value.base, value_length);
    char shown_name[LOG_ESCAPE_MAX / 2];
    char shown_value[LOG_ESCAPE_MAX];
    char text[REPORT_MAX];
    char remembered[REPORT_MAX];

    log_escape(shown_name, sizeof(shown_name), name.base, name.len);
    log_escape(shown_value, sizeof(shown_value), value.base, value_length);
    snprintf(text, sizeof(text), "malformed request: field \"%s\": \"%s\": %s", shown_name,
             shown_value, rule);
    snprintf(remembered, sizeof(remembered), "malformed request: field \"%s\": %s", shown_name,
             rule);
    session_report_redacted(session, LOG_LEVEL_NOTICE, stream->id, text, remembered);
}

static bool has(const struct field_section *section, const char *name)
{
    return echo_has(&section->echo, (const uint8_t *)name, strlen(name));
}

static void report_section(struct session *session, const struct stream *stream,
                           const struct field_section *section, bool ends)
{
    struct diagnose_presence refused = {
        .trailers = stream->in_trailers,
        .ends = ends,
        .connect = section->request.connect,
        .method = has(section, ":method"),
        .scheme = has(section, ":scheme"),
        .path = has(section, ":path"),
        .authority = has(section, ":authority"),
        .host = has(section, "host"),
        .content_length = section->request.content_length > 0,
    };
    struct diagnosis refusal = diagnose_section(&refused);

    if (stream->too_large)
        refusal = (struct diagnosis){"fields", "over the size limit, and malformed besides"};
    session_report(session, LOG_LEVEL_NOTICE, stream->id, "malformed request: field \"%s\": %s",
                   refusal.field, refusal.rule);
}

/* Tell of a field that is refused. Return false if memory ran out. */
static bool explain_field(struct session *session, struct stream *stream, nghttp2_vec name,
                          nghttp2_vec value)
{
    const struct field_section *section = field_section_peek(session->reader);

    if (section == NULL)
        return false;
    report_field(session, stream, section, name, value);
    stream->explained = true;
    return true;
}

/* Treat a field as malformed that nghttp2 does not; it reads past the rest of the block then. Not
 * to be inlined: its buffers would cost on_header a guarded frame for every field. */
__attribute__((noinline)) int malformed_refuse_field(struct session *session, struct stream *stream,
                                                     nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    bool explained =
        explain_field(session, stream, nghttp2_rcbuf_get_buf(name), nghttp2_rcbuf_get_buf(value));

    stream_abort_block(session);
    return explained && nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id,
                                                  NGHTTP2_PROTOCOL_ERROR) == 0
               ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* A regular field with bytes that it may not have. To ignore it would be to lose it. */
static int on_invalid_header(nghttp2_session *nghttp2, const nghttp2_frame *frame,
                             nghttp2_rcbuf *name_ref, nghttp2_rcbuf *value_ref, uint8_t flags,
                             void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = session->block;

    (void)nghttp2;
    (void)frame;
    (void)flags;
    if (stream == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return explain_field(session, stream, nghttp2_rcbuf_get_buf(name_ref),
                         nghttp2_rcbuf_get_buf(value_ref))
               ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* nghttp2 hands out any other field that it refused only inside its words for people: "..., name:
 * [NAME], value: [VALUE]". Where a later version words it otherwise, its words are logged as they
 * are. */
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

static void report_words(struct session *session, const struct stream *stream, const char *message,
                         size_t length)
{
    char shown[2 * LOG_ESCAPE_MAX];
    char text[sizeof(shown) + LOG_ESCAPE_MAX];

    snprintf(text, sizeof(text), "malformed request: %s",
             log_escape(shown, sizeof(shown), message, length));
    session_report_redacted(session, LOG_LEVEL_NOTICE, stream->id, text, "malformed request");
}

static int on_error(nghttp2_session *nghttp2, int error, const char *message, size_t length,
                    void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = session->block;
    char shown[2 * LOG_ESCAPE_MAX];
    bool explained = true;
    nghttp2_vec name;
    nghttp2_vec value;

    (void)nghttp2;
    if (error == NGHTTP2_ERR_SETTINGS_EXPECTED)
        return 0; /* the GOAWAY that follows is told */
    if (error != NGHTTP2_ERR_HTTP_HEADER || stream == NULL) {
        log_escape(shown, sizeof(shown), message, length);
        session_report_redacted(session, LOG_LEVEL_NOTICE, 0, shown,
                                error == NGHTTP2_ERR_HTTP_HEADER ? "malformed request" : shown);
        return 0;
    }
    if (!stream->explained && find_field(message, &name, &value))
        explained = explain_field(session, stream, name, value);
    else if (!stream->explained)
        report_words(session, stream, message, length);
    stream->explained = true;
    stream_abort_block(session); /* nghttp2 reads past the rest of it */
    return explained ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
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
    /* These end the connection; but DATA is told of only where it resets its stream. */
    if ((error == NGHTTP2_ERR_PROTO || error == NGHTTP2_ERR_STREAM_CLOSED) &&
        frame->hd.type != NGHTTP2_DATA)
        session->at_fault = frame->hd.stream_id;
    if (error != NGHTTP2_ERR_HTTP_MESSAGING || stream == NULL || session->block != stream ||
        stream->explained)
        return 0;
    section = field_section_peek(session->reader);
    if (section == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    report_section(session, stream, section, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
    stream->explained = true;
    return 0;
}

void malformed_set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
}
