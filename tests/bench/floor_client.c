/*
 * floor_client PORT CONNECTIONS REQUESTS [US]: keeps one message in flight on each connection to
 * the floor, from one thread, and prints how long the answers took. It is busy for so many
 * microseconds before each message, as a client that speaks HTTP/2 is: how fast messages come
 * changes what it costs to wake a thread for each.
 */
#include "bench/client.h"

#include "base/clock.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    REQUEST_SIZE = 40,
    ANSWER_SIZE = 180,
    CONNECTIONS_MAX = 10000,
    REQUESTS_MAX = 100000000,
    BUSY_MAX = 1000
};

struct load {
    size_t asked;
    int64_t busy_us;
    struct client_figures figures;
};

struct connection {
    struct load *load;
    int fd;
    size_t received; /* bytes of the answer that is awaited */
    int64_t asked_us;
};

static void be_busy(int64_t us)
{
    int64_t end_us = clock_now().monotonic_us + us;

    while (clock_now().monotonic_us < end_us) {
    }
}

static void ask(struct connection *connection)
{
    static const char request[REQUEST_SIZE];
    struct load *load = connection->load;

    if (load->asked == load->figures.wanted)
        return;
    load->asked++;
    if (load->busy_us > 0)
        be_busy(load->busy_us);
    connection->received = 0;
    connection->asked_us = clock_now().monotonic_us;
    client_send(connection->fd, request, sizeof(request));
}

static void take(void *argument)
{
    struct connection *connection = argument;
    char answer[ANSWER_SIZE];

    connection->received +=
        client_receive(connection->fd, answer, sizeof(answer) - connection->received);
    if (connection->received < sizeof(answer))
        return;
    client_answered(&connection->load->figures, connection->asked_us);
    ask(connection);
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
    connections = client_memory(count, sizeof(*connections));
    for (size_t i = 0; i < count; i++) {
        connections[i] = (struct connection){.load = &load, .fd = client_connect(port)};
        client_watch(poller, connections[i].fd, &connections[i]);
    }
    load.figures = client_begin(client_number(argv[3], count, REQUESTS_MAX));
    for (size_t i = 0; i < count; i++)
        ask(&connections[i]);
    client_run(poller, &load.figures, take);
    client_end(&load.figures);
    for (size_t i = 0; i < count; i++)
        close(connections[i].fd);
    free(connections);
    close(poller);
    return EXIT_SUCCESS;
}
