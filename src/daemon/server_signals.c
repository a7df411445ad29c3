#include "daemon/server.h"
#include "daemon/server_internal.h"
#include "daemon/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int taken_signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCONT};

void server_fill_signals(sigset_t *set)
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
int server_block_signals(void)
{
    sigset_t set;

    server_fill_signals(&set);
    return sigprocmask(SIG_BLOCK, &set, NULL);
}

static void stop_at_once(const struct server *server, int signal_number)
{
    size_t serving = workers_serving(server->workers, false);

    log_write(LOG_LEVEL_WARNING, "SIG%s again: stopped at once, %zu connection%s cut",
              sigabbrev_np(signal_number), serving, server_plural(serving));
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
        server_start_drain(server, reason, second_signal(signal_number));
    } else if (server->ending == NULL) {
        server->ending = second_signal(signal_number);
        server_log_drain_hint(server);
    } else {
        stop_at_once(server, signal_number);
    }
}

static void drain_for_hang_up(struct server *server)
{
    server_start_drain(server, "the terminal was closed", NULL);
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
        server_reload(server);
}

static void handle_signal(struct server *server, const struct signalfd_siginfo *info)
{
    int signal_number = (int)info->ssi_signo;

    if (signal_number == SIGUSR1)
        server_log_stats(server);
    else if (signal_number == SIGHUP || signal_number == SIGCONT)
        handle_hang_up(server, info);
    else
        handle_stop(server, signal_number);
}

void server_read_signals(struct server *server)
{
    struct signalfd_siginfo info;

    while (read(server->signal_fd, &info, sizeof(info)) == sizeof(info))
        handle_signal(server, &info);
}

/* The terminal was closed, and nobody may send a signal for it. */
void server_read_terminal(struct server *server)
{
    terminal_close();
    if (server->stage == SHUTDOWN_NONE)
        drain_for_hang_up(server);
}
