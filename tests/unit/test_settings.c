#include "settings.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define SHIPPED_FILE "conf/h2echod.conf" /* tests run from the project's top directory */

enum { ERRORS_MAX = 64, ARGUMENTS_MAX = 64, PATH_BYTES = 64 };

/* --- Allocations that fail ------------------------------------------------------------------ */
/* These stand in for libc's, so that any one of them can be made to fail. */

static int allocations_until_failure = -1; /* -1 = none fails */
static bool allocations_go_on_failing;     /* from then on, all of them */
static bool allocation_failed;

static bool fails_now(void)
{
    if (allocations_until_failure < 0)
        return false;
    if (allocations_until_failure > 0) {
        allocations_until_failure--;
        return false;
    }
    if (!allocations_go_on_failing)
        allocations_until_failure = -1;
    allocation_failed = true;
    return true;
}

void *calloc(size_t count, size_t size)
{
    void *memory = NULL;

    /* Not malloc: the compiler makes malloc and memset a call of calloc, which is this function. */
    if (fails_now() || posix_memalign(&memory, _Alignof(max_align_t), count * size) != 0)
        return NULL;
    return memset(memory, 0, count * size);
}

void *reallocarray(void *memory, size_t count, size_t size)
{
    return fails_now() ? NULL : realloc(memory, count * size);
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = fails_now() ? NULL : realloc(NULL, size);

    return copy == NULL ? NULL : memcpy(copy, text, size);
}

/* --- Reading -------------------------------------------------------------------------------- */

/* One reading: its result, what it stored, and every error it reported. */
struct outcome {
    enum settings_result result;
    struct settings *settings;
    size_t count;
    char errors[ERRORS_MAX][SETTINGS_ERROR_MAX];
};

static struct outcome outcome;

static void keep_error(const char *message, void *argument)
{
    struct outcome *kept = argument;

    assert_true(kept->count < ERRORS_MAX);
    assert_true(strlen(message) < SETTINGS_ERROR_MAX);
    assert_null(strchr(message, '\n'));
    (void)snprintf(kept->errors[kept->count++], SETTINGS_ERROR_MAX, "%s", message);
}

static void forget(void)
{
    settings_unref(outcome.settings);
    outcome.settings = NULL;
    outcome.count = 0;
}

static int forget_after(void **state)
{
    (void)state;
    allocations_until_failure = -1;
    allocations_go_on_failing = false;
    forget();
    return 0;
}

/* Reads a command line given as its NULL-terminated arguments. */
static enum settings_result read_arguments(const char *const arguments[])
{
    char *argv[ARGUMENTS_MAX] = {(char *)"h2echod"};
    int argc = 1;

    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = (char *)arguments[argc - 1];
    argv[argc] = NULL;
    forget();
    outcome.result = settings_read(argc, argv, keep_error, &outcome, &outcome.settings);
    assert_int_equal(outcome.result == SETTINGS_OK, outcome.settings != NULL);
    assert_int_equal(outcome.result == SETTINGS_OK, outcome.count == 0);
    return outcome.result;
}

#define READ(...) read_arguments((const char *const[]){__VA_ARGS__, NULL})

/* Make a file of these bytes, and store its path. */
static void file_make(const char *text, size_t length, char path[PATH_BYTES])
{
    int file;

    (void)snprintf(path, PATH_BYTES, "/tmp/h2echod-test-XXXXXX");
    file = mkostemp(path, O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, length), length);
    (void)close(file);
}

static enum settings_result read_bytes(const char *text, size_t length)
{
    char path[PATH_BYTES];
    enum settings_result result;

    file_make(text, length, path);
    result = READ("-c", path);
    (void)unlink(path);
    return result;
}

static enum settings_result read_text(const char *text)
{
    return read_bytes(text, strlen(text));
}

/* To print the settings: the files that they name need not be there. */
static enum settings_result read_for_dump(const char *text)
{
    char path[PATH_BYTES];
    enum settings_result result;

    file_make(text, strlen(text), path);
    result = READ("-c", path, "--dump-config");
    (void)unlink(path);
    return result;
}

/* The ${index}th error is "FILE${expected}", FILE being the file's name. */
static void assert_file_error(size_t index, const char *expected)
{
    assert_true(index < outcome.count);
    const char *colon = strchr(outcome.errors[index], ':');
    assert_non_null(colon);
    assert_int_equal(strncmp(outcome.errors[index], "/tmp/h2echod-test-", 18), 0);
    assert_string_equal(colon, expected);
}

