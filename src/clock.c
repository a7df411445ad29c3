#include "clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct instant clock_now(void)
{
    struct timespec monotonic = {0};
    struct timespec real = {0};

    /* Neither can fail: both clocks exist on every Linux. */
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    clock_gettime(CLOCK_REALTIME_COARSE, &real);
    return (struct instant){
        .monotonic_us = (int64_t)monotonic.tv_sec * 1000000 + monotonic.tv_nsec / 1000,
        .unix_s = real.tv_sec,
        .milliseconds = (int32_t)(real.tv_nsec / 1000000),
    };
}

void clock_http_date(int64_t unix_s, char date[static CLOCK_HTTP_DATE_SIZE])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)unix_s;
    struct tm tm = {0};
    char text[64];

    gmtime_r(&seconds, &tm);
    /* The remainders tell the compiler, and a reader, that every field has its fixed width. */
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7],
             tm.tm_mday % 100, months[tm.tm_mon % 12], (tm.tm_year + 1900) % 10000,
             tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
    memcpy(date, text, CLOCK_HTTP_DATE_SIZE - 1);
    date[CLOCK_HTTP_DATE_SIZE - 1] = '\0';
}

void clock_timestamp(struct instant instant, char text[static CLOCK_TIMESTAMP_SIZE])
{
    time_t seconds = (time_t)instant.unix_s;
    struct tm tm = {0};
    size_t length;

    gmtime_r(&seconds, &tm);
    length = strftime(text, CLOCK_TIMESTAMP_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + length, CLOCK_TIMESTAMP_SIZE - length, ".%03dZ",
             (int)instant.milliseconds % 1000);
}
