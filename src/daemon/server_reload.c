#include "daemon/server_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* Return whether there is a certificate where one is needed. */
bool server_has_certificate(const struct server *server, const struct settings *settings)
{
    if (server_first_listener(server, true) == NULL || settings->tls != NULL)
        return true;
    log_write(LOG_LEVEL_ERROR,
              "a socket for TLS is open%s: name a certificate with tls-cert, or "
              "try tls-self-signed",
              server->listeners->inherited ? ", handed over" : "");
    return false;
}

/* Read the settings anew, and put them in force. Return false if those before them stay. */
static bool reload_settings(struct server *server)
{
    struct settings *settings = server->reload(server->reload_argument);
    char changed[256];

    if (settings != NULL &&
        !settings_keep_listening(settings, server->settings, changed, sizeof(changed))) {
        log_write(LOG_LEVEL_ERROR, "out of memory");
        settings_unref(settings);
        settings = NULL;
    }
    if (settings != NULL && !server_has_certificate(server, settings)) {
        settings_unref(settings);
        settings = NULL;
    }
    if (settings == NULL) {
        log_write(LOG_LEVEL_ERROR, "reload failed: the settings in force stay");
        return false;
    }
    if (changed[0] != '\0')
        log_write(LOG_LEVEL_WARNING, "%s: %s",
                  server->listeners->inherited ? "not in force, since the sockets were handed over"
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
    server->news = reload_settings(server)
                       ? "; the last reload succeeded"
                       : "; the last reload failed, the settings before it are in force";
    server_notify_status(server, "READY=1\n");
}
