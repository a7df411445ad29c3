#include "settings.h"

#include "file.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    FILE_LINE_MAX = 4096, /* bytes of a line of the file, without its newline */
    SHOWN_MAX = 128,      /* bytes of a buffer that shows a value in a message */
    SHOWN_FILE_MAX = 192, /* the same for the file's name */
    EXPECTED_MAX = 96,    /* bytes of the words for what a setting takes */
    NUMBER_TEXT_MAX = 32, /* bytes of a number's canonical text */
    ROW_NAME_MAX = 31,    /* bytes of the longest name in the table, or more */
    SUGGESTION_MAX = 128, /* bytes of the options to suggest for an argument that is none */
    SMALL_DISTANCE = 2,   /* edits between a wrong name and the one to suggest */
    HELP_COLUMN = 41,
    LONG_OPTION = 256, /* getopt_long's value for row 0; letters lie below */
};

/* --- The table ------------------------------------------------------------------------------ */

enum type {
    TYPE_NUMBER,
    TYPE_PORT, /* a number, or off */
    TYPE_OCTAL,
    TYPE_SIZE,
    TYPE_DURATION,
    TYPE_CHOICE,
    TYPE_SWITCH,
    TYPE_TEXT,
    TYPE_LIST,    /* texts; each further one is added */
    TYPE_ACTION,  /* true once it is named */
    TYPE_OPERAND, /* an action that one operand may go with, "" without it */
    TYPE_QUIETER, /* no field: a step of the log level */
    TYPE_LOUDER,
};

struct row {
    const char *name; /* the long option, and the key where in_file */
    size_t offset;
    uint64_t least; /* of texts: bytes */
    uint64_t most;
    const char *(*word)(uint64_t value); /* TYPE_CHOICE: how a value is spelled */
    const char *preset;                  /* the default; NULL = nothing, zero, false */
    const char *placeholder;
    const char *help;
    enum type type;
    char letter; /* the short option; 0 = none */
    bool in_file;
    bool fixed; /* a reload can't change it */
};

static const char *level_word(uint64_t value)
{
    return log_level_name((enum log_level)value);
}

static const char *trace_word(uint64_t value)
{
    static const char *const words[] = {
        [TRACE_OFF] = "off", [TRACE_FRAMES] = "frames", [TRACE_FIELDS] = "fields"};

    return words[value];
}

static const char *access_log_word(uint64_t value)
{
    static const char *const words[] = {
        [ACCESS_LOG_OFF] = "off", [ACCESS_LOG_TEXT] = "text", [ACCESS_LOG_JSON] = "json"};

    return words[value];
}

static const char *verify_word(uint64_t value)
{
    static const char *const words[] = {[TLS_VERIFY_OFF] = "off",
                                        [TLS_VERIFY_OPTIONAL] = "optional",
                                        [TLS_VERIFY_REQUIRED] = "required"};

    return words[value];
}

static const char *version_word(uint64_t value)
{
    static const char *const words[] = {[TLS_1_2] = "1.2", [TLS_1_3] = "1.3"};

    return words[value];
}

#define FIELD(member) offsetof(struct settings, member)
#define KIB           UINT64_C(1024)
#define MIB           (1024 * KIB)
#define SECOND        UINT64_C(1000)
#define MINUTE        (60 * SECOND)
#define HOUR          (60 * MINUTE)
#define TIMEOUT_LEAST (SECOND / 10)
#define TIMEOUT_MOST  (24 * HOUR)

