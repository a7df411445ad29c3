/* Dates as HTTP and the log write them, and a clock that goes forward. */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_http_date(void **state)
{
    static const struct {
        int64_t unix_s;
        const char *date;
    } table[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* the example of RFC 9110 section 5.6.7 */
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {INT64_C(2147483648), "Tue, 19 Jan 2038 03:14:08 GMT"},
        {INT64_C(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT"},
        {INT64_C(-62167219200), "Sat, 01 Jan 0000 00:00:00 GMT"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char date[CLOCK_HTTP_DATE_SIZE];

        memset(date, 'x', sizeof(date));
        clock_http_date(table[i].unix_s, date);
        assert_string_equal(date, table[i].date);
    }
}

/* As strftime writes them in the C locale, a day in every month of a century. */
static void test_http_date_every_month(void **state)
{
    (void)state;
    for (int64_t unix_s = 0; unix_s < INT64_C(3155760000); unix_s += 86399 * 30) {
        time_t seconds = (time_t)unix_s;
        char date[CLOCK_HTTP_DATE_SIZE];
        char expected[64];
        struct tm tm;

        assert_non_null(gmtime_r(&seconds, &tm));
        assert_true(strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
        clock_http_date(unix_s, date);
        assert_string_equal(date, expected);
    }
}

/* Every day of 400 years, after which the Gregorian calendar repeats. */
static void test_timestamp_every_day(void **state)
{
    (void)state;
    for (int64_t unix_s = INT64_C(946684799); unix_s < INT64_C(13570000000); unix_s += 86400) {
        struct instant instant = {.unix_s = unix_s,
                                  .milliseconds = (int32_t)(unix_s / 86400 % 1000)};
        time_t seconds = (time_t)unix_s;
        char text[CLOCK_TIMESTAMP_SIZE];
        char expected[64];
        struct tm tm;
        size_t length;

        assert_non_null(gmtime_r(&seconds, &tm));
        length = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &tm);
        assert_int_equal(length, CLOCK_TIMESTAMP_SIZE - 6);
        snprintf(expected + length, sizeof(expected) - length, ".%03dZ",
                 (int)instant.milliseconds % 1000);
        clock_timestamp(instant, text);
        assert_string_equal(text, expected);
    }
}

static void test_now_goes_forward(void **state)
{
    struct instant before = clock_now();
    struct instant after = clock_now();
    time_t real = time(NULL);

    (void)state;
    assert_true(after.monotonic_us >= before.monotonic_us);
    assert_true(after.monotonic_us < INSTANT_NEVER);
    /* Within a day of time(2), so that a clock which is set meanwhile does not matter. */
    assert_true(after.unix_s > real - 86400 && after.unix_s < real + 86400);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_date),
        cmocka_unit_test(test_http_date_every_month),
        cmocka_unit_test(test_timestamp_every_day),
        cmocka_unit_test(test_now_goes_forward),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
