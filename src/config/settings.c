/*
 * settings: composes a struct settings from defaults, command line and file, checks the settings
 * of TLS, which depend on each other, and counts the references to it.
 */
#include "config/settings_internal.h"

#include <stdlib.h>

static void apply_defaults(struct reader *reader)
{
    for (size_t i = 0; config_options[i].name != NULL; i++)
        if (config_options[i].default_value != NULL)
            reader_set_value(reader, &config_options[i], config_options[i].default_value);
}

/* Apply --verbose and --quiet. Each step changes the log level by one level; one step up also
 * traces frames, and two trace fields. The trace is never lowered. */
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

/* Whether the certificates are used or checked: not by what only prints, nor by the probe. */
static bool should_load_tls(const struct settings *settings)
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

/* What is wrong with the settings of TLS taken together; NULL = nothing. */
static const char *find_tls_conflict(const struct settings *settings)
{
    bool has_certificate = settings->tls_cert != NULL || settings->tls_self_signed;

    if (tls_library_version() == NULL && has_tls_settings(settings))
        return "TLS: this h2echod was built without it: build it with OpenSSL 3, or remove all "
               "settings whose names begin with tls";
    if (settings->tls_cert != NULL && settings->tls_self_signed)
        return "tls-self-signed: tls-cert is set too: keep only one of them";
    if (settings->tls_key != NULL && settings->tls_cert == NULL)
        return "tls-key: needs a certificate: name one with tls-cert";
    if (settings->tls_verify == TLS_VERIFY_REQUIRED && settings->tls_client_ca == NULL)
        return "tls-verify: 'required' needs CA certificates: name their file with tls-client-ca";
    if (settings->listen.tls_port != LISTENER_NO_PORT && !has_certificate)
        return "tls-port: needs a certificate: name one with tls-cert, or use tls-self-signed";
    if (settings->listen.tls_port == settings->listen.port && settings->listen.port != 0)
        return "tls-port: is the same as port: choose another number for one of them";
    return NULL;
}

/* Read the certificates and keys that the settings name. */
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
    const char *conflict = find_tls_conflict(settings);
    char error[TLS_ERROR_MAX];

    reader->line = 0;
    reader->exit_code = SETTINGS_BAD_FILE;
    if (conflict != NULL) {
        reader_report(reader, "%s", conflict);
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
    struct settings *new_settings = calloc(1, sizeof(*new_settings));

    if (new_settings == NULL) {
        reader_report_no_memory(&reader);
        return reader.result;
    }
    atomic_init(&new_settings->references, 1);
    reader.settings = new_settings;
    apply_defaults(&reader);
    command_line_read(&reader, argc, argv);
    if (new_settings->config != NULL && !new_settings->help && !new_settings->version)
        config_file_read(&reader, new_settings->config);
    apply_verbosity(new_settings, reader.verbosity);
    if (reader.result == SETTINGS_OK && should_load_tls(new_settings))
        load_tls(&reader);
    if (reader.result == SETTINGS_OK)
        *settings = new_settings;
    else
        settings_unref(new_settings);
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
    for (size_t i = 0; config_options[i].name != NULL; i++)
        member_clear(&config_options[i], settings);
    tls_context_free(settings->tls);
    free(settings);
}

bool settings_keep_listening(struct settings *settings, const struct settings *running,
                             char *changed, size_t size)
{
    changed[0] = '\0';
    for (size_t i = 0; config_options[i].name != NULL; i++) {
        const struct config_option *option = &config_options[i];
        if (option->scope != RESTART || member_equal(option, settings, running))
            continue;
        text_append(changed, size, "%s%s", changed[0] == '\0' ? "" : ", ", option->name);
        if (!member_copy(option, settings, running))
            return false;
    }
    return true;
}
