/*
 * peer: the other end of a session, in memory.
 *
 * Frames are written by hand, so that wrong ones can be, or by an nghttp2 client, which watches the
 * rules that a well-meaning client would. They reach the session in whatever pieces; everything
 * that comes back is parsed by hand and kept by stream. A wrong frame from the session fails the
 * test.
 */
#ifndef H2ECHOD_TESTS_PEER_H
#define H2ECHOD_TESTS_PEER_H

#include "base/arena.h"
#include "base/frame.h"
#include "http2/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SECOND       INT64_C(1000000)

/* --- Frames by hand --- */

struct bytes {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

void bytes_add(struct bytes *bytes, const void *data, size_t length);
void bytes_fill(struct bytes *bytes, uint8_t value, size_t length);
void bytes_free(struct bytes *bytes);

struct field {
    const char *name;
    size_t name_length;
    const char *value;
    size_t value_length;
};

/* A field of two string literals, which may hold NUL. */
/* clang-format off */
#define FIELD(name, value) {(name), sizeof(name) - 1, (value), sizeof(value) - 1}
/* clang-format on */

/* A field of two strings. */
struct field field_of(const char *name, const char *value);

/* The four fields of a request, the path being ${target}. */
#define REQUEST_OF(method, target)                                                                 \
    FIELD(":method", method), FIELD(":path", target), FIELD(":scheme", "http"),                    \
        FIELD(":authority", "h")
#define REQUEST_FIELDS 4

enum {
    END_STREAM = NGHTTP2_FLAG_END_STREAM,
    END_HEADERS = NGHTTP2_FLAG_END_HEADERS,
    FRAME_PAYLOAD_MAX = 16384,
};

void frame_add(struct bytes *bytes, uint8_t type, uint8_t flags, int32_t stream_id,
               const void *payload, size_t length);

/* The 24 bytes of the preface and an empty SETTINGS. */
void frame_add_preface(struct bytes *bytes);

void frame_add_setting(struct bytes *bytes, uint16_t id, uint32_t value);
void frame_add_window(struct bytes *bytes, int32_t stream_id, uint32_t increment);
void frame_add_reset(struct bytes *bytes, int32_t stream_id, uint32_t code);

/* A field as a literal without indexing and without Huffman (RFC 7541 section 6.2.2). */
void block_add(struct bytes *block, const struct field *field);

/* HEADERS and as many CONTINUATION as a block in pieces of ${piece} bytes takes. */
void frame_add_block(struct bytes *bytes, int32_t stream_id, uint8_t flags,
                     const struct bytes *block, size_t piece);

void frame_add_request(struct bytes *bytes, int32_t stream_id, uint8_t flags,
                       const struct field *fields, size_t count);

/* GET ${path} with the fields of REQUEST_OF, complete. */
void frame_add_get(struct bytes *bytes, int32_t stream_id, const char *path);

/* --- The other end --- */

/* In which pieces the client's bytes arrive. */
enum peer_feed { FEED_WHOLE, FEED_BYTES, FEED_SPLITS };

struct peer_way {
    enum peer_feed feed;
    size_t buffer; /* bytes of session_send's buffer */
};

struct peer_field {
    char name[32];
    char value[128];
};

struct peer_response {
    int32_t stream_id;
    int interim;    /* how many responses 100 */
    int status;     /* 0 until the final one has come */
    int64_t unix_s; /* when it came */
    struct peer_field fields[12];
    size_t field_count;
    struct bytes body;
    size_t data_frames;
    bool ended;
    bool reset;
    uint32_t reset_code;
    uint32_t window; /* what WINDOW_UPDATE gave back */
};

struct peer_goaway {
    int32_t last_stream_id;
    uint32_t code;
    char debug[128];
};

struct peer_report {
    enum log_level level;
    int32_t stream_id;
    char text[512];
};

/* A closed request, as the observer was told. */
struct peer_request {
    int32_t stream_id;
    char method[16]; /* "-" if none came */
    char path[32];
    int status;
    uint64_t received;
    uint64_t sent;
    int64_t elapsed_us;
    enum session_reset reset;
    char reset_code[32];
};

enum { PEER_GOAWAYS = 4, PEER_REPORTS = 64 };

struct peer {
    struct session *session;
    struct arena lasting;
    struct arena passing;
    uint8_t *arena_memory; /* of both */
    struct counters counters;
    struct instant now; /* what the session is told; the test's to change */
    struct peer_way way;
    bool answers_pings; /* at first: true */
    bool opens_windows; /* at first: true */
    struct bytes out;   /* for the session */
    size_t out_given;   /* how much of it the session has */

