/*
 * session_internal: the state of a session, and the functions that the session's files share. No
 * other file includes it.
 *
 *     session            the life cycle: new, shutdown, terminate, free
 *     session_nghttp2    make nghttp2's session: callbacks, options, allocator, our SETTINGS
 *     session_recv       bytes in: what nghttp2 does not check, then nghttp2
 *     session_callbacks  what nghttp2 calls while it receives
 *     session_malformed  what nghttp2 calls for malformed requests: log the reason
 *     session_stream     streams: their order, lookup and end
 *     session_respond    responses
 *     session_send       bytes out, and what nghttp2 calls while it sends
 *     session_limits     rate limits against floods
 *     session_timers     timeouts
 *     session_report     lines of the log
 *
 * nghttp2 does not allow a callback to receive or send. So callbacks take notes and submit frames;
 * session_receive and session_send alone drive nghttp2.
 */
#ifndef H2ECHOD_HTTP2_SESSION_INTERNAL_H
#define H2ECHOD_HTTP2_SESSION_INTERNAL_H

#include "base/frame.h"
#include "base/ratelimit.h"
#include "base/wire.h"
#include "echo/client_frames.h"
#include "echo/detail.h"
#include "echo/field_list.h"
#include "http2/closed_streams.h"
#include "http2/field_section.h"
#include "http2/initial_window.h"
#include "http2/session.h"

#include <nghttp2/nghttp2.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum {
    SESSION_FRAMES_BURST = 10000, /* frames a client may send that need no work of any use */
    SESSION_DRAIN_PING_SIZE = 8,
    SESSION_DECIMAL_MAX = 20, /* digits of a size_t */
    SESSION_SETTINGS_SENT = 3,
    SESSION_LOG_LEVELS = LOG_LEVEL_DEBUG + 1,
    SESSION_LOG_TEXT_MAX = 3 * LOG_ESCAPE_MAX, /* bytes of one log line's text, with its NUL */
    SESSION_ERROR_NAME_MAX = 32,               /* bytes of an error code's name or number */
};

/* Why we end a connection. The strings are static, or live as long as the session. */
struct reason {
    uint32_t code;    /* RFC 9113 section 7 */
    const char *text; /* the debug data of the GOAWAY */
    const char *rule; /* for the log: "RFC 9113 section 6.3"; NULL = the caller logs the reason */
};

/* What a detailed answer says about its request. Only requests that ask for one have it. */
struct detail_request {
    uint64_t number; /* of this request on the connection, from 1 */
    struct wire_dependency dependency;
    struct detail_block block;
    struct field_list *fields;   /* owned; NULL = too large, or already in the answer */
    struct field_list *trailers; /* owned; NULL = none, or already in the answer */
    size_t trailers_left_out;
};

struct stream {
    int32_t id;
    struct stream *older; /* neighbours in session->streams */
    struct stream *newer;
    int64_t opened_us;
    int64_t progress_us; /* when the stream-timeout last started */

    struct field_section_request request;
    struct detail_request *detail; /* owned; NULL = the plain answer is asked for */
    struct echo_body *echo;        /* a shared reference; NULL = the request was too large or
                                      malformed, or the detailed answer is not composed yet */
    uint64_t received;             /* bytes of content */

    const char *body; /* of the response; part of ${echo}, or static */
    size_t body_length;
    size_t body_sent;
    size_t progress_sent; /* body_sent when progress was last noted */
    char body_length_text[SESSION_DECIMAL_MAX];
    size_t body_length_digits;
    int status; /* of the final response; 0 = not submitted */

    enum session_reset reset;
    uint32_t reset_code;
    bool in_trailers;
    bool too_large;
    bool continue_pending; /* :status 100 is submitted and not yet sent */
    bool response_sent;    /* the HEADERS of the final response */
    bool request_ended;    /* END_STREAM came */
    bool reason_logged;    /* the log has the reason for the reset */
};

/* How far the end of the connection has come. */
enum phase {
    PHASE_OPEN,
    PHASE_TERMINATING, /* our last GOAWAY is submitted; nothing more is read */
    PHASE_TERMINATED,  /* and sent; nothing is sent after it */
    PHASE_DEAD,        /* nothing more can be sent */
};

/* Every open stream. */
struct session_streams {
    struct stream *oldest; /* the one whose last progress is longest ago */
    struct stream *newest;
    struct stream *last_found; /* by stream_find; NULL = none */
};

/* The header block that nghttp2 is decoding. */
struct session_block {
    struct stream *stream;               /* NULL = none, or its fields are not wanted */
    struct field_section_reader *reader; /* owned; NULL until needed, and after idle time */
    int64_t started_us;                  /* when the last HEADERS frame came */
};

