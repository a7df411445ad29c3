/*
 * certificate: X.509 certificates for tls: generating one, and describing one to people.
 *
 * With tls*.c the only user of OpenSSL. A build without OpenSSL (WITH_TLS=0) has the types, but
 * none of the functions.
 */
#ifndef H2ECHOD_NET_CERTIFICATE_H
#define H2ECHOD_NET_CERTIFICATE_H

#include <stdbool.h>

struct x509_st; /* OpenSSL's X509 and EVP_PKEY */
struct evp_pkey_st;

/* Sizes of buffers, in bytes. Longer texts are cut, and end in "...". */
enum {
    CERTIFICATE_SUBJECT_MAX = 1024,
    CERTIFICATE_TEXT_MAX = 256, /* escaped for the log */
    CERTIFICATE_SHA256_MAX = 96,
    CERTIFICATE_PIN_MAX = 48,
};

enum certificate_validity {
    CERTIFICATE_VALID,
    CERTIFICATE_NOT_YET_VALID,
    CERTIFICATE_EXPIRES_SOON, /* less than a tenth of its lifetime is left */
    CERTIFICATE_EXPIRED,
};

/* A certificate, described for people. */
struct certificate {
    char subject[CERTIFICATE_TEXT_MAX];
    char sha256[CERTIFICATE_SHA256_MAX]; /* fingerprint: "0A:1B:..." */
    char pin[CERTIFICATE_PIN_MAX];       /* SHA-256 of the public key in base64 (RFC 7469) */
    char host[CERTIFICATE_TEXT_MAX];     /* a host to connect to: localhost if it is valid for it */
    char when[CERTIFICATE_TEXT_MAX];     /* when it expires, or becomes valid */
    enum certificate_validity validity;
    bool is_generated; /* by certificate_generate; the caller sets this */
};

/*
 * certificate_generate(hosts, certificate, key):
 * Generate a key and a self-signed certificate, valid for a year, for localhost and for ${hosts}, a
 * NULL-terminated list of names and addresses; NULL = this machine's name and all its addresses.
 * Return true and pass ownership of both to the caller, or false with the reason in OpenSSL's queue
 * of errors.
 */
bool certificate_generate(char *const *hosts, struct x509_st **certificate,
                          struct evp_pkey_st **key);

/*
 * certificate_subject(certificate, text):
 * Write the subject in the form of RFC 4514 into ${text}. It may contain anything that a client
 * chose: escape it before showing it.
 */
void certificate_subject(const struct x509_st *certificate, char text[CERTIFICATE_SUBJECT_MAX]);

/*
 * certificate_describe(certificate, description):
 * Fill ${description}, except is_generated.
 */
void certificate_describe(struct x509_st *certificate, struct certificate *description);

#endif
