#include "unit/config/read_settings.h"

#include "unit/config/alloc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 64 };

struct outcome outcome;

void keep_error(const char *message, void *argument)
{
    struct outcome *kept = argument;

    assert_true(kept->count < ERRORS_MAX);
    assert_true(strlen(message) < SETTINGS_ERROR_MAX);
    assert_null(strchr(message, '\n'));
    (void)snprintf(kept->errors[kept->count++], SETTINGS_ERROR_MAX, "%s", message);
}

void outcome_clear(void)
{
    settings_unref(outcome.settings);
    outcome.settings = NULL;
    outcome.count = 0;
}

int outcome_teardown(void **state)
{
    (void)state;
    alloc_succeed();
    outcome_clear();
    return 0;
}

enum settings_result read_arguments(const char *const arguments[])
{
    char *argv[ARGUMENTS_MAX] = {(char *)"h2echod"};
    int argc = 1;

    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = (char *)arguments[argc - 1];
    argv[argc] = NULL;
    outcome_clear();
    outcome.result = settings_read(argc, argv, keep_error, &outcome, &outcome.settings);
    assert_int_equal(outcome.result == SETTINGS_OK, outcome.settings != NULL);
    assert_int_equal(outcome.result == SETTINGS_OK, outcome.count == 0);
    return outcome.result;
}

void make_file(const char *text, size_t length, char path[PATH_BYTES])
{
    int file;

    (void)snprintf(path, PATH_BYTES, "/tmp/h2echod-test-XXXXXX");
    file = mkostemp(path, O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, length), length);
    (void)close(file);
}

/* Read a command line with this file and, unless it is NULL, ${option}. */
static enum settings_result read_with_option(const char *text, size_t length, const char *option)
{
    char path[PATH_BYTES];
    enum settings_result result;

    make_file(text, length, path);
    result = READ("-c", path, option);
    (void)unlink(path);
    return result;
}

enum settings_result read_bytes(const char *text, size_t length)
{
    return read_with_option(text, length, NULL);
}

enum settings_result read_text(const char *text)
{
    return read_with_option(text, strlen(text), NULL);
}

enum settings_result read_for_dump(const char *text)
{
    return read_with_option(text, strlen(text), "--dump-config");
}

void assert_file_error(size_t index, const char *expected)
{
    assert_true(index < outcome.count);
    const char *colon = strchr(outcome.errors[index], ':');
    assert_non_null(colon);
    assert_int_equal(strncmp(outcome.errors[index], "/tmp/h2echod-test-", 18), 0);
    assert_string_equal(colon, expected);
}

void assert_only_error(const char *expected)
{
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_int_equal(outcome.count, 1);
    assert_string_equal(outcome.errors[0], expected);
}

void assert_only_file_error(const char *expected)
{
    assert_int_equal(outcome.result, SETTINGS_BAD_FILE);
    assert_int_equal(outcome.count, 1);
    assert_file_error(0, expected);
}

char *dump_of(const struct settings *settings)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    settings_dump(settings, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

void assert_dumped(const char *name, const char *value)
{
    char line[512];
    char *dump = dump_of(outcome.settings);

    (void)snprintf(line, sizeof line, "\n%s = %s\n", name, value);
    const char *found = strstr(dump, line);
    if (found == NULL)
        print_error("no%sin:\n%s", line, dump);
    free(dump);
    assert_non_null(found);
}

const struct config_key config_keys[] = {
    {"port", "81", "82"},
    {"address", "127.0.0.1", "::1"},
    {"unix", "/tmp/file.sock", "line.sock"},
    {"unix-mode", "0600", "0666"},
    {"reuse-port", "on", "on"},
    {"tls-port", "0", "443"},
    {"tls-cert", "/etc/file.pem", "line.pem"},
    {"tls-key", "/etc/file.key", "line.key"},
    {"tls-self-signed", "on", "on"},
    {"tls-client-ca", "/etc/file.ca", "line.ca"},
    {"tls-verify", "off", "required"},
    {"tls-min-version", "1.3", "1.3"},
    {"max-connections", "11", "12"},
    {"max-connections-per-address", "21", "22"},
    {"max-concurrent-streams", "31", "32"},
    {"max-header-list-size", "41KiB", "4200"},
    {"header-timeout", "51s", "5200ms"},
    {"idle-timeout", "61s", "62m"},
    {"stream-timeout", "71s", "7200ms"},
    {"write-timeout", "81s", "8m"},
    {"drain-timeout", "91s", "9h"},
    {"upgrade", "off", "off"},
    {"log-level", "error", "debug"},
    {"trace", "frames", "fields"},
    {"access-log", "text", "json"},
    {"pretty", "on", "on"},
};

const size_t config_key_count = sizeof config_keys / sizeof config_keys[0];