static const struct row rows[] = {
    {.name = "port",
     .letter = 'p',
     .type = TYPE_NUMBER,
     .in_file = true,
     .fixed = true,
     .offset = FIELD(port),
     .most = 65535,
     .preset = "8080",
     .placeholder = "PORT",
     .help = "TCP port; 0 takes any free one and logs it"},
    {.name = "address",
     .letter = 'a',
     .type = TYPE_LIST,
     .in_file = true,
     .fixed = true,
     .offset = FIELD(address),
     .least = 1,
     .most = 255,
     .placeholder = "ADDRESS",
     .help = "address to listen on, once for each; none is every one"},
    {.name = "unix",
     .type = TYPE_TEXT,
     .in_file = true,
     .fixed = true,
     .offset = FIELD(unix_path),
     .least = 1,
     .most = sizeof((struct sockaddr_un *)NULL)->sun_path - 1,
     .placeholder = "PATH",
     .help = "Unix stream socket to listen on as well"},
    {.name = "unix-mode",
     .type = TYPE_OCTAL,
     .in_file = true,
     .fixed = true,
     .offset = FIELD(unix_mode),
     .most = 0777,
     .preset = "0660",
     .placeholder = "MODE",
     .help = "permissions of the Unix socket"},
    {.name = "reuse-port",
     .type = TYPE_SWITCH,
     .in_file = true,
     .fixed = true,
     .offset = FIELD(reuse_port),
     .most = true,
     .preset = "off",
     .placeholder = "on|off",
     .help = "share the port with daemons of the same user that do"},
    {.name = "tls-port",
     .type = TYPE_PORT,
     .in_file = true,
     .fixed = true,
     .offset = FIELD(tls_port),
     .most = SETTINGS_NO_PORT,
     .preset = "off",
     .placeholder = "PORT",
     .help = "TCP port for TLS, beside the other; 0 takes any"},
    {.name = "tls-cert",
     .type = TYPE_TEXT,
     .in_file = true,
     .offset = FIELD(tls_cert),
     .least = 1,
     .most = PATH_MAX - 1,
     .placeholder = "FILE",
     .help = "certificate, with its chain, in PEM"},
    {.name = "tls-key",
     .type = TYPE_TEXT,
     .in_file = true,
     .offset = FIELD(tls_key),
     .least = 1,
     .most = PATH_MAX - 1,
     .placeholder = "FILE",
     .help = "its private key; none is in the certificate's file"},
    {.name = "tls-self-signed",
     .type = TYPE_SWITCH,
     .in_file = true,
     .offset = FIELD(tls_self_signed),
     .most = true,
     .preset = "off",
     .placeholder = "on|off",
     .help = "make a certificate in memory, for trying it out"},
    {.name = "tls-client-ca",
     .type = TYPE_TEXT,
     .in_file = true,
     .offset = FIELD(tls_client_ca),
     .least = 1,
     .most = PATH_MAX - 1,
     .placeholder = "FILE",
     .help = "who signs the certificates of clients, in PEM"},
    {.name = "tls-verify",
     .type = TYPE_CHOICE,
     .in_file = true,
     .offset = FIELD(tls_verify),
     .least = TLS_VERIFY_OFF,
     .most = TLS_VERIFY_REQUIRED,
     .word = verify_word,
     .preset = "optional",
     .placeholder = "off|optional|required",
     .help = "with tls-client-ca: whether clients need one"},
    {.name = "tls-min-version",
     .type = TYPE_CHOICE,
     .in_file = true,
     .offset = FIELD(tls_min_version),
     .least = TLS_1_2,
     .most = TLS_1_3,
     .word = version_word,
     .preset = "1.2",
     .placeholder = "VERSION",
     .help = "oldest version of TLS that is spoken"},
    {.name = "config",
     .letter = 'c',
     .type = TYPE_TEXT,
     .offset = FIELD(config),
     .least = 1,
     .most = PATH_MAX - 1,
     .placeholder = "FILE",
     .help = "read settings from FILE"},
    {.name = "check-config",
     .letter = 't',
     .type = TYPE_ACTION,
     .offset = FIELD(check_config),
     .help = "check the settings, say what is wrong, exit 0 or 78"},
    {.name = "dump-config",
     .type = TYPE_ACTION,
     .offset = FIELD(dump_config),
     .help = "print the settings in force, fit to be read back"},
    {.name = "probe",
     .type = TYPE_OPERAND,
     .offset = FIELD(probe),
     .placeholder = "[URL]",
     .help = "ask a running daemon once, exit 0 if it answers, or 1"},
    {.name = "max-connections",
     .type = TYPE_NUMBER,
     .in_file = true,
     .offset = FIELD(max_connections),
     .least = 1,
     .most = 1000000,
     .preset = "10000",
     .placeholder = "N",
     .help = "connections at once; more wait in the backlog"},
    {.name = "max-connections-per-address",
     .type = TYPE_NUMBER,
     .in_file = true,
     .offset = FIELD(max_connections_per_address),
     .most = 1000000,
     .preset = "0",
     .placeholder = "N",
     .help = "connections at once from one address; 0 sets no limit"},
    {.name = "max-concurrent-streams",
     .type = TYPE_NUMBER,
     .in_file = true,
     .offset = FIELD(max_concurrent_streams),
     .least = 1,
     .most = 65535,
     .preset = "128",
     .placeholder = "N",
     .help = "streams at once on one connection"},
    {.name = "max-header-list-size",
     .type = TYPE_SIZE,
     .in_file = true,
     .offset = FIELD(max_header_list_size),
     .least = KIB,
     .most = 16 * MIB,
     .preset = "64KiB",
     .placeholder = "SIZE",
     .help = "bytes of a request's fields, 32 more for each"},
    {.name = "header-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = FIELD(header_timeout),
     .least = TIMEOUT_LEAST,
     .most = TIMEOUT_MOST,
     .preset = "10s",
     .placeholder = "TIME",
     .help = "for the client's preface, and for each header block"},
    {.name = "idle-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = FIELD(idle_timeout),
     .least = TIMEOUT_LEAST,
     .most = TIMEOUT_MOST,
     .preset = "5m",
     .placeholder = "TIME",
     .help = "for a connection with no stream open and no frame"},
    {.name = "stream-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = FIELD(stream_timeout),
     .least = TIMEOUT_LEAST,
     .most = TIMEOUT_MOST,
     .preset = "30s",
     .placeholder = "TIME",
     .help = "for a stream whose body or window does not go on"},
    {.name = "write-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = FIELD(write_timeout),
     .least = TIMEOUT_LEAST,
     .most = TIMEOUT_MOST,
     .preset = "30s",
     .placeholder = "TIME",
     .help = "for a peer that takes nothing"},
    {.name = "drain-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = FIELD(drain_timeout),
     .least = TIMEOUT_LEAST,
     .most = TIMEOUT_MOST,
     .preset = "10s",
     .placeholder = "TIME",
     .help = "after SIGTERM, for what was begun"},
    {.name = "upgrade",
     .type = TYPE_SWITCH,
     .in_file = true,
     .offset = FIELD(upgrade),
     .most = true,
     .preset = "on",
     .placeholder = "on|off",
     .help = "take the HTTP/1.1 Upgrade to h2c"},
    {.name = "log-level",
     .type = TYPE_CHOICE,
     .in_file = true,
     .offset = FIELD(log_level),
     .least = LOG_LEVEL_ERROR,
     .most = LOG_LEVEL_DEBUG,
     .word = level_word,
     .preset = "info",
     .placeholder = "LEVEL",
     .help = "least important level to log, error to debug"},
    {.name = "quiet",
     .letter = 'q',
     .type = TYPE_QUIETER,
     .help = "log one level less; may be repeated"},
    {.name = "verbose",
     .letter = 'v',
     .type = TYPE_LOUDER,
     .help = "log one level more, and frames; -vv: with values"},
    {.name = "trace",
     .type = TYPE_CHOICE,
     .in_file = true,
     .offset = FIELD(trace),
     .least = TRACE_OFF,
     .most = TRACE_FIELDS,
     .word = trace_word,
     .preset = "off",
     .placeholder = "WHAT",
     .help = "a line for each frame and field; fields: values too"},
    {.name = "access-log",
     .type = TYPE_CHOICE,
     .in_file = true,
     .offset = FIELD(access_log),
     .least = ACCESS_LOG_OFF,
     .most = ACCESS_LOG_JSON,
     .word = access_log_word,
     .preset = "off",
     .placeholder = "FORMAT",
     .help = "a line for each request, text or json"},
    {.name = "pretty",
     .type = TYPE_SWITCH,
     .in_file = true,
     .offset = FIELD(pretty),
     .most = true,
     .preset = "off",
     .placeholder = "on|off",
     .help = "indent the answer's JSON"},
    {.name = "version",
     .letter = 'V',
     .type = TYPE_ACTION,
     .offset = FIELD(version),
     .help = "print the version, and those of the libraries"},
    {.name = "help",
     .letter = 'h',
     .type = TYPE_ACTION,
     .offset = FIELD(help),
     .help = "print this text"},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const struct row *row_of_name(const char *name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static const struct row *row_of_option(int option)
{
    if (option >= LONG_OPTION)
        return &rows[option - LONG_OPTION];
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].letter == option)
            return &rows[i];
    return NULL;
}

