#include "daemon/server.h"

#include "daemon/server_internal.h"
#include "daemon/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_US = 500000,        /* how often connections are looked at while there are any */
    COMPLAINT_US = 60000000, /* how often the same complaint is logged */
};

/* What is polled. */
enum { POLLED_SIGNALS, POLLED_EVENTS, POLLED_TERMINAL, POLLED_LISTENERS };

const char *server_plural(size_t count)
{
    return count == 1 ? "" : "s";
}

bool server_may_complain(struct complaint *complaint, int64_t now_us)
{
    if (complaint->last_us != 0 && now_us - complaint->last_us < COMPLAINT_US)
        return false;
    complaint->last_us = now_us;
    return true;
}

/* A connection is over or a thread has ended: there may be room again. */
static void read_events(struct server *server)
{
    uint64_t count;

    while (read(server->event_fd, &count, sizeof(count)) == sizeof(count))
        server->paused_until_us = 0;
    workers_join(server->workers);
}

static void look_after_time(struct server *server)
{
    if (server->stage == SHUTDOWN_DRAIN && server->now_us >= server->hint_at_us)
        server_log_drain_hint(server);
    if (server->stage == SHUTDOWN_DRAIN && server->now_us >= server->cut_at_us)
        server_abort_drain(server);
    if (server->now_us >= server->next_tick_us) {
        server->next_tick_us = server->now_us + TICK_US;
        workers_watch(server->workers, server->now_us);
    }
    if (server->now_us >= server->next_status_us)
        server_notify_alive(server);
}

static int milliseconds_until(const struct server *server, int64_t us)
{
    int64_t left = us - server->now_us;

    return left <= 0 ? 0 : (int)((left + 999) / 1000);
}

/* How long nothing has to be looked at: for ever, if there is nothing. */
static int poll_timeout(struct server *server, bool accepting)
{
    int64_t until = INSTANT_NEVER;

    if (workers_serving(server->workers, !accepting) > 0)
        until = server->next_tick_us;
    until = clock_earlier(until, workers_trim_heap_at(server->workers));
    until = clock_earlier(until, server->next_status_us);
    if (server->paused_until_us > server->now_us)
        until = clock_earlier(until, server->paused_until_us);
    if (server->stage == SHUTDOWN_DRAIN)
        until = clock_earlier(until, clock_earlier(server->hint_at_us, server->cut_at_us));
    if (server->stage == SHUTDOWN_ABORT)
        until = clock_earlier(until, server->give_up_us);
    return until == INSTANT_NEVER ? -1 : milliseconds_until(server, until);
}

/* Polling fails, and will again: rest for a tick, then look at everything. Nothing of it blocks, so
 * that all are served on, late; and a signal still ends it. */
static void go_on_blindly(struct server *server, nfds_t count, int error)
{
    const struct timespec tick = {.tv_nsec = TICK_US * 1000L};

    if (server_may_complain(&server->blind, server->now_us))
        log_write_errno(LOG_LEVEL_ERROR, error, "poll");
    (void)nanosleep(&tick, NULL);
    for (nfds_t i = 0; i < count; i++)
        server->polled[i].revents = POLLIN;
}

/* Wait until something is ready, or some time has come; return how many descriptors are to be
 * looked at. */
static nfds_t await_ready(struct server *server)
{
    /* Listeners that are not accepted from are not polled either: what waits must not make it spin.
     */
    bool accepting = server->stage == SHUTDOWN_NONE && server->now_us >= server->paused_until_us &&
                     server_has_room(server);
    nfds_t count = POLLED_LISTENERS + (accepting ? server->listeners->count : 0);

    server->polled[POLLED_TERMINAL].fd = terminal_fd();
    if (poll(server->polled, count, poll_timeout(server, accepting)) >= 0)
        return count;
    if (errno == EINTR)
        return 0;
    go_on_blindly(server, count, errno);
    return count;
}

static void wait_for_work(struct server *server)
{
    nfds_t count = await_ready(server);

    workers_trim_heap(server->workers, clock_now().monotonic_us);
    server->now_us = clock_now().monotonic_us;
    look_after_time(server);
    if (count == 0)
        return;
    if (server->polled[POLLED_EVENTS].revents != 0)
        read_events(server);
    for (nfds_t i = POLLED_LISTENERS; i < count; i++) {
        if (server->polled[i].revents != 0)
            server_accept_some(server, &server->listeners->list[i - POLLED_LISTENERS]);
    }
    /* Last, since they may close the listeners. */
    if (server->polled[POLLED_SIGNALS].revents != 0)
        server_read_signals(server);
    if ((server->polled[POLLED_TERMINAL].revents & POLLHUP) != 0)
        server_read_terminal(server);
}

static int refuse_start(const char *what)
{
    log_write_errno(LOG_LEVEL_ERROR, errno, "cannot start, raise the limits of the process: %s",
                    what);
    return EX_OSERR;
}

static int open_descriptors(struct server *server)
{
    sigset_t set;

    if (server_block_signals() != 0)
        return refuse_start("signals cannot be blocked");
    server_fill_signals(&set);
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->signal_fd < 0)
        return refuse_start("no descriptor for signals");
    server->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->event_fd < 0)
        return refuse_start("no descriptor for events");
    return 0;
}

static int fill_polled(struct server *server)
{
    const struct listeners *listeners = server->listeners;

    server->polled = calloc(POLLED_LISTENERS + listeners->count, sizeof(*server->polled));
    if (server->polled == NULL)
        return refuse_start("no memory");
    server->polled[POLLED_SIGNALS] = (struct pollfd){.fd = server->signal_fd, .events = POLLIN};
    server->polled[POLLED_EVENTS] = (struct pollfd){.fd = server->event_fd, .events = POLLIN};
    for (size_t i = 0; i < listeners->count; i++)
        server->polled[POLLED_LISTENERS + i] =
            (struct pollfd){.fd = listeners->list[i].fd, .events = POLLIN};
    return 0;
}

static int start(struct server *server)
{
    int result = server_has_certificate(server, server->settings) ? 0 : EX_CONFIG;

    if (result == 0)
        result = open_descriptors(server);
    if (result == 0)
        result = fill_polled(server);
    if (result != 0)
        return result;
    server->workers = workers_new(server->event_fd);
    if (server->workers == NULL)
        return refuse_start("no memory");
    errno = workers_reserve(server->workers);
    return errno == 0 ? 0 : refuse_start("no thread can be had");
}

static void stop(struct server *server)
{
    if (server->workers != NULL && workers_serving(server->workers, false) > 0) {
        /* A thread did not come back in time. It must not run into what would be freed here. */
        server_log_stopped(server);
        _exit(EXIT_SUCCESS);
    }
    workers_free(server->workers);
    listeners_close(server->listeners);
    terminal_close();
    free(server->polled);
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
        .news = "",
        .signal_fd = -1,
        .event_fd = -1,
        .now_us = clock_now().monotonic_us,
    };
    int result = start(&server);

    if (result == 0) {
        server_raise_descriptor_limit(&server);
        server_log_ready(&server);
        server_notify_ready(&server);
        while (!server_is_drained(&server))
            wait_for_work(&server);
    }
    stop(&server);
    if (result == 0)
        server_log_stopped(&server);
    return result;
}
