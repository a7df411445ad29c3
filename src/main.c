/*
 * h2echod: an HTTP/2 server that answers each request with the request's own fields as JSON.
 *
 * main reads the settings and does the one thing that they ask for: print a text, probe a server,
 * or serve. It composes the parts.
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

/* What settings_read needs again at each reload. */
struct arguments {
    int argc;
    char **argv;
};

static void log_settings_error(const char *message, void *argument)
{
    (void)argument;
    log_write(LOG_LEVEL_ERROR, "%s", message);
}

/* For server_run: the new settings, or NULL after logging the errors. */
static struct settings *reread_settings(void *argument)
{
    const struct arguments *arguments = argument;
    struct settings *settings = NULL;

    (void)settings_read(arguments->argc, arguments->argv, log_settings_error, NULL, &settings);
    return settings;
}

/* Return the exit code of a process whose purpose was to print something. */
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

static int print_dump(const struct settings *settings)
{
    settings_dump(settings, stdout);
    return finish_output();
}

/* The settings were checked when they were read: only say so. */
static int print_check(const struct settings *settings)
{
    if (settings->config == NULL) {
        log_write(LOG_LEVEL_ERROR,
                  "--check-config: there is no file to check: name one with --config");
        return EX_USAGE;
    }
    printf("%s: OK\n", settings->config);
    return finish_output();
}

static int run_probe(const struct settings *settings)
{
    int result = probe_run(settings);

    return result == EXIT_SUCCESS ? finish_output() : result;
}

/* Sockets that a service manager passes to the process replace those of the settings. Return 0 or
 * an exit code. */
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

static int run_server(struct settings *settings, struct arguments *arguments)
{
    struct listeners listeners;
    struct notify notify;
    int result;

    log_set_level((enum log_level)settings->log_level);
    notify_open(&notify);
    result = open_listeners(settings, &listeners);
    if (result == 0)
        result = server_run(&(struct server_options){
            .listeners = &listeners,
            .settings = settings_ref(settings),
            .notify = &notify,
            .reload = reread_settings,
            .reload_argument = arguments,
        });
    notify_close(&notify);
    return result;
}

/* Return the exit code of the process. */
static int dispatch(struct settings *settings, struct arguments *arguments)
{
    if (settings->help)
        return print_help();
    if (settings->version)
        return print_version();
    if (settings->check_config)
        return print_check(settings);
    if (settings->dump_config)
        return print_dump(settings);
    if (settings->probe != NULL)
        return run_probe(settings);
    return run_server(settings, arguments);
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
    result = (int)settings_read(argc, argv, log_settings_error, NULL, &settings);
    if (result == SETTINGS_OK) {
        result = dispatch(settings, &arguments);
        settings_unref(settings);
    }
    return result;
}
