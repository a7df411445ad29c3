#include "daemon/server_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { STATUS_US = 10000000 }; /* how often the service manager is told the figures, at least */

/* How it stands, for whoever asks: the log and the service manager are told the same. */
struct figures {
    size_t connections; /* now; all else from the start */
    uint64_t accepted;
    uint64_t refused;
    struct counters counted;
};

static struct figures take_figures(const struct server *server)
{
    struct figures figures = {
        .connections = workers_serving(server->workers, false),
        .accepted = server->accepted,
        .refused = server->refused,
    };

    workers_count(server->workers, &figures.counted);
    return figures;
}

void server_log_stats(const struct server *server)
{
    struct figures figures = take_figures(server);
    const struct counters *counted = &figures.counted;

    log_write(LOG_LEVEL_INFO,
              "figures: connections=%zu accepted=%" PRIu64 " requests=%" PRIu64 " resets=%" PRIu64
              " received=%" PRIu64 " sent=%" PRIu64 " refused=%" PRIu64 " timed-out=%" PRIu64,
              figures.connections, figures.accepted, counted->requests, counted->resets,
              counted->received, counted->sent, figures.refused, counted->timed_out);
}

void server_notify(struct server *server, const char *message)
{
    if (!notify_send(server->notify, message) && server_may_complain(&server->deaf, server->now_us))
        log_write_errno(LOG_LEVEL_WARNING, errno, "the service manager could not be told");
}

/* Send ${lines}, each with its newline, and how it stands. */
void server_notify_status(struct server *server, const char *lines)
{
    struct figures figures = take_figures(server);
    char message[512];

    snprintf(message, sizeof(message),
             "%sSTATUS=%s: %zu connection%s, %" PRIu64 " accepted, %" PRIu64 " request%s%s", lines,
             server->stage == SHUTDOWN_NONE ? "serving" : "draining", figures.connections,
             server_plural(figures.connections), figures.accepted, figures.counted.requests,
             server_plural(figures.counted.requests), server->news);
    server_notify(server, message);
}

/* When it is to hear of us again: twice as often as the watchdog asks. */
static void schedule_status(struct server *server)
{
    int64_t watchdog_us = server->notify->watchdog_us;

    server->next_status_us = INSTANT_NEVER;
    if (server->notify->fd >= 0)
        server->next_status_us =
            server->now_us +
            (watchdog_us > 0 ? clock_earlier(STATUS_US, (watchdog_us + 1) / 2) : STATUS_US);
}

void server_notify_ready(struct server *server)
{
    server_notify_status(server, "READY=1\n");
    schedule_status(server);
}

/* That this comes from the accept loop is what the watchdog is for. */
void server_notify_alive(struct server *server)
{
    server_notify_status(server, server->notify->watchdog_us > 0 ? "WATCHDOG=1\n" : "");
    schedule_status(server);
}

/* The manager is not to lose patience before the drain timeout is over. */
void server_notify_stopping(struct server *server, int64_t timeout_us)
{
    enum { MARGIN_US = 5000000 };
    char lines[128];

    snprintf(lines, sizeof(lines), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\n",
             timeout_us + MARGIN_US);
    server_notify_status(server, lines);
}
