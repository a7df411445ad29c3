/* What each signal makes the daemon do. */
#include "daemon/server_internal.h"
#include "daemon/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void fill_handled_signals(sigset_t *set)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCONT};

    sigemptyset(set);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaddset(set, signals[i]);
}

int server_prepare_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t hang_up;

    sigemptyset(&hang_up);
    sigaddset(&hang_up, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &hang_up, NULL) != 0)
        return -1;
    terminal_open();
    return sigaction(SIGPIPE, &ignore, NULL);
}

int server_signals_open(struct server *server)
{
    sigset_t set;

    fill_handled_signals(&set);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return server->signal_fd < 0 ? -1 : 0;
}

static void exit_immediately(const struct server *server, int signal_number)
{
    size_t serving = workers_serving(server->workers, false);

    log_write(LOG_LEVEL_WARNING, "SIG%s again: stopped at once, %zu connection%s aborted",
              sigabbrev_np(signal_number), serving, server_plural(serving));
    _exit(EXIT_FAILURE);
}

static const char *second_signal_text(int signal_number)
{
    static const char *const texts[] = {[SIGINT] = "a second Ctrl-C",
                                        [SIGQUIT] = "a second SIGQUIT",
                                        [SIGTERM] = "a second SIGTERM"};

    return texts[signal_number];
}

/* When a terminal is closed, some shells send SIGTERM besides SIGHUP. During a drain that began
 * with the terminal's end the first signal to stop therefore changes nothing; the next one ends
 * the drain at once. */
static void handle_stop_signal(struct server *server, int signal_number)
{
    char reason[16];

    if (server->drain.phase == SHUTDOWN_NONE) {
        snprintf(reason, sizeof(reason), "SIG%s", sigabbrev_np(signal_number));
        server_drain_start(server, reason, second_signal_text(signal_number));
    } else if (server->drain.second_signal == NULL) {
        server->drain.second_signal = second_signal_text(signal_number);
        server_drain_log_hint(server);
    } else {
        exit_immediately(server, signal_number);
    }
}

static void drain_for_hang_up(struct server *server)
{
    server_drain_start(server, "the terminal was closed", NULL);
}

/* Handle SIGHUP or SIGCONT. Both may mean that the terminal was closed. */
static void handle_hang_up_signal(struct server *server, const struct signalfd_siginfo *info)
{
    bool hung_up = terminal_hung_up(info);

    if (server->drain.phase != SHUTDOWN_NONE)
        return;
    if (hung_up)
        drain_for_hang_up(server);
    else if (info->ssi_signo == SIGHUP)
        server_reload(server);
}

static void handle_signal(struct server *server, const struct signalfd_siginfo *info)
{
    int signal_number = (int)info->ssi_signo;

    if (signal_number == SIGUSR1)
        server_log_stats(server);
    else if (signal_number == SIGHUP || signal_number == SIGCONT)
        handle_hang_up_signal(server, info);
    else
        handle_stop_signal(server, signal_number);
}

void server_signals_read(struct server *server)
{
    struct signalfd_siginfo info;

    while (read(server->signal_fd, &info, sizeof(info)) == sizeof(info))
        handle_signal(server, &info);
}

void server_terminal_closed(struct server *server)
{
    terminal_close();
    if (server->drain.phase == SHUTDOWN_NONE)
        drain_for_hang_up(server);
}
