/*
 * terminal: the controlling terminal of a daemon that runs in the foreground, and how to find out
 * that it was closed.
 *
 * There are several signs of that. The kernel sends SIGHUP and SIGCONT to the session leader and,
 * when that exits, to the foreground process group. A shell with job control sends SIGHUP to its
 * jobs with kill(2), like a user's request for a reload; if that is still pending when the kernel
 * sends its own, the kernel's is lost. If the session leader does not exit, for example a make that
 * waits for the daemon, the daemon gets no signal, so the terminal has to be polled.
 *
 * The state is global, as a process has one controlling terminal. It is for the main thread alone.
 */
#ifndef H2ECHOD_DAEMON_TERMINAL_H
#define H2ECHOD_DAEMON_TERMINAL_H

#include <stdbool.h>
#include <sys/signalfd.h>

/*
 * terminal_open(void):
 * Find out whether there is a controlling terminal, whether the daemon is in its foreground, and
 * whether SIGHUP is ignored, as nohup(1) does. Call it once, when SIGHUP is blocked.
 */
void terminal_open(void);

/*
 * terminal_is_foreground(void):
 * Return true if the daemon is in the foreground of its terminal, so that Ctrl-C reaches it.
 */
bool terminal_is_foreground(void);

/*
 * terminal_fd(void):
 * Return a descriptor on which poll(2) reports POLLHUP when the terminal is closed, or -1 if a
 * signal is sure to come then. The descriptor belongs to this module; it is valid until
 * terminal_close.
 */
int terminal_fd(void);

/*
 * terminal_hung_up(signal):
 * Return true if ${signal}, a SIGHUP or SIGCONT, was sent because the terminal was closed and the
 * daemon has to end with it. Return false for a SIGHUP that asks for a reload, and for a SIGCONT
 * that only means that the daemon may have been moved to the background or the foreground.
 */
bool terminal_hung_up(const struct signalfd_siginfo *signal);

/*
 * terminal_close(void):
 * Close the descriptor.
 */
void terminal_close(void);

#endif
