#include "tls.h"

#if WITH_TLS

#include "file.h"
#include "interfaces.h"
#include "log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

enum { HOUR = 3600, DAY = 24 * HOUR };

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

static bool has_name(const GENERAL_NAMES *names, GENERAL_NAME *name)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, i), name) == 0)
            return true;
    }
    return false;
}

/* Take over ${value}, whatever becomes of it. A name that is there already is not added. */
static bool add_name(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
    GENERAL_NAME *name = value != NULL ? GENERAL_NAME_new() : NULL;
    bool is_there;

    if (name == NULL) {
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    is_there = has_name(names, name);
    if (!is_there && sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return is_there;
}

static bool add_host(GENERAL_NAMES *names, const char *text)
{
    ASN1_STRING *host = ASN1_IA5STRING_new();

    if (host != NULL && ASN1_STRING_set(host, text, -1) == 1)
        return add_name(names, GEN_DNS, host);
    ASN1_STRING_free(host);
    return false;
}

static bool add_address(const char *text, void *names)
{
    return add_name(names, GEN_IPADD, a2i_IPADDRESS(text));
}

/* Everything that reaches this machine, as far as it is told. */
static bool add_machine(GENERAL_NAMES *names)
{
    char host[256] = "";

    (void)gethostname(host, sizeof(host) - 1);
    return (host[0] == '\0' || add_host(names, host)) && interfaces_each(add_address, names);
}

/* Write an address without its zone, or return false if it stands for all. */
static bool write_number(const struct sockaddr *address, char text[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;

    if (address->sa_family == AF_INET)
        return v4->sin_addr.s_addr != htonl(INADDR_ANY) &&
               inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN) != NULL;
    return !IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) &&
           inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN) != NULL;
}

static bool add_found(GENERAL_NAMES *names, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];

    return write_number(address, text) ? add_address(text, names) : add_machine(names);
}

/* What one --address says: an address, or a name and all that it stands for. That there is none by
 * this name is for the listener to tell. */
static bool add_listened(GENERAL_NAMES *names, const char *text)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    bool is_name = getaddrinfo(text, NULL, &hints, &found) != 0;
    bool result = !is_name || add_host(names, text);

    hints.ai_flags = 0;
    if (is_name && getaddrinfo(text, NULL, &hints, &found) != 0)
        return result;
    for (const struct addrinfo *each = found; each != NULL && result; each = each->ai_next)
        result = add_found(names, each->ai_addr);
    freeaddrinfo(found);
    return result;
}

static bool add_names(GENERAL_NAMES *names, char *const *hosts)
{
    bool result = add_host(names, "localhost") && add_address("127.0.0.1", names) &&
                  add_address("::1", names);

    if (hosts == NULL)
        return result && add_machine(names);
    for (; *hosts != NULL && result; hosts++)
        result = add_listened(names, *hosts);
    return result;
}

static bool set_names(X509 *certificate, char *const *hosts)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool result = names != NULL && add_names(names, hosts) &&
                  X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) == 1;

    GENERAL_NAMES_free(names);
    return result;
}

static bool set_serial(X509 *certificate)
{
    uint8_t bytes[8];
    uint64_t serial;

    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    memcpy(&serial, bytes, sizeof(serial));
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1;
}

static bool set_issuer(X509 *certificate)
{
    X509_NAME *name = X509_get_subject_name(certificate);

    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"h2echod", -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1;
}

static bool set_constraints(X509 *certificate)
{
    static const struct {
        int nid;
        const char *value;
    } extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, "serverAuth"},
    };

    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, NULL, extensions[i].nid, extensions[i].value);
        bool added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;

        X509_EXTENSION_free(extension);
        if (!added)
            return false;
    }
    return true;
}

/* Valid from yesterday on: a client's clock may be behind. */
static bool fill_certificate(X509 *certificate, EVP_PKEY *key, char *const *hosts)
{
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), 365L * DAY) != NULL &&
           set_issuer(certificate) && set_constraints(certificate) &&
           set_names(certificate, hosts) && X509_set_pubkey(certificate, key) == 1 &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

static bool make_own(char *const *hosts)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();

    if (key != NULL && certificate != NULL && fill_certificate(certificate, key, hosts)) {
        own.key = key;
        own.certificate = certificate;
        return true;
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return false;
}

static bool use_own(SSL_CTX *ssl, char *const *hosts, char error[TLS_ERROR_MAX])
{
    if (own.certificate == NULL && !make_own(hosts))
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
    struct tls_context *context = calloc(1, sizeof(*context));

    ERR_clear_error();
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

/* Write what ${print} prints, escaped for the log. */
static void print_text(char text[TLS_TEXT_MAX], int (*print)(BIO *bio, const void *what),
                       const void *what)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    long length = 0;

    if (bio != NULL && print(bio, what) > 0)
        length = BIO_get_mem_data(bio, &bytes);
    log_escape(text, TLS_TEXT_MAX, bytes != NULL ? bytes : "", (size_t)length);
    BIO_free(bio);
}

static int print_subject(BIO *bio, const void *certificate)
{
    return X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
}

static int print_time(BIO *bio, const void *time)
{
    return ASN1_TIME_print_ex(bio, time, ASN1_DTFLGS_ISO8601);
}

