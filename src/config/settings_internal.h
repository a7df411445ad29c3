/*
 * settings_internal: what the files of src/config share. No other folder includes this header.
 *
 *     settings ─┬─> command_line ─┬─> suggest ──┐
 *               ├─> config_file ──┴─> reader ───┼─> member, value, file_syntax ──> options
 *               └── print ──────────────────────┘
 *
 * options is the table. value converts between text and numbers, file_syntax knows what the file
 * can hold, and member accesses the members of struct settings. reader checks and stores what
 * command_line and config_file find; suggest guesses what a wrong name was meant to be. print
 * writes the dump and the help.
 */
#ifndef H2ECHOD_CONFIG_SETTINGS_INTERNAL_H
#define H2ECHOD_CONFIG_SETTINGS_INTERNAL_H

#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    OPTIONS_MAX = 64,     /* at least the number of options in the table */
    OPTION_NAME_MAX = 31, /* at least the length of the longest name in the table */
    SHOWN_MAX = 128,      /* size of a buffer for an escaped value in a message */
    SHOWN_NAME_MAX = 192, /* size of a buffer for an escaped file name in a message */
    EXPECTED_MAX = 96,    /* size of a buffer for value_expected */
    NUMBER_TEXT_MAX = 32, /* size of a buffer for value_format */
    SUGGESTION_MAX = 128, /* size of a buffer for suggest_for_argument and suggest_for_number */
};

#define KIB    UINT64_C(1024)
#define MIB    (1024 * KIB)
#define SECOND UINT64_C(1000) /* durations are stored in milliseconds */
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

/* --- options.c: the table ------------------------------------------------------------------- */

/* How a value is written, and in what kind of member it is stored. */
enum option_type {
    TYPE_NUMBER,    /* uint64_t */
    TYPE_PORT,      /* uint64_t: a number, or "off" for LISTENER_NO_PORT */
    TYPE_OCTAL,     /* uint64_t */
    TYPE_SIZE,      /* uint64_t: bytes */
    TYPE_DURATION,  /* uint64_t: milliseconds */
    TYPE_ENUM,      /* uint64_t: a value of an enum, written as its name */
    TYPE_SWITCH,    /* bool */
    TYPE_PATH,      /* char *: owned; NULL = not set */
    TYPE_ADDRESSES, /* char **: owned, NULL-terminated; each use of the option appends one */
    TYPE_ACTION,    /* bool: true if the option is given; it takes no value */
    TYPE_OPERAND,   /* char *: NULL unless the option is given; then the operand, or "" */
    TYPE_QUIET,     /* no member; lowers the verbosity by one */
    TYPE_VERBOSE,   /* no member; raises the verbosity by one */
};

enum option_scope {
    COMMAND_LINE, /* only on the command line */
    RESTART,      /* also in the file; a reload does not change it */
    RELOAD,       /* also in the file; a reload changes it */
};

/* One row of the table; options.c describes the columns. */
struct config_option {
    const char *name;
    size_t offset; /* of the member in struct settings */
    uint64_t min;
    uint64_t max;
    const char *(*enum_name)(uint64_t value); /* TYPE_ENUM: the name of each value, min to max */
    const char *default_value;
    const char *placeholder;
    const char *help;
    enum option_type type;
    enum option_scope scope;
    char letter;
};

/* The last row has no name. */
extern const struct config_option config_options[];

/*
 * option_find(name):
 * Return the option with exactly this name, or NULL.
 */
const struct config_option *option_find(const char *name);

/*
 * option_is_in_file(option):
 * Return true if the option may also be given in the file.
 */
bool option_is_in_file(const struct config_option *option);

/*
 * option_is_string(option):
 * Return true if the option's values are strings, and can be in the file.
 */
bool option_is_string(const struct config_option *option);

/*
 * option_takes_value(option):
 * Return true if "--NAME=VALUE" is possible on the command line.
 */
bool option_takes_value(const struct config_option *option);

/* --- value.c: text to number and back ------------------------------------------------------- */

/*
 * value_parse(option, text, number):
 * Store in *${number} the number that ${text} stands for; for an option with strings, the length
 * of ${text}. Return false if ${text} is not a valid value of ${option}.
 */
bool value_parse(const struct config_option *option, const char *text, uint64_t *number);

/*
 * value_format(option, number, text):
 * Return the shortest text for which value_parse gives ${number}: ${text}, or a static string.
 */
const char *value_format(const struct config_option *option, uint64_t number,
                         char text[NUMBER_TEXT_MAX]);

/*
 * value_expected(option, text):
 * Return a description of the valid values, to follow "is not": ${text}, or a static string.
 */
const char *value_expected(const struct config_option *option, char text[EXPECTED_MAX]);

/*
 * text_append(text, size, format, ...):
 * Append to the string ${text} in a buffer of ${size} bytes. What does not fit is cut off.
 */
