/* The daemon's status, for the service manager and for the log. */
#include "daemon/server_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { STATUS_INTERVAL_US = 10000000 }; /* at most, between two messages to the service manager */

struct server_stats {
    size_t connections; /* now; everything else since the start */
    uint64_t accepted;
    uint64_t refused;
    struct counters counters;
};

static struct server_stats collect_stats(const struct server *server)
{
    struct server_stats stats = {
        .connections = workers_serving(server->workers, false),
        .accepted = server->accept.accepted,
        .refused = server->accept.refused,
    };

    workers_sum_counters(server->workers, &stats.counters);
    return stats;
}

void server_log_stats(const struct server *server)
{
    struct server_stats stats = collect_stats(server);
    const struct counters *counters = &stats.counters;

    log_write(LOG_LEVEL_INFO,
              "stats: connections=%zu accepted=%" PRIu64 " requests=%" PRIu64 " resets=%" PRIu64
              " received=%" PRIu64 " sent=%" PRIu64 " refused=%" PRIu64 " timed-out=%" PRIu64,
              stats.connections, stats.accepted, counters->requests, counters->resets,
              counters->received, counters->sent, stats.refused, counters->timed_out);
}

void server_notify(struct server *server, const char *message)
{
    if (!notify_send(server->notify, message) &&
        server_may_log(&server->log_limits.notify_failed, server->now_us))
        log_write_errno(LOG_LEVEL_WARNING, errno, "cannot notify the service manager");
}

void server_notify_status(struct server *server, const char *lines)
{
    struct server_stats stats = collect_stats(server);
    char message[512];

    snprintf(message, sizeof(message),
             "%sSTATUS=%s: %zu connection%s, %" PRIu64 " accepted, %" PRIu64 " request%s%s", lines,
             server->drain.phase == SHUTDOWN_NONE ? "serving" : "draining", stats.connections,
             server_plural(stats.connections), stats.accepted, stats.counters.requests,
             server_plural(stats.counters.requests), server->status.last_reload);
    server_notify(server, message);
}

/* Schedule the next status message, twice as early as the watchdog needs it. */
static void schedule_status(struct server *server)
{
    int64_t watchdog_us = server->notify->watchdog_us;
    int64_t interval_us = STATUS_INTERVAL_US;

    if (watchdog_us > 0)
        interval_us = clock_earlier(interval_us, (watchdog_us + 1) / 2);
    server->status.next_us = server->notify->fd >= 0 ? server->now_us + interval_us : INSTANT_NEVER;
}

void server_notify_ready(struct server *server)
{
    server_notify_status(server, "READY=1\n");
    schedule_status(server);
}

void server_notify_alive(struct server *server)
{
    server_notify_status(server, server->notify->watchdog_us > 0 ? "WATCHDOG=1\n" : "");
    schedule_status(server);
}

void server_notify_stopping(struct server *server, int64_t timeout_us)
{
    enum { MARGIN_US = 5000000 };
    char lines[128];

    snprintf(lines, sizeof(lines), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\n",
             timeout_us + MARGIN_US);
    server_notify_status(server, lines);
}
