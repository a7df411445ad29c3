"""Writing of the log: to journald, to a file or pipe, and to a stderr that is closed, full or not read."""
from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence

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
    """Both ends of a pipe; the test may close them."""
    ends = list(os.pipe())
    yield ends[0], ends[1]
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def whole_log(out: int, into: int, journal_stream: str) -> list[str]:
    """All log lines of a daemon that answers one request, with stderr at `into`, read from `out`."""
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


def device_and_inode(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{status.st_dev}:{status.st_ino}"


def test_lines_for_journald_begin_with_a_priority(pipe: tuple[int, int]) -> None:
    lines = whole_log(*pipe, device_and_inode(pipe[1]))
    assert all(re.match(r"<[3-7]>[^<]", line) for line in lines), lines
    assert any(re.match(r"<6>listening on ", line) for line in lines)
    assert any(re.match(r"<5>h2echod .* is ready", line) for line in lines)
    assert any(re.match(r'<6>\{"time": ?".*"path": ?"/".*\}$', line) for line in lines)
    assert any(re.match(r"<7>connection 1 from \S+: open", line) for line in lines)


def test_journal_stream_of_another_file_is_ignored(pipe: tuple[int, int]) -> None:
    with open(os.devnull, "rb") as other:
        lines = whole_log(*pipe, device_and_inode(other.fileno()))
    assert all(LOG_LINE.fullmatch(line) or line.startswith("{") for line in lines), lines


def answers_on(path: Path) -> bool:
    """Whether the Unix socket can be connected to; then a request must be answered."""
    try:
        client = Client(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    with client:
        client.send_preface().assert_answered()
    return True


@contextmanager
def running(words: Sequence[str], stderr: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that is stopped at the end, and must exit with 0."""
    process = subprocess.Popen(words, env=environment_without_systemd(), stderr=stderr)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(10 * SLOW) == 0


@pytest.mark.heavy  # valgrind needs a stderr of its own
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"],
                         ids=["stderr-closed", "disk-full", "all-closed"])
def test_unwritable_log_does_not_stop_the_daemon(tmp_path: Path, redirection: str) -> None:
    path = tmp_path / "socket"
    words = command([*ARGUMENTS, f"--unix={path}"], ["sh", "-c", f'exec "$@" {redirection}', "sh"])
    with running(words):
        for _ in range(3):
            poll(lambda: answers_on(path), "an answer", 10)


@ACCESS_LOG
def test_closed_pipe_does_not_stop_the_daemon(pipe: tuple[int, int], tmp_path: Path, form: str) -> None:
    path = tmp_path / "socket"
    words = command([*ARGUMENTS, f"--unix={path}", f"--access-log={form}"])
    with running(words, stderr=pipe[1]):
        poll(lambda: answers_on(path), "an answer", 10)
        os.close(pipe[0])
        os.close(pipe[1])
        assert answers_on(path) and answers_on(path)


@ACCESS_LOG
def test_full_pipe_does_not_block_clients(pipe: tuple[int, int], tmp_path: Path, form: str) -> None:
    """While the log is not read, clients are answered, and SIGUSR1 and SIGTERM work."""
    path = tmp_path / "socket"
    words = command([*ARGUMENTS, f"--unix={path}", f"--access-log={form}"])
    with running(words, stderr=pipe[1]) as process:
        poll(lambda: answers_on(path), "an answer", 10)
        fill_pipe(pipe[1])
        with Client(path) as client:
            client.send_preface()
            watch = Stopwatch()
            for number in range(50):
                client.assert_answered(f"/{number}")
            assert watch.seconds() < 10 * SLOW  # no line may wait for the reader
        process.send_signal(signal.SIGUSR1)
        assert answers_on(path)


def fill_pipe(end: int) -> None:
    os.set_blocking(end, False)
    try:
        while os.write(end, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(end, True)


def test_number_of_lines_about_clients_is_bounded(start: Start) -> None:
    """A client that connects again and again cannot fill a disk: 1,000 lines at once, then 100 a second."""
    daemon = start()
    start_time = time.monotonic()
    count = 0
    while count < 1300 + 100 * (time.monotonic() - start_time):
        with socket.create_connection(daemon.address) as connection:
            connection.sendall(b"\x00garbage")
        count += 1
        assert count < 20_000, "the machine is too slow to exceed 100 lines a second"
    daemon.wait_for_stats(connections=0)
    allowed = 1000 + 100 * (time.monotonic() - start_time)
    assert 1000 <= len(daemon.log("not an HTTP/2 preface")) <= allowed + 1
    poll(lambda: is_omission_logged(daemon), "the number of omitted lines")


def is_omission_logged(daemon: Daemon) -> bool:
    """Send garbage again, until a line about it may be logged: the omitted lines are reported before it."""
    with daemon.open_connection() as client:
        client.socket.sendall(b"\x00garbage")
        client.socket.recv(100)
    return bool(daemon.log(r"warning \d+ lines about clients were left out"))


def test_log_without_a_reader_from_the_start(tmp_path: Path) -> None:
    """stderr is a pipe whose reading end was closed before the first line."""
    path = tmp_path / "socket"
    reader, writer = os.pipe()
    os.close(reader)
    with running(command([*ARGUMENTS, f"--unix={path}"]), stderr=writer):
        os.close(writer)
        poll(lambda: answers_on(path), "an answer", 10)


def test_every_line_has_timestamp_and_level(daemon: Daemon) -> None:
    daemon.connect().assert_answered()
    daemon.close_clients()
    daemon.wait_for_log("closed")
    assert all(LOG_LINE.fullmatch(line) for line in daemon.lines if not VALGRIND_LINE.match(line))
