"""The controlling terminal: closing it ends a daemon in its foreground, but not one in the background."""
from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Sequence

import pytest

from conftest import Start
from daemon import command
from terminal import Terminal, daemon_line, is_alive, is_stopped, stat
from waiting import SLOW, Stopwatch, poll
from wire import Client, fields

BASH = ("bash", "--norc", "--noprofile", "-i")
DASH = ("dash", "-i")
READY = r"is ready: .*:(\d+)/$"
CLOSED = "notice the terminal was closed: draining"
ALONE = command(["--port=0", "--address=127.0.0.1"])
CONTROL_C, CONTROL_Z = "\x03", "\x1a"


@dataclass
class Session:
    """A daemon that runs in a terminal of its own, directly or as a job of a shell."""

    terminal: Terminal
    log: Path
    pid: int = 0

    def wait_until_ready(self) -> None:
        self.pid = self.terminal.daemon()
        self.wait_for_log(r"to stop it: ")

    def wait_for_log(self, pattern: str, since: int = 0) -> re.Match[str]:
        return poll(lambda: re.search(pattern, self.log.read_text()[since:] if self.log.exists() else "", re.MULTILINE),
                    f"{pattern!r} in the log", seconds=10)

    def wait_for_foreground(self, expected: bool) -> None:
        poll(lambda: (self.terminal.foreground() == os.getpgid(self.pid)) is expected, "a change of the foreground")

    def stop_job(self) -> None:
        """Type Ctrl-Z, and wait until the shell has the terminal again."""
        self.wait_for_foreground(True)
        self.terminal.type(CONTROL_Z)
        self.wait_for_foreground(False)

    def reload(self) -> None:
        since = len(self.log.read_text())
        os.kill(self.pid, signal.SIGHUP)
        self.wait_for_log("notice reloaded$", since)

    def connect(self) -> Client:
        return Client(("127.0.0.1", int(self.wait_for_log(READY)[1]))).send_preface()

    def assert_drains(self) -> None:
        """It drains and exits because its terminal was closed."""
        poll(lambda: not is_alive(self.pid), "the daemon to exit", seconds=10)
        self.wait_for_log(f"{CLOSED} 0 connections within 10s$")
        self.wait_for_log("notice stopped: all open requests were answered$")

    def assert_keeps_running(self) -> None:
        """It serves and reloads after everything else in the terminal has ended."""
        poll(lambda: not is_alive(self.terminal.leader), "the session leader to exit", seconds=10)
        self.reload()
        with self.connect() as client:
            client.assert_answered()
        assert CLOSED not in self.log.read_text()


StartSession = Callable[..., Session]


@pytest.fixture
def start_session(tmp_path: Path) -> Iterator[StartSession]:
    """start_session(program, line, ...): a program in a terminal, in which these lines are typed to start a daemon."""
    terminals: list[Terminal] = []

    def start(program: Sequence[str], *lines: str) -> Session:
        terminal = Terminal(program)
        terminals.append(terminal)
        session = Session(terminal, tmp_path / "log")
        for line in lines:
            terminal.run(line)
        session.wait_until_ready()
        return session
    yield start
    for terminal in terminals:
        terminal.end()


@pytest.fixture
def line(tmp_path: Path) -> str:
    """A shell command that starts the daemon."""
    return daemon_line(tmp_path / "log")


@pytest.fixture
def makefile(tmp_path: Path, line: str) -> str:
    """A command that starts the daemon with make, as `make run` does."""
    (tmp_path / "Makefile").write_text(f"run:\n\t@{line}\n")
    return f"make -C {tmp_path} run"


# Ways to run a daemon in the foreground: the program in the terminal, and the lines to be typed.
FOREGROUND: dict[str, Callable[[str, str], tuple[Sequence[str], ...]]] = {
    "alone": lambda line, make: (("sh", "-c", f"exec {line}"),),
    "make": lambda line, make: (make.split(),),
    "script": lambda line, make: (("sh", "-c", f"{line}; :"),),
    "bash": lambda line, make: (BASH, line),
    "bash-make": lambda line, make: (BASH, make),
    "bash-script": lambda line, make: (BASH, f"sh -c '{line}; :'"),
    "bash-pipeline": lambda line, make: (BASH, f"{line} </dev/null | cat"),
    "dash": lambda line, make: (DASH, line),
    "dash-make": lambda line, make: (DASH, make),
}


@pytest.fixture(params=FOREGROUND)
def foreground(request: pytest.FixtureRequest, start_session: StartSession, line: str, makefile: str) -> Session:
    session = start_session(*FOREGROUND[request.param](line, makefile))
    session.wait_for_foreground(True)
    return session


# --- it ends with its terminal ---

def test_closing_the_terminal_ends_it(foreground: Session) -> None:
    foreground.terminal.close()
    foreground.assert_drains()