    struct peer_response *responses;
    size_t response_count;
    struct peer_goaway goaways[PEER_GOAWAYS];
    size_t goaway_count;
    size_t settings_count;
    size_t settings_ack_count;
    size_t ping_count;
    uint8_t ping[8]; /* the last one's content */
    size_t ping_ack_count;
    uint8_t ping_ack[8];
    uint32_t window; /* what WINDOW_UPDATE of the connection gave back */
    uint8_t last_frame_type;
    uint32_t max_concurrent_streams; /* as the server's SETTINGS say; 0 if they don't */
    uint32_t max_header_list_size;

    struct peer_report reports[PEER_REPORTS]; /* the first ones */
    size_t report_count;                      /* of all */
    struct peer_request *requests;
    size_t request_count;

    /* What follows is peer.c's own. */
    uint64_t seed;
    uint8_t *buffer;
    struct bytes in;
    struct bytes block;
    int32_t block_stream_id; /* of the header block under way; 0 if none is */
    uint8_t block_flags;
    nghttp2_hd_inflater *inflater;
    nghttp2_session *client;
    bool client_complained;
};

/* What a test begins with that has no wish of its own: the daemon's defaults. */
extern const struct session_options peer_options;

/* Whole, with a large buffer. */
extern const struct peer_way peer_plain;

/* A session and its other end, which has sent nothing yet. */
struct peer *peer_new(const struct session_options *options, struct peer_way way);

/* The same with the preface under way, and the ACK of the server's SETTINGS. */
struct peer *peer_open(const struct session_options *options, struct peer_way way);

typedef void peer_script(struct peer *peer);

/* Run ${script} with ${peer}, whose connection must live on, and free it. */
void peer_play(struct peer *peer, peer_script *script);

/* A test's teardown: where it failed with a peer, tell in which way its bytes came. */
int peer_tell_way(void **state);

/* As peer_open, with an nghttp2 client that writes the frames, its stream windows ${window} bytes.
 */
struct peer *peer_open_client(const struct session_options *options, struct peer_way way,
                              uint32_t window);

/* The other end alone, for whoever carries the bytes himself: takes them from peer->out. */
struct peer *peer_alone(void);

/* Bytes that came from the server. */
void peer_take(struct peer *peer, const uint8_t *bytes, size_t length);

/* Free both ends; the requests that the session still reports are lost. */
void peer_free(struct peer *peer);

/* A request by the nghttp2 client. ${body} may be NULL, and has to live as long as the stream. */
int32_t peer_submit(struct peer *peer, const struct field *fields, size_t count,
                    struct bytes *body);

/* Let bytes go both ways until nobody has more to say or the session is done. */
void peer_pump(struct peer *peer);

/* Let time go by, and the session act on it; then as peer_pump. */
void peer_wait(struct peer *peer, int64_t us);

/* What came on that stream; an empty response if nothing did. Valid until the next pump. */
const struct peer_response *peer_response(const struct peer *peer, int32_t stream_id);

/* The response's field, or NULL. */
const char *peer_field(const struct peer_response *response, const char *name);

/* The report about that stream whose text holds ${part}, or NULL. */
const struct peer_report *peer_reported(const struct peer *peer, int32_t stream_id,
                                        const char *part);

/* The closed request of that stream, or NULL. */
const struct peer_request *peer_closed(const struct peer *peer, int32_t stream_id);

/* Fail unless the stream has a response 200 with all its fields, this body, and no reset. */
void peer_check_answer(const struct peer *peer, int32_t stream_id, const void *body, size_t length);

/* The same for what frame_add_get asked. */
void peer_check_get(const struct peer *peer, int32_t stream_id, const char *path);

/* Fail unless the stream has a response of ${status} with all its fields and a line of text. */
void peer_check_refused(const struct peer *peer, int32_t stream_id, int status);

/* Fail unless the stream was reset with ${code} and got no response. */
void peer_check_reset(const struct peer *peer, int32_t stream_id, uint32_t code);

/* Fail unless the session ended with one GOAWAY of ${code} and is done and failed. */
void peer_check_ended(const struct peer *peer, uint32_t code);

/* The same generator with the same seed every time: 64 bits. */
uint64_t peer_random(uint64_t *seed);

#endif
