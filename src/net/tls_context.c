#include "net/tls.h"

#if WITH_TLS

#include "base/file.h"
#include "base/log.h"
#include "net/tls_errors.h"
#include "net/tls_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

/* --- Errors -------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool context_fail(char error[TLS_ERROR_MAX],
                                                               const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error, TLS_ERROR_MAX, format, arguments);
    va_end(arguments);
    ERR_clear_error();
    return false;
}

static bool context_fail_memory(char error[TLS_ERROR_MAX])
{
    return context_fail(error, "TLS: %s: give the process more memory", tls_errors_reason());
}

/* --- PEM files ----------------------------------------------------------------------------- */

/* Without this OpenSSL would ask for the passphrase of an encrypted key on the terminal. */
static char no_passphrase[] = "";

/* An open file that a setting names. */
struct pem_file {
    const char *setting;
    char name[LOG_ESCAPE_MAX]; /* escaped */
    BIO *bio;
};

/* Adds a certificate to a context. Takes ownership of it, unless it returns false. ${number} is the
 * position in the file, from 0. */
typedef bool certificate_add_fn(SSL_CTX *ssl, X509 *certificate, int number);

static bool pem_open(struct pem_file *pem, const char *setting, const char *name,
                     char error[TLS_ERROR_MAX])
{
    FILE *file = file_open(name);

    pem->setting = setting;
    log_escape(pem->name, sizeof(pem->name), name, strlen(name));
    if (file == NULL)
        return context_fail(error, "%s: %s: can't be read: %s; %s", setting, pem->name,
                            strerror(errno), file_open_advice(errno));
    pem->bio = BIO_new_fp(file, BIO_CLOSE);
    if (pem->bio != NULL)
        return true;
    (void)fclose(file);
    return context_fail_memory(error);
}

/* At the end of the file OpenSSL reports that there is no further certificate. */
static bool pem_is_at_end(void)
{
    unsigned long code = ERR_peek_last_error();

    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
        return false;
    ERR_clear_error();
    return true;
}

static bool pem_read_certificates(const struct pem_file *pem, certificate_add_fn *add, SSL_CTX *ssl,
                                  char error[TLS_ERROR_MAX])
{
    X509 *certificate;
    int number = 0;

    while ((certificate = PEM_read_bio_X509(pem->bio, NULL, NULL, no_passphrase)) != NULL) {
        if (!add(ssl, certificate, number++)) {
            X509_free(certificate);
            return context_fail(error, "%s: %s: certificate %d: %s", pem->setting, pem->name,
                                number, tls_errors_reason());
        }
    }
    if (!pem_is_at_end())
        return context_fail(error, "%s: %s: %s: name a file of certificates in PEM", pem->setting,
                            pem->name, tls_errors_reason());
    return number > 0 ||
           context_fail(error, "%s: %s: has no certificate: name a file of certificates in PEM",
                        pem->setting, pem->name);
}

static bool load_certificates(SSL_CTX *ssl, const char *setting, const char *name,
                              certificate_add_fn *add, char error[TLS_ERROR_MAX])
{
    struct pem_file pem;
    bool result = pem_open(&pem, setting, name, error);

    if (!result)
        return false;
    result = pem_read_certificates(&pem, add, ssl, error);
    BIO_free(pem.bio);
    return result;
}

/* The first certificate is the server's, the others are its chain. */
static bool add_server_certificate(SSL_CTX *ssl, X509 *certificate, int number)
{
    if (number > 0)
        return SSL_CTX_add0_chain_cert(ssl, certificate) == 1;
    if (SSL_CTX_use_certificate(ssl, certificate) != 1)
        return false;
    X509_free(certificate); /* the context holds a reference */
    return true;
}

static bool add_client_ca(SSL_CTX *ssl, X509 *certificate, int number)
{
    (void)number;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate) != 1 ||
        SSL_CTX_add_client_CA(ssl, certificate) != 1)
        return false;
    X509_free(certificate); /* the context holds references */
    return true;
}

static bool use_key(SSL_CTX *ssl, const struct pem_file *pem, char error[TLS_ERROR_MAX])
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem->bio, NULL, NULL, no_passphrase);
    bool result;

    if (key == NULL)
        return context_fail(error,
                            "tls-key: %s: %s: name a file with a private key in PEM, without a "
                            "passphrase",
                            pem->name, tls_errors_reason());
    result = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    return result || context_fail(error, "tls-key: %s: is not the key of the certificate: %s",
                                  pem->name, tls_errors_reason());
}

static bool load_key(SSL_CTX *ssl, const char *name, char error[TLS_ERROR_MAX])
{
    struct pem_file pem;
    bool result = pem_open(&pem, "tls-key", name, error);

    if (!result)
        return false;
    result = use_key(ssl, &pem, error);
    BIO_free(pem.bio);
    return result;
}

