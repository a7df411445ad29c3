"""Ten thousand connections that are idle: what each costs, and that nobody else feels them."""
from __future__ import annotations

import re
import resource
import socket
import time
from pathlib import Path
from statistics import median
from typing import Callable, Iterator

import hpack
import pytest
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from conftest import Start
from daemon import BINARY, Daemon
from test_leaks import WORKERS_LINGER
from waiting import Deadline, poll
from wire import MAGIC, echo, fields

SANITIZED = any(mark in BINARY.read_bytes() for mark in (b"__asan_init", b"__tsan_init"))
FEW = 10
MANY = 1000 if SANITIZED else 10000  # a sanitizer has threads of its own size: there the counts alone matter
SOURCES = 20  # addresses that they come from
ROOM = 200    # descriptors and connections for everything else
KIB_PER_CONNECTION = 18
KIB_LEFT = 2048  # what may stay of them all once they have left
ROUNDS = 150
SLOWDOWN = 3  # how many times slower a request may be answered beside MANY than beside FEW

NUMBER = "/00000"
GET = hpack.Encoder().encode(fields(NUMBER), huffman=False)
ECHO = echo(fields(NUMBER))


def numbered(data: bytes, number: int) -> bytes:
    return data.replace(NUMBER.encode(), b"/%05d" % number)


class Caller:
    """A client that costs little: it sends bytes that were made before, and knows those that end the answer."""

    def __init__(self, daemon: Daemon, source: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((f"127.0.0.{2 + source}", 0))
        self.socket.settimeout(Deadline(10).left())
        self.socket.connect(daemon.address)
        self.stream = -1
        self.number = 0

    def send(self, number: int) -> None:
        """Ask for a path with this number; the first time, behind the preface."""
        preface = MAGIC + SettingsFrame(0).serialize() if self.stream < 0 else b""
        self.stream += 2
        self.number = number
        request = HeadersFrame(self.stream, numbered(GET, number), flags=["END_STREAM", "END_HEADERS"])
        self.socket.sendall(preface + request.serialize())

    def read(self) -> None:
        """Read to the answer's end, which is the echo of what was asked."""
        end = DataFrame(self.stream, numbered(ECHO, self.number), flags=["END_STREAM"]).serialize()
        data = b""
        while not data.endswith(end):
            piece = self.socket.recv(65536)
            assert piece and len(data) < 1000, data
            data += piece
        if self.stream == 1:
            self.socket.sendall(SettingsFrame(0, flags=["ACK"]).serialize())

    def ask(self, number: int) -> float:
        """Seconds until the answer is here."""
        began = time.perf_counter()
        self.send(number)
        self.read()
        return time.perf_counter() - began


@pytest.fixture
def descriptors() -> Iterator[int]:
    """Descriptors enough for us, and for the daemons that we start."""
    wanted = MANY + 2 * ROOM
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    except ValueError:
        pytest.fail(f"this test needs {wanted} descriptors, and the hard limit on them is {hard}: raise it")
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def call(daemon: Daemon, count: int) -> list[Caller]:
    """So many connections, of which each has got its answer."""
    callers: list[Caller] = []
    try:
        while len(callers) < count:
            fresh = [Caller(daemon, number % SOURCES) for number in range(min(100, count - len(callers)))]
            for number, caller in enumerate(fresh, len(callers)):
                caller.send(number)
            for caller in fresh:
                caller.read()
            callers += fresh
    except OSError as error:
        pytest.fail(f"connection number {len(callers)} and those after it: {error}{daemon.report()}")
    return callers


def resident(daemon: Daemon) -> int:
    """KiB of the daemon's memory."""
    rollup = Path(f"/proc/{daemon.pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.findall(r"^Rss: +(\d+) kB$", rollup, re.MULTILINE)[0])


def assert_comes_down(measure: Callable[[], float], most: float, what: str) -> None:
    """Wait until what is measured has come down so far: a connection gives memory back once it rests."""
    seen: list[float] = []

    def low_enough() -> bool:
        seen.append(measure())
        return SANITIZED or seen[-1] <= most
    try:
        poll(low_enough, what, seconds=20)
    except AssertionError:
        pytest.fail(f"{what}: {seen[-1]:.1f}, not {most}")
    print(f"{what}: {seen[-1]:.1f}")


def ask_anew(daemon: Daemon, number: int) -> float:
    """Seconds from connecting to the answer's end."""
    began = time.perf_counter()
    caller = Caller(daemon)
    caller.ask(number)
    took = time.perf_counter() - began
    caller.socket.close()
    return took


def assert_as_quick(what: str, few: Callable[[int], float], many: Callable[[int], float]) -> None:
    """Ask both in turn, so that what else the machine does slows down both; compare the medians."""
    pairs = [(few(number), many(number)) for number in range(ROUNDS)]
    beside_few, beside_many = (median(times) * 1e6 for times in zip(*pairs))
    print(f"{what}: {beside_few:.0f} us beside {FEW}, {beside_many:.0f} us beside {MANY}")
    assert beside_many <= SLOWDOWN * beside_few, what


def assert_all_gone(daemon: Daemon, threads: int, descriptors: int, kib: int) -> None:
    """Everything is as it was before the first one came."""
    daemon.wait_for_figures(connections=0)
    poll(lambda: daemon.descriptors() == descriptors, f"{descriptors} descriptors")
    poll(lambda: daemon.threads() == threads, f"{threads} threads", WORKERS_LINGER)
    assert_comes_down(lambda: resident(daemon) - kib, KIB_LEFT, "KiB that are left of them")


@pytest.mark.heavy
def test_many_idle_connections(start: Start, descriptors: int) -> None:
    options = (f"--max-connections={MANY + ROOM}", "--idle-timeout=1h")
    few, many = start(*options), start(*options)
    baseline = many.threads(), many.descriptors(), resident(many)
    some, all_of_them = call(few, FEW), call(many, MANY)
    assert many.figures()["connections"] == MANY
    assert_comes_down(lambda: (resident(many) - resident(few)) / (MANY - FEW), KIB_PER_CONNECTION,
                      "KiB a connection")
    assert_as_quick("a new connection and its request", lambda number: ask_anew(few, number),
                    lambda number: ask_anew(many, number))
    assert_as_quick("a request on a connection", lambda number: some[number % FEW].ask(number),
                    lambda number: all_of_them[number % FEW].ask(number))
    for caller in all_of_them + some:
        caller.socket.close()
    assert_all_gone(many, *baseline)
