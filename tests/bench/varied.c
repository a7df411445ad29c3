/*
 * varied PORT CONNECTIONS STREAMS REQUESTS [echo | same [ALIKE]]: a load generator whose requests
 * all differ in :path and x-request-id, which h2load cannot do. With ALIKE, so many requests in a
 * row are the same. One thread keeps STREAMS requests in flight on each connection. Every response
 * must have the status 200. With "echo", its content must contain the request's path and
 * x-request-id; with "same", it must be h2echod's to the byte.
 */
#include "bench/client.h"
#include "bench/request.h"

#include "base/clock.h"

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 10000,
    STREAMS_MAX = 1000,
    REQUESTS_MAX = 100000000,
    BUFFER_SIZE = 64 * 1024,
    BODY_MAX = 1024, /* bytes of content that are kept and compared */
    ALIKE_MAX = 1000000,
    WINDOW = (1 << 30) - 1,
};

struct load {
    size_t sent;  /* requests */
    size_t alike; /* requests in a row that are the same */
    bool is_echo;
    bool is_same;
    struct client_stats stats;
};

/* A request in flight, and what has arrived of its response. */
struct exchange {
    struct request request;
    int64_t sent_us;
    bool has_200;
    size_t body_length;
    char body[BODY_MAX + 1];
};

struct connection {
    struct load *load;
    int fd;
    nghttp2_session *session;   /* owned */
    struct exchange *exchanges; /* owned: one for each stream at once */
};

static void submit(struct connection *connection, struct exchange *exchange)
{
    exchange->sent_us = clock_now().monotonic_us;
    exchange->has_200 = false;
    exchange->body_length = 0;
    request_varied(&exchange->request, connection->load->sent++ / connection->load->alike);
    if (nghttp2_submit_request(connection->session, NULL, exchange->request.fields,
                               exchange->request.field_count, NULL, exchange) < 0)
        client_fail("a request could not be submitted");
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *argument)
{
    struct exchange *exchange = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags;
    (void)argument;
    if (exchange != NULL && name_length == 7 && memcmp(name, ":status", 7) == 0)
        exchange->has_200 = value_length == 3 && memcmp(value, "200", 3) == 0;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t length, void *argument)
{
    struct exchange *exchange = nghttp2_session_get_stream_user_data(session, stream_id);
    size_t room = BODY_MAX - exchange->body_length;

    (void)flags;
    (void)argument;
    memcpy(exchange->body + exchange->body_length, data, length < room ? length : room);
    exchange->body_length += length < room ? length : room;
    return 0;
}

/* Return true if the content is what the load expects. */
static bool is_right(const struct load *load, const struct exchange *exchange)
{
    if (load->is_echo)
        return strstr(exchange->body, exchange->request.path) != NULL &&
               strstr(exchange->body, exchange->request.value) != NULL;
    return !load->is_same ||
           request_is_echoed(&exchange->request, exchange->body, exchange->body_length);
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *argument)
{
    struct connection *connection = argument;
    struct load *load = connection->load;
    struct exchange *exchange = nghttp2_session_get_stream_user_data(session, stream_id);

    exchange->body[exchange->body_length] = '\0';
    if (error_code != NGHTTP2_NO_ERROR || !exchange->has_200 || exchange->body_length == 0)
        client_fail("%s was not answered with 200", exchange->request.path);
    if (!is_right(load, exchange))
        client_fail("%s, %s: wrong response: %s", exchange->request.path, exchange->request.value,
                    exchange->body);
    client_count_response(&load->stats, exchange->sent_us);
    if (load->sent < load->stats.wanted)
        submit(connection, exchange);
    return 0;
}

static nghttp2_session *new_session(struct connection *connection)
{
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW};
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        client_fail("out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    if (nghttp2_session_client_new(&session, callbacks, connection) != 0 ||
        nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &window, 1) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, WINDOW) != 0)
        client_fail("cannot make a session");
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

/* Send everything that the session has to send, in as few calls as the buffer allows. */
static void flush(struct connection *connection)
{
    uint8_t buffer[BUFFER_SIZE];
    size_t length = 0;
    const uint8_t *piece;
    ssize_t size;

    while ((size = nghttp2_session_mem_send(connection->session, &piece)) > 0) {
        if (length + (size_t)size > sizeof(buffer)) {
            client_send(connection->fd, buffer, length);
            length = 0;
        }
        memcpy(buffer + length, piece, (size_t)size);
        length += (size_t)size;
    }
    if (size < 0)
        client_fail("nghttp2: %s", nghttp2_strerror((int)size));
    client_send(connection->fd, buffer, length);
}

static void on_readable(void *argument)
{
    struct connection *connection = argument;
    uint8_t buffer[BUFFER_SIZE];
    size_t length = client_receive(connection->fd, buffer, sizeof(buffer));
    ssize_t taken = nghttp2_session_mem_recv(connection->session, buffer, length);

    if (taken < 0)
        client_fail("nghttp2: %s", nghttp2_strerror((int)taken));
    flush(connection);
}

static void open_connection(struct connection *connection, struct load *load, uint16_t port,
                            size_t streams)
{
    *connection = (struct connection){
        .load = load,
        .fd = client_connect(port),
        .exchanges = client_alloc(streams, sizeof(struct exchange)),
    };
    connection->session = new_session(connection);
    for (size_t i = 0; i < streams && load->sent < load->stats.wanted; i++)
        submit(connection, &connection->exchanges[i]);
    flush(connection);
}

static void close_connection(struct connection *connection)
{
    nghttp2_session_del(connection->session);
    free(connection->exchanges);
    close(connection->fd);
}

int main(int argc, char *argv[])
{
    struct load load = {
        .alike = argc == 7 ? client_number(argv[6], 1, ALIKE_MAX) : 1,
        .is_echo = argc == 6 && strcmp(argv[5], "echo") == 0,
        .is_same = argc >= 6 && strcmp(argv[5], "same") == 0,
    };
    struct connection *connections;
    uint16_t port;
    size_t count;
    size_t streams;
    int poller = epoll_create1(EPOLL_CLOEXEC);

    if (argc < 5 || argc > 7 || (argc > 5 && !load.is_echo && !load.is_same) || poller < 0)
        client_fail("Usage: varied PORT CONNECTIONS STREAMS REQUESTS [echo | same [ALIKE]]");
    port = (uint16_t)client_number(argv[1], 1, UINT16_MAX);
    count = client_number(argv[2], 1, CONNECTIONS_MAX);
    streams = client_number(argv[3], 1, STREAMS_MAX);
    connections = client_alloc(count, sizeof(*connections));
    load.stats = client_begin(client_number(argv[4], 1, REQUESTS_MAX));
    for (size_t i = 0; i < count; i++) {
        open_connection(&connections[i], &load, port, streams);
        client_watch(poller, connections[i].fd, &connections[i]);
    }
    client_run(poller, &load.stats, on_readable);
    client_end(&load.stats);
    for (size_t i = 0; i < count; i++)
        close_connection(&connections[i]);
    free(connections);
    close(poller);
    return EXIT_SUCCESS;
}
