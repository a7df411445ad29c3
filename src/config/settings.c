#include "config/settings.h"

#include "base/file.h"

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
    FILE_LINE_MAX = 4096,        /* bytes of a line of the file, without its newline */
    SHOWN_MAX = 128,             /* bytes of a buffer that shows a value in a message */
    SHOWN_NAME_MAX = 192,        /* the same for the file's name */
    EXPECTED_MAX = 96,           /* bytes of the words for what a setting takes */
    NUMBER_TEXT_MAX = 32,        /* bytes of a number's canonical text */
    OPTION_NAME_MAX = 31,        /* bytes of the longest name in the table, or more */
    SUGGESTION_MAX = 128,        /* bytes of the options to suggest for an argument that is none */
    SUGGESTION_DISTANCE_MAX = 2, /* edits between a wrong name and the one to suggest */
    HELP_COLUMN = 41,
    LONG_OPTION = 256, /* getopt_long's value for option 0; letters lie below */
};

/* --- The table ------------------------------------------------------------------------------ */

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

struct config_option {
    const char *name; /* the long option, and the key where in_file */
    size_t offset;
    uint64_t min; /* of texts: bytes */
    uint64_t max;
    const char *(*enum_name)(uint64_t value); /* TYPE_ENUM: how a value is spelled */
    const char *default_value;                /* the default; NULL = nothing, zero, false */
    const char *placeholder;
    const char *help;
    enum option_type type;
    char letter; /* the short option; 0 = none */
    bool in_file;
    bool fixed; /* a reload can't change it */
};

static const char *log_level_enum_name(uint64_t value)
{
    return log_level_name((enum log_level)value);
}

static const char *trace_enum_name(uint64_t value)
{
    static const char *const words[] = {
        [TRACE_OFF] = "off", [TRACE_FRAMES] = "frames", [TRACE_FIELDS] = "fields"};

    return words[value];
}

static const char *access_log_enum_name(uint64_t value)
{
    static const char *const words[] = {
        [ACCESS_LOG_OFF] = "off", [ACCESS_LOG_TEXT] = "text", [ACCESS_LOG_JSON] = "json"};

    return words[value];
}

static const char *tls_verify_enum_name(uint64_t value)
{
    static const char *const words[] = {[TLS_VERIFY_OFF] = "off",
                                        [TLS_VERIFY_OPTIONAL] = "optional",
                                        [TLS_VERIFY_REQUIRED] = "required"};

    return words[value];
}

static const char *tls_version_enum_name(uint64_t value)
{
    static const char *const words[] = {[TLS_1_2] = "1.2", [TLS_1_3] = "1.3"};

    return words[value];
}

#define MEMBER(member) offsetof(struct settings, member)
#define KIB            UINT64_C(1024)
#define MIB            (1024 * KIB)
#define SECOND         UINT64_C(1000)
#define MINUTE         (60 * SECOND)
#define HOUR           (60 * MINUTE)
#define TIMEOUT_MIN    (SECOND / 10)
#define TIMEOUT_MAX    (24 * HOUR)

