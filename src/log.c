#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static _Atomic(enum log_level) threshold = LOG_LEVEL_INFO;
static bool under_journald; /* set by log_open, before there is a second thread */

/* One call of writev is one piece only up to PIPE_BUF: a longer record, on a pipe that is full,
 * would let other threads' lines into its middle. */
static pthread_mutex_t whole_line = PTHREAD_MUTEX_INITIALIZER;

struct line {
    size_t length;
    char bytes[LOG_LINE_MAX];
};

void log_open(void)
{
    char own[64];
    struct stat status;
    const char *journal = getenv("JOURNAL_STREAM");

    under_journald = false;
    if (journal == NULL || fstat(STDERR_FILENO, &status) != 0)
        return;
    (void)snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    under_journald = strcmp(own, journal) == 0;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

/* Keeps the last byte free for the newline. */
static void line_add_list(struct line *line, const char *format, va_list arguments)
{
    size_t room = sizeof(line->bytes) - line->length;
    int added = vsnprintf(line->bytes + line->length, room, format, arguments);

    if (added > 0)
        line->length += (size_t)added < room ? (size_t)added : room - 1;
}

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format,
                                                           ...)
{
    va_list arguments;

    va_start(arguments, format);
    line_add_list(line, format, arguments);
    va_end(arguments);
}

static void line_add_time(struct line *line)
{
    struct timespec now = {0};
    struct tm utc = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    line_add(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ ", utc.tm_year + 1900, utc.tm_mon + 1,
             utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000);
}

static void line_begin(struct line *line, enum log_level level)
{
    line->length = 0;
    if (under_journald) {
        line_add(line, "<%d>", (int)level);
        return;
    }
    line_add_time(line);
    line_add(line, "%s ", log_level_name(level));
}

static void send_parts(const struct iovec *parts, int count)
{
    (void)pthread_mutex_lock(&whole_line);
    ssize_t written = writev(STDERR_FILENO, parts, count);
    (void)pthread_mutex_unlock(&whole_line);
    (void)written;
}

static void line_end(struct line *line)
{
    line->bytes[line->length++] = '\n';
    send_parts(&(struct iovec){line->bytes, line->length}, 1);
}

void log_write(enum log_level level, const char *format, ...)
{
    int saved = errno;
    struct line line;
    va_list arguments;

    if (!log_enabled(level))
        return;
    line_begin(&line, level);
    va_start(arguments, format);
    line_add_list(&line, format, arguments);
    va_end(arguments);
    line_end(&line);
    errno = saved;
}

void log_write_errno(enum log_level level, int error, const char *format, ...)
{
    int saved = errno;
    struct line line;
    char words[128];
    va_list arguments;

    if (!log_enabled(level))
        return;
    line_begin(&line, level);
    va_start(arguments, format);
    line_add_list(&line, format, arguments);
    va_end(arguments);
    line_add(&line, ": %s", strerror_r(error, words, sizeof(words)));
    line_end(&line);
    errno = saved;
}

void log_record(enum log_level level, const char *record)
{
    int saved = errno;
    char priority[8] = "";

    if (!log_enabled(level))
        return;
    if (under_journald)
        (void)snprintf(priority, sizeof(priority), "<%d>", (int)level);
    const struct iovec parts[] = {
        {priority, strlen(priority)}, {(void *)record, strlen(record)}, {(void *)"\n", 1}};
    send_parts(parts, 3);
    errno = saved;
}

/* Writes how ${byte} is shown into ${shown}; returns the number of bytes. */
static size_t escape_byte(char shown[4], unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";

    if (byte == '"' || byte == '\\') {
        shown[0] = '\\';
        shown[1] = (char)byte;
        return 2;
    }
    if (byte >= 0x20 && byte <= 0x7e) {
        shown[0] = (char)byte;
        return 1;
    }
    shown[0] = '\\';
    shown[1] = 'x';
    shown[2] = digits[byte >> 4];
    shown[3] = digits[byte & 15];
    return 4;
}

const char *log_escape(char *buffer, size_t size, const void *bytes, size_t length)
{
    static const char cut[] = "...";
    const unsigned char *from = bytes;
    size_t used = 0;
    size_t cut_at = 0; /* the last place between two escapes that leaves room for "..." */

    for (size_t i = 0; i < length; i++) {
        char shown[4];
        size_t width = escape_byte(shown, from[i]);

        if (used + sizeof(cut) <= size)
            cut_at = used;
        if (used + width >= size) {
            memcpy(buffer + cut_at, cut, sizeof(cut));
            return buffer;
        }
        memcpy(buffer + used, shown, width);
        used += width;
    }
    buffer[used] = '\0';
    return buffer;
}

const char *log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_NOTICE:
        return "notice";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        break;
    }
    return "debug";
}
