/*
 * h2echod: an HTTP/2 server that answers every request with its own fields as JSON.
 *
 * main composes the parts: settings, listeners, server; or the probe of another one.
 */
#include "base/log.h"
#include "config/settings.h"
#include "daemon/notify.h"
#include "daemon/server.h"
#include "echo/echo.h"
#include "http2/session.h"
#include "net/listener.h"
#include "net/tls.h"
#include "probe/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

struct arguments {
    int argc;
    char **argv;
};

static void log_error(const char *message, void *argument)
{
    (void)argument;
    log_write(LOG_LEVEL_ERROR, "%s", message);
}

static struct settings *reload(void *argument)
{
    const struct arguments *arguments = argument;
    struct settings *settings = NULL;

    (void)settings_read(arguments->argc, arguments->argv, log_error, NULL, &settings);
    return settings;
}

/* What goes to stdout was asked for: that it could not be written is an error. */
static int finish_output(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_SUCCESS;
    log_write_errno(LOG_LEVEL_ERROR, errno, "cannot write to standard output");
    return EXIT_FAILURE;
}

static int print_version(void)
{
    const char *tls = tls_library_version();

    printf("h2echod %s (nghttp2 %s, jansson %s, %s%s)\n", H2ECHOD_VERSION, session_library(),
           echo_library(), tls != NULL ? "OpenSSL " : "no TLS", tls != NULL ? tls : "");
    return finish_output();
}

static int print_help(void)
{
    settings_help(stdout);
    return finish_output();
}

static int print_settings(const struct settings *settings)
{
    settings_dump(settings, stdout);
    return finish_output();
}

static int print_check(const struct settings *settings)
{
    if (settings->config == NULL) {
        log_write(LOG_LEVEL_ERROR, "--check-config: name the file to be checked with --config");
        return EX_USAGE;
    }
    printf("%s: OK\n", settings->config);
    return finish_output();
}

static int probe(const struct settings *settings)
{
    int result = probe_run(settings);

    return result == EXIT_SUCCESS ? finish_output() : result;
}

/* The sockets that a service manager hands over take the place of the settings' own. */
static int open_listeners(const struct settings *settings, struct listeners *listeners)
{
    size_t count;
    char *names;
    int first;
    int result = notify_take_sockets(&first, &count, &names);

    if (result != 0)
        return result;
    result = count > 0 ? listeners_inherit(first, count, names, listeners)
                       : listeners_open(&settings->listen, listeners);
    free(names);
    return result;
}

static int serve(struct settings *settings, struct arguments *arguments)
{
    struct listeners listeners;
    struct notify notify;
    struct server_options options = {
        .listeners = &listeners,
        .settings = settings_ref(settings),
        .notify = &notify,
        .reload = reload,
        .reload_argument = arguments,
    };
    int result;

    notify_open(&notify);
    result = open_listeners(settings, &listeners);
    if (result == 0)
        result = server_run(&options);
    else
        settings_unref(options.settings);
    notify_close(&notify);
    return result;
}

int main(int argc, char *argv[])
{
    struct arguments arguments = {argc, argv};
    struct settings *settings;
    int result;

    log_open();
    if (server_prepare_signals() != 0) {
        log_write_errno(LOG_LEVEL_ERROR, errno, "cannot start: signals cannot be set up");
        return EX_OSERR;
    }
    result = (int)settings_read(argc, argv, log_error, NULL, &settings);
    if (result != SETTINGS_OK)
        return result;
    if (settings->help)
        result = print_help();
    else if (settings->version)
        result = print_version();
    else if (settings->check_config)
        result = print_check(settings);
    else if (settings->dump_config)
        result = print_settings(settings);
    else if (settings->probe != NULL)
        result = probe(settings);
    else {
        log_set_level((enum log_level)settings->log_level);
        result = serve(settings, &arguments);
    }
    settings_unref(settings);
    return result;
}
