"""What tests of hostile peers share: words to say, a neighbour that goes on asking, the daemon's figures."""
from __future__ import annotations

import json
import select
import threading
from dataclasses import dataclass
from typing import Callable, Sequence

from daemon import PLAIN_MEMORY, Daemon
from rules import integer
from waiting import SLOW, Deadline, poll
from wire import Client, fields

# Frame types and flags (RFC 9113 section 6)
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x4, 0x8, 0x20

# Requests as HPACK's static table has them, with the authority "a"
GET, POST = b"\x82\x84\x86\x01\x01a", b"\x83\x84\x86\x01\x01a"
REQUEST_SIZE = 7 + 4 + 5 + 1 + 7 + 4 + 10 + 1 + 4 * 32  # of either as RFC 9113 section 6.5.2 counts, or more

Record = Callable[[str, object], None]  # record_property: the figures, for whoever wants them in a report


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame's bytes: quicker than a hyperframe, of which a flood needs many."""
    return (len(payload) << 40 | kind << 32 | flags << 24).to_bytes(8, "big")[:5] + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    """A field that isn't indexed, without Huffman's code; one that is, if the first byte is 0x40."""
    return bytes([first]) + integer(len(name), 7) + name + integer(len(value), 7) + value


def request(stream: int, block: bytes = GET, end: bool = True) -> bytes:
    """HEADERS, with CONTINUATION where the block is long."""
    pieces = [block[start:start + 16384] for start in range(0, len(block), 16384)] or [b""]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    flags = [END_STREAM if end else 0] + [0] * (len(pieces) - 1)
    flags[-1] |= END_HEADERS
    return b"".join(map(frame, kinds, flags, [stream] * len(pieces), pieces))


def ids(count: int, first: int = 1) -> range:
    """The ids of so many streams."""
    return range(first, first + 2 * count, 2)


def flood(each: Callable[[int], bytes], count: int, first: int = 1) -> bytes:
    return b"".join(map(each, ids(count, first)))


def pour(client: Client, data: bytes, reading: bool = True) -> None:
    """Send what can be sent until the daemon has closed; what it says meanwhile is kept, or not even read."""
    deadline, rest = Deadline(20), memoryview(data)
    sources = [client.socket] if reading else []
    client.socket.settimeout(deadline.left())
    try:
        while rest:
            readable, writable, _ = select.select(sources, [client.socket], [], deadline.left())
            if readable and not client.take(1 << 18, deadline):
                return
            if writable:
                sent = client.socket.send(rest[:1 << 16])
                client.sent += sent
                rest = rest[sent:]
    except (ConnectionResetError, BrokenPipeError):
        return


def assert_goaway(client: Client, code: int) -> None:
    """The connection is over, and the client was told why."""
    client.acknowledge = client.refill = False
    client.read_to_end()
    assert [goaway.error_code for goaway in client.goaways] == [code]


@dataclass
class Figures:
    """What the daemon takes of the system."""

    memory: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, daemon: Daemon) -> Figures:
        return cls(daemon.memory(), daemon.threads(), daemon.descriptors())

    def most(self, other: Figures) -> None:
        self.memory = max(self.memory, other.memory)
        self.threads = max(self.threads, other.threads)
        self.descriptors = max(self.descriptors, other.descriptors)


class Watch:
    """A neighbour on a connection of its own asks all the time, and is answered each time; the figures before,
    during (the most that was seen) and after.

    What an attack costs is counted in the neighbour's requests: how many of them the daemon could have answered in
    the same processor time. A second of it is worth less on a busy machine, but for both alike."""

    ANSWERS_MAX = 5000
    MEASURED = 200
    PAUSE = 0.002

    def __init__(self, daemon: Daemon, attackers: int = 1) -> None:
        self.daemon = daemon
        self.client = daemon.connect()
        self.over = threading.Event()
        self.answers = 0
        self.failure: BaseException | None = None
        self._warm_up(attackers)
        self.before = Figures.of(daemon)
        self.during = Figures.of(daemon)
        self.request_cost = self._measure_request()
        self.cpu_before = daemon.cpu_seconds()
        self.thread = threading.Thread(target=self._ask)

    def _warm_up(self, attackers: int) -> None:
        """Let there be threads that wait for a connection, as there'd be for a while after the attack: one for each
        attacker, and one that is kept ready."""
        clients = [self.daemon.connect() for _ in range(attackers + 1)]
        for client in [self.client, *clients]:
            client.assert_answered()
        for client in clients:
            client.close()
        self.daemon.wait_for_stats(connections=1)

    def _measure_request(self) -> float:
        """The processor time that the daemon takes for one of the neighbour's requests."""
        before = self.daemon.cpu_seconds()
        for _ in range(self.MEASURED):
            self.client.assert_answered()
        self.client.answers.clear()
        return (self.daemon.cpu_seconds() - before) / self.MEASURED

    def _ask(self) -> None:
        try:
            while not self.over.wait(self.PAUSE) and self.answers < self.ANSWERS_MAX:
                wanted = fields(f"/neighbour/{self.answers}")
                self.client.request(wanted).assert_echo(wanted)
                self.client.answers.clear()
                self.answers += 1
                self.during.most(Figures.of(self.daemon))
        except BaseException as error:  # whatever it is, the test has to tell it
            self.failure = error

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            answered = self.answers
            poll(lambda: self.answers >= answered + 3 or self.failure, "the neighbour's answers")
        self.over.set()
        self.thread.join()
        self.cost = (self.daemon.cpu_seconds() - self.cpu_before) / self.request_cost - self.answers

    def assert_harmless(self, clients: Sequence[Client], memory: int, cost: float) -> None:
        """Nobody else was hurt, what it took was bounded (KiB, requests), and with the attackers it's gone."""
        if self.failure:
            raise AssertionError(f"the neighbour's request {self.answers} failed") from self.failure
        for client in clients:
            client.close()
        self.daemon.wait_for_stats(connections=1)
        poll(lambda: self.daemon.descriptors() <= self.before.descriptors, "the descriptors of before")
        poll(lambda: self.daemon.threads() <= self.before.threads, "the threads of before")
        assert self.cost < cost * SLOW, "requests that could have been answered meanwhile"
        if PLAIN_MEMORY:
            assert self.during.memory - self.before.memory <= memory
            left = self.before.memory + LEFT_OVER * (1 + len(clients))
            poll(lambda: self.daemon.memory() <= left, "the memory of before")
        self.client.assert_answered()

    def summary(self) -> str:
        """For people: the figures as JSON."""
        after = Figures.of(self.daemon)
        return json.dumps({"answers": self.answers, "cost": round(self.cost),
                           "request_us": round(self.request_cost * 1e6, 1), "before": vars(self.before),
                           "during": vars(self.during), "after": vars(after)})


LEFT_OVER = 384  # KiB that each may leave behind: a thread's stack, and the allocator's for the next connection
