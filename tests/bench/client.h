/*
 * client: what the bench's own load generators have in common. They end the process at the first
 * thing that goes wrong: a case in which a request failed has no figures.
 */
#ifndef H2ECHOD_TESTS_BENCH_CLIENT_H
#define H2ECHOD_TESTS_BENCH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

/*
 * client_fail(format, ...):
 * Say on stderr what went wrong, and end the process with status 1.
 */
__attribute__((format(printf, 1, 2), noreturn)) void client_fail(const char *format, ...);

/*
 * client_memory(count, size):
 * Return ${count} times ${size} bytes that are zero, to be freed by free.
 */
void *client_memory(size_t count, size_t size);

/*
 * client_number(text, least, most):
 * Return the number that ${text}, a word of the command line, is.
 */
size_t client_number(const char *text, size_t least, size_t most);

/*
 * client_connect(port):
 * Return a socket connected to ${port} on 127.0.0.1, without Nagle's delay. It blocks.
 */
int client_connect(uint16_t port);

/*
 * client_send(fd, bytes, length):
 * Send all of it.
 */
void client_send(int fd, const void *bytes, size_t length);

/*
 * client_receive(fd, buffer, size):
 * Return how many bytes came, at least one.
 */
size_t client_receive(int fd, void *buffer, size_t size);

/*
 * client_watch(poller, fd, connection):
 * Let ${poller}, an epoll descriptor, tell of ${connection} when ${fd} has something to be read.
 */
void client_watch(int poller, int fd, void *connection);

/* How long each answer took. */
struct client_figures {
    uint32_t *took_us; /* owned */
    size_t count;
    size_t wanted;
    int64_t began_us;
};

/*
 * client_begin(wanted):
 * Return figures for ${wanted} answers, begun now.
 */
struct client_figures client_begin(size_t wanted);

/*
 * client_answered(figures, asked_us):
 * An answer is here: to what was asked at ${asked_us} of clock_now().monotonic_us.
 */
void client_answered(struct client_figures *figures, int64_t asked_us);

/*
 * client_run(poller, figures, take):
 * Call ${take} for each connection that has something to be read, until every answer is here.
 */
void client_run(int poller, const struct client_figures *figures, void (*take)(void *connection));

/*
 * client_end(figures):
 * Print the figures as a line of JSON and free them.
 */
void client_end(struct client_figures *figures);

#endif