static void assert_only_error(const char *expected)
{
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_int_equal(outcome.count, 1);
    assert_string_equal(outcome.errors[0], expected);
}

static void assert_only_file_error(const char *expected)
{
    assert_int_equal(outcome.result, SETTINGS_BAD_FILE);
    assert_int_equal(outcome.count, 1);
    assert_file_error(0, expected);
}

static char *dump_of(const struct settings *settings)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    settings_dump(settings, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

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

/* Asserts that the dump has the line "${name} = ${value}". */
static void assert_dumped(const char *name, const char *value)
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

/* --- Values --------------------------------------------------------------------------------- */

/* A value and its canonical form; NULL = it is refused. */
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

/* Each value from the command line and from the file; what is wrong reads "is not ${expected}". */
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

/* A text of ${length} times 'x'. */
static const char *text_of_length(size_t length)
{
    static char text[512];

    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

static void test_paths(void **state)
{
    const size_t fits = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    static const struct value values[] = {{"/run/h2echod.sock", "/run/h2echod.sock"},
                                          {"relative.sock", "relative.sock"},
                                          {"with space#and hash", "with space#and hash"},
                                          {"a=b", "a=b"},
                                          {"\xc3\xa9", "\xc3\xa9"},
                                          {"", NULL},
                                          {NULL, NULL}};

    (void)state;
    check_values("unix", "a path of 1 to 107 bytes", values);
    read_on_command_line("unix", text_of_length(fits));
    assert_int_equal(outcome.result, SETTINGS_OK);
    assert_string_equal(outcome.settings->unix_path, text_of_length(fits));
    read_on_command_line("unix", text_of_length(fits + 1));
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_non_null(strstr(outcome.errors[0], "x' is not a path of 1 to 107 bytes"));
    read_in_file("unix", text_of_length(fits));
    assert_int_equal(outcome.result, SETTINGS_OK);
    read_in_file("unix", text_of_length(fits + 1));
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
    read_on_command_line("address", text_of_length(255));
    assert_int_equal(outcome.result, SETTINGS_OK);
    read_on_command_line("address", text_of_length(256));
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
}

/* A dump that holds them would be read back as something else. */
static void test_texts_that_no_line_of_the_file_can_hold(void **state)
{
    static const char *const texts[] = {"a\nport = 1", "a\tb", "a\r",  " a",
                                        "a ",          "#a",   "a #b", "\177"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(READ("--unix", texts[i]), SETTINGS_BAD_USAGE);
        assert_int_equal(outcome.count, 1);
        assert_non_null(strstr(outcome.errors[0], "does not fit a line of the file: it must have "
                                                  "no control character, no space at its ends and "
                                                  "no '#' at its start or behind a space"));
        assert_int_equal(READ("--address", texts[i]), SETTINGS_BAD_USAGE);
    }
    assert_int_equal(READ("--unix", "a\nb"), SETTINGS_BAD_USAGE);
    assert_int_equal(strncmp(outcome.errors[0], "--unix: 'a\\x0ab' does not fit", 29), 0);
    assert_int_equal(read_text("unix =#a\n"), SETTINGS_BAD_FILE);
    assert_non_null(strstr(outcome.errors[0], ":1: unix: '#a' does not fit"));
}

/* --- Where a value comes from --------------------------------------------------------------- */

static void test_defaults(void **state)
{
    static const char *const none[] = {NULL};

    (void)state;
    assert_int_equal(read_arguments(none), SETTINGS_OK);
    const struct settings *settings = outcome.settings;
    assert_int_equal(settings->port, 8080);
    assert_null(settings->address);
    assert_null(settings->unix_path);
    assert_int_equal(settings->unix_mode, 0660);
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

/* Every key with a value for the file and another for the command line, neither the default; the
 * files that they name are not opened by what only prints. */
static const struct both {
    const char *name;
    const char *in_file;
    const char *on_command_line;
} both[] = {
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

enum { KEYS = sizeof both / sizeof both[0] };

static void test_precedence_of_every_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEYS; i++) {
        char line[128];
        char option[128];
        char path[PATH_BYTES];

        (void)snprintf(line, sizeof line, "%s = %s\n", both[i].name, both[i].in_file);
        (void)snprintf(option, sizeof option, "--%s=%s", both[i].name, both[i].on_command_line);
        file_make(line, strlen(line), path);
        assert_int_equal(READ("-c", path, "--dump-config"), SETTINGS_OK);
        assert_dumped(both[i].name, both[i].in_file);
        assert_int_equal(READ(option, "--dump-config"), SETTINGS_OK);
        assert_dumped(both[i].name, both[i].on_command_line);
        assert_int_equal(READ(option, "-c", path, "--dump-config"), SETTINGS_OK);
        assert_dumped(both[i].name, both[i].on_command_line);
        assert_int_equal(READ("-c", path, option, "--dump-config"), SETTINGS_OK);
        assert_dumped(both[i].name, both[i].on_command_line);
        (void)unlink(path);
    }
}

static void test_command_line_overrules_a_switch_of_the_file(void **state)
{
    char path[PATH_BYTES];

    (void)state;
    file_make("pretty = on\n", 12, path);
    assert_int_equal(READ("-c", path, "--pretty=off"), SETTINGS_OK);
    assert_false(outcome.settings->pretty);
    (void)unlink(path);
}

static void test_overruled_value_of_the_file_is_checked_all_the_same(void **state)
{
    char path[PATH_BYTES];

    (void)state;
    file_make("port = abc\n", 11, path);
    (void)READ("-c", path, "-p", "80");
    assert_only_file_error(":1: port: 'abc' is not a number from 0 to 65535");
    (void)unlink(path);
}

static void test_addresses_are_listed_in_order(void **state)
{
    char path[PATH_BYTES];
    static const char text[] = "address = 10.0.0.1\naddress = 10.0.0.2\naddress = 10.0.0.3\n";

    (void)state;
    file_make(text, strlen(text), path);
    assert_int_equal(READ("-c", path), SETTINGS_OK);
    assert_string_equal(outcome.settings->address[0], "10.0.0.1");
    assert_string_equal(outcome.settings->address[1], "10.0.0.2");
    assert_string_equal(outcome.settings->address[2], "10.0.0.3");
    assert_null(outcome.settings->address[3]);
    assert_int_equal(READ("-a", "::1", "-c", path, "--address=::2"), SETTINGS_OK);
    assert_string_equal(outcome.settings->address[0], "::1");
    assert_string_equal(outcome.settings->address[1], "::2");
    assert_null(outcome.settings->address[2]);
    (void)unlink(path);
}

static void test_short_options(void **state)
{
    (void)state;
    assert_int_equal(READ("-p81", "-a", "::1", "-t"), SETTINGS_OK);
    assert_int_equal(outcome.settings->port, 81);
    assert_string_equal(outcome.settings->address[0], "::1");
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

/* The operand of --probe may stand anywhere, and is not looked into here. */
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
    assert_int_equal(outcome.settings->port, 8080);
}

static void test_last_of_the_same_option_wins(void **state)
{
    (void)state;
    assert_int_equal(READ("-p", "1", "--port", "2", "--unix=a", "--unix=b"), SETTINGS_OK);
    assert_int_equal(outcome.settings->port, 2);
    assert_string_equal(outcome.settings->unix_path, "b");
}

static void test_steps_of_the_log_level(void **state)
{
    char path[PATH_BYTES];

    (void)state;
    file_make("log-level = warning\n", 20, path);
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

/* Whoever asks for more asks for the frames, then for their fields; the file may have more. */
static void test_steps_of_the_trace(void **state)
{
    static const struct {
        const char *arguments[3];
        uint64_t trace;
    } rows[] = {
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
    file_make("trace = fields\n", 15, path);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_arguments(rows[i].arguments), SETTINGS_OK);
        assert_int_equal(outcome.settings->trace, rows[i].trace);
    }
    assert_int_equal(READ("-v", "-c", path), SETTINGS_OK);
    assert_int_equal(outcome.settings->trace, TRACE_FIELDS);
    assert_int_equal(READ("-c", path, "--trace=off"), SETTINGS_OK);
    assert_int_equal(outcome.settings->trace, TRACE_OFF);
    (void)unlink(path);
}

static void test_reading_again_gives_the_same(void **state)
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
    forget();
    assert_int_equal(settings_read(0, argv, keep_error, &outcome, &outcome.settings), SETTINGS_OK);
    assert_int_equal(outcome.settings->port, 8080);
}

/* --- The command line's errors -------------------------------------------------------------- */

static void test_errors_of_the_command_line(void **state)
{
    static const struct {
        const char *argument;
        const char *error;
    } cases[] = {
        {"--port=abc", "--port: 'abc' is not a number from 0 to 65535"},
        {"-pabc", "--port: 'abc' is not a number from 0 to 65535"},
        {"-p", "--port: a value is missing: a number from 0 to 65535"},
        {"--port", "--port: a value is missing: a number from 0 to 65535"},
        {"-c", "--config: a value is missing: a path of 1 to 4095 bytes"},
        {"--config=", "--config: '' is not a path of 1 to 4095 bytes"},
        {"--help=me", "--help: takes no value"},
        {"--quiet=1", "--quiet: takes no value"},
        {"-x", "-x: unknown option: h2echod --help lists them"},
        {"-\377", "-\\xff: unknown option: h2echod --help lists them"},
        {"-:", "-:: unknown option: h2echod --help lists them"},
        {"-?", "-?: unknown option: h2echod --help lists them"},
        {"--prot", "--prot: unknown option: did you mean --port?"},
        {"--prot=80", "--prot: unknown option: did you mean --port?"},
        {"--max_connections=1",
         "--max_connections: unknown option: did you mean --max-connections?"},
        {"--halp", "--halp: unknown option: did you mean --help?"},
        {"--something", "--something: unknown option: h2echod --help lists them"},
        {"--so\nme=x", "--so\\x0ame: unknown option: h2echod --help lists them"},
        {"--max", "--max: could be several options: write the name in full"},
        {"--=x", "--: could be several options: write the name in full"},
        {"stray", "unexpected argument 'stray': settings are options, see h2echod --help"},
        {"-", "unexpected argument '-': settings are options, see h2echod --help"},
        {"", "unexpected argument '': settings are options, see h2echod --help"},
        {"\033[2J", "unexpected argument '\\x1b[2J': settings are options, see h2echod --help"},
        {"8080", "unexpected argument '8080': did you mean -p 8080?"},
        {"65536", "unexpected argument '65536': a port is a number from 0 to 65535, behind -p"},
        {"18446744073709551616",
         "unexpected argument '18446744073709551616': a port is a number from 0 to 65535, behind "
         "-p"},
        {"-8080", "-8080: unknown option: did you mean -p 8080?"},
        {"-65536", "-65536: unknown option: a port is a number from 0 to 65535, behind -p"},
        {":8080", "unexpected argument ':8080': did you mean -p 8080?"},
        {"*:8080", "unexpected argument '*:8080': did you mean -p 8080?"},
        {"localhost:8080",
         "unexpected argument 'localhost:8080': did you mean -a localhost -p 8080?"},
        {"127.0.0.1:80", "unexpected argument '127.0.0.1:80': did you mean -a 127.0.0.1 -p 80?"},
        {"[::1]:8080", "unexpected argument '[::1]:8080': did you mean -a ::1 -p 8080?"},
        {"a:b:80", "unexpected argument 'a:b:80': settings are options, see h2echod --help"},
        {"[]:80", "unexpected argument '[]:80': settings are options, see h2echod --help"},
        {"h:65536", "unexpected argument 'h:65536': settings are options, see h2echod --help"},
        {"\x1b:1", "unexpected argument '\\x1b:1': did you mean -a \\x1b -p 1?"},
        {"127.0.0.1", "unexpected argument '127.0.0.1': did you mean -a 127.0.0.1?"},
        {"::1", "unexpected argument '::1': did you mean -a ::1?"},
        {"localhost", "unexpected argument 'localhost': did you mean -a localhost?"},
        {"http://a:80/", "unexpected argument 'http://a:80/': did you mean --probe http://a:80/?"},
        {"a.conf", "unexpected argument 'a.conf': did you mean -c a.conf?"},
        {"/a.sock", "unexpected argument '/a.sock': did you mean --unix /a.sock?"},
        {"help", "unexpected argument 'help': did you mean --help?"},
        {"help=80", "unexpected argument 'help=80': settings are options, see h2echod --help"},
        {"prot=80", "unexpected argument 'prot=80': did you mean --port=80?"},
        {"--port=\"\\\001", "--port: '\\\"\\\\\\x01' is not a number from 0 to 65535"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)READ(cases[i].argument);
        assert_only_error(cases[i].error);
    }
}

/* ${before}, ${count} times ${filling}, ${behind}: as an argument or as part of a message. */
static void fill(char *text, const char *before, const char *filling, size_t count,
                 const char *behind)
{
    char *end = stpcpy(text, before);

    for (size_t i = 0; i < count; i++)
        end = stpcpy(end, filling);
    (void)stpcpy(end, behind);
}

/* What is suggested is shown whole, so that it can be typed, or not at all. */
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
        const char *const *given = cases[i].argument, *const *said = cases[i].message;
        size_t suggested = 0;
        for (size_t count = 1; count <= COUNT_MAX; count++) {
            fill(argument, given[0], given[1], count, given[2]);
            fill(suggestion, said[0], said[1], count, said[2]);
            (void)READ(argument);
            assert_int_equal(outcome.count, 1);
            const char *words = strstr(outcome.errors[0], "did you mean ");
            if (words != NULL)
                assert_string_equal(words + strlen("did you mean "), suggestion);
            suggested += words != NULL;
        }
        assert_in_range(suggested, 1, COUNT_MAX - 1);
    }
}

