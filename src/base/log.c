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

/* How long to wait for a reader of the log that has stopped reading. After that, no line waits
 * until there is room again. */
enum { READER_TIMEOUT_US = 1000000 };

/* Of lines that clients can cause as often as they like. */
enum { LIMITED_BURST = 1000, LIMITED_PER_SECOND = 100 };

static _Atomic(enum log_level) threshold = LOG_LEVEL_INFO;
/* Set by log_open, before there is a second thread. */
static bool under_journald;
static bool has_colours;

/* Protects everything below, and makes sure that room which was found is still there for the
 * write. */
static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
static bool reader_timed_out;
static unsigned long lost_lines;       /* since the last line that was written */
static struct ratelimit limited;       /* the limit of log_write_limited */
static unsigned long suppressed_lines; /* by that limit, since the last line that passed it */

/* --- Setup ----------------------------------------------------------------------------------- */

/* If a standard descriptor were closed, the next socket would get its number, and be written to by
 * the log. */
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

/* --- A line ---------------------------------------------------------------------------------- */

struct line {
    char *bytes; /* borrowed */
    size_t size;
    size_t length; /* less than size, so that there is room for the newline */
};

static void line_add_list(struct line *line, const char *format, va_list arguments)
{
    size_t room = line->size - line->length;
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

    if (under_journald) {
        line_add(line, "<%d>", (int)level);
        return;
    }
    clock_timestamp(clock_now(), time);
    line_add(line, "%s %s ", time, log_level_name(level));
}

/* --- Writing --------------------------------------------------------------------------------- */

/* Wait until stderr can take a line: a pipe that has room takes up to PIPE_BUF bytes in one piece.
 */
static bool has_room(void)
{
    struct pollfd polled = {.fd = STDERR_FILENO, .events = POLLOUT};
    int64_t end_us = clock_now().monotonic_us + (reader_timed_out ? 0 : READER_TIMEOUT_US);
    int64_t left_us;
    int ready;

    do {
        left_us = end_us - clock_now().monotonic_us;
        ready = poll(&polled, 1, left_us > 0 ? (int)(left_us / 1000) : 0);
    } while (ready < 0 && errno == EINTR);
    reader_timed_out = ready != 1 || (polled.revents & POLLOUT) == 0;
    return !reader_timed_out;
}

static void write_bytes(const char *bytes, size_t length)
{
    ssize_t written = write(STDERR_FILENO, bytes, length);

    (void)written; /* an error cannot be reported anywhere */
}

static void report_lost_lines(void)
{
    char bytes[LOG_LINE_MAX];
    struct line line = {.bytes = bytes, .size = sizeof(bytes)};

    line_begin(&line, LOG_LEVEL_WARNING);
    line_add(&line, "%lu log lines were lost: nothing was reading them\n", lost_lines);
    write_bytes(line.bytes, line.length);
    lost_lines = 0;
}

static void write_or_lose(const char *bytes, size_t length)
{
    (void)pthread_mutex_lock(&write_lock);
    if (lost_lines > 0 && has_room())
        report_lost_lines();
    if (length <= PIPE_BUF && has_room())
        write_bytes(bytes, length);
    else
        lost_lines++;
    (void)pthread_mutex_unlock(&write_lock);
}

static void line_write(struct line *line)
{
    line->bytes[line->length++] = '\n';
    write_or_lose(line->bytes, line->length);
}

/* Write one line that ends with ${ending}. */
static void write_list(enum log_level level, const char *format, va_list arguments,
                       const char *ending)
{
    char bytes[LOG_LINE_MAX];
    struct line line = {.bytes = bytes, .size = sizeof(bytes)};

    line_begin(&line, level);
    line_add_list(&line, format, arguments);
    line_add(&line, "%s", ending);
    line_write(&line);
}

void log_write(enum log_level level, const char *format, ...)
{
    int saved = errno;
    va_list arguments;

    if (!log_enabled(level))
        return;
    va_start(arguments, format);
    write_list(level, format, arguments, "");
    va_end(arguments);
    errno = saved;
}

void log_write_errno(enum log_level level, int error, const char *format, ...)
{
    int saved = errno;
    char text[128];
    char ending[sizeof(text) + 2];
    va_list arguments;

    if (!log_enabled(level))
        return;
    (void)snprintf(ending, sizeof(ending), ": %s", strerror_r(error, text, sizeof(text)));
    va_start(arguments, format);
    write_list(level, format, arguments, ending);
    va_end(arguments);
    errno = saved;
}

/* May one more limited line be written? If so, set ${suppressed} to the number of lines that were
 * not, before it. */
static bool take_limited_line(unsigned long *suppressed)
{
    bool taken;

    (void)pthread_mutex_lock(&write_lock);
    taken =
        ratelimit_take(&limited, clock_now().monotonic_us, 1, LIMITED_BURST, LIMITED_PER_SECOND);
    *suppressed = suppressed_lines;
    suppressed_lines = taken ? 0 : suppressed_lines + 1;
    (void)pthread_mutex_unlock(&write_lock);
    return taken;
}

void log_write_limited(enum log_level level, const char *format, ...)
{
    int saved = errno;
    unsigned long suppressed = 0;
    va_list arguments;

    if (!log_enabled(level) || (level != LOG_LEVEL_DEBUG && !take_limited_line(&suppressed)))
        return;
    if (suppressed > 0)
        log_write(LOG_LEVEL_WARNING, "%lu lines about clients were left out: they came too fast",
                  suppressed);
    va_start(arguments, format);
    write_list(level, format, arguments, "");
    va_end(arguments);
    errno = saved;
}

void log_write_trace(const char *format, ...)
{
    int saved = errno;
    char bytes[PIPE_BUF];
    struct line line = {.bytes = bytes, .size = sizeof(bytes)};
    va_list arguments;

    line_begin(&line, LOG_LEVEL_INFO);
    va_start(arguments, format);
    line_add_list(&line, format, arguments);
    va_end(arguments);
    line_write(&line);
    errno = saved;
}

void log_write_record(enum log_level level, const char *record)
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
    write_or_lose(line, (size_t)length);
    errno = saved;
}
