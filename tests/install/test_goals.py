"""make run and make help, as somebody at a terminal calls them."""
from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import socket
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from machine import Machine
from package import environment, run

READY = re.compile(rb"is ready: curl \S+ http://localhost:(\d+)/")


# --- make run ---

@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("more, another", [("", "9000"), (" --max-connections 9000", "9001")])
def test_run_says_how_to_take_another_port(tree: Path, taken: int, more: str, another: str) -> None:
    done = run(["make", "run", f"RUN_ARGS=-p {taken}{more}"], tree, check=False)
    *_, error, advice = done.stdout.splitlines()
    assert done.returncode != 0
    assert f" error cannot listen on [::]:{taken}: Address already in use" in error
    assert f"make run RUN_ARGS='-p {another}'" in advice and "Error" not in advice


@pytest.mark.parametrize("words", ["--unix /nonexistent/socket", "-a 192.0.2.1"])
def test_run_does_not_take_what_it_cannot_have_for_a_port(tree: Path, words: str) -> None:
    done = run(["make", "run", f"RUN_ARGS=-p 0 {words}"], tree, check=False)
    *_, error, advice = done.stdout.splitlines()
    assert " error cannot listen on " in error
    assert "choose where it listens, for instance: make run RUN_ARGS='-p 9000'" in advice


def test_run_does_not_advise_another_port_for_other_mistakes(tree: Path) -> None:
    done = run(["make", "run", "RUN_ARGS=--nonesuch"], tree, check=False)
    *_, error, last = done.stdout.splitlines()
    assert done.returncode != 0
    assert " error --nonesuch: unknown option" in error
    assert "h2echod ended with status 64" in last and "RUN_ARGS" not in last


class Running:
    """make run, with a terminal."""

    def __init__(self, tree: Path) -> None:
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(["setsid", "--ctty", "make", "run", "RUN_ARGS=-p 0"], cwd=tree, stdin=theirs,
                                        stdout=theirs, stderr=theirs, env=environment())
        os.close(theirs)
        self.seen = b""

    def read(self, pattern: re.Pattern[bytes] | None = None) -> None:
        """Up to what the pattern matches, or until every process has closed the terminal."""
        while pattern is None or not pattern.search(self.seen):
            try:
                self.seen += os.read(self.terminal, 4096)
            except OSError:  # as Linux says that nobody has it any more
                assert pattern is None, self.seen
                return


@pytest.fixture
def running(tree: Path) -> Iterator[Running]:
    run(["make", "all"], tree)
    running = Running(tree)
    running.read(READY)
    yield running
    os.close(running.terminal)


def test_run_ends_cleanly_by_control_c(running: Running) -> None:
    os.write(running.terminal, b"\x03")
    running.read()
    assert b"notice SIGINT: draining" in running.seen and b"notice stopped: all open requests" in running.seen
    assert b"make" not in running.seen
    assert running.process.wait() in (0, 2, -signal.SIGINT, 128 + signal.SIGINT)


def test_the_daemon_does_not_outlive_a_make_that_is_ended(running: Running) -> None:
    running.process.terminate()
    running.read()
    # make was the session's leader: its end is also that of the terminal, whichever is seen first.
    assert re.search(rb"notice (SIGTERM|the terminal was closed): draining", running.seen)
    assert b"notice stopped: all open requests" in running.seen
    assert running.process.wait() != 0


# --- make check ---

@pytest.mark.parametrize("pattern", ["-x", "a b", "o'brien"])
def test_check_takes_any_pattern(tree: Path, pattern: str) -> None:
    *_, command = run(["make", "--no-print-directory", "-n", "check-wrapped", f"TESTS={pattern}"], tree).stdout.splitlines()
    words = shlex.split(command)
    assert words[1] == "tests/run.py" and f"--tests={pattern}" in words


# --- make help ---

@pytest.mark.parametrize("lines", [0, 1, 2, 100])
def test_help_may_be_cut_short(tree: Path, lines: int) -> None:
    script = f"set -o pipefail; make --no-print-directory help | head -n {lines}; echo ${{PIPESTATUS[*]}}"
    *said, status = run(["bash", "-c", script], tree).stdout.splitlines()
    assert status == "0 0"
    assert len(said) <= lines and all(re.match(r"  make [a-z-]+ +\S", line) for line in said)


def test_help_may_not_be_read_at_all(tree: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(["make", "help"], cwd=tree, env=environment(), stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_that_cannot_be_written_is_told(tree: Path) -> None:
    with open("/dev/full", "wb") as full:
        assert subprocess.run(["make", "help"], cwd=tree, env=environment(), stdout=full, stderr=subprocess.PIPE,
                              check=False).returncode != 0


def test_help_lists_what_readers_are_sent_to(tmp_path: Path) -> None:
    """On a machine where nothing but make and awk is there."""
    listed = set(re.findall(r"^  make ([a-z-]+) ", Machine(tmp_path).make("help").stdout, re.MULTILINE))
    assert {"deps", "run", "check", "install", "help"} <= listed
