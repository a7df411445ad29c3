#include "bench/client.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { TIMEOUT_MS = 10000 }; /* without any response */

void client_fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

void *client_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL)
        client_fail("out of memory");
    return memory;
}

size_t client_number(const char *text, size_t min, size_t max)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < min || number > max)
        client_fail("%s: not a number from %zu to %zu", text, min, max);
    return (size_t)number;
}

int client_connect(uint16_t port)
{
    const struct sockaddr_in server = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        connect(fd, (const struct sockaddr *)&server, sizeof(server)) != 0)
        client_fail("cannot connect to port %d: %s", port, strerror(errno));
    return fd;
}

void client_send(int fd, const void *bytes, size_t length)
{
    const uint8_t *next = bytes;

    while (length > 0) {
        ssize_t sent = send(fd, next, length, MSG_NOSIGNAL);

        if (sent < 0)
            client_fail("send: %s", strerror(errno));
        next += sent;
        length -= (size_t)sent;
    }
}

size_t client_receive(int fd, void *buffer, size_t size)
{
    ssize_t length = recv(fd, buffer, size, 0);

    if (length <= 0)
        client_fail("recv: %s", length < 0 ? strerror(errno) : "the server closed the connection");
    return (size_t)length;
}

void client_watch(int poller, int fd, void *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = connection}};

    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0)
        client_fail("epoll_ctl: %s", strerror(errno));
}

struct client_stats client_begin(size_t wanted)
{
    return (struct client_stats){.took_us = client_alloc(wanted, sizeof(uint32_t)),
                                 .wanted = wanted,
                                 .began_us = clock_now().monotonic_us};
}

void client_count_response(struct client_stats *stats, int64_t sent_us)
{
    stats->took_us[stats->count++] = (uint32_t)(clock_now().monotonic_us - sent_us);
}

void client_run(int poller, const struct client_stats *stats, void (*on_readable)(void *connection))
{
    struct epoll_event events[256];

    while (stats->count < stats->wanted) {
        int count = epoll_wait(poller, events, sizeof(events) / sizeof(events[0]), TIMEOUT_MS);

        if (count <= 0)
            client_fail("%zu responses of %zu, then none for %d s", stats->count, stats->wanted,
                        TIMEOUT_MS / 1000);
        for (int i = 0; i < count; i++)
            on_readable(events[i].data.ptr);
    }
}

static int compare_times(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

void client_end(struct client_stats *stats)
{
    double seconds = (double)(clock_now().monotonic_us - stats->began_us) / 1e6;

    qsort(stats->took_us, stats->count, sizeof(uint32_t), compare_times);
    printf("{\"requests\": %zu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u}\n", stats->count,
           seconds, stats->took_us[stats->count / 2], stats->took_us[stats->count * 99 / 100]);
    free(stats->took_us);
}
