/*
 * value: converts between the text of a value and the number that is stored, by the option's type,
 * and describes the valid values. It allocates nothing and touches no settings.
 */
#include "config/settings_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* A number is written with the first unit that divides it, at the latest with the unit of 1. The
 * units after that are only read. */
static const struct unit time_units[] = {{"h", HOUR}, {"m", MINUTE}, {"s", SECOND},
                                         {"ms", 1},   {"", SECOND},  {NULL, 0}};
static const struct unit size_units[] = {{"MiB", MIB}, {"KiB", KIB}, {"", 1},
                                         {"M", MIB},   {"K", KIB},   {NULL, 0}};

/* Return the end of the digits, or NULL if there are none or the number is too large. */
static const char *parse_digits(const char *text, unsigned base, uint64_t *number)
{
    const char *at = text;

    for (*number = 0; *at >= '0' && *at < (char)('0' + base); at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (*number > (UINT64_MAX - digit) / base)
            return NULL;
        *number = *number * base + digit;
    }
    return at == text ? NULL : at;
}

static bool parse_number(const char *text, unsigned base, uint64_t *number)
{
    const char *end = parse_digits(text, base, number);

    return end != NULL && *end == '\0';
}

static bool parse_port_or_off(const char *text, uint64_t *number)
{
    if (strcmp(text, "off") != 0)
        return parse_number(text, 10, number) && *number < LISTENER_NO_PORT;
    *number = LISTENER_NO_PORT;
    return true;
}

static bool parse_scaled(const char *text, const struct unit *unit, uint64_t *number)
{
    uint64_t count;
    const char *end = parse_digits(text, 10, &count);

    if (end == NULL)
        return false;
    end += strspn(end, " \t");
    while (unit->name != NULL && strcmp(unit->name, end) != 0)
        unit++;
    if (unit->name == NULL || count > UINT64_MAX / unit->factor)
        return false;
    *number = count * unit->factor;
    return true;
}

static bool parse_enum(const struct config_option *option, const char *text, uint64_t *number)
{
    for (*number = option->min; *number <= option->max; ++*number)
        if (strcmp(option->enum_name(*number), text) == 0)
            return true;
    return false;
}

static bool parse_switch(const char *text, uint64_t *number)
{
    static const char *const names[] = {"off", "on", "no", "yes", "false", "true"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], text) == 0) {
            *number = i % 2;
            return true;
        }
    }
    return false;
}

static bool parse_by_type(const struct config_option *option, const char *text, uint64_t *number)
{
    switch (option->type) {
    case TYPE_NUMBER:
        return parse_number(text, 10, number);
    case TYPE_PORT:
        return parse_port_or_off(text, number);
    case TYPE_OCTAL:
        return parse_number(text, 8, number);
    case TYPE_SIZE:
        return parse_scaled(text, size_units, number);
    case TYPE_DURATION:
        return parse_scaled(text, time_units, number);
    case TYPE_ENUM:
        return parse_enum(option, text, number);
    case TYPE_SWITCH:
        return parse_switch(text, number);
    case TYPE_PATH:
    case TYPE_ADDRESSES:
        *number = strlen(text);
        return true;
    case TYPE_ACTION:
    case TYPE_OPERAND:
    case TYPE_QUIET:
    case TYPE_VERBOSE:
        break;
    }
    return false;
}

bool value_parse(const struct config_option *option, const char *text, uint64_t *number)
{
    return parse_by_type(option, text, number) && *number >= option->min && *number <= option->max;
}

static const char *format_scaled(char text[NUMBER_TEXT_MAX], const struct unit *unit,
                                 uint64_t number)
{
    while (number % unit->factor != 0)
        unit++;
    (void)snprintf(text, NUMBER_TEXT_MAX, "%ju%s", (uintmax_t)(number / unit->factor), unit->name);
    return text;
}

const char *value_format(const struct config_option *option, uint64_t number,
                         char text[NUMBER_TEXT_MAX])
{
    switch (option->type) {
    case TYPE_PORT:
        if (number == LISTENER_NO_PORT)
            return "off";
        break;
    case TYPE_OCTAL:
        (void)snprintf(text, NUMBER_TEXT_MAX, "%04jo", (uintmax_t)number);
        return text;
    case TYPE_SIZE:
        return format_scaled(text, size_units, number);
    case TYPE_DURATION:
        return format_scaled(text, time_units, number);
    case TYPE_ENUM:
        return option->enum_name(number);
    case TYPE_SWITCH:
    case TYPE_ACTION:
        return number != 0 ? "on" : "off";
    case TYPE_NUMBER:
    case TYPE_PATH:
    case TYPE_ADDRESSES:
    case TYPE_OPERAND:
    case TYPE_QUIET:
    case TYPE_VERBOSE:
        break;
    }
    (void)snprintf(text, NUMBER_TEXT_MAX, "%ju", (uintmax_t)number);
    return text;
}

void text_append(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

static const char *expected_range(const struct config_option *option, const char *kind,
                                  const char *after, char text[EXPECTED_MAX])
{
    char min[NUMBER_TEXT_MAX];
    char max[NUMBER_TEXT_MAX];

    (void)snprintf(text, EXPECTED_MAX, "%s %s to %s%s", kind,
                   value_format(option, option->min, min), value_format(option, option->max, max),
                   after);
    return text;
}

static const char *expected_enum(const struct config_option *option, char text[EXPECTED_MAX])
{
    (void)snprintf(text, EXPECTED_MAX, "one of ");
    for (uint64_t value = option->min; value <= option->max; value++)
        text_append(text, EXPECTED_MAX, "%s%s", value == option->min ? "" : ", ",
                    option->enum_name(value));
    return text;
}

const char *value_expected(const struct config_option *option, char text[EXPECTED_MAX])
{
    switch (option->type) {
    case TYPE_NUMBER:
        return expected_range(option, "a number from", "", text);
    case TYPE_PORT:
        return "a number from 0 to 65535, or off";
    case TYPE_OCTAL:
        return expected_range(option, "an octal number from", "", text);
    case TYPE_SIZE:
        return expected_range(option, "a size from", "", text);
    case TYPE_DURATION:
        return expected_range(option, "a time from", "", text);
    case TYPE_ENUM:
        return expected_enum(option, text);
    case TYPE_PATH:
        return expected_range(option, "a path of", " bytes", text);
    case TYPE_ADDRESSES:
        return expected_range(option, "an address of", " bytes", text);
    case TYPE_SWITCH:
    case TYPE_ACTION:
    case TYPE_OPERAND:
    case TYPE_QUIET:
    case TYPE_VERBOSE:
        break;
    }
    return "on or off";
}
