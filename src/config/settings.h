/*
 * settings: what the daemon was told, from the one table in settings.c.
 *
 * The table says for every setting its name (the long option and the key in the file), type,
 * range, default and one line of help. The command line's parser, the file's parser, --help,
 * --dump-config and the shipped conf/h2echod.conf all come from it.
 *
 * A struct settings is immutable once read and shared between threads by counted reference: a
 * connection keeps the settings that it began with, whatever a reload brings.
 */
#ifndef H2ECHOD_CONFIG_SETTINGS_H
#define H2ECHOD_CONFIG_SETTINGS_H

#include "base/log.h"
#include "net/listener.h"
#include "net/tls.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum settings_trace { TRACE_OFF, TRACE_FRAMES, TRACE_FIELDS };
enum settings_access_log { ACCESS_LOG_OFF, ACCESS_LOG_TEXT, ACCESS_LOG_JSON };

struct settings {
    atomic_uint references;

    struct listener_options listen; /* fixed while the process runs */

    /* What a reload can change. Times are milliseconds, sizes bytes. */
    uint64_t max_connections;
    uint64_t max_connections_per_address; /* 0 = no limit */
    uint64_t max_concurrent_streams;
    uint64_t max_header_list_size;
    uint64_t header_timeout;
    uint64_t idle_timeout;
    uint64_t stream_timeout;
    uint64_t write_timeout;
    uint64_t drain_timeout;
    uint64_t log_level;  /* enum log_level */
    uint64_t trace;      /* enum settings_trace */
    uint64_t access_log; /* enum settings_access_log */
    bool pretty;
    bool upgrade;
    bool tls_self_signed;
    char *tls_cert; /* NULL = none; so the next two */
    char *tls_key;
    char *tls_client_ca;
    uint64_t tls_verify;      /* enum tls_verify */
    uint64_t tls_min_version; /* enum tls_version */
    struct tls_context *tls;  /* made of them, if this process is to serve; NULL = none */

    /* What the command line asked for instead of serving. */
    char *config; /* the file that was read; NULL = none */
    bool check_config;
    bool dump_config;
    char *probe; /* the URL; "" = where these settings have a daemon listen; NULL = no probe */
    bool version;
    bool help;
};

/* What settings_read reports; the numbers are the process's exit codes. */
enum settings_result {
    SETTINGS_OK = 0,
    SETTINGS_BAD_USAGE = 64, /* the command line is wrong */
    SETTINGS_NO_MEMORY = 71,
    SETTINGS_BAD_FILE = 78, /* the file can't be read, or a line in it is wrong */
};

enum { SETTINGS_ERROR_MAX = 512 }; /* bytes of one error message */

/* Receives every error found, one call each: "FILE:LINE: what is wrong, what would be right". */
typedef void settings_error_fn(const char *message, void *argument);

/*
 * settings_read(argc, argv, on_error, argument, settings):
 * Read the command line and the file that it names: command line over file over default. Every
 * error goes to ${on_error}, not the first alone. On SETTINGS_OK store settings with one reference
 * in *${settings}; otherwise store nothing. May be called again with the same arguments (reload).
 * Not for two threads at once: getopt is not.
 */
enum settings_result settings_read(int argc, char *const argv[], settings_error_fn *on_error,
                                   void *argument, struct settings **settings);

/*
 * settings_ref(settings):
 * Take one more reference; return ${settings}.
 */
struct settings *settings_ref(struct settings *settings);

/*
 * settings_unref(settings):
 * Give one reference back, freeing the settings with the last one. NULL is fine.
 */
void settings_unref(struct settings *settings);

/*
 * settings_dump(settings, out):
 * Write every setting of the file with the value in force, with its line of help above it: a file
 * that can be read back. A setting that holds nothing is written commented out.
 */
void settings_dump(const struct settings *settings, FILE *out);

/*
 * settings_help(out):
 * Write the usage text, one setting a line, from the table.
 */
void settings_help(FILE *out);

/*
 * settings_keep_listening(settings, running, changed, size):
 * For a reload: make the settings that can't change in a running process what they are in
 * ${running}, before ${settings} is shared. Write the names of those that differed into ${changed}
 * of ${size} bytes, joined by ", ", or "" if none did. Return false if memory ran out; ${settings}
 * is then only fit to be given back.
 */
bool settings_keep_listening(struct settings *settings, const struct settings *running,
                             char *changed, size_t size);

#endif
