#include "net/certificate.h"

#if WITH_TLS

#include "base/log.h"
#include "net/interfaces.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

enum { HOUR = 3600, DAY = 24 * HOUR };

/* --- Host names and addresses -------------------------------------------------------------- */

static bool has_name(const GENERAL_NAMES *names, GENERAL_NAME *name)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, i), name) == 0)
            return true;
    }
    return false;
}

/* Take ownership of ${value}, also on failure. A name already in the list is not repeated. */
static bool add_name(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
    GENERAL_NAME *name = value != NULL ? GENERAL_NAME_new() : NULL;
    bool is_known;

    if (name == NULL) {
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    is_known = has_name(names, name);
    if (!is_known && sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return is_known;
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

/* Add this machine's host name and the addresses of its interfaces, as far as they are known. */
static bool add_machine(GENERAL_NAMES *names)
{
    char host[256] = "";

    (void)gethostname(host, sizeof(host) - 1);
    return (host[0] == '\0' || add_host(names, host)) && interfaces_each(add_address, names);
}

/* Write an address as text, without its zone. Return false for a wildcard address. */
static bool write_address(const struct sockaddr *address, char text[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;

    if (address->sa_family == AF_INET)
        return v4->sin_addr.s_addr != htonl(INADDR_ANY) &&
               inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN) != NULL;
    return !IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) &&
           inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN) != NULL;
}

static bool add_resolved(GENERAL_NAMES *names, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];

    return write_address(address, text) ? add_address(text, names) : add_machine(names);
}

/* Add the value of one --address: an address, or a name and every address it resolves to. If it
 * does not resolve, that is not an error here: the listener will report it. */
static bool add_listen_address(GENERAL_NAMES *names, const char *text)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    bool is_name = getaddrinfo(text, NULL, &hints, &found) != 0;
    bool result = !is_name || add_host(names, text);

    hints.ai_flags = 0;
    if (is_name && getaddrinfo(text, NULL, &hints, &found) != 0)
        return result;
    for (const struct addrinfo *each = found; each != NULL && result; each = each->ai_next)
        result = add_resolved(names, each->ai_addr);
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
        result = add_listen_address(names, *hosts);
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

/* --- Generating ---------------------------------------------------------------------------- */

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

/* Valid from yesterday on, since a client's clock may be slow. */
static bool fill_certificate(X509 *certificate, EVP_PKEY *key, char *const *hosts)
{
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), 365L * DAY) != NULL &&
           set_issuer(certificate) && set_constraints(certificate) &&
           set_names(certificate, hosts) && X509_set_pubkey(certificate, key) == 1 &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

bool certificate_generate(char *const *hosts, X509 **certificate, EVP_PKEY **key)
{
    *key = EVP_EC_gen("P-256");
    *certificate = X509_new();
    if (*key != NULL && *certificate != NULL && fill_certificate(*certificate, *key, hosts))
        return true;
    X509_free(*certificate);
    EVP_PKEY_free(*key);
    *certificate = NULL;
    *key = NULL;
    return false;
}

/* --- Describing ---------------------------------------------------------------------------- */

/* Write what ${print} prints about ${object} into ${text}, cut if it is longer than ${size}. */
static void write_printed(char *text, size_t size, int (*print)(BIO *bio, const void *object),
                          const void *object)
{
    static const char cut[] = "...";
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    size_t length = 0;

    if (bio != NULL && print(bio, object) > 0)
        length = (size_t)BIO_get_mem_data(bio, &bytes);
    if (length < size) {
        memcpy(text, bytes != NULL ? bytes : "", length);
        text[length] = '\0';
    } else {
        memcpy(text, bytes, size - sizeof(cut));
        memcpy(text + size - sizeof(cut), cut, sizeof(cut));
    }
    BIO_free(bio);
}

static int print_subject(BIO *bio, const void *certificate)
{
    return X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
                              XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
}

static int print_time(BIO *bio, const void *time)
{
    return ASN1_TIME_print_ex(bio, time, ASN1_DTFLGS_ISO8601);
}

void certificate_subject(const X509 *certificate, char text[CERTIFICATE_SUBJECT_MAX])
{
    write_printed(text, CERTIFICATE_SUBJECT_MAX, print_subject, certificate);
}

static void write_subject(char text[CERTIFICATE_TEXT_MAX], const X509 *certificate)
{
    char subject[CERTIFICATE_SUBJECT_MAX];

    certificate_subject(certificate, subject);
    log_escape(text, CERTIFICATE_TEXT_MAX, subject, strlen(subject));
}

static void write_fingerprint(char text[CERTIFICATE_SHA256_MAX], const X509 *certificate)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    char *at = text;

    (void)X509_digest(certificate, EVP_sha256(), digest, &length);
    *at = '\0';
    for (unsigned i = 0; i < length; i++)
        at += sprintf(at, "%s%02X", i > 0 ? ":" : "", digest[i]);
}

static void write_pin(char text[CERTIFICATE_PIN_MAX], X509 *certificate)
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

/* Return the first DNS name that is not a wildcard; NULL = none. */
static const ASN1_STRING *find_dns_name(const GENERAL_NAMES *names)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *name = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

        if (type == GEN_DNS && ASN1_STRING_get0_data(name)[0] != '*')
            return name;
    }
    return NULL;
}

/* Write a host that the certificate is valid for: localhost if it is. */
static void write_host(char text[CERTIFICATE_TEXT_MAX], X509 *certificate)
{
    static const char local[] = "localhost";
    bool is_local = X509_check_host(certificate, local, 0, 0, NULL) == 1;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    const ASN1_STRING *other = is_local ? NULL : find_dns_name(names);

    if (other != NULL)
        log_escape(text, CERTIFICATE_TEXT_MAX, ASN1_STRING_get0_data(other),
                   (size_t)ASN1_STRING_length(other));
    else
        log_escape(text, CERTIFICATE_TEXT_MAX, local, sizeof(local) - 1);
    GENERAL_NAMES_free(names);
}

/* Return the seconds from ${from} to ${to}; NULL = now. */
static double seconds_between(const ASN1_TIME *from, const ASN1_TIME *to)
{
    int days = 0;
    int seconds = 0;

    (void)ASN1_TIME_diff(&days, &seconds, from, to);
    return (double)days * DAY + seconds;
}

static enum certificate_validity get_validity(const X509 *certificate)
{
    const ASN1_TIME *begin = X509_get0_notBefore(certificate);
    const ASN1_TIME *end = X509_get0_notAfter(certificate);
    double left = seconds_between(NULL, end);

    if (left < 0)
        return CERTIFICATE_EXPIRED;
    if (seconds_between(NULL, begin) > 0)
        return CERTIFICATE_NOT_YET_VALID;
    return left < seconds_between(begin, end) / 10 ? CERTIFICATE_EXPIRES_SOON : CERTIFICATE_VALID;
}

void certificate_describe(X509 *certificate, struct certificate *description)
{
    write_subject(description->subject, certificate);
    write_host(description->host, certificate);
    description->validity = get_validity(certificate);
    write_printed(description->when, sizeof(description->when), print_time,
                  description->validity == CERTIFICATE_NOT_YET_VALID
                      ? X509_get0_notBefore(certificate)
                      : X509_get0_notAfter(certificate));
    write_fingerprint(description->sha256, certificate);
    write_pin(description->pin, certificate);
}

#endif
