"""The log's way out: under journald, elsewhere, and where nobody reads it."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from clients import curl_h2
from conftest import Start
from daemon import LOG_LINE, VALGRIND_LINE, Daemon, command, environment_without_systemd
from waiting import SLOW, Stopwatch, poll
from wire import Client

ARGUMENTS = ["--port=0", "--address=127.0.0.1", "--access-log=json", "--log-level=debug"]
ACCESS_LOG = pytest.mark.parametrize("form", ["text", "json"])


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends, which the test may have closed already."""
    ends = list(os.pipe())
    yield ends[0], ends[1]
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def whole_log(out: int, into: int, journal_stream: str) -> list[str]:
    """All lines of a daemon that answers one request, with its stderr at `into`."""
    process = subprocess.Popen(command(ARGUMENTS), stderr=into,
                               env=environment_without_systemd() | {"JOURNAL_STREAM": journal_stream})
    os.close(into)
    with os.fdopen(out, encoding="ascii") as log:
        lines = []
        for line in log:
            lines.append(line.rstrip("\n"))
            if match := re.search(r"ready: curl \S+ (\S+)$", line):
                curl_h2(match[1])
                process.terminate()
    assert process.wait(10 * SLOW) == 0
    return [line for line in lines if not VALGRIND_LINE.match(line)]


def stream_of(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{status.st_dev}:{status.st_ino}"


def test_lines_for_journald_begin_with_their_priority(pipe: tuple[int, int]) -> None:
    lines = whole_log(*pipe, stream_of(pipe[1]))
    assert all(re.match(r"<[3-7]>[^<]", line) for line in lines), lines
    assert any(re.match(r"<6>listening on ", line) for line in lines)
    assert any(re.match(r"<5>h2echod .* is ready", line) for line in lines)
    assert any(re.match(r'<6>\{"time": ?".*"path": ?"/".*\}$', line) for line in lines)
    assert any(re.match(r"<7>connection 1 from \S+: open", line) for line in lines)


def test_journal_of_somebody_else_is_not_ours(pipe: tuple[int, int]) -> None:
    with open(os.devnull, "rb") as other:
        lines = whole_log(*pipe, stream_of(other.fileno()))
    assert all(LOG_LINE.fullmatch(line) or line.startswith("{") for line in lines), lines


def answers_on(path: Path) -> bool:
    """A client on the Unix socket gets an answer, and nothing but HTTP/2."""
    try:
        client = Client(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    with client:
        client.send_preface().assert_answered()
    return True


@pytest.mark.heavy  # valgrind itself needs a stderr
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"],
                         ids=["stderr-closed", "disk-full", "all-closed"])
def test_log_that_goes_nowhere_does_not_hurt(tmp_path: Path, redirection: str) -> None:
    path = tmp_path / "socket"
    words = command([*ARGUMENTS, f"--unix={path}"], ["sh", "-c", f'exec "$@" {redirection}', "sh"])
    process = subprocess.Popen(words, env=environment_without_systemd())
    try:
        for _ in range(3):
            poll(lambda: answers_on(path), "an answer", 10)
    finally:
        process.terminate()
        assert process.wait(10 * SLOW) == 0


@ACCESS_LOG
def test_reader_of_the_log_that_goes_away_does_not_end_it(pipe: tuple[int, int], tmp_path: Path, form: str) -> None:
    path = tmp_path / "socket"
    words = command([*ARGUMENTS, f"--unix={path}", f"--access-log={form}"])
    process = subprocess.Popen(words, env=environment_without_systemd(), stderr=pipe[1])
    try:
        poll(lambda: answers_on(path), "an answer", 10)
        os.close(pipe[0])
        os.close(pipe[1])
        assert answers_on(path) and answers_on(path)
    finally:
        process.terminate()
        assert process.wait(10 * SLOW) == 0


@ACCESS_LOG
def test_log_that_nobody_reads_stops_nobody(pipe: tuple[int, int], tmp_path: Path, form: str) -> None:
    """The pipe is full: clients are answered, and both signals do what they do."""
    path = tmp_path / "socket"
    words = command([*ARGUMENTS, f"--unix={path}", f"--access-log={form}"])
    process = subprocess.Popen(words, env=environment_without_systemd(), stderr=pipe[1])
    try:
        poll(lambda: answers_on(path), "an answer", 10)
        fill(pipe[1])
        with Client(path) as client:
            client.send_preface()
            watch = Stopwatch()
            for number in range(50):
                client.assert_answered(f"/{number}")
            assert watch.seconds() < 10 * SLOW  # it waited for the reader once, not for each line
        process.send_signal(signal.SIGUSR1)
        assert answers_on(path)
    finally:
        process.terminate()
        assert process.wait(10 * SLOW) == 0


def fill(end: int) -> None:
    os.set_blocking(end, False)
    try:
        while os.write(end, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(end, True)


def test_lines_about_peers_are_bounded_in_all(start: Start) -> None:
    """A client that comes again and again can't fill a disk: 1,000 lines at once, then 100 a second."""
    daemon = start()
    began = time.monotonic()
    count = 0
    while count < 1300 + 100 * (time.monotonic() - began):
        with daemon.open_connection() as client:
            client.socket.sendall(b"\x00garbage")
        count += 1
        assert count < 20_000, "too slow to come more often than lines are let through"
    daemon.wait_for_stats(connections=0)
    allowed = 1000 + 100 * (time.monotonic() - began)
    assert 1000 <= len(daemon.log("not an HTTP/2 preface")) <= allowed + 1
    poll(lambda: is_told(daemon), "the count of what was left out")


def is_told(daemon: Daemon) -> bool:
    """Garbage again, until a line about it is let through: what was left out is told before."""
    with daemon.open_connection() as client:
        client.socket.sendall(b"\x00garbage")
        client.socket.recv(100)
    return bool(daemon.log(r"warning \d+ lines about clients were left out"))


def test_log_without_a_reader_from_the_start(tmp_path: Path) -> None:
    """A pipe whose reader is gone before the first line."""
    path = tmp_path / "socket"
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(command([*ARGUMENTS, f"--unix={path}"]), stderr=writer,
                               env=environment_without_systemd())
    os.close(writer)
    try:
        poll(lambda: answers_on(path), "an answer", 10)
    finally:
        process.terminate()
        assert process.wait(10 * SLOW) == 0


def test_every_line_has_its_shape(daemon: Daemon) -> None:
    daemon.connect().assert_answered()
    daemon.close_clients()
    daemon.wait_for_log("closed")
    assert all(LOG_LINE.fullmatch(line) for line in daemon.lines if not VALGRIND_LINE.match(line))