@pytest.mark.parametrize("foreground", [name for name in FOREGROUND if name != "alone"], indirect=True)
def test_end_of_the_session_leader_ends_it(foreground: Session) -> None:
    """The kernel sends SIGHUP even though the other side of the terminal stays open."""
    os.kill(foreground.terminal.leader, signal.SIGKILL)
    foreground.assert_drains()


def test_sighup_by_kill_reloads(foreground: Session) -> None:
    for _ in range(3):
        foreground.reload()
    foreground.terminal.close()
    foreground.assert_drains()


def test_hang_up_after_a_pending_reload_ends_it(foreground: Session) -> None:
    """Of two pending SIGHUPs only the first is delivered: here the one sent by kill(2)."""
    leader = foreground.terminal.leader
    for pid in (leader, foreground.pid):  # the leader first, so that it does not notice that its job is stopped
        os.kill(pid, signal.SIGSTOP)
        poll(lambda: is_stopped(pid), "the process to stop")
    os.kill(foreground.pid, signal.SIGHUP)
    if foreground.pid != leader:
        os.kill(leader, signal.SIGKILL)
        poll(lambda: not is_alive(leader), "the session leader's end")
    foreground.terminal.close()
    with contextlib.suppress(ProcessLookupError):  # the kernel may have continued it, and it may have exited
        os.kill(foreground.pid, signal.SIGCONT)
    foreground.assert_drains()


def test_hang_up_by_the_shell_ends_it(start_session: StartSession, line: str) -> None:
    """Some terminal emulators send SIGHUP to the shell before they close the terminal; it forwards that to its jobs."""
    session = start_session(BASH, line)
    session.wait_for_foreground(True)
    os.kill(session.terminal.leader, signal.SIGHUP)
    session.assert_drains()
    assert "reloaded" not in session.log.read_text()


def test_job_brought_to_the_foreground_ends(start_session: StartSession, line: str) -> None:
    session = start_session(BASH, f"{line} &")
    session.wait_for_foreground(False)
    session.terminal.run("fg")
    session.wait_for_foreground(True)
    session.terminal.close()
    session.assert_drains()


def test_stopped_job_ends(start_session: StartSession, line: str) -> None:
    session = start_session(BASH, line)
    session.stop_job()
    session.terminal.close()
    session.assert_drains()


# Like sudo's monitor: it gives the terminal to its child, and waits for that even if the terminal is closed.
MONITOR = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def begin():
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
child = subprocess.Popen(["sh", "-c", "exec " + sys.argv[1]], preexec_fn=begin)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
child.wait()
"""


def test_hang_up_by_another_session_ends_it(start_session: StartSession, line: str) -> None:
    """As by sudo, once it has closed the pseudo-terminal in which it ran the daemon."""
    session = start_session((sys.executable, "-c", MONITOR, line))
    session.wait_for_foreground(True)
    session.reload()
    session.terminal.close()
    poll(lambda: stat(session.pid)[4:5] == ["0"], "the daemon to lose its terminal")
    os.kill(session.pid, signal.SIGHUP)
    session.assert_drains()
    assert session.log.read_text().count("reloaded") == 1


def test_open_request_is_answered() -> None:
    """Even though the daemon's log goes to the closed terminal; the exit status is 0."""
    with Terminal(ALONE) as terminal:
        with Client(("127.0.0.1", int(terminal.read_until(READY)[1]))).send_preface() as client:
            request = fields("/upload", "POST", ("content-length", "3"))
            stream = client.send_request(request, end=False)
            client.ping()
            terminal.close()
            client.read_until(lambda: len(client.goaways) == 2, "the final GOAWAY")
            client.send_body(stream, b"end")
            client.wait(stream).assert_echo(request)
            assert client.read_to_end() == "end"
        assert terminal.wait() == 0


def test_sigterm_after_the_hang_up_counts_as_the_first(start_session: StartSession, line: str) -> None:
    """Some shells send SIGHUP and SIGTERM to a stopped job, which must not end the drain at once."""
    session = start_session(("sh", "-c", f"exec {line}"))
    with session.connect() as client:
        request = fields("/upload", "POST")
        stream = client.send_request(request, end=False)
        client.ping()
        session.terminal.close()
        session.wait_for_log(f"{CLOSED} 1 connection within 10s$")
        os.kill(session.pid, signal.SIGTERM)
        session.wait_for_log("notice still draining 1 connection: a second SIGTERM ends the drain at once$")
        client.send_body(stream, b"end")
        client.wait(stream).assert_echo(request)
    assert session.terminal.wait() == 0


# --- it keeps running ---

def test_job_in_the_background_keeps_running(start_session: StartSession, line: str) -> None:
    session = start_session(BASH, f"{line} &")
    session.wait_for_foreground(False)
    session.terminal.close()
    session.assert_keeps_running()


