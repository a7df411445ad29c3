/*
 * reader: stores one value after checking it, and reports errors. Both the command line and the
 * file are read through it, so that a value is checked in the same way wherever it is written.
 */
#include "config/settings_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void reader_report(struct reader *reader, const char *format, ...)
{
    char message[SETTINGS_ERROR_MAX] = "";
    va_list arguments;

    if (reader->line != 0)
        (void)snprintf(message, sizeof(message), "%s:%lu: ", reader->file, reader->line);
    size_t used = strlen(message);
    va_start(arguments, format);
    (void)vsnprintf(message + used, sizeof(message) - used, format, arguments);
    va_end(arguments);
    reader->on_error(message, reader->argument);
    if (reader->result == SETTINGS_OK)
        reader->result = reader->exit_code;
}

void reader_report_no_memory(struct reader *reader)
{
    if (reader->result != SETTINGS_NO_MEMORY)
        reader->on_error("out of memory while reading the settings: free some and try again",
                         reader->argument);
    reader->result = SETTINGS_NO_MEMORY;
}

/* What precedes an option's name where it was found. */
static const char *option_prefix(const struct reader *reader)
{
    return reader->line == 0 ? "--" : "";
}

static void report_bad_value(struct reader *reader, const struct config_option *option,
                             const char *text)
{
    char shown[SHOWN_MAX];
    char expected[EXPECTED_MAX];

    reader_report(reader, "%s%s: '%s' is not %s", option_prefix(reader), option->name,
                  log_escape(shown, sizeof(shown), text, strlen(text)),
                  value_expected(option, expected));
}

static void report_not_writable(struct reader *reader, const struct config_option *option,
                                const char *text)
{
    char shown[SHOWN_MAX];

    reader_report(
        reader,
        "%s%s: '%s' is not a value that a configuration file can hold: remove control characters, "
        "spaces at either end, and any '#' at the start or after a space",
        option_prefix(reader), option->name, log_escape(shown, sizeof(shown), text, strlen(text)));
}

void reader_set_value(struct reader *reader, const struct config_option *option, const char *text)
{
    bool is_overridden = reader->line != 0 && reader->given[option - config_options];
    uint64_t number;

    if (!value_parse(option, text, &number))
        report_bad_value(reader, option, text);
    else if (option_is_in_file(option) && option_is_string(option) && !file_syntax_can_hold(text))
        report_not_writable(reader, option, text);
    else if (!is_overridden && !member_store(option, reader->settings, text, number))
        reader_report_no_memory(reader);
}