/* Whoever asks for the background is told what there is instead; so is who asks for none. */
static void test_it_stays_in_the_foreground(void **state)
{
    static const char *const asked[] = {"-d",          "-D",           "--daemon",    "--daemonize",
                                        "--deamon",    "--background", "--detach",    "--fork",
                                        "--daemon=on", "--no-daemon",  "--foreground"};
    static const char said[] = ": h2echod stays in the foreground: for the background use its "
                               "systemd service, or end the command with '&'";
    char error[SETTINGS_ERROR_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        (void)READ(asked[i]);
        (void)snprintf(error, sizeof error, "%.*s%s", (int)strcspn(asked[i], "="), asked[i], said);
        assert_only_error(error);
    }
    (void)READ("-dp80");
    (void)snprintf(error, sizeof error, "-d%s", said);
    assert_only_error(error);
    (void)READ("daemon");
    (void)snprintf(error, sizeof error, "unexpected argument 'daemon'%s", said);
    assert_only_error(error);
    assert_int_equal(read_text("daemonize = yes\n"), SETTINGS_BAD_FILE);
    (void)snprintf(error, sizeof error, ":1: unknown key 'daemonize'%s", said);
    assert_file_error(0, error);
}

static void test_arguments_behind_two_dashes(void **state)
{
    (void)state;
    (void)READ("--", "-p", "80");
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_int_equal(outcome.count, 2);
    assert_int_equal(strncmp(outcome.errors[0], "unexpected argument '-p'", 24), 0);
    assert_int_equal(strncmp(outcome.errors[1], "unexpected argument '80'", 24), 0);
    assert_int_equal(READ("-p", "80", "--"), SETTINGS_OK);
}

