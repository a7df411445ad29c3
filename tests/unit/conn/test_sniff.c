/* preface: every protocol in every number of pieces, and the words for HTTP/1. */
#include "conn/sniff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))
#define LENGTH(literal) (sizeof(literal) - 1)

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* Detect in memory of exactly that size, so that reading past its end is seen. */
static enum sniffed detect(const void *bytes, size_t length)
{
    uint8_t *copy = malloc(length + (length == 0));
    enum sniffed verdict;

    assert_non_null(copy);
    memcpy(copy, bytes, length);
    verdict = sniff_protocol(copy, length);
    free(copy);
    return verdict;
}

/* However it is cut, the verdict comes once and stays. Return it, and how many bytes it took. */
static enum sniffed detect_growing(const void *bytes, size_t length, size_t *taken)
{
    enum sniffed verdict = detect(bytes, length);
    size_t prefix = 0;

    while (prefix < length && detect(bytes, prefix) == SNIFFED_INCOMPLETE)
        prefix++;
    *taken = prefix;
    for (; prefix <= length; prefix++)
        assert_int_equal(detect(bytes, prefix), verdict);
    return verdict;
}

static void test_http2(void **state)
{
    static const char more[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4";
    size_t taken;

    (void)state;
    for (size_t length = 0; length < LENGTH(preface); length++)
        assert_int_equal(detect(preface, length), SNIFFED_INCOMPLETE);
    assert_int_equal(detect(preface, LENGTH(preface)), SNIFFED_HTTP2);
    assert_int_equal(detect_growing(more, LENGTH(more), &taken), SNIFFED_HTTP2);
    assert_int_equal(taken, 24);
}

/* A preface with one byte changed is none, and never becomes one. */
static void test_http2_wrong_byte(void **state)
{
    (void)state;
    for (size_t at = 0; at < LENGTH(preface); at++) {
        for (unsigned change = 1; change < 256; change++) {
            char wrong[LENGTH(preface) + 2];

            memcpy(wrong, preface, LENGTH(preface));
            memcpy(wrong + LENGTH(preface), "\r\n", 2);
            wrong[at] = (char)(wrong[at] ^ (char)change);
            for (size_t length = at + 1; length <= sizeof(wrong); length++)
                assert_int_not_equal(detect(wrong, length), SNIFFED_HTTP2);
            /* "PRI * HTTP/1.0" and its like are HTTP/1; past the line's end nothing is. */
            if (at >= 16)
                assert_int_equal(detect(wrong, sizeof(wrong)), SNIFFED_UNKNOWN);
        }
    }
}

static void test_http1(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "HEAD / HTTP/1.1\r\n",
        "POST /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "CONNECT h:443 HTTP/1.1\r\n",
        "PRI * HTTP/1.1\r\n",
        "P / HTTP/1.1\r\n",
        "PRIX / HTTP/1.1\r\n",
        "M-SEARCH * HTTP/1.1\r\n",
        "!#$%&'*+-.^_`|~0aZ / HTTP/1.1\r\n",
        "GET http://h/ HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.9\r\n",
        "GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        size_t taken;

        assert_int_equal(detect_growing(lines[i], strlen(lines[i]), &taken), SNIFFED_HTTP1);
        assert_true(taken <= (size_t)(strchr(lines[i], '\n') + 1 - lines[i]));
    }
}

static void test_tls(void **state)
{
    /* The first bytes of hellos: OpenSSL 3's, one by TLS 1.0, one in a record of TLS 1.2. */
    static const char *const hellos[] = {
        "\x16\x03\x01\x02\x05\x01\x00\x02\x01\x03\x03",
        "\x16\x03\x01\x00\x35\x01\x00\x00\x31\x03\x01",
        "\x16\x03\x03\x00\x35\x01\x00\x00\x31\x03\x03",
    };
    static const uint8_t alert[] = {0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x0a};
    size_t taken;

    (void)state;
    for (size_t i = 0; i < COUNT(hellos); i++)
        assert_int_equal(detect_growing(hellos[i], 11, &taken), SNIFFED_TLS);
    assert_int_equal(detect("\x16", 1), SNIFFED_INCOMPLETE);
    assert_int_equal(sizeof(alert), TLS_ALERT_SIZE);
    assert_memory_equal(sniff_tls_alert, alert, sizeof(alert));
}

