/*
 * What the files of server share. Nothing else includes it.
 *
 *     server ──> server_signals ──┬─> server_drain ──┬─> server_accept
 *                                 └─> server_reload ─┼─> server_status
 *                                                    └─> server_ready
 *
 * server itself calls all of them. Everything here runs on the main thread.
 */
#ifndef H2ECHOD_DAEMON_SERVER_INTERNAL_H
#define H2ECHOD_DAEMON_SERVER_INTERNAL_H

#include "base/clock.h"
#include "base/log.h"
#include "base/ratelimit.h"
#include "config/settings.h"
#include "daemon/notify.h"
#include "daemon/server.h"
#include "daemon/workers.h"
#include "net/listener.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Accepting connections. */
struct server_accept {
    uint64_t accepted;       /* connections, since the start */
    uint64_t refused;        /* closed for max-connections-per-address, not counted in accepted */
    int failures;            /* of accept, since it last succeeded */
    int64_t paused_until_us; /* no connection is accepted before */
};

/* The way from the first signal to stop until the exit. */
struct server_drain {
    enum shutdown_phase phase;
    int64_t hint_at_us;        /* when to log how to end the drain at once; INSTANT_NEVER = not */
    int64_t abort_at_us;       /* when to abort the connections that are still open */
    int64_t exit_at_us;        /* when to exit even if a thread is still running */
    const char *second_signal; /* what ends the drain at once; NULL = no signal to stop came yet */
    size_t aborted;            /* connections that were open at abort_at_us */
};

/* Status for the service manager. */
struct server_status {
    int64_t next_us;         /* when to send the next one; INSTANT_NEVER = no service manager */
    const char *last_reload; /* the result of the last reload, as the end of the status line */
};

/* Warnings that would repeat for as long as their cause lasts: each is logged once a minute. */
struct server_log_limits {
    struct ratelimit resources_exhausted; /* no descriptor, thread or memory for a connection */
    struct ratelimit at_max_connections;
    struct ratelimit per_address;
    struct ratelimit poll_failed;
    struct ratelimit notify_failed;
};

struct server {
    struct listeners *listeners;
    struct settings *settings; /* a reference, owned */
    const struct notify *notify;
    server_reload_fn *reload;
    void *reload_argument;

    struct workers *workers; /* owned */
    struct pollfd *pollfds;  /* owned; by PFD_*, the listeners last */
    int signal_fd;           /* owned */
    int event_fd;            /* owned; readable when a connection or a thread has ended */

    int64_t now_us;        /* the time at which the loop last woke up */
    int64_t next_watch_us; /* when to check the deadlines of all connections */

    struct server_accept accept;
    struct server_drain drain;
    struct server_status status;
    struct server_log_limits log_limits;
};

/*
 * server_may_log(limit, now_us):
 * Return true at most once a minute for each ${limit}.
 */
bool server_may_log(struct ratelimit *limit, int64_t now_us);

/*
 * server_plural(count):
 * Return the ending of a noun that follows ${count}: "" or "s".
 */
const char *server_plural(size_t count);

/* --- server_accept.c --- */

/*
 * server_raise_descriptor_limit(server):
 * Raise the soft limit on descriptors (RLIMIT_NOFILE) to what max-connections needs, as far as the
 * hard limit allows; log a warning if that is not enough.
 */
void server_raise_descriptor_limit(const struct server *server);

/*
 * server_has_room(server):
 * Return whether one more connection is allowed by max-connections. If not, log it, and see to it
 * that event_fd becomes readable when the next connection has ended.
 */
bool server_has_room(struct server *server);

/*
 * server_accept_batch(server, listener):
 * Accept the connections that wait in the backlog of ${listener}, but only so many that signals and
 * deadlines are not kept waiting.
 */
void server_accept_batch(struct server *server, const struct listener *listener);

/*
 * server_accept_backlog(server):
 * Accept every connection that waits in the backlog of a listener, before the listeners are closed.
 */
