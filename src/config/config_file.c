/*
 * config_file: reads the file of settings, one "key = value" a line. Errors do not end the reading:
 * each line is checked.
 */
#include "base/file.h"
#include "config/settings_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FILE_LINE_MAX = 4096 }; /* bytes of a line of the file, without its newline */

struct file_line {
    size_t length; /* of the line in the file; text holds at most FILE_LINE_MAX bytes of it */
    bool has_nul;
    char text[FILE_LINE_MAX + 1];
};

/* Return false at the end of the file and after an error. */
static bool read_file_line(FILE *file, struct file_line *line)
{
    int byte;

    line->length = 0;
    line->has_nul = false;
    while ((byte = getc(file)) != EOF && byte != '\n') {
        if (line->length < FILE_LINE_MAX)
            line->text[line->length] = (char)byte;
        line->length++;
        line->has_nul = line->has_nul || byte == '\0';
    }
    line->text[line->length < FILE_LINE_MAX ? line->length : FILE_LINE_MAX] = '\0';
    return byte == '\n' || (line->length > 0 && !ferror(file));
}

/* Remove the white space around ${text}, in place. */
static char *trim_white_space(char *text)
{
    while (file_syntax_is_white_space(*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && file_syntax_is_white_space(text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

static void report_unknown_key(struct reader *reader, const char *key)
{
    char shown[SHOWN_MAX];
    const struct config_option *near = suggest_option(key, strlen(key), true);

    log_escape(shown, sizeof(shown), key, strlen(key));
    if (option_find(key) != NULL)
        reader_report(reader, "unknown key '%s': this option is for the command line only", shown);
    else if (suggest_is_background(key, strlen(key)))
        reader_report(reader, "unknown key '%s': %s", shown, suggest_foreground);
    else if (near != NULL)
        reader_report(reader, "unknown key '%s': did you mean '%s'?", shown, near->name);
    else
        reader_report(reader, "unknown key '%s': h2echod --help lists the keys", shown);
}

static void set_key(struct reader *reader, const char *key, const char *value)
{
    const struct config_option *option = option_find(key);

    if (option == NULL || !option_is_in_file(option)) {
        report_unknown_key(reader, key);
        return;
    }
    unsigned long *line = &reader->line_of[option - config_options];
    if (*line != 0 && option->type != TYPE_ADDRESSES) {
        reader_report(reader, "%s: already set in line %lu: keep only one of them", option->name,
                      *line);
        return;
    }
    *line = reader->line;
    reader_set_value(reader, option, value);
}

static void parse_line(struct reader *reader, struct file_line *line)
{
    char shown[SHOWN_MAX];

    if (line->length > FILE_LINE_MAX) {
        reader_report(reader, "the line is too long: it has %zu bytes, the limit is %d",
                      line->length, FILE_LINE_MAX);
        return;
    }
    if (line->has_nul) {
        reader_report(reader, "the line contains a NUL byte: the file must be text");
        return;
    }
    line->text[file_syntax_length_before_comment(line->text)] = '\0';
    char *text = trim_white_space(line->text);
    char *equals = strchr(text, '=');
    if (equals != NULL) {
        *equals = '\0';
        set_key(reader, trim_white_space(text), trim_white_space(equals + 1));
    } else if (*text != '\0') {
        reader_report(reader, "'%s' has no '=': write key = value",
                      log_escape(shown, sizeof(shown), text, strlen(text)));
    }
}

static void report_unreadable(struct reader *reader, int error)
{
    char reason[SHOWN_MAX];

    reader->line = 0;
    if (error == ENOMEM) {
        reader_report_no_memory(reader);
        return;
    }
    reader_report(reader, "%s: can't be read: %s; %s", reader->file,
                  strerror_r(error, reason, sizeof(reason)), file_open_advice(error));
}

void config_file_read(struct reader *reader, const char *name)
{
    struct file_line line;

    log_escape(reader->file, sizeof(reader->file), name, strlen(name));
    reader->exit_code = SETTINGS_BAD_FILE;
    FILE *file = file_open(name);
    if (file == NULL) {
        report_unreadable(reader, errno);
        return;
    }
    while (read_file_line(file, &line)) {
        reader->line++;
        parse_line(reader, &line);
    }
    if (ferror(file))
        report_unreadable(reader, errno);
    (void)fclose(file);
}