static const struct config_option config_options[] = {
    {.name = "port",
     .letter = 'p',
     .type = TYPE_NUMBER,
     .in_file = true,
     .fixed = true,
     .offset = MEMBER(listen.port),
     .max = 65535,
     .default_value = "8080",
     .placeholder = "PORT",
     .help = "TCP port; 0 takes any free one and logs it"},
    {.name = "address",
     .letter = 'a',
     .type = TYPE_ADDRESSES,
     .in_file = true,
     .fixed = true,
     .offset = MEMBER(listen.address),
     .min = 1,
     .max = 255,
     .placeholder = "ADDRESS",
     .help = "address to listen on, once for each; none is every one"},
    {.name = "unix",
     .type = TYPE_PATH,
     .in_file = true,
     .fixed = true,
     .offset = MEMBER(listen.unix_path),
     .min = 1,
     .max = sizeof((struct sockaddr_un *)NULL)->sun_path - 1,
     .placeholder = "PATH",
     .help = "Unix stream socket to listen on as well"},
    {.name = "unix-mode",
     .type = TYPE_OCTAL,
     .in_file = true,
     .fixed = true,
     .offset = MEMBER(listen.unix_mode),
     .max = 0777,
     .default_value = "0660",
     .placeholder = "MODE",
     .help = "permissions of the Unix socket"},
    {.name = "reuse-port",
     .type = TYPE_SWITCH,
     .in_file = true,
     .fixed = true,
     .offset = MEMBER(listen.reuse_port),
     .max = true,
     .default_value = "off",
     .placeholder = "on|off",
     .help = "share the port with daemons of the same user that do"},
    {.name = "tls-port",
     .type = TYPE_PORT,
     .in_file = true,
     .fixed = true,
     .offset = MEMBER(listen.tls_port),
     .max = LISTENER_NO_PORT,
     .default_value = "off",
     .placeholder = "PORT",
     .help = "TCP port for TLS, beside the other; 0 takes any"},
    {.name = "tls-cert",
     .type = TYPE_PATH,
     .in_file = true,
     .offset = MEMBER(tls_cert),
     .min = 1,
     .max = PATH_MAX - 1,
     .placeholder = "FILE",
     .help = "certificate, with its chain, in PEM"},
    {.name = "tls-key",
     .type = TYPE_PATH,
     .in_file = true,
     .offset = MEMBER(tls_key),
     .min = 1,
     .max = PATH_MAX - 1,
     .placeholder = "FILE",
     .help = "its private key; none is in the certificate's file"},
    {.name = "tls-self-signed",
     .type = TYPE_SWITCH,
     .in_file = true,
     .offset = MEMBER(tls_self_signed),
     .max = true,
     .default_value = "off",
     .placeholder = "on|off",
     .help = "make a certificate in memory, for trying it out"},
    {.name = "tls-client-ca",
     .type = TYPE_PATH,
     .in_file = true,
     .offset = MEMBER(tls_client_ca),
     .min = 1,
     .max = PATH_MAX - 1,
     .placeholder = "FILE",
     .help = "who signs the certificates of clients, in PEM"},
    {.name = "tls-verify",
     .type = TYPE_ENUM,
     .in_file = true,
     .offset = MEMBER(tls_verify),
     .min = TLS_VERIFY_OFF,
     .max = TLS_VERIFY_REQUIRED,
     .enum_name = tls_verify_enum_name,
     .default_value = "optional",
     .placeholder = "off|optional|required",
     .help = "with tls-client-ca: whether clients need one"},
    {.name = "tls-min-version",
     .type = TYPE_ENUM,
     .in_file = true,
     .offset = MEMBER(tls_min_version),
     .min = TLS_1_2,
     .max = TLS_1_3,
     .enum_name = tls_version_enum_name,
     .default_value = "1.2",
     .placeholder = "VERSION",
     .help = "oldest version of TLS that is spoken"},
    {.name = "config",
     .letter = 'c',
     .type = TYPE_PATH,
     .offset = MEMBER(config),
     .min = 1,
     .max = PATH_MAX - 1,
     .placeholder = "FILE",
     .help = "read settings from FILE"},
    {.name = "check-config",
     .letter = 't',
     .type = TYPE_ACTION,
     .offset = MEMBER(check_config),
     .help = "check the settings, say what is wrong, exit 0 or 78"},
    {.name = "dump-config",
     .type = TYPE_ACTION,
     .offset = MEMBER(dump_config),
     .help = "print the settings in force, fit to be read back"},
    {.name = "probe",
     .type = TYPE_OPERAND,
     .offset = MEMBER(probe),
     .placeholder = "[URL]",
     .help = "ask a running daemon once, exit 0 if it answers, or 1"},
    {.name = "max-connections",
     .type = TYPE_NUMBER,
     .in_file = true,
     .offset = MEMBER(max_connections),
     .min = 1,
     .max = 1000000,
     .default_value = "10000",
     .placeholder = "N",
     .help = "connections at once; more wait in the backlog"},
    {.name = "max-connections-per-address",
     .type = TYPE_NUMBER,
     .in_file = true,
     .offset = MEMBER(max_connections_per_address),
     .max = 1000000,
     .default_value = "0",
     .placeholder = "N",
     .help = "connections at once from one address; 0 sets no limit"},
    {.name = "max-concurrent-streams",
     .type = TYPE_NUMBER,
     .in_file = true,
     .offset = MEMBER(max_concurrent_streams),
     .min = 1,
     .max = 65535,
     .default_value = "128",
     .placeholder = "N",
     .help = "streams at once on one connection"},
    {.name = "max-header-list-size",
     .type = TYPE_SIZE,
     .in_file = true,
     .offset = MEMBER(max_header_list_size),
     .min = KIB,
     .max = 16 * MIB,
     .default_value = "64KiB",
     .placeholder = "SIZE",
     .help = "bytes of a request's fields, 32 more for each"},
    {.name = "header-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = MEMBER(header_timeout),
     .min = TIMEOUT_MIN,
     .max = TIMEOUT_MAX,
     .default_value = "10s",
     .placeholder = "TIME",
     .help = "for the client's preface, and for each header block"},
    {.name = "idle-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = MEMBER(idle_timeout),
     .min = TIMEOUT_MIN,
     .max = TIMEOUT_MAX,
     .default_value = "5m",
     .placeholder = "TIME",
     .help = "for a connection with no stream open and no frame"},
    {.name = "stream-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = MEMBER(stream_timeout),
     .min = TIMEOUT_MIN,
     .max = TIMEOUT_MAX,
     .default_value = "30s",
     .placeholder = "TIME",
     .help = "for a stream whose body or window does not go on"},
    {.name = "write-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = MEMBER(write_timeout),
     .min = TIMEOUT_MIN,
     .max = TIMEOUT_MAX,
     .default_value = "30s",
     .placeholder = "TIME",
     .help = "for a peer that takes nothing"},
    {.name = "drain-timeout",
     .type = TYPE_DURATION,
     .in_file = true,
     .offset = MEMBER(drain_timeout),
     .min = TIMEOUT_MIN,
     .max = TIMEOUT_MAX,
     .default_value = "10s",
     .placeholder = "TIME",
     .help = "after SIGTERM, for what was begun"},
    {.name = "upgrade",
     .type = TYPE_SWITCH,
     .in_file = true,
     .offset = MEMBER(upgrade),
     .max = true,
     .default_value = "on",
     .placeholder = "on|off",
     .help = "take the HTTP/1.1 Upgrade to h2c"},
    {.name = "log-level",
     .type = TYPE_ENUM,
     .in_file = true,
     .offset = MEMBER(log_level),
     .min = LOG_LEVEL_ERROR,
     .max = LOG_LEVEL_DEBUG,
     .enum_name = log_level_enum_name,
     .default_value = "info",
     .placeholder = "LEVEL",
     .help = "least important level to log, error to debug"},
    {.name = "quiet",
     .letter = 'q',
     .type = TYPE_QUIET,
     .help = "log one level less; may be repeated"},
    {.name = "verbose",
     .letter = 'v',
     .type = TYPE_VERBOSE,
     .help = "log one level more, and frames; -vv: with values"},
    {.name = "trace",
     .type = TYPE_ENUM,
     .in_file = true,
     .offset = MEMBER(trace),
     .min = TRACE_OFF,
     .max = TRACE_FIELDS,
     .enum_name = trace_enum_name,
     .default_value = "off",
     .placeholder = "WHAT",
     .help = "a line for each frame and field; fields: values too"},
    {.name = "access-log",
     .type = TYPE_ENUM,
     .in_file = true,
     .offset = MEMBER(access_log),
     .min = ACCESS_LOG_OFF,
     .max = ACCESS_LOG_JSON,
     .enum_name = access_log_enum_name,
     .default_value = "off",
     .placeholder = "FORMAT",
     .help = "a line for each request, text or json"},
    {.name = "pretty",
     .type = TYPE_SWITCH,
     .in_file = true,
     .offset = MEMBER(pretty),
     .max = true,
     .default_value = "off",
     .placeholder = "on|off",
     .help = "indent the answer's JSON"},
    {.name = "version",
     .letter = 'V',
     .type = TYPE_ACTION,
     .offset = MEMBER(version),
     .help = "print the version, and those of the libraries"},
    {.name = "help",
     .letter = 'h',
     .type = TYPE_ACTION,
     .offset = MEMBER(help),
     .help = "print this text"},
};

