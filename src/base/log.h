/*
 * log: lines on stderr, each written by one write(2). If the reader of stderr is slow, the threads
 * that log wait for it. If it stops reading, they wait for a second, once; from then on, lines for
 * which there is no room are lost. Their number is logged when there is room again.
 *
 * Under journald (JOURNAL_STREAM names stderr's own device and inode) a line begins with its
 * priority, <N>; elsewhere with a timestamp and the level's name. Bytes from the network have to be
 * shown by log_escape.
 *
 * The rule for logging: which function depends on what the line is about, so that each line names
 * its connection and stream.
 *
 *     the daemon      log_write, log_write_errno; log_write_limited for what clients can cause as
 *                     often as they like
 *     a connection    conn_log (conn/): adds the connection's number and the peer's address
 *     a stream        session_report (http2/): adds the stream as well, through the observer that
 *                     the session is given; at most 32 lines of each level for one connection
 *     a request       observer.request, when its stream is closed: the access log, which uses
 *                     log_write_record
 *     a frame         log_write_trace, if a trace was asked for
 *
 * Code that does not know its connection logs nothing: it returns what went wrong to its caller,
 * and one place logs it. A line says what happened and what follows from it, and names the rule:
 * the section of an RFC, or the setting.
 *
 * The level says what the line means for the administrator:
 *
 *     error      something that the daemon was asked to do is not done: it does not start, a reload
 *                fails, memory ran out
 *     warning    it works, but not as the administrator would expect
 *     notice     the daemon starts, reloads, drains or stops; a client's error or a limit: what was
 *                refused, reset, timed out or closed because of it
 *     info       what happens in normal use: requests, idle-timeout, streams reset by clients
 *     debug      how connections begin and end
 */
#ifndef H2ECHOD_BASE_LOG_H
#define H2ECHOD_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

/* The levels, with syslog's numbers, which are journald's priorities. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

enum {
    LOG_LINE_MAX = 1024,   /* bytes of a line with its newline; longer ones are cut */
    LOG_RECORD_MAX = 4090, /* bytes of a record with its NUL */
    LOG_ESCAPE_MAX = 256,  /* size of a buffer in which a field's value is shown for the log */
    LOG_ESCAPE_MIN = 8,    /* size of the smallest buffer for log_escape */
};

/*
 * log_open(void):
 * Find out what stderr is connected to; if it is closed, connect it to /dev/null. To be called
 * once, before the first thread starts. Until then lines begin with a timestamp, and the level is
 * info.
 */
void log_open(void);

/*
 * log_set_level(level):
 * From now on, in every thread, do not write lines that are less important than ${level}.
 */
void log_set_level(enum log_level level);

/*
 * log_enabled(level):
 * Return true if a line of ${level} would be written: for callers that have to compute what they
 * log.
 */
bool log_enabled(enum log_level level);

/*
 * log_has_colours(void):
 * Return true if stderr is a terminal, and the environment variable NO_COLOR is not set.
 */
bool log_has_colours(void);

/*
 * log_write(level, format, ...):
 * Write one line, with a newline added. A line longer than LOG_LINE_MAX is cut. Nothing is
 * allocated, and errno does not change. A write that fails is not repeated, and not reported.
 */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * log_write_limited(level, format, ...):
 * As log_write, for what clients can cause as often as they like: all threads together write a
 * thousand such lines at once, and a hundred a second. The others are left out, and their number is
 * logged. Debug lines are not limited.
 */
void log_write_limited(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * log_write_errno(level, error, format, ...):
 * As log_write; ": " and the text of the errno value ${error} are added.
 */
void log_write_errno(enum log_level level, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * log_write_trace(format, ...):
 * Write one line, whatever the level is set to, since a trace is only written if it was asked for.
 * Other than that, as log_write does at level info. A line longer than PIPE_BUF is cut, since a
 * pipe might not take it as a whole.
 */
void log_write_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * log_write_record(level, record):
 * Write ${record}, a line in a format of its own without its newline, of fewer than LOG_RECORD_MAX
 * bytes: a longer one is lost. The priority comes before it under journald; elsewhere nothing does.
 */
void log_write_record(enum log_level level, const char *record);

/*
 * log_escape(buffer, size, bytes, length):
 * Write any ${length} bytes as printable ASCII into ${buffer} of ${size} bytes, at least
 * LOG_ESCAPE_MIN: '"' and '\' with a backslash before them, every byte outside 0x20-0x7e as \xNN,
 * and "..." at the end if not all of it fits. It is terminated by a NUL. Return ${buffer}.
 */
const char *log_escape(char *buffer, size_t size, const void *bytes, size_t length);

/*
 * log_escape_size(bytes, length):
 * Return the size of the buffer in which log_escape can show all of these bytes.
 */
size_t log_escape_size(const void *bytes, size_t length);

/*
 * log_level_name(level):
 * Return the level's name in lower case, as in settings and log lines. The string is static.
 */
const char *log_level_name(enum log_level level);

#endif
