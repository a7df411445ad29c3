/* What log writes to stderr: the form of lines, and what is done if they are not read. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    WRITES_MAX = 16,
    BYTES_MAX = 16384,
    DEADLINE_MS = 20000,
};

/* What was written to stderr: one entry for each write, since a packet socket keeps them apart. */
struct capture {
    int own_stderr;
    int end;
    size_t count;
    size_t lengths[WRITES_MAX];
    char bytes[WRITES_MAX][BYTES_MAX];
};

static struct capture capture;

static void capture_begin(void)
{
    int ends[2];

    capture.count = 0;
    capture.own_stderr = dup(STDERR_FILENO);
    assert_true(capture.own_stderr >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    (void)close(ends[1]);
    capture.end = ends[0];
}

/* Nothing may be asserted between the two: cmocka writes to stderr. */
static void capture_end(void)
{
    ssize_t length;

    while (capture.count < WRITES_MAX && (length = recv(capture.end, capture.bytes[capture.count],
                                                        BYTES_MAX - 1, MSG_DONTWAIT)) > 0) {
        capture.bytes[capture.count][length] = '\0';
        capture.lengths[capture.count++] = (size_t)length;
    }
    (void)dup2(capture.own_stderr, STDERR_FILENO);
    (void)close(capture.own_stderr);
    (void)close(capture.end);
}

static void journal_stream_set(intmax_t device_more, intmax_t inode_more)
{
    struct stat status;
    char text[64];

    (void)fstat(STDERR_FILENO, &status);
    (void)snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)((intmax_t)status.st_dev + device_more),
                   (uintmax_t)((intmax_t)status.st_ino + inode_more));
    (void)setenv("JOURNAL_STREAM", text, 1);
}

static int reset(void **state)
{
    (void)state;
    (void)unsetenv("JOURNAL_STREAM");
    log_open();
    log_set_level(LOG_LEVEL_INFO);
    return 0;
}

/* '9' stands for any digit. */
static bool matches(const char *text, const char *pattern)
{
    for (; *pattern != '\0'; text++, pattern++)
        if (*pattern == '9' ? *text < '0' || *text > '9' : *text != *pattern)
            return false;
    return true;
}

#define STAMP        "9999-99-99T99:99:99.999Z "
#define STAMP_LENGTH (sizeof STAMP - 1)

static void test_level_is_info_from_the_start(void **state)
{
    (void)state;
    assert_true(log_enabled(LOG_LEVEL_INFO));
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
}

static void test_line_has_time_level_and_newline_in_one_write(void **state)
{
    (void)state;
    capture_begin();
    log_write(LOG_LEVEL_NOTICE, "port %d of %s", 8080, "all");
    capture_end();
    assert_int_equal(capture.count, 1);
    assert_true(matches(capture.bytes[0], STAMP));
    assert_string_equal(capture.bytes[0] + STAMP_LENGTH, "notice port 8080 of all\n");
}

static void test_time_is_utc(void **state)
{
    char before[32];
    char after[32];
    time_t now = time(NULL);
    struct tm utc;

    (void)state;
    assert_int_equal(setenv("TZ", "XST-11:30", 1), 0);
    tzset();
    assert_true(strftime(before, sizeof before, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now, &utc)) > 0);
    capture_begin();
    log_write(LOG_LEVEL_INFO, "now");
    capture_end();
    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
    /* CLOCK_REALTIME may be a tick ahead of time(2), but not by a second. */
    now = time(NULL) + 1;
    assert_true(strftime(after, sizeof after, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now, &utc)) > 0);
    assert_true(strncmp(capture.bytes[0], before, strlen(before)) >= 0);
    assert_true(strncmp(capture.bytes[0], after, strlen(after)) <= 0);
}

