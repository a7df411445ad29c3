#include "daemon/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/terminal.h"
#include "daemon/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_US = 500000,        /* how often connections are looked at while there are any */
    PAUSE_US = 1000000,      /* how long accepting rests when the system has no more to give */
    COMPLAINT_US = 60000000, /* how often the same complaint is logged */
    CUT_EARLY_US = 100000,   /* before the drain timeout, at most: for closing what is cut */
    HINT_US = 1000000,       /* into a drain, at most: when it is said how to end it at once */
    MISHAPS_MAX = 64,        /* accepts in a row that fail before accepting rests */
    STATUS_US = 10000000,    /* how often the service manager is told the figures, at least */
    OPTIONS_MAX = 64 + CERTIFICATE_PIN_MAX, /* bytes of curl's options */
    COMMAND_MAX = OPTIONS_MAX + ADDRESS_TEXT_MAX + CERTIFICATE_TEXT_MAX + 64,
};

/* What is polled. */
enum { POLLED_SIGNALS, POLLED_EVENTS, POLLED_TERMINAL, POLLED_LISTENERS };

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

static const int taken_signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCONT};

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof(taken_signals) / sizeof(taken_signals[0]); i++)
        sigaddset(set, taken_signals[i]);
}

int server_prepare_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t reload;

    sigemptyset(&reload);
    sigaddset(&reload, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &reload, NULL) != 0)
        return -1;
    terminal_open();
    return sigaction(SIGPIPE, &ignore, NULL);
}

