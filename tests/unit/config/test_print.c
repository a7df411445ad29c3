/*
 * What is printed: the dump, which is the shipped file too, and the help.
 */
#include "unit/config/read_settings.h"

#include <stdlib.h>
#include <string.h>

static char *help_text(void)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    settings_help(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* A file in which no key has its default value. */
static void write_all_keys(char *text, size_t size)
{
    text[0] = '\0';
    for (size_t i = 0; i < config_key_count; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, size - used, "%s = %s\n", config_keys[i].name,
                       config_keys[i].in_file);
    }
    size_t used = strlen(text);
    (void)snprintf(text + used, size - used, "address = ::1\n");
}

static void test_dump_reads_back(void **state)
{
    char text[4096];

    (void)state;
    write_all_keys(text, sizeof text);
    assert_int_equal(read_for_dump(text), SETTINGS_OK);
    char *dump = dump_of(outcome.settings);
    for (size_t i = 0; i < config_key_count; i++)
        assert_dumped(config_keys[i].name, config_keys[i].in_file);
    assert_dumped("address", "::1");
    assert_int_equal(read_for_dump(dump), SETTINGS_OK);
    char *again = dump_of(outcome.settings);
    assert_string_equal(again, dump);
    free(again);
    free(dump);
}

static void test_dump_of_defaults_reads_back(void **state)
{
    (void)state;
    assert_int_equal(read_text(""), SETTINGS_OK);
    char *dump = dump_of(outcome.settings);
    assert_non_null(strstr(dump, "\n#address =\n"));
    assert_non_null(strstr(dump, "\n#unix =\n"));
    assert_non_null(strstr(dump, "\nidle-timeout = 5m\n"));
    assert_int_equal(read_text(dump), SETTINGS_OK);
    char *again = dump_of(outcome.settings);
    assert_string_equal(again, dump);
    free(again);
    free(dump);
}

/* So the tests that use config_keys leave out no key. */
static void test_dump_has_exactly_the_known_keys(void **state)
{
    size_t count = 0;

    (void)state;
    assert_int_equal(read_for_dump("address = ::1\nunix = a\ntls-cert = b\ntls-key = c\n"
                                   "tls-client-ca = d\n"),
                     SETTINGS_OK);
    char *dump = dump_of(outcome.settings);
    char *place;
    for (char *line = strtok_r(dump, "\n", &place); line != NULL;
         line = strtok_r(NULL, "\n", &place)) {
        if (line[0] == '#')
            continue;
        char *equals = strstr(line, " = ");
        assert_non_null(equals);
        *equals = '\0';
        assert_true(count < config_key_count);
        assert_string_equal(line, config_keys[count++].name);
    }
    free(dump);
    assert_int_equal(count, config_key_count);
}

static void test_help_names_every_option(void **state)
{
    static const char *const lines[] = {
        "\n  -p, --port PORT ",
        "\n  -a, --address ADDRESS ",
        "\n      --unix PATH ",
        "\n      --unix-mode MODE ",
        "\n      --reuse-port[=on|off] ",
        "\n      --tls-port PORT ",
        "\n      --tls-cert FILE ",
        "\n      --tls-key FILE ",
        "\n      --tls-self-signed[=on|off] ",
        "\n      --tls-client-ca FILE ",
        "\n      --tls-verify off|optional|required ",
        "\n      --tls-min-version VERSION ",
        "\n  -c, --config FILE ",
        "\n  -t, --check-config ",
        "\n      --dump-config ",
        "\n      --probe [URL] ",
        "\n      --max-connections N ",
        "\n      --max-connections-per-address N ",
        "\n      --max-concurrent-streams N ",
        "\n      --max-header-list-size SIZE ",
        "\n      --header-timeout TIME ",
        "\n      --idle-timeout TIME ",
        "\n      --stream-timeout TIME ",
        "\n      --write-timeout TIME ",
        "\n      --drain-timeout TIME ",
        "\n      --upgrade[=on|off] ",
        "\n      --log-level LEVEL ",
        "\n  -q, --quiet ",
        "\n  -v, --verbose ",
        "\n      --trace WHAT ",
        "\n      --access-log FORMAT ",
        "\n      --pretty[=on|off] ",
        "\n  -V, --version ",
        "\n  -h, --help ",
    };
    size_t options = 0;

    (void)state;
    char *help = help_text();
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_non_null(strstr(help, lines[i]));
    for (const char *at = help; (at = strstr(at, "\n  ")) != NULL; at++)
        options++;
    assert_int_equal(options, sizeof lines / sizeof lines[0]);
    for (const char *at = help; *at != '\0'; at += strcspn(at, "\n") + 1)
        assert_true(strcspn(at, "\n") <= 100);
    assert_non_null(strstr(help, "[8080]\n"));
    assert_non_null(strstr(help, "[64KiB]\n"));
    free(help);
}

/* Return a copy with '#' before every line that is_first with a letter. The caller frees it. */
static char *commented_out(const char *dump)
{
    char *text = calloc(2, strlen(dump) + 1);
    size_t used = 0;

    assert_non_null(text);
    for (size_t i = 0; dump[i] != '\0'; i++) {
        bool is_first = i == 0 || dump[i - 1] == '\n';
        if (is_first && dump[i] >= 'a' && dump[i] <= 'z')
            text[used++] = '#';
        text[used++] = dump[i];
    }
    return text;
}

static void test_shipped_file_is_the_dump_of_the_defaults(void **state)
{
    static char shipped[65536];

    (void)state;
    FILE *file = fopen(SHIPPED_FILE, "re");
    assert_non_null(file);
    size_t length = fread(shipped, 1, sizeof shipped - 1, file);
    (void)fclose(file);
    shipped[length] = '\0';
    assert_int_equal(READ("-c", SHIPPED_FILE), SETTINGS_OK);
    char *dump = dump_of(outcome.settings);
    char *body = commented_out(dump);
    /* The header ends at the first empty line. */
    const char *rest = strstr(shipped, "\n\n");
    assert_non_null(rest);
    assert_string_equal(rest + 2, body);
    free(body);
    free(dump);
}

#define TEST(function) cmocka_unit_test_teardown(function, outcome_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_dump_reads_back),
        TEST(test_dump_of_defaults_reads_back),
        TEST(test_dump_has_exactly_the_known_keys),
        TEST(test_help_names_every_option),
        TEST(test_shipped_file_is_the_dump_of_the_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
