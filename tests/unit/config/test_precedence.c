/*
 * Where a value comes from: the command line, the file or the default; and the options that are
 * not settings.
 */
#include "unit/config/read_settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_defaults(void **state)
{
    static const char *const none[] = {NULL};

    (void)state;
    assert_int_equal(read_arguments(none), SETTINGS_OK);
    const struct settings *settings = outcome.settings;
    assert_int_equal(settings->listen.port, 8080);
    assert_null(settings->listen.address);
    assert_null(settings->listen.unix_path);
    assert_int_equal(settings->listen.unix_mode, 0660);
    assert_int_equal(settings->max_connections, 10000);
    assert_int_equal(settings->max_connections_per_address, 0);
    assert_int_equal(settings->max_concurrent_streams, 128);
    assert_int_equal(settings->max_header_list_size, 65536);
    assert_int_equal(settings->header_timeout, 10000);
    assert_int_equal(settings->idle_timeout, 300000);
    assert_int_equal(settings->stream_timeout, 30000);
    assert_int_equal(settings->write_timeout, 30000);
    assert_int_equal(settings->drain_timeout, 10000);
    assert_true(settings->upgrade);
    assert_int_equal(settings->log_level, LOG_LEVEL_INFO);
    assert_int_equal(settings->trace, TRACE_OFF);
    assert_int_equal(settings->access_log, ACCESS_LOG_OFF);
    assert_false(settings->pretty);
    assert_null(settings->config);
    assert_false(settings->check_config);
    assert_false(settings->dump_config);
    assert_null(settings->probe);
    assert_false(settings->version);
    assert_false(settings->help);
}

static void test_precedence_of_every_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_key_count; i++) {
        char line[128];
        char option[128];
        char path[PATH_BYTES];

        (void)snprintf(line, sizeof line, "%s = %s\n", config_keys[i].name, config_keys[i].in_file);
        (void)snprintf(option, sizeof option, "--%s=%s", config_keys[i].name,
                       config_keys[i].on_command_line);
        make_file(line, strlen(line), path);
        assert_int_equal(READ("-c", path, "--dump-config"), SETTINGS_OK);
        assert_dumped(config_keys[i].name, config_keys[i].in_file);
        assert_int_equal(READ(option, "--dump-config"), SETTINGS_OK);
        assert_dumped(config_keys[i].name, config_keys[i].on_command_line);
        assert_int_equal(READ(option, "-c", path, "--dump-config"), SETTINGS_OK);
        assert_dumped(config_keys[i].name, config_keys[i].on_command_line);
        assert_int_equal(READ("-c", path, option, "--dump-config"), SETTINGS_OK);
        assert_dumped(config_keys[i].name, config_keys[i].on_command_line);
        (void)unlink(path);
    }
}

static void test_command_line_overrides_a_switch_in_the_file(void **state)
{
    char path[PATH_BYTES];

    (void)state;
    make_file("pretty = on\n", 12, path);
    assert_int_equal(READ("-c", path, "--pretty=off"), SETTINGS_OK);
    assert_false(outcome.settings->pretty);
    (void)unlink(path);
}

static void test_overridden_value_in_the_file_is_still_checked(void **state)
{
    char path[PATH_BYTES];

    (void)state;
    make_file("port = abc\n", 11, path);
    (void)READ("-c", path, "-p", "80");
    assert_only_file_error(":1: port: 'abc' is not a number from 0 to 65535");
    (void)unlink(path);
}

static void test_addresses_are_listed_in_order(void **state)
{
    char path[PATH_BYTES];
    static const char text[] = "address = 10.0.0.1\naddress = 10.0.0.2\naddress = 10.0.0.3\n";

    (void)state;
    make_file(text, strlen(text), path);
    assert_int_equal(READ("-c", path), SETTINGS_OK);
    assert_string_equal(outcome.settings->listen.address[0], "10.0.0.1");
    assert_string_equal(outcome.settings->listen.address[1], "10.0.0.2");
    assert_string_equal(outcome.settings->listen.address[2], "10.0.0.3");
    assert_null(outcome.settings->listen.address[3]);
    assert_int_equal(READ("-a", "::1", "-c", path, "--address=::2"), SETTINGS_OK);
    assert_string_equal(outcome.settings->listen.address[0], "::1");
    assert_string_equal(outcome.settings->listen.address[1], "::2");
    assert_null(outcome.settings->listen.address[2]);
    (void)unlink(path);
}

static void test_short_options(void **state)
{
    (void)state;
    assert_int_equal(READ("-p81", "-a", "::1", "-t"), SETTINGS_OK);
    assert_int_equal(outcome.settings->listen.port, 81);
    assert_string_equal(outcome.settings->listen.address[0], "::1");
    assert_true(outcome.settings->check_config);
    assert_false(outcome.settings->dump_config);
    assert_int_equal(READ("-tV"), SETTINGS_OK);
    assert_true(outcome.settings->check_config);
    assert_true(outcome.settings->version);
    assert_int_equal(READ("-h"), SETTINGS_OK);
    assert_true(outcome.settings->help);
}

static void test_long_options_without_a_value(void **state)
{
    (void)state;
    assert_int_equal(READ("--check-config"), SETTINGS_OK);
    assert_true(outcome.settings->check_config);
    assert_int_equal(READ("--dump-config"), SETTINGS_OK);
    assert_true(outcome.settings->dump_config);
    assert_int_equal(READ("--version"), SETTINGS_OK);
    assert_true(outcome.settings->version);
    assert_int_equal(READ("--help"), SETTINGS_OK);
    assert_true(outcome.settings->help);
}

