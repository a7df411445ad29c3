/*
 * Values of each type: what is accepted, how it is written back, and the error for what is not.
 */
#include "unit/config/read_settings.h"

#include <string.h>
#include <sys/un.h>

/* A value, and how a dump writes it; NULL = it is not valid. */
struct value {
    const char *text;
    const char *canonical;
};

static void read_on_command_line(const char *name, const char *text)
{
    char option[512];

    (void)snprintf(option, sizeof option, "--%s=%s", name, text);
    (void)READ(option);
}

static void read_in_file(const char *name, const char *text)
{
    char line[512];

    (void)snprintf(line, sizeof line, "# first\n%s = %s\n", name, text);
    (void)read_text(line);
}

/* Read each value from the command line and from the file. The error of those that are not valid
 * ends in "is not ${expected}". */
static void check_values(const char *name, const char *expected, const struct value *values)
{
    char message[SETTINGS_ERROR_MAX];

    for (; values->text != NULL; values++) {
        read_on_command_line(name, values->text);
        if (values->canonical != NULL) {
            assert_int_equal(outcome.result, SETTINGS_OK);
            assert_dumped(name, values->canonical);
            read_in_file(name, values->text);
            assert_int_equal(outcome.result, SETTINGS_OK);
            assert_dumped(name, values->canonical);
            continue;
        }
        (void)snprintf(message, sizeof message, "--%s: '%s' is not %s", name, values->text,
                       expected);
        assert_only_error(message);
        read_in_file(name, values->text);
        (void)snprintf(message, sizeof message, ":2: %s: '%s' is not %s", name, values->text,
                       expected);
        assert_only_file_error(message);
    }
}

static void test_numbers(void **state)
{
    static const struct value ports[] = {{"0", "0"},
                                         {"1", "1"},
                                         {"8080", "8080"},
                                         {"0080", "80"},
                                         {"65535", "65535"},
                                         {"65536", NULL},
                                         {"-1", NULL},
                                         {"+1", NULL},
                                         {"", NULL},
                                         {"abc", NULL},
                                         {"80x", NULL},
                                         {"0x50", NULL},
                                         {"8 0", NULL},
                                         {"8.0", NULL},
                                         {"18446744073709551615", NULL},
                                         {"18446744073709551616", NULL},
                                         {"18446744073709551617", NULL},
                                         {"99999999999999999999999999999999", NULL},
                                         {NULL, NULL}};
    static const struct value connections[] = {{"0", NULL},          {"1", "1"},
                                               {"999999", "999999"}, {"1000000", "1000000"},
                                               {"1000001", NULL},    {NULL, NULL}};
    static const struct value per_address[] = {
        {"0", "0"}, {"1", "1"}, {"1000000", "1000000"}, {"1000001", NULL}, {NULL, NULL}};
    static const struct value streams[] = {
        {"0", NULL}, {"1", "1"}, {"65535", "65535"}, {"65536", NULL}, {NULL, NULL}};

    (void)state;
    check_values("port", "a number from 0 to 65535", ports);
    check_values("max-connections", "a number from 1 to 1000000", connections);
    check_values("max-connections-per-address", "a number from 0 to 1000000", per_address);
    check_values("max-concurrent-streams", "a number from 1 to 65535", streams);
}

static void test_octal_numbers(void **state)
{
    static const struct value values[] = {{"0", "0000"},
                                          {"0000", "0000"},
                                          {"1", "0001"},
                                          {"660", "0660"},
                                          {"0660", "0660"},
                                          {"0777", "0777"},
                                          {"1000", NULL},
                                          {"01000", NULL},
                                          {"8", NULL},
                                          {"0680", NULL},
                                          {"rw", NULL},
                                          {"", NULL},
                                          {"0o660", NULL},
                                          {"-1", NULL},
                                          {"2000000000000000000000", NULL},
                                          {"7777777777777777777777777", NULL},
                                          {NULL, NULL}};

    (void)state;
    check_values("unix-mode", "an octal number from 0000 to 0777", values);
}