void server_accept_backlog(struct server *server);

/* --- server_drain.c --- */

/*
 * server_drain_start(server, reason, second_signal):
 * Accept the connections in the backlog, close the listeners, and have every connection finish its
 * open requests and close. Log ${reason}. ${second_signal} is how to end the drain at once; NULL if
 * no signal to stop was the reason, so that it takes two of them.
 */
void server_drain_start(struct server *server, const char *reason, const char *second_signal);

/*
 * server_drain_log_hint(server):
 * If connections are still open, log how to end the drain at once.
 */
void server_drain_log_hint(struct server *server);

/*
 * server_drain_check_time(server):
 * Log the hint or abort the connections that are left, if it is time for that.
 */
void server_drain_check_time(struct server *server);

/*
 * server_drain_next_us(server):
 * Return when server_drain_check_time or server_drain_is_over will have something new to do;
 * INSTANT_NEVER while there is no drain.
 */
int64_t server_drain_next_us(const struct server *server);

/*
 * server_drain_is_over(server):
 * Return whether the drain has ended, because no connection is left or because of the time.
 */
bool server_drain_is_over(struct server *server);

/*
 * server_drain_log_end(server):
 * Log that the daemon has stopped, and whether connections were aborted.
 */
void server_drain_log_end(const struct server *server);

/* --- server_ready.c --- */

/*
 * server_first_listener(server, is_tls):
 * Return the first listener with TLS, or the first without; NULL if there is none.
 */
const struct listener *server_first_listener(const struct server *server, bool is_tls);

/*
 * server_log_certificate(server):
 * Log the certificate that clients are shown from now on, as a warning if it is not valid or soon
 * will not be, or if there is no socket to use it on.
 */
void server_log_certificate(const struct server *server);

/*
 * server_log_ready(server):
 * Log that the daemon is ready, with commands to try it and to stop it.
 */
void server_log_ready(const struct server *server);

/* --- server_reload.c --- */

/*
 * server_check_certificate(server, settings):
 * Return true if ${settings} have a certificate or no listener needs one; else log the error.
 */
bool server_check_certificate(const struct server *server, const struct settings *settings);

/*
 * server_reload(server):
 * Read the settings again and use them for new connections, or log why not and keep the old ones.
 */
void server_reload(struct server *server);

/* --- server_signals.c --- */

/*
 * server_signals_open(server):
 * Block the signals that the daemon handles, in this thread and in those created later, and open
 * signal_fd to receive them. Return 0; else -1 with errno.
 */
int server_signals_open(struct server *server);

/*
 * server_signals_read(server):
 * Handle every signal that has arrived.
 */
void server_signals_read(struct server *server);

/*
 * server_terminal_closed(server):
 * Handle POLLHUP on terminal_fd: drain, as no signal may come for it.
 */
void server_terminal_closed(struct server *server);

/* --- server_status.c --- */

/*
 * server_log_stats(server):
 * Log the number of connections and what was counted since the start, in one line.
 */
void server_log_stats(const struct server *server);

/*
 * server_notify(server, message):
 * Send ${message} to the service manager, if there is one; log it if that fails.
 */
void server_notify(struct server *server, const char *message);

/*
 * server_notify_status(server, lines):
 * Send ${lines}, each of which ends with a newline, and a STATUS line.
 */
void server_notify_status(struct server *server, const char *lines);

/*
 * server_notify_ready(server):
 * Send READY=1, and begin to send the status at intervals.
 */
void server_notify_ready(struct server *server);

/*
 * server_notify_alive(server):
 * Send the status, and WATCHDOG=1 if the service manager waits for that. To be called by the accept
 * loop alone: that it still runs is what the watchdog is to find out.
 */
void server_notify_alive(struct server *server);

/*
 * server_notify_stopping(server, timeout_us):
 * Send STOPPING=1, and ask the service manager to wait longer than the drain's ${timeout_us}.
 */
void server_notify_stopping(struct server *server, int64_t timeout_us);

#endif
