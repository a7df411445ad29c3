/* Reading and writing over TLS: interrupted and failing I/O callbacks, and every kind of end. */
#include "tls/pair.h"

#if WITH_TLS

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct tls_pair pair; /* too large for the stack */

/* --- Interruptions --- */

static const struct tls_pair_fault interruptions[] = {
    {"none", TLS_PAIR_READ, 0, false, false},
    {"byte by byte", TLS_PAIR_READ, 0, false, true},
    {"read EINTR each time", TLS_PAIR_READ, EINTR, true, false},
    {"write EINTR each time", TLS_PAIR_WRITE, EINTR, true, false},
    {"read EAGAIN each time", TLS_PAIR_READ, EAGAIN, true, false},
    {"write EAGAIN each time", TLS_PAIR_WRITE, EAGAIN, true, false},
    {"byte by byte, read EINTR each time", TLS_PAIR_READ, EINTR, true, true},
    {"byte by byte, write EINTR each time", TLS_PAIR_WRITE, EINTR, true, true},
    {"byte by byte, write EAGAIN each time", TLS_PAIR_WRITE, EAGAIN, true, true},
};

static void test_interruptions(void **state)
{
    struct tls_context *context = tls_pair_new_context();

    (void)state;
    for (size_t i = 0; i < COUNT(interruptions); i++) {
        print_message("%s\n", interruptions[i].name);
        tls_pair_open(&pair, context, &interruptions[i], 0);
        assert_true(tls_pair_converse(&pair));
        tls_pair_shutdown(&pair);
        tls_pair_close(&pair);
    }
    tls_context_free(context);
}

static const struct tls_pair_fault interruptions_at_n[] = {
    {"read EINTR", TLS_PAIR_READ, EINTR, false, false},
    {"read EAGAIN", TLS_PAIR_READ, EAGAIN, false, false},
    {"write EINTR", TLS_PAIR_WRITE, EINTR, false, false},
    {"write EAGAIN", TLS_PAIR_WRITE, EAGAIN, false, false},
};

static void test_interruption_of_each_call(void **state)
{
    struct tls_context *context = tls_pair_new_context();

    (void)state;
    for (size_t i = 0; i < COUNT(interruptions_at_n); i++) {
        size_t n = 0;

        do {
            tls_pair_open(&pair, context, &interruptions_at_n[i], n++);
            assert_true(tls_pair_converse(&pair));
            tls_pair_shutdown(&pair);
            tls_pair_close(&pair);
        } while (pair.is_fault_hit);
        print_message("%s: at %zu calls\n", interruptions_at_n[i].name, n - 1);
        assert_true(n > 2);
    }
    tls_context_free(context);
}

/* A record that was sent in part is continued by the next write, even if there are reads in
 * between. These do not send any of it, and notice that the client has closed the connection. */