static void test_every_line_is_a_write_of_its_own(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_DEBUG);
    capture_begin();
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
        log_write((enum log_level)level, "line");
    capture_end();
    assert_int_equal(capture.count, 5);
    assert_string_equal(capture.bytes[0] + STAMP_LENGTH, "error line\n");
    assert_string_equal(capture.bytes[1] + STAMP_LENGTH, "warning line\n");
    assert_string_equal(capture.bytes[2] + STAMP_LENGTH, "notice line\n");
    assert_string_equal(capture.bytes[3] + STAMP_LENGTH, "info line\n");
    assert_string_equal(capture.bytes[4] + STAMP_LENGTH, "debug line\n");
}

static void test_level_filters_each_kind_of_line(void **state)
{
    (void)state;
    for (int limit = LOG_LEVEL_ERROR; limit <= LOG_LEVEL_DEBUG; limit++) {
        log_set_level((enum log_level)limit);
        for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
            capture_begin();
            log_write((enum log_level)level, "line");
            log_write_errno((enum log_level)level, EIO, "line");
            log_write_record((enum log_level)level, "line");
            capture_end();
            assert_int_equal(capture.count, level <= limit ? 3 : 0);
            assert_int_equal(log_enabled((enum log_level)level), level <= limit);
        }
    }
}

static void test_errno_text(void **state)
{
    (void)state;
    capture_begin();
    log_write_errno(LOG_LEVEL_ERROR, EADDRINUSE, "port %d", 80);
    capture_end();
    assert_int_equal(capture.count, 1);
    assert_string_equal(capture.bytes[0] + STAMP_LENGTH, "error port 80: Address already in use\n");
}

static void test_record_is_bare_outside_journald(void **state)
{
    (void)state;
    capture_begin();
    log_write_record(LOG_LEVEL_INFO, "{\"status\": 200}");
    log_write_record(LOG_LEVEL_INFO, "");
    capture_end();
    assert_int_equal(capture.count, 2);
    assert_string_equal(capture.bytes[0], "{\"status\": 200}\n");
    assert_string_equal(capture.bytes[1], "\n");
}

static void test_priority_under_journald(void **state)
{
    (void)state;
    capture_begin();
    journal_stream_set(0, 0);
    log_open();
    log_write(LOG_LEVEL_ERROR, "%s", "text");
    log_write_errno(LOG_LEVEL_WARNING, EIO, "text");
    log_write_record(LOG_LEVEL_INFO, "{}");
    capture_end();
    assert_int_equal(capture.count, 3);
    assert_string_equal(capture.bytes[0], "<3>text\n");
    assert_string_equal(capture.bytes[1], "<4>text: Input/output error\n");
    assert_string_equal(capture.bytes[2], "<6>{}\n");
}

static void assert_no_priority(void)
{
    log_open();
    log_write(LOG_LEVEL_INFO, "text");
    capture_end();
    assert_int_equal(capture.count, 1);
    assert_true(matches(capture.bytes[0], STAMP));
}

static void test_no_priority_if_stderr_is_not_the_journal(void **state)
{
    static const char *const others[] = {"", ":", "0:0", "garbage", "1:2:3", " "};

    (void)state;
    capture_begin();
    journal_stream_set(1, 0);
    assert_no_priority();
    capture_begin();
    journal_stream_set(0, 1);
    assert_no_priority();
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        capture_begin();
        (void)setenv("JOURNAL_STREAM", others[i], 1);
        assert_no_priority();
    }
}

static void test_no_priority_without_stderr(void **state)
{
    (void)state;
    capture_begin();
    journal_stream_set(0, 0);
    int kept = dup(STDERR_FILENO);
    (void)close(STDERR_FILENO);
    log_open();
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    log_write(LOG_LEVEL_INFO, "text");
    capture_end();
    assert_int_equal(capture.count, 1);
    assert_true(matches(capture.bytes[0], STAMP));
}