/* --- Fields --------------------------------------------------------------------------------- */

/* What the member of struct settings is that a row's offset leads to. */
enum field { FIELD_NONE, FIELD_NUMBER, FIELD_BOOL, FIELD_TEXT, FIELD_LIST };

static enum field row_field(const struct row *row)
{
    switch (row->type) {
    case TYPE_NUMBER:
    case TYPE_PORT:
    case TYPE_OCTAL:
    case TYPE_SIZE:
    case TYPE_DURATION:
    case TYPE_CHOICE:
        return FIELD_NUMBER;
    case TYPE_SWITCH:
    case TYPE_ACTION:
        return FIELD_BOOL;
    case TYPE_TEXT:
    case TYPE_OPERAND:
        return FIELD_TEXT;
    case TYPE_LIST:
        return FIELD_LIST;
    case TYPE_QUIETER:
    case TYPE_LOUDER:
        break;
    }
    return FIELD_NONE;
}

static void *field_of(const struct row *row, struct settings *settings)
{
    return (char *)settings + row->offset;
}

static const void *field_in(const struct row *row, const struct settings *settings)
{
    return (const char *)settings + row->offset;
}

/* The number in a field; of texts there is none. */
static uint64_t field_number(const struct row *row, const struct settings *settings)
{
    const void *field = field_in(row, settings);

    return row_field(row) == FIELD_BOOL ? *(const bool *)field : *(const uint64_t *)field;
}

/* The texts of a field of either kind: ${one} holds the text of a field that has only one. */
static char *const *field_texts(const struct row *row, const struct settings *settings,
                                char *one[2])
{
    const void *field = field_in(row, settings);

    one[0] = NULL;
    one[1] = NULL;
    if (row_field(row) == FIELD_TEXT)
        one[0] = *(char *const *)field;
    else if (*(char **const *)field != NULL)
        return *(char **const *)field;
    return one;
}

static void field_clear(const struct row *row, struct settings *settings)
{
    char ***list = field_of(row, settings);
    char **text = field_of(row, settings);

    switch (row_field(row)) {
    case FIELD_LIST:
        for (char **each = *list; each != NULL && *each != NULL; each++)
            free(*each);
        free(*list);
        *list = NULL;
        break;
    case FIELD_TEXT:
        free(*text);
        *text = NULL;
        break;
    case FIELD_NUMBER:
    case FIELD_BOOL:
    case FIELD_NONE:
        break;
    }
}

static bool list_add(char ***list, const char *text)
{
    size_t count = 0;

    while (*list != NULL && (*list)[count] != NULL)
        count++;
    char **longer = reallocarray(*list, count + 2, sizeof(*longer));
    if (longer == NULL)
        return false;
    *list = longer;
    longer[count] = strdup(text);
    longer[count + 1] = NULL;
    return longer[count] != NULL;
}

static bool text_replace(char **field, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return false;
    free(*field);
    *field = copy;
    return true;
}

/* Put a value that is in order into its field: a text, or the number it was found to be. Return
 * false if memory ran out. */
static bool field_store(const struct row *row, struct settings *settings, const char *text,
                        uint64_t number)
{
    void *field = field_of(row, settings);

    switch (row_field(row)) {
    case FIELD_NUMBER:
        *(uint64_t *)field = number;
        return true;
    case FIELD_BOOL:
        *(bool *)field = number != 0;
        return true;
    case FIELD_TEXT:
        return text_replace(field, text);
    case FIELD_LIST:
        return list_add(field, text);
    case FIELD_NONE:
        break;
    }
    return true;
}

/* --- From text to value --------------------------------------------------------------------- */

struct unit {
    const char *name;
    uint64_t factor;
};

/* The first unit that leaves no rest is the canonical one. */
static const struct unit time_units[] = {{"h", HOUR}, {"m", MINUTE}, {"s", SECOND},
                                         {"ms", 1},   {"", SECOND},  {NULL, 0}};
static const struct unit size_units[] = {{"MiB", MIB}, {"KiB", KIB}, {"", 1},
                                         {"M", MIB},   {"K", KIB},   {NULL, 0}};

/* Return where the digits end; NULL if there are none or too many. */
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

static bool parse_port(const char *text, uint64_t *number)
{
    if (strcmp(text, "off") != 0)
        return parse_number(text, 10, number) && *number < SETTINGS_NO_PORT;
    *number = SETTINGS_NO_PORT;
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

static bool parse_choice(const struct row *row, const char *text, uint64_t *number)
{
    for (*number = row->least; *number <= row->most; ++*number)
        if (strcmp(row->word(*number), text) == 0)
            return true;
    return false;
}

static bool parse_switch(const char *text, uint64_t *number)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i], text) == 0) {
            *number = i % 2;
            return true;
        }
    }
    return false;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The bytes of ${text} before a comment: '#' at the start or behind white space. */
static size_t length_before_comment(const char *text)
{
    size_t i = 0;

    while (text[i] != '\0' && !(text[i] == '#' && (i == 0 || is_blank(text[i - 1]))))
        i++;
    return i;
}

/* Whether a line of the file can hold ${text} as it is; otherwise a dump could not be read back. */
static bool text_is_plain(const char *text)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++)
        if (iscntrl((unsigned char)text[i]))
            return false;
    return length == 0 ||
           (text[0] != ' ' && text[length - 1] != ' ' && length_before_comment(text) == length);
}

