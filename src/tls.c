#include "tls.h"

#if WITH_TLS

#include "file.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/proverr.h>
#include <openssl/ssl.h>

struct tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *wire;
    bool is_our_own;
};

struct tls {
    SSL *ssl;
    struct tls_wire wire;
    int error;        /* why the wire is to be tried again */
    bool has_ended;   /* the client has sent all bytes that it will */
    bool was_empty;   /* the last read of the wire would have had to wait, or was interrupted */
    bool is_broken;   /* nothing can be said any more */
    const char *what; /* is wrong, if errno was EPROTO */
};

const char *tls_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}

/* --- Errors -------------------------------------------------------------------------------- */

/* OpenSSL's words for what went wrong first; the rest is about who was told. */
static const char *openssl_words(void)
{
    const char *words = ERR_reason_error_string(ERR_peek_error());

    return words != NULL ? words : "unknown error";
}

/* OpenSSL has a queue of errors for each thread, which its first call makes. Where there is no
 * memory for that, OpenSSL 3.6 makes an error of it, for which it has to make the queue, and so on
 * until the stack is full. So the queue is made before anything else, and only where there is
 * memory for it. */
static bool can_keep_errors(void)
{
    enum { QUEUE_SIZE = 4096 /* more than it takes */ };
    /* volatile, since a compiler may leave out an allocation that nobody uses */
    void *volatile block = calloc(1, QUEUE_SIZE);

    free(block);
    if (block == NULL)
        return false;
    ERR_clear_error();
    return true;
}

__attribute__((format(printf, 2, 3))) static bool fail(char error[TLS_ERROR_MAX],
                                                       const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error, TLS_ERROR_MAX, format, arguments);
    va_end(arguments);
    ERR_clear_error();
    return false;
}

static bool fail_for_memory(char error[TLS_ERROR_MAX])
{
    return fail(error, "TLS: %s: give the process more memory", openssl_words());
}

/* --- Files --------------------------------------------------------------------------------- */

/* A daemon has nobody to ask: OpenSSL would, at the terminal, unless there is a passphrase. */
static char no_passphrase[] = "";

/* A file that a setting names, while it is read. */
struct source {
    const char *setting;
    char shown[LOG_ESCAPE_MAX];
    BIO *bio;
};

static bool open_source(struct source *source, const char *setting, const char *name,
                        char error[TLS_ERROR_MAX])
{
    FILE *file = file_open(name);

    source->setting = setting;
    log_escape(source->shown, sizeof(source->shown), name, strlen(name));
    if (file == NULL)
        return fail(error, "%s: %s: can't be read: %s; %s", setting, source->shown, strerror(errno),
                    file_advice(errno));
    source->bio = BIO_new_fp(file, BIO_CLOSE);
    if (source->bio != NULL)
        return true;
    (void)fclose(file);
    return fail_for_memory(error);
}

/* That a file has no further certificate is how its end is told. */
static bool is_at_end(void)
{
    unsigned long code = ERR_peek_last_error();

    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
        return false;
    ERR_clear_error();
    return true;
}

/* Hand every certificate of a file to ${take}, which owns it if it returns true. */
static bool read_certificates(const struct source *source,
                              bool (*take)(SSL_CTX *ssl, X509 *certificate, int number),
                              SSL_CTX *ssl, char error[TLS_ERROR_MAX])
{
    X509 *certificate;
    int number = 0;

    while ((certificate = PEM_read_bio_X509(source->bio, NULL, NULL, no_passphrase)) != NULL) {
        if (!take(ssl, certificate, number++)) {
            X509_free(certificate);
            return fail(error, "%s: %s: certificate %d: %s", source->setting, source->shown, number,
                        openssl_words());
        }
    }
    if (!is_at_end())
        return fail(error, "%s: %s: %s: name a file of certificates in PEM", source->setting,
                    source->shown, openssl_words());
    return number > 0 || fail(error, "%s: %s: has no certificate: name a file of them in PEM",
                              source->setting, source->shown);
}

