/* sniff: every protocol, received in any number of pieces. */
#include "conn/sniff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))
#define LENGTH(literal) (sizeof(literal) - 1)

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* Sniff a copy of exactly that size, so that AddressSanitizer and valgrind notice a read past its
 * end. */
static enum sniffed sniff_copy(const void *bytes, size_t length)
{
    uint8_t *copy = malloc(length + (length == 0));
    enum sniffed protocol;

    assert_non_null(copy);
    memcpy(copy, bytes, length);
    protocol = sniff_protocol(copy, length);
    free(copy);
    return protocol;
}

/* Sniff every prefix: once the protocol is known it must not change. Return it, and set ${taken} to
 * the number of bytes that were needed. */
static enum sniffed sniff_prefixes(const void *bytes, size_t length, size_t *taken)
{
    enum sniffed protocol = sniff_copy(bytes, length);
    size_t prefix = 0;

    while (prefix < length && sniff_copy(bytes, prefix) == SNIFFED_INCOMPLETE)
        prefix++;
    *taken = prefix;
    for (; prefix <= length; prefix++)
        assert_int_equal(sniff_copy(bytes, prefix), protocol);
    return protocol;
}

static void test_http2(void **state)
{
    static const char more[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4";
    size_t taken;

    (void)state;
    for (size_t length = 0; length < LENGTH(preface); length++)
        assert_int_equal(sniff_copy(preface, length), SNIFFED_INCOMPLETE);
    assert_int_equal(sniff_copy(preface, LENGTH(preface)), SNIFFED_HTTP2);
    assert_int_equal(sniff_prefixes(more, LENGTH(more), &taken), SNIFFED_HTTP2);
    assert_int_equal(taken, 24);
}

/* With one byte changed it is not a preface, no matter what follows. */
static void test_http2_wrong_byte(void **state)
{
    (void)state;
    for (size_t at = 0; at < LENGTH(preface); at++) {
        for (unsigned change = 1; change < 256; change++) {
            char wrong[LENGTH(preface) + 2];

            memcpy(wrong, preface, LENGTH(preface));
            memcpy(wrong + LENGTH(preface), "\r\n", 2);
            wrong[at] = (char)(wrong[at] ^ (char)change);
            for (size_t length = at + 1; length <= sizeof(wrong); length++)
                assert_int_not_equal(sniff_copy(wrong, length), SNIFFED_HTTP2);
            /* Changes of the first line may make it HTTP/1, as in "PRI * HTTP/1.0". */
            if (at >= 16)
                assert_int_equal(sniff_copy(wrong, sizeof(wrong)), SNIFFED_UNKNOWN);
        }
    }
}

static void test_http1(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "HEAD / HTTP/1.1\r\n",
        "POST /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "CONNECT h:443 HTTP/1.1\r\n",
        "PRI * HTTP/1.1\r\n",
        "P / HTTP/1.1\r\n",
        "PRIX / HTTP/1.1\r\n",
        "M-SEARCH * HTTP/1.1\r\n",
        "!#$%&'*+-.^_`|~0aZ / HTTP/1.1\r\n",
        "GET http://h/ HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.9\r\n",
        "GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        size_t taken;

        assert_int_equal(sniff_prefixes(lines[i], strlen(lines[i]), &taken), SNIFFED_HTTP1);
        assert_true(taken <= (size_t)(strchr(lines[i], '\n') + 1 - lines[i]));
    }
}

static void test_tls(void **state)
{
    /* The start of a ClientHello: of OpenSSL 3, of TLS 1.0, and in a TLS 1.2 record. */
    static const char *const hellos[] = {
        "\x16\x03\x01\x02\x05\x01\x00\x02\x01\x03\x03",
        "\x16\x03\x01\x00\x35\x01\x00\x00\x31\x03\x01",
        "\x16\x03\x03\x00\x35\x01\x00\x00\x31\x03\x03",
    };
    static const uint8_t alert[] = {0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x0a};
    size_t taken;

    (void)state;
    for (size_t i = 0; i < COUNT(hellos); i++)
        assert_int_equal(sniff_prefixes(hellos[i], 11, &taken), SNIFFED_TLS);
    assert_int_equal(sniff_copy("\x16", 1), SNIFFED_INCOMPLETE);
    assert_int_equal(sizeof(alert), SNIFF_TLS_ALERT_SIZE);
    assert_memory_equal(sniff_tls_alert, alert, sizeof(alert));
}

