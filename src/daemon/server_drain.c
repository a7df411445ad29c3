#include "daemon/server_internal.h"

enum {
    CUT_EARLY_US = 100000, /* before the drain timeout, at most: for closing what is cut */
    HINT_US = 1000000,     /* into a drain, at most: when it is said how to end it at once */
};

/* Drain for ${reason}; ${ending} is what would end that at once, NULL if nothing would. */
void server_start_drain(struct server *server, const char *reason, const char *ending)
{
    int64_t timeout_us = clock_us(server->settings->drain_timeout);
    size_t serving;

    server_accept_backlog(server);
    server->now_us = clock_now().monotonic_us;
    serving = workers_serving(server->workers, true);
    log_write(LOG_LEVEL_NOTICE, "%s: draining %zu connection%s within %gs", reason, serving,
              server_plural(serving), (double)timeout_us / 1e6);
    listeners_close(server->listeners);
    server->ending = ending;
    server->hint_at_us =
        ending == NULL ? INSTANT_NEVER : server->now_us + clock_earlier(HINT_US, timeout_us / 2);
    server->give_up_us = server->now_us + timeout_us;
    server->cut_at_us = server->give_up_us - clock_earlier(CUT_EARLY_US, timeout_us / 10);
    server->next_tick_us = server->now_us;
    server->stage = SHUTDOWN_DRAIN;
    workers_set_shutdown_phase(server->workers, SHUTDOWN_DRAIN);
    server_notify_stopping(server, timeout_us);
}

/* Tell who waits for the end how not to. */
void server_log_drain_hint(struct server *server)
{
    size_t serving = workers_serving(server->workers, true);

    server->hint_at_us = INSTANT_NEVER;
    if (serving > 0)
        log_write(LOG_LEVEL_NOTICE, "still draining %zu connection%s: %s ends the drain at once",
                  serving, server_plural(serving), server->ending);
}

/* The drain takes too long: cut what is left. */
void server_abort_drain(struct server *server)
{
    server->stage = SHUTDOWN_ABORT;
    server->cut = workers_serving(server->workers, true);
    workers_set_shutdown_phase(server->workers, SHUTDOWN_ABORT);
}

bool server_is_drained(struct server *server)
{
    return server->stage != SHUTDOWN_NONE &&
           (workers_serving(server->workers, true) == 0 || server->now_us >= server->give_up_us);
}

void server_log_stopped(const struct server *server)
{
    if (server->cut == 0)
        log_write(LOG_LEVEL_NOTICE, "stopped: everything that was begun is answered");
    else
        log_write(LOG_LEVEL_NOTICE, "stopped: the drain timeout cut %zu connection%s", server->cut,
                  server_plural(server->cut));
}
