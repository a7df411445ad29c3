/* The TLS handshake: ALPN, versions, cipher suites, client certificates, and what is known after
 * it. */
#include "tls/pair.h"

#if WITH_TLS

#include "tls/files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct tls_pair pair; /* too large for the stack */

/* --- Negotiation --- */

static const struct {
    const char *offered; /* with length bytes; NULL = no ALPN */
    const char *chosen;  /* NULL = the handshake fails */
} alpns[] = {
    {"\x02h2", "h2"},
    {"\x08http/1.1", "http/1.1"},
    {"\x08http/1.1\x02h2", "h2"},
    {"\x06spdy/3\x02h2", "h2"},
    {"\x06spdy/3\x08http/1.0", NULL},
    {"\x02H2", NULL},
    {NULL, ""},
};

static void test_alpn(void **state)
{
    struct tls_context *context = tls_pair_new_context();
    struct tls_info info;

    (void)state;
    for (size_t i = 0; i < COUNT(alpns); i++) {
        const char *offered = alpns[i].offered != NULL ? alpns[i].offered : "";

        tls_pair_open(&pair, context, NULL, 0);
        assert_int_equal(SSL_set_alpn_protos(pair.client->ssl, (const uint8_t *)offered,
                                             (unsigned)strlen(offered)),
                         0);
        if (alpns[i].chosen != NULL) {
            assert_int_equal(tls_pair_handshake(&pair), 1);
            tls_describe(pair.server, &info);
            assert_string_equal(info.alpn, alpns[i].chosen);
        } else {
            assert_int_equal(tls_pair_handshake(&pair), -1);
            assert_int_equal(errno, EPROTO);
            assert_string_equal(tls_error(pair.server), "no application protocol");
        }
        tls_pair_close(&pair);
    }
    tls_context_free(context);
}

static const struct {
    const char *suites; /* for TLS 1.2; NULL = the client's defaults */
    int version;
    enum tls_version min_version; /* of the server */
    const char *error;            /* NULL = the handshake succeeds */
} offers[] = {
    {NULL, TLS1_3_VERSION, TLS_1_3, NULL},
    {NULL, TLS1_3_VERSION, TLS_1_2, NULL},
    {NULL, TLS1_2_VERSION, TLS_1_2, NULL},
    {NULL, TLS1_2_VERSION, TLS_1_3, "unsupported protocol"},
    {"ALL:@SECLEVEL=0", TLS1_1_VERSION, TLS_1_2, "unsupported protocol"},
    {"ALL:@SECLEVEL=0", TLS1_VERSION, TLS_1_2, "unsupported protocol"},
    {"ECDHE-ECDSA-AES128-GCM-SHA256", TLS1_2_VERSION, TLS_1_2, NULL},
    {"ECDHE-ECDSA-AES128-SHA256", TLS1_2_VERSION, TLS_1_2, "no shared cipher"}, /* CBC */
    {"ECDHE-ECDSA-AES128-CCM", TLS1_2_VERSION, TLS_1_2, "no shared cipher"},
    {"AES128-GCM-SHA256", TLS1_2_VERSION, TLS_1_2, "no shared cipher"}, /* no forward secrecy */
    {"DHE-RSA-AES128-GCM-SHA256", TLS1_2_VERSION, TLS_1_2, "no shared cipher"},
};

static void test_versions_and_suites(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(offers); i++) {
        const struct tls_options options = {.min_version = offers[i].min_version};
        char error[TLS_ERROR_MAX];
        struct tls_context *context = tls_context_new(&options, error);

        assert_non_null(context);
        tls_pair_open(&pair, context, NULL, 0);
        if (offers[i].suites != NULL)
            assert_int_equal(SSL_set_cipher_list(pair.client->ssl, offers[i].suites), 1);
        assert_int_equal(SSL_set_min_proto_version(pair.client->ssl, offers[i].version), 1);
        assert_int_equal(SSL_set_max_proto_version(pair.client->ssl, offers[i].version), 1);
        if (offers[i].error == NULL) {
            assert_true(tls_pair_converse(&pair));
            assert_null(SSL_get_current_compression(pair.client->ssl));
        } else {
            assert_int_equal(tls_pair_handshake(&pair), -1);
            assert_int_equal(errno, EPROTO);
            assert_string_equal(tls_error(pair.server), offers[i].error);
        }
        tls_pair_close(&pair);
        tls_context_free(context);
    }
}