static void test_other(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } table[] = {
        {"\r\n", 2},
        {"\n", 1},
        {" GET / HTTP/1.1\r\n", 17},
        {"GET\r\n", 5},
        {"GET /\r\n", 7}, /* HTTP/0.9 */
        {"GET / HTTP/2.0\r\n", 16},
        {"GET / HTTP/3\r\n", 14},
        {"GET / HTTP/0.9\r\n", 16},
        {"GET / HTTP/1.\r\n", 15},
        {"GET / HTTP/1.x\r\n", 16},
        {"GET / HTTP/1.10\r\n", 17},
        {"GET / http/1.1\r\n", 16},
        {"GET / XHTTP/1.1\r\n", 17},
        {"GET / HTTP/1.1 \r\n", 17},
        {"GET\t/\tHTTP/1.1\r\n", 16},
        {"G(T / HTTP/1.1\r\n", 16},
        {"HELO mail\r\n", 11},
        {"SSH-2.0-OpenSSH_9.2\r\n", 21},
        {"PRI * HTTP/2.0\n\nSM\n\n", 20},
        {"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24},
        {"\x16\x02\x01", 3},
        {"\x16\x04\x01", 3},
        {"\x15\x03\x01", 3},
        {"\x80\x2e\x01\x00\x02", 5}, /* a hello of SSL 2 */
        {"\0\0\0\4\0\0\0\0\0", 9},   /* SETTINGS without a preface */
    };
    size_t taken;

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++)
        if (detect_growing(table[i].bytes, table[i].length, &taken) != SNIFFED_UNKNOWN)
            fail_msg("row %zu", i);
}

static void test_garbage_of_every_first_byte(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        uint8_t garbage[] = {(uint8_t)first, 0x00, 0xff, '\r', '\n', '\r', '\n'};
        size_t taken;

        assert_int_equal(detect_growing(garbage, sizeof(garbage), &taken), SNIFFED_UNKNOWN);
    }
}

/* A request line of exactly ${length} bytes, CR LF among them. */
static char *line_of(size_t length)
{
    static const char start[] = "GET /";
    static const char end[] = " HTTP/1.1\r\n";
    char *line = malloc(length);

    assert_non_null(line);
    memset(line, 'a', length);
    memcpy(line, start, LENGTH(start));
    memcpy(line + length - LENGTH(end), end, LENGTH(end));
    return line;
}

static void test_long_lines(void **state)
{
    static const size_t lengths[] = {100, SNIFF_LINE_MAX - 1, SNIFF_LINE_MAX};

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        char *line = line_of(lengths[i]);

        for (size_t prefix = 0; prefix + LENGTH("\r\n") < lengths[i]; prefix++)
            assert_int_equal(sniff_protocol((uint8_t *)line, prefix), SNIFFED_INCOMPLETE);
        assert_int_equal(detect(line, lengths[i]), SNIFFED_HTTP1);
        free(line);
    }
}

/* A longer line is not recognised, whether it comes in pieces or at once. */
static void test_too_long_lines(void **state)
{
    static const size_t lengths[] = {SNIFF_LINE_MAX + 1, SNIFF_LINE_MAX + 2, 2 * SNIFF_LINE_MAX};

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        char *line = line_of(lengths[i]);

        for (size_t prefix = SNIFF_LINE_MAX + 1; prefix <= lengths[i]; prefix++)
            assert_int_equal(sniff_protocol((uint8_t *)line, prefix), SNIFFED_UNKNOWN);
        free(line);
    }
}

/* --- The answer --- */

static const struct http1_refusal not_served = {505, "not served"};

