/* Reading the settings again, for SIGHUP. */
#include "daemon/server_internal.h"

#include <inttypes.h>
#include <stdio.h>

bool server_check_certificate(const struct server *server, const struct settings *settings)
{
    if (server_first_listener(server, true) == NULL || settings->tls != NULL)
        return true;
    log_write(LOG_LEVEL_ERROR,
              "there is a socket for TLS%s, but no certificate: name one with tls-cert, or try "
              "tls-self-signed",
              server->listeners->inherited ? " from the service manager" : "");
    return false;
}

/* Read the settings. What cannot change while the daemon runs, the options about listening, is
 * copied from the settings in force, and named in ${changed} if it differs. Return NULL, with the
 * error logged, if they cannot be used. */
static struct settings *read_new_settings(struct server *server, char *changed, size_t size)
{
    struct settings *settings = server->reload(server->reload_argument);

    if (settings == NULL)
        return NULL;
    if (!settings_keep_listening(settings, server->settings, changed, size)) {
        log_write(LOG_LEVEL_ERROR, "out of memory");
        settings_unref(settings);
        return NULL;
    }
    if (!server_check_certificate(server, settings)) {
        settings_unref(settings);
        return NULL;
    }
    return settings;
}

/* Return false if the settings could not be replaced. Connections that are open keep a reference to
 * the settings that they began with. */
static bool replace_settings(struct server *server)
{
    char changed[256];
    struct settings *settings = read_new_settings(server, changed, sizeof(changed));

    if (settings == NULL) {
        log_write(LOG_LEVEL_ERROR, "reload failed: the previous settings remain in force");
        return false;
    }
    if (changed[0] != '\0')
        log_write(LOG_LEVEL_WARNING, "%s: %s",
                  server->listeners->inherited
                      ? "not in force, because the service manager opened the sockets"
                      : "only a restart can change",
                  changed);
    settings_unref(server->settings);
    server->settings = settings;
    server_raise_descriptor_limit(server);
    log_set_level((enum log_level)settings->log_level);
    log_write(LOG_LEVEL_NOTICE, "reloaded%s%s", settings->config != NULL ? " " : "",
              settings->config != NULL ? settings->config : "");
    server_log_certificate(server);
    return true;
}

void server_reload(struct server *server)
{
    char message[128];

    snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reloading",
             clock_now().monotonic_us);
    server_notify(server, message);
    server->status.last_reload = replace_settings(server)
                                     ? "; the last reload succeeded"
                                     : "; the last reload failed, the previous settings remain";
    server_notify_status(server, "READY=1\n");
}