static void write_fingerprint(char text[TLS_SHA256_MAX], const X509 *certificate)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    char *at = text;

    (void)X509_digest(certificate, EVP_sha256(), digest, &length);
    *at = '\0';
    for (unsigned i = 0; i < length; i++)
        at += sprintf(at, "%s%02X", i > 0 ? ":" : "", digest[i]);
}

static void write_pin(char text[TLS_PIN_MAX], X509 *certificate)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    uint8_t *key = NULL;
    int key_length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);

    text[0] = '\0';
    if (key_length > 0 &&
        EVP_Digest(key, (size_t)key_length, digest, &length, EVP_sha256(), NULL) == 1)
        (void)EVP_EncodeBlock((uint8_t *)text, digest, (int)length);
    OPENSSL_free(key);
}

/* The first name that is a host's and no pattern; NULL = none. */
static const ASN1_STRING *find_host(const GENERAL_NAMES *names)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *name = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

        if (type == GEN_DNS && ASN1_STRING_get0_data(name)[0] != '*')
            return name;
    }
    return NULL;
}

/* A host that who trusts the certificate can ask for: localhost, if it holds for that. */
static void write_host(char text[TLS_TEXT_MAX], X509 *certificate)
{
    static const char local[] = "localhost";
    bool is_local = X509_check_host(certificate, local, 0, 0, NULL) == 1;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    const ASN1_STRING *other = is_local ? NULL : find_host(names);

    if (other != NULL)
        log_escape(text, TLS_TEXT_MAX, ASN1_STRING_get0_data(other),
                   (size_t)ASN1_STRING_length(other));
    else
        log_escape(text, TLS_TEXT_MAX, local, sizeof(local) - 1);
    GENERAL_NAMES_free(names);
}

/* Seconds from ${from} to ${to}, NULL = now. */
static double seconds_between(const ASN1_TIME *from, const ASN1_TIME *to)
{
    int days = 0;
    int seconds = 0;

    (void)ASN1_TIME_diff(&days, &seconds, from, to);
    return (double)days * DAY + seconds;
}

static enum tls_validity validity_of(const X509 *certificate)
{
    const ASN1_TIME *begin = X509_get0_notBefore(certificate);
    const ASN1_TIME *end = X509_get0_notAfter(certificate);
    double left = seconds_between(NULL, end);

    if (left < 0)
        return TLS_EXPIRED;
    if (seconds_between(NULL, begin) > 0)
        return TLS_VALID_NOT_YET;
    return left < seconds_between(begin, end) / 10 ? TLS_VALID_NOT_LONG : TLS_VALID;
}

void tls_context_certificate(const struct tls_context *context, struct tls_certificate *certificate)
{
    X509 *shown = SSL_CTX_get0_certificate(context->ssl);

    print_text(certificate->subject, print_subject, shown);
    write_host(certificate->host, shown);
    certificate->validity = validity_of(shown);
    print_text(certificate->when, print_time,
               certificate->validity == TLS_VALID_NOT_YET ? X509_get0_notBefore(shown)
                                                          : X509_get0_notAfter(shown));
    write_fingerprint(certificate->sha256, shown);
    write_pin(certificate->pin, shown);
    certificate->is_our_own = context->is_our_own;
    ERR_clear_error();
}

/* --- Connections --------------------------------------------------------------------------- */

struct tls *tls_new(struct tls_context *context, const struct tls_wire *wire)
{
    struct tls *tls = calloc(1, sizeof(*tls));
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

/* Why a certificate was refused says more than that it was. */
static const char *words_for(struct tls *tls)
{
    long verdict = SSL_get_verify_result(tls->ssl);
    unsigned long code = ERR_peek_error();
    bool is_certificate =
        ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;

    return is_certificate ? X509_verify_cert_error_string(verdict) : openssl_words();
}

static bool is_memory_to_blame(void)
{
    unsigned long code;

    while ((code = ERR_get_error()) != 0)
        if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
            return true;
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
    int result = SSL_read_ex(begin(tls), buffer, size, &length);

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

bool tls_has_more(const struct tls *tls)
{
    return SSL_has_pending(tls->ssl) == 1;
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
    X509 *certificate = SSL_get0_peer_certificate(ssl);

    facts->has_client = certificate != NULL;
    facts->client[0] = '\0';
    if (facts->has_client)
        print_text(facts->client, print_subject, certificate);
}

void tls_describe(const struct tls *tls, struct tls_facts *facts)
{
    const unsigned char *alpn;
    unsigned alpn_length;
    const char *sni = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);

    facts->version = SSL_get_version(tls->ssl);
    facts->cipher = SSL_get_cipher_name(tls->ssl);
    facts->resumed = SSL_session_reused(tls->ssl) == 1;
    SSL_get0_alpn_selected(tls->ssl, &alpn, &alpn_length);
    log_escape(facts->alpn, sizeof(facts->alpn), alpn != NULL ? alpn : (const uint8_t *)"",
               alpn_length);
    log_escape(facts->sni, sizeof(facts->sni), sni != NULL ? sni : "",
               sni != NULL ? strlen(sni) : 0);
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

void tls_context_certificate(const struct tls_context *context, struct tls_certificate *certificate)
{
    (void)context;
    *certificate = (struct tls_certificate){0};
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

bool tls_has_more(const struct tls *tls)
{
    (void)tls;
    return false;
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