static bool row_is_text(const struct row *row)
{
    return row->type == TYPE_TEXT || row->type == TYPE_LIST;
}

/* Find what number ${text} is; of texts the number is their length. */
static bool row_parse(const struct row *row, const char *text, uint64_t *number)
{
    switch (row->type) {
    case TYPE_NUMBER:
        return parse_number(text, 10, number);
    case TYPE_PORT:
        return parse_port(text, number);
    case TYPE_OCTAL:
        return parse_number(text, 8, number);
    case TYPE_SIZE:
        return parse_scaled(text, size_units, number);
    case TYPE_DURATION:
        return parse_scaled(text, time_units, number);
    case TYPE_CHOICE:
        return parse_choice(row, text, number);
    case TYPE_SWITCH:
        return parse_switch(text, number);
    case TYPE_TEXT:
    case TYPE_LIST:
        *number = strlen(text);
        return true;
    case TYPE_ACTION:
    case TYPE_OPERAND:
    case TYPE_QUIETER:
    case TYPE_LOUDER:
        break;
    }
    return false;
}

static bool row_accepts(const struct row *row, const char *text, uint64_t *number)
{
    return row_parse(row, text, number) && *number >= row->least && *number <= row->most;
}

/* --- From value to text --------------------------------------------------------------------- */

static const char *format_scaled(char text[NUMBER_TEXT_MAX], const struct unit *unit,
                                 uint64_t number)
{
    while (number % unit->factor != 0)
        unit++;
    (void)snprintf(text, NUMBER_TEXT_MAX, "%ju%s", (uintmax_t)(number / unit->factor), unit->name);
    return text;
}

/* The canonical text of a number; ${text} is room for it. */
static const char *row_format(const struct row *row, uint64_t number, char text[NUMBER_TEXT_MAX])
{
    switch (row->type) {
    case TYPE_PORT:
        if (number == SETTINGS_NO_PORT)
            return "off";
        break;
    case TYPE_OCTAL:
        (void)snprintf(text, NUMBER_TEXT_MAX, "%04jo", (uintmax_t)number);
        return text;
    case TYPE_SIZE:
        return format_scaled(text, size_units, number);
    case TYPE_DURATION:
        return format_scaled(text, time_units, number);
    case TYPE_CHOICE:
        return row->word(number);
    case TYPE_SWITCH:
    case TYPE_ACTION:
        return number != 0 ? "on" : "off";
    case TYPE_NUMBER:
    case TYPE_TEXT:
    case TYPE_LIST:
    case TYPE_OPERAND:
    case TYPE_QUIETER:
    case TYPE_LOUDER:
        break;
    }
    (void)snprintf(text, NUMBER_TEXT_MAX, "%ju", (uintmax_t)number);
    return text;
}

__attribute__((format(printf, 3, 4))) static void text_add(char *text, size_t size,
                                                           const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

static const char *expected_range(const struct row *row, const char *kind, const char *after,
                                  char text[EXPECTED_MAX])
{
    char least[NUMBER_TEXT_MAX];
    char most[NUMBER_TEXT_MAX];

    (void)snprintf(text, EXPECTED_MAX, "%s %s to %s%s", kind, row_format(row, row->least, least),
                   row_format(row, row->most, most), after);
    return text;
}

static const char *expected_choice(const struct row *row, char text[EXPECTED_MAX])
{
    (void)snprintf(text, EXPECTED_MAX, "one of ");
    for (uint64_t value = row->least; value <= row->most; value++)
        text_add(text, EXPECTED_MAX, "%s%s", value == row->least ? "" : ", ", row->word(value));
    return text;
}

/* The words for what a setting takes; ${text} is room for them. */
static const char *row_expected(const struct row *row, char text[EXPECTED_MAX])
{
    switch (row->type) {
    case TYPE_NUMBER:
        return expected_range(row, "a number from", "", text);
    case TYPE_PORT:
        return "a number from 0 to 65535, or off";
    case TYPE_OCTAL:
        return expected_range(row, "an octal number from", "", text);
    case TYPE_SIZE:
        return expected_range(row, "a size from", "", text);
    case TYPE_DURATION:
        return expected_range(row, "a time from", "", text);
    case TYPE_CHOICE:
        return expected_choice(row, text);
    case TYPE_TEXT:
        return expected_range(row, "a path of", " bytes", text);
    case TYPE_LIST:
        return expected_range(row, "an address of", " bytes", text);
    case TYPE_SWITCH:
    case TYPE_ACTION:
    case TYPE_OPERAND:
    case TYPE_QUIETER:
    case TYPE_LOUDER:
        break;
    }
    return "on or off";
}

/* --- Reading: what both sources share ------------------------------------------------------- */

struct reader {
    struct settings *settings;
    settings_error_fn *on_error;
    void *argument;
    enum settings_result result;
    enum settings_result blame; /* what an error makes of the result */
    char file[SHOWN_FILE_MAX];
    unsigned long line;          /* of the file; 0 = the command line */
    unsigned long line_of[ROWS]; /* where the file has the key; 0 = nowhere yet */
    bool given[ROWS];            /* on the command line, which goes before the file */
    int louder;                  /* steps of the log level */
    const struct row *wanting;   /* the action that may have an operand, until it has one */
};

/* Pass one error on, with its place in the file before it. */
__attribute__((format(printf, 2, 3))) static void report(struct reader *reader, const char *format,
                                                         ...)
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
        reader->result = reader->blame;
}

static void report_no_memory(struct reader *reader)
{
    if (reader->result != SETTINGS_NO_MEMORY)
        reader->on_error("no memory for the settings: free some, then try again", reader->argument);
    reader->result = SETTINGS_NO_MEMORY;
}

static const char *option_dashes(const struct reader *reader)
{
    return reader->line == 0 ? "--" : "";
}

