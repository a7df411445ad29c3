/*
 * tls_internal: what tls.c and tls_context.c share. For no other file.
 */
#ifndef H2ECHOD_NET_TLS_INTERNAL_H
#define H2ECHOD_NET_TLS_INTERNAL_H

#include <stdbool.h>

#include <openssl/ssl.h>

struct tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *bio_method; /* from tls_bio_method_new */
    bool is_generated;      /* the certificate */
};

/*
 * tls_bio_method_new(void):
 * Return the methods of a BIO that calls a connection's struct tls_io, to be freed with
 * BIO_meth_free; NULL if memory ran out.
 */
BIO_METHOD *tls_bio_method_new(void);

#endif
