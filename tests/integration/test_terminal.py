"""The controlling terminal: closing it ends a daemon in its foreground, and no other."""
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
    """A daemon that runs in a terminal of its own, or in a job of a shell there."""

    terminal: Terminal
    log: Path
    pid: int = 0

    def find(self) -> None:
        self.pid = self.terminal.daemon()
        self.wait_for_log(r"to stop it: ")

    def wait_for_log(self, pattern: str, since: int = 0) -> re.Match[str]:
        return poll(lambda: re.search(pattern, self.log.read_text()[since:] if self.log.exists() else "", re.MULTILINE),
                    f"{pattern!r} in the log", seconds=10)

    def wait_for_foreground(self, mine: bool) -> None:
        poll(lambda: (self.terminal.foreground() == os.getpgid(self.pid)) is mine, "the terminal to change hands")

    def reload(self) -> None:
        since = len(self.log.read_text())
        os.kill(self.pid, signal.SIGHUP)
        self.wait_for_log("notice reloaded$", since)

    def connect(self) -> Client:
        return Client(("127.0.0.1", int(self.wait_for_log(READY)[1]))).send_preface()

    def assert_ends(self) -> None:
        """Gracefully, since its terminal was closed."""
        poll(lambda: not is_alive(self.pid), "the daemon's end", seconds=10)
        self.wait_for_log(f"{CLOSED} 0 connections within 10s$")
        self.wait_for_log("notice stopped: all open requests were answered$")

    def assert_lives(self) -> None:
        """When all that the closing of its terminal brings about is over: it serves, and reloads."""
        poll(lambda: not is_alive(self.terminal.leader), "the end of what ran in the terminal", seconds=10)
        self.reload()
        with self.connect() as client:
            client.assert_answered()
        assert CLOSED not in self.log.read_text()


Begin = Callable[..., Session]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """begin(program, line, ...): a program in a terminal, and what is typed there so that a daemon runs."""
    begun: list[Terminal] = []

    def start(program: Sequence[str], *lines: str) -> Session:
        terminal = Terminal(program)
        begun.append(terminal)
        session = Session(terminal, tmp_path / "log")
        for line in lines:
            terminal.run(line)
        session.find()
        return session
    yield start
    for terminal in begun:
        terminal.end()


@pytest.fixture
def line(tmp_path: Path) -> str:
    """What starts the daemon in a shell."""
    return daemon_line(tmp_path / "log")


@pytest.fixture
def makefile(tmp_path: Path, line: str) -> str:
    """What starts it by make, as `make run` does."""
    (tmp_path / "Makefile").write_text(f"run:\n\t@{line}\n")
    return f"make -C {tmp_path} run"


# How a daemon comes into the foreground of a terminal: what has the terminal, and what is typed there.
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
def foreground(request: pytest.FixtureRequest, begin: Begin, line: str, makefile: str) -> Session:
    session = begin(*FOREGROUND[request.param](line, makefile))
    session.wait_for_foreground(True)
    return session


# --- it ends with its terminal ---

def test_closing_the_terminal_ends_it(foreground: Session) -> None:
    foreground.terminal.close()
    foreground.assert_ends()


@pytest.mark.parametrize("foreground", [name for name in FOREGROUND if name != "alone"], indirect=True)
def test_end_of_the_session_leader_ends_it(foreground: Session) -> None:
    """The terminal stays open: whoever has the other side does not know yet."""
    os.kill(foreground.terminal.leader, signal.SIGKILL)
    foreground.assert_ends()


def test_kill_hup_reloads(foreground: Session) -> None:
    for _ in range(3):
        foreground.reload()
    foreground.terminal.close()
    foreground.assert_ends()


def test_hang_up_that_a_reload_was_asked_for_before_ends_it(foreground: Session) -> None:
    """Of two SIGHUPs that wait there is only the first: here the one of kill(2)."""
    leader = foreground.terminal.leader
    for pid in (leader, foreground.pid):  # the leader first, so that it does not see that its job is stopped
        os.kill(pid, signal.SIGSTOP)
        poll(lambda: is_stopped(pid), "the process to stop")
    os.kill(foreground.pid, signal.SIGHUP)
    if foreground.pid != leader:
        os.kill(leader, signal.SIGKILL)
        poll(lambda: not is_alive(leader), "the session leader's end")
    foreground.terminal.close()
    with contextlib.suppress(ProcessLookupError):  # some have been continued by the kernel, and are over
        os.kill(foreground.pid, signal.SIGCONT)
    foreground.assert_ends()


def test_hang_up_that_the_shell_hands_on_ends_it(begin: Begin, line: str) -> None:
    """Terminal emulators send the shell a SIGHUP before they close the terminal, and it does the same to its jobs."""
    session = begin(BASH, line)
    session.wait_for_foreground(True)
    os.kill(session.terminal.leader, signal.SIGHUP)
    session.assert_ends()
    assert "reloaded" not in session.log.read_text()


def test_job_that_was_brought_to_the_foreground_ends(begin: Begin, line: str) -> None:
    session = begin(BASH, f"{line} &")
    session.wait_for_foreground(False)
    session.terminal.run("fg")
    session.wait_for_foreground(True)
    session.terminal.close()
    session.assert_ends()


def test_job_that_is_stopped_ends(begin: Begin, line: str) -> None:
    session = begin(BASH, line)
    session.wait_for_foreground(True)
    session.terminal.type(CONTROL_Z)
    session.wait_for_foreground(False)
    session.terminal.close()
    session.assert_ends()


# Like sudo's monitor: it gives the terminal to what it runs, and waits for that whatever becomes of the terminal.
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


