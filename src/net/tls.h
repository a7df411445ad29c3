/*
 * tls: the server side of TLS. OpenSSL encrypts and decrypts; the bytes are moved by callbacks.
 *
 *     certificate, key, rules --> tls_context --> one struct tls for each connection
 *
 * TLS 1.2 and 1.3, only cipher suites with forward secrecy and authenticated encryption, no
 * compression, no renegotiation: everything that can be negotiated satisfies RFC 9113 section 9.2.
 *
 * OpenSSL is used only here and in certificate.c. This code must not touch a socket itself. In a
 * build without OpenSSL (WITH_TLS=0) all functions exist, but no context can be created.
 *
 *     tls.c          connections
 *     tls_context.c  contexts: files, protocol rules
 *     tls_errors.c   OpenSSL's error queue, and the texts of errors
 *     tls_none.c     the same functions in a build without OpenSSL
 */
#ifndef H2ECHOD_NET_TLS_H
#define H2ECHOD_NET_TLS_H

#include "net/certificate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls_context; /* immutable; must outlive the connections made with it */
struct tls;

enum tls_version { TLS_1_2, TLS_1_3 };
enum tls_verify { TLS_VERIFY_OFF, TLS_VERIFY_OPTIONAL, TLS_VERIFY_REQUIRED };

/* What a context is made from. Files are in PEM format. */
struct tls_options {
    const char *certificate; /* file with the certificate chain; NULL = generate a certificate */
    const char *key;         /* file with the private key; NULL = the same file */
    const char *client_ca;   /* file with the CAs of client certificates; NULL = none */
    char *const *hosts;      /* for the generated certificate, as certificate_generate takes them */
    enum tls_verify verify;
    enum tls_version min_version;
};

enum { TLS_ERROR_MAX = 512, TLS_HOST_MAX = 256 };

/* The result of a handshake. */
struct tls_info {
    const char *version; /* "TLSv1.3"; static, like the next two */
    const char *cipher;
    const char *alpn;            /* "h2", "http/1.1", or "" if none was negotiated */
    char sni[TLS_HOST_MAX];      /* the host in the client's SNI, not escaped; "" = none */
    bool has_client_certificate; /* the client sent one, and it was verified */
    char client_subject[CERTIFICATE_SUBJECT_MAX]; /* its subject, not escaped; may be empty */
    bool resumed;
};

/* How OpenSSL reads from and writes to the connection. Both return what recv and send return; -1
 * with EINTR or EAGAIN means that the call is to be repeated. */
struct tls_io {
    ssize_t (*read)(void *argument, void *buffer, size_t size);
    ssize_t (*write)(void *argument, const void *bytes, size_t length);
    void *argument;
};

/*
 * tls_library_version(void):
 * Return the version of OpenSSL in use, a static string; NULL if this build has no TLS.
 */
const char *tls_library_version(void);

/*
 * tls_context_new(options, error):
 * Return a context, to be freed with tls_context_free, or NULL with the reason in ${error}:
 * "tls-cert: FILE: what is wrong: what to do". A certificate is generated once per process, so that
 * a client that trusts it can still do so after a reload. Not thread-safe.
 */
struct tls_context *tls_context_new(const struct tls_options *options, char error[TLS_ERROR_MAX]);

/*
 * tls_context_free(context):
 * Free the context. NULL is allowed.
 */
void tls_context_free(struct tls_context *context);

/*
 * tls_context_certificate(context, certificate):
 * Fill ${certificate} with a description of the certificate that clients are shown.
 */
void tls_context_certificate(const struct tls_context *context, struct certificate *certificate);

/*
 * tls_new(context, io):
 * Return a connection that waits for the client to start the handshake, to be freed with tls_free;
 * NULL if memory ran out. ${io} is copied.
 */
struct tls *tls_new(struct tls_context *context, const struct tls_io *io);

/*
 * tls_free(tls):
 * Free the connection. NULL is allowed.
 */
void tls_free(struct tls *tls);

/*
 * tls_handshake(tls):
 * Continue the handshake. Return 1 if it is complete, 0 if the client closed the connection, or -1
 * with errno: EINTR or EAGAIN = call again; EPROTO = the handshake failed, tls_error says why, and
 * an alert was sent if possible; ENOMEM = memory ran out; otherwise the error of the callback.
 */
int tls_handshake(struct tls *tls);

/*
 * tls_read(tls, buffer, size):
 * Return how many bytes were read, 0 if the client will send no more, or -1 with errno as in
 * tls_handshake. EINTR is also returned after a record without application data.
 */
ssize_t tls_read(struct tls *tls, uint8_t *buffer, size_t size);

/*
 * tls_write(tls, bytes, length):
 * Return how many bytes were written, or -1 with errno as in tls_handshake. After EINTR or EAGAIN
 * the next call must be given the same bytes again: part of their record may have been sent.
 */
ssize_t tls_write(struct tls *tls, const uint8_t *bytes, size_t length);

/*
 * tls_awaits_bytes(tls):
 * Return true if the last tls_read reached the end of the bytes that were received: none are left
 * unread, except the start of a record.
 */
bool tls_awaits_bytes(const struct tls *tls);

/*
 * tls_shutdown_write(tls):
 * Send close_notify, unless it was sent before or the connection is not in a state to send it.
 */
void tls_shutdown_write(struct tls *tls);

/*
 * tls_error(tls):
 * Return the text of the error that was reported as EPROTO.
 */
const char *tls_error(const struct tls *tls);

/*
 * tls_weakness(tls):
 * Return why HTTP/2 must not be used with the completed handshake (RFC 9113 section 9.2.1), a
 * static string; NULL if it may be. Only a system-wide OpenSSL configuration can cause that.
 */
const char *tls_weakness(const struct tls *tls);

/*
 * tls_describe(tls, info):
 * Fill ${info} with the result of the completed handshake.
 */
void tls_describe(const struct tls *tls, struct tls_info *info);

#endif