enum { ROWS = sizeof(config_options) / sizeof(config_options[0]) };

static const struct config_option *option_find(const char *name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(config_options[i].name, name) == 0)
            return &config_options[i];
    return NULL;
}

static const struct config_option *option_of_code(int option)
{
    if (option >= LONG_OPTION)
        return &config_options[option - LONG_OPTION];
    for (size_t i = 0; i < ROWS; i++)
        if (config_options[i].letter == option)
            return &config_options[i];
    return NULL;
}

/* --- Fields --------------------------------------------------------------------------------- */

/* What the member of struct settings is that an option's offset leads to. */
enum member_kind { MEMBER_NONE, MEMBER_NUMBER, MEMBER_BOOL, MEMBER_TEXT, MEMBER_LIST };

static enum member_kind member_kind_of(const struct config_option *option)
{
    switch (option->type) {
    case TYPE_NUMBER:
    case TYPE_PORT:
    case TYPE_OCTAL:
    case TYPE_SIZE:
    case TYPE_DURATION:
    case TYPE_ENUM:
        return MEMBER_NUMBER;
    case TYPE_SWITCH:
    case TYPE_ACTION:
        return MEMBER_BOOL;
    case TYPE_PATH:
    case TYPE_OPERAND:
        return MEMBER_TEXT;
    case TYPE_ADDRESSES:
        return MEMBER_LIST;
    case TYPE_QUIET:
    case TYPE_VERBOSE:
        break;
    }
    return MEMBER_NONE;
}