def test_hang_up_that_another_session_tells_of_ends_it(begin: Begin, line: str) -> None:
    """As sudo does once it has closed the pseudo-terminal in which it ran the daemon."""
    session = begin((sys.executable, "-c", MONITOR, line))
    session.wait_for_foreground(True)
    session.reload()
    session.terminal.close()
    poll(lambda: stat(session.pid)[4:5] == ["0"], "the terminal to be taken away")
    os.kill(session.pid, signal.SIGHUP)
    session.assert_ends()
    assert session.log.read_text().count("reloaded") == 1


def test_what_was_begun_is_answered() -> None:
    """With its log on the terminal that is no more, and exit status 0."""
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


def test_signal_after_the_hang_up_is_the_first_one(begin: Begin, line: str) -> None:
    """Some shells send SIGHUP and SIGTERM to a job that is stopped, and that is to end no less gracefully."""
    session = begin(("sh", "-c", f"exec {line}"))
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


# --- it lives on without ---

def test_job_in_the_background_lives_on(begin: Begin, line: str) -> None:
    session = begin(BASH, f"{line} &")
    session.wait_for_foreground(False)
    session.terminal.close()
    session.assert_lives()


def test_job_that_was_put_into_the_background_lives_on(begin: Begin, line: str) -> None:
    session = begin(BASH, line)
    session.wait_for_foreground(True)
    session.terminal.type(CONTROL_Z)
    session.wait_for_foreground(False)
    session.terminal.run("bg")
    session.reload()
    session.terminal.close()
    session.assert_lives()


def test_background_holds_no_terminal(begin: Begin, line: str) -> None:
    """Who waits for the end of what is shown is not to wait for the daemon."""
    session = begin(BASH, f"{line} </dev/null >/dev/null &")
    session.wait_for_foreground(False)
    session.terminal.run("exit")
    with pytest.raises(AssertionError, match="before the end of"):
        session.terminal.read_until("never shown")
    session.assert_lives()


def test_nohup_makes_it_live_on(begin: Begin, line: str) -> None:
    session = begin(BASH, f"nohup {line} >/dev/null")
    session.wait_for_foreground(True)
    session.terminal.close()
    session.assert_lives()


def test_setsid_makes_it_live_on(line: str, tmp_path: Path) -> None:
    with Terminal(BASH) as terminal:
        terminal.run(f"setsid -f {line}")
        session = Session(terminal, tmp_path / "log")
        session.pid = int(session.wait_for_log(r"notice to stop it: kill (\d+)$")[1])
        terminal.pids.add(session.pid)
        terminal.close()
        session.assert_lives()


def test_shell_may_ask_for_a_reload(begin: Begin, line: str) -> None:
    """The session leader has sent it, but it is the one who was typed to."""
    session = begin(BASH, f"{line} &")
    session.terminal.run("kill -HUP %1")
    session.wait_for_log("notice reloaded$")
    assert is_alive(session.pid)


def test_shell_may_ask_for_a_reload_of_a_job_that_is_stopped(begin: Begin, line: str) -> None:
    session = begin(BASH, line)
    session.wait_for_foreground(True)
    session.terminal.type(CONTROL_Z)
    session.wait_for_foreground(False)
    session.terminal.run("kill -HUP %1; fg")
    session.wait_for_log("notice reloaded$")
    session.wait_for_foreground(True)
    session.terminal.close()
    session.assert_ends()


def test_shell_may_ask_for_a_reload_of_what_a_program_left(begin: Begin, line: str) -> None:
    """It was in the foreground when it began, and was never told that it is not any more."""
    session = begin(BASH, f"""{sys.executable} -c 'import subprocess; subprocess.Popen("exec {line}", shell=True)'""")
    session.wait_for_foreground(False)
    session.terminal.run(f"kill -HUP {session.pid}")
    session.wait_for_log("notice reloaded$")
    session.terminal.close()
    session.assert_lives()


def test_script_may_ask_for_a_reload(begin: Begin, line: str) -> None:
    """Such as what a container begins with: session leader, and in the foreground together with the daemon."""
    session = begin(("sh", "-c", f"{line} & read go; kill -HUP $!; wait"))
    session.wait_for_foreground(True)
    session.terminal.run("go")
    session.wait_for_log("notice reloaded$")
    assert is_alive(session.pid)


# --- how to stop it ---

def test_start_ends_with_how_to_stop_it_in_a_terminal() -> None:
    with Terminal(ALONE) as terminal:
        terminal.read_until(rf"{READY}\n\S+ notice to stop it: Ctrl-C\n\Z")
        terminal.type(CONTROL_C)
        terminal.read_until("notice SIGINT: draining 0 connections within 10s$")
        assert terminal.wait() == 0


def test_start_ends_with_how_to_stop_it_elsewhere(start: Start) -> None:
    daemon = start(prefix=["setsid"])
    assert re.search(rf" notice to stop it: kill {daemon.pid}$", daemon.lines[-1])


def test_job_in_the_background_is_to_be_killed(begin: Begin, line: str) -> None:
    session = begin(BASH, f"{line} &")
    session.terminal.run(session.wait_for_log(r"notice to stop it: (kill \d+)$")[1])
    session.wait_for_log("notice SIGTERM: draining 0 connections within 10s$")


def test_script_is_not_told_to_type(begin: Begin, line: str) -> None:
    """What it starts in the background is in the foreground only until the script has ended."""
    session = begin(BASH, f"sh -c '{line} & wait'")
    session.wait_for_log(rf"notice to stop it: kill {session.pid}$")


def test_drain_that_waits_says_that_a_second_control_c_ends_it() -> None:
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