static void test_half_sent_record(void **state)
{
    static const struct tls_pair_fault slow = {"slow", TLS_PAIR_WRITE, EAGAIN, true, true};
    struct tls_context *context = tls_pair_new_context();
    uint8_t byte = 0;
    size_t writes;

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_int_equal(tls_pair_handshake(&pair), 1);
    pair.fault = &slow;
    pair.calls[TLS_PAIR_WRITE] = 1; /* the first byte is sent, the second is not */
    assert_int_equal(tls_write(pair.server, (const uint8_t *)"half", 4), -1);
    assert_int_equal(errno, EAGAIN);
    writes = pair.calls[TLS_PAIR_WRITE];
    tls_client_write(pair.client, "x", 1);
    assert_int_equal(tls_pair_read_all(&pair, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    tls_client_close(pair.client);
    assert_int_equal(tls_read(pair.server, &byte, 1), 0);
    assert_int_equal(pair.calls[TLS_PAIR_WRITE], writes);
    assert_true(tls_pair_write_all(&pair, "half", 4));
    tls_pair_receive(&pair);
    assert_int_equal(pair.received_length, 4);
    assert_memory_equal(pair.received, "half", 4);
    tls_pair_close(&pair);
    tls_context_free(context);
}

/* --- What is left to read --- */

/* Each read of the socket takes everything that the client has sent. Until OpenSSL has processed
 * all of that, waiting for the socket would be wrong. */
static void assert_reads(const char *text)
{
    for (size_t length = 0; length < strlen(text);) {
        uint8_t byte;
        ssize_t result = tls_read(pair.server, &byte, 1);

        assert_int_equal(BIO_pending(pair.client->to_server), 0);
        if (result == 1) {
            assert_int_equal(byte, text[length++]);
        } else {
            assert_int_equal(result, -1);
            assert_int_equal(errno, EINTR);
        }
        assert_true(length == strlen(text) || !tls_awaits_bytes(pair.server));
    }
}

static void assert_awaits_bytes(void)
{
    uint8_t byte;

    assert_int_equal(tls_read(pair.server, &byte, 1), -1);
    assert_int_equal(errno, EAGAIN);
    assert_true(tls_awaits_bytes(pair.server));
}

static void test_records_received_together(void **state)
{
    struct tls_context *context = tls_pair_new_context();

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_int_equal(tls_pair_handshake(&pair), 1);
    tls_client_write(pair.client, "ab", 2);
    tls_client_write(pair.client, "c", 1);
    assert_reads("abc");
    assert_awaits_bytes();
    tls_pair_close(&pair);
    tls_context_free(context);
}

/* SSL_has_pending does not know of records that OpenSSL read together with a KeyUpdate. */
static void test_records_after_key_updates(void **state)
{
    static const int types[] = {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED};
    struct tls_context *context = tls_pair_new_context();

    (void)state;
    for (size_t i = 0; i < COUNT(types); i++) {
        tls_pair_open(&pair, context, NULL, 0);
        assert_int_equal(tls_pair_handshake(&pair), 1);
        for (int updates = 0; updates < 3; updates++) {
            assert_int_equal(SSL_key_update(pair.client->ssl, types[i]), 1);
            tls_client_write(pair.client, "x", updates == 2 ? 1 : 0);
        }
        assert_reads("x");
        assert_awaits_bytes();
        tls_pair_close(&pair);
    }
    tls_context_free(context);
}

/* After the start of a record there is nothing to do but wait for the rest of it. */
static void test_start_of_a_record(void **state)
{
    static const struct tls_pair_fault slow = {"slow", TLS_PAIR_READ, EAGAIN, true, true};
    struct tls_context *context = tls_pair_new_context();
    int waits = 0;
    ssize_t result;
    uint8_t byte;

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_int_equal(tls_pair_handshake(&pair), 1);
    pair.fault = &slow;
    tls_client_write(pair.client, "x", 1);
    while ((result = tls_read(pair.server, &byte, 1)) < 0) {
        assert_int_equal(errno, EAGAIN);
        assert_true(tls_awaits_bytes(pair.server));
        waits++;
    }
    assert_int_equal(result, 1);
    assert_true(waits > 20);
    assert_false(tls_awaits_bytes(pair.server));
    tls_pair_close(&pair);
    tls_context_free(context);
}

/* --- Failures --- */

static const struct tls_pair_fault failures[] = {
    {"read ECONNRESET", TLS_PAIR_READ, ECONNRESET, false, false},
    {"read ETIMEDOUT", TLS_PAIR_READ, ETIMEDOUT, false, false},
    {"write EPIPE", TLS_PAIR_WRITE, EPIPE, false, false},
    {"write ECONNRESET", TLS_PAIR_WRITE, ECONNRESET, false, false},
    {"write EPIPE, byte by byte", TLS_PAIR_WRITE, EPIPE, false, true},
};

/* The error of the callback is reported unchanged, and nothing is sent any more. Return true if the
 * fault occurred. */
static bool try_failure(struct tls_context *context, const struct tls_pair_fault *fault, size_t n)
{
    size_t writes;

    tls_pair_open(&pair, context, fault, n);
    if (!tls_pair_converse(&pair)) {
        assert_true(pair.is_fault_hit);
        assert_int_equal(errno, fault->error);
        writes = pair.calls[TLS_PAIR_WRITE];
        tls_shutdown_write(pair.server);
        assert_int_equal(pair.calls[TLS_PAIR_WRITE], writes);
    }
    tls_pair_close(&pair);
    return pair.is_fault_hit;
}

static void test_failures(void **state)
{
    enum { MAX_CALLS = 200 }; /* byte by byte there are too many to try all */
    struct tls_context *context = tls_pair_new_context();

    (void)state;
    for (size_t i = 0; i < COUNT(failures); i++) {
        size_t n = 0;

        while (n < MAX_CALLS && try_failure(context, &failures[i], n))
            n++;
        print_message("%s: at %zu calls\n", failures[i].name, n);
        assert_true(n > 0);
    }
    tls_context_free(context);
}

/* --- The end of the connection --- */

static void test_close_notify(void **state)
{
    struct tls_context *context = tls_pair_new_context();

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_true(tls_pair_converse(&pair));
    tls_pair_shutdown(&pair);
    tls_pair_close(&pair);
    tls_context_free(context);
}

/* The end of the socket's bytes is enough: HTTP/2 has its own end, and many clients send no
 * close_notify. */
static void test_end_without_close_notify(void **state)
{
    struct tls_context *context = tls_pair_new_context();
    uint8_t byte;

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_true(tls_pair_converse(&pair));
    pair.is_client_gone = true;
    assert_int_equal(tls_pair_read_all(&pair, &byte, 1), 0);
    assert_true(tls_pair_write_all(&pair, &byte, 1));
    tls_pair_close(&pair);
    tls_context_free(context);
}

/* If the bytes end within a record, no part of it is returned as content. */
static void test_end_within_a_record(void **state)
{
    struct tls_context *context = tls_pair_new_context();
    uint8_t bytes[16];

    (void)state;
    for (size_t received = 1; received < 20; received++) {
        tls_pair_open(&pair, context, NULL, 0);
        assert_int_equal(tls_pair_handshake(&pair), 1);
        tls_client_write(pair.client, "content", 7);
        pair.is_cut = true;
        pair.left = received;
        assert_int_equal(tls_pair_read_all(&pair, bytes, sizeof(bytes)), 0);
        tls_pair_close(&pair);
    }
    tls_context_free(context);
}

static void test_end_within_the_handshake(void **state)
{
    struct tls_context *context = tls_pair_new_context();

    (void)state;
    for (size_t received = 0; received < 100; received += 9) {
        tls_pair_open(&pair, context, NULL, 0);
        pair.is_cut = true;
        pair.left = received;
        assert_int_equal(tls_pair_handshake(&pair), 0);
        tls_shutdown_write(pair.server);
        assert_int_equal(pair.calls[TLS_PAIR_WRITE], 0);
        tls_pair_close(&pair);
    }
    tls_context_free(context);
}

static void test_forged_record(void **state)
{
    static const uint8_t forged[5 + 32] = {0x17, 3, 3, 0, 32};
    struct tls_context *context = tls_pair_new_context();
    uint8_t byte;

    (void)state;
    tls_pair_open(&pair, context, NULL, 0);
    assert_int_equal(tls_pair_handshake(&pair), 1);
    assert_int_equal(BIO_write(pair.client->to_server, forged, sizeof(forged)), sizeof(forged));
    assert_int_equal(tls_pair_read_all(&pair, &byte, 1), -1);
    assert_int_equal(errno, EPROTO);
    assert_string_equal(tls_error(pair.server), "decryption failed or bad record mac");
    tls_pair_close(&pair);
    tls_context_free(context);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interruptions),
        cmocka_unit_test(test_interruption_of_each_call),
        cmocka_unit_test(test_half_sent_record),
        cmocka_unit_test(test_records_received_together),
        cmocka_unit_test(test_records_after_key_updates),
        cmocka_unit_test(test_start_of_a_record),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_close_notify),
        cmocka_unit_test(test_end_without_close_notify),
        cmocka_unit_test(test_end_within_a_record),
        cmocka_unit_test(test_end_within_the_handshake),
        cmocka_unit_test(test_forged_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return tls_pair_main_without_tls();
}

#endif
