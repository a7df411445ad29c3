/*
 * server: the daemon itself. It accepts connections and hands them to workers, acts on signals,
 * keeps the limits on connections, and drains before it stops.
 *
 * There is one in a process, on the main thread, which never blocks for a client: it reads and
 * writes nothing on the connections that it accepts.
 */
#ifndef H2ECHOD_DAEMON_SERVER_H
#define H2ECHOD_DAEMON_SERVER_H

#include "config/settings.h"
#include "daemon/notify.h"
#include "net/listener.h"

/* Reads the settings again, for SIGHUP. Returns a reference to them, for the caller to give back;
 * NULL, with the errors logged, if they are wrong. */
typedef struct settings *server_reload_fn(void *argument);

struct server_options {
    struct listeners *listeners; /* the caller's; closed when server_run returns */
    struct settings *settings;   /* a reference, given back before server_run returns */
    const struct notify *notify; /* the caller's */
    server_reload_fn *reload;
    void *reload_argument;
};

/*
 * server_prepare_signals(void):
 * Ignore SIGPIPE, and block SIGHUP until server_run handles it, so that neither ends the process
 * while it starts; the other signals still may. Call it before the first thread is created. Return
 * 0, or -1 with errno.
 */
int server_prepare_signals(void);

/*
 * server_run(options):
 * Serve until SIGTERM, SIGINT, SIGQUIT or the terminal's end, drain, and close the listeners.
 * Return the process's exit code: 0; 71 if the system refused something needed to start; 78 if a
 * listener is for TLS and there is no certificate. A second signal during the drain ends the
 * process at once, with exit code 1, as does a thread that is still running after the drain
 * timeout, with 0.
 */
int server_run(const struct server_options *options);

#endif
