#include "daemon/server.h"

#include "daemon/server_internal.h"
#include "daemon/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    WATCH_INTERVAL_US = 500000, /* between two checks of all deadlines, while there are any */
    LOG_INTERVAL_S = 60,        /* between two lines of one of struct server_log_limits */
};

/* The indices of server.pollfds. */
enum { PFD_SIGNALS, PFD_EVENTS, PFD_TERMINAL, PFD_LISTENERS };

bool server_may_log(struct ratelimit *limit, int64_t now_us)
{
    /* A line takes all that there is, which grows back by one a second. */
    return ratelimit_take(limit, now_us, LOG_INTERVAL_S, LOG_INTERVAL_S, 1);
}

const char *server_plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* --- The event loop ------------------------------------------------------------------------- */

/* A connection or a thread has ended: there may be room for another one. */
static void handle_worker_events(struct server *server)
{
    uint64_t count;

    while (read(server->event_fd, &count, sizeof(count)) == sizeof(count))
        server->accept.paused_until_us = 0;
    workers_join(server->workers);
}

/* Do what is due at this time. */
static void handle_time(struct server *server)
{
    server_drain_check_time(server);
    if (server->now_us >= server->next_watch_us) {
        server->next_watch_us = server->now_us + WATCH_INTERVAL_US;
        workers_watch(server->workers, server->now_us);
    }
    if (server->now_us >= server->status.next_us)
        server_notify_alive(server);
}

/* Return the timeout for poll, until something of handle_time or workers_trim_heap is due. While no
 * listener is polled because of max-connections, the workers are asked for an event when the next
 * connection has ended. */
static int poll_timeout(struct server *server, bool accepting)
{
    int64_t until_us = INSTANT_NEVER;
    int64_t left_us;

    if (workers_serving(server->workers, !accepting) > 0)
        until_us = server->next_watch_us;
    until_us = clock_earlier(until_us, workers_trim_heap_at(server->workers));
    until_us = clock_earlier(until_us, server->status.next_us);
    if (server->accept.paused_until_us > server->now_us)
        until_us = clock_earlier(until_us, server->accept.paused_until_us);
    until_us = clock_earlier(until_us, server_drain_next_us(server));
    if (until_us == INSTANT_NEVER)
        return -1;
    left_us = until_us - server->now_us;
    return left_us <= 0 ? 0 : (int)((left_us + 999) / 1000);
}

/* poll failed, and probably will again. Wait for a moment, so that the loop does not spin, then
 * treat every descriptor as ready: they are all non-blocking, so this serves them, only later. */
static void handle_poll_error(struct server *server, nfds_t count, int error)
{
    const struct timespec interval = {.tv_nsec = WATCH_INTERVAL_US * 1000L};

    if (server_may_log(&server->log_limits.poll_failed, server->now_us))
        log_write_errno(LOG_LEVEL_ERROR, error, "poll");
    (void)nanosleep(&interval, NULL);
    for (nfds_t i = 0; i < count; i++)
        server->pollfds[i].revents = POLLIN;
}

/* Wait until a descriptor is ready or something is due. Return how many of the pollfds have valid
 * revents. */
static nfds_t wait_for_events(struct server *server)
{
    /* While no connection is accepted, the listeners must not be polled: a connection in the
     * backlog keeps them readable, and the loop would spin. */
    bool accepting = server->drain.phase == SHUTDOWN_NONE &&
                     server->now_us >= server->accept.paused_until_us && server_has_room(server);
    nfds_t count = PFD_LISTENERS + (accepting ? server->listeners->count : 0);

    server->pollfds[PFD_TERMINAL].fd = terminal_fd();
    if (poll(server->pollfds, count, poll_timeout(server, accepting)) >= 0)
        return count;
    if (errno == EINTR)
        return 0;
    handle_poll_error(server, count, errno);
    return count;
}

