/*
 * daemon: the whole daemon except main, on a thread of the test program, and clients of it.
 *
 * Failures are reported by cmocka.
 */
#ifndef H2ECHOD_TESTS_DAEMON_H
#define H2ECHOD_TESTS_DAEMON_H

#include "config/settings.h"
#include "faults/faults.h"
#include "net/listener.h"
#include "session/peer.h"
#include "tls/client.h"

#include <pthread.h>
#include <stdbool.h>

/* --- TCP or TLS --- */

enum transport_kind { TRANSPORT_TCP, TRANSPORT_TLS };

/* What the clients of the current test use. */
extern enum transport_kind daemon_transport;

/* Setup and teardown of a test. */
int daemon_over_tcp(void **state);
int daemon_over_tls(void **state);
int daemon_teardown(void **state);

/* A test over TCP, and the same test over TCP and over TLS. */
/* clang-format off */
#define TEST_OVER_TCP(test) {#test, test, daemon_over_tcp, daemon_teardown, NULL}
#if WITH_TLS
#define TEST_OVER_EACH(test) \
    TEST_OVER_TCP(test), {#test " over TLS", test, daemon_over_tls, daemon_teardown, NULL}
#else
#define TEST_OVER_EACH(test) TEST_OVER_TCP(test)
#endif
/* clang-format on */

/* --- The daemon --- */

struct daemon {
    pthread_t thread;
    struct settings *settings;
    struct listeners listeners;
    int port;
    int result;         /* the exit code, once it has stopped */
    size_t descriptors; /* that were open before it started */
    long live;          /* blocks that were allocated before it started */
};

/* To be called first in main: block SIGTERM, so that only the daemon receives it. */
void daemon_prepare(void);

/* Return settings from command-line options, which end with NULL, besides a port on 127.0.0.1, and
 * one for TLS if the test uses that. A reference, for the caller to give back. */
struct settings *daemon_settings(const char *word, ...) __attribute__((sentinel));

/* Open the listeners and start the daemon, which takes over the reference to the settings.
 * ${daemon} has to outlive the test. */
void daemon_start(struct daemon *daemon, struct settings *settings);

/* Send SIGTERM. */
void daemon_terminate(void);

/* Wait until the daemon has ended. Fail if it hangs, or leaves descriptors open or blocks
 * allocated. */
void daemon_wait(struct daemon *daemon);

/* Terminate the daemon and wait for its end. Fail if its exit code is not 0. */
void daemon_stop(struct daemon *daemon);

/* --- Its clients --- */

struct client {
    int fd;
    struct tls_client *tls; /* NULL = over TCP */
    struct peer *peer;
    struct bytes raw; /* all bytes received, decrypted */
    bool is_http2;    /* the bytes received go to the peer */
    size_t skip;      /* bytes that are still to be received before the first frame */
    bool closed;      /* the daemon has closed or reset the connection */
    int32_t awaited;  /* the stream that client_check_served waits for */
};

/* Connect, without sending anything. To be freed with client_free. */
struct client *client_connect(const struct daemon *daemon);

/* Send the bytes in client->peer->out. */
void client_send(struct client *client);

/* Receive until ${is_enough} or the connection is closed; fail if that hangs. The daemon's clock
 * goes on by ${us} in every millisecond. */
void client_wait_until(struct client *client, bool (*is_enough)(const struct client *client),
                       int64_t us);

/* Receive until nothing comes for a few milliseconds. */
void client_receive_available(struct client *client);

/* Send close_notify over TLS, and shut down writing: the daemon sees the end of input. */
void client_shutdown_write(struct client *client);

/* Close the socket; what was received is kept. */
void client_close(struct client *client);

void client_free(struct client *client);

/* Send a GET request, with the preface before the first one, which is on stream 1. */
void client_send_get(struct client *client, int32_t stream_id);

/* Wait for the response; fail if it does not come or is wrong. */
void client_check_served(struct client *client, int32_t stream_id);

#endif