static void test_long_line_is_cut_with_its_newline(void **state)
{
    static char text[3 * LOG_LINE_MAX];
    const size_t head = STAMP_LENGTH + strlen("info ");

    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (size_t more = 0; more < 3; more++) {
        /* One byte less than fits, as many as fit, and one more. */
        int length = (int)(LOG_LINE_MAX - head - 2 + more);
        capture_begin();
        log_write(LOG_LEVEL_INFO, "%.*s", length, text);
        capture_end();
        assert_int_equal(capture.count, 1);
        assert_int_equal(capture.lengths[0], LOG_LINE_MAX - (more == 0));
        assert_int_equal(strspn(capture.bytes[0] + head, "x"), capture.lengths[0] - head - 1);
        assert_int_equal(capture.bytes[0][capture.lengths[0] - 1], '\n');
    }
    capture_begin();
    log_write_errno(LOG_LEVEL_INFO, EIO, "%s", text);
    capture_end();
    assert_int_equal(capture.count, 1);
    assert_int_equal(capture.lengths[0], LOG_LINE_MAX);
    assert_int_equal(capture.bytes[0][LOG_LINE_MAX - 1], '\n');
}

static void test_record_is_never_cut(void **state)
{
    static char record[LOG_RECORD_MAX];

    (void)state;
    memset(record, 'r', sizeof record - 1);
    capture_begin();
    journal_stream_set(0, 0);
    log_open();
    log_write_record(LOG_LEVEL_INFO, record);
    capture_end();
    assert_int_equal(capture.count, 1);
    assert_int_equal(capture.lengths[0], 3 + sizeof record);
    assert_memory_equal(capture.bytes[0], "<6>", 3);
    assert_memory_equal(capture.bytes[0] + 3, record, sizeof record - 1);
    assert_int_equal(capture.bytes[0][capture.lengths[0] - 1], '\n');
}

/* A trace is written whatever the level is set to. */
static void test_trace_has_no_level(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    capture_begin();
    log_write_trace("frame %d", 7);
    journal_stream_set(0, 0);
    log_open();
    log_write_trace("%s", "frame");
    capture_end();
    assert_int_equal(capture.count, 2);
    assert_true(matches(capture.bytes[0], STAMP));
    assert_string_equal(capture.bytes[0] + STAMP_LENGTH, "info frame 7\n");
    assert_string_equal(capture.bytes[1], "<6>frame\n");
}

static void test_long_trace_is_cut_with_its_newline(void **state)
{
    static char text[PIPE_BUF + 100];
    const size_t head = STAMP_LENGTH + strlen("info ");

    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (size_t more = 0; more < 3; more++) {
        int length = (int)(PIPE_BUF - head - 2 + more);
        capture_begin();
        log_write_trace("%.*s", length, text);
        capture_end();
        assert_int_equal(capture.count, 1);
        assert_int_equal(capture.lengths[0], PIPE_BUF - (more == 0));
        assert_int_equal(strspn(capture.bytes[0] + head, "x"), capture.lengths[0] - head - 1);
        assert_int_equal(capture.bytes[0][capture.lengths[0] - 1], '\n');
    }
}

/* Replace stderr by a new pseudoterminal; return its other end. */
static int terminal_begin(int *own)
{
    int other = posix_openpt(O_RDWR | O_NOCTTY);

    assert_true(other >= 0);
    assert_int_equal(grantpt(other), 0);
    assert_int_equal(unlockpt(other), 0);
    int terminal = open(ptsname(other), O_RDWR | O_NOCTTY);
    *own = dup(STDERR_FILENO);
    assert_true(terminal >= 0 && *own >= 0);
    assert_int_equal(dup2(terminal, STDERR_FILENO), STDERR_FILENO);
    (void)close(terminal);
    return other;
}

static bool has_colours(const char *no_color)
{
    (void)(no_color == NULL ? unsetenv("NO_COLOR") : setenv("NO_COLOR", no_color, 1));
    log_open();
    return log_has_colours();
}

