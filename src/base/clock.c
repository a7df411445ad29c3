#include "base/clock.h"

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

/* A point of time by the calendar, in UTC. */
struct date {
    int year;
    int month;   /* 0 to 11 */
    int day;     /* 1 to 31 */
    int weekday; /* 0 = Sunday */
    int second;  /* of the day */
};

/* What gmtime_r does, but that takes a lock which all threads share. The year begins in March here,
 * so that the leap day is its last; an era is the 400 years after which all comes again. */
static struct date date_of(int64_t unix_s)
{
    enum { DAY = 86400, ERA = 146097, FROM_MARCH_OF_0 = 719468, WEDNESDAY = 3 };
    /* From the year -400 on, so that nothing is negative: a Wednesday, as each era's first day. */
    int64_t from_start = unix_s + (int64_t)(FROM_MARCH_OF_0 + ERA) * DAY;
    int days = (int)(from_start / DAY);
    int of_era = days % ERA;
    int year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year + year / 4 - year / 100);
    int month = (5 * of_year + 2) / 153;

    return (struct date){
        .year = (days / ERA - 1) * 400 + year + (month >= 10),
        .month = (month + 2) % 12,
        .day = of_year - (153 * month + 2) / 5 + 1,
        .weekday = (days + WEDNESDAY) % 7,
        .second = (int)(from_start % DAY),
    };
}

/* Write ${value} with ${count} digits. Return where they end. */
static char *put_number(char *at, int value, int count)
{
    for (int i = count; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + count;
}

static char *put_text(char *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}

static char *put_time(char *at, int second)
{
    at = put_number(at, second / 3600, 2);
    *at++ = ':';
    at = put_number(at, second / 60 % 60, 2);
    *at++ = ':';
    return put_number(at, second % 60, 2);
}

void clock_http_date(int64_t unix_s, char date[static CLOCK_HTTP_DATE_SIZE])
{
    static const char days[7][5] = {"Sun,", "Mon,", "Tue,", "Wed,", "Thu,", "Fri,", "Sat,"};
    static const char months[12][6] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
                                       " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
    struct date parts = date_of(unix_s);
    char *at = put_text(date, days[parts.weekday], 4);

    *at++ = ' ';
    at = put_number(at, parts.day, 2);
    at = put_text(at, months[parts.month], 5);
    at = put_number(at, parts.year, 4);
    *at++ = ' ';
    at = put_time(at, parts.second);
    memcpy(at, " GMT", 5);
}

void clock_timestamp(struct instant instant, char text[static CLOCK_TIMESTAMP_SIZE])
{
    struct date parts = date_of(instant.unix_s);
    char *at = put_number(text, parts.year, 4);

    *at++ = '-';
    at = put_number(at, parts.month + 1, 2);
    *at++ = '-';
    at = put_number(at, parts.day, 2);
    *at++ = 'T';
    at = put_time(at, parts.second);
    *at++ = '.';
    at = put_number(at, instant.milliseconds, 3);
    memcpy(at, "Z", 2);
}