static void *member_of(const struct config_option *option, struct settings *settings)
{
    return (char *)settings + option->offset;
}

static const void *const_member_of(const struct config_option *option,
                                   const struct settings *settings)
{
    return (const char *)settings + option->offset;
}

/* The number in a member; of texts there is none. */
static uint64_t member_number(const struct config_option *option, const struct settings *settings)
{
    const void *member = const_member_of(option, settings);

    return member_kind_of(option) == MEMBER_BOOL ? *(const bool *)member
                                                 : *(const uint64_t *)member;
}

/* The texts of a member of either kind: ${one} holds the text of a member that has only one. */
static char *const *member_texts(const struct config_option *option,
                                 const struct settings *settings, char *one[2])
{
    const void *member = const_member_of(option, settings);

    one[0] = NULL;
    one[1] = NULL;
    if (member_kind_of(option) == MEMBER_TEXT)
        one[0] = *(char *const *)member;
    else if (*(char **const *)member != NULL)
        return *(char **const *)member;
    return one;
}

static void member_clear(const struct config_option *option, struct settings *settings)
{
    char ***list = member_of(option, settings);
    char **text = member_of(option, settings);

    switch (member_kind_of(option)) {
    case MEMBER_LIST:
        for (char **each = *list; each != NULL && *each != NULL; each++)
            free(*each);
        free(*list);
        *list = NULL;
        break;
    case MEMBER_TEXT:
        free(*text);
        *text = NULL;
        break;
    case MEMBER_NUMBER:
    case MEMBER_BOOL:
    case MEMBER_NONE:
        break;
    }
}

static bool list_append(char ***list, const char *text)
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

static bool text_replace(char **member, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return false;
    free(*member);
    *member = copy;
    return true;
}

/* Put a value that is in order into its member: a text, or the number it was found to be. Return
 * false if memory ran out. */
static bool member_store(const struct config_option *option, struct settings *settings,
                         const char *text, uint64_t number)
{
    void *member = member_of(option, settings);

    switch (member_kind_of(option)) {
    case MEMBER_NUMBER:
        *(uint64_t *)member = number;
        return true;
    case MEMBER_BOOL:
        *(bool *)member = number != 0;
        return true;
    case MEMBER_TEXT:
        return text_replace(member, text);
    case MEMBER_LIST:
        return list_append(member, text);
    case MEMBER_NONE:
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
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i], text) == 0) {
            *number = i % 2;
            return true;
        }
    }
    return false;
}

static bool is_white_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The bytes of ${text} before a comment: '#' at the start or behind white space. */
static size_t length_before_comment(const char *text)
{
    size_t i = 0;

    while (text[i] != '\0' && !(text[i] == '#' && (i == 0 || is_white_space(text[i - 1]))))
        i++;
    return i;
}

/* Whether a line of the file can hold ${text} as it is; otherwise a dump could not be read back. */
static bool config_file_can_hold(const char *text)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++)
        if (iscntrl((unsigned char)text[i]))
            return false;
    return length == 0 ||
           (text[0] != ' ' && text[length - 1] != ' ' && length_before_comment(text) == length);
}

static bool option_is_text(const struct config_option *option)
{
    return option->type == TYPE_PATH || option->type == TYPE_ADDRESSES;
}