/* The operand of --probe may be anywhere, and any string is accepted here. */
static void test_probe(void **state)
{
    static const char *const lines[][5] = {
        {"--probe", "x:y", NULL},         {"x:y", "--probe", NULL},
        {"--probe", "--", "x:y", NULL},   {"--probe", "-p", "81", "x:y", NULL},
        {"x:y", "-p81", "--probe", NULL}, {"--probe", "--probe", "x:y", NULL},
        {"--pro", "x:y", NULL},
    };

    (void)state;
    assert_int_equal(READ("--probe"), SETTINGS_OK);
    assert_string_equal(outcome.settings->probe, "");
    assert_int_equal(READ("--probe", "--"), SETTINGS_OK);
    assert_string_equal(outcome.settings->probe, "");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(read_arguments(lines[i]), SETTINGS_OK);
        assert_string_equal(outcome.settings->probe, "x:y");
    }
    assert_int_equal(READ("--probe", "--", "-p"), SETTINGS_OK);
    assert_string_equal(outcome.settings->probe, "-p");
    assert_int_equal(outcome.settings->listen.port, 8080);
}

static void test_last_of_the_same_option_wins(void **state)
{
    (void)state;
    assert_int_equal(READ("-p", "1", "--port", "2", "--unix=a", "--unix=b"), SETTINGS_OK);
    assert_int_equal(outcome.settings->listen.port, 2);
    assert_string_equal(outcome.settings->listen.unix_path, "b");
}

static void test_verbosity_changes_the_log_level(void **state)
{
    char path[PATH_BYTES];

    (void)state;
    make_file("log-level = warning\n", 20, path);
    assert_int_equal(READ("-v"), SETTINGS_OK);
    assert_int_equal(outcome.settings->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(READ("-q"), SETTINGS_OK);
    assert_int_equal(outcome.settings->log_level, LOG_LEVEL_NOTICE);
    assert_int_equal(READ("-qq", "--quiet", "--verbose"), SETTINGS_OK);
    assert_int_equal(outcome.settings->log_level, LOG_LEVEL_WARNING);
    assert_int_equal(READ("-vv"), SETTINGS_OK);
    assert_int_equal(outcome.settings->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(READ("-qqqqqqqqq"), SETTINGS_OK);
    assert_int_equal(outcome.settings->log_level, LOG_LEVEL_ERROR);
    assert_int_equal(READ("-v", "-c", path), SETTINGS_OK);
    assert_int_equal(outcome.settings->log_level, LOG_LEVEL_NOTICE);
    assert_int_equal(READ("-v", "-c", path, "--log-level=error"), SETTINGS_OK);
    assert_int_equal(outcome.settings->log_level, LOG_LEVEL_WARNING);
    (void)unlink(path);
}

/* One --verbose traces frames, two trace fields; neither lowers the trace that is set. */
static void test_verbosity_raises_the_trace(void **state)
{
    static const struct {
        const char *arguments[3];
        uint64_t trace;
    } cases[] = {
        {{"-v"}, TRACE_FRAMES},
        {{"-vv"}, TRACE_FIELDS},
        {{"-vvv"}, TRACE_FIELDS},
        {{"-q"}, TRACE_OFF},
        {{"-qv"}, TRACE_OFF},
        {{"-vvq"}, TRACE_FRAMES},
        {{"--log-level=debug"}, TRACE_OFF},
        {{"--trace=fields", "-v"}, TRACE_FIELDS},
        {{"--trace=fields", "-qq"}, TRACE_FIELDS},
        {{"-v", "--trace=off"}, TRACE_FRAMES},
    };
    char path[PATH_BYTES];

    (void)state;
    make_file("trace = fields\n", 15, path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(read_arguments(cases[i].arguments), SETTINGS_OK);
        assert_int_equal(outcome.settings->trace, cases[i].trace);
    }
    assert_int_equal(READ("-v", "-c", path), SETTINGS_OK);
    assert_int_equal(outcome.settings->trace, TRACE_FIELDS);
    assert_int_equal(READ("-c", path, "--trace=off"), SETTINGS_OK);
    assert_int_equal(outcome.settings->trace, TRACE_OFF);
    (void)unlink(path);
}

static void test_reading_again_gives_the_same_result(void **state)
{
    char *first = NULL;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(READ("-vp", "82", "--pretty", "-a", "::1"), SETTINGS_OK);
        char *dump = dump_of(outcome.settings);
        if (first == NULL)
            first = strdup(dump);
        assert_string_equal(dump, first);
        free(dump);
        assert_int_equal(READ("--bogus", "-p"), SETTINGS_BAD_USAGE);
        assert_int_equal(outcome.count, 2);
    }
    free(first);
}

static void test_no_arguments_at_all(void **state)
{
    char *argv[] = {NULL};

    (void)state;
    outcome_clear();
    assert_int_equal(settings_read(0, argv, keep_error, &outcome, &outcome.settings), SETTINGS_OK);
    assert_int_equal(outcome.settings->listen.port, 8080);
}

#define TEST(function) cmocka_unit_test_teardown(function, outcome_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_precedence_of_every_key),
        TEST(test_command_line_overrides_a_switch_in_the_file),
        TEST(test_overridden_value_in_the_file_is_still_checked),
        TEST(test_addresses_are_listed_in_order),
        TEST(test_short_options),
        TEST(test_long_options_without_a_value),
        TEST(test_probe),
        TEST(test_last_of_the_same_option_wins),
        TEST(test_verbosity_changes_the_log_level),
        TEST(test_verbosity_raises_the_trace),
        TEST(test_reading_again_gives_the_same_result),
        TEST(test_no_arguments_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
