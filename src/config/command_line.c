/*
 * command_line: reads the options of the command line with getopt_long. All errors are reported in
 * the order of the arguments; getopt itself prints nothing.
 */
#include "config/settings_internal.h"

#include <getopt.h>
#include <string.h>

enum {
    NOT_AN_OPTION = 1, /* what getopt_long returns for an operand */
    LONG_OPTION = 256, /* what it returns for the first row of the table; letters are less */
    LETTERS_MAX = 2 + 2 * OPTIONS_MAX + 1, /* size of a buffer for all short options */
};

static const struct config_option *option_of_code(int code)
{
    if (code >= LONG_OPTION)
        return &config_options[code - LONG_OPTION];
    for (size_t i = 0; config_options[i].name != NULL; i++)
        if (config_options[i].letter == code)
            return &config_options[i];
    return NULL;
}

static int getopt_has_arg(const struct config_option *option)
{
    if (option->type == TYPE_SWITCH)
        return optional_argument;
    return option_takes_value(option) ? required_argument : no_argument;
}

/* The leading "-" makes getopt return operands in their order as NOT_AN_OPTION; the ":" after it
 * makes getopt return ':', not '?', for a missing value. */
static void build_getopt_tables(struct option long_options[OPTIONS_MAX + 1],
                                char short_options[LETTERS_MAX])
{
    int i;

    short_options[0] = '\0';
    text_append(short_options, LETTERS_MAX, "-:");
    for (i = 0; config_options[i].name != NULL; i++) {
        const struct config_option *option = &config_options[i];
        long_options[i] =
            (struct option){option->name, getopt_has_arg(option), NULL, LONG_OPTION + i};
        if (option->letter != 0)
            text_append(short_options, LETTERS_MAX, "%c%s", option->letter,
                        getopt_has_arg(option) == required_argument ? ":" : "");
    }
    long_options[i] = (struct option){NULL, 0, NULL, 0};
}

