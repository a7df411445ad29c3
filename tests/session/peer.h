/*
 * peer: the client at the other end of a session, in memory.
 *
 * Its frames are written by hand (frames.h) or by an nghttp2 client, which keeps the rules that a
 * well-behaved client keeps. They reach the session in pieces of the test's choice. Everything that
 * the session sends is parsed by hand and kept by stream; a frame that breaks a rule of RFC 9113
 * fails the test.
 */
#ifndef H2ECHOD_TESTS_PEER_H
#define H2ECHOD_TESTS_PEER_H

#include "base/arena.h"
#include "http2/session.h"
#include "session/frames.h"

#define SECOND INT64_C(1000000)

/* --- How bytes are passed to and from the session --- */

enum peer_split {
    SPLIT_NONE,   /* all bytes at once */
    SPLIT_BYTES,  /* byte by byte */
    SPLIT_RANDOM, /* pieces of 1 to 50 bytes */
};

struct peer_transfer {
    enum peer_split split; /* of the client's bytes */
    size_t buffer;         /* size of session_send's buffer */
};

/* Without splitting, and with a large buffer. */
extern const struct peer_transfer peer_whole;

/* Every kind of split with four sizes of the buffer. */
enum { PEER_TRANSFERS = 12 };
extern const struct peer_transfer peer_transfers[PEER_TRANSFERS];

/* --- What the session sends and reports --- */

struct peer_field {
    char name[32];
    char value[128];
};

struct peer_response {
    int32_t stream_id;
    int continue_count; /* interim responses 100 */
    int status;         /* of the final response; 0 until it has come */
    int64_t unix_s;     /* when it came */
    struct peer_field fields[12];
    size_t field_count;
    struct bytes body;
    size_t data_frames;
    bool ended;
    bool reset;
    uint32_t reset_code;
    uint32_t window; /* the sum of the stream's WINDOW_UPDATE frames */
};

struct peer_goaway {
    int32_t last_stream_id;
    uint32_t code;
    char debug[128];
};

/* A call of the observer's report. */
struct peer_report {
    enum log_level level;
    int32_t stream_id;
    char text[512];
};

/* A call of the observer's request. */
struct peer_request {
    int32_t stream_id;
    char method[16]; /* "-" if there was none */
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
    struct instant now; /* as passed to the session; tests change it */
    struct peer_transfer transfer;
    bool answers_pings; /* true at first */
    bool opens_windows; /* true at first */
    struct bytes out;   /* bytes for the session */
    size_t out_given;   /* how many of them the session has */

    struct peer_response *responses;
    size_t response_count;
    struct peer_goaway goaways[PEER_GOAWAYS];
    size_t goaway_count;
    size_t settings_count;
    size_t settings_ack_count;
    size_t ping_count;
    uint8_t ping[8]; /* content of the last one */
    size_t ping_ack_count;
    uint8_t ping_ack[8];
    uint32_t window; /* the sum of the connection's WINDOW_UPDATE frames */
    uint8_t last_frame_type;
    uint32_t max_concurrent_streams; /* from the server's SETTINGS; 0 if not in them */
    uint32_t max_header_list_size;

    struct peer_report reports[PEER_REPORTS]; /* the first ones */
    size_t report_count;                      /* of all */
    struct peer_request *requests;
    size_t request_count;

    /* For peer's own files alone. */
    uint64_t seed;
    uint8_t *buffer;
    struct bytes in;
    struct bytes block;
    int32_t block_stream_id; /* of the header block that is being received; 0 if none is */
    uint8_t block_flags;
    nghttp2_hd_inflater *inflater;
    nghttp2_session *client;
    bool client_found_error;
};

/* --- Making a session and its peer --- */

/* The daemon's default settings. */
extern const struct session_options peer_options;

/* Return a new session and its peer, which has sent nothing yet. Free them by peer_free. */
struct peer *peer_new(const struct session_options *options, struct peer_transfer transfer);

/* As peer_new; the preface and the acknowledgement of the server's SETTINGS are in peer->out. */
struct peer *peer_open(const struct session_options *options, struct peer_transfer transfer);

/* As peer_new, with an nghttp2 client that writes the frames; ${window} is its initial window size
 * for streams. */
struct peer *peer_open_client(const struct session_options *options, struct peer_transfer transfer,
                              uint32_t window);

/* Return a peer without a session: the caller takes bytes for the server from peer->out, and passes
 * those from the server to peer_receive. */
struct peer *peer_new_without_session(void);
void peer_receive(struct peer *peer, const uint8_t *bytes, size_t length);

/* Free both. What the session still reports is ignored. */
void peer_free(struct peer *peer);

/* --- Running it --- */

/* Submit a request by the nghttp2 client and return its stream. ${body} may be NULL, and must live
 * as long as the stream. */
int32_t peer_submit(struct peer *peer, const struct field *fields, size_t count,
                    struct bytes *body);

/* Append a POST request whose content is still to come; and the end of its content, three bytes. */
void peer_add_post(struct peer *peer, int32_t stream_id);
void peer_add_end(struct peer *peer, int32_t stream_id);

/* Pass bytes in both directions until neither side has more to send or the session is done. */
void peer_pump(struct peer *peer);

/* Let ${us} microseconds pass, call session_expire, then peer_pump. */
void peer_wait(struct peer *peer, int64_t us);

typedef void peer_script(struct peer *peer);

/* Run ${script} with ${peer}, check that the connection has not ended, and free the peer. */
void peer_run(struct peer *peer, peer_script *script);

/* Run ${script} with a new opened peer for each of peer_transfers. */
void peer_run_each(peer_script *script, const struct session_options *options);

/* Define test_NAME, which runs the script run_NAME with each of peer_transfers. */
#define PEER_TEST(name, options)                                                                   \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        peer_run_each(run_##name, (options));                                                      \
    }

/* A teardown: if the test failed, print with which transfer. */
int peer_print_transfer(void **state);

/* --- Looking at the outcome --- */

/* Return the response on that stream, an empty one if there was none; valid until the next pump. */
const struct peer_response *peer_response(const struct peer *peer, int32_t stream_id);

/* Return the value of a response's field, or NULL. */
const char *peer_field(const struct peer_response *response, const char *name);

/* Return the first report about that stream whose text contains ${part}, or NULL. */
const struct peer_report *peer_find_report(const struct peer *peer, int32_t stream_id,
                                           const char *part);

/* Return the closed request of that stream, or NULL. */
const struct peer_request *peer_find_request(const struct peer *peer, int32_t stream_id);

/* Fail unless the stream has a response 200 with all its fields and this body, and no reset. */
void peer_check_answer(const struct peer *peer, int32_t stream_id, const void *body, size_t length);

/* The same for a request of frame_add_get. */
void peer_check_get(const struct peer *peer, int32_t stream_id, const char *path);

/* The same for a POST request with the four fields of REQUEST_OF("POST", "/"). */
void peer_check_post(const struct peer *peer, int32_t stream_id);

/* Fail unless the stream has a response of ${status} with all its fields and one line of text. */
void peer_check_refused(const struct peer *peer, int32_t stream_id, int status);

/* Fail unless the stream was reset with ${code} and has no response. */
void peer_check_reset(const struct peer *peer, int32_t stream_id, uint32_t code);

/* Fail unless the session ended with one GOAWAY of ${code}, and is done and failed. */
void peer_check_ended(const struct peer *peer, uint32_t code);

#endif