static void test_sizes(void **state)
{
    static const struct value values[] = {{"1024", "1KiB"},
                                          {"1KiB", "1KiB"},
                                          {"1K", "1KiB"},
                                          {"1023", NULL},
                                          {"1500", "1500"},
                                          {"64 KiB", "64KiB"},
                                          {"64 K", "64KiB"},
                                          {"1024K", "1MiB"},
                                          {"1M", "1MiB"},
                                          {"16MiB", "16MiB"},
                                          {"16777216", "16MiB"},
                                          {"16777217", NULL},
                                          {"17MiB", NULL},
                                          {"16385K", NULL},
                                          {"0", NULL},
                                          {"", NULL},
                                          {"KiB", NULL},
                                          {"64kib", NULL},
                                          {"64KB", NULL},
                                          {"64KiB x", NULL},
                                          {"-64KiB", NULL},
                                          {"1.5KiB", NULL},
                                          {"99999999999999999999999K", NULL},
                                          {"18014398509481984K", NULL},
                                          {"18014398509481985K", NULL},
                                          {"17592186044417M", NULL},
                                          {NULL, NULL}};

    (void)state;
    check_values("max-header-list-size", "a size from 1KiB to 16MiB", values);
}

static void test_durations(void **state)
{
    static const struct value values[] = {{"100ms", "100ms"},
                                          {"99ms", NULL},
                                          {"500 ms", "500ms"},
                                          {"1", "1s"},
                                          {"10s", "10s"},
                                          {"1000ms", "1s"},
                                          {"1500ms", "1500ms"},
                                          {"60", "1m"},
                                          {"90", "90s"},
                                          {"300s", "5m"},
                                          {"5 m", "5m"},
                                          {"60m", "1h"},
                                          {"24h", "24h"},
                                          {"86400", "24h"},
                                          {"86400000ms", "24h"},
                                          {"86400001ms", NULL},
                                          {"86401", NULL},
                                          {"1441m", NULL},
                                          {"25h", NULL},
                                          {"0", NULL},
                                          {"0s", NULL},
                                          {"", NULL},
                                          {"s", NULL},
                                          {"10 sec", NULL},
                                          {"10S", NULL},
                                          {"1d", NULL},
                                          {"0.5s", NULL},
                                          {"-1s", NULL},
                                          {"1s2", NULL},
                                          {"99999999999999999999h", NULL},
                                          {"18446744073709552s", NULL},
                                          {"5124095576030432h", NULL},
                                          {NULL, NULL}};
    static const char *const names[] = {"header-timeout", "idle-timeout", "stream-timeout",
                                        "write-timeout", "drain-timeout"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        check_values(names[i], "a time from 100ms to 24h", values);
}

static void test_choices(void **state)
{
    static const struct value levels[] = {
        {"error", "error"}, {"warning", "warning"}, {"notice", "notice"}, {"info", "info"},
        {"debug", "debug"}, {"Info", NULL},         {"warn", NULL},       {"", NULL},
        {"6", NULL},        {"infos", NULL},        {NULL, NULL}};
    static const struct value formats[] = {{"off", "off"}, {"text", "text"}, {"json", "json"},
                                           {"on", NULL},   {"JSON", NULL},   {"", NULL},
                                           {NULL, NULL}};
    static const struct value traces[] = {{"off", "off"},       {"frames", "frames"},
                                          {"fields", "fields"}, {"on", NULL},
                                          {"", NULL},           {NULL, NULL}};

    (void)state;
    check_values("trace", "one of off, frames, fields", traces);
    check_values("log-level", "one of error, warning, notice, info, debug", levels);
    check_values("access-log", "one of off, text, json", formats);
}

static void test_switches(void **state)
{
    static const struct value values[] = {{"on", "on"},   {"yes", "on"},   {"true", "on"},
                                          {"off", "off"}, {"no", "off"},   {"false", "off"},
                                          {"1", NULL},    {"0", NULL},     {"On", NULL},
                                          {"", NULL},     {"maybe", NULL}, {NULL, NULL}};

    (void)state;
    check_values("pretty", "on or off", values);
    assert_int_equal(READ("--pretty"), SETTINGS_OK);
    assert_true(outcome.settings->pretty);
    assert_int_equal(READ("--pretty", "--pretty=off"), SETTINGS_OK);
    assert_false(outcome.settings->pretty);
}

/* Return a string of ${length} times 'x'. */
static const char *string_of_length(size_t length)
{
    static char text[512];

    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

static void test_paths(void **state)
{
    const size_t max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    static const struct value values[] = {{"/run/h2echod.sock", "/run/h2echod.sock"},
                                          {"relative.sock", "relative.sock"},
                                          {"with space#and hash", "with space#and hash"},
                                          {"a=b", "a=b"},
                                          {"\xc3\xa9", "\xc3\xa9"},
                                          {"", NULL},
                                          {NULL, NULL}};

    (void)state;
    check_values("unix", "a path of 1 to 107 bytes", values);
    read_on_command_line("unix", string_of_length(max));
    assert_int_equal(outcome.result, SETTINGS_OK);
    assert_string_equal(outcome.settings->listen.unix_path, string_of_length(max));
    read_on_command_line("unix", string_of_length(max + 1));
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_non_null(strstr(outcome.errors[0], "x' is not a path of 1 to 107 bytes"));
    read_in_file("unix", string_of_length(max));
    assert_int_equal(outcome.result, SETTINGS_OK);
    read_in_file("unix", string_of_length(max + 1));
    assert_int_equal(outcome.result, SETTINGS_BAD_FILE);
}

static void test_addresses(void **state)
{
    static const struct value values[] = {{"127.0.0.1", "127.0.0.1"},
                                          {"::1", "::1"},
                                          {"fe80::1%lo", "fe80::1%lo"},
                                          {"", NULL},
                                          {NULL, NULL}};

    (void)state;
    check_values("address", "an address of 1 to 255 bytes", values);
    read_on_command_line("address", string_of_length(255));
    assert_int_equal(outcome.result, SETTINGS_OK);
    read_on_command_line("address", string_of_length(256));
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
}

/* In a dump they would be read back as something else. */
static void test_strings_that_the_file_cannot_hold(void **state)
{
    static const char *const texts[] = {"a\nport = 1", "a\tb", "a\r",  " a",
                                        "a ",          "#a",   "a #b", "\177"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(READ("--unix", texts[i]), SETTINGS_BAD_USAGE);
        assert_int_equal(outcome.count, 1);
        assert_non_null(strstr(outcome.errors[0],
                               "is not a value that a configuration file can hold: remove "
                               "control characters, spaces at either end, and any "
                               "'#' at the start or after a space"));
        assert_int_equal(READ("--address", texts[i]), SETTINGS_BAD_USAGE);
    }
    assert_int_equal(READ("--unix", "a\nb"), SETTINGS_BAD_USAGE);
    assert_int_equal(strncmp(outcome.errors[0], "--unix: 'a\\x0ab' is not a value", 31), 0);
    assert_int_equal(read_text("unix =#a\n"), SETTINGS_BAD_FILE);
    assert_non_null(strstr(outcome.errors[0], ":1: unix: '#a' is not a value"));
}

#define TEST(function) cmocka_unit_test_teardown(function, outcome_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_numbers),
        TEST(test_octal_numbers),
        TEST(test_sizes),
        TEST(test_durations),
        TEST(test_choices),
        TEST(test_switches),
        TEST(test_paths),
        TEST(test_addresses),
        TEST(test_strings_that_the_file_cannot_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
