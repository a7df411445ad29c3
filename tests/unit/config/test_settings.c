/*
 * Settings as a whole: conflicts between TLS settings, failing allocations, references, and what a
 * reload keeps.
 */
#include "unit/config/alloc.h"
#include "unit/config/read_settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_tls_port_is_a_number_or_off(void **state)
{
    (void)state;
    assert_int_equal(READ("--tls-port=0", "--dump-config"), SETTINGS_OK);
    assert_int_equal(outcome.settings->listen.tls_port, 0);
    assert_int_equal(READ("--tls-port=65535", "--dump-config"), SETTINGS_OK);
    assert_int_equal(outcome.settings->listen.tls_port, 65535);
    assert_int_equal(READ("--tls-port=off"), SETTINGS_OK);
    assert_int_equal(outcome.settings->listen.tls_port, LISTENER_NO_PORT);
    (void)READ("--tls-port=65536");
    assert_only_error("--tls-port: '65536' is not a number from 0 to 65535, or off");
}

static void test_conflicting_tls_settings(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } conflicts[] = {
        {"tls-port = 0\n",
         "tls-port: needs a certificate: name one with tls-cert, or use tls-self-signed"},
        {"tls-cert = a\ntls-self-signed = on\n",
         "tls-self-signed: tls-cert is set too: keep only one of them"},
        {"tls-key = a\n", "tls-key: needs a certificate: name one with tls-cert"},
        {"tls-self-signed = on\ntls-verify = required\n",
         "tls-verify: 'required' needs CA certificates: name their file with tls-client-ca"},
        {"tls-self-signed = on\nport = 443\ntls-port = 443\n",
         "tls-port: is the same as port: choose another number for one of them"},
        {"tls-self-signed = on\ntls-port = 8080\n",
         "tls-port: is the same as port: choose another number for one of them"},
    };

    (void)state;
    if (tls_library_version() == NULL)
        skip(); /* every setting of TLS is an error then */
    for (size_t i = 0; i < sizeof conflicts / sizeof conflicts[0]; i++) {
        assert_int_equal(read_text(conflicts[i].text), SETTINGS_BAD_FILE);
        assert_int_equal(outcome.count, 1);
        assert_string_equal(outcome.errors[0], conflicts[i].error);
        assert_int_equal(read_for_dump(conflicts[i].text), SETTINGS_OK);
    }
}

/* Make the first allocation fail, then the second, and so on. Return how many there were. */
static int fail_every_allocation(const char *path, bool all_later)
{
    for (int count = 0;; count++) {
        alloc_fail_after(count, all_later);
        enum settings_result result =
            READ("--config", path, "--unix=b", "--unix=c", "--pretty=maybe", "--probe", "url");
        alloc_succeed();
        if (!alloc_has_failed()) {
            assert_int_equal(result, SETTINGS_BAD_USAGE);
            return count;
        }
        assert_int_equal(result, SETTINGS_NO_MEMORY);
        size_t reports = 0;
        for (size_t i = 0; i < outcome.count; i++)
            reports += strncmp(outcome.errors[i], "out of memory ", 14) == 0;
        assert_int_equal(reports, 1);
    }
}

static void test_every_allocation_that_fails(void **state)
{
    static const char text[] = "address = ::1\naddress = ::2\nunix = a\n";
    char path[PATH_BYTES];

    (void)state;
    make_file(text, strlen(text), path);
    /* The name of the file, two strings, two addresses and their list. */
    assert_true(fail_every_allocation(path, false) > 6);
    assert_true(fail_every_allocation(path, true) > 6);
    (void)unlink(path);
}

static void test_no_memory_takes_precedence_over_other_errors(void **state)
{
    (void)state;
    alloc_fail_after(2, false); /* after the struct and the first path */
    (void)READ("--port=abc", "--unix=a", "--unix=b", "--unix=c");
    assert_int_equal(outcome.result, SETTINGS_NO_MEMORY);
    assert_int_equal(outcome.count, 2);
}

static void test_references(void **state)
{
    (void)state;
    assert_int_equal(READ("--unix=a", "-a", "::1"), SETTINGS_OK);
    struct settings *settings = outcome.settings;
    assert_ptr_equal(settings_ref(settings), settings);
    settings_unref(settings);
    assert_string_equal(settings->listen.unix_path, "a");
    settings_unref(NULL);
}

