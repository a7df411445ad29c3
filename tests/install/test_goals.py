"""`make run`, `make check TESTS=` and `make help`, as a user types them."""
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

from fake_machine import FakeMachine
from package import environment, run_command

READY = re.compile(rb"is ready: curl \S+ http://localhost:(\d+)/")


# --- make run ---

@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("more, another", [("", "9000"), (" --max-connections 9000", "9001")])
def test_run_suggests_another_port(tree: Path, taken: int, more: str, another: str) -> None:
    done = run_command(["make", "run", f"RUN_ARGS=-p {taken}{more}"], tree, check=False)
    *_, error, advice = done.stdout.splitlines()
    assert done.returncode != 0
    assert f" error cannot listen on [::]:{taken}: Address already in use" in error
    assert f"make run RUN_ARGS='-p {another}'" in advice and "Error" not in advice


@pytest.mark.parametrize("words", ["--unix /nonexistent/socket", "-a 192.0.2.1"])
def test_run_suggests_a_port_if_another_address_cannot_be_used(tree: Path, words: str) -> None:
    done = run_command(["make", "run", f"RUN_ARGS=-p 0 {words}"], tree, check=False)
    *_, error, advice = done.stdout.splitlines()
    assert " error cannot listen on " in error
    assert "choose where it listens, for instance: make run RUN_ARGS='-p 9000'" in advice


def test_run_suggests_no_port_for_other_errors(tree: Path) -> None:
    done = run_command(["make", "run", "RUN_ARGS=--nonesuch"], tree, check=False)
    *_, error, last = done.stdout.splitlines()
    assert done.returncode != 0
    assert " error --nonesuch: unknown option" in error
    assert "h2echod ended with status 64" in last and "RUN_ARGS" not in last


class MakeRun:
    """A `make run` with a terminal."""

    def __init__(self, tree: Path) -> None:
        self.fd, terminal = pty.openpty()
        self.process = subprocess.Popen(["setsid", "--ctty", "make", "run", "RUN_ARGS=-p 0"], cwd=tree, stdin=terminal,
                                        stdout=terminal, stderr=terminal, env=environment())
        os.close(terminal)
        self.output = b""

    def read(self, pattern: re.Pattern[bytes] | None = None) -> None:
        """Read until the output matches the pattern or, without one, until every process has closed the terminal."""
        while pattern is None or not pattern.search(self.output):
            try:
                self.output += os.read(self.fd, 4096)
            except OSError:  # EIO: no process has the terminal open any more
                assert pattern is None, self.output
                return


@pytest.fixture
def make_run(tree: Path) -> Iterator[MakeRun]:
    run_command(["make", "all"], tree)
    make_run = MakeRun(tree)
    make_run.read(READY)
    yield make_run
    os.close(make_run.fd)


def test_control_c_ends_run_cleanly(make_run: MakeRun) -> None:
    os.write(make_run.fd, b"\x03")
    make_run.read()
    assert b"notice SIGINT: draining" in make_run.output and b"notice stopped: all open requests" in make_run.output
    assert b"make" not in make_run.output
    assert make_run.process.wait() in (0, 2, -signal.SIGINT, 128 + signal.SIGINT)


def test_daemon_ends_when_make_is_terminated(make_run: MakeRun) -> None:
    make_run.process.terminate()
    make_run.read()
    # make is the session's leader, so the terminal is closed at the same time: the daemon may notice that first.
    assert re.search(rb"notice (SIGTERM|the terminal was closed): draining", make_run.output)
    assert b"notice stopped: all open requests" in make_run.output
    assert make_run.process.wait() != 0


# --- make check ---

@pytest.mark.parametrize("pattern", ["-x", "a b", "o'brien"])
def test_check_takes_any_pattern(tree: Path, pattern: str) -> None:
    done = run_command(["make", "--no-print-directory", "-n", "check-wrapped", f"TESTS={pattern}"], tree)
    *_, command = done.stdout.splitlines()
    words = shlex.split(command)
    assert words[1] == "tests/run.py" and f"--tests={pattern}" in words


# --- make help ---

@pytest.mark.parametrize("lines", [0, 1, 2, 100])
def test_reader_of_help_may_stop_early(tree: Path, lines: int) -> None:
    script = f"set -o pipefail; make --no-print-directory help | head -n {lines}; echo ${{PIPESTATUS[*]}}"
    *printed, status = run_command(["bash", "-c", script], tree).stdout.splitlines()
    assert status == "0 0"
    assert len(printed) <= lines and all(re.match(r"  make [a-z-]+ +\S", line) for line in printed)


def test_help_succeeds_without_a_reader(tree: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(["make", "help"], cwd=tree, env=environment(), stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_fails_if_it_cannot_write(tree: Path) -> None:
    with open("/dev/full", "wb") as full:
        assert subprocess.run(["make", "help"], cwd=tree, env=environment(), stdout=full, stderr=subprocess.PIPE,
                              check=False).returncode != 0


def test_help_lists_the_goals_that_the_documentation_names(tmp_path: Path) -> None:
    """It needs neither a compiler nor the libraries."""
    listed = set(re.findall(r"^  make ([a-z-]+) ", FakeMachine(tmp_path).make("help").stdout, re.MULTILINE))
    assert {"deps", "run", "check", "install", "help"} <= listed