/* --- The server's certificate -------------------------------------------------------------- */

/* Generated when it is first needed, and kept until the process ends. */
static struct {
    EVP_PKEY *key;
    X509 *certificate;
} generated;

static bool use_generated(SSL_CTX *ssl, char *const *hosts, char error[TLS_ERROR_MAX])
{
    if (generated.certificate == NULL &&
        !certificate_generate(hosts, &generated.certificate, &generated.key))
        return context_fail(error, "tls-self-signed: no certificate could be made: %s",
                            tls_errors_reason());
    return (SSL_CTX_use_certificate(ssl, generated.certificate) == 1 &&
            SSL_CTX_use_PrivateKey(ssl, generated.key) == 1) ||
           context_fail_memory(error);
}

static bool set_certificate(SSL_CTX *ssl, const struct tls_options *options,
                            char error[TLS_ERROR_MAX])
{
    const char *certificate = options->certificate;

    if (certificate == NULL)
        return use_generated(ssl, options->hosts, error);
    return load_certificates(ssl, "tls-cert", certificate, add_server_certificate, error) &&
           load_key(ssl, options->key != NULL ? options->key : certificate, error);
}

/* --- Protocol rules ------------------------------------------------------------------------ */

/* ALPN: h2, or http/1.1 for clients that support nothing else, which get an answer in HTTP/1.1 that
 * says what to use. If the client offers neither, the handshake fails (RFC 7301 section 3.2). */
static int select_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_length,
                       const unsigned char *offered, unsigned offered_length, void *argument)
{
    static const unsigned char supported[] = "\x02h2\x08http/1.1";
    unsigned char *found;

    (void)ssl;
    (void)argument;
    if (SSL_select_next_proto(&found, chosen_length, supported, sizeof(supported) - 1, offered,
                              offered_length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

/* The fastest first. Clients without AES instructions prefer ChaCha20, and get it because of
 * SSL_OP_PRIORITIZE_CHACHA. */
static bool set_cipher_suites(SSL_CTX *ssl)
{
    return SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                         "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set_cipher_list(
               ssl, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305") == 1;
}

/* Sessions are resumed only with tickets: no memory is used for clients that never return. */
static bool set_rules(SSL_CTX *ssl, const struct tls_options *options)
{
    static const unsigned char session_id_context[] = "h2echod";

    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* With AUTO_RETRY a client could keep a call from returning by sending records without data. */
    SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ssl, 1); /* one recv for a record, not two */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ssl, select_alpn, NULL);
    return SSL_CTX_set_min_proto_version(
               ssl, options->min_version == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_session_id_context(ssl, session_id_context,
                                          sizeof(session_id_context) - 1) == 1 &&
           set_cipher_suites(ssl);
}

static bool set_verification(SSL_CTX *ssl, const struct tls_options *options,
                             char error[TLS_ERROR_MAX])
{
    int mode = SSL_VERIFY_PEER;

    if (options->verify == TLS_VERIFY_OFF || options->client_ca == NULL)
        return true;
    if (options->verify == TLS_VERIFY_REQUIRED)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ssl, mode, NULL);
    return load_certificates(ssl, "tls-client-ca", options->client_ca, add_client_ca, error);
}

/* --- Contexts ------------------------------------------------------------------------------ */

static bool context_init(struct tls_context *context, const struct tls_options *options,
                         char error[TLS_ERROR_MAX])
{
    context->is_generated = options->certificate == NULL;
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->bio_method = tls_bio_method_new();
    if (context->ssl == NULL || context->bio_method == NULL || !set_rules(context->ssl, options))
        return context_fail_memory(error);
    return set_certificate(context->ssl, options, error) &&
           set_verification(context->ssl, options, error);
}

struct tls_context *tls_context_new(const struct tls_options *options, char error[TLS_ERROR_MAX])
{
    struct tls_context *context;

    if (!tls_errors_prepare()) {
        snprintf(error, TLS_ERROR_MAX, "TLS: no memory: give the process more memory");
        return NULL;
    }
    context = calloc(1, sizeof(*context));
    if (context == NULL) {
        context_fail_memory(error);
        return NULL;
    }
    if (context_init(context, options, error))
        return context;
    tls_context_free(context);
    return NULL;
}

void tls_context_free(struct tls_context *context)
{
    if (context == NULL)
        return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio_method);
    free(context);
}

void tls_context_certificate(const struct tls_context *context, struct certificate *certificate)
{
    certificate_describe(SSL_CTX_get0_certificate(context->ssl), certificate);
    certificate->is_generated = context->is_generated;
    ERR_clear_error();
}

#endif
