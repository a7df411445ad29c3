/*
 * pair: a server of net/tls and an OpenSSL client, connected in memory.
 *
 * The server's I/O callbacks can be made to fail, to be interrupted, or to move single bytes. For
 * builds with TLS, except tls_pair_main_without_tls.
 */
#ifndef H2ECHOD_TESTS_TLS_PAIR_H
#define H2ECHOD_TESTS_TLS_PAIR_H

#include "net/tls.h"
#include "tls/client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum tls_pair_call { TLS_PAIR_READ, TLS_PAIR_WRITE };

/* What goes wrong in the server's callbacks. */
struct tls_pair_fault {
    const char *name;
    enum tls_pair_call call;
    int error;         /* errno; 0 = none. EINTR and EAGAIN occur once, others from call n on */
    bool every_second; /* fail every second call instead */
    bool byte_by_byte; /* each call moves one byte */
};

struct tls_pair {
    struct tls_client *client;
    struct tls *server;
    const struct tls_pair_fault *fault; /* NULL = none */
    size_t n;                           /* the first call that fails, from 0 */
    size_t calls[2];
    bool is_fault_hit;
    bool is_client_gone; /* the server reads the end after what has been sent */
    bool is_cut;         /* only so many bytes from the client reach the server: */
    size_t left;
    uint8_t received[1 << 16]; /* by the client */
    size_t received_length;
};

/* True while the client works: a test must not let its allocations fail. */
extern bool tls_pair_is_client_working;

/* Return a context with a generated certificate for unit.example and 192.0.2.1. */
struct tls_context *tls_pair_new_context(void);

/* Create both ends. ${fault} occurs at call ${n}. */
void tls_pair_open(struct tls_pair *pair, struct tls_context *context,
                   const struct tls_pair_fault *fault, size_t n);

/* The same in two steps, without a fault. The second returns false if memory ran out. */
void tls_pair_open_client(struct tls_pair *pair);
bool tls_pair_open_server(struct tls_pair *pair, struct tls_context *context);

void tls_pair_close(struct tls_pair *pair);

/* Return true for the errors after which a call is to be repeated. */
bool tls_pair_is_retry(int error);

/* Let the client process what the server has sent, keeping errno. */
void tls_pair_let_client_work(struct tls_pair *pair);

/* Repeat the handshake until it ends. Return what tls_handshake returned last. */
int tls_pair_handshake(struct tls_pair *pair);

/* Let the server write everything. Return false with errno if that failed. */
bool tls_pair_write_all(struct tls_pair *pair, const void *bytes, size_t length);

/* Let the server read ${size} bytes, or up to the end. Return how many, or -1 with errno. */
ssize_t tls_pair_read_all(struct tls_pair *pair, uint8_t *bytes, size_t size);

/* Let the client read everything into pair->received. */
void tls_pair_receive(struct tls_pair *pair);

/* A handshake, and content in both directions, which is checked. Return false with errno if the
 * server failed. */
bool tls_pair_converse(struct tls_pair *pair);

/* close_notify in both directions. */
void tls_pair_shutdown(struct tls_pair *pair);

/* The main function of a test in a build without TLS. */
int tls_pair_main_without_tls(void);

#endif