/* Input: what nghttp2 is given, and what is checked before. */
struct session_input {
    const uint8_t *bytes; /* of the call of session_receive in progress */
    size_t length;        /* bytes of them that this call takes */
    size_t fed;           /* bytes of them that nghttp2 has, or is not to get */
    struct frame_reader frames;
    struct initial_window initial_window;
    bool reset_unprocessed; /* a RST_STREAM came, and nghttp2 may not have it yet */
    bool preface_complete;  /* the client's first SETTINGS came */
};

/* Output: the buffer of the call of session_send in progress, and what nghttp2 has ready. */
struct session_output {
    uint8_t *buffer;
    size_t size;
    size_t used;
    const uint8_t *pending; /* nghttp2's memory until it is asked for more, or ${settings} */
    size_t pending_length;
    uint8_t settings[WIRE_FRAME_HEADER_SIZE + SESSION_SETTINGS_SENT * WIRE_SETTING_SIZE];
    bool settings_ack_cancelled; /* for the SETTINGS that came with an upgrade */
};

/* Limits against floods: see session_limits.c. */
struct session_flood {
    struct ratelimit client_resets;
    struct ratelimit server_resets; /* those that errors of the client's made us send */
    struct ratelimit frame_budget;
    uint32_t refunded; /* frames that do not count, since others did something useful */
};

struct session_drain {
    int64_t started_us;
    bool started;
    bool ping_submitted;
    bool goaway_due; /* the final GOAWAY */
    bool goaway_submitted;
};

/* How and why the connection ends. */
struct session_end {
    enum phase phase;
    struct reason reason;                 /* of our GOAWAY; text is NULL if there is none */
    const struct reason *callback_reason; /* a callback failed with it; NULL = none did */
    int32_t stream_at_fault;              /* whose frame was wrong; 0 = none, or not known */
    bool failed;                          /* by an error or a timeout */
    bool reason_logged;
};

struct session_log {
    uint8_t counts[SESSION_LOG_LEVELS]; /* lines written of each level */
    struct detail_reports *remembered;  /* owned; for detailed answers; NULL = none yet */
};

/* nghttp2's allocator: see session_nghttp2.c. */
struct session_heap {
    void *deferred_free; /* a block that nghttp2 has freed and may free again; NULL = none */
    bool has_deferred;
    bool alloc_failed;
};

struct session_date {
    int64_t unix_s;
    char text[CLOCK_HTTP_DATE_SIZE]; /* of ${unix_s} */
};

struct session {
    nghttp2_session *nghttp2;
    struct session_memory memory;
    struct session_options options;
    struct session_observer observer;
    struct counters *counters;
    uint64_t requests_before; /* counters->requests when the session began */
    int64_t started_us;
    int64_t idle_since_us;
    struct instant now; /* as the owner passed it to the call in progress */
    struct session_date date;

    struct session_streams streams;
    struct session_block block;
    struct session_input in;
    struct session_output out;
    struct session_flood flood;
    struct session_drain drain;
    struct session_end end;
    struct session_log log;
    struct session_heap heap;
    struct client_frames client_frames;
    struct closed_streams closed_streams;
};

/* The content of the PING that follows the notice of a drain. */
extern const uint8_t session_drain_ping[SESSION_DRAIN_PING_SIZE];

/* --- session.c --- */

/*
 * session_terminate(session, reason):
 * Submit the last GOAWAY and read nothing more. ${reason} is copied.
 */
void session_terminate(struct session *session, const struct reason *reason);

/*
 * session_abort(session, error):
 * End the session at once, without a GOAWAY: nghttp2 returned ${error} and cannot continue.
 */
void session_abort(struct session *session, int error);

/* --- session_nghttp2.c --- */

/*
 * session_open_nghttp2(session):
 * Create nghttp2's session and make our SETTINGS and WINDOW_UPDATE its first output. Return 0, or
 * an error of nghttp2's.
 */
int session_open_nghttp2(struct session *session);

/* --- session_callbacks.c, session_malformed.c, session_send.c --- */

/* Register the callbacks of each file. ${upgraded} is that of struct session_options. */
void session_set_receive_callbacks(nghttp2_session_callbacks *callbacks, bool upgraded);
void session_set_send_callbacks(nghttp2_session_callbacks *callbacks, bool upgraded);
void malformed_set_callbacks(nghttp2_session_callbacks *callbacks);

/*
 * malformed_refuse_field(session, stream, name, value):
 * Reset ${stream} for a field that nghttp2 accepts. Return what on_header is to return.
 */
int malformed_refuse_field(struct session *session, struct stream *stream, nghttp2_rcbuf *name,
                           nghttp2_rcbuf *value);

/*
 * stream_read_body(nghttp2, stream_id, buffer, size, data_flags, source, user_data):
 * An nghttp2_data_source_read_callback; the source's pointer is the stream.
 */
ssize_t stream_read_body(nghttp2_session *nghttp2, int32_t stream_id, uint8_t *buffer, size_t size,
                         uint32_t *data_flags, nghttp2_data_source *source, void *user_data);

/* --- session_stream.c --- */