static bool take_own(SSL_CTX *ssl, X509 *certificate, int number)
{
    if (number > 0)
        return SSL_CTX_add0_chain_cert(ssl, certificate) == 1;
    if (SSL_CTX_use_certificate(ssl, certificate) != 1)
        return false;
    X509_free(certificate); /* counted */
    return true;
}

static bool take_client_ca(SSL_CTX *ssl, X509 *certificate, int number)
{
    (void)number;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate) != 1 ||
        SSL_CTX_add_client_CA(ssl, certificate) != 1)
        return false;
    X509_free(certificate);
    return true;
}

static bool load_certificates(SSL_CTX *ssl, const char *setting, const char *name,
                              bool (*take)(SSL_CTX *ssl, X509 *certificate, int number),
                              char error[TLS_ERROR_MAX])
{
    struct source source;
    bool result = open_source(&source, setting, name, error);

    if (!result)
        return false;
    result = read_certificates(&source, take, ssl, error);
    BIO_free(source.bio);
    return result;
}

static bool use_key(SSL_CTX *ssl, const struct source *source, char error[TLS_ERROR_MAX])
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(source->bio, NULL, NULL, no_passphrase);
    bool result;

    if (key == NULL)
        return fail(error,
                    "tls-key: %s: %s: name a file with a private key in PEM, without a "
                    "passphrase",
                    source->shown, openssl_words());
    result = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    return result || fail(error, "tls-key: %s: is not the key of the certificate: %s",
                          source->shown, openssl_words());
}

static bool load_key(SSL_CTX *ssl, const char *name, char error[TLS_ERROR_MAX])
{
    struct source source;
    bool result = open_source(&source, "tls-key", name, error);

    if (!result)
        return false;
    result = use_key(ssl, &source, error);
    BIO_free(source.bio);
    return result;
}

/* --- A certificate in memory --------------------------------------------------------------- */

/* The process's own: it lasts as long as the process does. */
static struct {
    EVP_PKEY *key;
    X509 *certificate;
} own;

static bool use_own(SSL_CTX *ssl, char *const *hosts, char error[TLS_ERROR_MAX])
{
    if (own.certificate == NULL && !certificate_make(hosts, &own.certificate, &own.key))
        return fail(error, "tls-self-signed: no certificate could be made: %s", openssl_words());
    return (SSL_CTX_use_certificate(ssl, own.certificate) == 1 &&
            SSL_CTX_use_PrivateKey(ssl, own.key) == 1) ||
           fail_for_memory(error);
}

/* --- Rules --------------------------------------------------------------------------------- */

/* HTTP/2, or HTTP/1.1 for those who know nothing else: they get words that say so. To whoever has
 * only other names the handshake is refused (RFC 7301 section 3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_length,
                           const unsigned char *offered, unsigned offered_length, void *argument)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *found;

    (void)ssl;
    (void)argument;
    if (SSL_select_next_proto(&found, chosen_length, ours, sizeof(ours) - 1, offered,
                              offered_length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

/* The quickest first; phones, for which that is another one, say so by their order. */
static bool set_suites(SSL_CTX *ssl)
{
    return SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                         "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set_cipher_list(
               ssl, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305") == 1;
}

/* Sessions are resumed by tickets alone: nothing is kept here for clients that may never return. */
static bool set_rules(SSL_CTX *ssl, const struct tls_options *options)
{
    static const unsigned char name[] = "h2echod";

    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Without AUTO_RETRY, a client that sends nothing of use cannot keep a call for ever. */
    SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ssl, 1); /* one recv for a record, not two */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(ssl, options->least == TLS_1_3 ? TLS1_3_VERSION
                                                                        : TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_session_id_context(ssl, name, sizeof(name) - 1) == 1 && set_suites(ssl);
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
    return load_certificates(ssl, "tls-client-ca", options->client_ca, take_client_ca, error);
}

/* --- The wire ------------------------------------------------------------------------------ */