/* Before the first thread, so that no thread takes them. */
static int block_signals(void)
{
    sigset_t set;

    fill_signals(&set);
    return sigprocmask(SIG_BLOCK, &set, NULL);
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static bool may_complain(struct complaint *complaint, int64_t now_us)
{
    if (complaint->last_us != 0 && now_us - complaint->last_us < COMPLAINT_US)
        return false;
    complaint->last_us = now_us;
    return true;
}

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

/* A connection is a descriptor: take as many as the hard limit gives, and say if it is too few. */
static void raise_descriptor_limit(const struct server *server)
{
    enum { OWN = 16 };
    rlim_t wanted = server->settings->max_connections + server->listeners->count + OWN;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        log_write(LOG_LEVEL_WARNING,
                  "max-connections is %" PRIu64 ", but the limit on descriptors is %" PRIu64
                  ": raise it, or accepting will rest when it is reached",
                  server->settings->max_connections, (uint64_t)limit.rlim_cur);
}

/* --- The service manager -------------------------------------------------------------------- */

static void notify(struct server *server, const char *message)
{
    if (!notify_send(server->notify, message) && may_complain(&server->deaf, server->now_us))
        log_write_errno(LOG_LEVEL_WARNING, errno, "the service manager could not be told");
}

/* Send ${lines}, each with its newline, and how it stands. */
static void notify_status(struct server *server, const char *lines)
{
    struct figures figures = take_figures(server);
    char message[512];

    snprintf(message, sizeof(message),
             "%sSTATUS=%s: %zu connection%s, %" PRIu64 " accepted, %" PRIu64 " request%s%s", lines,
             server->stage == SHUTDOWN_NONE ? "serving" : "draining", figures.connections,
             plural(figures.connections), figures.accepted, figures.counted.requests,
             plural(figures.counted.requests), server->news);
    notify(server, message);
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

static void notify_ready(struct server *server)
{
    notify_status(server, "READY=1\n");
    schedule_status(server);
}

/* That this comes from the accept loop is what the watchdog is for. */
static void notify_alive(struct server *server)
{
    notify_status(server, server->notify->watchdog_us > 0 ? "WATCHDOG=1\n" : "");
    schedule_status(server);
}

/* The manager is not to lose patience before the drain timeout is over. */
static void notify_stopping(struct server *server, int64_t timeout_us)
{
    enum { MARGIN_US = 5000000 };
    char lines[128];

    snprintf(lines, sizeof(lines), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\n",
             timeout_us + MARGIN_US);
    notify_status(server, lines);
}

/* --- Accepting ----------------------------------------------------------------------------- */

static void pause_accepting(struct server *server, int error, const char *what, const char *advice)
{
    server->paused_until_us = server->now_us + PAUSE_US;
    if (may_complain(&server->scarcity, server->now_us))
        log_write_errno(LOG_LEVEL_WARNING, error,
                        "%s: accepting rests while %zu connections are served%s", what,
                        workers_serving(server->workers, true), advice);
}

/* The system has no descriptor, thread or memory to give: rest, and try again when a connection is
 * over, or after a while. */
static void pause_for_scarcity(struct server *server, int error, const char *what)
{
    pause_accepting(server, error, what,
                    "; raise the limits on descriptors and threads, or lower max-connections");
}

/* Accepting failed: is the next one to be tried at once? Who waited may have gone meanwhile, and
 * more of that kind is the matter of one connection each; but what does not end is no such bad
 * luck, and must not keep the loop busy. */
static bool bear_mishap(struct server *server, int error)
{
    if (error == EAGAIN)
        return false;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
        pause_for_scarcity(server, error, "no connection can be accepted");
        return false;
    }
    if (++server->mishaps < MISHAPS_MAX)
        return true;
    server->mishaps = 0;
    pause_accepting(server, error, "no connection can be accepted", "");
    return false;
}

/* Is there room for one more? If not, the backlog holds, until a connection is over. */
static bool has_room(struct server *server)
{
    uint64_t limit = server->settings->max_connections;

    if (workers_serving(server->workers, false) < limit)
        return true;
    if (workers_serving(server->workers, true) < limit)
        return true;
    if (may_complain(&server->full, server->now_us))
        log_write(LOG_LEVEL_WARNING,
                  "max-connections: %" PRIu64
                  " connections are served; until one is over, new ones wait in the backlog",
                  limit);
    return false;
}

static bool is_crowded(struct server *server, const struct address *peer)
{
    uint64_t limit = server->settings->max_connections_per_address;
    char text[ADDRESS_TEXT_MAX];

    if (limit == 0 || workers_serving_host(server->workers, peer) < limit)
        return false;
    server->refused++;
    if (may_complain(&server->crowd, server->now_us))
        log_write(LOG_LEVEL_NOTICE,
                  "max-connections-per-address: connection from %s refused, its host has %" PRIu64,
                  address_text(text, peer), limit);
    return true;
}

/* Accept one connection. Return false if there is none, or none can be taken now. */
static bool accept_one(struct server *server, const struct listener *listener)
{
    struct connection connection = {.peer.length = sizeof(connection.peer.storage)};
    int error;

    if (!has_room(server))
        return false;
    error = workers_reserve(server->workers);
    if (error != 0) {
        pause_for_scarcity(server, error, "no thread can be had");
        return false;
    }
    connection.fd = accept4(listener->fd, (struct sockaddr *)&connection.peer.storage,
                            &connection.peer.length, SOCK_CLOEXEC);
    if (connection.fd < 0)
        return bear_mishap(server, errno);
    server->mishaps = 0;
    if (is_crowded(server, &connection.peer)) {
        close(connection.fd);
        return true;
    }
    connection.id = ++server->accepted;
    connection.is_tls = listener->is_tls;
    connection.settings = settings_ref(server->settings);
    workers_serve(server->workers, &connection);
    return true;
}

static void accept_up_to(struct server *server, const struct listener *listener, int most)
{
    for (int i = 0; i < most; i++) {
        if (!accept_one(server, listener))
            return;
    }
}

/* Take what waits, but look up now and then: signals and deadlines want to be served as well. */
static void accept_some(struct server *server, const struct listener *listener)
{
    enum { AT_ONCE = 64 };

    accept_up_to(server, listener, AT_ONCE);
}

/* Who waits in the backlog has connected, and may have asked: take them before the door closes. */
static void accept_last(struct server *server)
{
    for (size_t i = 0; i < server->listeners->count; i++)
        accept_up_to(server, &server->listeners->list[i], SOMAXCONN);
}

/* --- Signals ------------------------------------------------------------------------------- */

static void log_figures(const struct server *server)
{
    struct figures figures = take_figures(server);
    const struct counters *counted = &figures.counted;

    log_write(LOG_LEVEL_INFO,
              "figures: connections=%zu accepted=%" PRIu64 " requests=%" PRIu64 " resets=%" PRIu64
              " received=%" PRIu64 " sent=%" PRIu64 " refused=%" PRIu64 " timed-out=%" PRIu64,
              figures.connections, figures.accepted, counted->requests, counted->resets,
              counted->received, counted->sent, figures.refused, counted->timed_out);
}

/* The first listener with TLS, or without: of several one is enough to copy. NULL = none. */
static const struct listener *first_listener(const struct server *server, bool is_tls)
{
    const struct listeners *listeners = server->listeners;

    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->list[i].is_tls == is_tls)
            return &listeners->list[i];
    }
    return NULL;
}

