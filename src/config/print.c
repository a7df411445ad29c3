/*
 * print: writes the settings as a file (--dump-config) and the usage text (--help), both from the
 * table of options.
 */
#include "config/settings_internal.h"

#include <stdio.h>

enum { HELP_COLUMN = 41 }; /* where the descriptions of options begin */

static void dump_strings(const struct config_option *option, const struct settings *settings,
                         FILE *out)
{
    char *single[2];
    char *const *strings = member_strings(option, settings, single);

    if (*strings == NULL)
        (void)fprintf(out, "#%s =\n", option->name);
    for (; *strings != NULL; strings++)
        (void)fprintf(out, "%s = %s\n", option->name, *strings);
}

static void dump_number(const struct config_option *option, const struct settings *settings,
                        FILE *out)
{
    char text[NUMBER_TEXT_MAX];

    (void)fprintf(out, "%s = %s\n", option->name,
                  value_format(option, member_number(option, settings), text));
}

static void dump_option(const struct config_option *option, const struct settings *settings,
                        FILE *out)
{
    char expected[EXPECTED_MAX];

    (void)fprintf(out, "# %s (%s)\n", option->help, value_expected(option, expected));
    if (option_is_string(option))
        dump_strings(option, settings, out);
    else
        dump_number(option, settings, out);
}

void settings_dump(const struct settings *settings, FILE *out)
{
    const char *separator = "";

    for (size_t i = 0; config_options[i].name != NULL; i++) {
        if (!option_is_in_file(&config_options[i]))
            continue;
        (void)fputs(separator, out);
        dump_option(&config_options[i], settings, out);
        separator = "\n";
    }
}

static void help_option(const struct config_option *option, FILE *out)
{
    char left[HELP_COLUMN + 1] = "";

    if (option->letter != 0)
        text_append(left, sizeof(left), "  -%c, --%s", option->letter, option->name);
    else
        text_append(left, sizeof(left), "      --%s", option->name);
    if (option->type == TYPE_SWITCH)
        text_append(left, sizeof(left), "[=%s]", option->placeholder);
    else if (option->placeholder != NULL)
        text_append(left, sizeof(left), " %s", option->placeholder);
    (void)fprintf(out, "%-*s%s", HELP_COLUMN, left, option->help);
    if (option->default_value != NULL)
        (void)fprintf(out, " [%s]", option->default_value);
    (void)fputc('\n', out);
}

static void help_options(bool in_file, FILE *out)
{
    for (size_t i = 0; config_options[i].name != NULL; i++)
        if (option_is_in_file(&config_options[i]) == in_file)
            help_option(&config_options[i], out);
}

void settings_help(FILE *out)
{
    (void)fputs(
        "Usage: h2echod [OPTION]...\n"
        "Answer every HTTP/2 request with its own fields as JSON. Try: h2echod -p 8080\n"
        "\n"
        "Settings, with [defaults]. In a configuration file, write them like port = 8080:\n",
        out);
    help_options(true, out);
    (void)fputs("\nCommand line only:\n", out);
    help_options(false, out);
    (void)fputs(
        "\n"
        "TIME is a number with ms, s, m or h, such as 500ms; without a unit, it is seconds.\n"
        "SIZE is a number with KiB or MiB, such as 64KiB; without a unit, it is bytes.\n"
        "The command line overrides FILE, and FILE overrides the defaults.\n"
        "See also h2echod(8) and h2echod.conf(5).\n",
        out);
}