/* What a call of the wire came to, as OpenSSL wants to know it. */
static int note_result(BIO *bio, struct tls *tls, ssize_t result, int retry)
{
    BIO_clear_retry_flags(bio);
    tls->error = result < 0 ? errno : 0;
    if (result < 0 && (errno == EINTR || errno == EAGAIN))
        BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    return (int)result;
}

static int read_wire(BIO *bio, char *buffer, int size)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t result = tls->wire.read(tls->wire.argument, buffer, (size_t)size);

    tls->has_ended = result == 0;
    tls->was_empty = result < 0;
    return note_result(bio, tls, result, BIO_FLAGS_READ);
}

static int write_wire(BIO *bio, const char *bytes, int length)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t result = tls->wire.write(tls->wire.argument, bytes, (size_t)length);

    return note_result(bio, tls, result, BIO_FLAGS_WRITE);
}

static long control_wire(BIO *bio, int command, long number, void *argument)
{
    const struct tls *tls = BIO_get_data(bio);

    (void)number;
    (void)argument;
    if (command == BIO_CTRL_EOF)
        return tls->has_ended;
    return command == BIO_CTRL_FLUSH;
}

/* Nobody looks for it by an index of its own: a process has 127 of them, and each reload would take
 * one. */
static BIO_METHOD *new_wire(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wire");

    if (method != NULL && BIO_meth_set_read(method, read_wire) == 1 &&
        BIO_meth_set_write(method, write_wire) == 1 && BIO_meth_set_ctrl(method, control_wire) == 1)
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* --- Contexts ------------------------------------------------------------------------------ */

static bool set_identity(SSL_CTX *ssl, const struct tls_options *options, char error[TLS_ERROR_MAX])
{
    const char *certificate = options->certificate;

    if (certificate == NULL)
        return use_own(ssl, options->names, error);
    return load_certificates(ssl, "tls-cert", certificate, take_own, error) &&
           load_key(ssl, options->key != NULL ? options->key : certificate, error);
}

static bool fill_context(struct tls_context *context, const struct tls_options *options,
                         char error[TLS_ERROR_MAX])
{
    context->is_our_own = options->certificate == NULL;
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->wire = new_wire();
    if (context->ssl == NULL || context->wire == NULL || !set_rules(context->ssl, options))
        return fail_for_memory(error);
    return set_identity(context->ssl, options, error) &&
           set_verification(context->ssl, options, error);
}

struct tls_context *tls_context_new(const struct tls_options *options, char error[TLS_ERROR_MAX])
{
    struct tls_context *context;

    if (!can_keep_errors()) {
        snprintf(error, TLS_ERROR_MAX, "TLS: no memory: give the process more memory");
        return NULL;
    }
    context = calloc(1, sizeof(*context));
    if (context == NULL) {
        fail_for_memory(error);
        return NULL;
    }
    if (fill_context(context, options, error))
        return context;
    tls_context_free(context);
    return NULL;
}

void tls_context_free(struct tls_context *context)
{
    if (context == NULL)
        return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->wire);
    free(context);
}

void tls_context_certificate(const struct tls_context *context, struct certificate *certificate)
{
    certificate_describe(SSL_CTX_get0_certificate(context->ssl), certificate);
    certificate->is_our_own = context->is_our_own;
    ERR_clear_error();
}

/* --- Connections --------------------------------------------------------------------------- */

struct tls *tls_new(struct tls_context *context, const struct tls_wire *wire)
{
    struct tls *tls = can_keep_errors() ? calloc(1, sizeof(*tls)) : NULL;
    BIO *bio;

