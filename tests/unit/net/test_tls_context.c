/* TLS contexts: from files, good and bad ones, and with a generated certificate. */
#include "tls/pair.h"

#if WITH_TLS

#include "tls/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct tls_pair pair; /* too large for the stack */

/* --- Files --- */

static const struct {
    const char *certificate;
    const char *key; /* NULL = the same file */
    const char *client_ca;
    const char *error; /* a part of it; NULL = none */
} files[] = {
    {"good.pem", "good.key", NULL, NULL},
    {"chain.pem", "good.key", NULL, NULL},
    {"expired.pem", "good.key", NULL, NULL},
    {"good.pem", "good.key", "chain.pem", NULL},
    {"missing.pem", "good.key", NULL, "missing.pem: can't be read: No such file or directory"},
    {"", "good.key", NULL, "can't be read: Is a directory"},
    {"empty.pem", "good.key", NULL, "empty.pem: has no certificate"},
    {"text.pem", "good.key", NULL, "text.pem: has no certificate"},
    {"good.key", "good.key", NULL, "good.key: has no certificate"},
    {"broken.pem", "good.key", NULL, "name a file of certificates in PEM"},
    {"good.pem", "missing.key", NULL, "tls-key: "},
    {"good.pem", NULL, NULL, "name a file with a private key in PEM"},
    {"good.pem", "empty.pem", NULL, "name a file with a private key in PEM"},
    {"good.pem", "other.key", NULL, "other.key: is not the key of the certificate"},
    {"good.pem", "locked.key", NULL, "locked.key: "},
    {"good.pem", "good.key", "missing.pem", "tls-client-ca: "},
    {"good.pem", "good.key", "empty.pem", "empty.pem: has no certificate"},
};

static struct tls_context *context_of_row(size_t i, char error[TLS_ERROR_MAX])
{
    return tls_files_context(files[i].certificate, files[i].key, files[i].client_ca, error);
}

static void test_files(void **state)
{
    char error[TLS_ERROR_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        struct tls_context *context = context_of_row(i, error);

        if (files[i].error == NULL) {
            assert_string_equal(error, "");
            assert_non_null(context);
        } else {
            assert_null(context);
            if (strstr(error, files[i].error) == NULL)
                fail_msg("\"%s\" is not in \"%s\"", files[i].error, error);
        }
        assert_int_equal(ERR_peek_error(), 0);
        tls_context_free(context);
    }
}

static void test_chain(void **state)
{
    char error[TLS_ERROR_MAX];
    struct tls_context *context = tls_files_context("chain.pem", "good.key", NULL, error);

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_true(tls_pair_converse(&pair));
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(pair.client->ssl)), 2);
    tls_pair_close(&pair);
    tls_context_free(context);
}

static void test_description(void **state)
{
    char error[TLS_ERROR_MAX];
    struct certificate described;

    (void)state;
    for (size_t i = 0; i <= 2; i++) {
        struct tls_context *context = context_of_row(i, error);

        tls_context_certificate(context, &described);
        assert_string_equal(described.subject, i == 2 ? "O=old" : "O=unit");
        assert_int_equal(described.validity, i == 2 ? CERTIFICATE_EXPIRED : CERTIFICATE_VALID);
        assert_false(described.is_generated);
        assert_int_equal(strlen(described.sha256), 32 * 3 - 1);
        assert_int_equal(strlen(described.pin), 44);
        tls_context_free(context);
    }
}

/* --- The generated certificate --- */

static void test_generated_certificate(void **state)
{
    struct tls_context *first = tls_pair_new_context();
    struct tls_context *second = tls_pair_new_context();
    struct certificate described[2];
    X509 *certificate;

    (void)state;
    tls_context_certificate(first, &described[0]);
    tls_context_certificate(second, &described[1]);
    assert_string_equal(described[0].subject, "CN=h2echod");
    assert_true(described[0].is_generated);
    assert_int_equal(described[0].validity, CERTIFICATE_VALID);
    assert_string_equal(described[0].sha256, described[1].sha256);
    assert_string_equal(described[0].pin, described[1].pin);
    tls_pair_open(&pair, second, NULL, 0);
    assert_true(tls_pair_converse(&pair));
    certificate = SSL_get0_peer_certificate(pair.client->ssl);
    assert_int_equal(X509_check_host(certificate, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(certificate, "unit.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(certificate, "other.example", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(certificate, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(certificate, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(certificate, "192.0.2.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(certificate, "192.0.2.2", 0), 0);
    tls_pair_close(&pair);
    tls_context_free(first);
    tls_context_free(second);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_generated_certificate),
    };

    return cmocka_run_group_tests(tests, tls_files_setup, tls_files_teardown);
}

#else

int main(void)
{
    return tls_pair_main_without_tls();
}

#endif
