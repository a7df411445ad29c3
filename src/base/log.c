#include "base/log.h"

#include "base/clock.h"
#include "base/ratelimit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATIENCE_US = 1000000
}; /* that a reader has, for all lines together, until it reads again */

static _Atomic(enum log_level) threshold = LOG_LEVEL_INFO;
/* Set by log_open, before there is a second thread. */
static bool under_journald;
static bool has_colours;

/* For the room that was found to be there still when it is used, and for ${lost}. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static bool stuck;         /* the reader let us wait in vain: until there is room, do not wait */
static unsigned long lost; /* lines since the last one that was written */
static struct ratelimit peers;
static unsigned long left_out; /* lines about peers, since the last one that was not */

struct line {
    size_t length;
    char bytes[LOG_LINE_MAX];
};

/* A standard descriptor that is closed would be taken by the next socket, which would get what is
 * meant for the log. */
static void open_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd);
}

void log_open(void)
{
    char own[64];
    struct stat status;
    const char *journal = getenv("JOURNAL_STREAM");
    const char *no_color = getenv("NO_COLOR");

    open_standard_descriptors();
    has_colours = isatty(STDERR_FILENO) && (no_color == NULL || no_color[0] == '\0');
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

bool log_has_colours(void)
{
    return has_colours;
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

static void line_begin(struct line *line, enum log_level level)
{
    char time[CLOCK_TIMESTAMP_SIZE];

    line->length = 0;
    if (under_journald) {
        line_add(line, "<%d>", (int)level);
        return;
    }
    clock_timestamp(clock_now(), time);
    line_add(line, "%s %s ", time, log_level_name(level));
}

/* A reader of the log may be slow, and is waited for; but one that has stopped reading must stop no
 * thread, so that is done once, and lines are lost until there is room again. Up to PIPE_BUF bytes
 * are written whole, or not at all. */
static bool has_room(void)
{
    struct pollfd polled = {.fd = STDERR_FILENO, .events = POLLOUT};
    int64_t end_us = clock_now().monotonic_us + (stuck ? 0 : PATIENCE_US);
    int64_t left_us;
    int ready;

    do {
        left_us = end_us - clock_now().monotonic_us;
        ready = poll(&polled, 1, left_us > 0 ? (int)(left_us / 1000) : 0);
    } while (ready < 0 && errno == EINTR);
    stuck = ready != 1 || (polled.revents & POLLOUT) == 0;
    return !stuck;
}

static void write_whole(const char *bytes, size_t length)
{
    ssize_t written = write(STDERR_FILENO, bytes, length);

    (void)written; /* there is nowhere to tell that it failed */
}

static void tell_lost(void)
{
    struct line line;

    line_begin(&line, LOG_LEVEL_WARNING);
    line_add(&line, "%lu lines of the log are lost: nobody read them\n", lost);
    write_whole(line.bytes, line.length);
    lost = 0;
}

static void send_line(const char *bytes, size_t length)
{
    (void)pthread_mutex_lock(&writing);
    if (lost > 0 && has_room())
        tell_lost();
    if (length <= PIPE_BUF && has_room())
        write_whole(bytes, length);
    else
        lost++;
    (void)pthread_mutex_unlock(&writing);
}

static void line_end(struct line *line)
{
    line->bytes[line->length++] = '\n';
    send_line(line->bytes, line->length);
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

/* Count a line about a peer. Return how many were left out before it, or -1 if this one is to be.
 */
static long take_allowance(enum log_level level)
{
    enum { BURST = 1000, PER_SECOND = 100 };
    long before = -1;

    if (level == LOG_LEVEL_DEBUG)
        return 0;
    (void)pthread_mutex_lock(&writing);
    if (ratelimit_take(&peers, clock_now().monotonic_us, 1, BURST, PER_SECOND)) {
        before = (long)left_out;
        left_out = 0;
    } else {
        left_out++;
    }
    (void)pthread_mutex_unlock(&writing);
    return before;
}

void log_write_limited(enum log_level level, const char *format, ...)
{
    int saved = errno;
    struct line line;
    va_list arguments;
    long before;

    if (!log_enabled(level))
        return;
    before = take_allowance(level);
    if (before < 0)
        return;
    if (before > 0)
        log_write(LOG_LEVEL_WARNING, "%ld lines about peers are left out: they came too fast",
                  before);
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

void log_trace(const char *format, ...)
{
    int saved = errno;
    struct line start;
    char line[PIPE_BUF];
    size_t room;
    va_list arguments;
    int added;

    line_begin(&start, LOG_LEVEL_INFO);
    memcpy(line, start.bytes, start.length);
    room = sizeof(line) - start.length;
    va_start(arguments, format);
    added = vsnprintf(line + start.length, room, format, arguments);
    va_end(arguments);
    if (added > 0)
        start.length += (size_t)added < room ? (size_t)added : room - 1;
    line[start.length++] = '\n';
    send_line(line, start.length);
    errno = saved;
}

void log_record(enum log_level level, const char *record)
{
    int saved = errno;
    char line[PIPE_BUF + 1];
    int length;

    if (!log_enabled(level))
        return;
    if (under_journald)
        length = snprintf(line, sizeof(line), "<%d>%s\n", (int)level, record);
    else
        length = snprintf(line, sizeof(line), "%s\n", record);
    send_line(line, (size_t)length);
    errno = saved;
}

/* Write how ${byte} is shown into ${shown}; return the number of bytes. */
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

size_t log_escape_size(const void *bytes, size_t length)
{
    const unsigned char *from = bytes;
    size_t size = 1;
    char shown[4];

    for (size_t i = 0; i < length; i++)
        size += escape_byte(shown, from[i]);
    return size;
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