/* Read the settings of a running process, then those of a reload. Return the names that differ. */
static const char *reload(const char *const running_arguments[], const char *const arguments[])
{
    static char changed[128];

    assert_int_equal(read_arguments(running_arguments), SETTINGS_OK);
    struct settings *running = outcome.settings;
    outcome.settings = NULL;
    char *before = dump_of(running);
    assert_int_equal(read_arguments(arguments), SETTINGS_OK);
    assert_true(settings_keep_listening(outcome.settings, running, changed, sizeof changed));
    char *after = dump_of(outcome.settings);
    /* The settings that a reload keeps are the first ones in a dump. */
    const size_t kept = (size_t)(strstr(before, "\nmax-connections") - before);
    assert_true(strstr(before, "\nunix-mode") < before + kept);
    assert_int_equal(strncmp(after, before, kept), 0);
    free(before);
    free(after);
    settings_unref(running);
    return changed;
}

#define RELOAD_WITH(running, ...) reload(running, (const char *const[]){__VA_ARGS__, NULL})

static void test_reload_keeps_listening_settings(void **state)
{
    static const char *const running[] = {
        "-p", "80", "-a", "::1", "-a", "::2", "--unix", "old.sock", "--unix-mode=600", NULL};
    static const char *const bare[] = {"-p", "80", NULL};

    (void)state;
    assert_string_equal(RELOAD_WITH(running, "-p80", "-a", "::1", "-a", "::2", "--unix=old.sock",
                                    "--unix-mode=0600", "--pretty", "--max-connections=7"),
                        "");
    assert_true(outcome.settings->pretty);
    assert_int_equal(outcome.settings->max_connections, 7);
    assert_string_equal(RELOAD_WITH(running, "-t"), "port, address, unix, unix-mode");
    assert_string_equal(RELOAD_WITH(bare, "-p80", "-a", "::1"), "address");
    assert_null(outcome.settings->listen.address);
    assert_string_equal(RELOAD_WITH(bare, "-p80", "--unix=a"), "unix");
    assert_null(outcome.settings->listen.unix_path);
    assert_string_equal(RELOAD_WITH(bare, "-p80", "--unix-mode=1"), "unix-mode");
    assert_string_equal(RELOAD_WITH(bare, "-p80", "--reuse-port"), "reuse-port");
    assert_string_equal(RELOAD_WITH(bare, "-p81"), "port");
}

static void test_reload_compares_lists(void **state)
{
    static const char *const running[] = {"-a", "::1", "-a", "::2", NULL};

    (void)state;
    assert_string_equal(RELOAD_WITH(running, "-a", "::1", "-a", "::2"), "");
    assert_string_equal(RELOAD_WITH(running, "-a", "::2", "-a", "::1"), "address");
    assert_string_equal(RELOAD_WITH(running, "-a", "::1"), "address");
    assert_string_equal(RELOAD_WITH(running, "-a", "::1", "-a", "::2", "-a", "::3"), "address");
    assert_string_equal(outcome.settings->listen.address[1], "::2");
    assert_null(outcome.settings->listen.address[2]);
}

static void test_reload_cuts_the_list_of_names(void **state)
{
    char changed[8];

    (void)state;
    assert_int_equal(READ("-p80"), SETTINGS_OK);
    struct settings *running = outcome.settings;
    outcome.settings = NULL;
    assert_int_equal(READ("-p81", "--unix=a", "-a", "::1"), SETTINGS_OK);
    assert_true(settings_keep_listening(outcome.settings, running, changed, sizeof changed));
    assert_string_equal(changed, "port, a");
    settings_unref(running);
}

static void test_reload_without_memory(void **state)
{
    char changed[64];
    bool kept = false;
    int count = 0;

    (void)state;
    assert_int_equal(READ("-a", "::1", "-a", "::2", "--unix=a"), SETTINGS_OK);
    struct settings *running = outcome.settings;
    outcome.settings = NULL;
    for (; !kept; count++) {
        assert_int_equal(READ("-a", "::3", "--unix=b"), SETTINGS_OK);
        alloc_fail_after(count, false);
        kept = settings_keep_listening(outcome.settings, running, changed, sizeof changed);
        alloc_succeed();
    }
    /* Two addresses, their list, and the path. */
    assert_true(count > 4);
    assert_string_equal(outcome.settings->listen.unix_path, "a");
    settings_unref(running);
}

#define TEST(function) cmocka_unit_test_teardown(function, outcome_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tls_port_is_a_number_or_off),
        TEST(test_conflicting_tls_settings),
        TEST(test_every_allocation_that_fails),
        TEST(test_no_memory_takes_precedence_over_other_errors),
        TEST(test_references),
        TEST(test_reload_keeps_listening_settings),
        TEST(test_reload_compares_lists),
        TEST(test_reload_cuts_the_list_of_names),
        TEST(test_reload_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