/* Answer ${request}; check everything but the words, and return those, which ${answer} holds. */
static const char *answer_to(char answer[static HTTP1_ANSWER_MAX], const char *request,
                             const char *authority, const char *unix_path)
{
    static const char status[] = "HTTP/1.1 505 HTTP Version Not Supported\r\n";
    size_t length = strlen(request);
    char *copy = malloc(length);
    bool head = strncmp(request, "HEAD ", 5) == 0;
    char *body;
    const char *field;
    size_t written;

    assert_non_null(copy);
    memcpy(copy, request, length);
    memset(answer, 'x', HTTP1_ANSWER_MAX);
    written = http1_answer_write(answer, &not_served, (const uint8_t *)copy, length,
                                 &(struct http1_endpoint){authority, unix_path, false});
    free(copy);
    assert_true(written < HTTP1_ANSWER_MAX);
    answer[written] = '\0';
    assert_int_equal(strlen(answer), written);

    assert_memory_equal(answer, status, LENGTH(status));
    assert_non_null(strstr(answer, "\r\nconnection: close\r\n"));
    assert_non_null(strstr(answer, "\r\nserver: h2echod/" H2ECHOD_VERSION "\r\n"));
    assert_non_null(strstr(answer, "\r\ncontent-type: text/plain"));
    field = strstr(answer, "\r\ncontent-length: ");
    body = strstr(answer, "\r\n\r\n");
    assert_true(field && body && field < body);
    body += 4;
    if (head)
        assert_string_equal(body, "");
    else
        assert_int_equal(strtoul(field + LENGTH("\r\ncontent-length: "), NULL, 10), strlen(body));
    return body;
}

/* One or two lines of printable text that name ${command} and nothing after it on its line. */
static void assert_names(const char *body, const char *command)
{
    const char *found = strstr(body, command);
    size_t lines = 0;

    assert_non_null(found);
    assert_int_equal(found[strlen(command)], '\n');
    assert_null(strstr(found + 1, "curl"));
    for (const char *c = body; *c != '\0'; c++) {
        assert_true(*c == '\n' || (*c >= 0x20 && *c <= 0x7e));
        lines += *c == '\n';
    }
    assert_true(lines == 1 || lines == 2);
}

#define CURL      "curl --http2-prior-knowledge "
#define AUTHORITY "127.0.0.1:8080"

static void test_answer_names_the_host(void **state)
{
    static const struct {
        const char *request;
        const char *url;
    } table[] = {
        {"GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", "http://localhost:8080/"},
        {"GET / HTTP/1.1\r\nAccept: */*\r\nhost:example.org\r\n\r\n", "http://example.org/"},
        {"GET / HTTP/1.1\r\nHOST: \t a-b_c.example \t\r\n\r\n", "http://a-b_c.example/"},
        {"GET / HTTP/1.1\nHost: h\n\n", "http://h/"},
        {"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "http://[2001:db8::1]:80/"},
        {"POST /x HTTP/1.0\r\nHost: h\r\n\r\nbody", "http://h/"},
        {"GET / HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n", "http://one/"},
        /* none, or none yet */
        {"GET / HTTP/1.0\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: localh", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nX-Host: h\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\n\r\nHost: h\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET /Host:h HTTP/1.1\r\n\r\n", "http://" AUTHORITY "/"},
        /* not harmless */
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: $(reboot)\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: `reboot`\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: h;reboot\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: h|sh\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: h&sh\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: 'h'\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: \"h\"\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: h\rx: y\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: <b>\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: user@h\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: h/path\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: h%41\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: h\x1b[1m\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: \\\r\n\r\n", "http://" AUTHORITY "/"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        char answer[HTTP1_ANSWER_MAX];
        char command[128];

        snprintf(command, sizeof(command), CURL "%s", table[i].url);
        assert_names(answer_to(answer, table[i].request, AUTHORITY, NULL), command);
    }
}

/* Every byte that could mean something to a shell, a terminal or a URL makes a host not harmless.
 */
static void test_answer_takes_no_other_byte(void **state)
{
    static const char harmless[] = ".:_-[]0123456789abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        bool taken = strchr(harmless, byte) != NULL;
        char answer[HTTP1_ANSWER_MAX];
        char request[64];
        char command[64];

        if (byte == '\n')
            continue;
        snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: a%cb\r\n\r\n", byte);
        snprintf(command, sizeof(command), CURL "http://a%cb/", byte);
        assert_names(answer_to(answer, request, AUTHORITY, NULL),
                     taken ? command : CURL "http://" AUTHORITY "/");
    }
}

static void test_answer_without_host(void **state)
{
    static const char *const authorities[] = {AUTHORITY, "[::1]:34567",
                                              "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"};

    (void)state;
    for (size_t i = 0; i < COUNT(authorities); i++) {
        char answer[HTTP1_ANSWER_MAX];
        char command[128];

        snprintf(command, sizeof(command), CURL "http://%s/", authorities[i]);
        assert_names(answer_to(answer, "GET / HTTP/1.1\r\n\r\n", authorities[i], NULL), command);
    }
}

static void test_answer_through_a_unix_socket(void **state)
{
    static const struct {
        const char *path;
        const char *word; /* what a shell takes for the path */
    } table[] = {
        {"/run/h2echod.sock", "/run/h2echod.sock"},
        {"relative_2.sock", "relative_2.sock"},
        {"/tmp/a b", "PATH"},
        {"/tmp/$HOME", "PATH"},
        {"/tmp/`", "PATH"},
        {"/tmp/\"", "PATH"},
        {"/tmp/\\", "PATH"},
        {"/tmp/;", "PATH"},
        {"/tmp/&", "PATH"},
        {"/tmp/|", "PATH"},
        {"/tmp/<", "PATH"},
        {"/tmp/*", "PATH"},
        {"~/a", "PATH"},
        {"/tmp/$(reboot)", "PATH"},
        {"/tmp/'", "PATH"},
        {"/tmp/\n", "PATH"},
        {"/tmp/\xff", "PATH"},
    };
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        char answer[HTTP1_ANSWER_MAX];
        char command[256];

        snprintf(command, sizeof(command), CURL "--unix-socket %s http://localhost/",
                 table[i].word);
        assert_names(answer_to(answer, request, AUTHORITY, table[i].path), command);
    }
}

