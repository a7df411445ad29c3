/*
 * options: the table of all options. The parsers of the command line and the file, --help,
 * --dump-config and conf/h2echod.conf all use it, so an option is described here and nowhere else.
 *
 * To add a setting, add a member to struct settings in settings.h and a row to the table below. The
 * tests fail until the man pages, conf/h2echod.conf and the lists of the tests have it too.
 */
#include "config/settings_internal.h"

#include <limits.h>
#include <string.h>
#include <sys/un.h>

static const char *log_level_enum_name(uint64_t value)
{
    return log_level_name((enum log_level)value);
}

static const char *trace_enum_name(uint64_t value)
{
    static const char *const names[] = {
        [TRACE_OFF] = "off", [TRACE_FRAMES] = "frames", [TRACE_FIELDS] = "fields"};

    return names[value];
}

static const char *access_log_enum_name(uint64_t value)
{
    static const char *const names[] = {
        [ACCESS_LOG_OFF] = "off", [ACCESS_LOG_TEXT] = "text", [ACCESS_LOG_JSON] = "json"};

    return names[value];
}

static const char *tls_verify_enum_name(uint64_t value)
{
    static const char *const names[] = {[TLS_VERIFY_OFF] = "off",
                                        [TLS_VERIFY_OPTIONAL] = "optional",
                                        [TLS_VERIFY_REQUIRED] = "required"};

    return names[value];
}

static const char *tls_version_enum_name(uint64_t value)
{
    static const char *const names[] = {[TLS_1_2] = "1.2", [TLS_1_3] = "1.3"};

    return names[value];
}

/*
 * The columns of the table:
 * name           the long option, and the key in the file
 * letter         the short option, or NO_LETTER
 * scope          COMMAND_LINE, RESTART or RELOAD: see enum option_scope
 * member         of struct settings
 * min, max       the smallest and the largest valid value; for strings, their length in bytes
 * default_value  as in the file; NULL leaves the member 0, false or NULL
 * placeholder    stands for the value in --help; NULL = the option takes no value
 * help           its line in --help, and the comment above it in a dump
 */
/* clang-format off */
#define OPTION(type_, name_, letter_, scope_, member_, min_, max_, default_, placeholder_, help_) \
    {.type = (type_), .name = (name_), .letter = (letter_), .scope = (scope_), \
     .offset = offsetof(struct settings, member_), .min = (min_), .max = (max_), \
     .default_value = (default_), .placeholder = (placeholder_), .help = (help_)}
#define ENUM(name_, member_, enum_name_, first, last, default_, placeholder_, help_) \
    {.type = TYPE_ENUM, .name = (name_), .scope = RELOAD, \
     .offset = offsetof(struct settings, member_), .min = (first), .max = (last), \
     .enum_name = (enum_name_), \
     .default_value = (default_), .placeholder = (placeholder_), .help = (help_)}
#define VERBOSITY(type_, name_, letter_, help_) \
    {.type = (type_), .name = (name_), .letter = (letter_), .scope = COMMAND_LINE, .help = (help_)}
#define END_OF_TABLE {.name = NULL}
/* clang-format on */

#define NUMBER(name, letter, scope, member, min, max, default_value, placeholder, help)            \
    OPTION(TYPE_NUMBER, name, letter, scope, member, min, max, default_value, placeholder, help)
#define SWITCH(name, scope, member, default_value, help)                                           \
    OPTION(TYPE_SWITCH, name, NO_LETTER, scope, member, false, true, default_value, "on|off", help)
#define PATH(name, letter, scope, member, max, placeholder, help)                                  \
    OPTION(TYPE_PATH, name, letter, scope, member, 1, max, NULL, placeholder, help)
#define TIMEOUT(name, member, default_value, help)                                                 \
    OPTION(TYPE_DURATION, name, NO_LETTER, RELOAD, member, SECOND / 10, 24 * HOUR, default_value,  \
           "TIME", help)
#define ACTION(name, letter, member, help)                                                         \
    OPTION(TYPE_ACTION, name, letter, COMMAND_LINE, member, false, true, NULL, NULL, help)

enum {
    NO_LETTER = 0,
    FILE_NAME_MAX = PATH_MAX - 1,
    SOCKET_PATH_MAX = sizeof((struct sockaddr_un *)NULL)->sun_path - 1,
    ADDRESS_MAX = 255, /* bytes of a host name */
};

