/*
 * settings: the values of all options, from the command line, the file and the defaults.
 *
 * Each option is described once, in the table in options.c: its name (the long option, and the key
 * in the file), type, range, default and a line of help. The parsers of the command line and the
 * file, --help, --dump-config and the shipped conf/h2echod.conf all use it.
 *
 * A struct settings is immutable once it is read, and is shared between threads by counting
 * references. A reload makes a new one; a connection keeps the settings with which it began.
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

    struct listener_options listen; /* a reload does not change it */

    /* A reload changes these. Durations are in milliseconds, sizes in bytes. */
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
    char *tls_cert;           /* the name of a file; NULL = not set */
    char *tls_key;            /* the same */
    char *tls_client_ca;      /* the same */
    uint64_t tls_verify;      /* enum tls_verify */
    uint64_t tls_min_version; /* enum tls_version */
    struct tls_context *tls;  /* owned; made from these settings; NULL = there is no certificate,
                                 or settings_read did not need it */

    /* From the command line only. */
    char *config; /* the name of the file; NULL = no file */
    bool check_config;
    bool dump_config;
    char *probe; /* the URL; "" = the address that these settings listen on; NULL = no probe */
    bool version;
    bool help;
};

/* The result of settings_read; the values are exit codes of the process. */
enum settings_result {
    SETTINGS_OK = 0,
    SETTINGS_BAD_USAGE = 64, /* the command line is wrong */
    SETTINGS_NO_MEMORY = 71,
    SETTINGS_BAD_FILE = 78, /* the file, or one that it names, is wrong or can't be read */
};

enum { SETTINGS_ERROR_MAX = 512 }; /* size of a buffer for one error message */

/* Called once for each error, with one line of text: "FILE:LINE: what is wrong: what would be
 * right", without "FILE:LINE: " if the error is not in the file. */
typedef void settings_error_fn(const char *message, void *argument);

/*
 * settings_read(argc, argv, on_error, argument, settings):
 * Read the command line and the file that it names. The command line overrides the file, and the
 * file overrides the defaults. Call ${on_error} with ${argument} for every error. If there is
 * none, return SETTINGS_OK and store new settings in *${settings}, with one reference that belongs
 * to the caller; otherwise store nothing. The certificates that the settings name are read too,
 * unless the command line asks only for a text or the probe.
 *
 * May be called again with the same arguments, for a reload. Must not run in two threads at once,
 * because it uses getopt.
 */
enum settings_result settings_read(int argc, char *const argv[], settings_error_fn *on_error,
                                   void *argument, struct settings **settings);

/*
 * settings_ref(settings):
 * Add a reference, and return ${settings}.
 */
struct settings *settings_ref(struct settings *settings);

/*
 * settings_unref(settings):
 * Release a reference. The last one frees the settings. ${settings} may be NULL.
 */
void settings_unref(struct settings *settings);

/*
 * settings_dump(settings, out):
 * Write every setting that can be in the file, with its value and, above it, its line of help. The
 * result is a file that settings_read accepts. A setting without a value is commented out.
 */
void settings_dump(const struct settings *settings, FILE *out);

/*
 * settings_help(out):
 * Write the usage text, with one line for each option.
 */
void settings_help(FILE *out);

/*
 * settings_keep_listening(settings, running, changed, size):
 * For a reload: set those of ${settings} that a reload does not change back to the values that they
 * have in ${running}. ${settings} must not be shared yet. Write the names of those that differed
 * into the buffer ${changed} of ${size} bytes, separated by ", ", or "" if none did. Return false
 * if memory ran out; the only thing then to do with ${settings} is to release it.
 */
bool settings_keep_listening(struct settings *settings, const struct settings *running,
                             char *changed, size_t size);

#endif
