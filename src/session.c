#include "session.h"

#include "advert.h"
#include "allowance.h"
#include "arena.h"
#include "detail.h"
#include "detected.h"
#include "fields.h"
#include "framing.h"
#include "initial_window.h"
#include "past.h"
#include "refusal.h"
#include "section.h"

#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * nghttp2 asks that a session is not sent to or received from inside a callback: the callbacks
 * below only take notes and submit; session_receive and session_send alone drive it.
 */

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
    ERROR_NAME_MAX = 32,          /* bytes of an error code's name, or of its number */
    FINAL_GOAWAY_AFTER = 1000000, /* microseconds, where the drain's PING is not answered */
    DECIMAL_MAX = 20,             /* digits of a size */
    STATUS_DIGITS = 3,
    RESPONSE_FIELDS_MAX = 7, /* of which the detailed answer alone has the last */
    SETTING_SIZE = 6,        /* of an entry in a SETTINGS frame */
    SETTINGS_SENT = 3,       /* entries that a client sees */
    ROOM_WORTH_USING = 4096, /* bytes of output: enough for a part of a body */
    WINDOW_MAX = 0x7fffffff, /* RFC 9113 section 6.9.1 */
};

static const uint8_t drain_ping[8] = {'h', '2', 'e', 'c', 'h', 'o', 'd', 0};

/* What a detailed answer tells besides the fields: of a request that asks for it. */
struct particulars {
    uint64_t number;
    struct detail_dependency dependency;
    struct detail_block block;
    struct fields *fields;   /* owned; NULL = too large, or told */
    struct fields *trailers; /* owned; NULL = none, or told */
    size_t trailers_left_out;
};

struct stream {
    int32_t id;
    struct stream *older; /* in session's order of progress */
    struct stream *newer;
    int64_t opened_us;
    int64_t progress_us;

    struct section_request request;
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
    struct stream *recent;         /* that was asked for last; NULL = none */
    struct stream *block;          /* whose fields nghttp2 is handing out; NULL = none */
    struct section_reader *reader; /* takes them; NULL while nothing comes, and there is no block */
    struct framing framing;
    struct initial_window initial_window;
    struct advert advert;
    struct detail_reports *reported; /* NULL = nothing yet */
    struct allowance cancels;        /* resets by the client */
    struct allowance resets;         /* ours, for errors of its own */
    struct allowance frames;
    struct past past;
    uint32_t credit; /* frames that are free, since others brought something */

    uint64_t requests_before; /* that the counters had when the session began */
    int64_t started_us;
    int64_t block_started_us;
    int64_t idle_since_us;
    int64_t shutdown_us;

    const uint8_t *in; /* what the call of session_receive that is under way was given */
    size_t in_length;  /* bytes of it that this call takes */
    size_t in_fed;     /* bytes of it that nghttp2 has, or is not to have */

    void *spared; /* a block that nghttp2 has freed and may free once more; NULL = none */

    uint8_t *out; /* where the call of session_send that is under way writes to */
    size_t out_size;
    size_t out_used;
    uint8_t opening[FRAMING_HEADER_SIZE + SETTINGS_SENT * SETTING_SIZE];
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
    bool starved;   /* nghttp2, or advert, was refused memory */
    bool has_spared;
    bool failed;
    enum phase phase;
};

/* --- Telling ------------------------------------------------------------------------------- */

enum { REPORT_MAX = 3 * LOG_ESCAPE_MAX };

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
static void tell(struct session *session, enum log_level level, int32_t stream_id, const char *text,
                 const char *remembered)
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

__attribute__((format(printf, 4, 5))) static void
report(struct session *session, enum log_level level, int32_t stream_id, const char *format, ...)
{
    char text[REPORT_MAX];
    va_list arguments;

    if (level == LOG_LEVEL_DEBUG && !log_enabled(level))
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    tell(session, level, stream_id, text, text);
}

