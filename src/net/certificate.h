/*
 * certificate: X.509 for tls: one that is made in memory, and what people are told of one.
 *
 * A build without OpenSSL (WITH_TLS=0) has none of the functions.
 */
#ifndef H2ECHOD_NET_CERTIFICATE_H
#define H2ECHOD_NET_CERTIFICATE_H

#include <stdbool.h>

struct x509_st; /* OpenSSL's X509 and EVP_PKEY */
struct evp_pkey_st;

enum {
    CERTIFICATE_SUBJECT_MAX = 1024, /* what is longer is cut, and ends in "..." */
    CERTIFICATE_TEXT_MAX = 256,     /* the same, escaped for the log */
    CERTIFICATE_SHA256_MAX = 96,
    CERTIFICATE_PIN_MAX = 48,
};

enum certificate_validity {
    CERTIFICATE_VALID,
    CERTIFICATE_NOT_YET_VALID,
    CERTIFICATE_EXPIRES_SOON, /* less than a tenth of its time is left */
    CERTIFICATE_EXPIRED,
};

/* A certificate, for people. */
struct certificate {
    char subject[CERTIFICATE_TEXT_MAX];
    char sha256[CERTIFICATE_SHA256_MAX]; /* its fingerprint: "0A:1B:..." */
    char pin[CERTIFICATE_PIN_MAX];   /* its public key's SHA-256 in base64, as RFC 7469 has it */
    char host[CERTIFICATE_TEXT_MAX]; /* to ask for: localhost, unless it holds for others alone */
    char when[CERTIFICATE_TEXT_MAX]; /* it expires, or will be valid first */
    enum certificate_validity validity;
    bool is_generated; /* made in memory; the caller's to say */
};

/*
 * certificate_generate(hosts, certificate, key):
 * Make a key and a certificate for localhost and ${hosts}, addresses or names, NULL = all addresses
 * of this machine; valid for a year. Return true and hand both over, or false if they can't be had,
 * with OpenSSL's reason in its queue.
 */
bool certificate_generate(char *const *hosts, struct x509_st **certificate,
                          struct evp_pkey_st **key);

/*
 * certificate_subject(certificate, text):
 * Write the subject in the form of RFC 4514, as it is: nothing in it is to be trusted.
 */
void certificate_subject(const struct x509_st *certificate, char text[CERTIFICATE_SUBJECT_MAX]);

/*
 * certificate_describe(shown, certificate):
 * Tell what clients are ${shown}.
 */
void certificate_describe(struct x509_st *shown, struct certificate *certificate);

#endif