/*
 * stream_new(session, id):
 * Return a new stream, linked into the session; NULL if memory ran out.
 */
struct stream *stream_new(struct session *session, int32_t id);

/*
 * stream_close(session, stream, aborted):
 * Report ${stream} to the observer as a request, then free it. ${aborted} says that the connection
 * ended before the stream did.
 */
void stream_close(struct session *session, struct stream *stream, bool aborted);

/*
 * stream_find(session, id):
 * Return the stream, or NULL. The last result is remembered: frames mostly come in a row for one
 * stream.
 */
static inline struct stream *stream_find(struct session *session, int32_t id)
{
    struct session_streams *streams = &session->streams;

    if (streams->last_found == NULL || streams->last_found->id != id)
        streams->last_found = nghttp2_session_get_stream_user_data(session->nghttp2, id);
    return streams->last_found;
}

/*
 * stream_is_active(session, id):
 * Return true if nghttp2 has a stream ${id} that is not idle (RFC 9113 section 5.1).
 */
bool stream_is_active(const struct session *session, int32_t id);

/*
 * stream_is_late(session, id):
 * Return true if the client may have sent HEADERS or DATA on stream ${id} before it knew that the
 * stream was closed.
 */
bool stream_is_late(const struct session *session, int32_t id);

/* Make ${stream} the newest; for stream_note_progress. */
void stream_move_to_newest(struct session *session, struct stream *stream);

/*
 * stream_note_progress(session, stream):
 * Start the stream-timeout anew.
 */
static inline void stream_note_progress(struct session *session, struct stream *stream)
{
    stream->progress_us = session->now.monotonic_us;
    if (session->streams.newest != stream)
        stream_move_to_newest(session, stream);
}

/*
 * session_abort_block(session):
 * Take no more fields of the header block in progress, because it will not be complete. What came
 * so far of a request's is kept for the observer.
 */
void session_abort_block(struct session *session);

/*
 * detail_request_free_fields(session, detail):
 * Free the fields and trailers.
 */
void detail_request_free_fields(struct session *session, struct detail_request *detail);

/* --- session_respond.c --- */

/*
 * stream_respond(session, stream, ended):
 * A frame of the request is complete, the last one if ${ended}: submit the response if it can be
 * decided now. Return 0, or an error of nghttp2's.
 */
int stream_respond(struct session *session, struct stream *stream, bool ended);

/* --- session_limits.c --- */

/*
 * flood_charge_frames(session, frames):
 * Count frames received. Return false if there are too many that do nothing useful.
 */
bool flood_charge_frames(struct session *session, uint32_t frames);

/*
 * flood_refund(session, frames):
 * Something useful happened: it pays for itself and the WINDOW_UPDATE frames that follow it.
 */
static inline void flood_refund(struct session *session, uint32_t frames)
{
    session->flood.refunded += frames;
}

/*
 * flood_charge_client_reset(session):
 * Count a RST_STREAM received. Return false if there are too many.
 */
bool flood_charge_client_reset(struct session *session);

/*
 * flood_charge_server_reset(session):
 * Count a RST_STREAM that we sent for an error of the client's. Return false if there are too many.
 */
bool flood_charge_server_reset(struct session *session);

/*
 * flood_is_block_too_long(session):
 * Return true if a header block has too many CONTINUATION frames or bytes.
 */
bool flood_is_block_too_long(const struct session *session);

/* --- session_report.c --- */

/*
 * session_report(session, level, stream_id, format, ...):
 * Log a line about a stream, or about the connection if ${stream_id} is 0. A connection has a
 * limited number of lines of each level; the rest are dropped. Detailed answers repeat the latest
 * lines.
 */
void session_report(struct session *session, enum log_level level, int32_t stream_id,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * session_report_private(session, level, stream_id, text, remembered):
 * As session_report, but detailed answers repeat ${remembered}: ${text} without what belongs to one
 * request. A proxy may share one connection among several users.
 */
void session_report_private(struct session *session, enum log_level level, int32_t stream_id,
                            const char *text, const char *remembered);

/*
 * session_report_end(session, level, stream_id, format, ...):
 * Log why the connection ends, whatever number of lines it has logged before.
 */
void session_report_end(const struct session *session, enum log_level level, int32_t stream_id,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * session_error_level(code):
 * Return the level for a RST_STREAM or GOAWAY with ${code}: debug for NO_ERROR, else notice.
 */
enum log_level session_error_level(uint32_t code);

/*
 * session_error_name(buffer, code):
 * Return the name of an error code (RFC 9113 section 7), or its number written into ${buffer}.
 */
const char *session_error_name(char buffer[static SESSION_ERROR_NAME_MAX], uint32_t code);

/*
 * session_stream_at_fault(session):
 * Return the stream to log an error of the connection with; 0 if there is none or it is not known.
 */
int32_t session_stream_at_fault(const struct session *session);

#endif