static void test_other(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } table[] = {
        {"\r\n", 2},
        {"\n", 1},
        {" GET / HTTP/1.1\r\n", 17},
        {"GET\r\n", 5},
        {"GET /\r\n", 7}, /* HTTP/0.9 */
        {"GET / HTTP/2.0\r\n", 16},
        {"GET / HTTP/3\r\n", 14},
        {"GET / HTTP/0.9\r\n", 16},
        {"GET / HTTP/1.\r\n", 15},
        {"GET / HTTP/1.x\r\n", 16},
        {"GET / HTTP/1.10\r\n", 17},
        {"GET / http/1.1\r\n", 16},
        {"GET / XHTTP/1.1\r\n", 17},
        {"GET / HTTP/1.1 \r\n", 17},
        {"GET\t/\tHTTP/1.1\r\n", 16},
        {"G(T / HTTP/1.1\r\n", 16},
        {"HELO mail\r\n", 11},
        {"SSH-2.0-OpenSSH_9.2\r\n", 21},
        {"PRI * HTTP/2.0\n\nSM\n\n", 20},
        {"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24},
        {"\x16\x02\x01", 3},
        {"\x16\x04\x01", 3},
        {"\x15\x03\x01", 3},
        {"\x80\x2e\x01\x00\x02", 5}, /* SSL 2 */
        {"\0\0\0\4\0\0\0\0\0", 9},   /* SETTINGS without a preface */
    };
    size_t taken;

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++)
        if (sniff_prefixes(table[i].bytes, table[i].length, &taken) != SNIFFED_UNKNOWN)
            fail_msg("row %zu", i);
}

static void test_garbage_of_every_first_byte(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        uint8_t garbage[] = {(uint8_t)first, 0x00, 0xff, '\r', '\n', '\r', '\n'};
        size_t taken;

        assert_int_equal(sniff_prefixes(garbage, sizeof(garbage), &taken), SNIFFED_UNKNOWN);
    }
}

/* Return a request line of exactly ${length} bytes, including CR LF. */
static char *new_request_line(size_t length)
{
    static const char start[] = "GET /";
    static const char end[] = " HTTP/1.1\r\n";
    char *line = malloc(length);

    assert_non_null(line);
    memset(line, 'a', length);
    memcpy(line, start, LENGTH(start));
    memcpy(line + length - LENGTH(end), end, LENGTH(end));
    return line;
}

static void test_long_lines(void **state)
{
    static const size_t lengths[] = {100, SNIFF_LINE_MAX - 1, SNIFF_LINE_MAX};

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        char *line = new_request_line(lengths[i]);

        for (size_t prefix = 0; prefix + LENGTH("\r\n") < lengths[i]; prefix++)
            assert_int_equal(sniff_protocol((uint8_t *)line, prefix), SNIFFED_INCOMPLETE);
        assert_int_equal(sniff_copy(line, lengths[i]), SNIFFED_HTTP1);
        free(line);
    }
}

/* A longer line is not recognised, whether it is received in pieces or at once. */
static void test_too_long_lines(void **state)
{
    static const size_t lengths[] = {SNIFF_LINE_MAX + 1, SNIFF_LINE_MAX + 2, 2 * SNIFF_LINE_MAX};

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        char *line = new_request_line(lengths[i]);

        for (size_t prefix = SNIFF_LINE_MAX + 1; prefix <= lengths[i]; prefix++)
            assert_int_equal(sniff_protocol((uint8_t *)line, prefix), SNIFFED_UNKNOWN);
        free(line);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http2),      cmocka_unit_test(test_http2_wrong_byte),
        cmocka_unit_test(test_http1),      cmocka_unit_test(test_tls),
        cmocka_unit_test(test_other),      cmocka_unit_test(test_garbage_of_every_first_byte),
        cmocka_unit_test(test_long_lines), cmocka_unit_test(test_too_long_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