static void report_value(struct reader *reader, const struct row *row, const char *text)
{
    char shown[SHOWN_MAX];
    char expected[EXPECTED_MAX];

    report(reader, "%s%s: '%s' is not %s", option_dashes(reader), row->name,
           log_escape(shown, sizeof(shown), text, strlen(text)), row_expected(row, expected));
}

static void report_not_plain(struct reader *reader, const struct row *row, const char *text)
{
    char shown[SHOWN_MAX];

    report(
        reader,
        "%s%s: '%s' does not fit a line of the file: it must have no control character, no space "
        "at its ends and no '#' at its start or behind a space",
        option_dashes(reader), row->name, log_escape(shown, sizeof(shown), text, strlen(text)));
}

/* The setter behind every source: checks ${text} whatever goes before it, then stores it. */
static void take_value(struct reader *reader, const struct row *row, const char *text)
{
    bool overruled = reader->line != 0 && reader->given[row - rows];
    uint64_t number;

    if (!row_accepts(row, text, &number))
        report_value(reader, row, text);
    else if (row->in_file && row_is_text(row) && !text_is_plain(text))
        report_not_plain(reader, row, text);
    else if (!overruled && !field_store(row, reader->settings, text, number))
        report_no_memory(reader);
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t less = a < b ? a : b;

    return less < c ? less : c;
}

/* Levenshtein's distance from ${length} bytes to the name of a row. */
static size_t edit_distance(const char *from, size_t length, const char *name)
{
    size_t costs[ROW_NAME_MAX + 1];
    size_t width = strlen(name);

    for (size_t j = 0; j <= width; j++)
        costs[j] = j;
    for (size_t i = 1; i <= length; i++) {
        size_t diagonal = costs[0];
        costs[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t replaced = diagonal + (from[i - 1] != name[j - 1]);
            diagonal = costs[j];
            costs[j] = smallest(replaced, costs[j] + 1, costs[j - 1] + 1);
        }
    }
    return costs[width];
}

/* The row whose name was probably meant; NULL if none is near. */
static const struct row *row_near(const char *name, size_t length, bool in_file)
{
    const struct row *nearest = NULL;
    size_t least = SMALL_DISTANCE + 1;

    for (size_t i = 0; i < ROWS; i++) {
        size_t distance = edit_distance(name, length, rows[i].name);
        if (distance < least && (rows[i].in_file || !in_file)) {
            nearest = &rows[i];
            least = distance;
        }
    }
    return nearest;
}

/* What daemons call it to go into the background, or not to. The longer names are found with an
 * error or two in them. */
static bool is_about_background(const char *name, size_t length)
{
    static const char *const names[] = {"daemon",    "daemonize", "daemonise",     "background",
                                        "bg",        "detach",    "detached",      "fork",
                                        "no-daemon", "nodaemon",  "no-daemonize",  "no-detach",
                                        "no-fork",   "nofork",    "no-background", "foreground",
                                        "fg"};
    enum { LONG_NAME = 6 };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t distance = edit_distance(name, length, names[i]);
        if (distance == 0 || (strlen(names[i]) >= LONG_NAME && distance <= SMALL_DISTANCE))
            return true;
    }
    return false;
}

static const char foreground_advice[] =
    "h2echod stays in the foreground: for the background use its systemd service, or end the "
    "command with '&'";

/* --- Reading: the command line -------------------------------------------------------------- */

enum { LETTERS_MAX = 2 + 2 * ROWS + 1 };

static int row_has_arg(const struct row *row)
{
    if (row->type == TYPE_SWITCH)
        return optional_argument;
    if (row->type == TYPE_OPERAND)
        return no_argument;
    return row->placeholder != NULL ? required_argument : no_argument;
}

/* "-" has getopt hand out arguments that are not options, ":" tells a missing argument apart. */
static void build_options(struct option options[ROWS + 1], char letters[LETTERS_MAX])
{
    letters[0] = '\0';
    text_add(letters, LETTERS_MAX, "-:");
    for (int i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        options[i] = (struct option){row->name, row_has_arg(row), NULL, LONG_OPTION + i};
        if (row->letter != 0)
            text_add(letters, LETTERS_MAX, "%c%s", row->letter,
                     row_has_arg(row) == required_argument ? ":" : "");
    }
    options[ROWS] = (struct option){NULL, 0, NULL, 0};
}

static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static bool is_port(const char *text)
{
    uint64_t number;

    return row_accepts(row_of_name("port"), text, &number);
}

static bool is_ip_address(const char *text)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* Put what to suggest into ${suggestion}; return false if that would be cut, there or in the
 * message: what is left of it could not be typed. */
__attribute__((format(printf, 2, 3))) static bool suggest(char suggestion[SUGGESTION_MAX],
                                                          const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(suggestion, SUGGESTION_MAX, format, arguments);
    va_end(arguments);
    return length >= 0 && length < SUGGESTION_MAX &&
           log_escape_size(suggestion, (size_t)length) <= SHOWN_MAX;
}

/* What to do about a number that stands for itself; ${text} is room for the words. */
static const char *number_advice(const char *number, char text[SUGGESTION_MAX])
{
    char expected[EXPECTED_MAX];

    if (!is_port(number) || !suggest(text, "did you mean -p %s?", number))
        (void)snprintf(text, SUGGESTION_MAX, "a port is %s, behind -p",
                       row_expected(row_of_name("port"), expected));
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
        return suggest(suggestion, "-p %s", colon + 1);
    if (brackets)
        return suggest(suggestion, "-a %.*s -p %s", (int)length - 2, text + 1, colon + 1);
    return strcspn(text, ":[]") == length &&
           suggest(suggestion, "-a %.*s -p %s", (int)length, text, colon + 1);
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
    return option != NULL && suggest(suggestion, "%s %s", option, text);
}

/* Suggest for a name without its dashes, whatever value it has. */
static bool suggest_for_name(const char *text, char suggestion[SUGGESTION_MAX])
{
    size_t length = strcspn(text, "=");
    const struct row *near = row_near(text, length, false);

    if (near == NULL || (text[length] == '=' && row_has_arg(near) == no_argument))
        return false;
    return suggest(suggestion, "--%s%s", near->name, text + length);
}