/* The last word, why the connection ends: it has that one however much was told before. */
__attribute__((format(printf, 4, 5))) static void report_end(const struct session *session,
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
static enum log_level level_of(uint32_t error)
{
    return error == NGHTTP2_NO_ERROR ? LOG_LEVEL_DEBUG : LOG_LEVEL_NOTICE;
}

/* A code that RFC 9113 section 7 does not name is shown as its number. */
static const char *error_name(char buffer[static ERROR_NAME_MAX], uint32_t code)
{
    const char *name = nghttp2_http2_strerror(code);

    if (strcmp(name, "unknown") != 0)
        return name;
    snprintf(buffer, ERROR_NAME_MAX, "0x%" PRIx32, code);
    return buffer;
}

/* Of the fields that nghttp2 refuses to see twice: was ${name} there already? */
static bool is_repeated(const struct stream *stream, const struct section *section,
                        nghttp2_vec name)
{
    if (stream->in_trailers)
        return section_repeats(&stream->request, name) || section_repeats(&section->request, name);
    return echo_has(&section->echo, name.base, name.len);
}

static void report_field(struct session *session, const struct stream *stream,
                         const struct section *section, nghttp2_vec name, nghttp2_vec value)
{
    struct refusal_context context = {
        .trailers = stream->in_trailers,
        .repeated = is_repeated(stream, section, name),
        .after_regular = echo_has_regular(&section->echo),
    };
    size_t value_length = refusal_value_length(name.base, name.len, value.base, value.len);
    const char *rule = refusal_of_field(&context, name.base, name.len, value.base, value_length);
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
    tell(session, LOG_LEVEL_NOTICE, stream->id, text, remembered);
}

static bool has(const struct section *section, const char *name)
{
    return echo_has(&section->echo, (const uint8_t *)name, strlen(name));
}

static void report_section(struct session *session, const struct stream *stream,
                           const struct section *section, bool ends)
{
    struct refusal_section refused = {
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
    struct refusal refusal = refusal_of_section(&refused);

    if (stream->too_large)
        refusal = (struct refusal){"fields", "over the size limit, and malformed besides"};
    report(session, LOG_LEVEL_NOTICE, stream->id, "malformed request: field \"%s\": %s",
           refusal.field, refusal.rule);
}

/* --- Streams ------------------------------------------------------------------------------- */

static void unlink_stream(struct session *session, struct stream *stream)
{
    *(stream->older != NULL ? &stream->older->newer : &session->oldest) = stream->newer;
    *(stream->newer != NULL ? &stream->newer->older : &session->newest) = stream->older;
    stream->older = stream->newer = NULL;
}

static void link_newest(struct session *session, struct stream *stream)
{
    stream->older = session->newest;
    *(session->newest != NULL ? &session->newest->newer : &session->oldest) = stream;
    session->newest = stream;
}

/* The stream went on: its timeout begins anew. */
static void note_progress(struct session *session, struct stream *stream)
{
    stream->progress_us = session->now.monotonic_us;
    if (session->newest == stream)
        return;
    unlink_stream(session, stream);
    link_newest(session, stream);
}

static struct stream *stream_new(struct session *session, int32_t id)
{
    struct stream *stream = arena_allocate_zeroed(session->memory.passing, 1, sizeof(*stream));

    if (stream == NULL)
        return NULL;
    stream->id = id;
    stream->opened_us = stream->progress_us = session->now.monotonic_us;
    stream->request.content_length = -1;
    link_newest(session, stream);
    return stream;
}

static void tell_request(const struct session *session, const struct stream *stream, bool cut)
{
    char reset_code[ERROR_NAME_MAX];
    struct session_request request = {
        .stream_id = stream->id,
        .status = stream->answered ? stream->status : 0,
        .received = stream->received,
        .sent = stream->body_sent,
        .opened_us = stream->opened_us,
        .cut = cut,
        .reset = stream->reset,
        .reset_code = error_name(reset_code, stream->reset_code),
    };
    const struct section_target *target = stream->request.target;

    if (target != NULL && target->method_length > 0) {
        request.method = target->bytes;
        request.method_length = target->method_length;
    }
    if (target != NULL && target->path_length > 0) {
        request.path = target->bytes + target->method_length;
        request.path_length = target->path_length;
    }
    session->observer.request(&request, session->observer.argument);
}

/* No more fields are taken of a block that will not be whole: what came of a request is to be told.
 */
static void leave_block(struct session *session)
{
    struct stream *stream = session->block;

    session->block = NULL;
    section_break(session->reader, stream->in_trailers ? NULL : &stream->request);
}

static void drop_fields(struct session *session, struct particulars *particulars)
{
    fields_free(session->memory.passing, particulars->fields);
    fields_free(session->memory.passing, particulars->trailers);
    particulars->fields = particulars->trailers = NULL;
}

static void drop_particulars(struct session *session, struct particulars *particulars)
{
    drop_fields(session, particulars);
    arena_free(session->memory.passing, particulars);
}

/* Unlink and free a stream: it is closed, or cut off by the connection's end. */
static void stream_close(struct session *session, struct stream *stream, bool cut)
{
    if (session->block == stream)
        leave_block(session);
    if (session->recent == stream)
        session->recent = NULL;
    if (session->observer.request != NULL)
        tell_request(session, stream, cut);
    unlink_stream(session, stream);
    section_request_free(session->memory.passing, &stream->request);
    if (stream->particulars != NULL)
        drop_particulars(session, stream->particulars);
    echo_body_drop(session->memory.passing, stream->echo);
    arena_free(session->memory.passing, stream);
}

/* What concerns a stream mostly comes in a row. */
static struct stream *stream_of(struct session *session, int32_t id)
{
    if (session->recent == NULL || session->recent->id != id)
        session->recent = nghttp2_session_get_stream_user_data(session->nghttp2, id);
    return session->recent;
}

/* --- Responses ----------------------------------------------------------------------------- */

#define SERVER "h2echod/" H2ECHOD_VERSION

/* nghttp2_nv takes bytes that it does not change, but not by const. */
#define FIELD(name_text, value_text, value_size)                                                   \
    ((nghttp2_nv){(uint8_t *)(name_text), (uint8_t *)(value_text), sizeof(name_text) - 1,          \
                  (value_size), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE})

static const char *http_date(struct session *session)
{
    if (session->date_of != session->now.unix_s) {
        session->date_of = session->now.unix_s;
        clock_http_date(session->date_of, session->date);
    }
    return session->date;
}

/* Say how much of the body the next DATA frame has. Where all of it has room in the output, it goes
 * there at once, by send_body, and nghttp2 need not copy it. */
static ssize_t read_body(nghttp2_session *nghttp2, int32_t stream_id, uint8_t *buffer, size_t size,
                         uint32_t *data_flags, nghttp2_data_source *source, void *user_data)
{
    const struct session *session = user_data;
    struct stream *stream = source->ptr;
    size_t left = stream->body_length - stream->body_sent;
    size_t room = session->out_size - session->out_used;
    size_t length = left < size ? left : size;

    (void)nghttp2;
    (void)stream_id;
    if (room >= FRAMING_HEADER_SIZE + length || room >= ROOM_WORTH_USING) {
        *data_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
        if (length > room - FRAMING_HEADER_SIZE)
            length = room - FRAMING_HEADER_SIZE;
    } else {
        memcpy(buffer, stream->body + stream->body_sent, length);
        stream->body_sent += length;
    }
    if (length == left)
        *data_flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)length;
}

/* Write a DATA frame that read_body has found room for. */
static int send_body(nghttp2_session *nghttp2, nghttp2_frame *frame, const uint8_t *header,
                     size_t length, nghttp2_data_source *source, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = source->ptr;
    uint8_t *out = session->out + session->out_used;

    (void)nghttp2;
    (void)frame;
    memcpy(out, header, FRAMING_HEADER_SIZE);
    memcpy(out + FRAMING_HEADER_SIZE, stream->body + stream->body_sent, length);
    stream->body_sent += length;
    session->out_used += FRAMING_HEADER_SIZE + length;
    return 0;
}

static const char *status_text(int status)
{
    return status == 200 ? "200" : status == 431 ? "431" : "501";
}

/* Write ${number}, in decimal, and return how many digits it has. */
static size_t decimal(char digits[static DECIMAL_MAX], size_t number)
{
    char backwards[DECIMAL_MAX];
    size_t count = 0;

    do {
        backwards[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < count; i++)
        digits[i] = backwards[count - 1 - i];
    return count;
}

struct media_type {
    const char *name;
    size_t length;
};

#define MEDIA_TYPE(name) ((struct media_type){(name), sizeof(name) - 1})

/* Submit the final response; its body stays where it is until the stream is closed. */
static int respond(struct session *session, struct stream *stream, int status,
                   struct media_type type, const char *body, size_t length)
{
    const char *text = status_text(status);
    size_t count = RESPONSE_FIELDS_MAX - 1;
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_body};

    stream->status = status;
    stream->body = body;
    stream->body_length = length;
    stream->body_length_digits = decimal(stream->body_length_text, length);
    nghttp2_nv fields[RESPONSE_FIELDS_MAX] = {
        FIELD(":status", text, STATUS_DIGITS),
        FIELD("server", SERVER, sizeof(SERVER) - 1),
        FIELD("date", http_date(session), CLOCK_HTTP_DATE_SIZE - 1),
        FIELD("content-type", type.name, type.length),
        FIELD("content-length", stream->body_length_text, stream->body_length_digits),
        FIELD("cache-control", "no-store", sizeof("no-store") - 1),
    };

    if (stream->particulars != NULL && status == 200)
        fields[count++] = FIELD("vary", "accept", sizeof("accept") - 1);
    return nghttp2_submit_response(session->nghttp2, stream->id, fields, count,
                                   stream->request.head ? NULL : &provider);
}

/* Compose the detailed answer, which tells of this moment. */
static struct echo_body *compose_detail(struct session *session, const struct stream *stream)
{
    struct detail detail = {
        .age_us = session->now.monotonic_us - session->started_us,
        .stream_id = stream->id,
        .number = stream->particulars->number,
        .fields = stream->particulars->fields,
        .trailers = stream->particulars->trailers,
        .trailers_left_out = stream->particulars->trailers_left_out,
        .content_length = stream->received,
        .dependency = stream->particulars->dependency,
        .block = stream->particulars->block,
        .stream_window =
            nghttp2_session_get_stream_remote_window_size(session->nghttp2, stream->id),
        .connection_window = nghttp2_session_get_remote_window_size(session->nghttp2),
        .advert = &session->advert,
        .reports = session->reported,
        .head = stream->request.head,
        .pretty = session->options.pretty,
    };

    session->observer.describe(&detail.origin, session->observer.argument);
    return detail_compose(session->memory.passing, &detail);
}

static int respond_detail(struct session *session, struct stream *stream)
{
    stream->echo = compose_detail(session, stream);
    if (stream->echo == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    drop_fields(session, stream->particulars); /* while the answer waits for its window */
    return respond(session, stream, 200, MEDIA_TYPE(DETAIL_MEDIA_TYPE), stream->echo->text,
                   stream->echo->length);
}

/* Answer with the request's own fields. */
static int respond_echo(struct session *session, struct stream *stream)
{
    if (stream->particulars != NULL)
        return respond_detail(session, stream);
    return respond(session, stream, 200, MEDIA_TYPE("application/json"), stream->echo->text,
                   stream->echo->length);
}

static int respond_text(struct session *session, struct stream *stream, int status,
                        const char *text)
{
    return respond(session, stream, status, MEDIA_TYPE("text/plain; charset=utf-8"), text,
                   strlen(text));
}

static int respond_too_large(struct session *session, struct stream *stream)
{
    report(session, LOG_LEVEL_NOTICE, stream->id,
           "431: the fields come to more than max-header-list-size, %u bytes "
           "(RFC 9113 section 6.5.2)",
           session->options.max_header_list_size);
    return respond_text(session, stream, 431,
                        "431 Request Header Fields Too Large: the fields come to more than "
                        "SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 section 6.5.2)\n");
}

static int respond_connect(struct session *session, struct stream *stream)
{
    return respond_text(session, stream, 501,
                        "501 Not Implemented: this is no proxy, CONNECT leads nowhere "
                        "(RFC 9110 section 9.3.6)\n");
}

static int submit_continue(struct session *session, struct stream *stream)
{
    nghttp2_nv fields[] = {FIELD(":status", "100", 3)};

    stream->request.expects_continue = false;
    stream->continuing = true;
    return nghttp2_submit_headers(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id, NULL, fields, 1,
                                  NULL);
}

/* A frame of the request is whole, the last one if ${ended}: answer what can be answered. */
static int answer(struct session *session, struct stream *stream, bool ended)
{
    stream->ended = ended;
    if (stream->status != 0)
        return 0;
    if (stream->too_large)
        return respond_too_large(session, stream);
    if (stream->request.connect)
        return respond_connect(session, stream);
    if (ended)
        return respond_echo(session, stream);
    return stream->request.expects_continue ? submit_continue(session, stream) : 0;
}

/* --- Ending early -------------------------------------------------------------------------- */

/* nghttp2 cannot go on, for want of memory nearly always: our callbacks, too, fail for no other
 * reason that they do not tell themselves. */
static void die(struct session *session, int error)
{
    session->failed = true;
    session->phase = DEAD;
    report_end(session, LOG_LEVEL_ERROR, 0, "%s: the connection ends",
               error == NGHTTP2_ERR_NOMEM || error == NGHTTP2_ERR_CALLBACK_FAILURE
                   ? "out of memory"
                   : nghttp2_strerror(error));
}

/* End with GOAWAY, whatever state nghttp2 is in. */
static void terminate(struct session *session, uint32_t error, const char *reason)
{
    int result = nghttp2_submit_goaway(session->nghttp2, NGHTTP2_FLAG_NONE,
                                       nghttp2_session_get_last_proc_stream_id(session->nghttp2),
                                       error, (const uint8_t *)reason, strlen(reason));

    session->phase = TERMINATING;
    if (result != 0)
        die(session, result);
}

/* --- Floods -------------------------------------------------------------------------------- */

/* Something was brought or taken that is worth frames: itself, and the WINDOW_UPDATE after it. */
static void earn(struct session *session, uint32_t frames)
{
    session->credit += frames;
}

/* nghttp2's own bound counts calls, not frames, and neither where it reads past a block. */
static bool is_block_too_long(const struct session *session)
{
    return session->framing.most_frames > CONTINUATIONS_MAX ||
           session->framing.most_bytes / BLOCK_SIZE_FACTOR > session->options.max_header_list_size;
}

/* Return false if ${frames} more make too many that bring nothing: PING, SETTINGS, PRIORITY, empty
 * DATA, WINDOW_UPDATE by the byte, frames of unknown types. */
static bool afford(struct session *session, uint32_t frames)
{
    uint32_t free_ones = frames < session->credit ? frames : session->credit;

    session->credit -= free_ones;
    if (session->credit > CREDIT_MAX)
        session->credit = CREDIT_MAX;
    return frames == free_ones ||
           allowance_spend(&session->frames, session->now.monotonic_us, frames - free_ones,
                           FRAMES_BURST, FRAMES_PER_SECOND);
}

static bool afford_reset(const struct session *session, struct allowance *allowance)
{
    return allowance_spend(allowance, session->now.monotonic_us, 1, RESETS_BURST,
                           RESETS_PER_SECOND);
}

/* --- What nghttp2 calls while it receives -------------------------------------------------- */

/* For the callbacks: end the connection with GOAWAY once nghttp2 has returned. */
static int fail_in_callback(struct session *session, uint32_t error, const char *reason)
{
    session->failure = error;
    session->failure_reason = reason;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static bool is_known(const struct session *session, int32_t id)
{
    nghttp2_stream *stream;

    if (session->recent != NULL && session->recent->id == id)
        return true;
    stream = nghttp2_session_find_stream(session->nghttp2, id);
    return stream != NULL && nghttp2_stream_get_state(stream) != NGHTTP2_STREAM_STATE_IDLE;
}

/* May there be HEADERS or DATA under way to the stream, sent before the client knew of its end? */
static bool is_late(const struct session *session, int32_t id)
{
    return past_is_late(&session->past, id) || session->final_goaway_submitted;
}

/* The ids of a client's streams go up (RFC 9113 section 5.1.1). nghttp2 reads past a header block
 * on one that it does not know, or knows from PRIORITY alone, lest it be under way to one that we
 * have reset. Even ids it refuses itself. */
static bool goes_back(struct session *session, const nghttp2_frame_hd *hd)
{
    return hd->type == NGHTTP2_HEADERS && hd->stream_id % 2 == 1 &&
           !past_open(&session->past, hd->stream_id) && !is_known(session, hd->stream_id) &&
           !is_late(session, hd->stream_id);
}

static int fail_going_back(struct session *session, int32_t id)
{
    session->at_fault = id;
    return past_was_closed(&session->past, id)
               ? fail_in_callback(session, NGHTTP2_STREAM_CLOSED, "HEADERS: stream closed")
               : fail_in_callback(session, NGHTTP2_PROTOCOL_ERROR, "HEADERS: stream id goes back");
}

static int on_begin_frame(nghttp2_session *nghttp2, const nghttp2_frame_hd *hd, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    if (goes_back(session, hd))
        return fail_going_back(session, hd->stream_id);
    /* For the idle timeout: frames of a header block that goes on do not count. */
    if (hd->type != NGHTTP2_CONTINUATION)
        session->idle_since_us = session->now.monotonic_us;
    return 0;
}

/* The request that asked for the upgrade is followed by a preface like any other: its first frame
 * is SETTINGS. nghttp2 has seen some already, and would let it begin with anything. (Of frames of
 * unknown types it does not tell; they have no effect.) */
static int on_begin_frame_upgraded(nghttp2_session *nghttp2, const nghttp2_frame_hd *hd,
                                   void *user_data)
{
    struct session *session = user_data;

    if (!session->preface_complete &&
        (hd->type != NGHTTP2_SETTINGS || (hd->flags & NGHTTP2_FLAG_ACK) != 0))
        return fail_in_callback(session, NGHTTP2_PROTOCOL_ERROR, "SETTINGS expected");
    return on_begin_frame(nghttp2, hd, user_data);
}

static struct section_reader *reader_new(const struct session *session)
{
    bool is_told = session->observer.request != NULL;
    const struct section_options options = {
        .max_list_size = session->options.max_header_list_size,
        .method_max = is_told ? SESSION_METHOD_MAX : 0,
        .path_max = is_told ? SESSION_PATH_MAX : 0,
        .detailed_type = DETAIL_MEDIA_TYPE,
        .pretty = session->options.pretty,
    };

    return section_reader_new(&options, session->memory.passing);
}

static enum section_kind kind_of(const struct stream *stream)
{
    if (!stream->in_trailers)
        return SECTION_HEADER;
    return stream->particulars != NULL ? SECTION_TRAILERS : SECTION_TRAILERS_COUNTED;
}

/* The next fields are the stream's. */
static int begin_block(struct session *session, struct stream *stream)
{
    if (session->reader == NULL)
        session->reader = reader_new(session);
    if (session->reader == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (session->block != NULL)
        leave_block(session); /* as nghttp2 did when it found the request malformed */
    section_begin(session->reader, kind_of(stream));
    session->block = stream;
    return 0;
}

static int on_begin_headers(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream;

    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        stream = stream_new(session, frame->hd.stream_id);
        if (stream == NULL)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        nghttp2_session_set_stream_user_data(nghttp2, frame->hd.stream_id, stream);
        session->recent = stream;
        counter_add(&session->counters->requests, 1);
        earn(session, 2);
    } else {
        stream = stream_of(session, frame->hd.stream_id);
        if (stream == NULL)
            return 0;
        stream->in_trailers = true;
    }
    return begin_block(session, stream);
}

/* Tell of a field that is refused. Return false if memory ran out. */
static bool explain_field(struct session *session, struct stream *stream, nghttp2_vec name,
                          nghttp2_vec value)
{
    const struct section *section = section_look(session->reader);

    if (section == NULL)
        return false;
    report_field(session, stream, section, name, value);
    stream->explained = true;
    return true;
}

/* Treat a field as malformed that nghttp2 does not; it reads past the rest of the block then. Not
 * to be inlined: its buffers would cost on_header a guarded frame for every field. */
__attribute__((noinline)) static int refuse_field(struct session *session, struct stream *stream,
                                                  nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    bool explained =
        explain_field(session, stream, nghttp2_rcbuf_get_buf(name), nghttp2_rcbuf_get_buf(value));

    leave_block(session);
    return explained && nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id,
                                                  NGHTTP2_PROTOCOL_ERROR) == 0
               ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *nghttp2, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = session->block;

    (void)nghttp2;
    (void)frame;
    if (stream == NULL)
        return 0;
    if ((flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0 && !section_mark(session->reader))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    switch (section_add(session->reader, name, value)) {
    case SECTION_ADDED:
        return 0;
    case SECTION_TOO_LARGE:
        stream->too_large = true;
        return 0;
    case SECTION_ENDLESS:
        return fail_in_callback(session, NGHTTP2_ENHANCE_YOUR_CALM, "field list too large");
    case SECTION_USERINFO:
        return refuse_field(session, stream, name, value);
    case SECTION_NO_MEMORY:
        break;
    }
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data_chunk(nghttp2_session *nghttp2, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t length, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = stream_of(session, stream_id);

    (void)nghttp2;
    (void)flags;
    (void)data;
    if (stream == NULL)
        return 0;
    stream->received += length;
    note_progress(session, stream);
    earn(session, 1);
    return 0;
}

static void on_ping(struct session *session, const nghttp2_ping *ping)
{
    if ((ping->hd.flags & NGHTTP2_FLAG_ACK) != 0 && session->shutting_down &&
        memcmp(ping->opaque_data, drain_ping, sizeof(drain_ping)) == 0)
        session->final_goaway_due = true;
}

/* Not to be inlined, as what has buffers in which it words something for the log. */
__attribute__((noinline)) static void on_goaway(struct session *session,
                                                const nghttp2_goaway *goaway)
{
    char shown[LOG_ESCAPE_MAX];
    char name[ERROR_NAME_MAX];

    report(session, level_of(goaway->error_code), 0, "the peer sent GOAWAY %s \"%s\"",
           error_name(name, goaway->error_code),
           log_escape(shown, sizeof(shown), goaway->opaque_data, goaway->opaque_data_len));
}

/* Of a block that has just ended: its HEADERS frame has grown by the CONTINUATIONs behind it. */
static size_t wire_bytes_of(const nghttp2_headers *headers)
{
    enum { PRIORITY_SIZE = 5 };
    size_t others = headers->padlen;

    if ((headers->hd.flags & NGHTTP2_FLAG_PRIORITY) != 0)
        others += PRIORITY_SIZE;
    return headers->hd.length > others ? headers->hd.length - others : 0;
}

/* Keep what a detailed answer will tell of a request, whose header block has just ended. Return
 * false if memory ran out. */
static bool keep_particulars(struct session *session, struct stream *stream,
                             const nghttp2_headers *headers)
{
    struct particulars *particulars =
        arena_allocate_zeroed(session->memory.passing, 1, sizeof(*particulars));

    if (particulars == NULL)
        return false;
    particulars->number = atomic_load_explicit(&session->counters->requests, memory_order_relaxed) -
                          session->requests_before;
    particulars->block = (struct detail_block){
        /* The request that asked for an upgrade came as text. */
        .wire_bytes = session->options.upgraded && stream->id == 1 ? 0 : wire_bytes_of(headers),
        .table_bytes = nghttp2_session_get_hd_inflate_dynamic_table_size(session->nghttp2),
    };
    if ((headers->hd.flags & NGHTTP2_FLAG_PRIORITY) != 0)
        particulars->dependency = (struct detail_dependency){
            .stream_id = headers->pri_spec.stream_id,
            .weight = headers->pri_spec.weight,
            .exclusive = headers->pri_spec.exclusive != 0,
        };
    stream->particulars = particulars;
    return section_take(session->reader, &particulars->fields);
}

/* As RFC 9113 section 6.5.2 counts. */
static size_t list_size_of(const struct fields *fields)
{
    enum { FIELD_OVERHEAD = 32 };

    return fields != NULL ? fields->length + fields->count * FIELD_OVERHEAD : 0;
}

/* The same for trailers. With the fields they may come to no more than those alone, which bounds
 * the answer. */
static bool keep_trailers(struct session *session, struct particulars *particulars)
{
    if (!section_take(session->reader, &particulars->trailers))
        return false;
    if (list_size_of(particulars->fields) + list_size_of(particulars->trailers) <=
        session->options.max_header_list_size)
        return true;
    particulars->trailers_left_out = particulars->trailers->count;
    fields_free(session->memory.passing, particulars->trailers);
    particulars->trailers = NULL;
    return true;
}

/* The block is whole. Return false if memory ran out. */
static bool end_block(struct session *session, const nghttp2_headers *headers)
{
    struct stream *stream = session->block;

    session->block = NULL;
    if (stream->in_trailers && stream->particulars != NULL)
        return keep_trailers(session, stream->particulars);
    if (stream->in_trailers) {
        section_break(session->reader, NULL);
        return true;
    }
    return section_end(session->reader, &stream->request, &stream->echo) &&
           (!stream->request.detailed || keep_particulars(session, stream, headers));
}

static int on_message_frame(struct session *session, const nghttp2_frame *frame)
{
    struct stream *stream = stream_of(session, frame->hd.stream_id);

    if (stream == NULL)
        return 0;
    if (session->block == stream && !end_block(session, &frame->headers))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return answer(session, stream, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
}

__attribute__((noinline)) static int on_reset(struct session *session,
                                              const nghttp2_rst_stream *frame)
{
    struct stream *stream = stream_of(session, frame->hd.stream_id);
    char name[ERROR_NAME_MAX];

    if (stream != NULL) {
        stream->reset = SESSION_RESET_BY_PEER;
        stream->reset_code = frame->error_code;
    }
    counter_add(&session->counters->resets, 1);
    report(session, LOG_LEVEL_INFO, frame->hd.stream_id, "the peer sent RST_STREAM %s",
           error_name(name, frame->error_code));
    return afford_reset(session, &session->cancels)
               ? 0
               : fail_in_callback(session, NGHTTP2_ENHANCE_YOUR_CALM,
                                  "too many streams reset by the client");
}

static int on_frame_recv(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        return on_message_frame(session, frame);
    case NGHTTP2_SETTINGS:
        session->preface_complete = true;
        return 0;
    case NGHTTP2_RST_STREAM:
        return on_reset(session, &frame->rst_stream);
    case NGHTTP2_PING:
        on_ping(session, &frame->ping);
        return 0;
    case NGHTTP2_GOAWAY:
        on_goaway(session, &frame->goaway);
        return 0;
    default:
        return 0;
    }
}

static int on_stream_close(nghttp2_session *nghttp2, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = stream_of(session, stream_id);

    (void)nghttp2;
    (void)error_code;
    session->idle_since_us = session->now.monotonic_us;
    past_close(&session->past, stream_id);
    if (stream != NULL)
        stream_close(session, stream, false);
    return 0;
}

/* --- What nghttp2 refuses ------------------------------------------------------------------ */

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
    tell(session, LOG_LEVEL_NOTICE, stream->id, text, "malformed request");
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
        tell(session, LOG_LEVEL_NOTICE, 0, shown,
             error == NGHTTP2_ERR_HTTP_HEADER ? "malformed request" : shown);
        return 0;
    }
    if (!stream->explained && find_field(message, &name, &value))
        explained = explain_field(session, stream, name, value);
    else if (!stream->explained)
        report_words(session, stream, message, length);
    stream->explained = true;
    leave_block(session); /* nghttp2 reads past the rest of it */
    return explained ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_invalid_frame(nghttp2_session *nghttp2, const nghttp2_frame *frame, int error,
                            void *user_data)
{
    struct session *session = user_data;
    struct stream *stream = stream_of(session, frame->hd.stream_id);
    const struct section *section;

    (void)nghttp2;
    if (error == NGHTTP2_ERR_REFUSED_STREAM)
        past_refuse(&session->past, frame->hd.stream_id);
    /* These end the connection; but DATA is told of only where it resets its stream. */
    if ((error == NGHTTP2_ERR_PROTO || error == NGHTTP2_ERR_STREAM_CLOSED) &&
        frame->hd.type != NGHTTP2_DATA)
        session->at_fault = frame->hd.stream_id;
    if (error != NGHTTP2_ERR_HTTP_MESSAGING || stream == NULL || session->block != stream ||
        stream->explained)
        return 0;
    section = section_look(session->reader);
    if (section == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    report_section(session, stream, section, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
    stream->explained = true;
    return 0;
}

/* --- What nghttp2 calls while it sends ----------------------------------------------------- */

static void on_reset_sent(struct session *session, const nghttp2_rst_stream *frame)
{
    struct stream *stream = stream_of(session, frame->hd.stream_id);
    char name[ERROR_NAME_MAX];

    counter_add(&session->counters->resets, 1);
    past_reset(&session->past, frame->hd.stream_id);
    if (frame->error_code != NGHTTP2_NO_ERROR && frame->error_code != NGHTTP2_CANCEL &&
        session->phase == OPEN && !afford_reset(session, &session->resets))
        terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many streams that had to be reset");
    if (stream != NULL) {
        stream->reset = SESSION_RESET_BY_SERVER;
        stream->reset_code = frame->error_code;
        if (stream->explained)
            return;
    }
    if (stream != NULL && frame->error_code == NGHTTP2_PROTOCOL_ERROR &&
        stream->request.content_length >= 0)
        report(session, LOG_LEVEL_NOTICE, frame->hd.stream_id,
               "malformed request: field \"content-length\": \"%lld\": the DATA frames come to "
               "another sum (RFC 9113 section 8.1.1)",
               (long long)stream->request.content_length);
    else
        report(session, level_of(frame->error_code), frame->hd.stream_id, "RST_STREAM %s sent%s",
               error_name(name, frame->error_code), refusal_of_stream(frame->error_code));
}

/* Its answer shows that the peer has read the GOAWAY before it, so it must not overtake that one,
 * as it would if both were submitted together. */
static int submit_drain_ping(struct session *session)
{
    if (!session->shutting_down || session->drain_ping_submitted)
        return 0;
    session->drain_ping_submitted = true;
    return nghttp2_submit_ping(session->nghttp2, NGHTTP2_FLAG_NONE, drain_ping);
}

/* The stream that the connection's end is about; 0 where there is none, or none is known. */
static int32_t stream_at_fault(const struct session *session)
{
    if (session->at_fault != 0)
        return session->at_fault;
    return session->block != NULL ? session->block->id : 0;
}

static void report_goaway(struct session *session, const nghttp2_goaway *goaway)
{
    const char *words = (const char *)goaway->opaque_data;
    size_t length = goaway->opaque_data_len;
    char shown[LOG_ESCAPE_MAX];
    char name[ERROR_NAME_MAX];

    log_escape(shown, sizeof(shown), words, length);
    if (goaway->error_code == NGHTTP2_NO_ERROR)
        report(session, LOG_LEVEL_DEBUG, 0, "GOAWAY NO_ERROR \"%s\" sent, last stream %" PRId32,
               shown, goaway->last_stream_id);
    else
        report_end(session, LOG_LEVEL_NOTICE, stream_at_fault(session),
                   "connection error: GOAWAY %s \"%s\" sent%s",
                   error_name(name, goaway->error_code), shown,
                   refusal_of_connection(goaway->error_code, words, length));
}

static void on_goaway_sent(struct session *session, const nghttp2_goaway *goaway)
{
    /* After an error the connection is closed (RFC 9113 section 5.4.1), whoever found it: nghttp2
     * itself would read on as long as a stream is open. */
    if (goaway->error_code != NGHTTP2_NO_ERROR)
        session->failed = true;
    /* The notice of a drain may go out before the GOAWAY that ends it all: that one has a reason.
     */
    if (goaway->error_code != NGHTTP2_NO_ERROR ||
        (session->phase == TERMINATING && goaway->opaque_data_len > 0))
        session->phase = TERMINATED;
    if (!session->explained)
        report_goaway(session, goaway);
}

/* A window that opens by the byte is not progress: else a client could keep its answers here, and
 * what they take, for ever. */
static void note_sending(struct session *session, struct stream *stream)
{
    if (stream->body_sent > 0 &&
        stream->body_sent - stream->progress_sent < stream->body_length / PROGRESS_PARTS)
        return;
    stream->progress_sent = stream->body_sent;
    note_progress(session, stream);
}

static int on_frame_send(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;
    struct stream *stream;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        stream = stream_of(session, frame->hd.stream_id);
        if (stream == NULL)
            return 0;
        note_sending(session, stream);
        earn(session, 2);
        stream->answered = stream->answered || !stream->continuing;
        stream->continuing = false;
        /* The response is whole, the request not yet: it need not go on (RFC 9113 section 8.1). */
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && !stream->ended)
            return nghttp2_submit_rst_stream(nghttp2, NGHTTP2_FLAG_NONE, stream->id,
                                             NGHTTP2_NO_ERROR);
        return 0;
    case NGHTTP2_RST_STREAM:
        on_reset_sent(session, &frame->rst_stream);
        return 0;
    case NGHTTP2_GOAWAY:
        on_goaway_sent(session, &frame->goaway);
        return submit_drain_ping(session);
    default:
        return 0;
    }
}

/* The 101 has acknowledged the SETTINGS that came with the request (RFC 7540 section 3.2.1): a
 * client takes an ACK of them for a mistake. */
static int on_frame_upgraded(nghttp2_session *nghttp2, const nghttp2_frame *frame, void *user_data)
{
    struct session *session = user_data;

    (void)nghttp2;
    if (session->ack_cancelled || frame->hd.type != NGHTTP2_SETTINGS ||
        (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
        return 0;
    session->ack_cancelled = true;
    return NGHTTP2_ERR_CANCEL;
}

/* --- Beginning and end --------------------------------------------------------------------- */

static nghttp2_session_callbacks *callbacks_new(bool upgraded)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_body);
    if (upgraded) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame_upgraded);
        nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, on_frame_upgraded);
    }
    return callbacks;
}