/* Return whether there is a certificate where one is needed. */
static bool has_certificate(const struct server *server, const struct settings *settings)
{
    if (first_listener(server, true) == NULL || settings->tls != NULL)
        return true;
    log_write(LOG_LEVEL_ERROR,
              "a socket for TLS is open%s: name a certificate with tls-cert, or "
              "try tls-self-signed",
              server->listeners->inherited ? ", handed over" : "");
    return false;
}

/* What is said of a certificate's time, before the time itself. */
static const char *validity_words(enum certificate_validity validity)
{
    static const char *const words[] = {[CERTIFICATE_VALID] = "valid until",
                                        [CERTIFICATE_NOT_YET_VALID] = "not valid before",
                                        [CERTIFICATE_EXPIRES_SOON] = "to be renewed, it expires:",
                                        [CERTIFICATE_EXPIRED] = "expired:"};

    return words[validity];
}

/* Tell what clients are shown from now on. */
static void log_certificate(const struct server *server)
{
    struct certificate certificate;

    if (server->settings->tls == NULL)
        return;
    if (first_listener(server, true) == NULL) {
        log_write(
            LOG_LEVEL_WARNING, "there is a certificate, but no socket for TLS: %s",
            server->listeners->inherited
                ? "none of those handed over is named \"tls\", as that of h2echod-tls.socket is"
                : "open one with tls-port");
        return;
    }
    tls_context_certificate(server->settings->tls, &certificate);
    log_write(certificate.validity == CERTIFICATE_VALID ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING,
              "certificate %s, SHA-256 %s, %s %s", certificate.subject, certificate.sha256,
              validity_words(certificate.validity), certificate.when);
}

/* Read the settings anew, and put them in force. Return false if those before them stay. */
static bool reload_settings(struct server *server)
{
    struct settings *settings = server->reload(server->reload_argument);
    char changed[256];

    if (settings != NULL &&
        !settings_keep_listening(settings, server->settings, changed, sizeof(changed))) {
        log_write(LOG_LEVEL_ERROR, "out of memory");
        settings_unref(settings);
        settings = NULL;
    }
    if (settings != NULL && !has_certificate(server, settings)) {
        settings_unref(settings);
        settings = NULL;
    }
    if (settings == NULL) {
        log_write(LOG_LEVEL_ERROR, "reload failed: the settings in force stay");
        return false;
    }
    if (changed[0] != '\0')
        log_write(LOG_LEVEL_WARNING, "%s: %s",
                  server->listeners->inherited ? "not in force, since the sockets were handed over"
                                               : "only a restart can change",
                  changed);
    settings_unref(server->settings);
    server->settings = settings;
    raise_descriptor_limit(server);
    log_set_level((enum log_level)settings->log_level);
    log_write(LOG_LEVEL_NOTICE, "reloaded%s%s", settings->config != NULL ? " " : "",
              settings->config != NULL ? settings->config : "");
    log_certificate(server);
    return true;
}

static void reload(struct server *server)
{
    char message[128];

    snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reloading",
             clock_now().monotonic_us);
    notify(server, message);
    server->news = reload_settings(server)
                       ? "; the last reload succeeded"
                       : "; the last reload failed, the settings before it are in force";
    notify_status(server, "READY=1\n");
}

/* Drain for ${reason}; ${ending} is what would end that at once, NULL if nothing would. */
static void begin_drain(struct server *server, const char *reason, const char *ending)
{
    int64_t timeout_us = clock_us(server->settings->drain_timeout);
    size_t serving;

    accept_last(server);
    server->now_us = clock_now().monotonic_us;
    serving = workers_serving(server->workers, true);
    log_write(LOG_LEVEL_NOTICE, "%s: draining %zu connection%s within %gs", reason, serving,
              plural(serving), (double)timeout_us / 1e6);
    listeners_close(server->listeners);
    server->ending = ending;
    server->hint_at_us =
        ending == NULL ? INSTANT_NEVER : server->now_us + clock_earlier(HINT_US, timeout_us / 2);
    server->give_up_us = server->now_us + timeout_us;
    server->cut_at_us = server->give_up_us - clock_earlier(CUT_EARLY_US, timeout_us / 10);
    server->next_tick_us = server->now_us;
    server->stage = SHUTDOWN_DRAIN;
    workers_set_shutdown_phase(server->workers, SHUTDOWN_DRAIN);
    notify_stopping(server, timeout_us);
}

