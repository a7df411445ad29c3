/* Messages to a service manager, which is a socket of the test's, and sockets from one. */
#include "daemon/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const variables[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                        "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};

static void set_pid(const char *name, long pid)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%ld", pid);
    assert_int_equal(setenv(name, text, 1), 0);
}

static int clear_variables(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    return 0;
}

static void assert_variables_removed(void)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        assert_null(getenv(variables[i]));
}

/* --- Notifications --- */

/* Bind a socket to a path, or to an abstract name that begins with '@'. */
static int manager_open(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
                     0);
    return fd;
}

static void assert_received(int manager, const char *message)
{
    char got[256];
    ssize_t length = recv(manager, got, sizeof(got), 0);

    assert_int_equal(length, strlen(message));
    assert_memory_equal(got, message, strlen(message));
}

static void check_notifications(const char *name)
{
    int manager = manager_open(name);
    struct notify notify;

    setenv("NOTIFY_SOCKET", name, 1);
    notify_open(&notify);
    assert_variables_removed();
    assert_true(notify_send(&notify, "READY=1\nSTATUS=words"));
    assert_received(manager, "READY=1\nSTATUS=words");
    assert_int_equal(notify.watchdog_us, 0);
    assert_int_equal(fcntl(notify.fd, F_GETFD), FD_CLOEXEC);
    notify_close(&notify);
    assert_true(notify_send(&notify, "READY=1"));
    assert_int_equal(recv(manager, &notify, sizeof(notify), 0), -1);
    close(manager);
}

static void test_path(void **state)
{
    char directory[] = "/tmp/h2echod-XXXXXX";
    char path[64];

    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/notify", directory);
    check_notifications(path);
    unlink(path);
    rmdir(directory);
}