/* Floods are bounded here, in the same way whatever nghttp2's version: its own bounds, of which
 * each version has others, are to act after ours or not at all. */
static nghttp2_option *option_new(void)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_max_outbound_ack(option, FRAMES_BURST);
#ifdef HAVE_NGHTTP2_OPTION_SET_STREAM_RESET_RATE_LIMIT /* 1.57 */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
#endif
#ifdef HAVE_NGHTTP2_OPTION_SET_MAX_CONTINUATIONS /* 1.61 */
    /* It counts calls of mem_recv, so a legal block that comes in crumbs would die of it. */
    nghttp2_option_set_max_continuations(option, SIZE_MAX);
#endif
#ifdef HAVE_NGHTTP2_OPTION_SET_GLITCH_RATE_LIMIT /* 1.67 */
    /* At first it stopped at 1000 of the frames of which FRAMES_BURST are allowed. */
    nghttp2_option_set_glitch_rate_limit(option, UINT32_MAX, UINT32_MAX);
#endif
    nghttp2_option_set_no_closed_streams(option, 1);
    return option;
}

/* nghttp2 does not always tell that memory ran out: where it fails to make the GOAWAY that DATA on
 * stream 0 calls for, say, it reads on in silence and drops everything. So its memory is watched.
 */

static void *watched(struct session *session, void *block)
{
    if (block == NULL)
        session->starved = true;
    return block;
}

