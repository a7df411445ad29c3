#include "daemon/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { STANDARD_DESCRIPTORS = 3 };

static bool has_terminal;    /* at the start */
static bool ignores_hang_up; /* SIGHUP was ignored at the start: the daemon outlives its terminal */
static bool is_foreground;
static int watched_fd = -1;

static bool is_ignored(int signal_number)
{
    struct sigaction action;

    return sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* Return a new descriptor of the controlling terminal, or -1. */
static int open_terminal(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

    for (int i = 0; fd < 0 && i < STANDARD_DESCRIPTORS; i++) {
        if (tcgetpgrp(i) >= 0)
            fd = fcntl(i, F_DUPFD_CLOEXEC, STANDARD_DESCRIPTORS);
    }
    return fd;
}

/* Return the foreground process group of the controlling terminal, or -1. */
static pid_t foreground_group(void)
{
    pid_t group = -1;
    int fd;

    /* Try first what needs no new descriptor, as none may be available. */
    for (int i = 0; group < 0 && i < STANDARD_DESCRIPTORS; i++)
        group = tcgetpgrp(i);
    if (group >= 0)
        return group;
    fd = open_terminal();
    if (fd < 0)
        return -1;
    group = tcgetpgrp(fd);
    (void)close(fd);
    return group;
}

/* Return whether the session leader runs this in a process group of its own, as a shell with job
 * control does. A session leader without job control may stay when the terminal is closed, and then
 * the daemon gets no signal. */
static bool has_job_control(void)
{
    return getpgid(getsid(0)) != getpgrp();
}

void terminal_open(void)
{
    pid_t group = foreground_group();

    has_terminal = group >= 0;
    ignores_hang_up = is_ignored(SIGHUP);
    /* What a shell script starts in the background stays in the foreground process group, but with
     * SIGINT ignored (POSIX, Shell Command Language, 2.11). */
    is_foreground = group == getpgrp() && !is_ignored(SIGINT);
    /* Open the terminal only if it has to be polled: another process may wait for the last one that
     * has it open to close it. */
    if (is_foreground && !ignores_hang_up && !has_job_control())
        watched_fd = open_terminal();
}

bool terminal_is_foreground(void)
{
    return is_foreground;
}

int terminal_fd(void)
{
    return watched_fd;
}

static bool is_pending(int signal_number)
{
    sigset_t pending;

    return sigpending(&pending) == 0 && sigismember(&pending, signal_number) == 1;
}

/* Return whether the process that started the daemon still exists: if it does not, the parent is
 * another process, outside of the session. */
static bool has_parent_in_session(void)
{
    return getsid(getppid()) == getsid(0);
}

/*
 * Return whether the session leader, a shell with job control, waits for the daemon rather than for
 * a command line. Then its SIGHUP does not come from a command that was typed: the shell passes on
 * a hang-up, often while the terminal still exists. ${group} is the foreground process group now.
 */
static bool is_waited_for(pid_t group)
{
    if (group < 0)
        return is_foreground;
    /* The daemon was stopped, and "kill -HUP" may have been typed meanwhile: a shell sends SIGCONT
     * as well to a job that is stopped. */
    if (is_pending(SIGCONT))
        return false;
    /* The daemon may not be in the foreground any more, since a shell takes the terminal back
     * before it exits. A shell that does not exit takes it back when the program that started the
     * daemon has ended; but then the daemon's parent is another process, outside of the session. */
    return group == getpgrp() || (is_foreground && has_parent_in_session());
}

bool terminal_hung_up(const struct signalfd_siginfo *signal)
{
    pid_t sender = (pid_t)signal->ssi_pid;
    pid_t group;

    if (!has_terminal || ignores_hang_up)
        return false;
    if (signal->ssi_code == SI_KERNEL)
        return true;
    group = foreground_group();
    if (signal->ssi_signo == SIGHUP && sender > 0 && sender == getsid(0) && has_job_control() &&
        is_waited_for(group))
        return true;
    /* sudo closes the pseudo-terminal that the daemon runs in, and then sends SIGHUP from a process
     * of another session. */
    if (signal->ssi_signo == SIGHUP && group < 0 && is_foreground && has_parent_in_session())
        return true;
    if (group >= 0)
        is_foreground = group == getpgrp();
    return false;
}

void terminal_close(void)
{
    if (watched_fd >= 0)
        (void)close(watched_fd);
    watched_fd = -1;
}
