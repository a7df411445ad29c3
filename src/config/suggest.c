/*
 * suggest: guesses what a wrong option, key or argument was meant to be, for the error that reports
 * it. It only composes text; the text may hold bytes of the argument, which the caller escapes.
 */
#include "config/settings_internal.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    SUGGESTION_DISTANCE_MAX = 2, /* edits between a wrong name and the name to suggest */
    LONG_NAME_MIN = 6,           /* shorter names are too much alike to compare by distance */
};

static size_t min_of_three(size_t a, size_t b, size_t c)
{
    size_t min = a < b ? a : b;

    return min < c ? min : c;
}

/* The Levenshtein distance between the ${length} bytes at ${from} and ${name}, whose length is at
 * most OPTION_NAME_MAX. Only one row of the matrix of costs is kept. */
static size_t edit_distance(const char *from, size_t length, const char *name)
{
    size_t costs[OPTION_NAME_MAX + 1];
    size_t width = strlen(name);

    for (size_t j = 0; j <= width; j++)
        costs[j] = j;
    for (size_t i = 1; i <= length; i++) {
        size_t diagonal = costs[0];
        costs[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t replaced = diagonal + (from[i - 1] != name[j - 1]);
            diagonal = costs[j];
            costs[j] = min_of_three(replaced, costs[j] + 1, costs[j - 1] + 1);
        }
    }
    return costs[width];
}

const struct config_option *suggest_option(const char *name, size_t length, bool in_file)
{
    const struct config_option *nearest = NULL;
    size_t min = SUGGESTION_DISTANCE_MAX + 1;

    for (size_t i = 0; config_options[i].name != NULL; i++) {
        size_t distance = edit_distance(name, length, config_options[i].name);
        if (distance < min && (option_is_in_file(&config_options[i]) || !in_file)) {
            nearest = &config_options[i];
            min = distance;
        }
    }
    return nearest;
}

bool suggest_is_background(const char *name, size_t length)
{
    static const char *const names[] = {"daemon",    "daemonize", "daemonise",     "background",
                                        "bg",        "detach",    "detached",      "fork",
                                        "no-daemon", "nodaemon",  "no-daemonize",  "no-detach",
                                        "no-fork",   "nofork",    "no-background", "foreground",
                                        "fg"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t distance = edit_distance(name, length, names[i]);
        if (distance == 0 ||
            (strlen(names[i]) >= LONG_NAME_MIN && distance <= SUGGESTION_DISTANCE_MAX))
            return true;
    }
    return false;
}

const char suggest_foreground[] =
    "h2echod stays in the foreground: to run it in the background, use its systemd service, "
    "or end the command with '&'";

static bool is_port(const char *text)
{
    uint64_t number;

    return value_parse(option_find("port"), text, &number);
}

static bool is_ip_address(const char *text)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* Format a suggestion. Return false if it would be cut, here or when it is shown: what is left of
 * it could not be typed. */
__attribute__((format(printf, 2, 3))) static bool format_suggestion(char suggestion[SUGGESTION_MAX],
                                                                    const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(suggestion, SUGGESTION_MAX, format, arguments);
    va_end(arguments);
    return length >= 0 && length < SUGGESTION_MAX &&
           log_escape_size(suggestion, (size_t)length) <= SHOWN_MAX;
}

const char *suggest_for_number(const char *number, char text[SUGGESTION_MAX])
{
    char expected[EXPECTED_MAX];

    if (!is_port(number) || !format_suggestion(text, "did you mean -p %s?", number))
        (void)snprintf(text, SUGGESTION_MAX, "a port is %s, given with -p",
                       value_expected(option_find("port"), expected));
    return text;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);

    return length > strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* HOST:PORT, [HOST]:PORT, *:PORT and :PORT. */
static bool suggest_for_host_port(const char *text, char suggestion[SUGGESTION_MAX])
{
    const char *colon = strrchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : 0;
    bool has_brackets = length > 2 && text[0] == '[' && text[length - 1] == ']';

    if (colon == NULL || !is_port(colon + 1) || strpbrk(text, "/=") != NULL)
        return false;
    if (length == 0 || (length == 1 && text[0] == '*'))
        return format_suggestion(suggestion, "-p %s", colon + 1);
    if (has_brackets)
        return format_suggestion(suggestion, "-a %.*s -p %s", (int)length - 2, text + 1, colon + 1);
    return strcspn(text, ":[]") == length &&
           format_suggestion(suggestion, "-a %.*s -p %s", (int)length, text, colon + 1);
}

/* A value without its option: its form shows which option it belongs to. */
static bool suggest_for_value(const char *text, char suggestion[SUGGESTION_MAX])
{
    const char *option = NULL;

    if (is_ip_address(text) || strcmp(text, "localhost") == 0)
        option = "-a";
    else if (strstr(text, "://") != NULL)
        option = "--probe";
    else if (ends_with(text, ".conf"))
        option = "-c";
    else if (ends_with(text, ".sock") || ends_with(text, ".socket"))
        option = "--unix";
    return option != NULL && format_suggestion(suggestion, "%s %s", option, text);
}

/* The name of an option without its dashes, with or without "=VALUE". */
static bool suggest_for_name(const char *text, char suggestion[SUGGESTION_MAX])
{
    size_t length = strcspn(text, "=");
    const struct config_option *near = suggest_option(text, length, false);

    if (near == NULL || (text[length] == '=' && !option_takes_value(near)))
        return false;
    return format_suggestion(suggestion, "--%s%s", near->name, text + length);
}

bool suggest_for_argument(const char *text, char suggestion[SUGGESTION_MAX])
{
    return suggest_for_value(text, suggestion) || suggest_for_host_port(text, suggestion) ||
           suggest_for_name(text, suggestion);
}