static void report_stray(struct reader *reader, const char *text)
{
    char suggestion[SUGGESTION_MAX];
    char suggested[SHOWN_MAX];
    char shown[SHOWN_MAX];

    log_escape(shown, sizeof(shown), text, strlen(text));
    if (is_number(text))
        report(reader, "unexpected argument '%s': %s", shown, number_advice(text, suggestion));
    else if (suggest_for_value(text, suggestion) || suggest_host_port(text, suggestion) ||
             suggest_for_name(text, suggestion))
        report(reader, "unexpected argument '%s': did you mean %s?", shown,
               log_escape(suggested, sizeof(suggested), suggestion, strlen(suggestion)));
    else if (is_about_background(text, strlen(text)))
        report(reader, "unexpected argument '%s': %s", shown, foreground_advice);
    else
        report(reader, "unexpected argument '%s': settings are options, see h2echod --help", shown);
}

static void take_operand(struct reader *reader, const char *text)
{
    if (reader->wanting == NULL || *text == '\0')
        report_stray(reader, text);
    else if (!field_store(reader->wanting, reader->settings, text, 0))
        report_no_memory(reader);
    else
        reader->wanting = NULL;
}

static bool is_ambiguous(const char *name, size_t length)
{
    int count = 0;

    for (size_t i = 0; i < ROWS; i++)
        count += strncmp(rows[i].name, name, length) == 0;
    return count > 1;
}

/* ${word} begins with "--"; what follows '=' in it does not matter. */
static void report_unknown_long(struct reader *reader, const char *word)
{
    char shown[SHOWN_MAX];
    size_t length = strcspn(word + 2, "=");
    const struct row *near = row_near(word + 2, length, false);

    log_escape(shown, sizeof(shown), word + 2, length);
    if (is_about_background(word + 2, length))
        report(reader, "--%s: %s", shown, foreground_advice);
    else if (is_ambiguous(word + 2, length))
        report(reader, "--%s: could be several options: write the name in full", shown);
    else if (near != NULL)
        report(reader, "--%s: unknown option: did you mean --%s?", shown, near->name);
    else
        report(reader, "--%s: unknown option: h2echod --help lists them", shown);
}

/* ${letter} is one of those in ${word}, the last one if ${is_last}. */
static void report_unknown_letter(struct reader *reader, const char *word, char letter,
                                  bool is_last)
{
    char advice[SUGGESTION_MAX];
    char shown[SHOWN_MAX];

    log_escape(shown, sizeof(shown), &letter, 1);
    if (is_number(word + 1)) {
        if (is_last)
            report(reader, "%s: unknown option: %s",
                   log_escape(shown, sizeof(shown), word, strlen(word)),
                   number_advice(word + 1, advice));
    } else if (letter == 'd' || letter == 'D')
        report(reader, "-%s: %s", shown, foreground_advice);
    else
        report(reader, "-%s: unknown option: h2echod --help lists them", shown);
}

/* ${word} is the argument that getopt was at, and is done with if ${is_last}. */
static void report_option(struct reader *reader, const char *word, bool is_last)
{
    if (optopt >= LONG_OPTION)
        report(reader, "--%s: takes no value", row_of_option(optopt)->name);
    else if (optopt == 0)
        report_unknown_long(reader, word);
    else
        report_unknown_letter(reader, word, (char)optopt, is_last);
}

static void report_missing(struct reader *reader, const struct row *row)
{
    char expected[EXPECTED_MAX];

    report(reader, "--%s: a value is missing: %s", row->name, row_expected(row, expected));
}

static void take_known_option(struct reader *reader, const struct row *row)
{
    reader->given[row - rows] = true;
    switch (row->type) {
    case TYPE_QUIETER:
        reader->louder--;
        break;
    case TYPE_LOUDER:
        reader->louder++;
        break;
    case TYPE_ACTION:
        (void)field_store(row, reader->settings, "", true);
        break;
    case TYPE_OPERAND: /* was found before all others */
        break;
    case TYPE_NUMBER:
    case TYPE_PORT:
    case TYPE_OCTAL:
    case TYPE_SIZE:
    case TYPE_DURATION:
    case TYPE_CHOICE:
    case TYPE_SWITCH:
    case TYPE_TEXT:
    case TYPE_LIST:
        take_value(reader, row, optarg != NULL ? optarg : "on");
        break;
    }
}

static void take_option(struct reader *reader, int option, const char *word, bool is_last)
{
    switch (option) {
    case 1:
        take_operand(reader, optarg);
        break;
    case ':':
        report_missing(reader, row_of_option(optopt));
        break;
    case '?':
        report_option(reader, word, is_last);
        break;
    default:
        take_known_option(reader, row_of_option(option));
        break;
    }
}

/* Find the action that may have an operand: it may stand behind it. */
static void find_action(struct reader *reader, int argc, char *const argv[], const char *letters,
                        const struct option *options)
{
    int option;

    optind = 0; /* glibc's way to begin again */
    while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1)
        if (option >= LONG_OPTION && row_of_option(option)->type == TYPE_OPERAND)
            reader->wanting = row_of_option(option);
    if (reader->wanting != NULL && !field_store(reader->wanting, reader->settings, "", 0))
        report_no_memory(reader);
}

static void read_command_line(struct reader *reader, int argc, char *const argv[])
{
    struct option options[ROWS + 1];
    char letters[LETTERS_MAX];
    int option;

    build_options(options, letters);
    reader->blame = SETTINGS_BAD_USAGE;
    opterr = 0;
    find_action(reader, argc, argv, letters, options);
    optind = 0;
    for (;;) {
        int at = optind > 0 ? optind : 1;
        option = getopt_long(argc, argv, letters, options, NULL);
        if (option == -1)
            break;
        take_option(reader, option, argv[at], optind > at);
    }
    for (int i = optind; i < argc; i++)
        take_operand(reader, argv[i]);
}

/* --- Reading: the file ---------------------------------------------------------------------- */