/* An empty NO_COLOR counts as unset. */
static void test_colours_are_for_terminals(void **state)
{
    int own;

    (void)state;
    int other = terminal_begin(&own);
    bool by_default = has_colours(NULL);
    bool with_empty = has_colours("");
    bool with_value = has_colours("0");
    (void)dup2(own, STDERR_FILENO);
    (void)close(own);
    (void)close(other);
    capture_begin();
    bool elsewhere = has_colours(NULL);
    capture_end();
    assert_true(by_default && with_empty);
    assert_false(with_value || elsewhere);
}

static void test_errno_is_kept_if_the_write_fails(void **state)
{
    int seen[4];

    (void)state;
    int own = dup(STDERR_FILENO);
    assert_true(own >= 0);
    (void)close(STDERR_FILENO);
    errno = ENOTTY;
    log_write(LOG_LEVEL_ERROR, "text");
    seen[0] = errno;
    log_write_errno(LOG_LEVEL_ERROR, EIO, "text");
    seen[1] = errno;
    log_write_record(LOG_LEVEL_ERROR, "text");
    seen[2] = errno;
    log_write_trace("text");
    seen[3] = errno;
    (void)dup2(own, STDERR_FILENO);
    (void)close(own);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(seen[i], ENOTTY);
}

/* Replace stderr by a pipe; return the end to read from. */
static int pipe_begin(int flags, int *own)
{
    int ends[2];

    *own = dup(STDERR_FILENO);
    assert_true(*own >= 0);
    assert_int_equal(pipe2(ends, flags), 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    (void)close(ends[1]);
    return ends[0];
}

static size_t read_all(int from, char *bytes, size_t wanted)
{
    struct pollfd ready = {.fd = from, .events = POLLIN};
    size_t length = 0;
    ssize_t got = 1;

    while (length < wanted && got > 0 && poll(&ready, 1, DEADLINE_MS) == 1) {
        got = read(from, bytes + length, wanted - length);
        length += got > 0 ? (size_t)got : 0;
    }
    return length;
}

static void pipe_end(int from, int own)
{
    (void)dup2(own, STDERR_FILENO);
    (void)close(own);
    (void)close(from);
}

/* Fill the pipe that is stderr, so that there is no room for a line. Return how many bytes that
 * took.
 */
static size_t fill_pipe(void)
{
    static const char bytes[PIPE_BUF];
    size_t filled = 0;
    ssize_t written;

    (void)fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
    while ((written = write(STDERR_FILENO, bytes, sizeof bytes)) > 0)
        filled += (size_t)written;
    (void)fcntl(STDERR_FILENO, F_SETFL, 0);
    return filled;
}

/* If nothing reads the pipe, the writer goes on, and logs later how many lines were lost. */
static void test_lines_without_a_reader_are_counted(void **state)
{
    static char bytes[1 << 20];
    int own;

    (void)state;
    int from = pipe_begin(0, &own);
    log_write(LOG_LEVEL_INFO, "reports what other tests have lost");
    (void)!read(from, bytes, sizeof bytes);
    size_t filled = fill_pipe();
    for (int i = 0; i < 100; i++)
        log_write(LOG_LEVEL_INFO, "is not read");
    bool emptied = filled < sizeof bytes && read_all(from, bytes, filled) == filled;
    log_write(LOG_LEVEL_INFO, "this is read");
    ssize_t length = read(from, bytes, sizeof bytes - 1);
    pipe_end(from, own);
    assert_true(emptied);
    assert_true(length > 0);
    bytes[length] = '\0';
    assert_non_null(strstr(bytes, " warning 100 log lines were lost: nothing was reading them\n"));
    assert_non_null(strstr(bytes, " info this is read\n"));
    assert_null(strstr(bytes, "is not read"));
}

/* A record that could not be written in one piece is not written at all. */
static void test_record_that_is_too_long_is_lost(void **state)
{
    static char record[PIPE_BUF + 2];

    (void)state;
    memset(record, 'r', sizeof record - 1);
    capture_begin();
    log_write_record(LOG_LEVEL_INFO, record);
    log_write(LOG_LEVEL_INFO, "next");
    capture_end();
    assert_int_equal(capture.count, 2);
    assert_non_null(strstr(capture.bytes[0], " warning 1 log lines were lost"));
}

enum { THREADS = 4, RECORDS = 40, RECORD_LENGTH = LOG_RECORD_MAX };

static void *write_records(void *letter)
{
    char *record = malloc(RECORD_LENGTH);

    if (record == NULL)
        return NULL;
    memset(record, *(const char *)letter, RECORD_LENGTH - 1);
    record[RECORD_LENGTH - 1] = '\0';
    for (int i = 0; i < RECORDS; i++)
        log_write_record(LOG_LEVEL_INFO, record);
    free(record);
    return letter;
}

/* Return how many of the ${count} records in ${bytes} consist of one letter and a newline. */
static size_t count_whole(const char *bytes, size_t count)
{
    size_t whole = 0;

    for (size_t i = 0; i < count; i++) {
        const char *record = bytes + i * RECORD_LENGTH;
        const char letter[] = {record[0], '\0'};
        whole += strspn(record, letter) == RECORD_LENGTH - 1;
    }
    return whole;
}

static void test_long_records_of_threads_do_not_mix(void **state)
{
    static char letters[THREADS] = {'a', 'b', 'c', 'd'};
    const size_t records = (size_t)THREADS * RECORDS;
    const size_t wanted = records * RECORD_LENGTH;
    pthread_t threads[THREADS];
    int own;

    (void)state;
    char *bytes = calloc(1, wanted + 1);
    assert_non_null(bytes);
    int from = pipe_begin(0, &own);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, write_records, &letters[i]) != 0)
            abort();
    size_t length = read_all(from, bytes, wanted);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    pipe_end(from, own);
    size_t whole = count_whole(bytes, records);
    free(bytes);
    assert_int_equal(length, wanted);
    assert_int_equal(whole, records);
}