/* Tell who waits for the end how not to. */
static void hint(struct server *server)
{
    size_t serving = workers_serving(server->workers, true);

    server->hint_at_us = INSTANT_NEVER;
    if (serving > 0)
        log_write(LOG_LEVEL_NOTICE, "still draining %zu connection%s: %s ends the drain at once",
                  serving, plural(serving), server->ending);
}

static void stop_at_once(const struct server *server, int signal_number)
{
    size_t serving = workers_serving(server->workers, false);

    log_write(LOG_LEVEL_WARNING, "SIG%s again: stopped at once, %zu connection%s cut",
              sigabbrev_np(signal_number), serving, plural(serving));
    _exit(EXIT_FAILURE);
}

static const char *second_signal(int signal_number)
{
    static const char *const words[] = {[SIGINT] = "a second Ctrl-C",
                                        [SIGQUIT] = "a second SIGQUIT",
                                        [SIGTERM] = "a second SIGTERM"};

    return words[signal_number];
}

/* A closed terminal makes some shells send SIGTERM as well: that one is the first that was sent to
 * stop, and cuts nothing. */
static void handle_stop(struct server *server, int signal_number)
{
    char reason[16];

    if (server->stage == SHUTDOWN_NONE) {
        snprintf(reason, sizeof(reason), "SIG%s", sigabbrev_np(signal_number));
        begin_drain(server, reason, second_signal(signal_number));
    } else if (server->ending == NULL) {
        server->ending = second_signal(signal_number);
        hint(server);
    } else {
        stop_at_once(server, signal_number);
    }
}

static void drain_for_hang_up(struct server *server)
{
    begin_drain(server, "the terminal was closed", NULL);
}

/* A SIGHUP or SIGCONT: either may say that the terminal was closed. */
static void handle_hang_up(struct server *server, const struct signalfd_siginfo *info)
{
    bool hung_up = terminal_hung_up(info);

    if (server->stage != SHUTDOWN_NONE)
        return;
    if (hung_up)
        drain_for_hang_up(server);
    else if (info->ssi_signo == SIGHUP)
        reload(server);
}

static void handle_signal(struct server *server, const struct signalfd_siginfo *info)
{
    int signal_number = (int)info->ssi_signo;

    if (signal_number == SIGUSR1)
        log_figures(server);
    else if (signal_number == SIGHUP || signal_number == SIGCONT)
        handle_hang_up(server, info);
    else
        handle_stop(server, signal_number);
}

static void read_signals(struct server *server)
{
    struct signalfd_siginfo info;

    while (read(server->signal_fd, &info, sizeof(info)) == sizeof(info))
        handle_signal(server, &info);
}

/* The terminal was closed, and nobody may send a signal for it. */
static void read_terminal(struct server *server)
{
    terminal_close();
    if (server->stage == SHUTDOWN_NONE)
        drain_for_hang_up(server);
}

/* --- The loop ------------------------------------------------------------------------------ */

/* A connection is over or a thread has ended: there may be room again. */
static void read_events(struct server *server)
{
    uint64_t count;

    while (read(server->event_fd, &count, sizeof(count)) == sizeof(count))
        server->paused_until_us = 0;
    workers_join(server->workers);
}

/* The drain takes too long: cut what is left. */
static void cut(struct server *server)
{
    server->stage = SHUTDOWN_ABORT;
    server->cut = workers_serving(server->workers, true);
    workers_set_shutdown_phase(server->workers, SHUTDOWN_ABORT);
}

static void look_after_time(struct server *server)
{
    if (server->stage == SHUTDOWN_DRAIN && server->now_us >= server->hint_at_us)
        hint(server);
    if (server->stage == SHUTDOWN_DRAIN && server->now_us >= server->cut_at_us)
        cut(server);
    if (server->now_us >= server->next_tick_us) {
        server->next_tick_us = server->now_us + TICK_US;
        workers_watch(server->workers, server->now_us);
    }
    if (server->now_us >= server->next_status_us)
        notify_alive(server);
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

    if (may_complain(&server->blind, server->now_us))
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
                     has_room(server);
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
            accept_some(server, &server->listeners->list[i - POLLED_LISTENERS]);
    }
    /* Last, since they may close the listeners. */
    if (server->polled[POLLED_SIGNALS].revents != 0)
        read_signals(server);
    if ((server->polled[POLLED_TERMINAL].revents & POLLHUP) != 0)
        read_terminal(server);
}