/* A client that asks for renegotiation is refused, and the connection continues. */
static void test_renegotiation(void **state)
{
    struct tls_context *context = tls_pair_new_context();
    uint8_t byte;

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_int_equal(SSL_set_max_proto_version(pair.client->ssl, TLS1_2_VERSION), 1);
    assert_true(tls_pair_converse(&pair));
    assert_int_equal(SSL_renegotiate(pair.client->ssl), 1);
    tls_client_write(pair.client, NULL, 0);
    for (int turns = 0; turns < 10; turns++) {
        assert_int_equal(tls_read(pair.server, &byte, 1), -1);
        assert_true(tls_pair_is_retry(errno));
    }
    tls_pair_let_client_work(&pair);
    assert_true(pair.client->is_broken);
    assert_int_equal(ERR_GET_REASON(pair.client->error), SSL_R_NO_RENEGOTIATION);
    assert_true(tls_pair_write_all(&pair, "on", 2));
    tls_pair_close(&pair);
    tls_context_free(context);
}

/* --- Describing the connection --- */

/* Do a handshake with a client certificate that the server trusts, and describe it. */
static void describe(const char *sni, const char *organization, int entries, struct tls_info *info)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = tls_files_new_certificate(key, organization, entries, 86400);
    const struct tls_options options = {.client_ca = tls_files_path("client.pem"),
                                        .verify = TLS_VERIFY_REQUIRED};
    char error[TLS_ERROR_MAX] = "";
    struct tls_context *context;

    tls_files_write_certificates("client.pem", certificate, NULL);
    context = tls_context_new(&options, error);
    assert_string_equal(error, "");
    tls_pair_open(&pair, context, NULL, 0);
    assert_int_equal(SSL_set_tlsext_host_name(pair.client->ssl, sni), 1);
    assert_int_equal(SSL_use_certificate(pair.client->ssl, certificate), 1);
    assert_int_equal(SSL_use_PrivateKey(pair.client->ssl, key), 1);
    assert_true(tls_pair_converse(&pair));
    tls_describe(pair.server, info);
    tls_pair_close(&pair);
    tls_context_free(context);
    assert_int_equal(unlink(tls_files_path("client.pem")), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void test_description(void **state)
{
    struct tls_info info;

    (void)state;
    describe("name.example", "company", 1, &info);
    assert_string_equal(info.version, "TLSv1.3");
    assert_string_equal(info.cipher, "TLS_AES_128_GCM_SHA256");
    assert_string_equal(info.alpn, "h2");
    assert_string_equal(info.sni, "name.example");
    assert_string_equal(info.client_subject, "O=company");
    assert_false(info.resumed);
}

static void test_description_of_a_hostile_client(void **state)
{
    struct tls_info info;
    char sni[256];

    (void)state;
    describe("a\x01\n\x1b[31m\"\xff", "b\n\x1b[31m\"\xc3\xa9", 1, &info);
    assert_string_equal(info.sni, "a\x01\n\x1b[31m\"\xff");
    assert_string_equal(info.client_subject, "O=b\\0A\\1B[31m\\\"\xc3\xa9");
    memset(sni, '\x01', sizeof(sni) - 1);
    sni[sizeof(sni) - 1] = '\0';
    describe(sni, "0123456789012345678901234567890123456789012345678901234567890123", 20, &info);
    assert_string_equal(info.sni, sni);
    assert_int_equal(strlen(info.client_subject), CERTIFICATE_SUBJECT_MAX - 1);
    assert_string_equal(info.client_subject + CERTIFICATE_SUBJECT_MAX - 1 - 5, "12...");
}

/* For a certificate from an unknown CA the error is the reason of the verification. */
static void test_untrusted_client(void **state)
{
    char error[TLS_ERROR_MAX];
    struct tls_context *context = tls_files_context("good.pem", "good.key", "chain.pem", error);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = tls_files_new_certificate(key, "stranger", 1, 86400);

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_int_equal(SSL_use_certificate(pair.client->ssl, certificate), 1);
    assert_int_equal(SSL_use_PrivateKey(pair.client->ssl, key), 1);
    assert_int_equal(tls_pair_handshake(&pair), -1);
    assert_int_equal(errno, EPROTO);
    assert_string_equal(tls_error(pair.server), "self-signed certificate");
    tls_pair_close(&pair);
    tls_pair_open(&pair, context, NULL, 0);
    assert_int_equal(tls_pair_handshake(&pair), -1);
    assert_int_equal(errno, EPROTO);
    assert_string_equal(tls_error(pair.server), "peer did not return a certificate");
    tls_pair_close(&pair);
    X509_free(certificate);
    EVP_PKEY_free(key);
    tls_context_free(context);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_versions_and_suites),
        cmocka_unit_test(test_renegotiation),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_description_of_a_hostile_client),
        cmocka_unit_test(test_untrusted_client),
    };

    return cmocka_run_group_tests(tests, tls_files_setup, tls_files_teardown);
}

#else

int main(void)
{
    return tls_pair_main_without_tls();
}

#endif