static void test_level_names(void **state)
{
    (void)state;
    assert_string_equal(log_level_name(LOG_LEVEL_ERROR), "error");
    assert_string_equal(log_level_name(LOG_LEVEL_WARNING), "warning");
    assert_string_equal(log_level_name(LOG_LEVEL_NOTICE), "notice");
    assert_string_equal(log_level_name(LOG_LEVEL_INFO), "info");
    assert_string_equal(log_level_name(LOG_LEVEL_DEBUG), "debug");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_is_info_from_the_start),
        cmocka_unit_test_setup(test_line_has_time_level_and_newline_in_one_write, reset),
        cmocka_unit_test_setup(test_time_is_utc, reset),
        cmocka_unit_test_setup(test_every_line_is_a_write_of_its_own, reset),
        cmocka_unit_test_setup(test_level_filters_each_kind_of_line, reset),
        cmocka_unit_test_setup(test_errno_text, reset),
        cmocka_unit_test_setup(test_record_is_bare_outside_journald, reset),
        cmocka_unit_test_setup(test_priority_under_journald, reset),
        cmocka_unit_test_setup(test_no_priority_if_stderr_is_not_the_journal, reset),
        cmocka_unit_test_setup(test_no_priority_without_stderr, reset),
        cmocka_unit_test_setup(test_long_line_is_cut_with_its_newline, reset),
        cmocka_unit_test_setup(test_record_is_never_cut, reset),
        cmocka_unit_test_setup(test_trace_has_no_level, reset),
        cmocka_unit_test_setup(test_long_trace_is_cut_with_its_newline, reset),
        cmocka_unit_test_setup(test_colours_are_for_terminals, reset),
        cmocka_unit_test_setup(test_errno_is_kept_if_the_write_fails, reset),
        cmocka_unit_test_setup(test_lines_without_a_reader_are_counted, reset),
        cmocka_unit_test_setup(test_record_that_is_too_long_is_lost, reset),
        cmocka_unit_test_setup(test_long_records_of_threads_do_not_mix, reset),
        cmocka_unit_test_setup(test_level_names, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
