/*
 * instructions INPUT BROWSER_FIELDS: sends a session of src/http2 the same requests in each run,
 * while callgrind counts the instructions of session_receive and session_send; for the input
 * "connection", also those of session_new and session_free. Prints how many requests were counted.
 * The other end is an nghttp2 client, whose instructions are not counted.
 */
#include "base/arena.h"
#include "bench/client.h"
#include "bench/request.h"
#include "http2/session.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !__has_include(<valgrind/callgrind.h>)
#error "valgrind is not installed: make deps bench-instructions"
#endif
#include <valgrind/callgrind.h>

enum {
    BUFFER_SIZE = 16384, /* like the daemon's */
    STREAMS_MAX = 100,
    CONTENT_SIZE = 1 << 20,
    WINDOW = (1 << 30) - 1,
};

/* Which requests are sent, and how many. */
struct input {
    const char *name;
    size_t streams; /* requests at once */
    size_t rounds;  /* that count, of `streams` requests each; as many rounds before them warm up */
    bool is_varied;
    bool is_browser;
    bool is_upload;
    bool is_connection; /* each round has a session of its own, whose start and end count too */
};

static const struct input inputs[] = {
    {.name = "mux", .streams = 100, .rounds = 50},
    {.name = "serial", .streams = 1, .rounds = 2000},
    {.name = "browser", .streams = 32, .rounds = 50, .is_browser = true},
    {.name = "varied", .streams = 100, .rounds = 50, .is_varied = true},
    {.name = "upload", .streams = 1, .rounds = 10, .is_upload = true},
    {.name = "connection", .streams = 1, .rounds = 200, .is_connection = true},
};

static const struct session_options options = {
    .max_concurrent_streams = 128,
    .max_header_list_size = 64 * 1024,
    .header_timeout_us = 10000000,
    .idle_timeout_us = 300000000,
    .stream_timeout_us = 30000000,
};

static const struct instant now = {.monotonic_us = 5000000000, .unix_s = 784111777};

/* The session and its client. */
struct pair {
    const struct input *input;
    bool is_counted; /* whether callgrind counts what the session does */
    struct session *session;
    nghttp2_session *client;
    struct counters counters;
    struct arena lasting;
    struct arena passing;
    uint8_t *arena_memory;    /* owned */
    struct request *requests; /* owned: one for each stream at once */
    size_t sent;              /* requests */
    size_t closed;            /* streams that ended without an error */
    size_t content_left;      /* bytes of the upload */
};

/* --- The session, which is counted --------------------------------------------------------- */

static void toggle_count(const struct pair *pair)
{
    if (pair->is_counted)
        CALLGRIND_TOGGLE_COLLECT;
}

static void on_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    (void)level;
    (void)argument;
    client_fail("stream %d: %s", stream_id, text);
}

static void open_session(struct pair *pair)
{
    const struct session_observer observer = {.report = on_report};
    const struct session_memory memory = {&pair->lasting, &pair->passing};

    toggle_count(pair);
    pair->session = session_new(&options, &observer, &pair->counters, &memory, now);
    toggle_count(pair);
    if (pair->session == NULL)
        client_fail("out of memory");
}

static void close_session(struct pair *pair)
{
    toggle_count(pair);
    session_free(pair->session);
    arena_clear(&pair->lasting);
    arena_clear(&pair->passing);
    toggle_count(pair);
}

static void receive(struct pair *pair, const uint8_t *bytes, size_t length)
{
    toggle_count(pair);
    session_receive(pair->session, now, bytes, length);
    toggle_count(pair);
}

static size_t send_some(struct pair *pair, uint8_t *buffer)
{
    size_t length;

    toggle_count(pair);
    length = session_send(pair->session, now, buffer, BUFFER_SIZE);
    toggle_count(pair);
    return length;
}

/* --- The client ---------------------------------------------------------------------------- */

static int on_header(nghttp2_session *client, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *argument)
{
    (void)client;
    (void)frame;
    (void)flags;
    (void)argument;
    if (name_length == 7 && memcmp(name, ":status", 7) == 0 &&
        (value_length != 3 || memcmp(value, "200", 3) != 0))
        client_fail("the response's status is %.*s", (int)value_length, (const char *)value);
    return 0;
}

static int on_stream_close(nghttp2_session *client, int32_t stream_id, uint32_t error_code,
                           void *argument)
{
    struct pair *pair = argument;

    (void)client;
    if (error_code != NGHTTP2_NO_ERROR)
        client_fail("stream %d: error %u", stream_id, error_code);
    pair->closed++;
    return 0;
}