const struct config_option config_options[] = {
    NUMBER("port", 'p', RESTART, listen.port, 0, 65535, "8080", "PORT",
           "TCP port; 0 picks a free one and logs it"),
    OPTION(TYPE_ADDRESSES, "address", 'a', RESTART, listen.address, 1, ADDRESS_MAX, NULL, "ADDRESS",
           "address to listen on, may be repeated; all by default"),
    PATH("unix", NO_LETTER, RESTART, listen.unix_path, SOCKET_PATH_MAX, "PATH",
         "additional Unix stream socket to listen on"),
    OPTION(TYPE_OCTAL, "unix-mode", NO_LETTER, RESTART, listen.unix_mode, 0, 0777, "0660", "MODE",
           "permissions of the Unix socket"),
    SWITCH("reuse-port", RESTART, listen.reuse_port, "off",
           "let other daemons of the same user share the port"),
    OPTION(TYPE_PORT, "tls-port", NO_LETTER, RESTART, listen.tls_port, 0, LISTENER_NO_PORT, "off",
           "PORT", "additional TCP port for TLS; 0 picks a free one"),
    PATH("tls-cert", NO_LETTER, RELOAD, tls_cert, FILE_NAME_MAX, "FILE",
         "PEM file with the certificate and its chain"),
    PATH("tls-key", NO_LETTER, RELOAD, tls_key, FILE_NAME_MAX, "FILE",
         "PEM file with its private key, if not in the same file"),
    SWITCH("tls-self-signed", RELOAD, tls_self_signed, "off",
           "create a certificate in memory, for testing"),
    PATH("tls-client-ca", NO_LETTER, RELOAD, tls_client_ca, FILE_NAME_MAX, "FILE",
         "PEM file with the CA certificates for verifying clients"),
    ENUM("tls-verify", tls_verify, tls_verify_enum_name, TLS_VERIFY_OFF, TLS_VERIFY_REQUIRED,
         "optional", "off|optional|required", "how to verify clients, if tls-client-ca is set"),
    ENUM("tls-min-version", tls_min_version, tls_version_enum_name, TLS_1_2, TLS_1_3, "1.2",
         "VERSION", "oldest version of TLS to accept"),
    PATH("config", 'c', COMMAND_LINE, config, FILE_NAME_MAX, "FILE", "read settings from FILE"),
    ACTION("check-config", 't', check_config, "check the settings, report errors, and exit"),
    ACTION("dump-config", NO_LETTER, dump_config,
           "print the settings in use as a configuration file, and exit"),
    OPTION(TYPE_OPERAND, "probe", NO_LETTER, COMMAND_LINE, probe, 0, 0, NULL, "[URL]",
           "send one request to a running daemon, print the result"),
    NUMBER("max-connections", NO_LETTER, RELOAD, max_connections, 1, 1000000, "10000", "N",
           "open connections; further ones wait in the backlog"),
    NUMBER("max-connections-per-address", NO_LETTER, RELOAD, max_connections_per_address, 0,
           1000000, "0", "N", "open connections from one address; 0 means no limit"),
    NUMBER("max-concurrent-streams", NO_LETTER, RELOAD, max_concurrent_streams, 1, 65535, "128",
           "N", "open streams on one connection"),
    OPTION(TYPE_SIZE, "max-header-list-size", NO_LETTER, RELOAD, max_header_list_size, KIB,
           16 * MIB, "64KiB", "SIZE", "size of a request's fields, plus 32 bytes for each"),
    TIMEOUT("header-timeout", header_timeout, "10s",
            "time limit for the preface and for each header block"),
    TIMEOUT("idle-timeout", idle_timeout, "5m",
            "time limit for a connection without streams or frames"),
    TIMEOUT("stream-timeout", stream_timeout, "30s",
            "time limit for a stream that makes no progress"),
    TIMEOUT("write-timeout", write_timeout, "30s", "time limit for a client that reads nothing"),
    TIMEOUT("drain-timeout", drain_timeout, "10s",
            "time limit for finishing open requests after SIGTERM"),
    SWITCH("upgrade", RELOAD, upgrade, "on", "accept the HTTP/1.1 upgrade to h2c"),
    ENUM("log-level", log_level, log_level_enum_name, LOG_LEVEL_ERROR, LOG_LEVEL_DEBUG, "info",
         "LEVEL", "least severe level to log, from error to debug"),
    VERBOSITY(TYPE_QUIET, "quiet", 'q', "log one level less; may be repeated"),
    VERBOSITY(TYPE_VERBOSE, "verbose", 'v', "log one level more, and --trace=frames; -vv: fields"),
    ENUM("trace", trace, trace_enum_name, TRACE_OFF, TRACE_FIELDS, "off", "WHAT",
         "log frames with field names; fields: with values too"),
    ENUM("access-log", access_log, access_log_enum_name, ACCESS_LOG_OFF, ACCESS_LOG_JSON, "off",
         "FORMAT", "log one line for each request, as text or as JSON"),
    SWITCH("pretty", RELOAD, pretty, "off", "indent the JSON of responses"),
    ACTION("version", 'V', version, "print the versions of h2echod and its libraries, and exit"),
    ACTION("help", 'h', help, "print this help, and exit"),
    END_OF_TABLE,
};

_Static_assert(sizeof(config_options) / sizeof(config_options[0]) <= OPTIONS_MAX + 1,
               "the table has more options than OPTIONS_MAX");

const struct config_option *option_find(const char *name)
{
    for (size_t i = 0; config_options[i].name != NULL; i++)
        if (strcmp(config_options[i].name, name) == 0)
            return &config_options[i];
    return NULL;
}

bool option_is_in_file(const struct config_option *option)
{
    return option->scope != COMMAND_LINE;
}

bool option_is_string(const struct config_option *option)
{
    return option->type == TYPE_PATH || option->type == TYPE_ADDRESSES;
}

bool option_takes_value(const struct config_option *option)
{
    return option->placeholder != NULL && option->type != TYPE_OPERAND;
}