/* An abstract name ends where the address does: with NUL bytes after it, it would be another. */
static void test_abstract_name(void **state)
{
    char name[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
    int length = snprintf(name, sizeof(name), "@h2echod-test-%ld", (long)getpid());

    (void)state;
    check_notifications(name);
    memset(name + length, 'x', sizeof(name) - (size_t)length);
    name[sizeof(name) - 1] = '\0';
    check_notifications(name); /* the longest name */
}

static void test_no_socket(void **state)
{
    struct notify notify;

    (void)state;
    notify_open(&notify);
    assert_int_equal(notify.fd, -1);
    assert_true(notify_send(&notify, "READY=1"));
    notify_close(&notify);
}

static void test_bad_names(void **state)
{
    char too_long[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
    const char *const names[] = {"", "/", "@", "relative", "vsock:2:1234", too_long};
    struct notify notify;

    (void)state;
    memset(too_long, 'x', sizeof(too_long) - 1);
    too_long[0] = '/';
    too_long[sizeof(too_long) - 1] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify_open(&notify);
        assert_int_equal(notify.fd, -1);
        assert_variables_removed();
    }
}

static void test_missing_socket(void **state)
{
    struct notify notify;

    (void)state;
    setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    notify_open(&notify);
    assert_false(notify_send(&notify, "READY=1"));
    assert_int_equal(errno, ENOENT);
    notify_close(&notify);
}

/* A manager that does not read blocks the daemon for a second at most. */
static void test_full_queue(void **state)
{
    struct notify notify;
    struct timeval timeout;
    socklen_t size = sizeof(timeout);
    char name[64];
    int manager;

    (void)state;
    (void)snprintf(name, sizeof(name), "@h2echod-full-%ld", (long)getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    manager = manager_open(name);
    notify_open(&notify);
    assert_int_equal(getsockopt(notify.fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, &size), 0);
    assert_int_equal(timeout.tv_sec, 1);
    timeout = (struct timeval){.tv_usec = 1};
    assert_int_equal(setsockopt(notify.fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, size), 0);
    while (notify_send(&notify, "WATCHDOG=1"))
        ;
    assert_int_equal(errno, EAGAIN);
    notify_close(&notify);
    close(manager);
}

static int64_t open_with_watchdog(const char *usec, long pid)
{
    struct notify notify;

    setenv("WATCHDOG_USEC", usec, 1);
    if (pid != 0)
        set_pid("WATCHDOG_PID", pid);
    notify_open(&notify);
    assert_variables_removed();
    return notify.watchdog_us;
}

static void test_watchdog(void **state)
{
    (void)state;
    assert_int_equal(open_with_watchdog("20000000", 0), 20000000);
    assert_int_equal(open_with_watchdog("20000000", getpid()), 20000000);
    assert_int_equal(open_with_watchdog("20000000", getpid() + 1), 0);
    assert_int_equal(open_with_watchdog("0", 0), 0);
    assert_int_equal(open_with_watchdog("-5", 0), 0);
    assert_int_equal(open_with_watchdog("20s", 0), 0);
    assert_int_equal(open_with_watchdog("99999999999999999999", 0), 0);
}

/* --- Sockets from the service manager --- */

/* Call notify_take_sockets with LISTEN_FDS=${fds}, LISTEN_PID=${pid} (0 = unset) and
 * LISTEN_FDNAMES=
 * ${given} (NULL = unset). Return the number of sockets, or the negative exit code. */
static int take_sockets_with_names(const char *fds, long pid, const char *given)
{
    char *names;
    int first;
    size_t count;
    int result;

    setenv("LISTEN_FDS", fds, 1);
    if (given != NULL)
        setenv("LISTEN_FDNAMES", given, 1);
    if (pid != 0)
        set_pid("LISTEN_PID", pid);
    result = notify_take_sockets(&first, &count, &names);
    assert_variables_removed();
    assert_int_equal(first, 3);
    if (names != NULL) {
        assert_non_null(given);
        assert_string_equal(names, given);
        assert_true(count > 0);
    } else {
        assert_true(given == NULL || count == 0);
    }
    free(names);
    return result == 0 ? (int)count : -result;
}

static int take_sockets(const char *fds, long pid)
{
    return take_sockets_with_names(fds, pid, NULL);
}

static void test_sockets_are_for_one_process(void **state)
{
    (void)state;
    assert_int_equal(take_sockets("1", 0), 0);
    assert_int_equal(take_sockets("1", getpid() + 1), 0);
    unsetenv("LISTEN_FDS");
    assert_int_equal(take_sockets("x", getpid() + 1), 0);
}

/* The test needs the descriptors 3 and 4; if they are open, they are moved away meanwhile. */
static int moved[2];

static int open_two(void **state)
{
    (void)clear_variables(state);
    for (int i = 0; i < 2; i++) {
        moved[i] = fcntl(3 + i, F_DUPFD_CLOEXEC, 10);
        assert_true(dup2(STDERR_FILENO, 3 + i) >= 0);
        assert_int_equal(fcntl(3 + i, F_GETFD), 0);
    }
    return 0;
}

static int close_two(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        close(3 + i);
        if (moved[i] >= 0) {
            dup2(moved[i], 3 + i);
            close(moved[i]);
        }
    }
    return 0;
}

static void test_sockets_are_closed_on_exec(void **state)
{
    (void)state;
    assert_int_equal(take_sockets("2", getpid()), 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fcntl(3 + i, F_GETFD), FD_CLOEXEC);
}

static void test_number_of_names(void **state)
{
    static const char *const good[] = {"http:tls", ":", "tls:", "h2echod.socket:tls"};
    static const char *const bad[] = {"", "tls", "http:tls:", "::"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(take_sockets_with_names("2", getpid(), good[i]), 2);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(take_sockets_with_names("2", getpid(), bad[i]), -78);
    assert_int_equal(take_sockets_with_names("1", getpid(), ""), 1);
    assert_int_equal(take_sockets_with_names("2", getpid() + 1, "tls"),
                     0); /* for another process */
}

static void test_bad_sockets(void **state)
{
    static const char *const counts[] = {"0", "-1", "two", "1 ", "", "1025", "4294967297"};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        assert_int_equal(take_sockets(counts[i], getpid()), -78);
    assert_int_equal(take_sockets("1000", getpid()), -78); /* they are not all open */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_path, clear_variables),
        cmocka_unit_test_setup(test_abstract_name, clear_variables),
        cmocka_unit_test_setup(test_no_socket, clear_variables),
        cmocka_unit_test_setup(test_bad_names, clear_variables),
        cmocka_unit_test_setup(test_missing_socket, clear_variables),
        cmocka_unit_test_setup(test_full_queue, clear_variables),
        cmocka_unit_test_setup(test_watchdog, clear_variables),
        cmocka_unit_test_setup(test_sockets_are_for_one_process, clear_variables),
        cmocka_unit_test_setup_teardown(test_sockets_are_closed_on_exec, open_two, close_two),
        cmocka_unit_test_setup_teardown(test_number_of_names, open_two, close_two),
        cmocka_unit_test_setup(test_bad_sockets, clear_variables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