struct file_line {
    size_t length; /* of the line in the file, whatever text holds of it */
    bool has_nul;
    char text[FILE_LINE_MAX + 1];
};

/* Return false at the end and after an error. */
static bool line_read(FILE *file, struct file_line *line)
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

/* Take the white space around ${text} away, in place. */
static char *trim(char *text)
{
    while (is_blank(*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && is_blank(text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

static void report_unknown_key(struct reader *reader, const char *key)
{
    char shown[SHOWN_MAX];
    const struct row *near = row_near(key, strlen(key), true);

    log_escape(shown, sizeof(shown), key, strlen(key));
    if (row_of_name(key) != NULL)
        report(reader, "unknown key '%s': it is an option of the command line alone", shown);
    else if (is_about_background(key, strlen(key)))
        report(reader, "unknown key '%s': %s", shown, foreground_advice);
    else if (near != NULL)
        report(reader, "unknown key '%s': did you mean '%s'?", shown, near->name);
    else
        report(reader, "unknown key '%s': h2echod --help lists the keys", shown);
}

static void take_pair(struct reader *reader, const char *key, const char *value)
{
    const struct row *row = row_of_name(key);

    if (row == NULL || !row->in_file) {
        report_unknown_key(reader, key);
        return;
    }
    unsigned long *first = &reader->line_of[row - rows];
    if (*first != 0 && row->type != TYPE_LIST) {
        report(reader, "%s: comes twice, line %lu has it too: keep one", row->name, *first);
        return;
    }
    *first = reader->line;
    take_value(reader, row, value);
}

static void take_line(struct reader *reader, struct file_line *line)
{
    char shown[SHOWN_MAX];

    if (line->length > FILE_LINE_MAX) {
        report(reader, "the line is too long: it has %zu bytes, %d are allowed", line->length,
               FILE_LINE_MAX);
        return;
    }
    if (line->has_nul) {
        report(reader, "the line has a NUL byte: the file must be text");
        return;
    }
    line->text[length_before_comment(line->text)] = '\0';
    char *text = trim(line->text);
    char *equals = strchr(text, '=');
    if (equals != NULL) {
        *equals = '\0';
        take_pair(reader, trim(text), trim(equals + 1));
    } else if (*text != '\0') {
        report(reader, "'%s' has no '=': write key = value",
               log_escape(shown, sizeof(shown), text, strlen(text)));
    }
}

static void report_file(struct reader *reader, int error)
{
    char words[SHOWN_MAX];

    reader->line = 0;
    if (error == ENOMEM) {
        report_no_memory(reader);
        return;
    }
    report(reader, "%s: can't be read: %s; %s", reader->file,
           strerror_r(error, words, sizeof(words)), file_advice(error));
}

static void read_file(struct reader *reader, const char *name)
{
    struct file_line line;

    log_escape(reader->file, sizeof(reader->file), name, strlen(name));
    reader->blame = SETTINGS_BAD_FILE;
    FILE *file = file_open(name);
    if (file == NULL) {
        report_file(reader, errno);
        return;
    }
    while (line_read(file, &line)) {
        reader->line++;
        take_line(reader, &line);
    }
    if (ferror(file))
        report_file(reader, errno);
    (void)fclose(file);
}

/* --- Exported ------------------------------------------------------------------------------- */

static void apply_defaults(struct reader *reader)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].preset != NULL)
            take_value(reader, &rows[i], rows[i].preset);
}

/* Of -q and -v. */
static void apply_steps(struct settings *settings, int louder)
{
    int64_t trace = louder < TRACE_FIELDS ? louder : TRACE_FIELDS;
    int64_t level = (int64_t)settings->log_level + louder;

    if (level < LOG_LEVEL_ERROR)
        level = LOG_LEVEL_ERROR;
    if (level > LOG_LEVEL_DEBUG)
        level = LOG_LEVEL_DEBUG;
    settings->log_level = (uint64_t)level;
    if (trace > (int64_t)settings->trace)
        settings->trace = (uint64_t)trace;
}

/* Whether this process is going to serve, and not only to say something. */
static bool is_to_serve(const struct settings *settings)
{
    return !settings->help && !settings->version && !settings->dump_config &&
           settings->probe == NULL;
}

static bool wants_tls(const struct settings *settings)
{
    return settings->tls_port != SETTINGS_NO_PORT || settings->tls_cert != NULL ||
           settings->tls_key != NULL || settings->tls_self_signed ||
           settings->tls_client_ca != NULL || settings->tls_verify == TLS_VERIFY_REQUIRED;
}

static const char *tls_mistake(const struct settings *settings)
{
    bool has_certificate = settings->tls_cert != NULL || settings->tls_self_signed;

    if (tls_library() == NULL && wants_tls(settings))
        return "TLS: this h2echod was built without it: build it with OpenSSL 3, or leave out "
               "all that begins with tls";
    if (settings->tls_cert != NULL && settings->tls_self_signed)
        return "tls-self-signed: there is a tls-cert as well: keep one of them";
    if (settings->tls_key != NULL && settings->tls_cert == NULL)
        return "tls-key: is of no use alone: name its certificate with tls-cert";
    if (settings->tls_verify == TLS_VERIFY_REQUIRED && settings->tls_client_ca == NULL)
        return "tls-verify: needs to know whom to believe: name a file with tls-client-ca";
    if (settings->tls_port != SETTINGS_NO_PORT && !has_certificate)
        return "tls-port: needs a certificate: name one with tls-cert, or try tls-self-signed";
    if (settings->tls_port == settings->port && settings->port != 0)
        return "tls-port: is the same as port: choose another for one of them";
    return NULL;
}

/* Read the files that the settings of TLS name: what is wrong with them is a mistake like others.
 */
static void open_tls(struct reader *reader)
{
    struct settings *settings = reader->settings;
    const struct tls_options options = {
        .certificate = settings->tls_cert,
        .key = settings->tls_key,
        .client_ca = settings->tls_client_ca,
        .names = settings->address,
        .verify = (enum tls_verify)settings->tls_verify,
        .least = (enum tls_version)settings->tls_min_version,
    };
    const char *mistake = tls_mistake(settings);
    char error[TLS_ERROR_MAX];

    reader->line = 0;
    reader->blame = SETTINGS_BAD_FILE;
    if (mistake != NULL) {
        report(reader, "%s", mistake);
        return;
    }
    if (settings->tls_cert == NULL && !settings->tls_self_signed)
        return;
    settings->tls = tls_context_new(&options, error);
    if (settings->tls == NULL)
        report(reader, "%s", error);
}

enum settings_result settings_read(int argc, char *const argv[], settings_error_fn *on_error,
                                   void *argument, struct settings **settings)
{
    struct reader reader = {.on_error = on_error, .argument = argument};
    struct settings *fresh = calloc(1, sizeof(*fresh));

    if (fresh == NULL) {
        report_no_memory(&reader);
        return reader.result;
    }
    atomic_init(&fresh->references, 1);
    reader.settings = fresh;
    apply_defaults(&reader);
    read_command_line(&reader, argc, argv);
    if (fresh->config != NULL && !fresh->help && !fresh->version)
        read_file(&reader, fresh->config);
    apply_steps(fresh, reader.louder);
    if (reader.result == SETTINGS_OK && is_to_serve(fresh))
        open_tls(&reader);
    if (reader.result == SETTINGS_OK)
        *settings = fresh;
    else
        settings_unref(fresh);
    return reader.result;
}

struct settings *settings_ref(struct settings *settings)
{
    atomic_fetch_add_explicit(&settings->references, 1, memory_order_relaxed);
    return settings;
}

void settings_unref(struct settings *settings)
{
    if (settings == NULL)
        return;
    if (atomic_fetch_sub_explicit(&settings->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < ROWS; i++)
        field_clear(&rows[i], settings);
    tls_context_free(settings->tls);
    free(settings);
}

static void dump_texts(const struct row *row, const struct settings *settings, FILE *out)
{
    char *one[2];
    char *const *texts = field_texts(row, settings, one);

    if (*texts == NULL)
        (void)fprintf(out, "#%s =\n", row->name);
    for (; *texts != NULL; texts++)
        (void)fprintf(out, "%s = %s\n", row->name, *texts);
}

static void dump_number(const struct row *row, const struct settings *settings, FILE *out)
{
    char text[NUMBER_TEXT_MAX];

    (void)fprintf(out, "%s = %s\n", row->name, row_format(row, field_number(row, settings), text));
}

static void dump_row(const struct row *row, const struct settings *settings, FILE *out)
{
    char expected[EXPECTED_MAX];

    (void)fprintf(out, "# %s (%s)\n", row->help, row_expected(row, expected));
    if (row_is_text(row))
        dump_texts(row, settings, out);
    else
        dump_number(row, settings, out);
}

void settings_dump(const struct settings *settings, FILE *out)
{
    const char *between = "";

    for (size_t i = 0; i < ROWS; i++) {
        if (!rows[i].in_file)
            continue;
        (void)fputs(between, out);
        dump_row(&rows[i], settings, out);
        between = "\n";
    }
}

static void help_row(const struct row *row, FILE *out)
{
    char left[HELP_COLUMN + 1] = "";

    if (row->letter != 0)
        text_add(left, sizeof(left), "  -%c, --%s", row->letter, row->name);
    else
        text_add(left, sizeof(left), "      --%s", row->name);
    if (row->type == TYPE_SWITCH)
        text_add(left, sizeof(left), "[=%s]", row->placeholder);
    else if (row->placeholder != NULL)
        text_add(left, sizeof(left), " %s", row->placeholder);
    (void)fprintf(out, "%-*s%s", HELP_COLUMN, left, row->help);
    if (row->preset != NULL)
        (void)fprintf(out, " [%s]", row->preset);
    (void)fputc('\n', out);
}

static void help_rows(bool in_file, FILE *out)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].in_file == in_file)
            help_row(&rows[i], out);
}