static void *watched_malloc(size_t size, void *user_data)
{
    struct session *session = user_data;

    return watched(session, arena_allocate(session->memory.lasting, size));
}

static void *watched_calloc(size_t count, size_t size, void *user_data)
{
    struct session *session = user_data;

    return watched(session, arena_allocate_zeroed(session->memory.lasting, count, size));
}

static void *watched_realloc(void *old, size_t size, void *user_data)
{
    struct session *session = user_data;

    return watched(session, arena_resize(session->memory.lasting, old, size));
}

/* For want of memory in nghttp2_submit_data, 1.52 frees an item that it frees once more with its
 * session. So the first block that is freed after an allocation failed stays until it is freed
 * again, or until the session has been. */
static void watched_free(void *block, void *user_data)
{
    struct session *session = user_data;

    if (block != NULL && session->starved && !session->has_spared) {
        session->has_spared = true;
        session->spared = block;
        return;
    }
    if (block == session->spared)
        session->spared = NULL;
    arena_free(session->memory.lasting, block);
}

static int open_nghttp2(struct session *session)
{
    nghttp2_mem memory = {session, watched_malloc, watched_free, watched_calloc, watched_realloc};
    nghttp2_session_callbacks *callbacks = callbacks_new(session->options.upgraded);
    nghttp2_option *option = option_new();
    int result = NGHTTP2_ERR_NOMEM;

    if (callbacks != NULL && option != NULL)
        result =
            nghttp2_session_server_new3(&session->nghttp2, callbacks, session, option, &memory);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return result;
}

