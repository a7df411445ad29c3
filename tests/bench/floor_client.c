/*
 * floor_client PORT CONNECTIONS REQUESTS [US]: the load generator for floor. From one thread, it
 * keeps one message in flight on each connection, and prints how long the responses took. With US,
 * it computes for that many microseconds before each message, as an HTTP/2 client would: waking a
 * thread costs more or less depending on how fast messages arrive.
 */
#include "bench/client.h"

#include "base/clock.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    REQUEST_SIZE = 40,
    RESPONSE_SIZE = 180,
    CONNECTIONS_MAX = 10000,
    REQUESTS_MAX = 100000000,
    BUSY_MAX = 1000
};

struct load {
    size_t sent; /* messages */
    int64_t busy_us;
    struct client_stats stats;
};

struct connection {
    struct load *load;
    int fd;
    size_t received; /* bytes of the response to the message in flight */
    int64_t sent_us;
};

static void busy_wait(int64_t us)
{
    int64_t end_us = clock_now().monotonic_us + us;

    while (clock_now().monotonic_us < end_us) {
    }
}

static void send_message(struct connection *connection)
{
    static const char request[REQUEST_SIZE];
    struct load *load = connection->load;

    if (load->sent == load->stats.wanted)
        return;
    load->sent++;
    if (load->busy_us > 0)
        busy_wait(load->busy_us);
    connection->received = 0;
    connection->sent_us = clock_now().monotonic_us;
    client_send(connection->fd, request, sizeof(request));
}

static void on_readable(void *argument)
{
    struct connection *connection = argument;
    char response[RESPONSE_SIZE];

    connection->received +=
        client_receive(connection->fd, response, sizeof(response) - connection->received);
    if (connection->received < sizeof(response))
        return;
    client_count_response(&connection->load->stats, connection->sent_us);
    send_message(connection);
}

int main(int argc, char *argv[])
{
    struct load load = {0};
    struct connection *connections;
    uint16_t port;
    size_t count;
    int poller = epoll_create1(EPOLL_CLOEXEC);

    if (argc < 4 || argc > 5 || poller < 0)
        client_fail("Usage: floor_client PORT CONNECTIONS REQUESTS [US]");
    if (argc == 5)
        load.busy_us = (int64_t)client_number(argv[4], 1, BUSY_MAX);
    port = (uint16_t)client_number(argv[1], 1, UINT16_MAX);
    count = client_number(argv[2], 1, CONNECTIONS_MAX);
    connections = client_alloc(count, sizeof(*connections));
    for (size_t i = 0; i < count; i++) {
        connections[i] = (struct connection){.load = &load, .fd = client_connect(port)};
        client_watch(poller, connections[i].fd, &connections[i]);
    }
    load.stats = client_begin(client_number(argv[3], count, REQUESTS_MAX));
    for (size_t i = 0; i < count; i++)
        send_message(&connections[i]);
    client_run(poller, &load.stats, on_readable);
    client_end(&load.stats);
    for (size_t i = 0; i < count; i++)
        close(connections[i].fd);
    free(connections);
    close(poller);
    return EXIT_SUCCESS;
}