    if (tls == NULL)
        return NULL;
    tls->wire = *wire;
    tls->ssl = SSL_new(context->ssl);
    bio = BIO_new(context->wire);
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

/* Before each call: what the thread's queue of errors holds would be taken for this call's, and
 * that the wire was to be tried again for what keeps this one from trying. */
static SSL *begin(struct tls *tls)
{
    ERR_clear_error();
    BIO_clear_retry_flags(SSL_get_rbio(tls->ssl));
    tls->error = 0;
    return tls->ssl;
}

static int break_off(struct tls *tls, int error)
{
    tls->is_broken = true;
    errno = error;
    return -1;
}

/* OpenSSL's words for a record that is wrong differ from version to version, and so does the check
 * that finds it out. */
static const char *words_for_record(unsigned long code)
{
    static const char type[] = "wrong record type or version";
    static const char length[] = "record too long";
    static const char content[] = "decryption failed or bad record mac";
    static const struct {
        unsigned long code;
        const char *words;
    } records[] = {
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_WRONG_VERSION_NUMBER), type},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_BAD_RECORD_TYPE), type},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_PACKET_LENGTH_TOO_LONG), length},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_ENCRYPTED_LENGTH_TOO_LONG), length},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_DATA_LENGTH_TOO_LONG), length},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_LENGTH_TOO_SHORT), content},
        {ERR_PACK(ERR_LIB_PROV, 0, PROV_R_INVALID_AAD), content},
        {ERR_PACK(ERR_LIB_PROV, 0, PROV_R_CIPHER_OPERATION_FAILED), content},
    };

    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
        if (records[i].code == code)
            return records[i].words;
    return NULL;
}

/* "sslv3 alert handshake failure", "ssl/tls alert handshake failure": the version of TLS that an
 * alert came with says nothing, and not every version of OpenSSL names it. */
static const char *words_for_alert(unsigned long code)
{
    bool is_alert = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET;

    return is_alert ? strstr(openssl_words(), "alert ") : NULL;
}

static bool is_refused_certificate(unsigned long code)
{
    return ERR_GET_LIB(code) == ERR_LIB_SSL &&
           ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

/* What went wrong, in the same words with each version of OpenSSL. Why a certificate was refused
 * says more than that it was. */
static const char *words_for(struct tls *tls)
{
    unsigned long code = ERR_peek_error();
    const char *words = words_for_record(code);

    if (words == NULL)
        words = words_for_alert(code);
    if (words == NULL && is_refused_certificate(code))
        words = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));
    return words != NULL ? words : openssl_words();
}

static bool is_memory_to_blame(void)
{
    unsigned long code;

    while ((code = ERR_get_error()) != 0) {
        if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
            return true;
    }
    return false;
}

/* What a call came to that did not do what it should: 0 for the end, or -1 with errno. */
static int judge(struct tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = tls->error != 0 ? tls->error : EINTR;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        if (tls->has_ended)
            return 0;
        /* Where even an error finds no memory, there is none of the wire's either. */
        return break_off(tls, tls->error != 0 ? tls->error : ENOMEM);
    default:
        tls->what = words_for(tls);
        return break_off(tls, is_memory_to_blame() ? ENOMEM : EPROTO);
    }
}

int tls_handshake(struct tls *tls)
{
    int result = SSL_do_handshake(begin(tls));

    return result == 1 ? 1 : judge(tls, result);
}

ssize_t tls_read(struct tls *tls, uint8_t *buffer, size_t size)
{
    size_t length;
    int result;

    tls->was_empty = false; /* the call may end without a read of the wire */
    result = SSL_read_ex(begin(tls), buffer, size, &length);
    return result == 1 ? (ssize_t)length : judge(tls, result);
}

ssize_t tls_write(struct tls *tls, const uint8_t *bytes, size_t length)
{
    size_t taken;
    int result = SSL_write_ex(begin(tls), bytes, length, &taken);

    if (result == 1)
        return (ssize_t)taken;
    if (judge(tls, result) == 0)
        return break_off(tls, EPIPE);
    return -1;
}

/* SSL_has_pending does not know: that of OpenSSL 3.5 overlooks records that were read from the wire
 * together with a KeyUpdate before them. */
bool tls_awaits_bytes(const struct tls *tls)
{
    return tls->was_empty;
}

