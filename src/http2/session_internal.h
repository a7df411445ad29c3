/*
 * session_internal: what the files of the session share, and nobody else includes.
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
#include "http2/diagnose.h"
#include "http2/field_section.h"
#include "http2/initial_window.h"
#include "http2/session.h"

#include <nghttp2/nghttp2.h>

enum {
    RECEIVE_WINDOW = 1 << 20, /* bytes; content is dropped as it comes, so a window costs nothing */
    FRAME_SIZE_MAX = 1 << 14, /* SETTINGS_MAX_FRAME_SIZE; nghttp2 forgets it at CONTINUATION */
    CONTINUATIONS_MAX = 1024, /* frames of one header block; a legal one may come in crumbs */
    BLOCK_SIZE_FACTOR = 4,    /* wire bytes of a block, in times max_header_list_size */
    RESETS_BURST = 1000,      /* resets that a client may send, and as many that it may provoke */
    RESETS_PER_SECOND = 33,
    FRAMES_BURST = 10000, /* frames that bring nothing: neither a request nor content */
    FRAMES_PER_SECOND = 1000,
    CREDIT_MAX = 1000,   /* frames that may be saved up by bringing something */
    PROGRESS_PARTS = 64, /* of a response: what counts as progress within stream-timeout */
    REPORTS_MAX = 32,    /* lines of each level that one connection may put into the log */
    REPORT_LEVELS = LOG_LEVEL_DEBUG + 1,
    REPORT_MAX = 3 * LOG_ESCAPE_MAX,
    ERROR_NAME_MAX = 32,          /* bytes of an error code's name, or of its number */
    FINAL_GOAWAY_AFTER = 1000000, /* microseconds, where the drain's PING is not answered */
    DECIMAL_MAX = 20,             /* digits of a size */
    STATUS_DIGITS = 3,
    RESPONSE_FIELDS_MAX = 7, /* of which the detailed answer alone has the last */
    SETTINGS_SENT = 3,       /* entries that a client sees */
    ROOM_WORTH_USING = 4096, /* bytes of output: enough for a part of a body */
    WINDOW_MAX = 0x7fffffff, /* RFC 9113 section 6.9.1 */
};

static const char too_many_cancels[] = "too many streams reset by the client";
static const uint8_t drain_ping[8] = {'h', '2', 'e', 'c', 'h', 'o', 'd', 0};

/* What a detailed answer tells besides the fields: of a request that asks for it. */
struct particulars {
    uint64_t number;
    struct wire_dependency dependency;
    struct detail_block block;
    struct field_list *fields;   /* owned; NULL = too large, or told */
    struct field_list *trailers; /* owned; NULL = none, or told */
    size_t trailers_left_out;
};

struct stream {
    int32_t id;
    struct stream *older; /* in session's order of progress */
    struct stream *newer;
    int64_t opened_us;
    int64_t progress_us;

    struct field_section_request request;
    struct particulars *particulars; /* owned; NULL = the plain answer is asked for */
    struct echo_body *echo; /* its share; NULL = too large, or refused: it is reset then; or it is
                               still to be composed, of the particulars */
    uint64_t received;

    const char *body;
    size_t body_length;
    size_t body_sent;
    size_t progress_sent; /* body_sent when progress was last seen */
    char body_length_text[DECIMAL_MAX];
    size_t body_length_digits;
    int status; /* 0 = no response was submitted */

    enum session_reset reset;
    uint32_t reset_code;
    bool in_trailers;
    bool too_large;
    bool continuing; /* :status 100 is submitted and not sent yet */
    bool answered;   /* the response's fields are sent */
    bool ended;      /* END_STREAM was seen */
    bool overflowed; /* its window is too large: our RST_STREAM is submitted */
    bool explained;  /* the log has the reason for its reset */
};

/* How far the connection's end has come. */
enum phase {
    OPEN,
    TERMINATING, /* its last GOAWAY is submitted: whatever comes in is not read any more */
    TERMINATED,  /* that is sent: nothing goes out behind it */
    DEAD,        /* nothing can be sent any more */
};

struct session {
    nghttp2_session *nghttp2;
    struct session_memory memory;
    struct session_options options;
    struct session_observer observer;
    struct counters *counters;
    struct instant now; /* of the call that is under way */
    char date[CLOCK_HTTP_DATE_SIZE];
    int64_t date_of;

    struct stream *oldest; /* every open stream, least recent progress first */
    struct stream *newest;
    struct stream *recent; /* that was asked for last; NULL = none */
    struct stream *block;  /* whose fields nghttp2 is handing out; NULL = none */
    struct field_section_reader
        *reader; /* takes them; NULL while nothing comes, and there is no block */
    struct frame_reader frame_reader;
    struct initial_window initial_window;
    struct client_frames client_frames;
    struct detail_reports *reported; /* NULL = nothing yet */
    struct ratelimit cancels;        /* resets by the client */
    struct ratelimit resets;         /* ours, for errors of its own */
    struct ratelimit frames;
    struct closed_streams closed_streams;
    uint32_t credit; /* frames that are free, since others brought something */

