/*
 * log: one line, one write(2), to stderr. A reader that is slow makes all who log slow; one that
 * stops reading stops nobody for more than a second: then lines for which there is no room are
 * lost, and counted before the next one that is not.
 *
 * Under journald (JOURNAL_STREAM names stderr's own device and inode) a line begins with its
 * priority, <N>; elsewhere with a timestamp and the level's name. Whatever came from the network
 * goes through log_escape before it is put into a line.
 *
 * The rule for logging: which function depends on what the line is about, so that each line names
 * its connection and stream.
 *
 *     the daemon      log_write, log_write_errno; log_write_limited for what clients can cause as
 *                     often as they like
 *     a connection    conn_log (conn/): adds the connection's number and the peer's address
 *     a stream        session_report (http2/): adds the stream as well, through the observer that
 *                     the session is given; at most 32 lines of each level for one connection
 *     a request       observer.request, when its stream is closed: the access log
 *
 * Code that does not know its connection logs nothing: it returns what went wrong to its caller,
 * and one place logs it. A line says what happened and what follows from it, and names the rule:
 * the section of an RFC, or the setting.
 *
 * And the level depends on who has to read it:
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
    LOG_LINE_MAX = 1024, /* bytes of one line with its newline; what is longer is cut */
    LOG_RECORD_MAX = 4090,
    LOG_ESCAPE_MAX = 256, /* bytes of a buffer that shows a field's value well enough */
    LOG_ESCAPE_MIN = 8,   /* and of one that shows anything */
};

/*
 * log_open(void):
 * Find out what stderr is connected to, /dev/null if it is closed. Call it once, before the first
 * thread starts; until then lines carry a timestamp and the level is info.
 */
void log_open(void);

/*
 * log_set_level(level):
 * From now on, in every thread, drop the lines that are less important than ${level}.
 */
void log_set_level(enum log_level level);

/*
 * log_enabled(level):
 * Return true if a line of ${level} would be written: for callers whose arguments are costly.
 */
bool log_enabled(enum log_level level);

/*
 * log_has_colours(void):
 * Return true if lines are read at a terminal, and NO_COLOR does not ask for plain ones.
 */
bool log_has_colours(void);

/*
 * log_write(level, format, ...):
 * Write one line. A line longer than LOG_LINE_MAX is cut; a newline is added; nothing is allocated
 * and errno is left as it was. A write that fails is not repeated: there is nowhere to tell it.
 */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * log_write_limited(level, format, ...):
 * As log_write, for what peers can bring about as often as they like: a thousand such lines at once
 * and a hundred a second, all threads together; the others are left out, and counted. Debug lines
 * have no such limit.
 */
void log_write_limited(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * log_write_errno(level, error, format, ...):
 * As log_write, followed by ": " and the words for the errno value ${error}.
 */
void log_write_errno(enum log_level level, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * log_trace(format, ...):
 * Write one line as log_write does at level info, but whatever level lines must have, and cut where
 * a write is no longer sure to be whole (PIPE_BUF): for what was asked for by name.
 */
void log_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * log_record(level, record):
 * Write ${record}, a whole line of a format of its own without its newline, of fewer than
 * LOG_RECORD_MAX bytes (a longer one is lost): with the priority before it under journald, with
 * nothing before it elsewhere.
 */
void log_record(enum log_level level, const char *record);

/*
 * log_escape(buffer, size, bytes, length):
 * Write ${length} bytes from anywhere as printable ASCII into ${buffer} of ${size} bytes (at least
 * LOG_ESCAPE_MIN), always terminated: '"' and '\' behind a backslash, every byte outside 0x20-0x7e
 * as \xNN, and "..." at the end where not all of it fits. Return ${buffer}.
 */
const char *log_escape(char *buffer, size_t size, const void *bytes, size_t length);

/*
 * log_escape_size(bytes, length):
 * Return the size of a buffer in which log_escape shows them all.
 */
size_t log_escape_size(const void *bytes, size_t length);

/*
 * log_level_name(level):
 * Return the level's name in lower case, as settings and lines spell it. The string is static.
 */
const char *log_level_name(enum log_level level);

#endif
