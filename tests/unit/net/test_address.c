/* address: addresses as text, their ports, and which of them are the same host. */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static struct address ipv4(const char *host, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct address address = {.length = sizeof(v4)};

    assert_int_equal(inet_pton(AF_INET, host, &v4.sin_addr), 1);
    memcpy(&address.storage, &v4, sizeof(v4));
    return address;
}

static struct address ipv6(const char *host, uint16_t port)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct address address = {.length = sizeof(v6)};

    assert_int_equal(inet_pton(AF_INET6, host, &v6.sin6_addr), 1);
    memcpy(&address.storage, &v6, sizeof(v6));
    return address;
}

static struct address host_of(const char *host, uint16_t port)
{
    return strchr(host, ':') ? ipv6(host, port) : ipv4(host, port);
}

/* The address as the kernel reports it: ${length} bytes of path, with or without a NUL. */
static struct address unix_path(const char *path, size_t length)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct address address = {.length =
                                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)};

    assert_true(length <= sizeof(un.sun_path));
    memset(un.sun_path, '#', sizeof(un.sun_path)); /* must not be read after the length */
    memcpy(un.sun_path, path, length);
    memcpy(&address.storage, &un, sizeof(un));
    return address;
}

static void assert_text(const struct address *address, const char *expected)
{
    char text[ADDRESS_TEXT_MAX];

    memset(text, 'x', sizeof(text));
    assert_ptr_equal(address_text(text, address), text);
    assert_string_equal(text, expected);
}

static void test_internet(void **state)
{
    static const struct {
        const char *host;
        uint16_t port;
        const char *text;
    } table[] = {
        {"127.0.0.1", 8080, "127.0.0.1:8080"},
        {"0.0.0.0", 0, "0.0.0.0:0"},
        {"255.255.255.255", 65535, "255.255.255.255:65535"},
        {"::1", 8080, "[::1]:8080"},
        {"::", 80, "[::]:80"},
        {"2001:db8::dead:beef", 65535, "[2001:db8::dead:beef]:65535"},
        {"2001:db8:1111:2222:3333:4444:5555:6666", 1, "[2001:db8:1111:2222:3333:4444:5555:6666]:1"},
        {"::ffff:192.0.2.7", 443, "192.0.2.7:443"},
        {"::fffe:192.0.2.7", 443, "[::fffe:c000:207]:443"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct address address = host_of(table[i].host, table[i].port);

        assert_text(&address, table[i].text);
        assert_int_equal(address_port(&address), table[i].port);
    }
}

static void test_unix(void **state)
{
    static const struct {
        const char *path;
        size_t length;
        const char *text;
    } table[] = {
        {"", 0, "unix"}, /* a client that is not bound */
        {"/run/h2echod.sock", 18, "unix:/run/h2echod.sock"},
        {"/run/h2echod.sock", 17, "unix:/run/h2echod.sock"},
        {"/a\0bc", 5, "unix:/a"},
        {"\0name", 5, "unix:\\x00name"}, /* abstract */
        {"/a b\n\"\xff", 8, "unix:/a b\\x0a\\\"\\xff"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct address address = unix_path(table[i].path, table[i].length);

        assert_text(&address, table[i].text);
        assert_int_equal(address_port(&address), 0);
    }
}

static void assert_unix_path(const struct address *address, const char *expected)
{
    char path[ADDRESS_PATH_MAX];

    assert_ptr_equal(address_unix_path(path, address), path);
    assert_string_equal(path, expected);
}

static void test_unix_path(void **state)
{
    struct address address;
    char path[ADDRESS_PATH_MAX];

    (void)state;
    address = unix_path("", 0);
    assert_unix_path(&address, "");
    address = unix_path("/run/h2echod.sock", 18);
    assert_unix_path(&address, "/run/h2echod.sock");
    address = unix_path("\0name", 5);
    assert_unix_path(&address, "");
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    address = unix_path(path, sizeof(path) - 1);
    assert_unix_path(&address, path);
    address.length++; /* the kernel counts a NUL although there is no room for it */
    assert_unix_path(&address, path);
    assert_text(&address, strcat(strcpy((char[ADDRESS_TEXT_MAX]){0}, "unix:"), path));
    address = ipv4("127.0.0.1", 80);
    assert_null(address_unix_path(path, &address));
}

/* The longest path is not cut, even if every byte is escaped. */
static void test_unix_longest(void **state)
{
    enum { LENGTH = sizeof(((struct sockaddr_un *)0)->sun_path) };
    char path[LENGTH];
    char expected[5 + 4 * LENGTH + 1] = "unix:";
    struct address address;

    (void)state;
    memset(path, '\x01', LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        memcpy(expected + 5 + 4 * i, "\\x01", 5);
    address = unix_path(path, LENGTH);
    assert_text(&address, expected);
}

static void test_same_host(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        bool same;
    } table[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"192.0.2.7", "::ffff:192.0.2.7", true},
        {"192.0.2.7", "::ffff:192.0.2.8", false},
        {"::ffff:192.0.2.7", "::ffff:192.0.2.7", true},
        {"::ffff:192.0.2.7", "::ffff:192.0.2.8",
         false}, /* although the first 64 bits are the same */
        {"2001:db8::1", "2001:db8::1", true},
        {"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
        {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
        {"::1", "127.0.0.1", false},
        {"::1", "::ffff:127.0.0.1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct address a = host_of(table[i].a, 1);
        struct address b = host_of(table[i].b, 2);

        assert_int_equal(address_same_host(&a, &b), table[i].same);
        assert_int_equal(address_same_host(&b, &a), table[i].same);
    }
}

static void test_unix_is_never_the_same_host(void **state)
{
    struct address nameless = unix_path("", 0);
    struct address named = unix_path("/a", 3);
    struct address internet[] = {ipv4("0.0.0.0", 0), ipv6("::", 0)};

    (void)state;
    assert_false(address_same_host(&nameless, &nameless));
    assert_false(address_same_host(&named, &named));
    for (size_t i = 0; i < sizeof(internet) / sizeof(internet[0]); i++) {
        assert_false(address_same_host(&named, &internet[i]));
        assert_false(address_same_host(&internet[i], &nameless));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_internet),  cmocka_unit_test(test_unix),
        cmocka_unit_test(test_unix_path), cmocka_unit_test(test_unix_longest),
        cmocka_unit_test(test_same_host), cmocka_unit_test(test_unix_is_never_the_same_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
