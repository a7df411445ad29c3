/*
 * client: the client's end of TLS, in memory: whoever carries the bytes does that himself.
 *
 *     what is said ──> tls_client ──> bytes for the server
 *     what came    <── tls_client <── bytes from the server
 *
 * It never waits. What is said before the handshake is over is kept until then.
 */
#ifndef H2ECHOD_TESTS_TLS_CLIENT_H
#define H2ECHOD_TESTS_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_st;
struct bio_st;

struct tls_client {
    struct ssl_st *ssl; /* a test may set more of it before the first byte */
    struct bio_st *from_server;
    struct bio_st *to_server;
    struct bio_st *kept; /* said, but not in a record yet */
    bool is_over;        /* the server has said that it says no more */
    bool is_broken;      /* what came was wrong, or the server's alert says that what we said is */
    unsigned long error; /* OpenSSL's, if it is broken */
};

/* A client of HTTP/2 that believes any certificate, or NULL if this build has no TLS. */
struct tls_client *tls_client_new(void);

void tls_client_free(struct tls_client *client);

/* Say ${bytes}; with none, only begin or go on with the handshake. */
void tls_client_say(struct tls_client *client, const void *bytes, size_t length);

/* Say that nothing more comes: close_notify. */
void tls_client_end(struct tls_client *client);

/* Take what the server is to get. Return how many bytes that is. */
size_t tls_client_take(struct tls_client *client, uint8_t *bytes, size_t size);

/* Give what came from the server. */
void tls_client_give(struct tls_client *client, const uint8_t *bytes, size_t length);

/* Hear what the server said. Return how many bytes that is, 0 if there is no more as yet. */
size_t tls_client_hear(struct tls_client *client, uint8_t *bytes, size_t size);

bool tls_client_has_shaken_hands(const struct tls_client *client);

#endif
