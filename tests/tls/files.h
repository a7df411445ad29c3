/*
 * files: certificates and keys in a temporary directory, good and bad ones. For builds with TLS.
 */
#ifndef H2ECHOD_TESTS_TLS_FILES_H
#define H2ECHOD_TESTS_TLS_FILES_H

#include "net/tls.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

/*
 * Create the directory and these files in it:
 *
 *     good.pem good.key     a certificate and its key
 *     chain.pem             the same certificate and another
 *     expired.pem           an expired certificate for the same key
 *     other.key             another key
 *     locked.key            the first key, encrypted
 *     empty.pem text.pem broken.pem
 *
 * They have the types of cmocka's group fixtures.
 */
int tls_files_setup(void **state);
int tls_files_teardown(void **state);

/* Return the path of a file in the directory. It stays valid for the next three calls. */
const char *tls_files_path(const char *name);

/* Return a self-signed certificate whose subject is ${entries} times O=${organization}, and which
 * expires in ${seconds}. */
X509 *tls_files_new_certificate(EVP_PKEY *key, const char *organization, int entries, long seconds);

/* Write one or two certificates into a file. ${second} may be NULL. */
void tls_files_write_certificates(const char *name, X509 *first, X509 *second);

/* Return a context of these files, of which ${key} and ${client_ca} may be NULL; with ${client_ca}
 * it requires client certificates. NULL with the reason in ${error}, which is "" otherwise. */
struct tls_context *tls_files_context(const char *certificate, const char *key,
                                      const char *client_ca, char error[TLS_ERROR_MAX]);

#endif
