/*
 * The syntax of the file, errors in it, and files that can't be read.
 */
#include "unit/config/read_settings.h"

#include <unistd.h>

static void test_white_space_and_comments(void **state)
{
    static const char *const texts[] = {
        "port=81",           "port = 81",
        "port = 81\n",       "\t port\t =\t81 \t\n",
        "port = 81\r\n",     "# port = 1\n\n   \n  # x = y\nport = 81 # why\n#last",
        "port = 81\t#why\n", "port = 81 #\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(read_text(texts[i]), SETTINGS_OK);
        assert_int_equal(outcome.settings->listen.port, 81);
    }
    assert_int_equal(read_text(""), SETTINGS_OK);
    assert_int_equal(read_text("unix = /tmp/a#b # c\n"), SETTINGS_OK);
    assert_string_equal(outcome.settings->listen.unix_path, "/tmp/a#b");
    assert_int_equal(read_text("unix = a=b\n"), SETTINGS_OK);
    assert_string_equal(outcome.settings->listen.unix_path, "a=b");
}

static void test_errors_of_the_file(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"port = abc", ":1: port: 'abc' is not a number from 0 to 65535"},
        {"\n\nport = abc\n", ":3: port: 'abc' is not a number from 0 to 65535"},
        {"port =", ":1: port: '' is not a number from 0 to 65535"},
        {"port = # 80", ":1: port: '' is not a number from 0 to 65535"},
        {"port = 80#80", ":1: port: '80#80' is not a number from 0 to 65535"},
        {"port = 8\0330", ":1: port: '8\\x1b0' is not a number from 0 to 65535"},
        {"prot = 80", ":1: unknown key 'prot': did you mean 'port'?"},
        {"max-connection = 80",
         ":1: unknown key 'max-connection': did you mean 'max-connections'?"},
        {"Port = 80", ":1: unknown key 'Port': did you mean 'port'?"},
        {"xyz = 80", ":1: unknown key 'xyz': h2echod --help lists the keys"},
        {"= 80", ":1: unknown key '': h2echod --help lists the keys"},
        {"p = 80", ":1: unknown key 'p': h2echod --help lists the keys"},
        {"x\377\001 = 80", ":1: unknown key 'x\\xff\\x01': h2echod --help lists the keys"},
        {"hel = 1", ":1: unknown key 'hel': h2echod --help lists the keys"},
        {"config = f", ":1: unknown key 'config': this option is for the command line only"},
        {"verbose = 1", ":1: unknown key 'verbose': this option is for the command line only"},
        {"port 80", ":1: 'port 80' has no '=': write key = value"},
        {"port\t80 # = 1", ":1: 'port\\x0980' has no '=': write key = value"},
        {"port = 1\n\nport = 2\n", ":3: port: already set in line 1: keep only one of them"},
        {"pretty = on\npretty = on\n", ":2: pretty: already set in line 1: keep only one of them"},
        {"pretty =\n", ":1: pretty: '' is not on or off"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)read_text(cases[i].text);
        assert_only_file_error(cases[i].error);
    }
}

static void test_length_of_a_line(void **state)
{
    char text[4096 + 64];

    (void)state;
    (void)snprintf(text, sizeof text, "%-4096s\nunix = a", "port = 81");
    assert_int_equal(read_text(text), SETTINGS_OK);
    assert_int_equal(outcome.settings->listen.port, 81);
    assert_string_equal(outcome.settings->listen.unix_path, "a");
    (void)snprintf(text, sizeof text, "%-4097s\nunix =", "port = 81");
    (void)read_text(text);
    assert_int_equal(outcome.result, SETTINGS_BAD_FILE);
    assert_int_equal(outcome.count, 2);
    assert_file_error(0, ":1: the line is too long: it has 4097 bytes, the limit is 4096");
    assert_file_error(1, ":2: unix: '' is not a path of 1 to 107 bytes");
    assert_int_equal(read_bytes(text, 4096), SETTINGS_OK);
    (void)read_bytes(text, 4097);
    assert_only_file_error(":1: the line is too long: it has 4097 bytes, the limit is 4096");
}

static void test_nul_byte(void **state)
{
    static const char *const texts[] = {"\nport = 80\0001\n", "\n\0\n", "\n# comment\0", "\n\0"};
    static const size_t lengths[] = {13, 3, 11, 2};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        (void)read_bytes(texts[i], lengths[i]);
        assert_only_file_error(":2: the line contains a NUL byte: the file must be text");
    }
}

static void assert_unreadable(const char *name, const char *error)
{
    (void)READ("-c", name);
    assert_int_equal(outcome.result, SETTINGS_BAD_FILE);
    assert_int_equal(outcome.count, 1);
    assert_string_equal(outcome.errors[0], error);
}

static void test_file_that_cannot_be_read(void **state)
{
    (void)state;
    assert_unreadable("conf",
                      "conf: can't be read: Is a directory; name a regular file that may be read");
    assert_unreadable(
        "/dev/zero",
        "/dev/zero: can't be read: Invalid argument; name a regular file that may be read");
    assert_unreadable("no/such/file", "no/such/file: can't be read: No such file or directory; "
                                      "name a regular file that may be read");
    assert_unreadable("no\nsuch", "no\\x0asuch: can't be read: No such file or directory; name a "
                                  "regular file that may be read");
    assert_unreadable(SHIPPED_FILE "/x", SHIPPED_FILE
                      "/x: can't be read: Not a directory; name a regular file that may be read");
    /* It can be opened, but not read, since nothing is mapped at address 0. */
    if (access("/proc/self/mem", R_OK) == 0)
        assert_unreadable("/proc/self/mem", "/proc/self/mem: can't be read: Input/output error; "
                                            "name a regular file that may be read");
}

static int lowest_free_descriptor(void)
{
    int descriptor = dup(STDERR_FILENO);

    assert_true(descriptor >= 0);
    (void)close(descriptor);
    return descriptor;
}

static void test_file_is_closed(void **state)
{
    const int before = lowest_free_descriptor();

    (void)state;
    assert_int_equal(READ("-c", SHIPPED_FILE), SETTINGS_OK);
    assert_int_equal(READ("-c", "conf"), SETTINGS_BAD_FILE);
    assert_int_equal(read_text("port = x\n"), SETTINGS_BAD_FILE);
    assert_int_equal(lowest_free_descriptor(), before);
}

static void test_help_and_version_need_no_file(void **state)
{
    static const char *const options[] = {"-h", "-V", "--help", "--version"};

    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        assert_int_equal(READ("-c", "no/such/file", options[i]), SETTINGS_OK);
        assert_int_equal(READ(options[i], "-c", "no/such/file"), SETTINGS_OK);
        assert_string_equal(outcome.settings->config, "no/such/file");
    }
    assert_int_equal(READ("-t", "-c", "no/such/file"), SETTINGS_BAD_FILE);
}

#define TEST(function) cmocka_unit_test_teardown(function, outcome_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_white_space_and_comments),
        TEST(test_errors_of_the_file),
        TEST(test_length_of_a_line),
        TEST(test_nul_byte),
        TEST(test_file_that_cannot_be_read),
        TEST(test_file_is_closed),
        TEST(test_help_and_version_need_no_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