static ssize_t read_content(nghttp2_session *client, int32_t stream_id, uint8_t *buffer,
                            size_t size, uint32_t *flags, nghttp2_data_source *source,
                            void *argument)
{
    struct pair *pair = argument;

    (void)client;
    (void)stream_id;
    (void)source;
    if (size > pair->content_left)
        size = pair->content_left;
    memset(buffer, 'x', size);
    pair->content_left -= size;
    if (pair->content_left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static void open_client(struct pair *pair)
{
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW};
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        client_fail("out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    if (nghttp2_session_client_new(&pair->client, callbacks, pair) != 0 ||
        nghttp2_submit_settings(pair->client, NGHTTP2_FLAG_NONE, &window, 1) != 0 ||
        nghttp2_session_set_local_window_size(pair->client, NGHTTP2_FLAG_NONE, 0, WINDOW) != 0)
        client_fail("cannot make a client");
    nghttp2_session_callbacks_del(callbacks);
}

static void submit(struct pair *pair, struct request *request)
{
    const nghttp2_data_provider content = {.read_callback = read_content};

    pair->sent++;
    if (pair->input->is_varied)
        request_varied(request, pair->sent);
    pair->content_left = CONTENT_SIZE;
    if (nghttp2_submit_request(pair->client, NULL, request->fields, request->field_count,
                               pair->input->is_upload ? &content : NULL, NULL) < 0)
        client_fail("a request could not be submitted");
}

/* --- Between them -------------------------------------------------------------------------- */

/* Fill ${buffer} with what the client sends. ${kept} is what did not fit in the call before. */
static size_t client_output(struct pair *pair, uint8_t *buffer, const uint8_t **kept,
                            size_t *kept_length)
{
    size_t length = 0;

    for (;;) {
        ssize_t size = (ssize_t)*kept_length;

        if (size == 0)
            size = nghttp2_session_mem_send(pair->client, kept);
        if (size < 0)
            client_fail("client: %s", nghttp2_strerror((int)size));
        *kept_length = (size_t)size;
        if (size == 0 || length == BUFFER_SIZE)
            return length;
        if (*kept_length > BUFFER_SIZE - length)
            size = (ssize_t)(BUFFER_SIZE - length);
        memcpy(buffer + length, *kept, (size_t)size);
        length += (size_t)size;
        *kept += size;
        *kept_length -= (size_t)size;
    }
}

static void read_responses(struct pair *pair)
{
    uint8_t buffer[BUFFER_SIZE];
    size_t length;

    while ((length = send_some(pair, buffer)) > 0) {
        ssize_t taken = nghttp2_session_mem_recv(pair->client, buffer, length);

        if (taken < 0)
            client_fail("client: %s", nghttp2_strerror((int)taken));
    }
}

/* Pass bytes in both directions until neither end has any to send. */
static void exchange(struct pair *pair)
{
    uint8_t buffer[BUFFER_SIZE];
    const uint8_t *kept = NULL;
    size_t kept_length = 0;
    size_t length;

    while ((length = client_output(pair, buffer, &kept, &kept_length)) > 0) {
        receive(pair, buffer, length);
        read_responses(pair);
    }
    if (pair->closed != pair->sent)
        client_fail("%zu responses to %zu requests", pair->closed, pair->sent);
}

static void open_pair(struct pair *pair)
{
    open_session(pair);
    open_client(pair);
}

static void close_pair(struct pair *pair)
{
    close_session(pair);
    nghttp2_session_del(pair->client);
}

static void run_rounds(struct pair *pair)
{
    for (size_t round = 0; round < pair->input->rounds; round++) {
        if (pair->input->is_connection)
            open_pair(pair);
        for (size_t i = 0; i < pair->input->streams; i++)
            submit(pair, &pair->requests[i]);
        exchange(pair);
        if (pair->input->is_connection)
            close_pair(pair);
    }
}

static void prepare(struct pair *pair, const char *browser_fields)
{
    pair->requests = client_alloc(STREAMS_MAX, sizeof(struct request));
    for (size_t i = 0; i < pair->input->streams; i++) {
        if (pair->input->is_browser)
            request_browser(&pair->requests[i], browser_fields);
        else
            request_plain(&pair->requests[i], pair->input->is_upload ? "POST" : "GET");
    }
    pair->arena_memory = client_alloc(2, ARENA_SIZE);
    arena_start(&pair->lasting, pair->arena_memory, ARENA_SIZE);
    arena_start(&pair->passing, pair->arena_memory + ARENA_SIZE, ARENA_SIZE);
}

static const struct input *find_input(const char *name)
{
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        if (strcmp(inputs[i].name, name) == 0)
            return &inputs[i];
    }
    client_fail("%s: unknown input", name);
}

int main(int argc, char *argv[])
{
    struct pair pair = {0};

    if (argc != 3)
        client_fail("Usage: instructions INPUT BROWSER_FIELDS");
    pair.input = find_input(argv[1]);
    prepare(&pair, argv[2]);
    if (!pair.input->is_connection)
        open_pair(&pair);
    run_rounds(&pair);
    pair.is_counted = true;
    run_rounds(&pair);
    pair.is_counted = false;
    if (!pair.input->is_connection)
        close_pair(&pair);
    printf("%zu\n", pair.input->rounds * pair.input->streams);
    free(pair.requests);
    free(pair.arena_memory);
    return EXIT_SUCCESS;
}