void text_append(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- file_syntax.c: values in the file ------------------------------------------------------ */

/*
 * file_syntax_is_white_space(byte):
 * Return true for what may surround keys and values.
 */
bool file_syntax_is_white_space(char byte);

/*
 * file_syntax_length_before_comment(text):
 * Return the length of ${text} up to a comment, which is a '#' at the start or after white space.
 */
size_t file_syntax_length_before_comment(const char *text);

/*
 * file_syntax_can_hold(text):
 * Return true if ${text}, written into the file as a value, is read back unchanged.
 */
bool file_syntax_can_hold(const char *text);

/* --- member.c: the members of struct settings ----------------------------------------------- */

/*
 * member_number(option, settings):
 * Return the value of an option whose member is a number or a bool.
 */
uint64_t member_number(const struct config_option *option, const struct settings *settings);

/*
 * member_strings(option, settings, single):
 * Return the values of an option for which option_is_string is true, as a NULL-terminated array:
 * the member itself, or ${single} filled with the one string. The strings stay owned by
 * ${settings}.
 */
char *const *member_strings(const struct config_option *option, const struct settings *settings,
                            char *single[2]);

/*
 * member_clear(option, settings):
 * Free the strings of a member and set it to NULL. Other members stay as they are.
 */
void member_clear(const struct config_option *option, struct settings *settings);

/*
 * member_store(option, settings, text, number):
 * Store a valid value: a copy of ${text} if the member holds strings, else ${number}. Return false
 * if memory ran out; the member then has its old value.
 */
bool member_store(const struct config_option *option, struct settings *settings, const char *text,
                  uint64_t number);

/*
 * member_equal(option, a, b):
 * Return true if both settings have the same value.
 */
bool member_equal(const struct config_option *option, const struct settings *a,
                  const struct settings *b);

/*
 * member_copy(option, to, from):
 * Give ${to} the value that ${from} has. Return false if memory ran out; a list may then be
 * incomplete.
 */
bool member_copy(const struct config_option *option, struct settings *to,
                 const struct settings *from);

/* --- reader.c: what command line and file have in common ------------------------------------ */

/* The state of one settings_read. */
struct reader {
    struct settings *settings; /* being filled */
    settings_error_fn *on_error;
    void *argument; /* of on_error */
    enum settings_result result;
    enum settings_result exit_code; /* the result if an error is found now */

    char file[SHOWN_NAME_MAX];          /* the name of the file, escaped */
    unsigned long line;                 /* the line being read; 0 = the command line */
    unsigned long line_of[OPTIONS_MAX]; /* the line that sets each option; 0 = none so far */

    bool given[OPTIONS_MAX]; /* whether the command line sets each option */
    int verbosity;           /* how often --verbose was given, minus how often --quiet was */
    const struct config_option *operand_option; /* takes the next operand; NULL = none does */
};

/*
 * reader_report(reader, format, ...):
 * Report an error, after "FILE:LINE: " if it is in the file.
 */
void reader_report(struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * reader_report_no_memory(reader):
 * Report that memory ran out, once. Of all errors, this one decides the result.
 */
void reader_report_no_memory(struct reader *reader);

/*
 * reader_set_value(reader, option, text):
 * Check ${text} and store it as the value of ${option}, or report what is wrong with it. A value
 * in the file is checked, but not stored, if the command line sets the option too.
 */
void reader_set_value(struct reader *reader, const struct config_option *option, const char *text);

/* --- command_line.c ------------------------------------------------------------------------- */

/*
 * command_line_read(reader, argc, argv):
 * Store every option of the command line, and report every error. Uses getopt, so it must not run
 * in two threads at once. ${argv} is not reordered.
 */
void command_line_read(struct reader *reader, int argc, char *const argv[]);

/* --- config_file.c -------------------------------------------------------------------------- */

/*
 * config_file_read(reader, name):
 * Store every setting of the file, and report every error, also that it can't be read. Must run
 * after command_line_read, which takes precedence.
 */
void config_file_read(struct reader *reader, const char *name);

/* --- suggest.c: what a wrong argument was probably meant to be ------------------------------ */

/* How to run it in the background, for an option that asks for that. */
extern const char suggest_foreground[];

/*
 * suggest_option(name, length, in_file):
 * Return the option whose name is most like the ${length} bytes at ${name}, or NULL if none is
 * like it. If ${in_file}, only options that can be in the file count.
 */
const struct config_option *suggest_option(const char *name, size_t length, bool in_file);

/*
 * suggest_is_background(name, length):
 * Return true if other daemons have an option like this one to run in the background or in the
 * foreground.
 */
bool suggest_is_background(const char *name, size_t length);

/*
 * suggest_for_number(number, text):
 * Return ${text}, filled with what to write instead of an argument of digits only.
 */
const char *suggest_for_number(const char *number, char text[SUGGESTION_MAX]);

/*
 * suggest_for_argument(text, suggestion):
 * Fill ${suggestion} with the options that an argument without dashes was probably meant to be.
 * It holds bytes of ${text} unescaped. Return false if there is nothing to suggest.
 */
bool suggest_for_argument(const char *text, char suggestion[SUGGESTION_MAX]);

#endif
