/* http1_answer: the response to every kind of HTTP/1.x request, and the command it names. */
#include "conn/http1_answer.h"

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

static const struct http1_refusal refusal = {505, "not served"};

/* Write the answer to ${request} into ${answer}, check everything but the text of its content, and
 * return its content. */
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
    written = http1_answer_write(answer, &refusal, (struct span){(uint8_t *)copy, length},
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

/* The content is one or two lines of printable text, and a line ends with ${command}. */
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
        /* no Host, or not complete */
        {"GET / HTTP/1.0\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost: localh", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\nX-Host: h\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET / HTTP/1.1\r\n\r\nHost: h\r\n\r\n", "http://" AUTHORITY "/"},
        {"GET /Host:h HTTP/1.1\r\n\r\n", "http://" AUTHORITY "/"},
        /* not safe to paste */
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

/* Any byte with a meaning to a shell, a terminal or in a URL makes a host unsafe to paste. */
static void test_answer_takes_no_other_byte(void **state)
{
    static const char safe[] = ".:_-[]0123456789abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        bool taken = strchr(safe, byte) != NULL;
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
        const char *shown; /* in the command */
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
                 table[i].shown);
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

/* Hosts of every length; no DNS name is as long as the longest. */
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
        cmocka_unit_test(test_answer_names_the_host),
        cmocka_unit_test(test_answer_takes_no_other_byte),
        cmocka_unit_test(test_answer_without_host),
        cmocka_unit_test(test_answer_through_a_unix_socket),
        cmocka_unit_test(test_answer_to_head),
        cmocka_unit_test(test_answer_always_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