static void test_one_operand_is_the_probe_s(void **state)
{
    (void)state;
    (void)READ("a", "--probe", "b");
    assert_only_error("unexpected argument 'b': settings are options, see h2echod --help");
    (void)READ("--probe", "a", "--", "b");
    assert_only_error("unexpected argument 'b': settings are options, see h2echod --help");
    (void)READ("--probe", "");
    assert_only_error("unexpected argument '': settings are options, see h2echod --help");
    (void)READ("--probe=a");
    assert_only_error("--probe: takes no value");
    (void)READ("-c", "--probe", "a");
    assert_int_equal(outcome.result, SETTINGS_BAD_USAGE);
    assert_string_equal(outcome.errors[0],
                        "unexpected argument 'a': settings are options, see h2echod --help");
    assert_int_equal(read_text("probe = x\n"), SETTINGS_BAD_FILE);
    assert_file_error(0, ":1: unknown key 'probe': it is an option of the command line alone");
}

static void test_every_error_of_both_sources_is_reported(void **state)
{
    static const char text[] = "port = x\nbogus = 1\nno equals\nmax-connections = 0\n";
    char path[PATH_BYTES];

    (void)state;
    file_make(text, strlen(text), path);
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

static void test_long_values_leave_room_for_what_is_wrong(void **state)
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
    assert_non_null(strstr(outcome.errors[0], "...: unknown option: h2echod --help lists them"));
    memset(option, '\001', 4000);
    option[4000] = '\0';
    (void)READ("-c", option);
    assert_int_equal(outcome.count, 1);
    assert_non_null(strstr(outcome.errors[0], "...: can't be read: File name too long"));
}