static void run_once(struct server *server)
{
    nfds_t count = wait_for_events(server);

    workers_trim_heap(server->workers, clock_now().monotonic_us);
    server->now_us = clock_now().monotonic_us;
    handle_time(server);
    if (count == 0)
        return;
    if (server->pollfds[PFD_EVENTS].revents != 0)
        handle_worker_events(server);
    for (nfds_t i = PFD_LISTENERS; i < count; i++) {
        if (server->pollfds[i].revents != 0)
            server_accept_batch(server, &server->listeners->list[i - PFD_LISTENERS]);
    }
    /* These two come last because they may close the listeners. */
    if (server->pollfds[PFD_SIGNALS].revents != 0)
        server_signals_read(server);
    if ((server->pollfds[PFD_TERMINAL].revents & POLLHUP) != 0)
        server_terminal_closed(server);
}

/* --- Start and stop ------------------------------------------------------------------------- */

static int log_start_failure(const char *what)
{
    log_write_errno(LOG_LEVEL_ERROR, errno,
                    "cannot start: cannot %s (raise the limits of the process)", what);
    return EX_OSERR;
}

static int open_descriptors(struct server *server)
{
    if (server_signals_open(server) != 0)
        return log_start_failure("receive signals");
    server->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->event_fd < 0)
        return log_start_failure("create an eventfd");
    return 0;
}

static int allocate_pollfds(struct server *server)
{
    const struct listeners *listeners = server->listeners;

    server->pollfds = calloc(PFD_LISTENERS + listeners->count, sizeof(*server->pollfds));
    if (server->pollfds == NULL)
        return log_start_failure("allocate memory");
    server->pollfds[PFD_SIGNALS] = (struct pollfd){.fd = server->signal_fd, .events = POLLIN};
    server->pollfds[PFD_EVENTS] = (struct pollfd){.fd = server->event_fd, .events = POLLIN};
    for (size_t i = 0; i < listeners->count; i++)
        server->pollfds[PFD_LISTENERS + i] =
            (struct pollfd){.fd = listeners->list[i].fd, .events = POLLIN};
    return 0;
}

/* Return an exit code; if it is not 0, server_close still has to be called. */
static int server_open(struct server *server)
{
    int result = server_check_certificate(server, server->settings) ? 0 : EX_CONFIG;

    if (result == 0)
        result = open_descriptors(server);
    if (result == 0)
        result = allocate_pollfds(server);
    if (result != 0)
        return result;
    server->workers = workers_new(server->event_fd);
    if (server->workers == NULL)
        return log_start_failure("allocate memory");
    errno = workers_reserve(server->workers);
    return errno == 0 ? 0 : log_start_failure("create a thread");
}

static void server_close(struct server *server)
{
    if (server->workers != NULL && workers_serving(server->workers, false) > 0) {
        /* The drain has timed out, but a thread still runs. It may use what would be freed here. */
        server_drain_log_end(server);
        _exit(EXIT_SUCCESS);
    }
    workers_free(server->workers);
    listeners_close(server->listeners);
    terminal_close();
    free(server->pollfds);
    if (server->event_fd >= 0)
        close(server->event_fd);
    if (server->signal_fd >= 0)
        close(server->signal_fd);
    settings_unref(server->settings);
}

int server_run(const struct server_options *options)
{
    struct server server = {
        .listeners = options->listeners,
        .settings = options->settings,
        .notify = options->notify,
        .reload = options->reload,
        .reload_argument = options->reload_argument,
        .status.last_reload = "",
        .signal_fd = -1,
        .event_fd = -1,
        .now_us = clock_now().monotonic_us,
    };
    int result = server_open(&server);

    if (result == 0) {
        server_raise_descriptor_limit(&server);
        server_log_ready(&server);
        server_notify_ready(&server);
        while (!server_drain_is_over(&server))
            run_once(&server);
    }
    server_close(&server);
    if (result == 0)
        server_drain_log_end(&server);
    return result;
}
