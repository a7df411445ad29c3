/*
 * clock: the only place that reads the time, and how HTTP and the log write it.
 *
 * Code below conn/ does not read the clock: it is given an instant with each call, so that its
 * tests and fuzzers can choose the time.
 */
#ifndef H2ECHOD_BASE_CLOCK_H
#define H2ECHOD_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct instant {
    int64_t monotonic_us; /* microseconds since an arbitrary point: for timeouts and durations */
    int64_t unix_s;       /* seconds since 1970-01-01 UTC: for dates */
    int32_t milliseconds; /* of that second, as precise as the kernel's tick */
};

/* Later than every instant. */
#define INSTANT_NEVER INT64_MAX

enum {
    CLOCK_HTTP_DATE_SIZE = 30, /* "Sun, 06 Nov 1994 08:49:37 GMT" and its NUL */
    CLOCK_TIMESTAMP_SIZE = 25, /* "1994-11-06T08:49:37.000Z" and its NUL */
};

/*
 * clock_now(void):
 * Return the current time.
 */
struct instant clock_now(void);

/*
 * clock_http_date(unix_s, date):
 * Write ${unix_s}, in the years 0 to 9999, into ${date} as an IMF-fixdate (RFC 9110 section 5.6.7)
 * with a NUL, whatever the locale.
 */
void clock_http_date(int64_t unix_s, char date[static CLOCK_HTTP_DATE_SIZE]);

/*
 * clock_timestamp(instant, text):
 * Write ${instant}, in the years 0 to 9999, into ${text} as RFC 3339 specifies, in UTC with
 * milliseconds and a NUL.
 */
void clock_timestamp(struct instant instant, char text[static CLOCK_TIMESTAMP_SIZE]);

/*
 * clock_us(milliseconds):
 * Return ${milliseconds} in microseconds.
 */
static inline int64_t clock_us(uint64_t milliseconds)
{
    return (int64_t)milliseconds * 1000;
}

/*
 * clock_earlier(a_us, b_us):
 * Return the earlier of two times.
 */
static inline int64_t clock_earlier(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

/*
 * clock_after(from_us, by_us):
 * Return the time ${by_us} microseconds after ${from_us}, or INSTANT_NEVER if that is out of range.
 */
static inline int64_t clock_after(int64_t from_us, int64_t by_us)
{
    return from_us > INSTANT_NEVER - by_us ? INSTANT_NEVER : from_us + by_us;
}

#endif
