/*
 * client: a TLS client in memory; the caller moves the bytes.
 *
 *     tls_client_write --> records --> tls_client_take_output --> server
 *     tls_client_read  <-- records <-- tls_client_add_input   <-- server
 *
 * It never blocks. What is written before the handshake is complete is kept until then.
 */
#ifndef H2ECHOD_TESTS_TLS_CLIENT_H
#define H2ECHOD_TESTS_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_st;
struct bio_st;

struct tls_client {
    struct ssl_st *ssl; /* a test may configure it before the first byte is sent */
    struct bio_st *from_server;
    struct bio_st *to_server;
    struct bio_st *unsent; /* written, but not in a record yet */
    bool has_peer_closed;  /* the server sent close_notify */
    bool is_broken;        /* a TLS error, on this side or reported by the server's alert */
    unsigned long error;   /* OpenSSL's code, if is_broken */
};

/* Return a client that offers h2 and accepts any certificate; NULL if this build has no TLS. */
struct tls_client *tls_client_new(void);

void tls_client_free(struct tls_client *client);

/* Write ${bytes}. With length 0, only start or continue the handshake. */
void tls_client_write(struct tls_client *client, const void *bytes, size_t length);

/* Send close_notify. */
void tls_client_close(struct tls_client *client);

/* Take what is to be sent to the server. Return its length. */
size_t tls_client_take_output(struct tls_client *client, uint8_t *bytes, size_t size);

/* Add what was received from the server. */
void tls_client_add_input(struct tls_client *client, const uint8_t *bytes, size_t length);

/* Read what the server wrote. Return its length; 0 if there is nothing more yet. */
size_t tls_client_read(struct tls_client *client, uint8_t *bytes, size_t size);

bool tls_client_is_handshake_done(const struct tls_client *client);

#endif
