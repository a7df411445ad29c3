#include "base/clock.h"

#include <string.h>
#include <time.h>

struct instant clock_now(void)
{
    struct timespec monotonic = {0};
    struct timespec real = {0};

    /* Neither call can fail: every Linux has both clocks. */
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    clock_gettime(CLOCK_REALTIME_COARSE, &real);
    return (struct instant){
        .monotonic_us = (int64_t)monotonic.tv_sec * 1000000 + monotonic.tv_nsec / 1000,
        .unix_s = real.tv_sec,
        .milliseconds = (int32_t)(real.tv_nsec / 1000000),
    };
}

/* gmtime_r fails only for years that do not fit into an int, which the callers rule out. */
static struct tm utc_of(int64_t unix_s)
{
    const time_t time = unix_s;
    struct tm parts = {.tm_mday = 1};

    (void)gmtime_r(&time, &parts);
    return parts;
}

/* Write ${value} with ${count} digits. Return the place after them. (snprintf would cost a
 * connection 3 % of its instructions.) */
static char *put_digits(char *at, int value, int count)
{
    for (int i = count; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + count;
}

static char *put_chars(char *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}

static char *put_time(char *at, const struct tm *parts)
{
    at = put_digits(at, parts->tm_hour, 2);
    *at++ = ':';
    at = put_digits(at, parts->tm_min, 2);
    *at++ = ':';
    return put_digits(at, parts->tm_sec, 2);
}

void clock_http_date(int64_t unix_s, char date[static CLOCK_HTTP_DATE_SIZE])
{
    static const char days[7][5] = {"Sun,", "Mon,", "Tue,", "Wed,", "Thu,", "Fri,", "Sat,"};
    static const char months[12][6] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
                                       " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
    struct tm parts = utc_of(unix_s);
    char *at = put_chars(date, days[parts.tm_wday], 4);

    *at++ = ' ';
    at = put_digits(at, parts.tm_mday, 2);
    at = put_chars(at, months[parts.tm_mon], 5);
    at = put_digits(at, parts.tm_year + 1900, 4);
    *at++ = ' ';
    at = put_time(at, &parts);
    memcpy(at, " GMT", 5);
}

void clock_timestamp(struct instant instant, char text[static CLOCK_TIMESTAMP_SIZE])
{
    struct tm parts = utc_of(instant.unix_s);
    char *at = put_digits(text, parts.tm_year + 1900, 4);

    *at++ = '-';
    at = put_digits(at, parts.tm_mon + 1, 2);
    *at++ = '-';
    at = put_digits(at, parts.tm_mday, 2);
    *at++ = 'T';
    at = put_time(at, &parts);
    *at++ = '.';
    at = put_digits(at, instant.milliseconds, 3);
    memcpy(at, "Z", 2);
}
