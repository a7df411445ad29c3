/* How log_escape shows bytes. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Write how a byte is expected to be shown, not in the way of log_escape.c. */
static void expect_byte(char shown[8], unsigned byte)
{
    if (byte == '"' || byte == '\\')
        (void)snprintf(shown, 8, "\\%c", (int)byte);
    else if (byte < 0x20 || byte > 0x7e)
        (void)snprintf(shown, 8, "\\x%02x", byte);
    else
        (void)snprintf(shown, 8, "%c", (int)byte);
}

static void test_escape_of_every_byte(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        char expected[8];
        char buffer[8];
        unsigned char byte = (unsigned char)i;

        expect_byte(expected, i);
        assert_ptr_equal(log_escape(buffer, sizeof buffer, &byte, 1), buffer);
        assert_string_equal(buffer, expected);
    }
}

static void test_escape_of_all_bytes_at_once(void **state)
{
    unsigned char bytes[256];
    char expected[256 * 4 + 1] = "";
    char buffer[sizeof expected];

    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        bytes[i] = (unsigned char)i;
        expect_byte(expected + strlen(expected), i);
    }
    (void)log_escape(buffer, sizeof buffer, bytes, sizeof bytes);
    assert_string_equal(buffer, expected);
    assert_int_equal(log_escape_size(bytes, sizeof bytes), strlen(expected) + 1);
}

static void test_escape_of_nothing(void **state)
{
    char buffer[8] = "garbage";

    (void)state;
    assert_string_equal(log_escape(buffer, sizeof buffer, NULL, 0), "");
    assert_string_equal(log_escape(buffer, sizeof buffer, "x", 0), "");
    assert_int_equal(log_escape_size(NULL, 0), 1);
}

/* Return true if ${shown} is the beginning of ${whole}, cut between two shown bytes, and "...". */
static bool is_cut_of(const char *shown, const char *whole)
{
    size_t kept = strlen(shown) - 3;
    size_t at = 0;

    while (at < kept)
        at += whole[at] != '\\' ? 1 : whole[at + 1] == 'x' ? 4 : 2;
    return at == kept && strncmp(shown, whole, kept) == 0 && strcmp(shown + kept, "...") == 0;
}

static void test_escape_cut_at_every_size(void **state)
{
    static const char *const texts[] = {"plain text here", "a\001b\002c\003d", "\"\\\"\\\"\\\"\\",
                                        "\377\376\375\374", "ab\"\001\"ab"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char whole[64];
        (void)log_escape(whole, sizeof whole, texts[i], strlen(texts[i]));
        for (size_t size = 8; size < sizeof whole; size++) {
            char *buffer = malloc(
                size); /* of exactly that size, so that AddressSanitizer sees a write past it */
            assert_non_null(buffer);
            (void)log_escape(buffer, size, texts[i], strlen(texts[i]));
            if (strlen(whole) < size) {
                assert_string_equal(buffer, whole);
            } else {
                assert_true(is_cut_of(buffer, whole));
                /* Not more is cut than is needed for the dots and a byte that does not fit. */
                assert_true(strlen(buffer) + 4 >= size);
            }
            free(buffer);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape_of_every_byte),
        cmocka_unit_test(test_escape_of_all_bytes_at_once),
        cmocka_unit_test(test_escape_of_nothing),
        cmocka_unit_test(test_escape_cut_at_every_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
