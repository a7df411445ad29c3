/*
 * server: the accept loop, with what it minds: signals, the limits on connections, the drain.
 */
#ifndef H2ECHOD_DAEMON_SERVER_H
#define H2ECHOD_DAEMON_SERVER_H

#include "config/settings.h"
#include "daemon/notify.h"
#include "net/listener.h"

/* Reads the settings anew for SIGHUP. Returns NULL, with the errors logged, if they are bad. */
typedef struct settings *server_reload_fn(void *argument);

struct server_options {
    struct listeners *listeners;
    struct settings *settings; /* a reference, given back before server_run returns */
    const struct notify *notify;
    server_reload_fn *reload;
    void *reload_argument;
};

/*
 * server_prepare_signals(void):
 * Ignore SIGPIPE, and keep a SIGHUP until server_run takes it: neither is to end a daemon that is
 * starting, as the others still may. Return 0, or -1 with errno.
 */
int server_prepare_signals(void);

/*
 * server_run(options):
 * Take over the signals, serve until SIGTERM, SIGINT or SIGQUIT, drain, and close the listeners.
 * Return the process's exit code: 0; 71 if the system refused what is needed to begin; 78 if a
 * listener is for TLS and ${options} have no certificate. A second signal ends the process from
 * inside, with 1.
 */
int server_run(const struct server_options *options);

#endif
