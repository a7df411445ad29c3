#include "daemon/server_internal.h"
#include "daemon/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    OPTIONS_MAX = 64 + CERTIFICATE_PIN_MAX, /* bytes of curl's options */
    COMMAND_MAX = OPTIONS_MAX + ADDRESS_TEXT_MAX + CERTIFICATE_TEXT_MAX + 64,
};

/* The first listener with TLS, or without: of several one is enough to copy. NULL = none. */
const struct listener *server_first_listener(const struct server *server, bool is_tls)
{
    const struct listeners *listeners = server->listeners;

    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->list[i].is_tls == is_tls)
            return &listeners->list[i];
    }
    return NULL;
}

/* What is said of a certificate's time, before the time itself. */
static const char *validity_words(enum certificate_validity validity)
{
    static const char *const words[] = {[CERTIFICATE_VALID] = "valid until",
                                        [CERTIFICATE_NOT_YET_VALID] = "not valid before",
                                        [CERTIFICATE_EXPIRES_SOON] = "to be renewed, it expires:",
                                        [CERTIFICATE_EXPIRED] = "expired:"};

    return words[validity];
}

/* Tell what clients are shown from now on. */
void server_log_certificate(const struct server *server)
{
    struct certificate certificate;

    if (server->settings->tls == NULL)
        return;
    if (server_first_listener(server, true) == NULL) {
        log_write(
            LOG_LEVEL_WARNING, "there is a certificate, but no socket for TLS: %s",
            server->listeners->inherited
                ? "none of those handed over is named \"tls\", as that of h2echod-tls.socket is"
                : "open one with tls-port");
        return;
    }
    tls_context_certificate(server->settings->tls, &certificate);
    log_write(certificate.validity == CERTIFICATE_VALID ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING,
              "certificate %s, SHA-256 %s, %s %s", certificate.subject, certificate.sha256,
              validity_words(certificate.validity), certificate.when);
}

/* What stands before the URL: over TLS what trusts a certificate made in memory, by its key, and
 * nobody else's. */
static void write_options(const struct certificate *certificate, bool is_tls,
                          char text[OPTIONS_MAX])
{
    if (!is_tls)
        snprintf(text, OPTIONS_MAX, "--http2-prior-knowledge ");
    else if (certificate->is_generated)
        snprintf(text, OPTIONS_MAX, "--insecure --pinnedpubkey sha256//%s ", certificate->pin);
    else
        text[0] = '\0';
}

/* The command that reaches a listener, for a newcomer to copy. */
static void write_command(const struct server *server, const struct listener *listener,
                          char text[COMMAND_MAX])
{
    const struct address *address = &listener->address;
    const char *scheme = listener->is_tls ? "https" : "http";
    struct certificate certificate = {.host = "localhost"};
    char options[OPTIONS_MAX];
    char path[ADDRESS_PATH_MAX];
    char shown[ADDRESS_TEXT_MAX];

    if (listener->is_tls)
        tls_context_certificate(server->settings->tls, &certificate);
    write_options(&certificate, listener->is_tls, options);
    if (address_unix_path(path, address) != NULL)
        snprintf(text, COMMAND_MAX, "curl %s--unix-socket %s %s://%s/", options,
                 path[0] == '\0' ? "PATH" : log_escape(shown, sizeof(shown), path, strlen(path)),
                 scheme, certificate.host);
    else if (address_is_local(address))
        snprintf(text, COMMAND_MAX, "curl %s%s://%s:%u/", options, scheme, certificate.host,
                 address_port(address));
    else
        snprintf(text, COMMAND_MAX, "curl %s%s://%s/", options, scheme,
                 address_text(shown, address));
}

/* How a newcomer stops it. Who has a service manager has its commands. */
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
    char command[COMMAND_MAX];

    server_log_certificate(server);
    if (tls != NULL) {
        write_command(server, tls, command);
        log_write(LOG_LEVEL_NOTICE, "with TLS: %s", command);
    }
    write_command(server, plain != NULL ? plain : &server->listeners->list[0], command);
    log_write(LOG_LEVEL_NOTICE, "h2echod " H2ECHOD_VERSION " is ready: %s", command);
    log_how_to_stop(server);
}
