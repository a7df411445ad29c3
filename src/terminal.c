#include "terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { STANDARD_DESCRIPTORS = 3 };

static bool has_terminal; /* at the start */
static bool outlives_it;  /* SIGHUP was ignored at the start: a hang-up is not to end this */
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

    /* First what needs no further descriptor: there may be none. */
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

/* Whether the session leader has this in a process group of its own, as a shell with job control
 * has. Otherwise it may outlive the terminal without a word to this. */
static bool has_job_control(void)
{
    return getpgid(getsid(0)) != getpgrp();
}

void terminal_open(void)
{
    pid_t group = foreground_group();

    has_terminal = group >= 0;
    outlives_it = is_ignored(SIGHUP);
    /* A shell script has SIGINT ignored by what it starts in the background (POSIX, Shell Command
     * Language, 2.11): it is in the group that has the terminal, but not for long. */
    is_foreground = group == getpgrp() && !is_ignored(SIGINT);
    /* Open only where it is needed: others may wait for the last one who has it to close it. */
    if (is_foreground && !outlives_it && !has_job_control())
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

/* Whether what started this is still there; otherwise the parent is init, or who stands for it. */
static bool has_parent_in_session(void)
{
    return getsid(getppid()) == getsid(0);
}

/*
 * Whether the session leader, which has job control, waits for this rather than for a command line:
 * then it was not told to send a SIGHUP, but hands on a hang-up, often while the terminal is still
 * there. ${group} is what has the terminal now.
 */
static bool is_waited_for(pid_t group)
{
    if (group < 0)
        return is_foreground;
    /* This was stopped, and the signal may have been typed meanwhile: with "kill -HUP" a shell
     * sends such a job SIGCONT as well. */
    if (is_pending(SIGCONT))
        return false;
    /* A shell takes the terminal back before it exits. One that does not exit has it back from a
     * program that started this and has ended: then this has another parent now. */
    return group == getpgrp() || (is_foreground && has_parent_in_session());
}

bool terminal_hung_up(const struct signalfd_siginfo *signal)
{
    pid_t sender = (pid_t)signal->ssi_pid;
    pid_t group;

    if (!has_terminal || outlives_it)
        return false;
    if (signal->ssi_code == SI_KERNEL)
        return true;
    group = foreground_group();
    if (signal->ssi_signo == SIGHUP && sender > 0 && sender == getsid(0) && has_job_control() &&
        is_waited_for(group))
        return true;
    /* sudo closes the pseudo-terminal that it runs this in, and then sends SIGHUP from a process
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