    uint64_t requests_before; /* that the counters had when the session began */
    int64_t started_us;
    int64_t block_started_us;
    int64_t idle_since_us;
    int64_t shutdown_us;

    const uint8_t *in; /* what the call of session_receive that is under way was given */
    size_t in_fed;     /* bytes of it that nghttp2 has, or is not to have */

    void *spared; /* a block that nghttp2 has freed and may free once more; NULL = none */

    uint8_t *out; /* where the call of session_send that is under way writes to */
    size_t out_size;
    size_t out_used;
    uint8_t opening[WIRE_FRAME_HEADER_SIZE + SETTINGS_SENT * WIRE_SETTING_SIZE];
    const uint8_t *pending; /* nghttp2's, valid until it is asked for more, or opening */
    size_t pending_length;
    int reports[REPORT_LEVELS]; /* how many were told, of each level */
    int32_t at_fault; /* the stream of the frame that ends the connection; 0 = none, or not known */
    uint32_t failure; /* what a callback that failed wants the connection to end with */
    const char *failure_reason;

    bool reset_unfed;      /* a RST_STREAM came that nghttp2 may not have seen whole */
    bool preface_complete; /* the client's SETTINGS were seen */
    bool ack_cancelled;    /* of the SETTINGS that came with an upgrade */
    bool shutting_down;
    bool drain_ping_submitted;
    bool final_goaway_due;
    bool final_goaway_submitted;
    bool explained; /* the log has the reason for its end */
    bool starved;   /* nghttp2, or client_frames, was refused memory */
    bool has_spared;
    bool failed;
    enum phase phase;
};

/* session_report.c */

void session_report_redacted(struct session *session, enum log_level level, int32_t stream_id,
                             const char *text, const char *remembered);
__attribute__((format(printf, 4, 5))) void session_report(struct session *session,
                                                          enum log_level level, int32_t stream_id,
                                                          const char *format, ...);
__attribute__((format(printf, 4, 5))) void session_report_end(const struct session *session,
                                                              enum log_level level,
                                                              int32_t stream_id, const char *format,
                                                              ...);
enum log_level session_report_level(uint32_t error);
const char *session_error_name(char buffer[static ERROR_NAME_MAX], uint32_t code);
int32_t session_stream_at_fault(const struct session *session);

/* session_malformed.c */

__attribute__((noinline)) int malformed_refuse_field(struct session *session, struct stream *stream,
                                                     nghttp2_rcbuf *name, nghttp2_rcbuf *value);
void malformed_set_callbacks(nghttp2_session_callbacks *callbacks);

/* session_stream.c */

void stream_note_progress(struct session *session, struct stream *stream);
struct stream *stream_new(struct session *session, int32_t id);
void stream_abort_block(struct session *session);
void detail_request_drop_fields(struct session *session, struct particulars *particulars);
void stream_close(struct session *session, struct stream *stream, bool cut);
bool stream_is_known(const struct session *session, int32_t id);
bool stream_is_late(const struct session *session, int32_t id);

/* session_callbacks.c */

void session_set_receive_callbacks(nghttp2_session_callbacks *callbacks, bool upgraded);

/* session_respond.c */

int stream_respond(struct session *session, struct stream *stream, bool ended);

/* session_limits.c */

bool flood_is_block_too_long(const struct session *session);
bool flood_charge_frames(struct session *session, uint32_t frames);
bool flood_charge_reset(const struct session *session, struct ratelimit *ratelimit);
bool flood_charge_client_reset(struct session *session);

/* session_send.c */

ssize_t stream_read_body(nghttp2_session *nghttp2, int32_t stream_id, uint8_t *buffer, size_t size,
                         uint32_t *data_flags, nghttp2_data_source *source, void *user_data);

void session_set_send_callbacks(nghttp2_session_callbacks *callbacks, bool upgraded);

/* session_nghttp2.c */

int session_open_nghttp2(struct session *session);
int session_submit_settings(struct session *session);

/* session.c */

void session_abort(struct session *session, int error);
void session_terminate(struct session *session, uint32_t error, const char *reason);

/* What concerns a stream mostly comes in a row. */
static inline struct stream *stream_find(struct session *session, int32_t id)
{
    if (session->recent == NULL || session->recent->id != id)
        session->recent = nghttp2_session_get_stream_user_data(session->nghttp2, id);
    return session->recent;
}

/* Something was brought or taken that is worth frames: itself, and the WINDOW_UPDATE after it. */
static inline void flood_refund(struct session *session, uint32_t frames)
{
    session->credit += frames;
}

#endif
