/*
 * What the files of src/config share. Nothing outside this folder includes it.
 *
 *     settings ──┬─> command_line ──┬─> suggest ──┐
 *                ├─> config_file ───┘             ├─> options, value, member
 *                ├─> reader ──────────────────────┤
 *                └   print ───────────────────────┘
 */
#ifndef H2ECHOD_CONFIG_INTERNAL_H
#define H2ECHOD_CONFIG_INTERNAL_H

#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    OPTIONS_MAX = 64,     /* options in the table, or more */
    OPTION_NAME_MAX = 31, /* bytes of the longest name in the table, or more */
    SHOWN_MAX = 128,      /* bytes of a buffer for an escaped value in a message */
    SHOWN_NAME_MAX = 192, /* the same for the name of the file */
    EXPECTED_MAX = 96,    /* bytes of a buffer for the description of valid values */
    NUMBER_TEXT_MAX = 32, /* bytes of a buffer for a number as text */
    SUGGESTION_MAX = 128, /* bytes of a buffer for the options to suggest */
};

#define KIB    UINT64_C(1024)
#define MIB    (1024 * KIB)
#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

enum option_type {
    TYPE_NUMBER,
    TYPE_PORT, /* a number, or off */
    TYPE_OCTAL,
    TYPE_SIZE,
    TYPE_DURATION,
    TYPE_ENUM,
    TYPE_SWITCH,
    TYPE_PATH,
    TYPE_ADDRESSES, /* texts; each further one is added */
    TYPE_ACTION,    /* true once it is named */
    TYPE_OPERAND,   /* an action that one operand may go with, "" without it */
    TYPE_QUIET,     /* no member: a step of the log level */
    TYPE_VERBOSE,
};

enum option_scope {
    COMMAND_LINE, /* not in the file */
    RESTART,      /* in the file, too; a reload does not change it */
    RELOAD,       /* in the file, too */
};

struct config_option {
    const char *name; /* the long option, and the key in the file */
    size_t offset;
    uint64_t min; /* of texts: bytes */
    uint64_t max;
    const char *(*enum_name)(uint64_t value); /* TYPE_ENUM: how a value is spelled */
    const char *default_value;                /* the default; NULL = nothing, zero, false */
    const char *placeholder;
    const char *help;
    enum option_type type;
    enum option_scope scope;
    char letter; /* the short option; 0 = none */
};

extern const struct config_option config_options[]; /* ended by one without a name */

const struct config_option *option_find(const char *name);
bool option_is_in_file(const struct config_option *option);
bool option_is_text(const struct config_option *option);
bool option_takes_value(const struct config_option *option);

uint64_t member_number(const struct config_option *option, const struct settings *settings);
char *const *member_texts(const struct config_option *option, const struct settings *settings,
                          char *one[2]);
void member_clear(const struct config_option *option, struct settings *settings);
bool member_store(const struct config_option *option, struct settings *settings, const char *text,
                  uint64_t number);
bool member_equal(const struct config_option *option, const struct settings *a,
                  const struct settings *b);
bool member_copy(const struct config_option *option, struct settings *to,
                 const struct settings *from);

bool value_parse(const struct config_option *option, const char *text, uint64_t *number);
const char *value_format(const struct config_option *option, uint64_t number,
                         char text[NUMBER_TEXT_MAX]);
const char *value_expected(const struct config_option *option, char text[EXPECTED_MAX]);
void text_append(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct reader {
    struct settings *settings;
    settings_error_fn *on_error;
    void *argument;
    enum settings_result result;
    enum settings_result exit_code; /* what an error makes of the result */
    char file[SHOWN_NAME_MAX];
    unsigned long line;                 /* of the file; 0 = the command line */
    unsigned long line_of[OPTIONS_MAX]; /* where the file has the key; 0 = nowhere yet */
    bool given[OPTIONS_MAX];            /* on the command line, which goes before the file */
    int verbosity;                      /* steps of the log level */
    const struct config_option
        *operand_for; /* the action that may have an operand, until it has one */
};

void reader_report(struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void reader_report_no_memory(struct reader *reader);
void reader_set_value(struct reader *reader, const struct config_option *option, const char *text);

void command_line_read(struct reader *reader, int argc, char *const argv[]);

void config_file_read(struct reader *reader, const char *name);
bool config_file_can_hold(const char *text);

extern const char suggest_foreground[];
const struct config_option *suggest_option(const char *name, size_t length, bool in_file);
bool suggest_is_background(const char *name, size_t length);
const char *suggest_for_number(const char *number, char text[SUGGESTION_MAX]);
bool suggest_for_argument(const char *text, char suggestion[SUGGESTION_MAX]);

#endif
