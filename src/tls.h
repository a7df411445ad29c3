/*
 * tls: TLS as a server, over bytes that somebody else moves. OpenSSL stands here and in
 * certificate.
 *
 *     certificate, key, rules ──> tls_context ──> a struct tls for each connection
 *
 * TLS 1.2 and 1.3, suites with forward secrecy and authenticated encryption alone, no compression
 * and no renegotiation: what RFC 9113 section 9.2 asks for is all that can be negotiated.
 *
 * A build without OpenSSL (WITH_TLS=0) has all of this, too: no context can be had of it.
 */
#ifndef H2ECHOD_TLS_H
#define H2ECHOD_TLS_H

#include "certificate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls_context; /* immutable; must outlive the connections made with it */
struct tls;

enum tls_version { TLS_1_2, TLS_1_3 };
enum tls_verify { TLS_VERIFY_OFF, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRED };

/* What a context is made of. */
struct tls_options {
    const char *certificate; /* the file of the chain in PEM; NULL = one made in memory */
    const char *key;         /* the file of its private key; NULL = the same */
    const char *client_ca;   /* the file of who may sign clients' certificates; NULL = nobody */
    char *const *names;      /* hosts of the one in memory, besides localhost; NULL = all of ours */
    enum tls_verify verify;
    enum tls_version least;
};

enum { TLS_ERROR_MAX = 512, TLS_HOST_MAX = 256 };

/* What a handshake came to. */
struct tls_facts {
    const char *version; /* "TLSv1.3"; static, as the next two */
    const char *cipher;
    const char *alpn;       /* "h2", "http/1.1" or, if none was chosen, "" */
    char sni[TLS_HOST_MAX]; /* the host that the client asked for, as it came; "" = none */
    bool has_client;        /* it had a certificate, which was verified */
    char client[CERTIFICATE_SUBJECT_MAX]; /* whose subject may be empty; as it came */
    bool resumed;
};

/* How TLS gets at its connection; both return as recv and send do, -1 with EINTR or EAGAIN where
 * the call is to be repeated. */
struct tls_wire {
    ssize_t (*read)(void *argument, void *buffer, size_t size);
    ssize_t (*write)(void *argument, const void *bytes, size_t length);
    void *argument;
};

/*
 * tls_library(void):
 * Return the version of OpenSSL in use, a static string; NULL if this build has no TLS.
 */
const char *tls_library(void);

/*
 * tls_context_new(options, error):
 * Return a context, or NULL with the reason in ${error}: "tls-cert: FILE: what is wrong; what would
 * be right". A certificate in memory is made once in the process's life, so that who has come to
 * trust it can go on to. Not for two threads at once.
 */
struct tls_context *tls_context_new(const struct tls_options *options, char error[TLS_ERROR_MAX]);

/*
 * tls_context_free(context):
 * Free the context. NULL is fine.
 */
void tls_context_free(struct tls_context *context);

/*
 * tls_context_certificate(context, certificate):
 * Tell what clients are shown.
 */
void tls_context_certificate(const struct tls_context *context, struct certificate *certificate);

/*
 * tls_new(context, wire):
 * Return a connection whose client is to begin the handshake, or NULL if memory ran out. ${wire} is
 * copied.
 */
struct tls *tls_new(struct tls_context *context, const struct tls_wire *wire);

/*
 * tls_free(tls):
 * Free the connection. NULL is fine.
 */
void tls_free(struct tls *tls);

/*
 * tls_handshake(tls):
 * Go on with the handshake. Return 1 if it is over, 0 if the client has gone, or -1 with errno:
 * EINTR or EAGAIN if it is to be called again; EPROTO if tls_error says why there will be none, of
 * which the client was told as far as that was possible; ENOMEM if memory ran out.
 */
int tls_handshake(struct tls *tls);

/*
 * tls_read(tls, buffer, size):
 * Return how many bytes came, 0 if the client has sent all that it will, or -1 with errno as
 * tls_handshake. EINTR also says that something came which was not the application's.
 */
ssize_t tls_read(struct tls *tls, uint8_t *buffer, size_t size);

/*
 * tls_write(tls, bytes, length):
 * Return how many bytes were taken, or -1 with errno as tls_handshake. After EINTR or EAGAIN the
 * same bytes have to come again: part of them may be on their way.
 */
ssize_t tls_write(struct tls *tls, const uint8_t *bytes, size_t length);

/*
 * tls_awaits_bytes(tls):
 * Return true if the last tls_read could only wait for bytes: all that came before has been read,
 * except the beginning of a record.
 */
bool tls_awaits_bytes(const struct tls *tls);

/*
 * tls_end_writing(tls):
 * Say that nothing more will be sent (close_notify), where that can still be said; once.
 */
void tls_end_writing(struct tls *tls);

/*
 * tls_error(tls):
 * Return why errno was EPROTO, in words.
 */
const char *tls_error(const struct tls *tls);

/*
 * tls_weakness(tls):
 * Return what of the finished handshake HTTP/2 must not be spoken with (RFC 9113 section 9.2.1), in
 * static words; NULL = nothing. Only the system's configuration of OpenSSL can let that happen.
 */
const char *tls_weakness(const struct tls *tls);

/*
 * tls_describe(tls, facts):
 * Tell what the handshake came to.
 */
void tls_describe(const struct tls *tls, struct tls_facts *facts);

#endif