/* Take our SETTINGS from nghttp2, to be sent without the last entry, which is for nghttp2 itself:
 * with it, all versions share the connection out among the responses as RFC 9218 has it, which
 * nghttp2 1.70 does anyway. Clients need not be told (RFC 9113 section 5.3.2). */
static int take_opening(struct session *session)
{
    struct framing_frame frame;
    const uint8_t *bytes;
    ssize_t length = nghttp2_session_mem_send(session->nghttp2, &bytes);

    if (length != (ssize_t)sizeof(session->opening) + SETTING_SIZE)
        return length < 0 ? (int)length : NGHTTP2_ERR_INVALID_STATE;
    memcpy(session->opening, bytes, sizeof(session->opening));
    frame = framing_parse(session->opening);
    frame.length -= SETTING_SIZE;
    framing_write(session->opening, &frame);
    session->pending = session->opening;
    session->pending_length = sizeof(session->opening);
    return 0;
}

static int submit_preface(struct session *session)
{
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, session->options.max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, RECEIVE_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, session->options.max_header_list_size},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    int result = nghttp2_submit_settings(session->nghttp2, NGHTTP2_FLAG_NONE, entries,
                                         sizeof(entries) / sizeof(entries[0]));

    if (result == 0)
        result = take_opening(session);
    if (result != 0)
        return result;
    return nghttp2_session_set_local_window_size(session->nghttp2, NGHTTP2_FLAG_NONE, 0,
                                                 RECEIVE_WINDOW);
}

