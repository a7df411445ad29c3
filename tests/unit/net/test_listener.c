/* listener: a port that is free on several addresses, names with missing addresses, and which
 * inherited sockets are for TLS. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/range.h"

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
void __wrap_freeaddrinfo(struct addrinfo *found);
int __real_bind(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length);

static struct {
    size_t calls;
    size_t failed; /* including real failures, when another process uses the port */
    int taken;     /* how often bind is to fail for the second address */
} binding;

/* What getaddrinfo returns, and which of these addresses the machine does not have. */
static struct {
    struct sockaddr_in addresses[2];
    struct addrinfo list[2];
    const char *missing;
} resolved;

static void resolve_to(const char *first, const char *second)
{
    const char *const texts[] = {first, second};

    resolved.missing = "";
    for (int i = 0; i < 2 && texts[i] != NULL; i++) {
        resolved.addresses[i].sin_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, texts[i], &resolved.addresses[i].sin_addr), 1);
        resolved.list[i] = (struct addrinfo){.ai_addr = (struct sockaddr *)&resolved.addresses[i],
                                             .ai_addrlen = sizeof(resolved.addresses[i])};
        if (i > 0)
            resolved.list[0].ai_next = &resolved.list[i];
    }
}

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    (void)service;
    (void)hints;
    if (strcmp(name, "two.example") != 0)
        resolve_to(name, NULL);
    *found = &resolved.list[0];
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *found)
{
    assert_ptr_equal(found, &resolved.list[0]);
}

static bool is_missing(const struct sockaddr *address)
{
    char text[INET_ADDRSTRLEN];
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;

    return resolved.missing != NULL &&
           inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text)) != NULL &&
           strstr(resolved.missing, text) != NULL;
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    int result;

    if (is_missing(address)) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    if (binding.calls++ % 2 == 1 && binding.taken > 0) {
        binding.taken--;
        binding.failed++;
        errno = EADDRINUSE;
        return -1;
    }
    result = __real_bind(fd, address, length);
    if (result != 0)
        binding.failed++;
    return result;
}

/* Listen on any free port of 127.0.0.1 and 127.0.0.2, where the port is in use on the second one
 * for
 * ${taken} times. */
static int open_two(int taken, struct listeners *listeners)
{
    char *addresses[] = {(char *)"127.0.0.1", (char *)"127.0.0.2", NULL};
    const struct listener_options options = {.address = addresses, .tls_port = LISTENER_NO_PORT};

    binding.calls = binding.failed = 0;
    binding.taken = taken;
    return listeners_open(&options, listeners);
}

static void test_port_is_retried(void **state)
{
    struct listeners listeners;

    (void)state;
    assert_int_equal(open_two(5, &listeners), 0);
    assert_true(binding.failed >= 5);
    assert_int_equal(binding.calls, 2 * (binding.failed + 1));
    assert_int_equal(listeners.count, 2);
    assert_int_equal(address_port(&listeners.list[0].address),
                     address_port(&listeners.list[1].address));
    listeners_close(&listeners);
}

static void test_retries_are_limited(void **state)
{
    struct listeners listeners;

    (void)state;
    assert_int_equal(open_two(1000, &listeners), EX_UNAVAILABLE);
    assert_int_equal(listeners.count, 0);
    assert_between(binding.calls, 20, 100);
}

/* Listen on a name that has both addresses, where the machine does not have those in ${missing}.
 * Return the exit code. */
static int open_name(const char *missing, struct listeners *listeners)
{
    char *addresses[] = {(char *)"two.example", NULL};
    const struct listener_options options = {.address = addresses, .tls_port = LISTENER_NO_PORT};

    binding.taken = 0;
    resolve_to("127.0.0.1", "127.0.0.2");
    resolved.missing = missing;
    return listeners_open(&options, listeners);
}

static void test_name_with_missing_addresses(void **state)
{
    static const struct {
        const char *missing;
        int result;
        size_t count;
    } cases[] = {
        {"", 0, 2},
        {"127.0.0.1", 0, 1},
        {"127.0.0.2", 0, 1},
        {"127.0.0.1 127.0.0.2", EX_UNAVAILABLE, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct listeners listeners;

        assert_int_equal(open_name(cases[i].missing, &listeners), cases[i].result);
        assert_int_equal(listeners.count, cases[i].count);
        if (cases[i].result == 0)
            listeners_close(&listeners);
    }
}

enum { SOCKETS = 3 };

/* Inherit three sockets with ${names}. Return a letter for each: "t" = for TLS. */
static const char *tls_with(const char *names)
{
    static char letters[SOCKETS + 1];
    struct listeners listeners;
    int first = 0;

    for (int i = 0; i < SOCKETS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(listen(fd, 1), 0);
        first = i == 0 ? fd : first;
        assert_int_equal(fd, first + i); /* descriptors are numbered without gaps */
    }
    assert_int_equal(listeners_inherit(first, SOCKETS, names, &listeners), 0);
    assert_int_equal(listeners.count, SOCKETS);
    assert_true(listeners.inherited);
    for (int i = 0; i < SOCKETS; i++)
        letters[i] = listeners.list[i].is_tls ? 't' : '-';
    listeners_close(&listeners);
    return letters;
}

static void test_names_of_inherited_sockets(void **state)
{
    static const struct {
        const char *names;
        const char *tls;
    } cases[] = {
        {NULL, "---"},          {"::", "---"},          {"a:b:c", "---"},
        {"tls:b:c", "t--"},     {"a:tls:c", "-t-"},     {"a:b:tls", "--t"},
        {"tls:tls:tls", "ttt"}, {"tl:tlss:TLS", "---"}, {":tls:", "-t-"},
        {"tls::", "t--"},       {"::tls", "--t"},       {"h2echod-tls.socket:xtls:t", "---"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(tls_with(cases[i].names), cases[i].tls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_port_is_retried),
        cmocka_unit_test(test_retries_are_limited),
        cmocka_unit_test(test_name_with_missing_addresses),
        cmocka_unit_test(test_names_of_inherited_sockets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
