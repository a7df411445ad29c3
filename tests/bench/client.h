/*
 * client: what the benchmark's own load generators share. Any failure ends the process, since a
 * case in which a request failed has no stats.
 */
#ifndef H2ECHOD_TESTS_BENCH_CLIENT_H
#define H2ECHOD_TESTS_BENCH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

/*
 * client_fail(format, ...):
 * Print a message to stderr and exit with status 1.
 */
__attribute__((format(printf, 1, 2), noreturn)) void client_fail(const char *format, ...);

/*
 * client_alloc(count, size):
 * Return an array of ${count} elements of ${size} bytes, zeroed. The caller frees it with free.
 */
void *client_alloc(size_t count, size_t size);

/*
 * client_number(text, min, max):
 * Return the decimal number in ${text}, an argument of the command line, which has to be from
 * ${min} to ${max}.
 */
size_t client_number(const char *text, size_t min, size_t max);

/*
 * client_connect(port):
 * Return a blocking socket with TCP_NODELAY that is connected to ${port} on 127.0.0.1.
 */
int client_connect(uint16_t port);

/*
 * client_send(fd, bytes, length):
 * Send all ${length} bytes.
 */
void client_send(int fd, const void *bytes, size_t length);

/*
 * client_receive(fd, buffer, size):
 * Receive up to ${size} bytes into ${buffer}. Return how many were received, at least one.
 */
size_t client_receive(int fd, void *buffer, size_t size);

/*
 * client_watch(poller, fd, connection):
 * Add ${fd} to ${poller}, an epoll descriptor: client_run passes ${connection} to its callback when
 * ${fd} is readable.
 */
void client_watch(int poller, int fd, void *connection);

/* How long each response took. */
struct client_stats {
    uint32_t *took_us; /* owned; by response, in order of arrival */
    size_t count;      /* responses so far */
    size_t wanted;     /* responses in all */
    int64_t began_us;  /* clock_now().monotonic_us at client_begin */
};

/*
 * client_begin(wanted):
 * Return empty stats for ${wanted} responses, and start their clock. client_end frees them.
 */
struct client_stats client_begin(size_t wanted);

/*
 * client_count_response(stats, sent_us):
 * Count a response to a request that was sent at ${sent_us} of clock_now().monotonic_us.
 */
void client_count_response(struct client_stats *stats, int64_t sent_us);

/*
 * client_run(poller, stats, on_readable):
 * Call ${on_readable} for each connection that is readable, until all responses are counted.
 */
void client_run(int poller, const struct client_stats *stats,
                void (*on_readable)(void *connection));

/*
 * client_end(stats):
 * Print the stats as one line of JSON and free them.
 */
void client_end(struct client_stats *stats);

#endif