struct session *session_new(const struct session_options *options,
                            const struct session_observer *observer, struct counters *counters,
                            const struct session_memory *memory, struct instant now)
{
    struct session *session = arena_allocate_zeroed(memory->lasting, 1, sizeof(*session));

    if (session == NULL)
        return NULL;
    session->memory = *memory;
    session->options = *options;
    session->observer = *observer;
    session->counters = counters;
    session->now = now;
    session->date_of = INT64_MIN;
    session->started_us = session->idle_since_us = now.monotonic_us;
    session->requests_before = atomic_load_explicit(&counters->requests, memory_order_relaxed);
    past_start(&session->past);
    framing_start(&session->framing);
    if (open_nghttp2(session) != 0 || submit_preface(session) != 0) {
        session_free(session);
        return NULL;
    }
    return session;
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    for (struct stream *stream = session->oldest, *newer; stream != NULL; stream = newer) {
        newer = stream->newer;
        stream_close(session, stream, true);
    }
    section_reader_free(session->reader);
    nghttp2_session_del(session->nghttp2);
    arena_free(session->memory.lasting, session->spared);
    advert_free(&session->advert, session->memory.lasting);
    arena_free(session->memory.lasting, session->reported);
    arena_free(session->memory.lasting, session);
}

/* --- Driving ------------------------------------------------------------------------------- */

/* nghttp2 stopped in the middle: some errors of the peer's end so, and a lack of memory. */
static void handle_receive_error(struct session *session, int error)
{
    if (session->failure != NGHTTP2_NO_ERROR)
        terminate(session, session->failure, session->failure_reason);
    else if (error == NGHTTP2_ERR_FLOODED)
        terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that ask for an answer");
    else if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        terminate(session, NGHTTP2_PROTOCOL_ERROR, "not an HTTP/2 preface");
    else
        die(session, error);
}

static void feed(struct session *session, const uint8_t *bytes, size_t length)
{
    ssize_t result = nghttp2_session_mem_recv(session->nghttp2, bytes, length);

    if (result < 0)
        handle_receive_error(session, (int)result);
    else if (session->starved)
        die(session, NGHTTP2_ERR_NOMEM);
}

/* Feed what was received before ${end}, a place in the input. */
static void feed_until(struct session *session, size_t end)
{
    size_t fed = session->in_fed;

    if (session->phase != OPEN || fed >= end)
        return;
    session->in_fed = end;
    feed(session, session->in + fed, end - fed);
}

/* Feed what was received before a frame whose head ends at ${end}: then nghttp2 knows as much as
 * the client did when it sent the frame. Return true if the frame is the next that nghttp2 takes,
 * and is not refused for where it comes. */