static bool is_decimal_argument(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* An argument that is neither an option nor the operand of one. */
static void report_stray(struct reader *reader, const char *text)
{
    char suggestion[SUGGESTION_MAX];
    char suggested[SHOWN_MAX];
    char shown[SHOWN_MAX];

    log_escape(shown, sizeof(shown), text, strlen(text));
    if (is_decimal_argument(text))
        reader_report(reader, "unexpected argument '%s': %s", shown,
                      suggest_for_number(text, suggestion));
    else if (suggest_for_argument(text, suggestion))
        reader_report(reader, "unexpected argument '%s': did you mean %s?", shown,
                      log_escape(suggested, sizeof(suggested), suggestion, strlen(suggestion)));
    else if (suggest_is_background(text, strlen(text)))
        reader_report(reader, "unexpected argument '%s': %s", shown, suggest_foreground);
    else
        reader_report(reader,
                      "unexpected argument '%s': settings are given as options, see h2echod --help",
                      shown);
}

static void set_operand(struct reader *reader, const char *text)
{
    if (reader->operand_option == NULL || *text == '\0')
        report_stray(reader, text);
    else if (!member_store(reader->operand_option, reader->settings, text, 0))
        reader_report_no_memory(reader);
    else
        reader->operand_option = NULL;
}

/* Whether getopt refused an abbreviation because several options begin with it. */
static bool is_ambiguous(const char *name, size_t length)
{
    int count = 0;

    for (size_t i = 0; config_options[i].name != NULL; i++)
        count += strncmp(config_options[i].name, name, length) == 0;
    return count > 1;
}

/* ${argument} is "--NAME" or "--NAME=VALUE". */
static void report_unknown_long(struct reader *reader, const char *argument)
{
    char shown[SHOWN_MAX];
    size_t length = strcspn(argument + 2, "=");
    const struct config_option *near = suggest_option(argument + 2, length, false);

    log_escape(shown, sizeof(shown), argument + 2, length);
    if (suggest_is_background(argument + 2, length))
        reader_report(reader, "--%s: %s", shown, suggest_foreground);
    else if (is_ambiguous(argument + 2, length))
        reader_report(reader, "--%s: several options begin like this: write the name in full",
                      shown);
    else if (near != NULL)
        reader_report(reader, "--%s: unknown option: did you mean --%s?", shown, near->name);
    else
        reader_report(reader, "--%s: unknown option: h2echod --help lists all options", shown);
}

/* ${letter} is one of the letters in ${argument}. A number such as -8080 is reported once,
 * for its last letter. */
static void report_unknown_letter(struct reader *reader, const char *argument, char letter,
                                  bool is_last)
{
    char advice[SUGGESTION_MAX];
    char shown[SHOWN_MAX];

    log_escape(shown, sizeof(shown), &letter, 1);
    if (is_decimal_argument(argument + 1)) {
        if (is_last)
            reader_report(reader, "%s: unknown option: %s",
                          log_escape(shown, sizeof(shown), argument, strlen(argument)),
                          suggest_for_number(argument + 1, advice));
    } else if (letter == 'd' || letter == 'D')
        reader_report(reader, "-%s: %s", shown, suggest_foreground);
    else
        reader_report(reader, "-%s: unknown option: h2echod --help lists all options", shown);
}

/* A value after '=', as in --help=x. */
static void report_unwanted_value(struct reader *reader, const struct config_option *option)
{
    bool has_operand = option->type == TYPE_OPERAND;

    reader_report(reader, "--%s: takes no value after '=': write --%s%s%s", option->name,
                  option->name, has_operand ? " " : "", has_operand ? option->placeholder : "");
}

/* ${argument} is where getopt found the error; ${is_last} if getopt is done with it. */
static void report_bad_option(struct reader *reader, const char *argument, bool is_last)
{
    if (optopt >= LONG_OPTION)
        report_unwanted_value(reader, option_of_code(optopt));
    else if (optopt == 0)
        report_unknown_long(reader, argument);
    else
        report_unknown_letter(reader, argument, (char)optopt, is_last);
}

static void report_missing_value(struct reader *reader, const struct config_option *option)
{
    char expected[EXPECTED_MAX];

    reader_report(reader, "--%s: the value is missing: write %s", option->name,
                  value_expected(option, expected));
}

static void apply_option(struct reader *reader, const struct config_option *option)
{
    reader->given[option - config_options] = true;
    switch (option->type) {
    case TYPE_QUIET:
        reader->verbosity--;
        break;
    case TYPE_VERBOSE:
        reader->verbosity++;
        break;
    case TYPE_ACTION:
        (void)member_store(option, reader->settings, "", true);
        break;
    case TYPE_OPERAND: /* done by find_operand_option */
        break;
    case TYPE_NUMBER:
    case TYPE_PORT:
    case TYPE_OCTAL:
    case TYPE_SIZE:
    case TYPE_DURATION:
    case TYPE_ENUM:
    case TYPE_SWITCH:
    case TYPE_PATH:
    case TYPE_ADDRESSES:
        reader_set_value(reader, option, optarg != NULL ? optarg : "on");
        break;
    }
}

static void handle_getopt(struct reader *reader, int code, const char *argument, bool is_last)
{
    switch (code) {
    case NOT_AN_OPTION:
        set_operand(reader, optarg);
        break;
    case ':':
        report_missing_value(reader, option_of_code(optopt));
        break;
    case '?':
        report_bad_option(reader, argument, is_last);
        break;
    default:
        apply_option(reader, option_of_code(code));
        break;
    }
}

/* The operand may precede its option, as in "URL --probe": find the option before any operand is
 * handled. */
static void find_operand_option(struct reader *reader, int argc, char *const argv[],
                                const char *short_options, const struct option *long_options)
{
    int code;

    optind = 0; /* glibc: start over */
    while ((code = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
        if (code >= LONG_OPTION && option_of_code(code)->type == TYPE_OPERAND)
            reader->operand_option = option_of_code(code);
    if (reader->operand_option != NULL &&
        !member_store(reader->operand_option, reader->settings, "", 0))
        reader_report_no_memory(reader);
}

void command_line_read(struct reader *reader, int argc, char *const argv[])
{
    struct option long_options[OPTIONS_MAX + 1];
    char short_options[LETTERS_MAX];
    int code;

    build_getopt_tables(long_options, short_options);
    reader->exit_code = SETTINGS_BAD_USAGE;
    opterr = 0;
    find_operand_option(reader, argc, argv, short_options, long_options);
    optind = 0;
    for (;;) {
        int at = optind > 0 ? optind : 1;
        code = getopt_long(argc, argv, short_options, long_options, NULL);
        if (code == -1)
            break;
        handle_getopt(reader, code, argv[at], optind > at);
    }
    for (int i = optind; i < argc; i++)
        set_operand(reader, argv[i]);
}
