/*
 * daemon: the whole daemon but main, on a thread of the test program, and clients of it.
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

/* --- What its clients come by --- */

enum transport_kind { TRANSPORT_TCP, TRANSPORT_TLS };

/* The one that the test under way is run over. */
extern enum transport_kind daemon_transport;

int daemon_over_tcp(void **state);
int daemon_over_tls(void **state);
int daemon_teardown(void **state);

/* A test, and the same over TLS. */
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
    int result; /* the exit code, once it has stopped */
    /* What there was before it started. */
    size_t descriptors;
    long live;
};

/* For main, which is the test: the signals that the daemon takes come to nobody else. */
void daemon_prepare(void);

/* Settings from command-line words that end with NULL: a port of 127.0.0.1, beside it one for TLS
 * where that is what the test is run over, every debug line. */
struct settings *daemon_settings(const char *word, ...) __attribute__((sentinel));

/* Open the listener, start. The reference to the settings is taken over. What ${daemon} points to
 * has to outlive the test. */
void daemon_start(struct daemon *daemon, struct settings *settings);

/* SIGTERM. */
void daemon_terminate(void);

/* Wait for its end. Fail if it hangs, or leaves a descriptor open or a block allocated. */
void daemon_wait(struct daemon *daemon);

/* Both, and fail unless it stopped as it should, having cut nobody. */
void daemon_stop(struct daemon *daemon);

/* --- Its clients --- */

struct client {
    int fd;
    struct tls_client *tls; /* NULL = there is none */
    struct peer *peer;
    struct bytes raw; /* all that came, within TLS */
    bool is_http2;    /* else the peer is told nothing of what comes */
    size_t skip;      /* bytes that still come before the first frame */
    bool closed;      /* the daemon has closed or reset the connection */
    int32_t awaited;  /* client_check_served's */
};

/* A connection; nothing is sent on it yet. */
struct client *client_connect(const struct daemon *daemon);

/* Send what stands in client->peer->out. */
void client_send(struct client *client);

/* Take what comes until ${is_enough}, or the connection is gone; fail if that hangs. Time flies by
 * ${us} every few milliseconds. */
void client_wait_until(struct client *client, bool (*is_enough)(const struct client *client),
                       int64_t us);

/* Take what comes within a few milliseconds. */
void client_receive_available(struct client *client);

/* End writing, in TLS too: the daemon sees the peer's end. */
void client_shutdown_write(struct client *client);

/* Close the socket; what came by it stays. */
void client_close(struct client *client);

void client_free(struct client *client);

/* Ask; with the preface before the first request, which is stream 1. */
void client_send_get(struct client *client, int32_t stream_id);

/* Wait for the answer; fail unless it comes and is right. */
void client_check_served(struct client *client, int32_t stream_id);

#endif