static bool feed_before(struct session *session, const struct framing_head *head, size_t end)
{
    if (end > head->length)
        feed_until(session, end - head->length);
    return session->phase == OPEN && session->preface_complete && !head->in_block;
}

/* Feed a head, which ends at ${end}, if it began in a call before this one: a head is fed when it
 * is whole. */
static void feed_split_head(struct session *session, const struct framing_head *head, size_t end)
{
    if (end >= head->length || session->phase != OPEN || session->in_fed >= end)
        return;
    session->in_fed = end;
    feed(session, session->framing.header, head->length);
}

/* Of its versions, nghttp2 1.70 takes no notice of any PRIORITY, and older ones of none once the
 * client has sent SETTINGS_NO_RFC7540_PRIORITIES. */
static void check_priority(struct session *session, const struct framing_head *head, size_t end)
{
    const char *reason = NULL;

    if (head->length < FRAMING_HEAD_MAX)
        return; /* of another length, which nghttp2 refuses */
    if (head->frame.stream_id == 0)
        reason = "PRIORITY: stream_id == 0";
    else if (head->number == (uint32_t)head->frame.stream_id)
        reason = "depend on itself";
    if (reason != NULL && feed_before(session, head, end))
        terminate(session, NGHTTP2_PROTOCOL_ERROR, reason);
}

static int64_t window_of(const struct session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_remote_window_size(session->nghttp2, stream_id);
}

static void reset_overflowing(struct session *session, int32_t stream_id)
{
    int result = nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream_id,
                                           NGHTTP2_FLOW_CONTROL_ERROR);

    if (result != 0)
        die(session, result);
}

/* nghttp2 1.70 would end the connection for a window that one stream's WINDOW_UPDATE makes too
 * large: it is not given that frame. Nothing behind the frame is read before our RST_STREAM is
 * sent, since the client may reset the stream itself, and nghttp2 1.70 would not send ours then;
 * and until the stream is closed it would count against the limit. */
static void check_window_update(struct session *session, const struct framing_head *head,
                                size_t end)
{
    int32_t stream_id = head->frame.stream_id;

    if (stream_id == 0 || head->length < FRAMING_HEAD_MAX || !feed_before(session, head, end) ||
        window_of(session, stream_id) + head->number <= WINDOW_MAX)
        return;
    session->in_fed = session->in_length = end;
    reset_overflowing(session, stream_id);
}

/* SETTINGS are whole, and as far as nghttp2 was fed it has not acted on them: it would reset the
 * streams whose windows become too large, or end the connection without a reason. */
static void check_initial_window(struct session *session)
{
    int64_t growth =
        (int64_t)session->initial_window.largest -
        nghttp2_session_get_remote_settings(session->nghttp2, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
    bool overflows = false;

    for (struct stream *stream = session->oldest; stream != NULL && session->phase == OPEN;
         stream = stream->newer) {
        if (window_of(session, stream->id) + growth > WINDOW_MAX) {
            overflows = true;
            reset_overflowing(session, stream->id);
        }
    }
    if (overflows && session->phase == OPEN)
        terminate(session, NGHTTP2_FLOW_CONTROL_ERROR, "SETTINGS: a window becomes too large");
}

/* ${bytes} are those behind the frame's header, which ends at ${end}. */
static void check_settings(struct session *session, const struct framing_head *head, size_t end,
                           const uint8_t *bytes, size_t length)
{
    struct initial_window *window = &session->initial_window;

    if (head->in_block || (session->oldest == NULL && !session->preface_complete))
        return;
    initial_window_begin(window, &head->frame);
    initial_window_receive(window, bytes, length);
    if (window->coming == 0 && window->largest > 0 && feed_before(session, head, end))
        check_initial_window(session);
}

/* SETTINGS whose header came in a call before this one: nghttp2 acts when it has their last byte.
 */
static void check_rest_of_settings(struct session *session, const uint8_t *bytes, size_t length)
{
    struct initial_window *window = &session->initial_window;
    size_t taken = initial_window_receive(window, bytes, length);

    if (taken == 0 || window->coming > 0 || window->largest == 0)
        return;
    feed_until(session, taken - 1);
    if (session->phase == OPEN)
        check_initial_window(session);
}

/* What nghttp2 does not bound, or does by other measures. */
static void check_block(struct session *session, const struct framing_frame *frame)
{
    bool is_too_long = is_block_too_long(session);

    if (!is_too_long && session->framing.longest <= FRAME_SIZE_MAX)
        return;
    session->at_fault = frame->stream_id;
    if (is_too_long)
        terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, "header block too long");
    else
        terminate(session, NGHTTP2_FRAME_SIZE_ERROR, "CONTINUATION: too large frame size");
}

/* For detailed answers. Without it they would be wrong: the connection ends by what comes next. */
static void note_advert(struct session *session, const struct framing_head *head,
                        const uint8_t *bytes, size_t length)
{
    if (!advert_add(&session->advert, session->memory.lasting, &head->frame))
        session->starved = true;
    advert_receive(&session->advert, session->framing.header + FRAMING_HEADER_SIZE,
                   head->length - FRAMING_HEADER_SIZE);
    advert_receive(&session->advert, bytes, length);
}

/* May DATA be for a stream that is over, as far as nghttp2 was fed? Even ids it refuses itself. */
static bool is_doubtful(const struct session *session, int32_t stream_id)
{
    return stream_id % 2 == 1 && (session->reset_unfed || !is_known(session, stream_id));
}

/* nghttp2 reads past DATA for a stream that is over, or was left out, in silence, lest it be under
 * way to one that we have reset. To tell, what came before it is fed first. */
static void check_data(struct session *session, const struct framing_head *head, size_t end)
{
    int32_t stream_id = head->frame.stream_id;

    if (!is_doubtful(session, stream_id))
        return;
    session->reset_unfed = false;
    feed_before(session, head, end);
    if (session->phase == OPEN && stream_id <= session->past.highest &&
        !is_known(session, stream_id) && !is_late(session, stream_id)) {
        session->at_fault = stream_id;
        terminate(session, NGHTTP2_STREAM_CLOSED, "DATA: stream closed");
    }
}

/* The frame's head is whole, and ends at ${end}; ${bytes} are those behind it. */
static void note_frame(struct session *session, const struct framing_head *head, size_t end,
                       const uint8_t *bytes, size_t length)
{
    switch (head->frame.type) {
    case NGHTTP2_DATA:
        check_data(session, head, end);
        return;
    case NGHTTP2_HEADERS:
        session->block_started_us = session->now.monotonic_us;
        advert_request(&session->advert);
        return;
    case NGHTTP2_CONTINUATION:
        check_block(session, &head->frame);
        return;
    case NGHTTP2_RST_STREAM:
        session->reset_unfed = true;
        return;
    default:
        break;
    }
    note_advert(session, head, bytes, length);
    if (head->frame.type == NGHTTP2_PRIORITY)
        check_priority(session, head, end);
    else if (head->frame.type == NGHTTP2_WINDOW_UPDATE)
        check_window_update(session, head, end);
    else if (head->frame.type == NGHTTP2_SETTINGS)
        check_settings(session, head, end, bytes, length);
}

/* How many of the last bytes of the input are those of a head that is not whole. */
static size_t unfinished_head(const struct session *session, size_t length)
{
    size_t unfinished = framing_unfinished(&session->framing);

    return unfinished < length ? unfinished : length;
}