/* --- The file ------------------------------------------------------------------------------- */

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
        assert_int_equal(outcome.settings->port, 81);
    }
    assert_int_equal(read_text(""), SETTINGS_OK);
    assert_int_equal(read_text("unix = /tmp/a#b # c\n"), SETTINGS_OK);
    assert_string_equal(outcome.settings->unix_path, "/tmp/a#b");
    assert_int_equal(read_text("unix = a=b\n"), SETTINGS_OK);
    assert_string_equal(outcome.settings->unix_path, "a=b");
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
        {"config = f", ":1: unknown key 'config': it is an option of the command line alone"},
        {"verbose = 1", ":1: unknown key 'verbose': it is an option of the command line alone"},
        {"port 80", ":1: 'port 80' has no '=': write key = value"},
        {"port\t80 # = 1", ":1: 'port\\x0980' has no '=': write key = value"},
        {"port = 1\n\nport = 2\n", ":3: port: comes twice, line 1 has it too: keep one"},
        {"pretty = on\npretty = on\n", ":2: pretty: comes twice, line 1 has it too: keep one"},
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
    assert_int_equal(outcome.settings->port, 81);
    assert_string_equal(outcome.settings->unix_path, "a");
    (void)snprintf(text, sizeof text, "%-4097s\nunix =", "port = 81");
    (void)read_text(text);
    assert_int_equal(outcome.result, SETTINGS_BAD_FILE);
    assert_int_equal(outcome.count, 2);
    assert_file_error(0, ":1: the line is too long: it has 4097 bytes, 4096 are allowed");
    assert_file_error(1, ":2: unix: '' is not a path of 1 to 107 bytes");
    assert_int_equal(read_bytes(text, 4096), SETTINGS_OK);
    (void)read_bytes(text, 4097);
    assert_only_file_error(":1: the line is too long: it has 4097 bytes, 4096 are allowed");
}