void settings_help(FILE *out)
{
    (void)fputs("Usage: h2echod [OPTION]...\n"
                "Answer every HTTP/2 request with its own fields as JSON. Try: h2echod -p 8080\n"
                "\n"
                "Settings, with their [defaults]; in the file the same names, as in port = 8080:\n",
                out);
    help_rows(true, out);
    (void)fputs("\nOf the command line alone:\n", out);
    help_rows(false, out);
    (void)fputs(
        "\n"
        "TIME is 500ms, 10s, 5m or 1h, a bare number is seconds. SIZE is 64KiB or 1MiB, a\n"
        "bare number is bytes. The command line goes before FILE, and FILE before defaults.\n"
        "See also h2echod(8) and h2echod.conf(5).\n",
        out);
}

static bool field_equal(const struct row *row, const struct settings *a, const struct settings *b)
{
    char *one_a[2];
    char *one_b[2];

    if (!row_is_text(row))
        return field_number(row, a) == field_number(row, b);
    char *const *in_a = field_texts(row, a, one_a);
    char *const *in_b = field_texts(row, b, one_b);
    while (*in_a != NULL && *in_b != NULL && strcmp(*in_a, *in_b) == 0) {
        in_a++;
        in_b++;
    }
    return *in_a == NULL && *in_b == NULL;
}

static bool field_copy(const struct row *row, struct settings *to, const struct settings *from)
{
    char *one[2];

    if (!row_is_text(row))
        return field_store(row, to, "", field_number(row, from));
    field_clear(row, to);
    for (char *const *text = field_texts(row, from, one); *text != NULL; text++)
        if (!field_store(row, to, *text, 0))
            return false;
    return true;
}

bool settings_keep_listening(struct settings *settings, const struct settings *running,
                             char *changed, size_t size)
{
    changed[0] = '\0';
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        if (!row->fixed || field_equal(row, settings, running))
            continue;
        text_add(changed, size, "%s%s", changed[0] == '\0' ? "" : ", ", row->name);
        if (!field_copy(row, settings, running))
            return false;
    }
    return true;
}