def test_job_moved_to_the_background_keeps_running(start_session: StartSession, line: str) -> None:
    session = start_session(BASH, line)
    session.stop_job()
    session.terminal.run("bg")
    session.reload()
    session.terminal.close()
    session.assert_keeps_running()


def test_daemon_in_the_background_does_not_keep_the_terminal_open(start_session: StartSession, line: str) -> None:
    """A terminal emulator that waits for the end of the output must not wait for the daemon."""
    session = start_session(BASH, f"{line} </dev/null >/dev/null &")
    session.wait_for_foreground(False)
    session.terminal.run("exit")
    with pytest.raises(AssertionError, match="before the end of"):
        session.terminal.read_until("never shown")
    session.assert_keeps_running()


def test_nohup_keeps_it_running(start_session: StartSession, line: str) -> None:
    session = start_session(BASH, f"nohup {line} >/dev/null")
    session.wait_for_foreground(True)
    session.terminal.close()
    session.assert_keeps_running()


def test_setsid_keeps_it_running(line: str, tmp_path: Path) -> None:
    with Terminal(BASH) as terminal:
        terminal.run(f"setsid -f {line}")
        session = Session(terminal, tmp_path / "log")
        session.pid = int(session.wait_for_log(r"notice to stop it: kill (\d+)$")[1])
        terminal.pids.add(session.pid)
        terminal.close()
        session.assert_keeps_running()


def test_shell_can_reload_a_job(start_session: StartSession, line: str) -> None:
    """Although SIGHUP comes from the session leader, it is a reload, since the daemon is in the background."""
    session = start_session(BASH, f"{line} &")
    session.terminal.run("kill -HUP %1")
    session.wait_for_log("notice reloaded$")
    assert is_alive(session.pid)


def test_shell_can_reload_a_stopped_job(start_session: StartSession, line: str) -> None:
    session = start_session(BASH, line)
    session.stop_job()
    session.terminal.run("kill -HUP %1; fg")
    session.wait_for_log("notice reloaded$")
    session.wait_for_foreground(True)
    session.terminal.close()
    session.assert_drains()


def test_shell_can_reload_a_daemon_whose_parent_has_exited(start_session: StartSession, line: str) -> None:
    """It was started in the foreground, and is in the background since its parent has exited."""
    program = f"""import subprocess; subprocess.Popen("exec {line}", shell=True)"""
    session = start_session(BASH, f"{sys.executable} -c '{program}'")
    session.wait_for_foreground(False)
    session.terminal.run(f"kill -HUP {session.pid}")
    session.wait_for_log("notice reloaded$")
    session.terminal.close()
    session.assert_keeps_running()


def test_script_can_reload_a_daemon(start_session: StartSession, line: str) -> None:
    """As in a container, whose first script is the session leader and shares the foreground with the daemon."""
    session = start_session(("sh", "-c", f"{line} & read go; kill -HUP $!; wait"))
    session.wait_for_foreground(True)
    session.terminal.run("go")
    session.wait_for_log("notice reloaded$")
    assert is_alive(session.pid)


# --- the log says how to stop it ---

def test_in_a_terminal_the_log_says_control_c() -> None:
    with Terminal(ALONE) as terminal:
        terminal.read_until(rf"{READY}\n\S+ notice to stop it: Ctrl-C\n\Z")
        terminal.type(CONTROL_C)
        terminal.read_until("notice SIGINT: draining 0 connections within 10s$")
        assert terminal.wait() == 0


def test_elsewhere_the_log_says_kill(start: Start) -> None:
    daemon = start(prefix=["setsid"])
    assert re.search(rf" notice to stop it: kill {daemon.pid}$", daemon.lines[-1])


def test_in_the_background_the_log_says_kill(start_session: StartSession, line: str) -> None:
    session = start_session(BASH, f"{line} &")
    session.terminal.run(session.wait_for_log(r"notice to stop it: (kill \d+)$")[1])
    session.wait_for_log("notice SIGTERM: draining 0 connections within 10s$")


def test_in_a_script_the_log_says_kill(start_session: StartSession, line: str) -> None:
    """A background process of a script is in the terminal's foreground only until the script exits."""
    session = start_session(BASH, f"sh -c '{line} & wait'")
    session.wait_for_log(rf"notice to stop it: kill {session.pid}$")


def test_long_drain_logs_that_a_second_control_c_ends_it() -> None:
    with Terminal(ALONE) as terminal, \
            Client(("127.0.0.1", int(terminal.read_until(READY)[1]))).send_preface() as client:
        client.send_request(fields("/open", "POST"), end=False)
        client.ping()
        terminal.type(CONTROL_C)
        terminal.read_until("notice still draining 1 connection: a second Ctrl-C ends the drain at once$")
        watch = Stopwatch()
        terminal.type(CONTROL_C)
        assert terminal.wait() == 1
        assert watch.seconds() < 1 * SLOW
