/* What the log says once the daemon is ready: its certificate, commands to try it and to stop it.
 * The commands have to work as they are when they are copied from the log. */
#include "daemon/server_internal.h"
#include "daemon/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    CURL_OPTIONS_MAX = 64 + CERTIFICATE_PIN_MAX, /* bytes */
    CURL_COMMAND_MAX = CURL_OPTIONS_MAX + ADDRESS_TEXT_MAX + CERTIFICATE_TEXT_MAX + 64,
};

const struct listener *server_first_listener(const struct server *server, bool is_tls)
{
    const struct listeners *listeners = server->listeners;

    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->list[i].is_tls == is_tls)
            return &listeners->list[i];
    }
    return NULL;
}

/* Return the words that precede the date in the log line about a certificate. */
static const char *validity_text(enum certificate_validity validity)
{
    static const char *const texts[] = {[CERTIFICATE_VALID] = "valid until",
                                        [CERTIFICATE_NOT_YET_VALID] = "not valid before",
                                        [CERTIFICATE_EXPIRES_SOON] = "expires soon:",
                                        [CERTIFICATE_EXPIRED] = "expired:"};

    return texts[validity];
}

void server_log_certificate(const struct server *server)
{
    struct certificate certificate;

    if (server->settings->tls == NULL)
        return;
    if (server_first_listener(server, true) == NULL) {
        log_write(LOG_LEVEL_WARNING, "there is a certificate, but no socket for TLS: %s",
                  server->listeners->inherited
                      ? "none of those from the service manager is named \"tls\", as that of "
                        "h2echod-tls.socket is"
                      : "open one with tls-port");
        return;
    }
    tls_context_certificate(server->settings->tls, &certificate);
    log_write(certificate.validity == CERTIFICATE_VALID ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING,
              "certificate %s, SHA-256 %s, %s %s", certificate.subject, certificate.sha256,
              validity_text(certificate.validity), certificate.when);
}

/* Write the options that curl needs to reach the daemon. No certification authority vouches for a
 * generated certificate: --insecure accepts it, and the pin makes sure that it is the right one. */
static void format_curl_options(const struct certificate *certificate, bool is_tls,
                                char text[CURL_OPTIONS_MAX])
{
    if (!is_tls)
        snprintf(text, CURL_OPTIONS_MAX, "--http2-prior-knowledge ");
    else if (certificate->is_generated)
        snprintf(text, CURL_OPTIONS_MAX, "--insecure --pinnedpubkey sha256//%s ", certificate->pin);
    else
        text[0] = '\0';
}

/* Write a command that sends a request to a listener. */
static void format_curl_command(const struct server *server, const struct listener *listener,
                                char text[CURL_COMMAND_MAX])
{
    const struct address *address = &listener->address;
    const char *scheme = listener->is_tls ? "https" : "http";
    struct certificate certificate = {.host = "localhost"};
    char options[CURL_OPTIONS_MAX];
    char path[ADDRESS_PATH_MAX];
    char shown[ADDRESS_TEXT_MAX];

    if (listener->is_tls)
        tls_context_certificate(server->settings->tls, &certificate);
    format_curl_options(&certificate, listener->is_tls, options);
    if (address_unix_path(path, address) != NULL)
        snprintf(text, CURL_COMMAND_MAX, "curl %s--unix-socket %s %s://%s/", options,
                 path[0] == '\0' ? "PATH" : log_escape(shown, sizeof(shown), path, strlen(path)),
                 scheme, certificate.host);
    else if (address_is_local(address))
        snprintf(text, CURL_COMMAND_MAX, "curl %s%s://%s:%u/", options, scheme, certificate.host,
                 address_port(address));
    else
        snprintf(text, CURL_COMMAND_MAX, "curl %s%s://%s/", options, scheme,
                 address_text(shown, address));
}

/* A service manager has commands of its own for that. */
static void log_how_to_stop(const struct server *server)
{
    if (server->notify->fd >= 0)
        return;
    if (terminal_is_foreground())
        log_write(LOG_LEVEL_NOTICE, "to stop it: Ctrl-C");
    else
        log_write(LOG_LEVEL_NOTICE, "to stop it: kill %jd", (intmax_t)getpid());
}

void server_log_ready(const struct server *server)
{
    const struct listener *plain = server_first_listener(server, false);
    const struct listener *tls = server_first_listener(server, true);
    char command[CURL_COMMAND_MAX];

    server_log_certificate(server);
    if (tls != NULL) {
        format_curl_command(server, tls, command);
        log_write(LOG_LEVEL_NOTICE, "with TLS: %s", command);
    }
    format_curl_command(server, plain != NULL ? plain : &server->listeners->list[0], command);
    log_write(LOG_LEVEL_NOTICE, "h2echod " H2ECHOD_VERSION " is ready: %s", command);
    log_how_to_stop(server);
}