/* Find what number ${text} is; of texts the number is their length. */
static bool parse_by_type(const struct config_option *option, const char *text, uint64_t *number)
{
    switch (option->type) {
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

static bool value_parse(const struct config_option *option, const char *text, uint64_t *number)
{
    return parse_by_type(option, text, number) && *number >= option->min && *number <= option->max;
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
static const char *value_format(const struct config_option *option, uint64_t number,
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

__attribute__((format(printf, 3, 4))) static void text_append(char *text, size_t size,
                                                              const char *format, ...)
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

/* The words for what a setting takes; ${text} is room for them. */
static const char *value_expected(const struct config_option *option, char text[EXPECTED_MAX])
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

/* --- Reading: what both sources share ------------------------------------------------------- */

struct reader {
    struct settings *settings;
    settings_error_fn *on_error;
    void *argument;
    enum settings_result result;
    enum settings_result exit_code; /* what an error makes of the result */
    char file[SHOWN_NAME_MAX];
    unsigned long line;          /* of the file; 0 = the command line */
    unsigned long line_of[ROWS]; /* where the file has the key; 0 = nowhere yet */
    bool given[ROWS];            /* on the command line, which goes before the file */
    int verbosity;               /* steps of the log level */
    const struct config_option
        *operand_for; /* the action that may have an operand, until it has one */
};

/* Pass one error on, with its place in the file before it. */
__attribute__((format(printf, 2, 3))) static void reader_report(struct reader *reader,
                                                                const char *format, ...)
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
        reader->result = reader->exit_code;
}

static void reader_report_no_memory(struct reader *reader)
{
    if (reader->result != SETTINGS_NO_MEMORY)
        reader->on_error("no memory for the settings: free some, then try again", reader->argument);
    reader->result = SETTINGS_NO_MEMORY;
}

static const char *option_dashes(const struct reader *reader)
{
    return reader->line == 0 ? "--" : "";
}

static void report_bad_value(struct reader *reader, const struct config_option *option,
                             const char *text)
{
    char shown[SHOWN_MAX];
    char expected[EXPECTED_MAX];

    reader_report(reader, "%s%s: '%s' is not %s", option_dashes(reader), option->name,
                  log_escape(shown, sizeof(shown), text, strlen(text)),
                  value_expected(option, expected));
}

static void report_text_for_no_file(struct reader *reader, const struct config_option *option,
                                    const char *text)
{
    char shown[SHOWN_MAX];

    reader_report(
        reader,
        "%s%s: '%s' does not fit a line of the file: it must have no control character, no space "
        "at its ends and no '#' at its start or behind a space",
        option_dashes(reader), option->name, log_escape(shown, sizeof(shown), text, strlen(text)));
}

/* The setter behind every source: checks ${text} whatever goes before it, then stores it. */
static void reader_set_value(struct reader *reader, const struct config_option *option,
                             const char *text)
{
    bool overruled = reader->line != 0 && reader->given[option - config_options];
    uint64_t number;

    if (!value_parse(option, text, &number))
        report_bad_value(reader, option, text);
    else if (option->in_file && option_is_text(option) && !config_file_can_hold(text))
        report_text_for_no_file(reader, option, text);
    else if (!overruled && !member_store(option, reader->settings, text, number))
        reader_report_no_memory(reader);
}

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
static const struct config_option *suggest_option(const char *name, size_t length, bool in_file)
{
    const struct config_option *nearest = NULL;
    size_t min = SUGGESTION_DISTANCE_MAX + 1;

    for (size_t i = 0; i < ROWS; i++) {
        size_t distance = edit_distance(name, length, config_options[i].name);
        if (distance < min && (config_options[i].in_file || !in_file)) {
            nearest = &config_options[i];
            min = distance;
        }
    }
    return nearest;
}

/* What daemons call it to go into the background, or not to. The longer names are found with an
 * error or two in them. */
static bool suggest_is_background(const char *name, size_t length)
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

static const char suggest_foreground[] =
    "h2echod stays in the foreground: for the background use its systemd service, or end the "
    "command with '&'";

/* --- Reading: the command line -------------------------------------------------------------- */

enum { LETTERS_MAX = 2 + 2 * ROWS + 1 };

static int getopt_has_arg(const struct config_option *option)
{
    if (option->type == TYPE_SWITCH)
        return optional_argument;
    if (option->type == TYPE_OPERAND)
        return no_argument;
    return option->placeholder != NULL ? required_argument : no_argument;
}

/* "-" has getopt hand out arguments that are not options, ":" tells a missing argument apart. */
static void build_getopt_tables(struct option long_options[ROWS + 1],
                                char short_options[LETTERS_MAX])
{
    short_options[0] = '\0';
    text_append(short_options, LETTERS_MAX, "-:");
    for (int i = 0; i < ROWS; i++) {
        const struct config_option *option = &config_options[i];
        long_options[i] =
            (struct option){option->name, getopt_has_arg(option), NULL, LONG_OPTION + i};
        if (option->letter != 0)
            text_append(short_options, LETTERS_MAX, "%c%s", option->letter,
                        getopt_has_arg(option) == required_argument ? ":" : "");
    }
    long_options[ROWS] = (struct option){NULL, 0, NULL, 0};
}

static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

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
static const char *suggest_for_number(const char *number, char text[SUGGESTION_MAX])
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

    if (near == NULL || (text[length] == '=' && getopt_has_arg(near) == no_argument))
        return false;
    (void)snprintf(suggestion, SUGGESTION_MAX, "--%s%s", near->name, text + length);
    return true;
}

static void report_stray(struct reader *reader, const char *text)
{
    char suggestion[SUGGESTION_MAX];
    char suggested[SHOWN_MAX];
    char shown[SHOWN_MAX];

    log_escape(shown, sizeof(shown), text, strlen(text));
    if (is_number(text))
        reader_report(reader, "unexpected argument '%s': %s", shown,
                      suggest_for_number(text, suggestion));
    else if (suggest_for_value(text, suggestion) || suggest_host_port(text, suggestion) ||
             suggest_for_name(text, suggestion))
        reader_report(reader, "unexpected argument '%s': did you mean %s?", shown,
                      log_escape(suggested, sizeof(suggested), suggestion, strlen(suggestion)));
    else if (suggest_is_background(text, strlen(text)))
        reader_report(reader, "unexpected argument '%s': %s", shown, suggest_foreground);
    else
        reader_report(reader, "unexpected argument '%s': settings are options, see h2echod --help",
                      shown);
}

static void set_operand(struct reader *reader, const char *text)
{
    if (reader->operand_for == NULL || *text == '\0')
        report_stray(reader, text);
    else if (!member_store(reader->operand_for, reader->settings, text, 0))
        reader_report_no_memory(reader);
    else
        reader->operand_for = NULL;
}

static bool is_ambiguous(const char *name, size_t length)
{
    int count = 0;

    for (size_t i = 0; i < ROWS; i++)
        count += strncmp(config_options[i].name, name, length) == 0;
    return count > 1;
}

/* ${word} begins with "--"; what follows '=' in it does not matter. */
static void report_unknown_long(struct reader *reader, const char *word)
{
    char shown[SHOWN_MAX];
    size_t length = strcspn(word + 2, "=");
    const struct config_option *near = suggest_option(word + 2, length, false);

    log_escape(shown, sizeof(shown), word + 2, length);
    if (suggest_is_background(word + 2, length))
        reader_report(reader, "--%s: %s", shown, suggest_foreground);
    else if (is_ambiguous(word + 2, length))
        reader_report(reader, "--%s: could be several options: write the name in full", shown);
    else if (near != NULL)
        reader_report(reader, "--%s: unknown option: did you mean --%s?", shown, near->name);
    else
        reader_report(reader, "--%s: unknown option: h2echod --help lists them", shown);
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
            reader_report(reader, "%s: unknown option: %s",
                          log_escape(shown, sizeof(shown), word, strlen(word)),
                          suggest_for_number(word + 1, advice));
    } else if (letter == 'd' || letter == 'D')
        reader_report(reader, "-%s: %s", shown, suggest_foreground);
    else
        reader_report(reader, "-%s: unknown option: h2echod --help lists them", shown);
}

/* ${word} is the argument that getopt was at, and is done with if ${is_last}. */
static void report_bad_option(struct reader *reader, const char *word, bool is_last)
{
    if (optopt >= LONG_OPTION)
        reader_report(reader, "--%s: takes no value", option_of_code(optopt)->name);
    else if (optopt == 0)
        report_unknown_long(reader, word);
    else
        report_unknown_letter(reader, word, (char)optopt, is_last);
}

static void report_missing_value(struct reader *reader, const struct config_option *option)
{
    char expected[EXPECTED_MAX];

    reader_report(reader, "--%s: a value is missing: %s", option->name,
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
    case TYPE_OPERAND: /* was found before all others */
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

static void handle_getopt(struct reader *reader, int code, const char *word, bool is_last)
{
    switch (code) {
    case 1:
        set_operand(reader, optarg);
        break;
    case ':':
        report_missing_value(reader, option_of_code(optopt));
        break;
    case '?':
        report_bad_option(reader, word, is_last);
        break;
    default:
        apply_option(reader, option_of_code(code));
        break;
    }
}

/* Find the action that may have an operand: it may stand behind it. */
static void find_operand_option(struct reader *reader, int argc, char *const argv[],
                                const char *short_options, const struct option *long_options)
{
    int code;

    optind = 0; /* glibc's way to begin again */
    while ((code = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
        if (code >= LONG_OPTION && option_of_code(code)->type == TYPE_OPERAND)
            reader->operand_for = option_of_code(code);
    if (reader->operand_for != NULL && !member_store(reader->operand_for, reader->settings, "", 0))
        reader_report_no_memory(reader);
}

static void command_line_read(struct reader *reader, int argc, char *const argv[])
{
    struct option long_options[ROWS + 1];
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

/* --- Reading: the file ---------------------------------------------------------------------- */

struct file_line {
    size_t length; /* of the line in the file, whatever text holds of it */
    bool has_nul;
    char text[FILE_LINE_MAX + 1];
};

/* Return false at the end and after an error. */
static bool read_line(FILE *file, struct file_line *line)
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
static char *trim_white_space(char *text)
{
    while (is_white_space(*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && is_white_space(text[length - 1]))
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
        reader_report(reader, "unknown key '%s': it is an option of the command line alone", shown);
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

    if (option == NULL || !option->in_file) {
        report_unknown_key(reader, key);
        return;
    }
    unsigned long *first = &reader->line_of[option - config_options];
    if (*first != 0 && option->type != TYPE_ADDRESSES) {
        reader_report(reader, "%s: comes twice, line %lu has it too: keep one", option->name,
                      *first);
        return;
    }
    *first = reader->line;
    reader_set_value(reader, option, value);
}

static void parse_line(struct reader *reader, struct file_line *line)
{
    char shown[SHOWN_MAX];

    if (line->length > FILE_LINE_MAX) {
        reader_report(reader, "the line is too long: it has %zu bytes, %d are allowed",
                      line->length, FILE_LINE_MAX);
        return;
    }
    if (line->has_nul) {
        reader_report(reader, "the line has a NUL byte: the file must be text");
        return;
    }
    line->text[length_before_comment(line->text)] = '\0';
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
    char words[SHOWN_MAX];

    reader->line = 0;
    if (error == ENOMEM) {
        reader_report_no_memory(reader);
        return;
    }
    reader_report(reader, "%s: can't be read: %s; %s", reader->file,
                  strerror_r(error, words, sizeof(words)), file_open_advice(error));
}

static void config_file_read(struct reader *reader, const char *name)
{
    struct file_line line;

    log_escape(reader->file, sizeof(reader->file), name, strlen(name));
    reader->exit_code = SETTINGS_BAD_FILE;
    FILE *file = file_open(name);
    if (file == NULL) {
        report_unreadable(reader, errno);
        return;
    }
    while (read_line(file, &line)) {
        reader->line++;
        parse_line(reader, &line);
    }
    if (ferror(file))
        report_unreadable(reader, errno);
    (void)fclose(file);
}

/* --- Exported ------------------------------------------------------------------------------- */

static void apply_defaults(struct reader *reader)
{
    for (size_t i = 0; i < ROWS; i++)
        if (config_options[i].default_value != NULL)
            reader_set_value(reader, &config_options[i], config_options[i].default_value);
}

/* Of -q and -v. */
static void apply_verbosity(struct settings *settings, int verbosity)
{
    int64_t trace = verbosity < TRACE_FIELDS ? verbosity : TRACE_FIELDS;
    int64_t level = (int64_t)settings->log_level + verbosity;

    if (level < LOG_LEVEL_ERROR)
        level = LOG_LEVEL_ERROR;
    if (level > LOG_LEVEL_DEBUG)
        level = LOG_LEVEL_DEBUG;
    settings->log_level = (uint64_t)level;
    if (trace > (int64_t)settings->trace)
        settings->trace = (uint64_t)trace;
}

/* Whether this process is going to serve, and not only to say something. */
static bool will_serve(const struct settings *settings)
{
    return !settings->help && !settings->version && !settings->dump_config &&
           settings->probe == NULL;
}

static bool has_tls_settings(const struct settings *settings)
{
    return settings->listen.tls_port != LISTENER_NO_PORT || settings->tls_cert != NULL ||
           settings->tls_key != NULL || settings->tls_self_signed ||
           settings->tls_client_ca != NULL || settings->tls_verify == TLS_VERIFY_REQUIRED;
}

static const char *find_tls_conflict(const struct settings *settings)
{
    bool has_certificate = settings->tls_cert != NULL || settings->tls_self_signed;

    if (tls_library_version() == NULL && has_tls_settings(settings))
        return "TLS: this h2echod was built without it: build it with OpenSSL 3, or leave out "
               "all that begins with tls";
    if (settings->tls_cert != NULL && settings->tls_self_signed)
        return "tls-self-signed: there is a tls-cert as well: keep one of them";
    if (settings->tls_key != NULL && settings->tls_cert == NULL)
        return "tls-key: is of no use alone: name its certificate with tls-cert";
    if (settings->tls_verify == TLS_VERIFY_REQUIRED && settings->tls_client_ca == NULL)
        return "tls-verify: needs to know whom to believe: name a file with tls-client-ca";
    if (settings->listen.tls_port != LISTENER_NO_PORT && !has_certificate)
        return "tls-port: needs a certificate: name one with tls-cert, or try tls-self-signed";
    if (settings->listen.tls_port == settings->listen.port && settings->listen.port != 0)
        return "tls-port: is the same as port: choose another for one of them";
    return NULL;
}

/* Read the files that the settings of TLS name: what is wrong with them is a mistake like others.
 */
static void load_tls(struct reader *reader)
{
    struct settings *settings = reader->settings;
    const struct tls_options options = {
        .certificate = settings->tls_cert,
        .key = settings->tls_key,
        .client_ca = settings->tls_client_ca,
        .hosts = settings->listen.address,
        .verify = (enum tls_verify)settings->tls_verify,
        .min_version = (enum tls_version)settings->tls_min_version,
    };
    const char *mistake = find_tls_conflict(settings);
    char error[TLS_ERROR_MAX];

    reader->line = 0;
    reader->exit_code = SETTINGS_BAD_FILE;
    if (mistake != NULL) {
        reader_report(reader, "%s", mistake);
        return;
    }
    if (settings->tls_cert == NULL && !settings->tls_self_signed)
        return;
    settings->tls = tls_context_new(&options, error);
    if (settings->tls == NULL)
        reader_report(reader, "%s", error);
}

enum settings_result settings_read(int argc, char *const argv[], settings_error_fn *on_error,
                                   void *argument, struct settings **settings)
{
    struct reader reader = {.on_error = on_error, .argument = argument};
    struct settings *fresh = calloc(1, sizeof(*fresh));

    if (fresh == NULL) {
        reader_report_no_memory(&reader);
        return reader.result;
    }
    atomic_init(&fresh->references, 1);
    reader.settings = fresh;
    apply_defaults(&reader);
    command_line_read(&reader, argc, argv);
    if (fresh->config != NULL && !fresh->help && !fresh->version)
        config_file_read(&reader, fresh->config);
    apply_verbosity(fresh, reader.verbosity);
    if (reader.result == SETTINGS_OK && will_serve(fresh))
        load_tls(&reader);
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
        member_clear(&config_options[i], settings);
    tls_context_free(settings->tls);
    free(settings);
}

static void dump_texts(const struct config_option *option, const struct settings *settings,
                       FILE *out)
{
    char *one[2];
    char *const *texts = member_texts(option, settings, one);

    if (*texts == NULL)
        (void)fprintf(out, "#%s =\n", option->name);
    for (; *texts != NULL; texts++)
        (void)fprintf(out, "%s = %s\n", option->name, *texts);
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
    if (option_is_text(option))
        dump_texts(option, settings, out);
    else
        dump_number(option, settings, out);
}

void settings_dump(const struct settings *settings, FILE *out)
{
    const char *between = "";

    for (size_t i = 0; i < ROWS; i++) {
        if (!config_options[i].in_file)
            continue;
        (void)fputs(between, out);
        dump_option(&config_options[i], settings, out);
        between = "\n";
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
    for (size_t i = 0; i < ROWS; i++)
        if (config_options[i].in_file == in_file)
            help_option(&config_options[i], out);
}

void settings_help(FILE *out)
{
    (void)fputs("Usage: h2echod [OPTION]...\n"
                "Answer every HTTP/2 request with its own fields as JSON. Try: h2echod -p 8080\n"
                "\n"
                "Settings, with their [defaults]; in the file the same names, as in port = 8080:\n",
                out);
    help_options(true, out);
    (void)fputs("\nOf the command line alone:\n", out);
    help_options(false, out);
    (void)fputs(
        "\n"
        "TIME is 500ms, 10s, 5m or 1h, a bare number is seconds. SIZE is 64KiB or 1MiB, a\n"
        "bare number is bytes. The command line goes before FILE, and FILE before defaults.\n"
        "See also h2echod(8) and h2echod.conf(5).\n",
        out);
}

static bool member_equal(const struct config_option *option, const struct settings *a,
                         const struct settings *b)
{
    char *one_a[2];
    char *one_b[2];

    if (!option_is_text(option))
        return member_number(option, a) == member_number(option, b);
    char *const *in_a = member_texts(option, a, one_a);
    char *const *in_b = member_texts(option, b, one_b);
    while (*in_a != NULL && *in_b != NULL && strcmp(*in_a, *in_b) == 0) {
        in_a++;
        in_b++;
    }
    return *in_a == NULL && *in_b == NULL;
}

static bool member_copy(const struct config_option *option, struct settings *to,
                        const struct settings *from)
{
    char *one[2];

    if (!option_is_text(option))
        return member_store(option, to, "", member_number(option, from));
    member_clear(option, to);
    for (char *const *text = member_texts(option, from, one); *text != NULL; text++)
        if (!member_store(option, to, *text, 0))
            return false;
    return true;
}

bool settings_keep_listening(struct settings *settings, const struct settings *running,
                             char *changed, size_t size)
{
    changed[0] = '\0';
    for (size_t i = 0; i < ROWS; i++) {
        const struct config_option *option = &config_options[i];
        if (!option->fixed || member_equal(option, settings, running))
            continue;
        text_append(changed, size, "%s%s", changed[0] == '\0' ? "" : ", ", option->name);
        if (!member_copy(option, settings, running))
            return false;
    }
    return true;
}
