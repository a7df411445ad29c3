/*
 * terminal: the controlling terminal of a daemon that runs in its foreground, and how to tell that
 * it was closed.
 *
 * Closing a terminal is told in several ways. The kernel sends SIGHUP and SIGCONT to the session
 * leader and, when that exits, to the foreground process group. A shell with job control sends
 * SIGHUP to its jobs with kill(2), as whoever asks for a reload does; if the kernel's SIGHUP comes
 * before that one was taken, it is lost. A session leader that does not exit, like a make that
 * waits for this daemon, leaves the daemon without any signal: then the terminal has to be polled.
 *
 * The state is the process's, as the terminal is. Only the main thread uses it.
 */
#ifndef H2ECHOD_DAEMON_TERMINAL_H
#define H2ECHOD_DAEMON_TERMINAL_H

#include <stdbool.h>
#include <sys/signalfd.h>

/*
 * terminal_open(void):
 * Find out whether there is a controlling terminal, whether this is in its foreground, and whether
 * SIGHUP is ignored, as nohup(1) has it. Call it once, when SIGHUP is blocked.
 */
void terminal_open(void);

/*
 * terminal_is_foreground(void):
 * Return true if this is in the foreground of its terminal, so that Ctrl-C reaches it.
 */
bool terminal_is_foreground(void);

/*
 * terminal_fd(void):
 * Return a descriptor that has POLLHUP once the terminal is closed, if no signal is sure to say so;
 * else -1. It is terminal's own, until terminal_close.
 */
int terminal_fd(void);

/*
 * terminal_hung_up(signal):
 * Return true if ${signal}, a SIGHUP or SIGCONT, says that the terminal was closed and this is to
 * end with it; false if it is a SIGHUP that asks for a reload, or a SIGCONT that means no more than
 * that this may have become a job in the background or the foreground.
 */
bool terminal_hung_up(const struct signalfd_siginfo *signal);

/*
 * terminal_close(void):
 * Close the descriptor.
 */
void terminal_close(void);

#endif