size_t session_receive(struct session *session, struct instant now, const uint8_t *bytes,
                       size_t length)
{
    struct framing_head head;
    uint32_t frames = 0;
    size_t looked_at;

    session->now = now;
    session->in = bytes;
    session->in_length = length;
    session->in_fed = 0;
    if (session->advert.coming > 0)
        advert_receive(&session->advert, bytes, length);
    if (session->initial_window.coming > 0)
        check_rest_of_settings(session, bytes, length);
    for (size_t at = 0; session->phase == OPEN; frames++) {
        if (!framing_next_head(&session->framing, bytes + at, session->in_length - at, &looked_at,
                               &head))
            break;
        at += looked_at;
        note_frame(session, &head, at, bytes + at, length - at);
        feed_split_head(session, &head, at);
    }
    length = session->in_length;
    feed_until(session, length - unfinished_head(session, length));
    if (session->phase == OPEN && !afford(session, frames))
        terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that bring nothing");
    return length;
}

/* nghttp2 hands out fields to keep, and knows all that may be wrong with a request, only where they
 * come as frames: nghttp2_session_upgrade2 would leave all of that to be done again. */
void session_upgrade(struct session *session, struct instant now, const uint8_t *opening,
                     size_t length)
{
    session->preface_complete = true;
    session_receive(session, now, opening, length);
    session->preface_complete = false;
    session->advert.opened = false; /* what comes with the preface is part of its opening */
}

/* The last stream id is asked for when nothing is being received: every stream up to it, and none
 * above, will be answered. */
static void submit_final_goaway(struct session *session)
{
    int result;

    if (!session->final_goaway_due || session->final_goaway_submitted)
        return;
    session->final_goaway_submitted = true;
    result = nghttp2_submit_goaway(session->nghttp2, NGHTTP2_FLAG_NONE,
                                   nghttp2_session_get_last_proc_stream_id(session->nghttp2),
                                   NGHTTP2_NO_ERROR, NULL, 0);
    if (result != 0)
        die(session, result);
}

/* Make sure that there are pending bytes; false if there is nothing to send. */
static bool pull(struct session *session)
{
    ssize_t length;

    if (session->pending_length > 0)
        return true;
    if (session->phase >= TERMINATED)
        return false;
    length = nghttp2_session_mem_send(session->nghttp2, &session->pending);
    if (length < 0)
        die(session, (int)length);
    if (length <= 0)
        return false;
    session->pending_length = (size_t)length;
    return true;
}

/* Copy pending bytes, as many as there is room for. */
static void copy_pending(struct session *session)
{
    size_t room = session->out_size - session->out_used;
    size_t length = session->pending_length < room ? session->pending_length : room;

    if (length == 0)
        return;
    memcpy(session->out + session->out_used, session->pending, length);
    session->out_used += length;
    session->pending += length;
    session->pending_length -= length;
}

size_t session_send(struct session *session, struct instant now, uint8_t *buffer, size_t size)
{
    session->now = now;
    session->out = buffer;
    session->out_size = size;
    session->out_used = 0;
    submit_final_goaway(session);
    while (session->out_used < size && pull(session))
        copy_pending(session);
    return session->out_used;
}

void session_rest(struct session *session)
{
    if (session->block != NULL)
        return; /* its fields are half there */
    section_reader_free(session->reader);
    session->reader = NULL;
}

void session_shutdown(struct session *session, struct instant now)
{
    int result;

    session->now = now;
    if (session->shutting_down || session->phase == DEAD)
        return;
    session->shutting_down = true;
    session->shutdown_us = now.monotonic_us;
    result = nghttp2_submit_shutdown_notice(session->nghttp2);
    if (result != 0)
        die(session, result);
}

void session_fail(struct session *session, enum session_error error, const char *reason)
{
    session->explained = session->failed = true;
    if (session->phase != DEAD)
        terminate(session, (uint32_t)error, reason);
}

static void expire_stream(struct session *session, struct stream *stream)
{
    int result;

    counter_add(&session->counters->timed_out, 1);
    report(session, LOG_LEVEL_NOTICE, stream->id, "stream-timeout: %s",
           stream->ended ? "the response's window does not open"
                         : "the request's content does not go on");
    stream->explained = true;
    note_progress(session, stream); /* behind the others, until its RST_STREAM is sent */
    result =
        nghttp2_submit_rst_stream(session->nghttp2, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
    if (result != 0)
        die(session, result);
}

static void expire_connection(struct session *session, enum log_level level, uint32_t error,
                              const char *reason)
{
    counter_add(&session->counters->timed_out, 1);
    report_end(session, level, stream_at_fault(session), "%s", reason);
    session->explained = session->failed = true;
    terminate(session, error, reason);
}

void session_expire(struct session *session, struct instant now)
{
    const struct session_options *options = &session->options;
    int64_t at = now.monotonic_us;

    session->now = now;
    if (session->failed)
        return;
    if (session->shutting_down && at >= clock_after(session->shutdown_us, FINAL_GOAWAY_AFTER))
        session->final_goaway_due = true;
    if (!session->preface_complete) {
        if (at >= clock_after(session->started_us, options->header_timeout_us))
            expire_connection(session, LOG_LEVEL_NOTICE, NGHTTP2_ENHANCE_YOUR_CALM,
                              "header-timeout: the preface does not end");
        return;
    }
    if (framing_in_block(&session->framing) &&
        at >= clock_after(session->block_started_us, options->header_timeout_us)) {
        expire_connection(session, LOG_LEVEL_NOTICE, NGHTTP2_ENHANCE_YOUR_CALM,
                          "header-timeout: a header block does not end");
        return;
    }
    while (session->oldest != NULL && session->phase != DEAD &&
           at >= clock_after(session->oldest->progress_us, options->stream_timeout_us))
        expire_stream(session, session->oldest);
    if (session->oldest == NULL &&
        at >= clock_after(session->idle_since_us, options->idle_timeout_us))
        expire_connection(session, LOG_LEVEL_INFO, NGHTTP2_NO_ERROR, "idle-timeout");
}

int64_t session_deadline(const struct session *session)
{
    const struct session_options *options = &session->options;
    int64_t deadline;

    if (session->failed)
        return INSTANT_NEVER;
    if (!session->preface_complete)
        deadline = clock_after(session->started_us, options->header_timeout_us);
    else if (session->oldest != NULL)
        deadline = clock_after(session->oldest->progress_us, options->stream_timeout_us);
    else
        deadline = clock_after(session->idle_since_us, options->idle_timeout_us);
    if (session->preface_complete && framing_in_block(&session->framing))
        deadline = clock_earlier(
            deadline, clock_after(session->block_started_us, options->header_timeout_us));
    if (session->shutting_down && !session->final_goaway_due)
        deadline = clock_earlier(deadline, clock_after(session->shutdown_us, FINAL_GOAWAY_AFTER));
    return deadline;
}

void session_excuse(struct session *session, int64_t us)
{
    session->started_us += us;
    session->block_started_us += us;
    session->idle_since_us += us;
    for (struct stream *stream = session->oldest; stream != NULL; stream = stream->newer)
        stream->progress_us += us;
}

bool session_done(const struct session *session)
{
    if (session->phase == DEAD)
        return true;
    if (session->phase != OPEN)
        return session->phase == TERMINATED && session->pending_length == 0;
    if (session->pending_length > 0 ||
        (session->final_goaway_due && !session->final_goaway_submitted))
        return false;
    return nghttp2_session_want_read(session->nghttp2) == 0 &&
           nghttp2_session_want_write(session->nghttp2) == 0;
}

bool session_failed(const struct session *session)
{
    return session->failed;
}

const char *session_library(void)
{
    return nghttp2_version(0)->version_str;
}
