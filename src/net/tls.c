#include "net/tls.h"

#if WITH_TLS

#include "net/tls_errors.h"
#include "net/tls_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

struct tls {
    SSL *ssl;
    struct tls_io io;
    int io_error;           /* errno of the last callback, if the current call used one; 0 = none */
    bool has_ended;         /* the client will send no more bytes */
    bool was_empty;         /* the last read from the transport would have waited, or EINTR */
    bool is_broken;         /* nothing can be sent any more */
    const char *error_text; /* for tls_error */
};

const char *tls_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}

/* --- The BIO ------------------------------------------------------------------------------- */

/* Tell OpenSSL the result of a callback, and whether to repeat it. */
static int bio_result(BIO *bio, struct tls *tls, ssize_t result, int retry)
{
    BIO_clear_retry_flags(bio);
    tls->io_error = result < 0 ? errno : 0;
    if (result < 0 && (errno == EINTR || errno == EAGAIN))
        BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    return (int)result;
}

static int bio_read(BIO *bio, char *buffer, int size)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t result = tls->io.read(tls->io.argument, buffer, (size_t)size);

    tls->has_ended = result == 0;
    tls->was_empty = result < 0;
    return bio_result(bio, tls, result, BIO_FLAGS_READ);
}

static int bio_write(BIO *bio, const char *bytes, int length)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t result = tls->io.write(tls->io.argument, bytes, (size_t)length);

    return bio_result(bio, tls, result, BIO_FLAGS_WRITE);
}

static long bio_ctrl(BIO *bio, int command, long number, void *argument)
{
    const struct tls *tls = BIO_get_data(bio);

    (void)number;
    (void)argument;
    if (command == BIO_CTRL_EOF)
        return tls->has_ended;
    return command == BIO_CTRL_FLUSH;
}

/* The type is not one from BIO_get_new_index: a process has only 127 of those, and each reload of
 * the settings would use one. */
BIO_METHOD *tls_bio_method_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "tls_io");

    if (method != NULL && BIO_meth_set_read(method, bio_read) == 1 &&
        BIO_meth_set_write(method, bio_write) == 1 && BIO_meth_set_ctrl(method, bio_ctrl) == 1)
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* --- Creating and freeing ------------------------------------------------------------------ */

struct tls *tls_new(struct tls_context *context, const struct tls_io *io)
{
    struct tls *tls = tls_errors_prepare() ? calloc(1, sizeof(*tls)) : NULL;
    BIO *bio;

    if (tls == NULL)
        return NULL;
    tls->io = *io;
    tls->ssl = SSL_new(context->ssl);
    bio = BIO_new(context->bio_method);
    if (tls->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        tls_free(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    ERR_clear_error();
    free(tls);
}

/* --- Handshake, reading, writing ----------------------------------------------------------- */

/* Prepare for a call of OpenSSL: SSL_get_error would take errors left in the thread's queue for
 * errors of this call, and a retry flag left in the BIO for a reason to repeat it. */
static SSL *tls_begin(struct tls *tls)
{
    ERR_clear_error();
    BIO_clear_retry_flags(SSL_get_rbio(tls->ssl));
    tls->io_error = 0;
    return tls->ssl;
}

static int tls_break(struct tls *tls, int error)
{
    tls->is_broken = true;
    errno = error;
    return -1;
}

/* After a call of OpenSSL that did not succeed: return 0 if the client will send no more, or -1
 * with errno. */
static int tls_failure(struct tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = tls->io_error != 0 ? tls->io_error : EINTR;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        if (tls->has_ended)
            return 0;
        /* If no callback failed, OpenSSL had no memory to record its error. */
        return tls_break(tls, tls->io_error != 0 ? tls->io_error : ENOMEM);
    default:
        tls->error_text = tls_errors_explain(tls->ssl);
        return tls_break(tls, tls_errors_take_memory() ? ENOMEM : EPROTO);
    }
}

int tls_handshake(struct tls *tls)
{
    int result = SSL_do_handshake(tls_begin(tls));

    return result == 1 ? 1 : tls_failure(tls, result);
}

ssize_t tls_read(struct tls *tls, uint8_t *buffer, size_t size)
{
    size_t length;
    int result;

    tls->was_empty = false; /* the call may return without reading from the transport */
    result = SSL_read_ex(tls_begin(tls), buffer, size, &length);
    return result == 1 ? (ssize_t)length : tls_failure(tls, result);
}

ssize_t tls_write(struct tls *tls, const uint8_t *bytes, size_t length)
{
    size_t written;
    int result = SSL_write_ex(tls_begin(tls), bytes, length, &written);

    if (result == 1)
        return (ssize_t)written;
    if (tls_failure(tls, result) == 0)
        return tls_break(tls, EPIPE);
    return -1;
}

/* SSL_has_pending is no help: in OpenSSL 3.5 it overlooks records that were received together with
 * a KeyUpdate before them. */
bool tls_awaits_bytes(const struct tls *tls)
{
    return tls->was_empty;
}

void tls_shutdown_write(struct tls *tls)
{
    if (!tls->is_broken && SSL_is_init_finished(tls->ssl) &&
        (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) == 0)
        (void)SSL_shutdown(tls_begin(tls));
}

const char *tls_error(const struct tls *tls)
{
    return tls->error_text;
}

/* --- Describing a connection --------------------------------------------------------------- */

/* Versions, cipher suites and options are set by the context, but the key exchange groups are
 * OpenSSL's defaults or those of the system's openssl.cnf. Groups without a curve in Weierstrass
 * form (X25519, finite fields and others) are all large enough. */
const char *tls_weakness(const struct tls *tls)
{
    enum { MIN_BITS = 224 };
    EC_GROUP *curve = EC_GROUP_new_by_curve_name((int)SSL_get_negotiated_group(tls->ssl));
    bool is_weak = curve != NULL && EC_GROUP_order_bits(curve) < MIN_BITS;

    EC_GROUP_free(curve);
    return is_weak ? "an ephemeral key of fewer than 224 bits (RFC 9113 section 9.2.1)" : NULL;
}

static void describe_client(const SSL *ssl, struct tls_info *info)
{
    const X509 *certificate = SSL_get0_peer_certificate(ssl);

    info->has_client_certificate = certificate != NULL;
    info->client_subject[0] = '\0';
    if (certificate != NULL)
        certificate_subject(certificate, info->client_subject);
}

static const char *selected_alpn(const SSL *ssl)
{
    const unsigned char *selected;
    unsigned length;

    SSL_get0_alpn_selected(ssl, &selected, &length);
    return length == 0 ? "" : length == sizeof("h2") - 1 ? "h2" : "http/1.1";
}

void tls_describe(const struct tls *tls, struct tls_info *info)
{
    const char *sni = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);

    info->version = SSL_get_version(tls->ssl);
    info->cipher = SSL_get_cipher_name(tls->ssl);
    info->resumed = SSL_session_reused(tls->ssl) == 1;
    info->alpn = selected_alpn(tls->ssl);
    snprintf(info->sni, sizeof(info->sni), "%s", sni != NULL ? sni : "");
    describe_client(tls->ssl, info);
}

#endif
