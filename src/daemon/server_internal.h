/*
 * What the files of server share. Nothing else includes it.
 */
#ifndef H2ECHOD_DAEMON_SERVER_INTERNAL_H
#define H2ECHOD_DAEMON_SERVER_INTERNAL_H

#include "base/clock.h"
#include "base/log.h"
#include "config/settings.h"
#include "daemon/notify.h"
#include "daemon/server.h"
#include "daemon/worker.h"
#include "net/listener.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One complaint, logged at most once a minute. */
struct complaint {
    int64_t last_us; /* 0 = never */
};

struct server {
    struct listeners *listeners;
    struct settings *settings;
    const struct notify *notify;
    server_reload_fn *reload;
    void *reload_argument;

    struct workers *workers;
    struct pollfd *polled; /* by POLLED_*, the listeners last */
    int signal_fd;
    int event_fd;

    int64_t now_us;
    int64_t next_tick_us;
    int64_t next_status_us;
    int64_t paused_until_us;
    int64_t cut_at_us; /* of the drain */
    int64_t give_up_us;
    int64_t hint_at_us;
    const char *ending; /* what ends the drain at once; NULL = nothing yet */
    enum shutdown_phase stage;

    uint64_t accepted;
    uint64_t refused;
    size_t cut;
    int mishaps;      /* of accept, since the last connection */
    const char *news; /* for the status line: what became of the last reload */
    struct complaint scarcity;
    struct complaint blind;
    struct complaint full;
    struct complaint crowd;
    struct complaint deaf;
};

/* server.c */
const char *server_plural(size_t count);
bool server_may_complain(struct complaint *complaint, int64_t now_us);

/* server_status.c */
void server_log_stats(const struct server *server);
void server_notify(struct server *server, const char *message);
void server_notify_status(struct server *server, const char *lines);
void server_notify_ready(struct server *server);
void server_notify_alive(struct server *server);
void server_notify_stopping(struct server *server, int64_t timeout_us);

/* server_accept.c */
void server_raise_descriptor_limit(const struct server *server);
bool server_has_room(struct server *server);
void server_accept_some(struct server *server, const struct listener *listener);
void server_accept_backlog(struct server *server);

/* server_ready.c */
const struct listener *server_first_listener(const struct server *server, bool is_tls);
void server_log_certificate(const struct server *server);
void server_log_ready(const struct server *server);

/* server_reload.c */
bool server_has_certificate(const struct server *server, const struct settings *settings);
void server_reload(struct server *server);

/* server_drain.c */
void server_start_drain(struct server *server, const char *reason, const char *ending);
void server_log_drain_hint(struct server *server);
void server_abort_drain(struct server *server);
bool server_is_drained(struct server *server);
void server_log_stopped(const struct server *server);

/* server_signals.c */
void server_fill_signals(sigset_t *set);
int server_block_signals(void);
void server_read_signals(struct server *server);
void server_read_terminal(struct server *server);

#endif
