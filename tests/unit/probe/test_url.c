/* Parsing URLs: all valid forms, invalid ones, and the longest texts. */
#include "probe/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *text;
    enum url_scheme scheme;
    const char *host;
    const char *port;
    const char *authority;
    const char *path;
} valid_urls[] = {
    {"http://localhost", URL_HTTP, "localhost", "80", "localhost", "/"},
    {"http://localhost/", URL_HTTP, "localhost", "80", "localhost", "/"},
    {"http://localhost:8080", URL_HTTP, "localhost", "8080", "localhost:8080", "/"},
    {"http://localhost:80/", URL_HTTP, "localhost", "80", "localhost:80", "/"},
    {"http://a-b.Example_1:1/x/y", URL_HTTP, "a-b.Example_1", "1", "a-b.Example_1:1", "/x/y"},
    {"HTTP://127.0.0.1:65535/%20~\"", URL_HTTP, "127.0.0.1", "65535", "127.0.0.1:65535", "/%20~\""},
    {"http://h?q=a/b&c", URL_HTTP, "h", "80", "h", "/?q=a/b&c"},
    {"http://h/?", URL_HTTP, "h", "80", "h", "/?"},
    {"http://h:00080/", URL_HTTP, "h", "00080", "h:80", "/"},
    {"http://[::1]/", URL_HTTP, "::1", "80", "[::1]", "/"},
    {"http://[::ffff:127.0.0.1]:8080/x", URL_HTTP, "::ffff:127.0.0.1", "8080",
     "[::ffff:127.0.0.1]:8080", "/x"},
    {"http://[fe80::1%eth0.1]:8080/", URL_HTTP, "fe80::1%eth0.1", "8080", "[fe80::1]:8080", "/"},
    {"https://h/", URL_HTTPS, "h", "443", "h", "/"},
    {"https://h:8443/", URL_HTTPS, "h", "8443", "h:8443", "/"},
    {"unix:/run/h2echod.sock", URL_UNIX, "/run/h2echod.sock", "", "localhost", "/"},
    {"unix:a b", URL_UNIX, "a b", "", "localhost", "/"},
    {"unix:@name", URL_UNIX, "@name", "", "localhost", "/"},
};

static void test_valid_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(valid_urls); i++) {
        struct url url;

        assert_true(url_parse(valid_urls[i].text, &url));
        assert_int_equal(url.scheme, valid_urls[i].scheme);
        assert_string_equal(url.host, valid_urls[i].host);
        assert_string_equal(url.port, valid_urls[i].port);
        assert_string_equal(url.authority, valid_urls[i].authority);
        assert_string_equal(url.path, valid_urls[i].path);
    }
}

static const char *const invalid_urls[] = {
    "",
    "localhost",
    "localhost:8080",
    "/run/h2echod.sock",
    "http:",
    "http:/h/",
    "http://",
    "http:///x",
    "http://:8080/",
    "http://h:/",
    "http://h:0/",
    "http://h:65536/",
    "http://h:000080/",
    "http://h:8080x/",
    "http://h:+80/",
    "http://h:-1/",
    "http://h: 80/",
    "http://user@h/",
    "http://user:word@h/",
    "http://h/#fragment",
    "http://h#fragment",
    "http://h/a b",
    "http://h/\r\nx: y",
    "http://h/\t",
    "http://h/\x7f",
    "http://h/\xc3\xa9",
    "http://h\xc3\xa9/",
    "http://h\r\n/",
    "http://h\\/",
    "http://::1/",
    "http://[::1/",
    "http://[::1]x/",
    "http://[]/",
    "http://[h]/",
    "http://[127.0.0.1]/",
    "http://[1:2:3]/",
    "http://[::1::]/",
    "http://[%lo]/",
    "http://[fe80::1%]/",
    "http://[fe80::1%a/b]/",
    "ftp://h/",
    "unix:",
};

static void test_invalid_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(invalid_urls); i++) {
        struct url url;

        if (url_parse(invalid_urls[i], &url))
            fail_msg("'%s' is accepted", invalid_urls[i]);
    }
}

/* ${begin} with ${length} times 'x' after it is valid, and with one more it is not. */
static void check_max_length(const char *begin, size_t length)
{
    char text[2048];
    struct url url;
    size_t used = strlen(begin);

    (void)snprintf(text, sizeof(text), "%s", begin);
    memset(text + used, 'x', length + 1);
    text[used + length] = '\0';
    assert_true(url_parse(text, &url));
    text[used + length] = 'x';
    text[used + length + 1] = '\0';
    assert_false(url_parse(text, &url));
}

static void test_longest_urls(void **state)
{
    (void)state;
    check_max_length("http://", URL_HOST_MAX - 1);
    check_max_length("http://h/", URL_PATH_MAX - 2);
    check_max_length("http://h?", URL_PATH_MAX - 3);
    check_max_length("unix:", 107);
}

static void test_longest_zone(void **state)
{
    char text[512] = "http://[fe80::1%";
    struct url url;
    size_t used = strlen(text);

    (void)state;
    memset(text + used, 'x', URL_HOST_MAX - 1 - strlen("fe80::1%"));
    (void)snprintf(text + strlen(text), 16, "]:65535/");
    assert_true(url_parse(text, &url));
    assert_string_equal(url.authority, "[fe80::1]:65535");
    (void)snprintf(text + strlen(text) - strlen("]:65535/"), 16, "x]:65535/");
    assert_false(url_parse(text, &url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_urls),
        cmocka_unit_test(test_invalid_urls),
        cmocka_unit_test(test_longest_urls),
        cmocka_unit_test(test_longest_zone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
