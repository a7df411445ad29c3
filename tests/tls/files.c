#include "tls/pair.h"

#if WITH_TLS

#include "tls/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char directory[] = "/tmp/tls_files.XXXXXX";

const char *tls_files_path(const char *name)
{
    static char paths[4][sizeof(directory) + 32];
    static size_t next;
    char *path = paths[next++ % COUNT(paths)];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static FILE *create_file(const char *name)
{
    FILE *file = fopen(tls_files_path(name), "w");

    assert_non_null(file);
    return file;
}

static void write_text(const char *name, const char *text)
{
    FILE *file = create_file(name);

    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void write_key(const char *name, EVP_PKEY *key, const char *passphrase)
{
    FILE *file = create_file(name);

    assert_int_equal(PEM_write_PrivateKey(file, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
                                          (const uint8_t *)passphrase,
                                          passphrase != NULL ? (int)strlen(passphrase) : 0, NULL,
                                          NULL),
                     1);
    assert_int_equal(fclose(file), 0);
}

void tls_files_write_certificates(const char *name, X509 *first, X509 *second)
{
    FILE *file = create_file(name);

    assert_int_equal(PEM_write_X509(file, first), 1);
    if (second != NULL)
        assert_int_equal(PEM_write_X509(file, second), 1);
    assert_int_equal(fclose(file), 0);
}

X509 *tls_files_new_certificate(EVP_PKEY *key, const char *organization, int entries, long seconds)
{
    X509 *certificate = X509_new();
    X509_NAME *subject;

    assert_non_null(certificate);
    subject = X509_get_subject_name(certificate);
    while (entries-- > 0)
        assert_int_equal(X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8,
                                                    (const uint8_t *)organization, -1, -1, 0),
                         1);
    assert_int_equal(X509_set_issuer_name(certificate, subject), 1);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), -2 * 86400));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), seconds));
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    return certificate;
}

static struct {
    EVP_PKEY *key;
    EVP_PKEY *other_key;
    X509 *certificate;
    X509 *other;
    X509 *expired;
} created;

int tls_files_setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    created.key = EVP_EC_gen("P-256");
    created.other_key = EVP_EC_gen("P-256");
    created.certificate = tls_files_new_certificate(created.key, "unit", 1, 86400);
    created.other = tls_files_new_certificate(created.other_key, "other", 1, 86400);
    created.expired = tls_files_new_certificate(created.key, "old", 1, -86400);
    tls_files_write_certificates("good.pem", created.certificate, NULL);
    tls_files_write_certificates("chain.pem", created.certificate, created.other);
    tls_files_write_certificates("expired.pem", created.expired, NULL);
    write_key("good.key", created.key, NULL);
    write_key("other.key", created.other_key, NULL);
    write_key("locked.key", created.key, "secret");
    write_text("empty.pem", "");
    write_text("text.pem", "certificate\n");
    write_text("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    return 0;
}

int tls_files_teardown(void **state)
{
    static const char *const names[] = {"good.pem",  "chain.pem", "expired.pem",
                                        "good.key",  "other.key", "locked.key",
                                        "empty.pem", "text.pem",  "broken.pem"};

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(unlink(tls_files_path(names[i])), 0);
    assert_int_equal(rmdir(directory), 0);
    X509_free(created.certificate);
    X509_free(created.other);
    X509_free(created.expired);
    EVP_PKEY_free(created.key);
    EVP_PKEY_free(created.other_key);
    return 0;
}

struct tls_context *tls_files_context(const char *certificate, const char *key,
                                      const char *client_ca, char error[TLS_ERROR_MAX])
{
    const struct tls_options options = {
        .certificate = tls_files_path(certificate),
        .key = key != NULL ? tls_files_path(key) : NULL,
        .client_ca = client_ca != NULL ? tls_files_path(client_ca) : NULL,
        .verify = client_ca != NULL ? TLS_VERIFY_REQUIRED : TLS_VERIFY_OFF,
    };

    error[0] = '\0';
    return tls_context_new(&options, error);
}

#endif