void tls_end_writing(struct tls *tls)
{
    if (!tls->is_broken && SSL_is_init_finished(tls->ssl) &&
        (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) == 0)
        (void)SSL_shutdown(begin(tls));
}

const char *tls_error(const struct tls *tls)
{
    return tls->what;
}

/* Versions, suites and options are the context's; but the groups are OpenSSL's, or what the
 * system's openssl.cnf makes of them. Those that are no curves in Weierstrass's form are all large.
 */
const char *tls_weakness(const struct tls *tls)
{
    enum { LEAST_BITS = 224 };
    EC_GROUP *curve = EC_GROUP_new_by_curve_name((int)SSL_get_negotiated_group(tls->ssl));
    bool is_weak = curve != NULL && EC_GROUP_order_bits(curve) < LEAST_BITS;

    EC_GROUP_free(curve);
    return is_weak ? "an ephemeral key of fewer than 224 bits (RFC 9113 section 9.2.1)" : NULL;
}

static void describe_client(const SSL *ssl, struct tls_facts *facts)
{
    const X509 *certificate = SSL_get0_peer_certificate(ssl);

    facts->has_client = certificate != NULL;
    facts->client[0] = '\0';
    if (facts->has_client)
        certificate_subject(certificate, facts->client);
}

static const char *protocol_of(const SSL *ssl)
{
    const unsigned char *chosen;
    unsigned length;

    SSL_get0_alpn_selected(ssl, &chosen, &length);
    return length == 0 ? "" : length == sizeof("h2") - 1 ? "h2" : "http/1.1";
}

void tls_describe(const struct tls *tls, struct tls_facts *facts)
{
    const char *sni = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);

    facts->version = SSL_get_version(tls->ssl);
    facts->cipher = SSL_get_cipher_name(tls->ssl);
    facts->resumed = SSL_session_reused(tls->ssl) == 1;
    facts->alpn = protocol_of(tls->ssl);
    snprintf(facts->sni, sizeof(facts->sni), "%s", sni != NULL ? sni : "");
    describe_client(tls->ssl, facts);
}

#else

#include <errno.h>
#include <stdio.h>

const char *tls_library(void)
{
    return NULL;
}

struct tls_context *tls_context_new(const struct tls_options *options, char error[TLS_ERROR_MAX])
{
    (void)options;
    snprintf(error, TLS_ERROR_MAX, "TLS: this h2echod was built without it: build with OpenSSL 3");
    return NULL;
}

void tls_context_free(struct tls_context *context)
{
    (void)context;
}

/* As there is no context, nobody can come to call what follows. */

void tls_context_certificate(const struct tls_context *context, struct certificate *certificate)
{
    (void)context;
    *certificate = (struct certificate){0};
}

struct tls *tls_new(struct tls_context *context, const struct tls_wire *wire)
{
    (void)context;
    (void)wire;
    return NULL;
}

void tls_free(struct tls *tls)
{
    (void)tls;
}

int tls_handshake(struct tls *tls)
{
    (void)tls;
    errno = EPROTO;
    return -1;
}

ssize_t tls_read(struct tls *tls, uint8_t *buffer, size_t size)
{
    (void)tls;
    (void)buffer;
    (void)size;
    errno = EPROTO;
    return -1;
}

ssize_t tls_write(struct tls *tls, const uint8_t *bytes, size_t length)
{
    (void)tls;
    (void)bytes;
    (void)length;
    errno = EPROTO;
    return -1;
}

bool tls_awaits_bytes(const struct tls *tls)
{
    (void)tls;
    return true;
}

void tls_end_writing(struct tls *tls)
{
    (void)tls;
}

const char *tls_error(const struct tls *tls)
{
    (void)tls;
    return tls_library();
}

const char *tls_weakness(const struct tls *tls)
{
    (void)tls;
    return NULL;
}

void tls_describe(const struct tls *tls, struct tls_facts *facts)
{
    (void)tls;
    *facts = (struct tls_facts){0};
}

#endif
