/*
 * Errors in the command line, and what they suggest.
 */
#include "unit/config/read_settings.h"
#include "unit/range.h"

#include <string.h>
#include <unistd.h>

static void test_errors_of_the_command_line(void **state)
{
    static const struct {
        const char *argument;
        const char *error;
    } cases[] = {
        {"--port=abc", "--port: 'abc' is not a number from 0 to 65535"},
        {"-pabc", "--port: 'abc' is not a number from 0 to 65535"},
        {"-p", "--port: the value is missing: write a number from 0 to 65535"},
        {"--port", "--port: the value is missing: write a number from 0 to 65535"},
        {"-c", "--config: the value is missing: write a path of 1 to 4095 bytes"},
        {"--config=", "--config: '' is not a path of 1 to 4095 bytes"},
        {"--help=me", "--help: takes no value after '=': write --help"},
        {"--quiet=1", "--quiet: takes no value after '=': write --quiet"},
        {"-x", "-x: unknown option: h2echod --help lists all options"},
        {"-\377", "-\\xff: unknown option: h2echod --help lists all options"},
        {"-:", "-:: unknown option: h2echod --help lists all options"},
        {"-?", "-?: unknown option: h2echod --help lists all options"},
        {"--prot", "--prot: unknown option: did you mean --port?"},
        {"--prot=80", "--prot: unknown option: did you mean --port?"},
        {"--max_connections=1",
         "--max_connections: unknown option: did you mean --max-connections?"},
        {"--halp", "--halp: unknown option: did you mean --help?"},
        {"--something", "--something: unknown option: h2echod --help lists all options"},
        {"--so\nme=x", "--so\\x0ame: unknown option: h2echod --help lists all options"},
        {"--max", "--max: several options begin like this: write the name in full"},
        {"--=x", "--: several options begin like this: write the name in full"},
        {"stray", "unexpected argument 'stray': settings are given as options, see h2echod --help"},
        {"-", "unexpected argument '-': settings are given as options, see h2echod --help"},
        {"", "unexpected argument '': settings are given as options, see h2echod --help"},
        {"\033[2J",
         "unexpected argument '\\x1b[2J': settings are given as options, see h2echod --help"},
        {"8080", "unexpected argument '8080': did you mean -p 8080?"},
        {"65536", "unexpected argument '65536': a port is a number from 0 to 65535, given with -p"},
        {"18446744073709551616",
         "unexpected argument '18446744073709551616': a port is a number from 0 to 65535, given "
         "with -p"},
        {"-8080", "-8080: unknown option: did you mean -p 8080?"},
        {"-65536", "-65536: unknown option: a port is a number from 0 to 65535, given with -p"},
        {":8080", "unexpected argument ':8080': did you mean -p 8080?"},
        {"*:8080", "unexpected argument '*:8080': did you mean -p 8080?"},
        {"localhost:8080",
         "unexpected argument 'localhost:8080': did you mean -a localhost -p 8080?"},
        {"127.0.0.1:80", "unexpected argument '127.0.0.1:80': did you mean -a 127.0.0.1 -p 80?"},
        {"[::1]:8080", "unexpected argument '[::1]:8080': did you mean -a ::1 -p 8080?"},
        {"a:b:80",
         "unexpected argument 'a:b:80': settings are given as options, see h2echod --help"},
        {"[]:80", "unexpected argument '[]:80': settings are given as options, see h2echod --help"},
        {"h:65536",
         "unexpected argument 'h:65536': settings are given as options, see h2echod --help"},
        {"\x1b:1", "unexpected argument '\\x1b:1': did you mean -a \\x1b -p 1?"},
        {"127.0.0.1", "unexpected argument '127.0.0.1': did you mean -a 127.0.0.1?"},
        {"::1", "unexpected argument '::1': did you mean -a ::1?"},
        {"localhost", "unexpected argument 'localhost': did you mean -a localhost?"},
        {"http://a:80/", "unexpected argument 'http://a:80/': did you mean --probe http://a:80/?"},
        {"a.conf", "unexpected argument 'a.conf': did you mean -c a.conf?"},
        {"/a.sock", "unexpected argument '/a.sock': did you mean --unix /a.sock?"},
        {"help", "unexpected argument 'help': did you mean --help?"},
        {"help=80",
         "unexpected argument 'help=80': settings are given as options, see h2echod --help"},
        {"prot=80", "unexpected argument 'prot=80': did you mean --port=80?"},
        {"--port=\"\\\001", "--port: '\\\"\\\\\\x01' is not a number from 0 to 65535"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)READ(cases[i].argument);
        assert_only_error(cases[i].error);
    }
}