static bool is_over(struct server *server)
{
    return server->stage != SHUTDOWN_NONE &&
           (workers_serving(server->workers, true) == 0 || server->now_us >= server->give_up_us);
}

/* What stands before the URL: over TLS what trusts a certificate made in memory, by its key, and
 * nobody else's. */
static void write_options(const struct certificate *certificate, bool is_tls,
                          char text[OPTIONS_MAX])
{
    if (!is_tls)
        snprintf(text, OPTIONS_MAX, "--http2-prior-knowledge ");
    else if (certificate->is_generated)
        snprintf(text, OPTIONS_MAX, "--insecure --pinnedpubkey sha256//%s ", certificate->pin);
    else
        text[0] = '\0';
}

/* The command that reaches a listener, for a newcomer to copy. */
static void write_command(const struct server *server, const struct listener *listener,
                          char text[COMMAND_MAX])
{
    const struct address *address = &listener->address;
    const char *scheme = listener->is_tls ? "https" : "http";
    struct certificate certificate = {.host = "localhost"};
    char options[OPTIONS_MAX];
    char path[ADDRESS_PATH_MAX];
    char shown[ADDRESS_TEXT_MAX];

    if (listener->is_tls)
        tls_context_certificate(server->settings->tls, &certificate);
    write_options(&certificate, listener->is_tls, options);
    if (address_unix_path(path, address) != NULL)
        snprintf(text, COMMAND_MAX, "curl %s--unix-socket %s %s://%s/", options,
                 path[0] == '\0' ? "PATH" : log_escape(shown, sizeof(shown), path, strlen(path)),
                 scheme, certificate.host);
    else if (address_is_local(address))
        snprintf(text, COMMAND_MAX, "curl %s%s://%s:%u/", options, scheme, certificate.host,
                 address_port(address));
    else
        snprintf(text, COMMAND_MAX, "curl %s%s://%s/", options, scheme,
                 address_text(shown, address));
}

/* How a newcomer stops it. Who has a service manager has its commands. */
static void log_how_to_stop(const struct server *server)
{
    if (server->notify->fd >= 0)
        return;
    if (terminal_is_foreground())
        log_write(LOG_LEVEL_NOTICE, "to stop it: Ctrl-C");
    else
        log_write(LOG_LEVEL_NOTICE, "to stop it: kill %jd", (intmax_t)getpid());
}

static void log_ready(const struct server *server)
{
    const struct listener *plain = first_listener(server, false);
    const struct listener *tls = first_listener(server, true);
    char command[COMMAND_MAX];

    log_certificate(server);
    if (tls != NULL) {
        write_command(server, tls, command);
        log_write(LOG_LEVEL_NOTICE, "with TLS: %s", command);
    }
    write_command(server, plain != NULL ? plain : &server->listeners->list[0], command);
    log_write(LOG_LEVEL_NOTICE, "h2echod " H2ECHOD_VERSION " is ready: %s", command);
    log_how_to_stop(server);
}

/* --- Beginning and end --------------------------------------------------------------------- */

static int refuse_start(const char *what)
{
    log_write_errno(LOG_LEVEL_ERROR, errno, "cannot start, raise the limits of the process: %s",
                    what);
    return EX_OSERR;
}

static int open_descriptors(struct server *server)
{
    sigset_t set;

    if (block_signals() != 0)
        return refuse_start("signals cannot be blocked");
    fill_signals(&set);
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
    int result = has_certificate(server, server->settings) ? 0 : EX_CONFIG;

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

static void log_end(const struct server *server)
{
    if (server->cut == 0)
        log_write(LOG_LEVEL_NOTICE, "stopped: everything that was begun is answered");
    else
        log_write(LOG_LEVEL_NOTICE, "stopped: the drain timeout cut %zu connection%s", server->cut,
                  plural(server->cut));
}

static void stop(struct server *server)
{
    if (server->workers != NULL && workers_serving(server->workers, false) > 0) {
        /* A thread did not come back in time. It must not run into what would be freed here. */
        log_end(server);
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
        raise_descriptor_limit(&server);
        log_ready(&server);
        notify_ready(&server);
        while (!is_over(&server))
            wait_for_work(&server);
    }
    stop(&server);
    if (result == 0)
        log_end(&server);
    return result;
}