static void test_answer_to_head(void **state)
{
    static const char head[] = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    char to_head[HTTP1_ANSWER_MAX];
    char to_get[HTTP1_ANSWER_MAX];
    const char *body = answer_to(to_get, get, AUTHORITY, NULL);

    (void)state;
    answer_to(to_head, head, AUTHORITY, NULL);
    assert_int_equal(strlen(to_head), body - to_get);
    assert_memory_equal(to_head, to_get, strlen(to_head)); /* RFC 9110 section 9.3.2 */
}

/* Every length of Host, of which the long ones don't fit a name that DNS could have. */
static void test_answer_always_fits(void **state)
{
    enum { LONGEST = 4000 };
    static const char start[] = "GET / HTTP/1.1\r\nHost: ";
    char request[LENGTH(start) + LONGEST + sizeof("\r\n\r\n")] = "GET / HTTP/1.1\r\nHost: ";
    char unix_path[108];
    char answer[HTTP1_ANSWER_MAX];

    (void)state;
    for (size_t length = 1; length <= LONGEST; length++) {
        char command[512];
        const char *body;

        memset(request + LENGTH(start), 'h', length);
        memcpy(request + LENGTH(start) + length, "\r\n\r\n", sizeof("\r\n\r\n"));
        body = answer_to(answer, request, AUTHORITY, NULL);
        if (length <= 253)
            snprintf(command, sizeof(command), CURL "http://%.*s/", (int)length,
                     request + LENGTH(start));
        else if (length > 261)
            snprintf(command, sizeof(command), CURL "http://" AUTHORITY "/");
        else
            continue;
        assert_names(body, command);
    }
    memset(unix_path, 'p', sizeof(unix_path) - 1);
    unix_path[sizeof(unix_path) - 1] = '\0';
    assert_non_null(strstr(answer_to(answer, request, AUTHORITY, unix_path), unix_path));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http2),
        cmocka_unit_test(test_http2_wrong_byte),
        cmocka_unit_test(test_http1),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_other),
        cmocka_unit_test(test_garbage_of_every_first_byte),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_too_long_lines),
        cmocka_unit_test(test_answer_names_the_host),
        cmocka_unit_test(test_answer_takes_no_other_byte),
        cmocka_unit_test(test_answer_without_host),
        cmocka_unit_test(test_answer_through_a_unix_socket),
        cmocka_unit_test(test_answer_to_head),
        cmocka_unit_test(test_answer_always_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