/* Options that other daemons have for the background, or against it, get one advice. */
static void test_options_for_the_background(void **state)
{
    static const char *const options[] = {
        "-d",       "-D",     "--daemon",    "--daemonize", "--deamon",    "--background",
        "--detach", "--fork", "--daemon=on", "--no-daemon", "--foreground"};
    static const char advice[] = ": h2echod stays in the foreground: to run it in the background, "
                                 "use its systemd service, or end the command with '&'";
    char error[SETTINGS_ERROR_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        (void)READ(options[i]);
        (void)snprintf(error, sizeof error, "%.*s%s", (int)strcspn(options[i], "="), options[i],
                       advice);
        assert_only_error(error);
    }
    (void)READ("-dp80");
    (void)snprintf(error, sizeof error, "-d%s", advice);
    assert_only_error(error);
    (void)READ("daemon");
    (void)snprintf(error, sizeof error, "unexpected argument 'daemon'%s", advice);
    assert_only_error(error);
    assert_int_equal(read_text("daemonize = yes\n"), SETTINGS_BAD_FILE);
    (void)snprintf(error, sizeof error, ":1: unknown key 'daemonize'%s", advice);
    assert_file_error(0, error);
}

static void test_arguments_after_two_dashes(void **state)
{
    (void)state;
    (void)READ("--", "-p", "80");
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_int_equal(outcome.count, 2);
    assert_int_equal(strncmp(outcome.errors[0], "unexpected argument '-p'", 24), 0);
    assert_int_equal(strncmp(outcome.errors[1], "unexpected argument '80'", 24), 0);
    assert_int_equal(READ("-p", "80", "--"), SETTINGS_OK);
}

static void test_probe_takes_one_operand(void **state)
{
    (void)state;
    (void)READ("a", "--probe", "b");
    assert_only_error("unexpected argument 'b': settings are given as options, see h2echod --help");
    (void)READ("--probe", "a", "--", "b");
    assert_only_error("unexpected argument 'b': settings are given as options, see h2echod --help");
    (void)READ("--probe", "");
    assert_only_error("unexpected argument '': settings are given as options, see h2echod --help");
    (void)READ("--probe=a");
    assert_only_error("--probe: takes no value after '=': write --probe [URL]");
    (void)READ("-c", "--probe", "a");
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_string_equal(
        outcome.errors[0],
        "unexpected argument 'a': settings are given as options, see h2echod --help");
    assert_int_equal(read_text("probe = x\n"), SETTINGS_BAD_FILE);
    assert_file_error(0, ":1: unknown key 'probe': this option is for the command line only");
}

static void test_every_error_of_both_sources_is_reported(void **state)
{
    static const char text[] = "port = x\nbogus = 1\nno equals\nmax-connections = 0\n";
    char path[PATH_BYTES];

    (void)state;
    make_file(text, strlen(text), path);
    (void)READ("--port=y", "stray", "-c", path, "-z");
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_int_equal(outcome.count, 7);
    assert_string_equal(outcome.errors[0], "--port: 'y' is not a number from 0 to 65535");
    assert_int_equal(strncmp(outcome.errors[1], "unexpected argument 'stray'", 27), 0);
    assert_int_equal(strncmp(outcome.errors[2], "-z: unknown option", 18), 0);
    assert_file_error(3, ":1: port: 'x' is not a number from 0 to 65535");
    assert_file_error(4, ":2: unknown key 'bogus': h2echod --help lists the keys");
    assert_file_error(5, ":3: 'no equals' has no '=': write key = value");
    assert_file_error(6, ":4: max-connections: '0' is not a number from 1 to 1000000");
    (void)READ("-c", path);
    assert_int_equal(outcome.result, SETTINGS_BAD_FILE);
    assert_int_equal(outcome.count, 4);
    (void)unlink(path);
}

