#include "config/internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { SUGGESTION_DISTANCE_MAX = 2 }; /* edits between a wrong name and the one to suggest */

static size_t min_of_three(size_t a, size_t b, size_t c)
{
    size_t less = a < b ? a : b;

    return less < c ? less : c;
}

/* Levenshtein's distance from ${length} bytes to the name of an option. */
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

/* The option whose name was probably meant; NULL if none is near. */
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

/* What daemons call it to go into the background, or not to. The longer names are found with an
 * error or two in them. */
bool suggest_is_background(const char *name, size_t length)
{
    static const char *const names[] = {"daemon",    "daemonize", "daemonise",     "background",
                                        "bg",        "detach",    "detached",      "fork",
                                        "no-daemon", "nodaemon",  "no-daemonize",  "no-detach",
                                        "no-fork",   "nofork",    "no-background", "foreground",
                                        "fg"};
    enum { LONG_NAME = 6 };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t distance = edit_distance(name, length, names[i]);
        if (distance == 0 || (strlen(names[i]) >= LONG_NAME && distance <= SUGGESTION_DISTANCE_MAX))
            return true;
    }
    return false;
}

const char suggest_foreground[] =
    "h2echod stays in the foreground: for the background use its systemd service, or end the "
    "command with '&'";

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

/* What to do about a number that stands for itself; ${text} is room for the words. */
const char *suggest_for_number(const char *number, char text[SUGGESTION_MAX])
{
    char expected[EXPECTED_MAX];

    if (is_port(number))
        (void)snprintf(text, SUGGESTION_MAX, "did you mean -p %s?", number);
    else
        (void)snprintf(text, SUGGESTION_MAX, "a port is %s, behind -p",
                       value_expected(option_find("port"), expected));
    return text;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);

    return length > strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* Suggest for HOST:PORT, [HOST]:PORT, *:PORT and :PORT. */
static bool suggest_host_port(const char *text, char suggestion[SUGGESTION_MAX])
{
    const char *colon = strrchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : 0;
    bool brackets = length > 2 && text[0] == '[' && text[length - 1] == ']';

    if (colon == NULL || !is_port(colon + 1) || strpbrk(text, "/=") != NULL)
        return false;
    if (length == 0 || (length == 1 && text[0] == '*'))
        (void)snprintf(suggestion, SUGGESTION_MAX, "-p %s", colon + 1);
    else if (brackets)
        (void)snprintf(suggestion, SUGGESTION_MAX, "-a %.*s -p %s", (int)length - 2, text + 1,
                       colon + 1);
    else if (strcspn(text, ":[]") == length)
        (void)snprintf(suggestion, SUGGESTION_MAX, "-a %.*s -p %s", (int)length, text, colon + 1);
    else
        return false;
    return true;
}

/* Suggest the option that a value was probably meant for. */
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
    if (option != NULL)
        (void)snprintf(suggestion, SUGGESTION_MAX, "%s %s", option, text);
    return option != NULL;
}

/* Suggest for a name without its dashes, whatever value it has. */
static bool suggest_for_name(const char *text, char suggestion[SUGGESTION_MAX])
{
    size_t length = strcspn(text, "=");
    const struct config_option *near = suggest_option(text, length, false);

    if (near == NULL || (text[length] == '=' && !option_takes_value(near)))
        return false;
    (void)snprintf(suggestion, SUGGESTION_MAX, "--%s%s", near->name, text + length);
    return true;
}

bool suggest_for_argument(const char *text, char suggestion[SUGGESTION_MAX])
{
    return suggest_for_value(text, suggestion) || suggest_host_port(text, suggestion) ||
           suggest_for_name(text, suggestion);
}
