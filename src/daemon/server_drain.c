/* The drain: what happens from the first signal to stop until the exit. */
#include "daemon/server_internal.h"

enum {
    ABORT_EARLY_MAX_US = 100000, /* before the timeout: time for aborted connections to close */
    HINT_MAX_US = 1000000,       /* after the start of a drain */
};

void server_drain_start(struct server *server, const char *reason, const char *second_signal)
{
    struct server_drain *drain = &server->drain;
    int64_t timeout_us = clock_us(server->settings->drain_timeout);
    size_t serving;

    server_accept_backlog(server);
    server->now_us = clock_now().monotonic_us;
    serving = workers_serving(server->workers, true);
    log_write(LOG_LEVEL_NOTICE, "%s: draining %zu connection%s within %gs", reason, serving,
              server_plural(serving), (double)timeout_us / 1e6);
    listeners_close(server->listeners);
    drain->second_signal = second_signal;
    drain->hint_at_us = second_signal == NULL
                            ? INSTANT_NEVER
                            : server->now_us + clock_earlier(HINT_MAX_US, timeout_us / 2);
    drain->exit_at_us = server->now_us + timeout_us;
    drain->abort_at_us = drain->exit_at_us - clock_earlier(ABORT_EARLY_MAX_US, timeout_us / 10);
    drain->phase = SHUTDOWN_DRAIN;
    server->next_watch_us = server->now_us;
    workers_set_shutdown_phase(server->workers, SHUTDOWN_DRAIN);
    server_notify_stopping(server, timeout_us);
}

void server_drain_log_hint(struct server *server)
{
    size_t serving = workers_serving(server->workers, true);

    server->drain.hint_at_us = INSTANT_NEVER;
    if (serving > 0)
        log_write(LOG_LEVEL_NOTICE, "still draining %zu connection%s: %s ends the drain at once",
                  serving, server_plural(serving), server->drain.second_signal);
}

static void abort_connections(struct server *server)
{
    server->drain.phase = SHUTDOWN_ABORT;
    server->drain.aborted = workers_serving(server->workers, true);
    workers_set_shutdown_phase(server->workers, SHUTDOWN_ABORT);
}

void server_drain_check_time(struct server *server)
{
    if (server->drain.phase != SHUTDOWN_DRAIN)
        return;
    if (server->now_us >= server->drain.hint_at_us)
        server_drain_log_hint(server);
    if (server->now_us >= server->drain.abort_at_us)
        abort_connections(server);
}

int64_t server_drain_next_us(const struct server *server)
{
    switch (server->drain.phase) {
    case SHUTDOWN_DRAIN:
        return clock_earlier(server->drain.hint_at_us, server->drain.abort_at_us);
    case SHUTDOWN_ABORT:
        return server->drain.exit_at_us;
    default:
        return INSTANT_NEVER;
    }
}

bool server_drain_is_over(struct server *server)
{
    return server->drain.phase != SHUTDOWN_NONE && (workers_serving(server->workers, true) == 0 ||
                                                    server->now_us >= server->drain.exit_at_us);
}

void server_drain_log_end(const struct server *server)
{
    size_t aborted = server->drain.aborted;

    if (aborted == 0)
        log_write(LOG_LEVEL_NOTICE, "stopped: all open requests were answered");
    else
        log_write(LOG_LEVEL_NOTICE, "stopped: drain timeout, %zu connection%s aborted", aborted,
                  server_plural(aborted));
}
