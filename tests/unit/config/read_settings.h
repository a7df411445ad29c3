/*
 * read_settings: reads settings for the tests of src/config and keeps the result.
 *
 * A test reads with READ, read_text or read_bytes, then looks at ${outcome}. outcome_teardown has
 * to be the teardown of each test.
 */
#ifndef H2ECHOD_TESTS_UNIT_CONFIG_READ_SETTINGS_H
#define H2ECHOD_TESTS_UNIT_CONFIG_READ_SETTINGS_H

#include "config/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SHIPPED_FILE "conf/h2echod.conf" /* tests run in the project's top directory */

enum { ERRORS_MAX = 64, PATH_BYTES = 64 };

/* --- Reading -------------------------------------------------------------------------------- */

/* The result of the last reading: its settings and every error that it reported. */
struct outcome {
    enum settings_result result;
    struct settings *settings; /* NULL if there was an error */
    size_t count;
    char errors[ERRORS_MAX][SETTINGS_ERROR_MAX];
};

extern struct outcome outcome;

/* Release the settings of the last reading. */
void outcome_clear(void);
int outcome_teardown(void **state);

/* For settings_read: keep an error in the struct outcome that ${argument} points to. */
void keep_error(const char *message, void *argument);

/* Read a command line: the arguments after the program's name, with NULL after the last. */
enum settings_result read_arguments(const char *const arguments[]);
#define READ(...) read_arguments((const char *const[]){__VA_ARGS__, NULL})

/* Make a temporary file with these bytes and store its path. The caller removes it. */
void make_file(const char *text, size_t length, char path[PATH_BYTES]);

/* Read a file with these contents. */
enum settings_result read_bytes(const char *text, size_t length);
enum settings_result read_text(const char *text);

/* The same with --dump-config: the files that the settings name need not exist. */
enum settings_result read_for_dump(const char *text);

/* --- Asserting ------------------------------------------------------------------------------ */

/* The error number ${index} is in a file of make_file: "FILE" followed by ${expected}. */
void assert_file_error(size_t index, const char *expected);

/* The only error is this one, in the command line. */
void assert_only_error(const char *expected);

/* The only error is this one, in the file. */
void assert_only_file_error(const char *expected);

/* Return what settings_dump writes. The caller frees it. */
char *dump_of(const struct settings *settings);

/* The dump of the last reading has the line "${name} = ${value}". */
void assert_dumped(const char *name, const char *value);

/* --- The keys ------------------------------------------------------------------------------- */

/* Every key, in the order of a dump, with a value for the file and one for the command line,
 * neither of which is the default. Read them with --dump-config: the files that they name do not
 * exist. */
extern const struct config_key {
    const char *name;
    const char *in_file;
    const char *on_command_line;
} config_keys[];
extern const size_t config_key_count;

#endif
