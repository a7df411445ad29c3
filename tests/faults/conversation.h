/*
 * conversation: what a client sends to the daemon, step by step, and what it has to receive.
 *
 * A conversation without faults shows what is expected; the same conversation with a fault is
 * compared with it.
 */
#ifndef H2ECHOD_TESTS_CONVERSATION_H
#define H2ECHOD_TESTS_CONVERSATION_H

#include "faults/daemon.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Send something, then receive until enough was received. */
struct conversation_step {
    void (*send)(struct client *client);
    bool (*is_done)(const struct client *client);
    int64_t advance_us; /* how far the clock moves every few milliseconds meanwhile */
};

enum {
    OVER_TCP = 1 << TRANSPORT_TCP,
    OVER_TLS = 1 << TRANSPORT_TLS,
    OVER_EACH = OVER_TCP | OVER_TLS
};

struct conversation {
    const char *name;
    unsigned over;
    bool is_cleartext; /* the client does not use TLS, not even on the TLS port */
    bool is_http2;
    bool handshake_faults;                      /* allocations of the TLS handshake fail as well */
    void (*check)(const struct client *client); /* what is received without a fault */
    struct conversation_step steps[8];
};

/* Streams, and the initial window. */
enum {
    WINDOW = 1000,
    ONE = 1,
    MALFORMED = 3,
    SECOND_GET = 3,
    PUT = 5,
    LONG = 7,
    DROPPED = 9,
    HEAD = 11,
    HUGE = 13,
    MANY = 15,
    LAST = 29
};

enum { CONVERSATIONS = 9 };

extern const struct conversation *const conversations[CONVERSATIONS];
extern const struct conversation conversation_client_hello;

/* Steps that leave LONG and DROPPED unfinished, since their windows are closed. */
extern const struct conversation_step conversation_unfinished[];

/* Parts of steps: send the preface and a GET on stream ONE; send nothing; open the window of LONG
 * and cancel DROPPED; the daemon has closed the connection. */
void conversation_send_one(struct client *client);
void conversation_send_nothing(struct client *client);
void conversation_send_window(struct client *client);
bool conversation_is_closed(const struct client *client);

const struct peer_response *conversation_response(const struct client *client, int32_t stream_id);

/* Return true if the response is complete or the stream was reset. */
bool conversation_is_answered(const struct client *client, int32_t stream_id);

/* Connect as ${conversation} does. */
struct client *conversation_connect(const struct daemon *daemon,
                                    const struct conversation *conversation);

/* Complete the TLS handshake, if there is one. */
void conversation_handshake(struct client *client);

/* Take each step, until the connection is closed. */
void conversation_run_steps(struct client *client, const struct conversation_step *steps);

/* Connect and take every step. The caller frees the client. */
struct client *conversation_run(const struct daemon *daemon,
                                const struct conversation *conversation);

/* Fail unless everything that ${client} received is right, even if something is missing. */
void conversation_check_part(const struct client *client, const struct client *expected);

/* Fail unless ${client} received the same as ${expected}. */
void conversation_check_same(const struct client *client, const struct client *expected);

#endif