static void test_long_values_are_cut_in_errors(void **state)
{
    static char option[20000];

    (void)state;
    memset(option, '\001', sizeof option - 1);
    memcpy(option, "--port=", 7);
    (void)READ(option);
    assert_int_equal(outcome.count, 1);
    assert_non_null(strstr(outcome.errors[0], "...' is not a number from 0 to 65535"));
    memcpy(option, "--prt00", 7);
    (void)READ(option);
    assert_int_equal(outcome.count, 1);
    assert_non_null(
        strstr(outcome.errors[0], "...: unknown option: h2echod --help lists all options"));
    memset(option, '\001', 4000);
    option[4000] = '\0';
    (void)READ("-c", option);
    assert_int_equal(outcome.count, 1);
    assert_non_null(strstr(outcome.errors[0], "...: can't be read: File name too long"));
}

/* Write ${before}, ${count} times ${filling}, and ${after} into ${text}. */
static void write_repeated(char *text, const char *before, const char *filling, size_t count,
                           const char *after)
{
    char *end = stpcpy(text, before);

    for (size_t i = 0; i < count; i++)
        end = stpcpy(end, filling);
    (void)stpcpy(end, after);
}

/* A suggestion is shown whole, so that it can be typed, or not at all. */
static void test_suggestion_is_whole(void **state)
{
    static const struct {
        const char *argument[3]; /* the filling in the middle */
        const char *message[3];
    } cases[] = {
        {{"", "h", ":8080"}, {"-a ", "h", " -p 8080?"}},
        {{"[", "h", "]:8080"}, {"-a ", "h", " -p 8080?"}},
        {{"", "\n", ":8080"}, {"-a ", "\\x0a", " -p 8080?"}},
        {{"", "0", "1"}, {"-p ", "0", "1?"}},
        {{":", "0", "1"}, {"-p ", "0", "1?"}},
        {{"-", "0", "1"}, {"-p ", "0", "1?"}},
        {{"http://", "h", "/"}, {"--probe http://", "h", "/?"}},
        {{"/", "d", ".conf"}, {"-c /", "d", ".conf?"}},
        {{"/", "d", ".sock"}, {"--unix /", "d", ".sock?"}},
        {{"prot=", "0", "1"}, {"--port=", "0", "1?"}},
        {{"prot=", "\\", "1"}, {"--port=", "\\\\", "1?"}},
    };
    enum { COUNT_MAX = 300 };
    char argument[COUNT_MAX + 32];
    char suggestion[4 * COUNT_MAX + 32];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const *given = cases[i].argument, *const *shown = cases[i].message;
        size_t suggested = 0;
        for (size_t count = 1; count <= COUNT_MAX; count++) {
            write_repeated(argument, given[0], given[1], count, given[2]);
            write_repeated(suggestion, shown[0], shown[1], count, shown[2]);
            (void)READ(argument);
            assert_int_equal(outcome.count, 1);
            const char *words = strstr(outcome.errors[0], "did you mean ");
            if (words != NULL)
                assert_string_equal(words + strlen("did you mean "), suggestion);
            suggested += words != NULL;
        }
        assert_between(suggested, 1, COUNT_MAX - 1);
    }
}

#define TEST(function) cmocka_unit_test_teardown(function, outcome_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_errors_of_the_command_line),
        TEST(test_suggestion_is_whole),
        TEST(test_options_for_the_background),
        TEST(test_arguments_after_two_dashes),
        TEST(test_probe_takes_one_operand),
        TEST(test_every_error_of_both_sources_is_reported),
        TEST(test_long_values_are_cut_in_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
