/* One port for several addresses: any that is free for all of them, and a clear end if none is. Of
 * sockets that are handed over, which are for TLS. */
#include "listener.h"
#include "settings.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/range.h"

int __real_bind(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length);

static struct {
    size_t calls;
    int taken;           /* every second address's port is, so many times */
    size_t really_taken; /* by another program of this machine */
} binding;

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    int result;

    if (binding.calls++ % 2 == 1 && binding.taken > 0) {
        binding.taken--;
        errno = EADDRINUSE;
        return -1;
    }
    result = __real_bind(fd, address, length);
    if (result != 0 && errno == EADDRINUSE)
        binding.really_taken++;
    return result;
}

static void on_error(const char *message, void *argument)
{
    (void)argument;
    fail_msg("%s", message);
}

/* Open 127.0.0.1 and 127.0.0.2 at a free port, of which the second one is taken ${taken} times. */
static int open_two(int taken, struct listeners *listeners)
{
    char *const argv[] = {(char *)"h2echod", (char *)"--port=0", (char *)"--address=127.0.0.1",
                          (char *)"--address=127.0.0.2", NULL};
    struct settings *settings = NULL;
    int result;

    assert_int_equal(settings_read(4, argv, on_error, NULL, &settings), SETTINGS_OK);
    binding.calls = binding.really_taken = 0;
    binding.taken = taken;
    result = listeners_open(settings, listeners);
    settings_unref(settings);
    return result;
}

static void test_another_port_is_tried(void **state)
{
    struct listeners listeners;

    (void)state;
    assert_int_equal(open_two(5, &listeners), 0);
    assert_int_equal(binding.calls, 2 * (5 + binding.really_taken + 1));
    assert_int_equal(listeners.count, 2);
    assert_int_equal(address_port(&listeners.list[0].address),
                     address_port(&listeners.list[1].address));
    listeners_close(&listeners);
}

static void test_not_for_ever(void **state)
{
    struct listeners listeners;

    (void)state;
    assert_int_equal(open_two(1000, &listeners), EX_UNAVAILABLE);
    assert_int_equal(listeners.count, 0);
    assert_between(binding.calls, 20, 100);
}

enum { SOCKETS = 3 };

/* Which of as many sockets are for TLS with these names, a letter for each. */
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
        assert_int_equal(fd, first + i); /* the lowest that is free, and all are from there on */
    }
    assert_int_equal(listeners_inherit(first, SOCKETS, names, &listeners), 0);
    assert_int_equal(listeners.count, SOCKETS);
    assert_true(listeners.inherited);
    for (int i = 0; i < SOCKETS; i++)
        letters[i] = listeners.list[i].is_tls ? 't' : '-';
    listeners_close(&listeners);
    return letters;
}

static void test_name_says_which_is_for_tls(void **state)
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
        cmocka_unit_test(test_another_port_is_tried),
        cmocka_unit_test(test_not_for_ever),
        cmocka_unit_test(test_name_says_which_is_for_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