static void test_nul_byte(void **state)
{
    static const char *const texts[] = {"\nport = 80\0001\n", "\n\0\n", "\n# comment\0", "\n\0"};
    static const size_t lengths[] = {13, 3, 11, 2};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        (void)read_bytes(texts[i], lengths[i]);
        assert_only_file_error(":2: the line has a NUL byte: the file must be text");
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
    /* Opens, but nothing is mapped at its start. */
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

/* --- TLS ------------------------------------------------------------------------------------ */

static void test_tls_port_is_a_number_or_off(void **state)
{
    (void)state;
    assert_int_equal(READ("--tls-port=0", "--dump-config"), SETTINGS_OK);
    assert_int_equal(outcome.settings->tls_port, 0);
    assert_int_equal(READ("--tls-port=65535", "--dump-config"), SETTINGS_OK);
    assert_int_equal(outcome.settings->tls_port, 65535);
    assert_int_equal(READ("--tls-port=off"), SETTINGS_OK);
    assert_int_equal(outcome.settings->tls_port, SETTINGS_NO_PORT);
    (void)READ("--tls-port=65536");
    assert_only_error("--tls-port: '65536' is not a number from 0 to 65535, or off");
}

static void test_tls_settings_that_do_not_fit(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } mistakes[] = {
        {"tls-port = 0\n",
         "tls-port: needs a certificate: name one with tls-cert, or try tls-self-signed"},
        {"tls-cert = a\ntls-self-signed = on\n",
         "tls-self-signed: there is a tls-cert as well: keep one of them"},
        {"tls-key = a\n", "tls-key: is of no use alone: name its certificate with tls-cert"},
        {"tls-self-signed = on\ntls-verify = required\n",
         "tls-verify: needs to know whom to believe: name a file with tls-client-ca"},
        {"tls-self-signed = on\nport = 443\ntls-port = 443\n",
         "tls-port: is the same as port: choose another for one of them"},
        {"tls-self-signed = on\ntls-port = 8080\n",
         "tls-port: is the same as port: choose another for one of them"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        assert_int_equal(read_text(mistakes[i].text), SETTINGS_BAD_FILE);
        assert_int_equal(outcome.count, 1);
        assert_string_equal(outcome.errors[0], mistakes[i].error);
        assert_int_equal(read_for_dump(mistakes[i].text), SETTINGS_OK);
    }
}

/* --- Dump, help, the shipped file ----------------------------------------------------------- */

/* A file in which no key has its default. */
static void write_all_keys(char *text, size_t size)
{
    text[0] = '\0';
    for (size_t i = 0; i < KEYS; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, size - used, "%s = %s\n", both[i].name, both[i].in_file);
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
    for (size_t i = 0; i < KEYS; i++)
        assert_dumped(both[i].name, both[i].in_file);
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

/* Every key of the dump is one that the precedence test tries, so that none is forgotten there. */
static void test_dump_has_the_keys_of_this_test_and_no_other(void **state)
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
        assert_true(count < KEYS);
        const char *name = both[count++].name;
        assert_int_equal(strncmp(line, name, strlen(name)), 0);
        assert_int_equal(strncmp(line + strlen(name), " = ", 3), 0);
    }
    free(dump);
    assert_int_equal(count, KEYS);
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

/* Puts '#' before every line that begins with a letter. The caller frees the text. */
static char *commented_out(const char *dump)
{
    char *text = calloc(2, strlen(dump) + 1);
    size_t used = 0;

    assert_non_null(text);
    for (size_t i = 0; dump[i] != '\0'; i++) {
        bool begins = i == 0 || dump[i - 1] == '\n';
        if (begins && dump[i] >= 'a' && dump[i] <= 'z')
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

/* --- Memory, references, reload ------------------------------------------------------------- */

/* Returns how many allocations there were to fail. */
static int fail_every_allocation(const char *path)
{
    for (int count = 0;; count++) {
        allocation_failed = false;
        allocations_until_failure = count;
        enum settings_result result =
            READ("--config", path, "--unix=b", "--unix=c", "--pretty=maybe", "--probe", "url");
        allocations_until_failure = -1;
        if (!allocation_failed) {
            assert_int_equal(result, SETTINGS_BAD_USAGE);
            return count;
        }
        assert_int_equal(result, SETTINGS_NO_MEMORY);
        size_t told = 0;
        for (size_t i = 0; i < outcome.count; i++)
            told += strncmp(outcome.errors[i], "no memory for the settings: ", 28) == 0;
        assert_int_equal(told, 1);
    }
}

static void test_every_allocation_that_fails(void **state)
{
    static const char text[] = "address = ::1\naddress = ::2\nunix = a\n";
    char path[PATH_BYTES];

    (void)state;
    file_make(text, strlen(text), path);
    /* The name of the file, two texts, two addresses and the list around them. */
    assert_true(fail_every_allocation(path) > 6);
    allocations_go_on_failing = true;
    assert_true(fail_every_allocation(path) > 6);
    (void)unlink(path);
}

static void test_no_memory_goes_before_other_errors(void **state)
{
    (void)state;
    allocations_until_failure = 2; /* the struct and the first path are there */
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
    assert_string_equal(settings->unix_path, "a");
    settings_unref(NULL);
}

/* Reads what a running process has, then what a reload brings. Returns the names that differ. */
static const char *keep(const char *const running_arguments[], const char *const arguments[])
{
    static char changed[128];

    assert_int_equal(read_arguments(running_arguments), SETTINGS_OK);
    struct settings *running = outcome.settings;
    outcome.settings = NULL;
    char *before = dump_of(running);
    assert_int_equal(read_arguments(arguments), SETTINGS_OK);
    assert_true(settings_keep_listening(outcome.settings, running, changed, sizeof changed));
    char *after = dump_of(outcome.settings);
    /* What is fixed comes first in a dump. */
    const size_t fixed = (size_t)(strstr(before, "\nmax-connections") - before);
    assert_true(strstr(before, "\nunix-mode") < before + fixed);
    assert_int_equal(strncmp(after, before, fixed), 0);
    free(before);
    free(after);
    settings_unref(running);
    return changed;
}

#define KEEP(running, ...) keep(running, (const char *const[]){__VA_ARGS__, NULL})

static void test_reload_keeps_what_is_listened_on(void **state)
{
    static const char *const running[] = {
        "-p", "80", "-a", "::1", "-a", "::2", "--unix", "old.sock", "--unix-mode=600", NULL};
    static const char *const bare[] = {"-p", "80", NULL};

    (void)state;
    assert_string_equal(KEEP(running, "-p80", "-a", "::1", "-a", "::2", "--unix=old.sock",
                             "--unix-mode=0600", "--pretty", "--max-connections=7"),
                        "");
    assert_true(outcome.settings->pretty);
    assert_int_equal(outcome.settings->max_connections, 7);
    assert_string_equal(KEEP(running, "-t"), "port, address, unix, unix-mode");
    assert_string_equal(KEEP(bare, "-p80", "-a", "::1"), "address");
    assert_null(outcome.settings->address);
    assert_string_equal(KEEP(bare, "-p80", "--unix=a"), "unix");
    assert_null(outcome.settings->unix_path);
    assert_string_equal(KEEP(bare, "-p80", "--unix-mode=1"), "unix-mode");
    assert_string_equal(KEEP(bare, "-p80", "--reuse-port"), "reuse-port");
    assert_string_equal(KEEP(bare, "-p81"), "port");
}

static void test_reload_sees_every_difference_of_lists(void **state)
{
    static const char *const running[] = {"-a", "::1", "-a", "::2", NULL};

    (void)state;
    assert_string_equal(KEEP(running, "-a", "::1", "-a", "::2"), "");
    assert_string_equal(KEEP(running, "-a", "::2", "-a", "::1"), "address");
    assert_string_equal(KEEP(running, "-a", "::1"), "address");
    assert_string_equal(KEEP(running, "-a", "::1", "-a", "::2", "-a", "::3"), "address");
    assert_string_equal(outcome.settings->address[1], "::2");
    assert_null(outcome.settings->address[2]);
}

static void test_reload_with_little_room_for_names(void **state)
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
        allocations_until_failure = count;
        kept = settings_keep_listening(outcome.settings, running, changed, sizeof changed);
        allocations_until_failure = -1;
    }
    /* Two texts, the list around them, and one text by itself. */
    assert_true(count > 4);
    assert_string_equal(outcome.settings->unix_path, "a");
    settings_unref(running);
}

#define TEST(function) cmocka_unit_test_teardown(function, forget_after)

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
        TEST(test_texts_that_no_line_of_the_file_can_hold),
        TEST(test_defaults),
        TEST(test_precedence_of_every_key),
        TEST(test_command_line_overrules_a_switch_of_the_file),
        TEST(test_overruled_value_of_the_file_is_checked_all_the_same),
        TEST(test_addresses_are_listed_in_order),
        TEST(test_short_options),
        TEST(test_long_options_without_a_value),
        TEST(test_probe),
        TEST(test_last_of_the_same_option_wins),
        TEST(test_steps_of_the_log_level),
        TEST(test_steps_of_the_trace),
        TEST(test_reading_again_gives_the_same),
        TEST(test_no_arguments_at_all),
        TEST(test_errors_of_the_command_line),
        TEST(test_suggestion_is_whole),
        TEST(test_it_stays_in_the_foreground),
        TEST(test_arguments_behind_two_dashes),
        TEST(test_one_operand_is_the_probe_s),
        TEST(test_every_error_of_both_sources_is_reported),
        TEST(test_long_values_leave_room_for_what_is_wrong),
        TEST(test_white_space_and_comments),
        TEST(test_errors_of_the_file),
        TEST(test_length_of_a_line),
        TEST(test_nul_byte),
        TEST(test_file_that_cannot_be_read),
        TEST(test_file_is_closed),
        TEST(test_help_and_version_need_no_file),
        TEST(test_tls_port_is_a_number_or_off),
        TEST(test_tls_settings_that_do_not_fit),
        TEST(test_dump_reads_back),
        TEST(test_dump_of_defaults_reads_back),
        TEST(test_dump_has_the_keys_of_this_test_and_no_other),
        TEST(test_help_names_every_option),
        TEST(test_shipped_file_is_the_dump_of_the_defaults),
        TEST(test_every_allocation_that_fails),
        TEST(test_no_memory_goes_before_other_errors),
        TEST(test_references),
        TEST(test_reload_keeps_what_is_listened_on),
        TEST(test_reload_sees_every_difference_of_lists),
        TEST(test_reload_with_little_room_for_names),
        TEST(test_reload_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
